//! The way of one packet through a balancer of kind `nat` or `dsr`.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use crate::balancer::direct::Seen;
use crate::balancer::{Forwarding, Idle, LoadBalancer, reset};
use crate::device::{Context, PortIndex};
use crate::icmp::{self, Unreachable};
use crate::nat::rules::Protocol;
use crate::nat::translator::{Decision, Masquerade, NewFlow, Tracked};
use crate::nat::tuple::Tuple;
use crate::packet::{Packet, protocol};
use crate::stack::Stack;
use crate::{Action, Answer};

static NO_ROUTE: LazyLock<Arc<str>> = LazyLock::new(|| "no route to the destination".into());
static EXPIRED: LazyLock<Arc<str>> = LazyLock::new(|| "time to live exceeded".into());
static FULL: LazyLock<Arc<str>> = LazyLock::new(|| "the load balancer's flow table is full".into());
static UNKNOWN: LazyLock<Arc<str>> = LazyLock::new(|| {
    "the load balancer knows no such flow (it was idle too long, or never began here)".into()
});
static NO_LISTENER: LazyLock<Arc<str>> =
    LazyLock::new(|| "the load balancer has no listener at this address and port".into());
static NO_PORT: LazyLock<Arc<str>> =
    LazyLock::new(|| "the load balancer has no free source port, or no address of this family".into());

impl LoadBalancer {
    /// Tells the sender of `packet`, which the balancer has sent, that the link takes `mtu` bytes.
    pub fn too_big(&mut self, packet: &Packet, mtu: u16, cx: &mut Context<'_>) {
        self.answer(packet, Unreachable::TooBig { mtu }, cx);
        self.pass_own(cx);
    }

    /// Lets `packet` pass: from `port`, or from the device's own sockets.
    pub(super) fn pass(&mut self, port: Option<PortIndex>, mut packet: Packet, cx: &mut Context<'_>) {
        if port.is_some() && self.is_direct(&packet) {
            return self.pass_direct(packet, cx);
        }
        let arrived = (packet.source(), packet.destination());
        let mut tracked = self.translator.track(&packet, cx.now);
        let is_own_address = self.is_own(packet.destination_ip());
        match &mut tracked {
            Tracked::Flow(..) | Tracked::Related(..) => {}
            Tracked::Invalid if port.is_none() || (is_own_address && !self.has_listener(&packet)) => {}
            Tracked::Invalid => return self.refuse_unknown(packet, cx),
            Tracked::New(_) if self.translator.conntrack.is_full() => {
                return cx.drop_packet(packet, &FULL);
            }
            Tracked::New(new) => match self.translator.decide(new, false, port.is_none(), cx.now) {
                Decision::Pass if new.label.is_some() || port.is_none() || is_own_address => {}
                Decision::Pass => return cx.drop_packet(packet, &NO_LISTENER),
                Decision::Drop(reason) => return cx.drop_packet(packet, &reason),
                Decision::Reject(reason) => return self.reset(packet, &reason, cx),
            },
        }
        self.translator.translate_destination(&tracked, &mut packet);
        if port.is_some()
            && !self.is_own(packet.destination_ip())
            && !self.count_down(arrived, &mut packet, cx)
        {
            return cx.reject_packet(packet, &EXPIRED, Answer::Icmp(Unreachable::TimeExceeded));
        }
        if !self.translate_source(&tracked, &mut packet, cx) {
            return cx.drop_packet(packet, &NO_PORT);
        }
        let action = match (packet.source() != arrived.0, packet.destination() != arrived.1) {
            (true, true) => Some(Action::TranslatedBoth),
            (true, false) => Some(Action::TranslatedSource),
            (false, true) => Some(Action::TranslatedDestination),
            (false, false) => None,
        };
        if let Some(action) = action.filter(|_| packet.trace.is_some()) {
            packet.hop(cx.name, action, cx.now, self.translator.label(&tracked));
        }
        self.send(packet, cx);
    }

    /// Whether the packet is for one of the listeners.
    fn has_listener(&self, packet: &Packet) -> bool {
        let protocol = match packet.protocol() {
            protocol::TCP => Protocol::Tcp,
            protocol::UDP => Protocol::Udp,
            _ => return false,
        };
        self.listeners.contains_key(&(packet.destination(), protocol))
    }

    /// Whether the packet is for a listener whose packets are left alone, and not for the device's own sockets.
    fn is_direct(&self, packet: &Packet) -> bool {
        if self.config.forwarding != Forwarding::Direct {
            return false;
        }
        let is_own = self.translator.conntrack.find(&Tuple::of(packet)).is_some();
        !is_own && self.is_own(packet.destination_ip())
    }

