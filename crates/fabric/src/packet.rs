//! A packet: IP bytes, and what hopwise needs to know of it beside them.
//!
//! Inside the fabric checksums are neither computed nor checked; captures and ports to the outside fill them in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use hopwise_engine::Time;
use hopwise_engine::log::EventId;

use crate::trace::Trace;
use crate::{Action, Answer, Hop};

/// IP protocol numbers (IANA, "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP: devices forward, translate and track it; there are no sockets that speak it.
    pub const SCTP: u8 = 132;

    /// Whether packets of the protocol begin with a source and a destination port.
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, TCP | UDP | SCTP)
    }
}

/// Length of the IPv4 header; the fabric's stacks send no options.
pub const IPV4_HEADER_LENGTH: usize = 20;
/// Length of the IPv6 header; the fabric's stacks send no extension headers.
pub const IPV6_HEADER_LENGTH: usize = 40;

/// An IP packet on its way.
pub struct Packet {
    /// The bytes, from the IP header on.
    pub bytes: Vec<u8>,
    /// Its number within the run.
    pub id: u64,
    /// Of a run (see `segmentation`): how many bytes of payload each of its packets has; the last may have fewer.
    pub segment_size: Option<NonZeroU16>,
    /// The address of the next device on a shared link (what a link-layer address is resolved from); `None`
    /// where the destination itself is next.
    pub next_hop: Option<IpAddr>,
    /// The router that put it on the link it comes by (what its link-layer source address tells); `None` if that
    /// was no router.
    pub previous_hop: Option<IpAddr>,
    /// For an error that a node sends: the router from which it got the packet that the error is about.
    pub(crate) answers_to: Option<IpAddr>,
    /// The event that caused what happens to it next.
    pub cause: EventId,
    /// The path so far, if the packet's connection is traced.
    pub trace: Option<Box<Trace>>,
}

impl Packet {
    /// A packet of these bytes, which must hold a whole IPv4 or IPv6 header.
    pub fn new(bytes: Vec<u8>, id: u64) -> Self {
        debug_assert!(is_ip(&bytes), "not an IP packet");
        Packet {
            bytes,
            id,
            segment_size: None,
            next_hop: None,
            previous_hop: None,
            answers_to: None,
            cause: EventId::NONE,
            trace: None,
        }
    }

