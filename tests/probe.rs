//! `hopwise probe` on real clusters: how connections end, who could be chosen, what the server sees, and the reasons that
//! are given. The cluster is that of the example scenarios: three echoes, a cluster IP, and a node port for each.

use hopwise_kube::cluster::Place;
use hopwise_lab::findings::{Code, Finding};
use hopwise_lab::probe::{HostPort, ProbeOptions, Transport, probe};
use hopwise_lab::report::check::Outcome;
use hopwise_lab::report::probe::{Probe, ProbeReport};
use hopwise_tests::{Given, scenarios};

/// Further Services: without pods, with a port that nobody listens on, with source ranges, and one that leads a pod to
/// itself.
const SERVICES: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: demo}
spec:
  selector: {app: nobody}
  ports: [{port: 80, targetPort: 7000}]
---
apiVersion: v1
kind: Service
metadata: {name: deaf, namespace: demo}
spec:
  selector: {app: echo}
  ports: [{name: tcp, port: 80, targetPort: 7999}, {name: udp, port: 80, targetPort: 7999, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: only-zero, namespace: demo}
spec:
  selector: {statefulset.kubernetes.io/pod-name: echo-0}
  ports: [{port: 80, targetPort: 7000}]
---
apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: demo}
spec:
  type: LoadBalancer
  loadBalancerSourceRanges: [192.0.2.0/24]
  selector: {app: echo}
  ports: [{port: 80, targetPort: 7000}]
"#;

