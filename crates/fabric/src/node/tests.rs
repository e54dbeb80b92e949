//! Nodes against the kernel: each test is named after its row in linux.md.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hopwise_engine::{Simulation, Span};

use super::test_cluster::*;
use super::{FilterAction, FilterRule, PodLinks};
use crate::icmp::{self, Unreachable};
use crate::nat::TcpState;
use crate::packet_builder::{ACK, FIN_ACK, SYN, SYN_ACK, at, ip, tcp, traced, udp};

/// Devices write to the event log, so tests run inside a simulation.
fn simulated(test: impl Fn() + 'static) {
    let run = Simulation::new(1).run((), move || async move { test() });
    assert_eq!(run, Ok(()));
}

fn node_port(node: usize) -> SocketAddr {
    SocketAddr::new(node_ip(node), NODE_PORT)
}

/// The distinct outcomes of some tries.
fn outcomes(cluster: &mut Cluster, sender: Sender, to: SocketAddr) -> Vec<String> {
    let all: BTreeSet<String> = (0..40).map(|_| cluster.connect(sender, to)).collect();
    all.into_iter().collect()
}

const THREE: &[&str] = &["pa", "pb", "pc"];

#[test]
fn external_client() {
    simulated(|| {
        let mut cluster = Cluster::base();
        let client = Sender::Client;
        cluster.serve(Service { endpoints: THREE, local: false });
        // ClusterIP routed to n3 by the network.
        let n3 = ["pa from node:n3 3/3", "pb from node:n3 3/3", "pc from node:n3 3/3"];
        assert_eq!(outcomes(&mut cluster, client, at(CLUSTER_IP)), n3);
        // Pod IP (headless), routed.
        let pod = SocketAddr::new(pod_ip("pa"), POD_PORT);
        assert_eq!(outcomes(&mut cluster, client, pod), ["pa from client 2/2"]);
        // NodePort Cluster, node with endpoints, and node without.
        let n1 = ["pa from bridge:n1 2/2", "pb from bridge:n1 2/2", "pc from node:n1 3/3"];
        assert_eq!(outcomes(&mut cluster, client, node_port(0)), n1);
        assert_eq!(outcomes(&mut cluster, client, node_port(2)), n3);
        // NodePort Local, node with endpoints, and node without.
        cluster.serve(Service { endpoints: THREE, local: true });
        let n1 = ["pa from client 2/2", "pb from client 2/2"];
        assert_eq!(outcomes(&mut cluster, client, node_port(0)), n1);
        assert_eq!(outcomes(&mut cluster, client, node_port(2)), ["dropped by n3"]);
        // NodePort, no endpoints.
        for local in [false, true] {
            cluster.serve(Service { endpoints: &[], local });
            let refused = outcomes(&mut cluster, client, node_port(2));
            assert_eq!(refused, ["Port from 192.168.10.13"], "local: {local}");
        }
    });
}

/// The rows of "Pods and nodes as clients", one line per client. Node processes have no second hop count.
fn clients_table(make: fn() -> Cluster) -> String {
    let senders = [
        ("the endpoint pod itself", Sender::Pod("pa")),
        ("pod, same node", Sender::Pod("pb")),
        ("pod, other node", Sender::Pod("pe")),
        ("node of the endpoint", Sender::Node(0)),
        ("other node", Sender::Node(2)),
    ];
    let mut table = String::new();
    for (name, sender) in senders {
        let mut cells = vec![name.to_owned()];
        for local in [false, true] {
            let mut cluster = make();
            cluster.serve(Service { endpoints: &["pa"], local });
            if !local {
                cells.push(outcomes(&mut cluster, sender, at(CLUSTER_IP)).join(", "));
                if sender != Sender::Pod("pa") {
                    let pod = SocketAddr::new(pod_ip("pa"), POD_PORT);
                    cells.push(outcomes(&mut cluster, sender, pod).join(", "));
                }
            }
            for node in [0, 2] {
                cells.push(outcomes(&mut cluster, sender, node_port(node)).join(", "));
            }
        }
        table.push_str(&cells.join(" | "));
        table.push('\n');
    }
    table
}

