//! The way of one packet through a node, in netfilter's order.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use crate::device::{Context, PortIndex};
use crate::icmp::{self, Unreachable};
use crate::nat::Direction;
use crate::nat::translator::{Decision, Masquerade, NewFlow, Tracked};
use crate::node::filter::{Chain, Filtered};
use crate::node::{LinuxNode, OWN_TIMERS, PodLinks};
use crate::packet::Packet;
use crate::routing::NextHop;
use crate::stack::Stack;
use crate::{Action, Answer};

macro_rules! reasons {
    ($($name:ident = $text:literal;)*) => {
        $(static $name: LazyLock<Arc<str>> = LazyLock::new(|| $text.into());)*
    };
}

reasons! {
    MARTIAN = "martian source: the packet carries an address of this node";
    LOOPBACK = "martian: a loopback address came in from outside";
    TABLE_FULL = "the connection tracking table is full";
    INVALID = "it belongs to no connection that this node tracks (conntrack INVALID)";
    NO_ROUTE = "no route to the destination";
    EXPIRED = "time to live exceeded";
    NO_HAIRPIN = "the bridge does not send a packet out by the port it came in by (hairpin mode is off)";
    NO_SOURCE_PORT = "no source port is free for masquerade, or the node has no address of this family";
    POD_GONE = "the pod is gone, and the neighbour table has not noticed";
    NO_POD = "no pod has this address (ARP failed)";
    QUEUE_FULL = "too many packets wait for this address";
}

/// Where a packet goes once its destination is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// To the node's own sockets.
    Local,
    /// To the pod behind this port.
    Pod(PortIndex),
    /// To an address of the node's pod networks that no pod has.
    AbsentPod,
    /// Out of the node.
    Out(NextHop),
    /// Nowhere.
    NoRoute,
}

/// What is known of a packet on its way through.
struct Passage {
    /// The port it came in by; `None` for the node's own packets.
    port: Option<PortIndex>,
    from_pod: bool,
    /// As it came in.
    arrived: (SocketAddr, SocketAddr),
    tracked: Tracked,
}

impl LinuxNode {
    /// Lets `packet` pass: from `port`, or from the node's own sockets.
    pub(super) fn pass(&mut self, port: Option<PortIndex>, packet: Packet, cx: &mut Context<'_>) {
        if let Some(reason) = port.and_then(|_| self.martian(&packet)) {
            cx.drop_packet(packet, reason);
            return;
        }
        let from_pod = port.is_some_and(|port| self.pod_ports.contains_key(&port));
        if from_pod && self.is_switched_unseen(packet.destination_ip()) {
            self.switch_unseen(port, packet, cx);
            return;
        }
        let arrived = (packet.source(), packet.destination());
        let tracked = self.translator.track(&packet, cx.now);
        let mut passage = Passage { port, from_pod, arrived, tracked };
        let Some(mut packet) = self.decide(&mut passage, packet, cx) else { return };
        self.translator.translate_destination(&passage.tracked, &mut packet);
        let way =
            self.way_back(&passage.tracked, &packet).unwrap_or_else(|| self.way(packet.destination_ip()));
        let Some(mut packet) = self.filter(&passage, way, packet, cx) else { return };
        if !self.translate_source(&passage, way, &mut packet, cx) {
            cx.drop_packet(packet, &NO_SOURCE_PORT);
            return;
        }
        self.leave(&passage, way, packet, cx);
    }

    /// Lets the packets pass that the node itself sends, and those that they make it send.
    pub(super) fn pass_own(&mut self, cx: &mut Context<'_>) {
        while let Some(packet) = self.own.pop_front() {
            self.pass(None, packet, cx);
        }
    }

    /// Lets the stack act; what it sends has yet to pass the node.
    pub(super) fn with_stack(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Stack, &mut Context<'_>),
    ) {
        let before = cx.outputs.packets.len();
        act(&mut self.stack, cx);
        self.own.extend(cx.outputs.packets.drain(before..).map(|(_, packet)| packet));
    }

