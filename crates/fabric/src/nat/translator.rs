//! What a device with NAT does to a packet's addresses: the destination before routing, the source after it.
//!
//! The order is netfilter's: conntrack and destination on the way in, source and confirmation on the way out.
//! A packet of a known flow is rewritten as its first packet was; an ICMP error is rewritten as part of the
//! flow it is about, the packet it quotes included (RFC 5508 section 4).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::Time;
use hopwise_engine::random::Stream;
use rand::RngExt;

use crate::nat::choice::TargetChoice;
use crate::nat::conntrack::{Conntrack, ConntrackConfig, FlowId, Seen};
use crate::nat::flow::Direction;
use crate::nat::rules::{Refusal, Verdict};
use crate::nat::table::{RuleTable, verdict};
use crate::nat::tcp_state::Segment;
use crate::nat::tuple::{Tuple, quoted, set_quoted};
use crate::packet::{Packet, protocol};

/// Connection tracking and rules of one device.
pub(crate) struct Translator {
    pub(crate) conntrack: Conntrack,
    pub(crate) rules: RuleTable,
    /// Whether a TCP flow is translated only from its SYN on (IPVS without `sloppy_tcp`); if not, one that is picked
    /// up in the middle is translated anew.
    pub(crate) only_syn_opens: bool,
    /// Whether a flow that is sent back to its own source is masqueraded, so that its answers come back through here
    /// (kubernetes.md 6.2, rule 8). A balancer that keeps sources does not (NLB: no NAT loopback).
    pub(crate) masquerades_hairpin: bool,
    choice: TargetChoice,
    stream: Stream,
}

/// What a packet is to the translator.
#[derive(Debug)]
pub(crate) enum Tracked {
    /// Part of a known flow.
    Flow(FlowId, Direction),
    /// An ICMP error about a known flow, travelling in this direction of it.
    Related(FlowId, Direction),
    /// The first of a flow.
    New(NewFlow),
    /// Nothing that can be tracked.
    Invalid,
}

/// A flow that is not in the table yet.
#[derive(Debug)]
pub(crate) struct NewFlow {
    pub(crate) original: Tuple,
    /// Where it goes.
    pub(crate) destination: SocketAddr,
    /// Whether the rule asks for masquerade.
    pub(crate) masquerade: bool,
    /// The rule that translated it.
    pub(crate) label: Option<Arc<str>>,
    /// Whether the packet is one that opens a flow: anything but a TCP segment other than SYN.
    pub(crate) opens: bool,
}

/// What the destination rules say of a new flow.
pub(crate) enum Decision {
    /// The packet goes on (translated or not).
    Pass,
    /// A rule rejects it.
    Reject(Arc<str>),
    /// A rule drops it.
    Drop(Arc<str>),
}

/// How the source of a new flow is rewritten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Masquerade {
    /// The new source address.
    pub(crate) address: IpAddr,
    /// Whether the port is drawn (`--random-fully`); if not it is kept where possible.
    pub(crate) random_port: bool,
}

impl Translator {
    pub(crate) fn new(conntrack: ConntrackConfig, mut stream: Stream) -> Self {
        Translator {
            conntrack: Conntrack::new(conntrack),
            rules: RuleTable::default(),
            only_syn_opens: false,
            masquerades_hairpin: true,
            choice: TargetChoice::new(&mut stream),
            stream,
        }
    }

    /// Finds out what `packet` is, as it came in.
    pub(crate) fn track(&mut self, packet: &Packet, now: Time) -> Tracked {
        if let Some(about) = quoted(packet) {
            self.conntrack.expire(now);
            return match self.conntrack.find(&Tuple::of(&about).reversed()) {
                Some((id, direction)) => Tracked::Related(id, direction),
                None => Tracked::Invalid,
            };
        }
        match self.conntrack.observe(packet, now) {
            Seen::Flow(id, direction) => Tracked::Flow(id, direction),
            Seen::Invalid => Tracked::Invalid,
            Seen::New(original) => {
                let destination = original.destination;
                let opens = original.protocol != protocol::TCP || Segment::of(packet) == Segment::Syn;
                Tracked::New(NewFlow { original, destination, masquerade: false, label: None, opens })
            }
        }
    }

    /// Asks the destination rules about a new flow. `is_local`: its destination is an address of the device;
    /// `is_own`: its source is.
    pub(crate) fn decide(&mut self, new: &mut NewFlow, is_local: bool, is_own: bool, now: Time) -> Decision {
        let original = new.original;
        let Some((key, rule)) = self.rules.find(original.destination, original.protocol, is_local) else {
            return match self.rules.find_unclaimed(original.destination.ip()) {
                Some(Refusal::Reject { reason }) => Decision::Reject(reason.clone()),
                Some(Refusal::Drop { reason }) => Decision::Drop(reason.clone()),
                None => Decision::Pass,
            };
        };
        match verdict(rule, original.source.ip(), is_own) {
            None | Some(Verdict::Accept) => Decision::Pass,
            Some(Verdict::Reject { reason }) => Decision::Reject(reason.clone()),
            Some(Verdict::Drop { reason }) => Decision::Drop(reason.clone()),
            Some(Verdict::Translate(_)) if self.only_syn_opens && !new.opens => Decision::Pass,
            Some(Verdict::Translate(translation)) => {
                let chosen = self.choice.choose(key, translation, &original, &mut self.stream, now);
                let Some(target) = chosen else {
                    return Decision::Drop("the rule has no target of the packet's address family".into());
                };
                new.destination = target;
                let hairpin = self.masquerades_hairpin && target.ip() == original.source.ip();
                new.masquerade = translation.masquerade || hairpin;
                new.label = Some(rule.label.clone());
                Decision::Pass
            }
        }
    }