#[test]
fn pods_and_nodes_as_clients() {
    // Columns: ClusterIP, pod IP (not for the pod itself, whose own stack delivers it), NodePort Cluster at n1 and
    // n3, NodePort Local at n1 and n3.
    simulated(|| {
        let expected = "\
the endpoint pod itself | pa from bridge:n1 0/0 | pa from bridge:n1 0/0 | pa from node:n3 3/3 | pa from bridge:n1 0/0 | dropped by n3
pod, same node | pa from pod:pb 0/0 | pa from pod:pb 0/0 | pa from bridge:n1 0/0 | pa from node:n3 3/3 | pa from pod:pb 0/0 | dropped by n3
pod, other node | pa from pod:pe 2/2 | pa from pod:pe 2/2 | pa from bridge:n1 2/2 | pa from node:n3 2/2 | pa from node:n3 2/2 | pa from pod:pe 2/2
node of the endpoint | pa from bridge:n1 0 | pa from bridge:n1 0 | pa from bridge:n1 0 | pa from node:n3 2 | pa from bridge:n1 0 | dropped by n3
other node | pa from node:n3 1 | pa from node:n3 1 | pa from bridge:n1 1 | pa from node:n3 1 | pa from node:n3 1 | pa from node:n3 1
";
        assert_eq!(clients_table(Cluster::base), expected);
    });
}

#[test]
fn ptp_differs_in_the_masquerade_address_and_in_hops_within_a_node() {
    simulated(|| {
        let expected = "\
the endpoint pod itself | pa from node:n1 1/1 | pa from node:n1 1/1 | pa from node:n3 3/3 | pa from node:n1 1/1 | dropped by n3
pod, same node | pa from pod:pb 1/1 | pa from pod:pb 1/1 | pa from node:n1 1/1 | pa from node:n3 3/3 | pa from pod:pb 1/1 | dropped by n3
pod, other node | pa from pod:pe 2/2 | pa from pod:pe 2/2 | pa from node:n1 2/2 | pa from node:n3 2/2 | pa from node:n3 2/2 | pa from pod:pe 2/2
node of the endpoint | pa from node:n1 0 | pa from node:n1 0 | pa from node:n1 0 | pa from node:n3 2 | pa from node:n1 0 | dropped by n3
other node | pa from node:n3 1 | pa from node:n3 1 | pa from node:n1 1 | pa from node:n3 1 | pa from node:n3 1 | pa from node:n3 1
";
        assert_eq!(clients_table(Cluster::point_to_point), expected);
    });
}

#[test]
fn masq_rfc1918_makes_any_pod_a_local_one_for_the_local_policy() {
    simulated(|| {
        let service = Service { endpoints: THREE, local: true };
        let pe = Sender::Pod("pe");
        // Any pod skips the Local policy, and what goes on to another node is answered past the NAT (K08b, K08d):
        // that answer fits no flow of the client's node. The oracle lets it pass and the client resets it;
        // kube-proxy has it dropped (kubernetes.md 6.6). Either way the client times out.
        for (drop_invalid, third) in [(true, "answer lost"), (false, "answer from 10.244.2.2:8080")] {
            let mut cluster = Cluster::masquerade_outside_rfc1918(false, drop_invalid);
            cluster.serve(service);
            let (connected, lost): (Vec<String>, Vec<String>) = outcomes(&mut cluster, pe, node_port(0))
                .into_iter()
                .partition(|one| one.contains("from pod:"));
            assert_eq!(connected, ["pa from pod:pe 2/2", "pb from pod:pe 2/2"]);
            assert!(!lost.is_empty() && lost.iter().all(|one| one.starts_with(third)), "{lost:?}");
        }
        // Each node takes only its own pods for local ones.
        let mut cluster = Cluster::masquerade_outside_rfc1918(true, true);
        cluster.serve(service);
        let local = ["pa from pod:pe 2/2", "pb from pod:pe 2/2"];
        assert_eq!(outcomes(&mut cluster, pe, node_port(0)), local);
        assert_eq!(outcomes(&mut cluster, Sender::Pod("pa"), node_port(2)), ["dropped by n3"]);
    });
}