    /// Sends an ICMP error about `packet`; `false` if there is none to send.
    pub(super) fn answer(&mut self, packet: &Packet, why: Unreachable, cx: &mut Context<'_>) -> bool {
        let to = packet.source_ip();
        let Some(from) = self.error_source(packet) else { return false };
        let Some(mut answer) = icmp::error(from, packet, why, cx) else { return false };
        answer.answers_to = packet.previous_hop;
        // "Fragmentation needed" and what stays on the machine is not limited (icmpv4_xrlim_allow).
        let is_limited =
            self.config.limit_icmp && !self.is_local(to) && !matches!(why, Unreachable::TooBig { .. });
        if is_limited && !self.icmp_limit.allow(to, cx.now) {
            return false;
        }
        self.own.push_back(answer);
        true
    }

    /// Looks after the addresses that packets wait for.
    pub(super) fn resolve_neighbours(&mut self, cx: &mut Context<'_>) {
        let pods = &self.pods;
        let (resolved, next_at) = self.neighbours.due(cx.now, |address| pods.contains_key(&address));
        if let Some(at) = next_at {
            cx.outputs.timers.push((at, OWN_TIMERS));
        }
        for entry in resolved {
            for packet in entry.packets {
                match self.pods.get(&entry.address) {
                    Some(port) if entry.found => cx.outputs.packets.push((*port, packet)),
                    _ => self.refuse(packet, Unreachable::Host, &NO_POD, cx),
                }
            }
        }
    }

