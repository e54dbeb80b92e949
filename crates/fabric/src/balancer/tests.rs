//! Balancers of kind `nat` and `dsr`, packet by packet.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use hopwise_engine::random::stream_of;
use hopwise_engine::{Simulation, Span, Time};

use super::{BalancerConfig, Forwarding, Idle, LoadBalancer, NoTarget, SourceAddress};
use crate::device::{Context, Outputs, PortIndex};
use crate::icmp::{self, Unreachable};
use crate::nat::rules::Protocol;
use crate::packet::Packet;
use crate::packet_builder::{ACK, SYN, SYN_ACK, at, ip, tcp, traced};
use crate::routing::NextHop;

const VIP: &str = "192.0.2.100:9094";
const CLIENT: &str = "203.0.113.10:50000";
const TARGETS: [&str; 3] = ["192.168.10.11:30094", "192.168.10.12:30094", "192.168.10.13:30094"];
/// A reset, with and without an acknowledgement.
const RST: u8 = 0x04;
const RST_ACK: u8 = 0x14;

struct Bench {
    balancer: LoadBalancer,
    now: Time,
    last_packet_id: u64,
}

impl Bench {
    fn new(change: impl FnOnce(&mut BalancerConfig)) -> Self {
        let mut config = BalancerConfig::new(vec![ip("192.0.2.10")]);
        change(&mut config);
        let mut balancer = LoadBalancer::new(config, stream_of(3, "balancer/test"));
        let next = NextHop { port: PortIndex(0), via: Some(ip("192.0.2.1")) };
        balancer.routes_mut().insert("0.0.0.0/0".parse().expect("a network"), next);
        balancer.add_listener(at(VIP), Protocol::Tcp, "load balancer of Service redpanda/external");
        balancer.set_targets(at(VIP), Protocol::Tcp, TARGETS.map(at).to_vec());
        Bench { balancer, now: Time::ZERO, last_packet_id: 0 }
    }

    /// The packet that leaves when `packet` arrives.
    fn pass(&mut self, packet: Packet) -> Option<Packet> {
        let (mut outputs, name) = (Outputs::default(), Arc::from("lb"));
        let next_packet_id = &mut self.last_packet_id;
        let mut cx = Context { now: self.now, name: &name, outputs: &mut outputs, next_packet_id };
        self.balancer.receive(PortIndex(0), packet, &mut cx);
        assert!(outputs.packets.len() <= 1);
        outputs.packets.pop().map(|(_, packet)| packet)
    }

    fn connect(&mut self, from: SocketAddr) -> Option<Packet> {
        self.pass(tcp(from, at(VIP), SYN))
    }
}

fn simulated(test: impl Fn() + 'static) {
    let run = Simulation::new(1).run((), move || async move { test() });
    assert_eq!(run, Ok(()));
}

fn flags(packet: &Packet) -> u8 {
    packet.payload()[13]
}

#[test]
fn the_clients_address_is_kept_and_the_answer_comes_from_the_listener() {
    simulated(|| {
        let mut bench = Bench::new(|_| {});
        let sent = bench.connect(at(CLIENT)).expect("a target is chosen");
        assert_eq!(sent.source(), at(CLIENT));
        assert!(TARGETS.map(at).contains(&sent.destination()));
        assert_eq!(sent.time_to_live(), 63);
        assert_eq!(sent.next_hop, Some(ip("192.0.2.1")));
        let answer = bench.pass(tcp(sent.destination(), at(CLIENT), SYN_ACK)).expect("it goes back");
        assert_eq!((answer.source(), answer.destination()), (at(VIP), at(CLIENT)));
    });
}

#[test]
fn the_source_is_rewritten_on_request_and_the_answer_finds_its_way_back() {
    simulated(|| {
        let mut bench = Bench::new(|config| config.source = SourceAddress::Balancer);
        let sent = bench.connect(at(CLIENT)).expect("a target is chosen");
        assert_eq!(sent.source_ip(), ip("192.0.2.10"));
        let answer = bench.pass(tcp(sent.destination(), sent.source(), SYN_ACK)).expect("it goes back");
        assert_eq!((answer.source(), answer.destination()), (at(VIP), at(CLIENT)));
    });
}