    /// Rewrites the destination, before routing.
    pub(crate) fn translate_destination(&self, tracked: &Tracked, packet: &mut Packet) {
        match tracked {
            Tracked::New(new) => set_destination(packet, new.destination),
            Tracked::Flow(id, direction) => {
                if let Some(flow) = self.conntrack.flow(*id) {
                    set_destination(packet, flow.outgoing(*direction).destination);
                }
            }
            Tracked::Related(id, direction) => {
                let Some(flow) = self.conntrack.flow(*id) else { return };
                if let Some(mut about) = quoted(packet) {
                    let sent = flow.incoming(direction.opposite());
                    set_source(&mut about, sent.source);
                    set_destination(&mut about, sent.destination);
                    set_quoted(packet, &about);
                }
                if packet.destination_ip() == flow.incoming(*direction).destination.ip() {
                    set_destination(packet, flow.outgoing(*direction).destination);
                }
            }
            Tracked::Invalid => {}
        }
    }

    /// Rewrites the source of a packet of a known flow, after routing.
    pub(crate) fn translate_source(&self, tracked: &Tracked, packet: &mut Packet) {
        match tracked {
            Tracked::Flow(id, direction) => {
                if let Some(flow) = self.conntrack.flow(*id) {
                    set_source(packet, flow.outgoing(*direction).source);
                }
            }
            Tracked::Related(id, direction) => {
                let Some(flow) = self.conntrack.flow(*id) else { return };
                let source = flow.outgoing(*direction).source;
                if source != flow.incoming(*direction).source {
                    set_source(packet, source);
                }
            }
            Tracked::New(_) | Tracked::Invalid => {}
        }
    }

    /// The first packet of a flow leaves: rewrites its source if `masquerade` says so (or if another flow has
    /// the same answers), and enters the flow into the table.
    ///
    /// `false` if no source port is free; the packet cannot leave.
    pub(crate) fn confirm(
        &mut self,
        new: &NewFlow,
        masquerade: Option<Masquerade>,
        packet: &mut Packet,
        now: Time,
    ) -> bool {
        let Some(source) = self.free_source(new, masquerade) else { return false };
        let reply = Tuple { source: new.destination, destination: source, protocol: new.original.protocol };
        // As it came in: the destination is rewritten already, but the state machine looks at flags only.
        let added = self.conntrack.confirm(new.original, reply, new.label.clone(), packet, now).is_some();
        set_source(packet, source);
        added
    }

    /// The source of a new flow, such that its answers are no other flow's. Source: Linux's
    /// nf_nat_l4proto_unique_tuple (the port's class is kept, at most 240 ports are tried).
    fn free_source(&mut self, new: &NewFlow, masquerade: Option<Masquerade>) -> Option<SocketAddr> {
        let original = new.original;
        let address = masquerade.map_or(original.source.ip(), |masquerade| masquerade.address);
        if address.is_ipv6() != original.source.is_ipv6() {
            return None;
        }
        let has_ports = protocol::has_ports(original.protocol);
        let draws = has_ports && masquerade.is_some_and(|masquerade| masquerade.random_port);
        let candidate = |port| SocketAddr::new(address, port);
        let is_free = |source| {
            let reply = Tuple { source: new.destination, destination: source, protocol: original.protocol };
            self.conntrack.is_free(&reply) || reply == original
        };
        if !draws && is_free(candidate(original.source.port())) {
            return Some(candidate(original.source.port()));
        }
        if !has_ports {
            return None;
        }
        let (first, count) = match original.source.port() {
            0..=511 => (1_u16, 511_u16),
            512..=1_023 => (600, 424),
            1_024.. => (1_024, 64_512),
        };
        for attempts in [128, 64, 32, 16] {
            let start = self.stream.random_range(0..count);
            for step in 0..attempts {
                let offset = (u32::from(start) + step) % u32::from(count);
                let source = candidate(first + offset as u16);
                if is_free(source) {
                    return Some(source);
                }
            }
        }
        None
    }

    /// The label of the rule that translated the packet's flow.
    pub(crate) fn label(&self, tracked: &Tracked) -> Option<Arc<str>> {
        match tracked {
            Tracked::New(new) => new.label.clone(),
            Tracked::Flow(id, _) | Tracked::Related(id, _) => self.conntrack.flow(*id)?.label.clone(),
            Tracked::Invalid => None,
        }
    }
}

fn set_source(packet: &mut Packet, source: SocketAddr) {
    if source.is_ipv6() == packet.is_ipv6() {
        packet.set_source(source);
    }
}

fn set_destination(packet: &mut Packet, destination: SocketAddr) {
    if destination.is_ipv6() == packet.is_ipv6() {
        packet.set_destination(destination);
    }
}