#[test]
fn no_br_nf_loses_the_answer_between_two_pods_of_one_bridge() {
    simulated(|| {
        let mut cluster = Cluster::new(|config| {
            if let PodLinks::Bridge { netfilter, .. } = &mut config.pod_links {
                *netfilter = false;
            }
        });
        cluster.serve(Service { endpoints: &["pa"], local: false });
        let cip = at(CLUSTER_IP);
        assert_eq!(cluster.connect(Sender::Pod("pa"), cip), "pa from bridge:n1 1/1");
        assert!(cluster.connect(Sender::Pod("pb"), cip).starts_with("answer from 10.244.1.2:8080"));
        assert_eq!(cluster.connect(Sender::Pod("pe"), cip), "pa from pod:pe 2/2");
        let pod = SocketAddr::new(pod_ip("pa"), POD_PORT);
        assert_eq!(cluster.connect(Sender::Pod("pb"), pod), "pa from pod:pb 0/0");
    });
}

#[test]
fn no_hairpin_drops_before_confirmation_so_that_a_retry_draws_a_new_endpoint() {
    simulated(|| {
        let mut cluster = Cluster::new(|config| {
            if let PodLinks::Bridge { hairpin, .. } = &mut config.pod_links {
                *hairpin = false;
            }
        });
        cluster.serve(Service { endpoints: &["pa"], local: false });
        assert_eq!(cluster.connect(Sender::Pod("pa"), at(CLUSTER_IP)), "dropped by n1");
        assert!(cluster.nodes[0].conntrack().is_empty());
        cluster.serve(Service { endpoints: THREE, local: false });
        let from = SocketAddr::new(pod_ip("pa"), 50_000);
        let tries = (0..20).map(|_| cluster.send(Sender::Pod("pa"), tcp(from, at(CLUSTER_IP), SYN)));
        let tries: Vec<Arrival> = tries.collect();
        assert!(tries.iter().any(|arrival| matches!(arrival, Arrival::Nowhere)));
        assert!(tries.iter().any(|arrival| matches!(arrival, Arrival::Pod("pb" | "pc", _))));
    });
}

#[test]
fn pod_gone_but_still_listed_is_unreachable_after_three_seconds() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pa"], local: false });
        let port = cluster.nodes[0].pod_port(pod_ip("pa")).expect("pa is there");
        let now = cluster.now;
        cluster.nodes[0].remove_pod(port, now);
        let mut syn = tcp(SocketAddr::new(ip(CLIENT), 50_000), node_port(2), SYN);
        let report = traced(&mut syn);
        // The neighbour table has not noticed: silence.
        assert!(matches!(cluster.send(Sender::Client, syn), Arrival::Nowhere));
        let detail = report.route().forward.last().and_then(|hop| hop.detail.clone());
        assert_eq!(detail.as_deref(), Some("the pod is gone, and the neighbour table has not noticed"));
        cluster.nodes[0].forget_neighbour(pod_ip("pa"));
        assert_eq!(cluster.connect(Sender::Client, node_port(2)), "waits");
        assert!(matches!(cluster.wait(Span::from_millis(3_071)), Arrival::Nowhere));
        let Arrival::Client(answer) = cluster.wait(Span::from_millis(1)) else { panic!("no answer") };
        let error = icmp::parse(&answer).expect("an ICMP error");
        assert_eq!(error.why, Unreachable::Host);
        let about = crate::Packet::new(error.about, 0);
        assert_eq!(about.destination(), node_port(2), "the client recognizes its own packet");
        assert_eq!(about.source_ip(), ip(CLIENT));
    });
}