    /// Lets a packet of a client pass to the machine that its flow was placed on, as it is.
    fn pass_direct(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let idle = match packet.protocol() {
            protocol::TCP => self.config.tcp_idle_timeout,
            _ => self.config.udp_idle_timeout,
        };
        match self.direct.observe(&packet, idle, cx.now) {
            Seen::Placed(target) => self.deliver(target, packet, None, cx),
            Seen::Unrelated => cx.drop_packet(packet, &UNKNOWN),
            Seen::Unknown if self.config.idle != Idle::Place => self.refuse_unknown(packet, cx),
            Seen::First | Seen::Unknown => {
                let original = Tuple::of(&packet);
                let (destination, opens) = (original.destination, true);
                let mut new = NewFlow { original, destination, masquerade: false, label: None, opens };
                match self.translator.decide(&mut new, false, false, cx.now) {
                    Decision::Pass if new.label.is_none() => cx.drop_packet(packet, &NO_LISTENER),
                    Decision::Pass => {
                        let (target, until) = (new.destination.ip(), cx.now + idle);
                        if self.direct.place(&packet, target, until, cx.now, self.config.flows_max) {
                            self.deliver(target, packet, new.label, cx);
                        } else {
                            cx.drop_packet(packet, &FULL);
                        }
                    }
                    Decision::Drop(reason) => cx.drop_packet(packet, &reason),
                    Decision::Reject(reason) => self.reset(packet, &reason, cx),
                }
            }
        }
    }

    fn deliver(&self, target: IpAddr, mut packet: Packet, label: Option<Arc<str>>, cx: &mut Context<'_>) {
        let Some(next) = self.routes.find(target) else { return cx.drop_packet(packet, &NO_ROUTE) };
        if packet.trace.is_some() {
            let detail = label.unwrap_or_else(|| format!("to {target}, unchanged").into());
            packet.hop(cx.name, Action::Forwarded, cx.now, Some(detail));
        }
        packet.next_hop = Some(target);
        cx.outputs.packets.push((next.port, packet));
    }

    /// Lets the packets pass that the device itself sends, and those that they make it send.
    pub(super) fn pass_own(&mut self, cx: &mut Context<'_>) {
        while let Some(packet) = self.own.pop_front() {
            self.pass(None, packet, cx);
        }
    }

    /// Lets the stack act; what it sends has yet to pass.
    pub(super) fn with_stack(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut Stack, &mut Context<'_>),
    ) {
        let before = cx.outputs.packets.len();
        act(&mut self.stack, cx);
        self.own.extend(cx.outputs.packets.drain(before..).map(|(_, packet)| packet));
    }

    fn is_own(&self, address: IpAddr) -> bool {
        self.config.addresses.contains(&address) || address.is_loopback()
    }

    fn translate_source(&mut self, tracked: &Tracked, packet: &mut Packet, cx: &mut Context<'_>) -> bool {
        let Tracked::New(new) = tracked else {
            self.translator.translate_source(tracked, packet);
            return true;
        };
        let mut masquerade = None;
        if new.masquerade {
            let v6 = packet.is_ipv6();
            let address = self.config.addresses.iter().find(|address| address.is_ipv6() == v6);
            let Some(address) = address.copied() else { return false };
            masquerade = Some(Masquerade { address, random_port: true });
        }
        self.translator.confirm(new, masquerade, packet, cx.now)
    }

    /// Counts the time to live down; `false` if it ran out, which the sender is told of.
    fn count_down(
        &mut self,
        arrived: (std::net::SocketAddr, std::net::SocketAddr),
        packet: &mut Packet,
        cx: &mut Context<'_>,
    ) -> bool {
        let time_to_live = packet.time_to_live();
        if time_to_live > 1 {
            packet.set_time_to_live(time_to_live - 1);
            return true;
        }
        packet.set_destination(arrived.1);
        self.answer(packet, Unreachable::TimeExceeded, cx);
        false
    }

    fn refuse_unknown(&mut self, packet: Packet, cx: &mut Context<'_>) {
        match self.config.idle {
            Idle::Reset => self.reset(packet, &UNKNOWN, cx),
            Idle::Drop | Idle::Place => cx.drop_packet(packet, &UNKNOWN),
        }
    }

    fn reset(&mut self, packet: Packet, reason: &Arc<str>, cx: &mut Context<'_>) {
        match reset::answer(&packet, cx) {
            Some(answer) => {
                cx.reject_packet(packet, reason, Answer::Reset);
                self.send(answer, cx);
            }
            None => cx.drop_packet(packet, reason),
        }
    }

    fn answer(&mut self, packet: &Packet, why: Unreachable, cx: &mut Context<'_>) {
        let v6 = packet.is_ipv6();
        let Some(from) = self.config.addresses.iter().find(|address| address.is_ipv6() == v6).copied() else {
            return;
        };
        let limited = !matches!(why, Unreachable::TooBig { .. });
        if limited && !self.icmp_limit.allow(packet.source_ip(), cx.now) {
            return;
        }
        if let Some(answer) = icmp::error(from, packet, why, cx) {
            self.own.push_back(answer);
        }
    }

    fn send(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        let destination = packet.destination_ip();
        if self.is_own(destination) {
            self.with_stack(cx, |stack, cx| stack.receive(packet, cx));
            return;
        }
        match self.routes.find(destination) {
            Some(next) => {
                packet.next_hop = next.via;
                cx.outputs.packets.push((next.port, packet));
            }
            None => cx.drop_packet(packet, &NO_ROUTE),
        }
    }
}
