//! Routers: forward by longest prefix, count down the time to live, answer with ICMP errors.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;

use crate::device::{Context, PortIndex};
use crate::icmp::{self, Unreachable};
use crate::nat::Tuple;
use crate::packet::Packet;
use crate::return_path::ReturnPaths;
use crate::routing::{NextHop, RoutingTable};
use crate::{Action, Answer};

static EXPIRED: LazyLock<Arc<str>> = LazyLock::new(|| "time to live exceeded".into());
static NO_ROUTE: LazyLock<Arc<str>> = LazyLock::new(|| "no route to the destination".into());

/// A router.
///
/// A route may have several next hops ([`RoutingTable::insert_multipath`]): each flow keeps to one of them, by a hash
/// of its five-tuple (Linux sysctl `fib_multipath_hash_policy` 1 and 3; linux.md 7).
///
/// A port can be *symmetric*: what enters by it is answered by it. The router remembers the flows that came
/// in there and sends their replies back the same way, whatever the routing table says. That is how a cloud's
/// network returns the packets of a load balancer that keeps the client's address.
#[derive(Default)]
pub struct Router {
    addresses: Vec<IpAddr>,
    routes: RoutingTable,
    returns: ReturnPaths,
    /// Networks that packets vanish into unless there is a route.
    null_routes: Vec<(IpNet, Arc<str>)>,
}