    /// Whether it is IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.bytes[0] >> 4 == 6
    }

    /// Length of its IP header in bytes.
    pub fn header_length(&self) -> usize {
        if self.is_ipv6() { IPV6_HEADER_LENGTH } else { usize::from(self.bytes[0] & 0x0f) * 4 }
    }

    /// Source address.
    pub fn source_ip(&self) -> IpAddr {
        if self.is_ipv6() { self.v6_at(8).into() } else { self.v4_at(12).into() }
    }

    /// Destination address.
    pub fn destination_ip(&self) -> IpAddr {
        if self.is_ipv6() { self.v6_at(24).into() } else { self.v4_at(16).into() }
    }

    /// Transport protocol number.
    pub fn protocol(&self) -> u8 {
        if self.is_ipv6() { self.bytes[6] } else { self.bytes[9] }
    }

    /// Time to live (hop limit).
    pub fn time_to_live(&self) -> u8 {
        if self.is_ipv6() { self.bytes[7] } else { self.bytes[8] }
    }

    /// Sets the time to live (hop limit).
    pub fn set_time_to_live(&mut self, time_to_live: u8) {
        let offset = if self.is_ipv6() { 7 } else { 8 };
        self.bytes[offset] = time_to_live;
    }

    /// The bytes after the IP header.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.header_length().min(self.bytes.len())..]
    }

    /// Source and destination ports of TCP, UDP or SCTP; zeros for other protocols and for cut-off headers.
    pub fn ports(&self) -> (u16, u16) {
        let payload = self.payload();
        if !protocol::has_ports(self.protocol()) || payload.len() < 4 {
            return (0, 0);
        }
        (u16::from_be_bytes([payload[0], payload[1]]), u16::from_be_bytes([payload[2], payload[3]]))
    }

    /// Source address and port.
    pub fn source(&self) -> SocketAddr {
        SocketAddr::new(self.source_ip(), self.ports().0)
    }

    /// Destination address and port.
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.destination_ip(), self.ports().1)
    }

    /// Rewrites the source address and, for protocols with ports, the port.
    pub fn set_source(&mut self, source: SocketAddr) {
        self.set_endpoint(source, 12, 8, 0);
    }

    /// Rewrites the destination address and, for protocols with ports, the port.
    pub fn set_destination(&mut self, destination: SocketAddr) {
        self.set_endpoint(destination, 16, 24, 2);
    }

    /// Adds a hop to the path, if the packet is traced. An action that ends the path reports it.
    pub fn hop(&mut self, device: &Arc<str>, action: Action, at: Time, detail: Option<Arc<str>>) {
        self.add_hop(device, action, at, detail, None);
    }

    /// Ends the path, if the packet is traced: the device does not pass it on and has sent `answer` back.
    pub fn rejected(&mut self, device: &Arc<str>, at: Time, why: Arc<str>, answer: Answer) {
        self.add_hop(device, Action::Rejected, at, Some(why), Some(answer));
    }

    fn add_hop(
        &mut self,
        device: &Arc<str>,
        action: Action,
        at: Time,
        detail: Option<Arc<str>>,
        answer: Option<Answer>,
    ) {
        let Some(mut trace) = self.trace.take() else { return };
        let (source, destination, time_to_live) = (self.source(), self.destination(), self.time_to_live());
        let device = device.clone();
        trace.hops.push(Hop { device, action, source, destination, at, detail, time_to_live, answer });
        if !action.ends_path() {
            self.trace = Some(trace);
            return;
        }
        trace.report.end(trace.hops);
    }

    fn set_endpoint(&mut self, endpoint: SocketAddr, v4: usize, v6: usize, port: usize) {
        match (endpoint.ip(), self.is_ipv6()) {
            (IpAddr::V4(address), false) => self.bytes[v4..v4 + 4].copy_from_slice(&address.octets()),
            (IpAddr::V6(address), true) => self.bytes[v6..v6 + 16].copy_from_slice(&address.octets()),
            _ => panic!("packet {}: {endpoint} is of the other address family", self.id),
        }
        let at = self.header_length() + port;
        if protocol::has_ports(self.protocol()) && self.bytes.len() >= at + 2 {
            self.bytes[at..at + 2].copy_from_slice(&endpoint.port().to_be_bytes());
        }
    }

    fn v4_at(&self, offset: usize) -> Ipv4Addr {
        let octets: [u8; 4] = self.bytes[offset..offset + 4].try_into().expect("four bytes");
        octets.into()
    }

    fn v6_at(&self, offset: usize) -> Ipv6Addr {
        let octets: [u8; 16] = self.bytes[offset..offset + 16].try_into().expect("sixteen bytes");
        octets.into()
    }
}

/// Whether the bytes hold a whole IP header of a known version.
pub fn is_ip(bytes: &[u8]) -> bool {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => {
            let length = usize::from(bytes[0] & 0x0f) * 4;
            length >= IPV4_HEADER_LENGTH && bytes.len() >= length
        }
        Some(6) => bytes.len() >= IPV6_HEADER_LENGTH,
        _ => false,
    }
}

/// Whether the bytes are one IP packet as the fabric carries them: its lengths agree, it is no fragment, and a TCP, UDP or
/// ICMP header is whole.
pub(crate) fn is_carried(bytes: &[u8]) -> bool {
    if !is_ip(bytes) {
        return false;
    }
    let (header_length, length, fragment, next) = if bytes[0] >> 4 == 4 {
        let fragment = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x3fff;
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        (usize::from(bytes[0] & 0x0f) * 4, length, fragment != 0, bytes[9])
    } else {
        let length = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        // Fragments have an extension header, which is no protocol that the fabric speaks.
        (IPV6_HEADER_LENGTH, IPV6_HEADER_LENGTH + length, false, bytes[6])
    };
    let least = match next {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMP | protocol::ICMPV6 => 8,
        protocol::SCTP => 12,
        _ => 0,
    };
    length == bytes.len() && !fragment && bytes.len() >= header_length + least
}