#[test]
fn a_flow_stays_with_its_target_and_flows_spread_over_all() {
    simulated(|| {
        let mut bench = Bench::new(|_| {});
        let first = bench.connect(at(CLIENT)).expect("a target is chosen").destination();
        assert_eq!(bench.connect(at(CLIENT)).map(|packet| packet.destination()), Some(first));
        let mut others = BTreeSet::new();
        for port in 1_024..1_124 {
            let from = SocketAddr::new(ip("203.0.113.11"), port);
            others.insert(bench.connect(from).expect("a target is chosen").destination());
        }
        assert_eq!(others.len(), 3);
        // The target is unhealthy now: the open flow stays there, new ones go elsewhere.
        let healthy: Vec<SocketAddr> =
            TARGETS.map(at).into_iter().filter(|target| *target != first).collect();
        assert!(bench.balancer.set_targets(at(VIP), Protocol::Tcp, healthy));
        assert_eq!(bench.connect(at(CLIENT)).map(|packet| packet.destination()), Some(first));
        for port in 2_000..2_100 {
            let from = SocketAddr::new(ip("203.0.113.11"), port);
            assert_ne!(bench.connect(from).map(|packet| packet.destination()), Some(first));
        }
    });
}

#[test]
fn without_a_target_a_connection_is_dropped_or_reset_as_configured() {
    simulated(|| {
        let mut bench = Bench::new(|_| {});
        bench.balancer.set_targets(at(VIP), Protocol::Tcp, Vec::new());
        let mut syn = tcp(at(CLIENT), at(VIP), SYN);
        let report = traced(&mut syn);
        assert!(bench.pass(syn).is_none());
        let detail = report.route().forward.last().and_then(|hop| hop.detail.clone());
        let told = "load balancer of Service redpanda/external has no healthy target";
        assert_eq!(detail.as_deref(), Some(told));
        let mut bench = Bench::new(|config| config.no_target = NoTarget::Reset);
        bench.balancer.set_targets(at(VIP), Protocol::Tcp, Vec::new());
        let reset = bench.connect(at(CLIENT)).expect("a reset");
        assert_eq!((reset.source(), reset.destination()), (at(VIP), at(CLIENT)));
        assert_eq!(flags(&reset), RST_ACK);
        // The SYN's sequence number was 1000.
        assert_eq!(reset.payload()[8..12], 1_001_u32.to_be_bytes());
    });
}

#[test]
fn what_was_idle_too_long_is_reset_or_dropped_as_configured() {
    simulated(|| {
        for idle in [Idle::Reset, Idle::Drop] {
            let mut bench = Bench::new(|config| config.idle = idle);
            let target = bench.connect(at(CLIENT)).expect("a target is chosen").destination();
            bench.pass(tcp(target, at(CLIENT), SYN_ACK));
            assert!(bench.pass(tcp(at(CLIENT), at(VIP), ACK)).is_some());
            bench.now += Span::from_secs(349);
            assert!(bench.pass(tcp(target, at(CLIENT), ACK)).is_some_and(|packet| flags(&packet) == ACK));
            bench.now += Span::from_secs(350);
            for (from, to) in [(at(CLIENT), at(VIP)), (target, at(CLIENT))] {
                let answer = bench.pass(tcp(from, to, ACK));
                match idle {
                    Idle::Drop | Idle::Place => assert!(answer.is_none()),
                    Idle::Reset => {
                        let reset = answer.expect("a reset");
                        assert_eq!((flags(&reset), reset.destination()), (RST, from));
                        // The acknowledged number was 2000.
                        assert_eq!(reset.payload()[4..8], 2_000_u32.to_be_bytes());
                    }
                }
            }
        }
    });
}