#[test]
fn a_pod_that_comes_back_in_time_gets_what_waited() {
    simulated(|| {
        let mut cluster = Cluster::base();
        let pod = SocketAddr::new(ip("10.244.1.9"), POD_PORT);
        assert_eq!(cluster.connect(Sender::Pod("pe"), pod), "waits");
        cluster.nodes[0].add_pod(&[pod.ip()], crate::PortIndex(1));
        assert!(matches!(cluster.wait(Span::from_secs(1)), Arrival::Pod("pa", _)));
        assert!(matches!(cluster.wait(Span::from_secs(9)), Arrival::Nowhere));
    });
}

#[test]
fn forty_connects_at_once_six_are_refused() {
    simulated(|| {
        let mut cluster = Cluster::new(|config| config.limit_icmp = true);
        cluster.serve(Service { endpoints: &[], local: false });
        let refused = |cluster: &mut Cluster, sender| {
            (0..40).filter(|_| cluster.connect(sender, at(CLUSTER_IP)).starts_with("Port")).count()
        };
        assert_eq!(refused(&mut cluster, Sender::Pod("pa")), 6);
        cluster.now += Span::from_secs(1);
        assert_eq!(refused(&mut cluster, Sender::Pod("pa")), 1);
        cluster.nodes[0].set_icmp_limit(false);
        assert_eq!(refused(&mut cluster, Sender::Pod("pa")), 40);
    });
}

#[test]
fn established_flows_outlive_their_rule_and_deleted_entries_do_not() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let (from, to) = (SocketAddr::new(pod_ip("pe"), 50_000), at(CLUSTER_IP));
        let pod = SocketAddr::new(pod_ip("pc"), POD_PORT);
        cluster.send(Sender::Pod("pe"), tcp(from, to, SYN));
        cluster.send(Sender::Pod("pc"), tcp(pod, from, SYN_ACK));
        cluster.send(Sender::Pod("pe"), tcp(from, to, ACK));
        // (1) The endpoint's rule is removed: the open connection goes on, a new one is refused.
        cluster.serve(Service { endpoints: &[], local: false });
        assert!(matches!(cluster.send(Sender::Pod("pe"), tcp(from, to, ACK)), Arrival::Pod("pc", _)));
        assert!(cluster.connect(Sender::Pod("pe"), to).starts_with("Port from"));
        // (4) The entry is deleted and the server speaks first: its packet carries the pod's own address.
        assert_eq!(cluster.nodes[2].conntrack_mut().delete_where(|flow| flow.original.source == from), 1);
        let Arrival::Pod("pe", packet) = cluster.send(Sender::Pod("pc"), tcp(pod, from, ACK)) else {
            panic!("the packet is picked up in the middle")
        };
        assert_eq!(packet.source(), pod);
        // (4) With one endpoint the client's next packet finds its way again.
        cluster.nodes[2].conntrack_mut().flush();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        assert!(matches!(cluster.send(Sender::Pod("pe"), tcp(from, to, ACK)), Arrival::Pod("pc", _)));
        // (4) Not so with nf_conntrack_tcp_loose=0.
        cluster.nodes[2].conntrack_mut().flush();
        let mut config = *cluster.nodes[2].conntrack().config();
        config.tcp_loose = false;
        cluster.nodes[2].conntrack_mut().set_config(config);
        assert!(matches!(cluster.send(Sender::Pod("pe"), tcp(from, to, ACK)), Arrival::Nowhere));
    });
}

#[test]
fn a_masqueraded_flow_whose_entry_is_deleted_gets_another_source_port() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let from = SocketAddr::new(ip(CLIENT), 50_000);
        let port_seen = |cluster: &mut Cluster, flags| {
            let Arrival::Pod("pc", packet) = cluster.send(Sender::Client, tcp(from, node_port(2), flags))
            else {
                panic!("the pod is reached")
            };
            packet.ports().0
        };
        let first = port_seen(&mut cluster, SYN);
        assert_eq!(port_seen(&mut cluster, SYN), first, "a repeated SYN belongs to the flow");
        cluster.nodes[2].conntrack_mut().flush();
        assert_ne!(port_seen(&mut cluster, ACK), first);
    });
}

