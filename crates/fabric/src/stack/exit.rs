//! Where a stack's packets leave: by port 0, or back into the stack for its own addresses.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;

use hopwise_engine::log::EventId;
use smallvec::SmallVec;

use crate::Action;
use crate::device::{Context, PortIndex, SENT};
use crate::packet::Packet;
use crate::trace::{Trace, TraceReport};

/// The token of the timer that delivers what the stack sent to itself.
pub(crate) const LOOPBACK_TOKEN: u64 = u32::MAX as u64;

/// A stack's addresses and its way out.
pub(crate) struct Exit {
    pub(crate) addresses: SmallVec<[IpAddr; 2]>,
    /// Whether packets to own addresses leave by port 0 too, for a device that delivers them itself.
    pub(crate) own_traffic_leaves: bool,
    looped: VecDeque<Packet>,
}

impl Exit {
    pub(crate) fn new(addresses: Vec<IpAddr>) -> Self {
        Exit {
            addresses: addresses.into_iter().collect(),
            own_traffic_leaves: false,
            looped: VecDeque::new(),
        }
    }

    /// Whether `address` is one of the stack's own, loopback included.
    pub(crate) fn owns(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.addresses.contains(&address)
    }

    /// The address that packets to `destination` come from; `None` if there is none of its family.
    pub(crate) fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        if self.owns(destination) {
            return Some(destination);
        }
        self.addresses.iter().copied().find(|address| address.is_ipv4() == destination.is_ipv4())
    }

    /// The loopback address for the unspecified address: connecting to it means connecting to oneself.
    pub(crate) fn resolve_unspecified(address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            address => address,
        }
    }

    /// Sends a packet, caused by the event `cause`; a trace goes with it where there is a report.
    pub(crate) fn send(
        &mut self,
        bytes: Vec<u8>,
        cause: EventId,
        report: Option<&TraceReport>,
        cx: &mut Context<'_>,
    ) {
        let mut packet = Packet::new(bytes, cx.packet_id());
        packet.cause = cause;
        cx.record(&mut packet, &SENT);
        if let Some(report) = report {
            packet.trace = Some(Box::new(Trace { hops: Vec::with_capacity(8), report: report.clone() }));
            cx.hop(&mut packet, Action::Sent);
        }
        self.let_out(packet, cx);
    }

    /// Sends a packet of nobody inside, which may be a run.
    pub(crate) fn send_run(
        &mut self,
        bytes: Vec<u8>,
        segment_size: Option<NonZeroU16>,
        cx: &mut Context<'_>,
    ) {
        let mut packet = Packet::new(bytes, cx.packet_id());
        packet.segment_size = segment_size;
        cx.record(&mut packet, &SENT);
        self.let_out(packet, cx);
    }

    fn let_out(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if self.own_traffic_leaves || !self.owns(packet.destination_ip()) {
            cx.outputs.packets.push((PortIndex(0), packet));
            return;
        }
        if self.looped.is_empty() {
            cx.outputs.timers.push((cx.now, LOOPBACK_TOKEN));
        }
        self.looped.push_back(packet);
    }

    /// The packets that the stack has sent to itself.
    pub(crate) fn take_looped(&mut self) -> VecDeque<Packet> {
        std::mem::take(&mut self.looped)
    }
}