fn cluster() -> Given {
    let manifest = |name: &str| {
        let path = scenarios().join("kubernetes/manifests").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let cluster = "nodes:\n  - {name: node-0, address: 10.0.0.10}\n  - {name: node-1, address: 10.0.0.11}\n  - {name: node-2, address: 10.0.0.12}\n\
        loadBalancers:\n  - {service: demo/guarded, address: 203.0.113.10}\n";
    Given::default()
        .with("echo.yaml", manifest("echo.yaml"))
        .with("nodeports.yaml", manifest("nodeports.yaml"))
        .with("services.yaml", SERVICES)
        .cluster(cluster)
}

fn tried(from: &str, to: &str, transport: Transport, count: u32) -> Probe {
    let from: Place = from.parse().expect("a place");
    let to: HostPort = to.parse().expect("an address");
    let options = ProbeOptions { from, to, transport, count, seed: 1, captures: None };
    probe(cluster().inputs(), &options).expect("the place is there")
}

fn tcp(from: &str, to: &str) -> Probe {
    tried(from, to, Transport::Tcp, 1)
}

fn finding(probe: &Probe, code: Code) -> &Finding {
    let found = probe.findings.iter().find(|finding| finding.code == code);
    found.unwrap_or_else(|| panic!("{code} is missing: {:#?}", probe.findings))
}

fn ends(report: &ProbeReport) -> (&str, &str) {
    report.hops.last().map_or(("", ""), |hop| (hop.device.as_str(), hop.action.as_str()))
}

#[test]
fn a_drop_is_explained_by_the_policy_and_the_node() {
    let probe = tcp("external", "10.0.0.12:31000");
    assert_eq!(probe.report.outcome, Outcome::Timeout);
    assert_eq!(ends(&probe.report), ("node-2", "dropped"));
    assert_eq!((&probe.report.source_seen, probe.report.ttl_seen), (&None, None));
    let finding = finding(&probe, Code::NodeWithoutEndpoint);
    assert_eq!(finding.object, "Service demo/echo-0");
    for words in [
        "node-2 drops the packet without an answer",
        "demo/echo-0 on node-0",
        "It is a drop and not a refusal",
    ] {
        assert!(finding.explanation.contains(words), "{}", finding.explanation);
    }
    assert!(finding.fix.contains("node-0, 10.0.0.10"), "{}", finding.fix);
}

#[test]
fn a_reject_is_explained_by_who_refuses_and_why_at_once() {
    let probe = tcp("in-cluster", "nobody.demo:80");
    assert_eq!(probe.report.outcome, Outcome::Refused);
    assert_eq!(ends(&probe.report).1, "rejected");
    assert_eq!(probe.report.candidates, Vec::<String>::new());
    let finding = finding(&probe, Code::ServiceWithoutEndpoints);
    for words in ["not the pod that refuses", "at once with ICMP port unreachable", "matches no pod"] {
        assert!(finding.explanation.contains(words), "{}", finding.explanation);
    }
}

#[test]
fn policy_cluster_hides_the_client_and_adds_a_hop() {
    let probe = tcp("external", "10.0.0.10:31002");
    let report = &probe.report;
    assert_eq!((report.outcome, report.masqueraded), (Outcome::Ok, true));
    assert_eq!((report.source_seen.as_deref(), report.ttl_seen), (Some("10.0.0.10"), Some(61)));
    assert_eq!(report.served_by, [("demo/echo-2".to_owned(), 1)].into());
    assert!(finding(&probe, Code::SourceHidden).explanation.contains("externalTrafficPolicy Cluster"));
    assert!(finding(&probe, Code::ExtraHop).explanation.contains("demo/echo-2, is on node-2"));
}

#[test]
fn policy_local_keeps_the_client_s_address() {
    let report = tcp("external=192.0.2.7", "10.0.0.11:31001").report;
    assert_eq!((report.outcome, report.masqueraded), (Outcome::Ok, false));
    assert_eq!((report.source_seen.as_deref(), report.ttl_seen), (Some("192.0.2.7"), Some(62)));
}

#[test]
fn every_endpoint_of_the_deciding_rule_is_a_candidate() {
    let all = ["demo/echo-0", "demo/echo-1", "demo/echo-2"];
    for transport in [Transport::Tcp, Transport::Udp] {
        let report = tried("in-cluster", "echo-any.demo:80", transport, 12).report;
        assert_eq!(
            (report.outcome, report.candidates.as_slice()),
            (Outcome::Ok, &all.map(str::to_owned)[..])
        );
        assert_eq!(report.served_by.values().sum::<u64>(), 12);
        assert!(report.served_by.len() > 1, "{:?}", report.served_by);
    }
    // Of a headless name the client chooses, among all addresses.
    let report = tcp("in-cluster", "echo.demo:7000").report;
    assert_eq!(report.candidates, all);
}

#[test]
fn a_pod_that_reaches_itself_sees_the_node() {
    let probe = tcp("pod/demo/echo-0", "only-zero.demo:80");
    assert_eq!((probe.report.outcome, probe.report.masqueraded), (Outcome::Ok, true));
    assert!(finding(&probe, Code::SourceHidden).explanation.contains("Hairpin"));
}

#[test]
fn a_port_that_nobody_listens_on_is_refused_by_the_pod() {
    for transport in [Transport::Tcp, Transport::Udp] {
        let probe = tried("in-cluster", "deaf.demo:80", transport, 1);
        assert_eq!(probe.report.outcome, Outcome::Refused);
        assert!(ends(&probe.report).0.starts_with("demo/echo-"), "{:?}", probe.report.hops);
        let finding = finding(&probe, Code::NothingListens);
        assert!(finding.explanation.contains("the pod's own kernel answers"), "{}", finding.explanation);
    }
}

#[test]
fn source_ranges_drop_pods_too() {
    let probe = tcp("in-cluster", "203.0.113.10:80");
    assert_eq!(probe.report.outcome, Outcome::Timeout);
    let finding = finding(&probe, Code::SourceRangeExcludes);
    assert!(finding.explanation.contains("lets only 192.0.2.0/24"), "{}", finding.explanation);
}

#[test]
fn a_name_that_does_not_exist_is_an_outcome() {
    let probe = tcp("in-cluster", "echo-9.echo.demo:7000");
    assert_eq!(probe.report.outcome, Outcome::NameNotFound);
    assert_eq!((probe.report.hops.len(), probe.report.connect_ns), (0, None));
    finding(&probe, Code::NameNotResolvable);
    finding(&tcp("external", "echo.demo.svc.cluster.local:7000"), Code::InternalAddressOutside);
}