#[test]
fn session_affinity_is_each_nodes_own_and_renewed_by_new_connections() {
    use crate::nat::rules::*;
    simulated(|| {
        let mut cluster = Cluster::base();
        let targets: Vec<SocketAddr> = ["pa", "pb"].map(|pod| SocketAddr::new(pod_ip(pod), POD_PORT)).into();
        let choice = Choice::SourceAffinity(Span::from_secs(3));
        let translation = Translation { targets: targets.into(), masquerade: false, choice };
        let branches = vec![Branch { source: SourceMatch::Any, verdict: Verdict::Translate(translation) }];
        cluster.nodes[2].set_rule(DestinationRule {
            destination: Destination::Address(ip("10.96.0.10")),
            protocol: Protocol::Tcp,
            port: 80,
            branches,
            label: "Service sticky".into(),
        });
        let connect = |cluster: &mut Cluster, gap: Span| -> BTreeSet<String> {
            let mut once = || {
                cluster.now += gap;
                cluster.connect(Sender::Pod("pe"), at(CLUSTER_IP))
            };
            (0..20).map(|_| once()).collect()
        };
        assert_eq!(connect(&mut cluster, Span::from_millis(1_500)).len(), 1);
        assert_eq!(connect(&mut cluster, Span::from_millis(4_200)).len(), 2);
    });
}

#[test]
fn a_packet_with_the_nodes_own_source_is_martian() {
    simulated(|| {
        let mut cluster = Cluster::base();
        let mut packet = tcp(SocketAddr::new(node_ip(0), 50_000), node_port(0), SYN);
        let report = traced(&mut packet);
        assert!(matches!(cluster.send(Sender::Client, packet), Arrival::Nowhere));
        let detail = report.route().forward.last().and_then(|hop| hop.detail.clone());
        assert!(detail.is_some_and(|detail| detail.starts_with("martian source")));
    });
}

#[test]
fn the_filter_denies_new_flows_and_lets_answers_pass() {
    simulated(|| {
        let mut cluster = Cluster::base();
        let mut deny = FilterRule::new(FilterAction::Deny, "NetworkPolicy db/deny-all");
        deny.destinations = vec!["10.244.2.2/32".parse().expect("a network")];
        deny.ports = vec![8_000..=8_100];
        cluster.nodes[1].filter_mut().rules = vec![deny];
        let to = |pod| SocketAddr::new(pod_ip(pod), POD_PORT);
        assert_eq!(cluster.connect(Sender::Pod("pe"), to("pc")), "dropped by n2");
        assert_eq!(cluster.connect(Sender::Pod("pe"), to("pd")), "pd from pod:pe 2/2");
        assert_eq!(cluster.connect(Sender::Pod("pc"), to("pe")), "pe from pod:pc 2/2");
        let mut silence = FilterRule::new(FilterAction::Deny, "cut");
        silence.new_flows_only = false;
        cluster.nodes[1].filter_mut().rules = vec![silence];
        assert_eq!(cluster.connect(Sender::Pod("pe"), to("pd")), "dropped by n2");
    });
}

#[test]
fn the_time_to_live_runs_out_and_the_sender_is_told_about_what_it_sent() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let mut syn = tcp(SocketAddr::new(pod_ip("pe"), 50_000), at(CLUSTER_IP), SYN);
        syn.set_time_to_live(1);
        let Arrival::Pod("pe", answer) = cluster.send(Sender::Pod("pe"), syn) else { panic!("no answer") };
        let error = icmp::parse(&answer).expect("an ICMP error");
        assert_eq!(error.why, Unreachable::TimeExceeded);
        assert_eq!(crate::Packet::new(error.about, 0).destination(), at(CLUSTER_IP));
        assert_eq!(answer.source_ip(), ip("10.244.3.1"));
    });
}