    fn martian(&self, packet: &Packet) -> Option<&'static Arc<str>> {
        let (source, destination) = (packet.source_ip(), packet.destination_ip());
        if source.is_loopback() || destination.is_loopback() {
            return Some(&LOOPBACK);
        }
        self.local.contains(&source).then(|| &*MARTIAN)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        self.local.contains(&address) || address.is_loopback()
    }

    fn way(&self, destination: IpAddr) -> Way {
        if self.is_local(destination) {
            return Way::Local;
        }
        if let Some(port) = self.pods.get(&destination) {
            return Way::Pod(*port);
        }
        if self.config.pod_networks.iter().any(|network| network.contains(&destination)) {
            return Way::AbsentPod;
        }
        self.routes.find(destination).map_or(Way::NoRoute, Way::Out)
    }

    /// The way of an answer that goes back to the router which its flow came from; `None` where the routing table
    /// decides.
    fn way_back(&self, tracked: &Tracked, packet: &Packet) -> Option<Way> {
        if !self.config.answers_return_to_router {
            return None;
        }
        let router = match tracked {
            Tracked::Flow(id, Direction::Reply) | Tracked::Related(id, Direction::Reply) => {
                self.translator.conntrack.flow(*id)?.came_from?
            }
            // An error of the node's own, about a packet that came from the router.
            Tracked::Invalid | Tracked::New(_) => packet.answers_to?,
            Tracked::Flow(..) | Tracked::Related(..) => return None,
        };
        let Way::Out(next) = self.way(packet.destination_ip()) else { return None };
        Some(Way::Out(NextHop { via: Some(router), ..next }))
    }

    /// Whether the bridge passes a packet from a pod on without netfilter.
    fn is_switched_unseen(&self, destination: IpAddr) -> bool {
        matches!(self.config.pod_links, PodLinks::Bridge { netfilter: false, .. })
            && !self.is_local(destination)
            && matches!(self.way(destination), Way::Pod(_) | Way::AbsentPod)
    }

    fn switch_unseen(&mut self, port: Option<PortIndex>, mut packet: Packet, cx: &mut Context<'_>) {
        let way = self.way(packet.destination_ip());
        if self.is_hairpin_refused(port, way) {
            cx.drop_packet(packet, &NO_HAIRPIN);
            return;
        }
        cx.hop(&mut packet, Action::Switched);
        self.send(way, packet, cx);
    }

    /// Whether the packet would leave the bridge by the port it came in by, and the bridge does not do that.
    fn is_hairpin_refused(&self, port: Option<PortIndex>, way: Way) -> bool {
        let hairpin = match self.config.pod_links {
            PodLinks::Bridge { hairpin, .. } => hairpin,
            PodLinks::PointToPoint => true,
        };
        !hairpin && port.is_some_and(|port| way == Way::Pod(port))
    }

    /// Whether the packet stays on the bridge (and keeps its time to live): from pod to pod, translated or not
    /// (linux.md 1, hops 0/0; br_netfilter bridges what it has translated to another port of the bridge).
    fn is_switched(&self, passage: &Passage, way: Way) -> bool {
        matches!(self.config.pod_links, PodLinks::Bridge { netfilter: true, .. })
            && passage.from_pod
            && matches!(way, Way::Pod(_) | Way::AbsentPod)
    }

    /// Asks the destination rules about the first packet of a flow.
    fn decide(&mut self, passage: &mut Passage, packet: Packet, cx: &mut Context<'_>) -> Option<Packet> {
        if !matches!(passage.tracked, Tracked::New(_)) {
            return Some(packet);
        }
        if self.translator.conntrack.is_full() {
            cx.drop_packet(packet, &TABLE_FULL);
            return None;
        }
        let is_local = self.is_local(packet.destination_ip());
        let is_own = passage.port.is_none() || self.is_local(packet.source_ip());
        let Tracked::New(new) = &mut passage.tracked else { return Some(packet) };
        match self.translator.decide(new, is_local, is_own, cx.now) {
            Decision::Pass => Some(packet),
            Decision::Drop(reason) => {
                cx.drop_packet(packet, &reason);
                None
            }
            Decision::Reject(reason) => {
                self.refuse(packet, Unreachable::Port, &reason, cx);
                None
            }
        }
    }

    /// What happens between routing and the way out: the time to live, the filter, packets that fit nowhere.
    fn filter(
        &mut self,
        passage: &Passage,
        way: Way,
        mut packet: Packet,
        cx: &mut Context<'_>,
    ) -> Option<Packet> {
        if way == Way::NoRoute {
            self.refuse_as_arrived(passage, packet, Unreachable::Network, &NO_ROUTE, cx);
            return None;
        }
        let forwarded = passage.port.is_some() && way != Way::Local;
        let switched = self.is_switched(passage, way);
        if forwarded && !switched {
            let time_to_live = packet.time_to_live();
            if time_to_live <= 1 {
                self.refuse_as_arrived(passage, packet, Unreachable::TimeExceeded, &EXPIRED, cx);
                return None;
            }
            packet.set_time_to_live(time_to_live - 1);
        }
        if switched && self.is_hairpin_refused(passage.port, way) {
            cx.drop_packet(packet, &NO_HAIRPIN);
            return None;
        }
        if forwarded && self.config.drop_invalid && matches!(passage.tracked, Tracked::Invalid) {
            cx.drop_packet(packet, &INVALID);
            return None;
        }
        let chain = match (passage.port, way) {
            (None, _) => Chain::Output,
            (Some(_), Way::Local) => Chain::Input,
            (Some(_), _) => Chain::Forward,
        };
        let denial = self.filter.denial(&Filtered {
            chain,
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.protocol(),
            is_new: matches!(passage.tracked, Tracked::New(_)),
        });
        if let Some(reason) = denial {
            cx.drop_packet(packet, reason);
            return None;
        }
        Some(packet)
    }

    /// Rewrites the source and enters a new flow into the table; `false` if no port is free for it.
    fn translate_source(
        &mut self,
        passage: &Passage,
        way: Way,
        packet: &mut Packet,
        cx: &mut Context<'_>,
    ) -> bool {
        let Tracked::New(new) = &passage.tracked else {
            self.translator.translate_source(&passage.tracked, packet);
            return true;
        };
        let Ok((masquerade, label)) = self.masquerade(passage, new, way, packet) else { return false };
        let new = NewFlow { label: label.or_else(|| new.label.clone()), ..*new };
        self.translator.confirm(&new, masquerade, packet, cx.now)
    }

    /// Whether and how the source of a new flow is rewritten, and the label of the source rule that asks for it;
    /// an error if the node has no address for it.
    fn masquerade(
        &self,
        passage: &Passage,
        new: &NewFlow,
        way: Way,
        packet: &Packet,
    ) -> Result<(Option<Masquerade>, Option<Arc<str>>), ()> {
        if way == Way::Local {
            return Ok((None, None));
        }
        let mut label = None;
        let mut asked = new.masquerade;
        if !asked {
            let rule = self.translator.rules.find_source(packet.source_ip(), packet.destination_ip());
            label = rule.map(|rule| rule.label.clone());
            asked = rule.is_some();
        }
        // The node's own packets take the bridge's address as their source when they are for a pod.
        let to_own_pod = passage.port.is_none()
            && matches!(way, Way::Pod(_) | Way::AbsentPod)
            && self.is_local(packet.source_ip());
        if !asked && !to_own_pod {
            return Ok((None, None));
        }
        let address = self.address_towards(way, packet.is_ipv6()).ok_or(())?;
        if !asked && address == packet.source_ip() {
            return Ok((None, None));
        }
        let random_port = asked && self.config.masquerade_random_port;
        Ok((Some(Masquerade { address, random_port }), label))
    }

    /// The node's address on the interface that leads this way (linux.md 3, K05b).
    fn address_towards(&self, way: Way, v6: bool) -> Option<IpAddr> {
        let of_family =
            |addresses: &[IpAddr]| addresses.iter().find(|address| address.is_ipv6() == v6).copied();
        let main = of_family(&self.config.addresses);
        match way {
            Way::Pod(_) | Way::AbsentPod => of_family(self.config.bridge_addresses()).or(main),
            Way::Local | Way::Out(_) | Way::NoRoute => main,
        }
    }

    /// The address that an error about `packet` comes from: the one it was sent to, if that is the node's, or
    /// the one on the way back (icmp_send).
    fn error_source(&self, packet: &Packet) -> Option<IpAddr> {
        let destination = packet.destination_ip();
        if self.is_local(destination) {
            return Some(destination);
        }
        self.address_towards(self.way(packet.source_ip()), packet.is_ipv6())
    }

    /// Refuses `packet` as it came in: the error is about what the sender sent.
    fn refuse_as_arrived(
        &mut self,
        passage: &Passage,
        mut packet: Packet,
        why: Unreachable,
        reason: &Arc<str>,
        cx: &mut Context<'_>,
    ) {
        packet.set_destination(passage.arrived.1);
        self.refuse(packet, why, reason, cx);
    }

    fn refuse(&mut self, packet: Packet, why: Unreachable, reason: &Arc<str>, cx: &mut Context<'_>) {
        if self.answer(&packet, why, cx) {
            cx.reject_packet(packet, reason, Answer::Icmp(why));
        } else {
            cx.drop_packet(packet, reason);
        }
    }

    /// Notes in the packet's path what was done to it, and sends it on its way.
    fn leave(&mut self, passage: &Passage, way: Way, mut packet: Packet, cx: &mut Context<'_>) {
        let translated = (packet.source() != passage.arrived.0, packet.destination() != passage.arrived.1);
        let action = match translated {
            (true, true) => Some(Action::TranslatedBoth),
            (true, false) => Some(Action::TranslatedSource),
            (false, true) => Some(Action::TranslatedDestination),
            (false, false) if passage.port.is_none() || way == Way::Local => None,
            (false, false) if self.is_switched(passage, way) => Some(Action::Switched),
            (false, false) => Some(Action::Forwarded),
        };
        if let Some(action) = action.filter(|_| packet.trace.is_some()) {
            let label = self.translator.label(&passage.tracked);
            packet.hop(cx.name, action, cx.now, label);
        }
        self.send(way, packet, cx);
    }

    fn send(&mut self, way: Way, mut packet: Packet, cx: &mut Context<'_>) {
        (packet.next_hop, packet.previous_hop) = (None, None);
        match way {
            Way::Local => self.with_stack(cx, |stack, cx| stack.receive(packet, cx)),
            Way::Pod(port) => cx.outputs.packets.push((port, packet)),
            Way::Out(next) => {
                packet.next_hop = next.via;
                cx.outputs.packets.push((next.port, packet));
            }
            Way::AbsentPod => self.wait_for_neighbour(packet, cx),
            Way::NoRoute => cx.drop_packet(packet, &NO_ROUTE),
        }
    }

    fn wait_for_neighbour(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let address = packet.destination_ip();
        if self.neighbours.is_stale(address, cx.now) {
            cx.drop_packet(packet, &POD_GONE);
            return;
        }
        let (call_at, gives_way) = self.neighbours.wait(address, packet, cx.now);
        if let Some(at) = call_at {
            cx.outputs.timers.push((at, OWN_TIMERS));
        }
        if let Some(packet) = gives_way {
            cx.drop_packet(packet, &QUEUE_FULL);
        }
    }
}