#[test]
fn a_targets_refusal_reaches_the_client_as_being_about_its_own_packet() {
    simulated(|| {
        for source in [SourceAddress::Client, SourceAddress::Balancer] {
            let mut bench = Bench::new(|config| config.source = source);
            let sent = bench.connect(at(CLIENT)).expect("a target is chosen");
            let (mut outputs, name) = (Outputs::default(), Arc::from("n1"));
            let mut last_packet_id = 100;
            let next_packet_id = &mut last_packet_id;
            let mut cx = Context { now: bench.now, name: &name, outputs: &mut outputs, next_packet_id };
            let refusal = icmp::error(sent.destination_ip(), &sent, Unreachable::Port, &mut cx);
            let answer = bench.pass(refusal.expect("an ICMP error")).expect("it is passed on");
            assert_eq!(answer.source_ip(), at(VIP).ip());
            assert_eq!(answer.destination_ip(), at(CLIENT).ip());
            let error = icmp::parse(&answer).expect("an ICMP error");
            let about = Packet::new(error.about, 0);
            assert_eq!((about.source(), about.destination()), (at(CLIENT), at(VIP)));
        }
    });
}

#[test]
fn an_address_without_a_listener_answers_nothing() {
    simulated(|| {
        let mut bench = Bench::new(|_| {});
        assert!(bench.pass(tcp(at(CLIENT), at("192.0.2.100:80"), SYN)).is_none());
        bench.balancer.remove_listener(at(VIP), Protocol::Tcp);
        assert!(bench.connect(at(CLIENT)).is_none());
        assert!(!bench.balancer.set_targets(at(VIP), Protocol::Tcp, Vec::new()));
    });
}

/// A balancer of kind `dsr` whose targets are the machines of [`TARGETS`].
fn direct(idle: Idle) -> Bench {
    let mut bench = Bench::new(|config| {
        config.addresses = vec![at(VIP).ip()];
        config.forwarding = Forwarding::Direct;
        config.idle = idle;
    });
    let machines = TARGETS.map(|target| SocketAddr::new(at(target).ip(), at(VIP).port()));
    bench.balancer.set_targets(at(VIP), Protocol::Tcp, machines.to_vec());
    bench
}

#[test]
fn a_packet_is_delivered_to_a_machine_as_it_is() {
    simulated(|| {
        let mut bench = direct(Idle::Drop);
        let sent = bench.connect(at(CLIENT)).expect("a machine is chosen");
        assert_eq!((sent.source(), sent.destination(), sent.time_to_live()), (at(CLIENT), at(VIP), 64));
        let machine = sent.next_hop;
        assert!(TARGETS.map(|target| Some(at(target).ip())).contains(&machine));
        assert_eq!(bench.pass(tcp(at(CLIENT), at(VIP), ACK)).expect("it goes on").next_hop, machine);
        let other = at("192.0.2.100:80");
        assert!(bench.pass(tcp(at(CLIENT), other, SYN)).is_none(), "no listener there");
    });
}

#[test]
fn an_unknown_segment_of_a_direct_flow_is_dropped_reset_or_placed_anew() {
    simulated(|| {
        for idle in [Idle::Drop, Idle::Reset, Idle::Place] {
            let mut bench = direct(idle);
            let machine = bench.connect(at(CLIENT)).expect("a machine is chosen").next_hop;
            bench.now += Span::from_secs(351);
            let late = bench.pass(tcp(at(CLIENT), at(VIP), ACK));
            match idle {
                Idle::Drop => assert!(late.is_none()),
                Idle::Reset => assert_eq!(flags(&late.expect("a reset")), RST),
                Idle::Place => assert_eq!(late.expect("it goes on").next_hop, machine),
            }
        }
    });
}

#[test]
fn flows_that_are_cut_off_end_as_if_they_had_been_idle() {
    simulated(|| {
        let mut bench = Bench::new(|_| {});
        let target = bench.connect(at(CLIENT)).expect("a target is chosen").destination();
        assert_eq!(bench.balancer.cut_off(target.ip()), 1);
        assert_eq!(flags(&bench.pass(tcp(at(CLIENT), at(VIP), ACK)).expect("a reset")), RST);
        let mut bench = direct(Idle::Reset);
        let machine = bench.connect(at(CLIENT)).expect("a machine is chosen").next_hop.expect("a machine");
        assert_eq!(bench.balancer.cut_off(machine), 1);
        assert_eq!(flags(&bench.pass(tcp(at(CLIENT), at(VIP), ACK)).expect("a reset")), RST);
    });
}