#[test]
fn a_packet_too_big_for_the_way_is_reported_to_its_sender_through_nat() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let from = SocketAddr::new(ip(CLIENT), 50_000);
        let Arrival::Pod("pc", sent) = cluster.send(Sender::Client, tcp(from, node_port(1), SYN)) else {
            panic!("the pod is reached")
        };
        let Arrival::Client(answer) = cluster.too_big(1, &sent, 1_400) else { panic!("no answer") };
        let error = icmp::parse(&answer).expect("an ICMP error");
        assert_eq!(error.why, Unreachable::TooBig { mtu: 1_400 });
        let about = crate::Packet::new(error.about, 0);
        assert_eq!((about.source(), about.destination()), (from, node_port(1)));
    });
}

#[test]
fn the_path_says_which_rule_did_what() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let mut syn = tcp(SocketAddr::new(ip(CLIENT), 50_000), node_port(2), SYN);
        traced(&mut syn);
        let Arrival::Pod("pc", packet) = cluster.send(Sender::Client, syn) else { panic!("no pod") };
        let hops = packet.trace.expect("a trace").hops;
        let told: Vec<String> = hops
            .iter()
            .map(|hop| format!("{} {} {:?}", hop.device, hop.action.as_str(), hop.detail.as_deref()))
            .collect();
        assert_eq!(told, ["n3 dnat+snat Some(\"Service test\")", "n2 forwarded None"]);
    });
}

#[test]
fn flows_are_forgotten_in_time_and_their_number_is_bounded() {
    simulated(|| {
        let mut cluster = Cluster::new(|config| config.conntrack.flows_max = 10);
        let to = SocketAddr::new(pod_ip("pb"), POD_PORT);
        let tracked = (0..12).filter(|port| {
            let from = SocketAddr::new(pod_ip("pa"), 50_000 + port);
            matches!(cluster.send(Sender::Pod("pa"), udp(from, to, b"x")), Arrival::Pod("pb", _))
        });
        assert_eq!(tracked.count(), 10);
        let mut now = cluster.now + Span::from_secs(29);
        cluster.nodes[0].conntrack_mut().expire(now);
        assert_eq!(cluster.nodes[0].conntrack().len(), 10);
        now += Span::from_secs(1);
        cluster.nodes[0].conntrack_mut().expire(now);
        assert!(cluster.nodes[0].conntrack().is_empty());
    });
}

#[test]
fn an_open_connection_is_remembered_for_a_day_and_a_closed_one_for_minutes() {
    simulated(|| {
        let mut cluster = Cluster::base();
        let (from, to) = (SocketAddr::new(pod_ip("pa"), 50_000), SocketAddr::new(pod_ip("pb"), POD_PORT));
        let steps = [
            (Sender::Pod("pa"), from, to, SYN, TcpState::SynSent, 120),
            (Sender::Pod("pb"), to, from, SYN_ACK, TcpState::SynReceived, 60),
            (Sender::Pod("pa"), from, to, ACK, TcpState::Established, 86_400),
            (Sender::Pod("pa"), from, to, FIN_ACK, TcpState::FinWait, 120),
            (Sender::Pod("pb"), to, from, ACK, TcpState::CloseWait, 3_600),
            (Sender::Pod("pb"), to, from, FIN_ACK, TcpState::LastAck, 30),
            (Sender::Pod("pa"), from, to, ACK, TcpState::TimeWait, 120),
        ];
        for (sender, source, destination, flags, state, seconds) in steps {
            cluster.now += Span::from_secs(10);
            cluster.send(sender, tcp(source, destination, flags));
            let flow = cluster.nodes[0].conntrack().flows().next().expect("a flow").clone();
            assert_eq!(flow.tcp, Some(state));
            assert_eq!(flow.expires, cluster.now + Span::from_secs(seconds));
        }
        // A SYN from the same port begins a new flow.
        cluster.send(Sender::Pod("pa"), tcp(from, to, SYN));
        assert_eq!(cluster.nodes[0].conntrack().len(), 1);
        let state = cluster.nodes[0].conntrack().flows().next().and_then(|flow| flow.tcp);
        assert_eq!(state, Some(TcpState::SynSent));
    });
}