impl Router {
    /// A router whose ICMP errors come from the first of `addresses` of their family, which is also the address that its
    /// neighbours know it by.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Router { addresses, ..Self::default() }
    }

    /// Its addresses.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Its routing table.
    pub fn routes_mut(&mut self) -> &mut RoutingTable {
        &mut self.routes
    }

    /// Makes `port` symmetric; replies go to `via`, or straight to the destination.
    pub fn set_symmetric(&mut self, port: PortIndex, via: Option<IpAddr>) {
        self.returns.set_symmetric(port, via);
    }

    /// Forgets a port and the flows that came in by it: nobody is there any more.
    pub fn forget_port(&mut self, port: PortIndex) {
        self.returns.forget_port(port);
    }

    /// Lets packets to `network` vanish where there is no route, for this reason; others are answered with an ICMP
    /// network unreachable.
    pub fn drop_silently(&mut self, network: IpNet, reason: impl Into<Arc<str>>) {
        self.null_routes.push((network, reason.into()));
    }

    /// Forwards `packet`.
    pub fn receive(&mut self, port: PortIndex, mut packet: Packet, cx: &mut Context<'_>) {
        self.returns.note(port, &packet, cx.now);
        let Some(next) = self.next_hop(&packet) else {
            let destination = packet.destination_ip();
            match self.null_routes.iter().find(|(network, _)| network.contains(&destination)) {
                Some((_, reason)) => cx.drop_packet(packet, reason),
                None => self.refuse(port, packet, Unreachable::Network, &NO_ROUTE, cx),
            }
            return;
        };
        let time_to_live = packet.time_to_live();
        if time_to_live <= 1 {
            self.refuse(port, packet, Unreachable::TimeExceeded, &EXPIRED, cx);
            return;
        }
        packet.set_time_to_live(time_to_live - 1);
        cx.hop(&mut packet, Action::Forwarded);
        packet.next_hop = next.via;
        packet.previous_hop = self.own_address(packet.is_ipv6());
        cx.outputs.packets.push((next.port, packet));
    }

    fn next_hop(&self, packet: &Packet) -> Option<NextHop> {
        let hash = || Tuple::of(packet).hash_with(0);
        self.returns.find(packet).or_else(|| self.routes.find_for(packet.destination_ip(), hash))
    }

    /// Tells the sender of `packet`, which the router has sent by `port`, what the link takes, in bytes.
    pub fn too_big(&self, port: PortIndex, packet: &Packet, mtu: u16, cx: &mut Context<'_>) {
        self.answer(port, packet, Unreachable::TooBig { mtu }, cx);
    }

    fn refuse(
        &self,
        port: PortIndex,
        packet: Packet,
        why: Unreachable,
        reason: &Arc<str>,
        cx: &mut Context<'_>,
    ) {
        if self.answer(port, &packet, why, cx) {
            cx.reject_packet(packet, reason, Answer::Icmp(why));
        } else {
            cx.drop_packet(packet, reason);
        }
    }

    /// Answers `packet` with an error; `false` if there is no way to. Without a route it leaves by `port`.
    fn answer(&self, port: PortIndex, packet: &Packet, why: Unreachable, cx: &mut Context<'_>) -> bool {
        let from = self.own_address(packet.is_ipv6());
        let Some(mut answer) = from.and_then(|from| icmp::error(from, packet, why, cx)) else {
            return false;
        };
        let next = self.next_hop(&answer).unwrap_or(NextHop { port, via: None });
        answer.next_hop = next.via;
        answer.previous_hop = from;
        cx.outputs.packets.push((next.port, answer));
        true
    }

    fn own_address(&self, v6: bool) -> Option<IpAddr> {
        self.addresses.iter().find(|address| address.is_ipv6() == v6).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hopwise_engine::{Simulation, Time};

    use super::*;
    use crate::device::Outputs;
    use crate::packet_builder::{SYN, SYN_ACK, at, ip, tcp};

    /// The port and packet that leave when `packet` arrives at `port`.
    fn pass(router: &mut Router, port: u32, packet: Packet) -> Option<(u32, Packet)> {
        let (mut outputs, name, mut last_packet_id) = (Outputs::default(), Arc::from("router"), 0);
        let next_packet_id = &mut last_packet_id;
        let mut cx = Context { now: Time::ZERO, name: &name, outputs: &mut outputs, next_packet_id };
        router.receive(PortIndex(port), packet, &mut cx);
        assert!(outputs.packets.len() <= 1);
        outputs.packets.pop().map(|(port, packet)| (port.0, packet))
    }

    fn router() -> Router {
        let mut router = Router::new(vec![ip("192.0.2.1")]);
        for (network, port) in [("203.0.113.0/24", 0), ("192.168.10.0/24", 1)] {
            let next = NextHop { port: PortIndex(port), via: None };
            router.routes_mut().insert(network.parse().expect("a network"), next);
        }
        router
    }

    #[test]
    fn errors_go_back_to_the_sender() {
        let test = || {
            let mut router = router();
            let client = at("203.0.113.10:50000");
            let (port, answer) =
                pass(&mut router, 0, tcp(client, at("10.9.9.9:80"), SYN)).expect("an answer");
            let why = icmp::parse(&answer).map(|error| error.why);
            assert_eq!((port, why), (0, Some(Unreachable::Network)));
            let mut packet = tcp(client, at("192.168.10.11:80"), SYN);
            packet.set_time_to_live(1);
            let (port, answer) = pass(&mut router, 0, packet).expect("an answer");
            let why = icmp::parse(&answer).map(|error| error.why);
            assert_eq!((port, why), (0, Some(Unreachable::TimeExceeded)));
            assert_eq!(answer.destination_ip(), client.ip());
        };
        assert_eq!(Simulation::new(1).run((), move || async move { test() }), Ok(()));
    }

    #[test]
    fn a_route_with_several_next_hops_spreads_flows_and_keeps_each_on_one() {
        let test = || {
            let mut router = router();
            let hops = [11, 12, 13]
                .map(|last| NextHop { port: PortIndex(1), via: Some(IpAddr::from([192, 168, 10, last])) });
            router
                .routes_mut()
                .insert_multipath("198.51.100.1/32".parse().expect("a network"), hops.to_vec());
            let mut counts = std::collections::BTreeMap::<IpAddr, u32>::new();
            for port in 40_000..40_300 {
                let client = SocketAddr::new(ip("203.0.113.10"), port);
                let mut via = || {
                    let (_, sent) =
                        pass(&mut router, 0, tcp(client, at("198.51.100.1:80"), SYN)).expect("sent");
                    sent.next_hop.expect("a next hop")
                };
                let first = via();
                assert_eq!(via(), first);
                *counts.entry(first).or_default() += 1;
            }
            assert!(counts.len() == 3 && counts.values().all(|count| *count > 70), "{counts:?}");
        };
        assert_eq!(Simulation::new(1).run((), move || async move { test() }), Ok(()));
    }

    #[test]
    fn what_enters_by_a_symmetric_port_is_answered_by_it() {
        let test = || {
            let mut router = router();
            let (client, target) = (at("203.0.113.10:50000"), at("192.168.10.11:30080"));
            router.set_symmetric(PortIndex(2), Some(ip("192.0.2.10")));
            // From the load balancer, with the client's address.
            let sent = pass(&mut router, 2, tcp(client, target, SYN)).map(|(port, _)| port);
            assert_eq!(sent, Some(1));
            let (port, back) = pass(&mut router, 1, tcp(target, client, SYN_ACK)).expect("an answer");
            assert_eq!((port, back.next_hop), (2, Some(ip("192.0.2.10"))));
            // Another flow of the same two addresses goes straight to the client.
            let other = tcp(at("192.168.10.11:30081"), client, SYN_ACK);
            let (mut outputs, name, mut last_packet_id) = (Outputs::default(), Arc::from("node"), 100);
            let next_packet_id = &mut last_packet_id;
            let mut cx = Context { now: Time::ZERO, name: &name, outputs: &mut outputs, next_packet_id };
            let about = tcp(client, target, SYN);
            let refusal = icmp::error(target.ip(), &about, Unreachable::Port, &mut cx).expect("an error");
            assert_eq!(
                pass(&mut router, 1, refusal).map(|(port, _)| port),
                Some(2),
                "so does an error about it"
            );
            assert_eq!(pass(&mut router, 1, other).map(|(port, _)| port), Some(0));
        };
        assert_eq!(Simulation::new(1).run((), move || async move { test() }), Ok(()));
    }
}