#[test]
fn every_masqueraded_flow_has_a_source_of_its_own() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let mut seen = BTreeSet::new();
        for client in 0..5_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0xcb00_7100 + client);
            let from = SocketAddr::new(address.into(), 50_000);
            let Arrival::Pod("pc", syn) = cluster.send(Sender::Client, tcp(from, node_port(2), SYN)) else {
                panic!("the pod is reached")
            };
            assert!(syn.ports().0 >= 1_024);
            assert!(seen.insert(syn.source()), "{} twice", syn.source());
        }
    });
}

#[test]
fn a_flow_whose_answers_would_be_anothers_gets_another_port() {
    simulated(|| {
        let mut cluster = Cluster::base();
        cluster.serve(Service { endpoints: &["pc"], local: false });
        let (from, pod) = (SocketAddr::new(pod_ip("pe"), 50_000), SocketAddr::new(pod_ip("pc"), POD_PORT));
        let mut port = |to| match cluster.send(Sender::Pod("pe"), tcp(from, to, SYN)) {
            Arrival::Pod("pc", syn) => syn.ports().0,
            _ => panic!("the pod is reached"),
        };
        assert_eq!(port(at(CLUSTER_IP)), 50_000);
        // The same port, straight to the pod that the Service chose.
        assert_ne!(port(pod), 50_000);
    });
}

#[test]
fn ip_version_6_is_translated_alike() {
    use crate::device::{Context, Outputs, PortIndex};
    use crate::nat::rules::*;
    simulated(|| {
        let pods = "2001:db8:1::/64".parse().expect("a network");
        let config = super::NodeConfig::new(vec![ip("2001:db8::11")], vec![pods]);
        let mut node = super::LinuxNode::new(config, hopwise_engine::random::stream_of(1, "nat"));
        let (client, service, pod) =
            (at("[2001:db8:9::1]:50000"), at("[2001:db8::11]:30080"), at("[2001:db8:1::2]:8080"));
        let targets = [pod].as_slice().into();
        let translation = Translation { targets, masquerade: true, choice: Choice::FlowHash };
        node.set_rule(DestinationRule {
            destination: Destination::AnyLocal { loopback: false },
            protocol: Protocol::Tcp,
            port: 30_080,
            branches: vec![Branch { source: SourceMatch::Any, verdict: Verdict::Translate(translation) }],
            label: "Service test".into(),
        });
        let default = crate::NextHop { port: PortIndex(0), via: None };
        node.routes_mut().insert("::/0".parse().expect("a network"), default);
        node.add_pod(&[pod.ip()], PortIndex(1));
        let name = std::sync::Arc::from("n1");
        let mut pass = |port, packet| {
            let (mut outputs, mut last_packet_id) = (Outputs::default(), 0);
            let next_packet_id = &mut last_packet_id;
            let now = hopwise_engine::Time::ZERO;
            let mut cx = Context { now, name: &name, outputs: &mut outputs, next_packet_id };
            node.receive(PortIndex(port), packet, &mut cx);
            outputs.packets.pop().expect("a packet leaves")
        };
        let (port, syn) = pass(0, tcp(client, service, SYN));
        assert_eq!((port, syn.source_ip(), syn.destination()), (PortIndex(1), ip("2001:db8:1::1"), pod));
        let (port, answer) = pass(1, tcp(pod, syn.source(), SYN_ACK));
        assert_eq!((port, answer.source(), answer.destination()), (PortIndex(0), service, client));
    });
}
