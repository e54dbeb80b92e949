use proptest::prelude::*;

use super::super::facts::{Advertised, Tls};
use super::super::lint::fixture::{advertise, port, sound};
use super::super::lint::lint;
use super::*;
use crate::place::Place;
use crate::report::check::Api;

fn hop(device: &str, action: &str, dst: &str, detail: Option<&str>) -> Hop {
    Hop {
        device: device.into(),
        action: action.into(),
        src: "203.0.113.7:40000".into(),
        dst: dst.into(),
        at_ns: 0,
        detail: detail.map(str::to_owned),
    }
}

fn route(outcome: Outcome, broker: i32, address: &str, hops: Vec<Hop>) -> Route {
    Route {
        from: Place::External(None),
        api: Api::Kafka,
        listener: "default".into(),
        broker,
        address: address.into(),
        outcome,
        reached: None,
        source_seen: None,
        hops,
        connect_ns: None,
        request_ns: None,
    }
}

#[test]
fn a_bare_pod_name_joins_the_linters_finding() {
    let mut cluster = sound();
    advertise(&mut cluster, |broker, _| (broker.pod.clone(), 31092));
    let routes: Vec<Route> =
        (0..3).map(|id| route(Outcome::NameNotFound, id, &format!("redpanda-{id}:31092"), vec![])).collect();
    let findings = explain(&cluster, &routes, &[], lint(&cluster));
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].code, Code::BarePodNameAdvertised);
    assert_eq!(findings[0].routes, [0, 1, 2]);
}

#[test]
fn a_domain_on_an_address_is_told_from_a_missing_name() {
    let mut cluster = sound();
    advertise(&mut cluster, |_, index| (format!("10.0.0.1{index}.example.com"), 31092));
    let finding =
        diagnosed(&cluster, &route(Outcome::NameNotFound, 0, "10.0.0.10.example.com:31092", vec![]));
    assert_eq!(finding.code, Code::DomainAppendedToAddress);
    let finding = diagnosed(&cluster, &route(Outcome::NameNotFound, 0, "kafka.example.com:31092", vec![]));
    assert_eq!(finding.code, Code::NameNotResolvable);
    insta::assert_snapshot!(finding.explanation, @r#"Kafka listener "default": a client at external, told kafka.example.com:31092 for redpanda-0, asks its resolver for "kafka.example.com" and is answered that there is no such name. The cluster file lists no external name of that kind."#);
}

#[test]
fn an_internal_name_outside_and_an_empty_one_are_told_apart() {
    let cluster = sound();
    let address = "redpanda-0.redpanda.redpanda.svc.cluster.local.:9093";
    let mut internal = route(Outcome::NameNotFound, 0, address, vec![]);
    internal.listener = "internal".into();
    assert_eq!(diagnosed(&cluster, &internal).code, Code::InternalAddressOutside);
    assert_eq!(
        diagnosed(&cluster, &route(Outcome::NameNotFound, 0, ":31092", vec![])).code,
        Code::EmptyAdvertisedAddress
    );
    internal.from = Place::InCluster;
    assert_eq!(diagnosed(&cluster, &internal).code, Code::NameNotResolvable);
}

#[test]
fn the_local_policy_is_named_where_it_drops() {
    let mut cluster = sound();
    cluster
        .nodes
        .push(super::super::facts::Node { name: "node-3".into(), addresses: vec!["10.0.0.13".into()] });
    let detail = "no endpoint on this node for Service redpanda/redpanda-external port kafka-default";
    let hops = vec![
        hop("client", "sent", "10.0.0.13:31092", None),
        hop("internet", "forwarded", "10.0.0.13:31092", None),
        hop("node-3", "dropped", "10.0.0.13:31092", Some(detail)),
    ];
    let finding = diagnosed(&cluster, &route(Outcome::Timeout, 0, "10.0.0.13:31092", hops));
    assert_eq!(finding.code, Code::NodeWithoutEndpoint);
    assert_eq!(finding.object, "Service redpanda/redpanda-external");
    insta::assert_snapshot!(finding.explanation, @"a client at external, told 10.0.0.13:31092 for redpanda-0, times out: node-3 drops the connection to 10.0.0.13:31092. Service redpanda/redpanda-external has externalTrafficPolicy Local and no endpoint on node-3; redpanda-0 runs on node-0.");
}

#[test]
fn a_service_without_endpoints_refuses() {
    let mut cluster = sound();
    cluster.services[1].endpoints.clear();
    let hops = vec![hop("node-0", "rejected", "10.0.0.10:31092", Some("no endpoints"))];
    let finding = diagnosed(&cluster, &route(Outcome::Refused, 0, "10.0.0.10:31092", hops));
    assert_eq!(finding.code, Code::ServiceWithoutEndpoints);
    assert!(
        finding.explanation.contains("has no endpoints; the way ends at node-0"),
        "{}",
        finding.explanation
    );
}

#[test]
fn a_port_that_no_service_opens_joins_the_linters_finding() {
    let mut cluster = sound();
    advertise(&mut cluster, |_, index| (format!("10.0.0.1{index}"), 31092 + index as u16));
    let refused = route(
        Outcome::Refused,
        1,
        "10.0.0.11:31093",
        vec![hop("node-1", "rejected", "10.0.0.11:31093", None)],
    );
    let findings = explain(&cluster, &[refused], &[], lint(&cluster));
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].code, findings[0].routes.as_slice()), (Code::PortNotOpened, [0].as_slice()));
}

#[test]
fn a_pending_load_balancer_is_named() {
    let mut cluster = sound();
    cluster.profile = "bare-metal".into();
    cluster.services[1].kind = ServiceKind::LoadBalancer;
    cluster.services[1].ports = vec![port("kafka-default", 31092, 9094, Some(30500))];
    cluster.external_names.insert("redpanda-0.example.com".into(), vec!["198.51.100.1".into()]);
    let finding = diagnosed(&cluster, &route(Outcome::Timeout, 0, "redpanda-0.example.com:31092", vec![]));
    assert_eq!(finding.code, Code::LoadBalancerPending);
}

#[test]
fn an_address_of_nobody_leads_nowhere() {
    let cluster = sound();
    let hops = vec![hop("internet", "rejected", "192.0.2.99:31092", Some("no route"))];
    let finding = diagnosed(&cluster, &route(Outcome::Unreachable, 0, "192.0.2.99:31092", hops));
    assert_eq!(finding.code, Code::AddressLeadsNowhere);
    insta::assert_snapshot!(finding.explanation, @"a client at external, told 192.0.2.99:31092 for redpanda-0, sends packets to 192.0.2.99, which is the address of no node and no load balancer; the way ends at internet, rejected 203.0.113.7:40000 -> 192.0.2.99:31092 (no route).");
}

#[test]
fn a_broker_that_does_not_run_is_named_with_its_reason() {
    let mut cluster = sound();
    cluster.brokers[2].running = false;
    cluster.brokers[2].reason = Some("ContainerCreating: ConfigMap redpanda/redpanda not found".into());
    let finding = diagnosed(&cluster, &route(Outcome::Timeout, 2, "10.0.0.12:31092", vec![]));
    assert_eq!((finding.code, finding.object.as_str()), (Code::BrokerNotRunning, "Pod redpanda/redpanda-2"));
    assert!(finding.explanation.contains("ConfigMap redpanda/redpanda not found"));
}

#[test]
fn a_listener_that_is_not_open_is_told_from_one_that_is_filtered() {
    let cluster = sound();
    let refused = vec![hop("redpanda/redpanda-0", "delivered", "10.244.0.5:9094", None)];
    assert_eq!(
        diagnosed(&cluster, &route(Outcome::Refused, 0, "10.0.0.10:31092", refused)).code,
        Code::BrokerNotRunning
    );
    let lost = vec![hop("internet", "dropped", "10.0.0.10:31092", Some("link cut"))];
    assert_eq!(
        diagnosed(&cluster, &route(Outcome::Timeout, 0, "10.0.0.10:31092", lost)).code,
        Code::PortFilteredOnTheWay
    );
}

#[test]
fn wrong_brokers_are_explained_by_address_node_or_place() {
    let reach = |mut route: Route, pod: &str| {
        route.reached = Some(pod.into());
        route
    };
    let mut cluster = sound();
    advertise(&mut cluster, |_, _| ("kafka.example.com".into(), 31092));
    let shared =
        reach(route(Outcome::WrongBroker, 0, "kafka.example.com:31092", vec![]), "redpanda/redpanda-1");
    assert_eq!(diagnosed(&cluster, &shared).code, Code::SharedAdvertisedAddress);

    let cluster = sound();
    let moved = reach(route(Outcome::WrongBroker, 0, "10.0.0.11:31092", vec![]), "redpanda/redpanda-1");
    assert_eq!(diagnosed(&cluster, &moved).code, Code::AddressOfAnotherBroker);

    let mut inside = reach(route(Outcome::WrongBroker, 0, "10.0.0.10:31092", vec![]), "redpanda/redpanda-1");
    inside.from = Place::InCluster;
    assert_eq!(diagnosed(&cluster, &inside).code, Code::InClusterByNodePort);

    let mut cluster = sound();
    cluster.brokers[1].node = Some("node-0".into());
    let both = reach(route(Outcome::WrongBroker, 0, "10.0.0.10:31092", vec![]), "redpanda/redpanda-1");
    assert_eq!(diagnosed(&cluster, &both).code, Code::BrokersShareNode);
}

#[test]
fn a_listener_that_is_not_exposed_gives_a_finding_only_if_it_is_meant_for_outside() {
    let mut cluster = sound();
    let mut routes = [route(Outcome::NotExposed, 0, "10.0.0.10:31092", vec![])];
    let findings = explain(&cluster, &routes, &[], vec![]);
    assert_eq!((findings[0].code, findings[0].severity), (Code::ListenerNotExposed, Severity::Warning));
    routes[0].from = Place::InCluster;
    assert_eq!(explain(&cluster, &routes, &[], vec![]), []);
    routes[0].from = Place::External(None);
    cluster.brokers[0].listeners[1].advertised =
        Some(Advertised { host: "redpanda-0.redpanda.redpanda.svc.cluster.local.".into(), port: 9094 });
    assert_eq!(explain(&cluster, &routes, &[], vec![]), []);
}

#[test]
fn handshakes_have_codes_of_their_own() {
    let mut cluster = sound();
    cluster.brokers[0].listeners[1].tls = Some(Tls::default());
    let code = |outcome| diagnosed(&cluster, &route(outcome, 0, "10.0.0.10:31092", vec![])).code;
    assert_eq!(code(Outcome::TlsFailed), Code::TlsFailed);
    assert_eq!(code(Outcome::AuthenticationFailed), Code::AuthenticationFailed);
    assert_eq!(code(Outcome::ProtocolMismatch), Code::ProtocolMismatch);
}

#[test]
fn an_unknown_broker_does_not_panic() {
    let cluster = Cluster::default();
    for outcome in [Outcome::Timeout, Outcome::Refused, Outcome::WrongBroker, Outcome::NotExposed] {
        assert_eq!(diagnosed(&cluster, &route(outcome, 9, "", vec![])).object, "Broker 9");
    }
}

const FAILURES: [Outcome; 9] = [
    Outcome::NameNotFound,
    Outcome::Refused,
    Outcome::Timeout,
    Outcome::Unreachable,
    Outcome::WrongBroker,
    Outcome::TlsFailed,
    Outcome::AuthenticationFailed,
    Outcome::ProtocolMismatch,
    Outcome::NotExposed,
];

proptest! {
    /// Whatever a broker advertises and wherever the way ends, a failure has one finding that names the client's place.
    #[test]
    fn every_failure_is_explained(
        outcome in prop::sample::select(FAILURES.as_slice()),
        broker in -1..4,
        host in prop_oneof![".{0,20}", "[0-9.:a-z-]{0,20}", Just("10.0.0.11".to_owned()), Just("redpanda-1".to_owned())],
        port in prop_oneof![Just(31092u16), any::<u16>()],
        device in prop_oneof![Just("node-1"), Just("internet"), Just("redpanda/redpanda-1")],
        action in prop_oneof![Just("dropped"), Just("rejected"), Just("delivered"), Just("forwarded")],
        inside: bool,
    ) {
        let mut cluster = sound();
        advertise(&mut cluster, |_, _| (host.clone(), port));
        let address = format!("{host}:{port}");
        let mut route = route(outcome, broker, &address, vec![hop(device, action, &address, None)]);
        if inside {
            route.from = Place::InCluster;
        }
        let finding = diagnosed(&cluster, &route);
        prop_assert!(finding.explanation.contains(&route.from.to_string()), "{}", finding.explanation);
        prop_assert!(!finding.fix.is_empty());
        let explained = explain(&cluster, &[route], &[], lint(&cluster));
        let routes: usize = explained.iter().map(|finding| finding.routes.len()).sum();
        prop_assert_eq!(routes, usize::from(outcome != Outcome::NotExposed || needs_a_finding_here(inside, broker, &cluster)));
    }
}

/// Whether a listener that is not exposed has to have a finding: it is meant for outside, and so is the client.
fn needs_a_finding_here(inside: bool, broker: i32, cluster: &Cluster) -> bool {
    let known = cluster.brokers.iter().find(|own| own.id == broker);
    !inside && known.is_some_and(|own| cluster.is_for_outside(&own.listeners[1]))
}

/// What is said about a route by its outcome alone.
fn diagnosed(cluster: &Cluster, route: &Route) -> Finding {
    diagnose(cluster, route, &Reason::default())
}

#[test]
fn a_load_balancer_that_has_not_noticed_is_told_from_a_node_that_drops() {
    let cluster = sound();
    let details = [
        "externalTrafficPolicy Local and no endpoint of Service redpanda/redpanda-external on node-1",
        "the pod is gone, and the neighbour table has not noticed",
    ];
    for detail in details {
        let hops = vec![
            hop("client", "sent", "198.51.100.7:31092", None),
            hop("load balancer redpanda/redpanda-external", "forwarded", "10.0.0.11:30999", None),
            hop("node-1", "dropped", "10.0.0.11:30999", Some(detail)),
        ];
        let finding = diagnosed(&cluster, &route(Outcome::Timeout, 0, "198.51.100.7:31092", hops));
        let told = (finding.code, finding.object.as_str(), finding.field.as_deref());
        let expected = "Service redpanda/redpanda-external";
        assert_eq!(told, (Code::BalancerKeepsTarget, expected, Some("spec.externalTrafficPolicy")));
    }
}

#[test]
fn a_loopback_address_is_the_client_s_own() {
    let cluster = sound();
    for address in ["127.0.0.1:31092", "localhost:31092", "[::1]:31092"] {
        let finding = diagnosed(&cluster, &route(Outcome::Refused, 0, address, vec![]));
        assert_eq!(finding.code, Code::LoopbackAdvertised, "{address}");
    }
}

#[test]
fn a_name_of_another_cluster_domain_is_told_from_one_outside() {
    let mut cluster = sound();
    cluster.domain = "example.org".into();
    let address = "redpanda-0.redpanda.redpanda.svc.cluster.local.:9093";
    let finding = diagnosed(&cluster, &route(Outcome::NameNotFound, 0, address, vec![]));
    assert_eq!(finding.code, Code::OtherClusterDomain);
    assert!(
        finding.explanation.contains("the domain of this cluster is example.org"),
        "{}",
        finding.explanation
    );
}

#[test]
fn an_http_answer_that_the_service_failed_is_about_its_kafka_client() {
    let cluster = sound();
    let mut proxy = route(Outcome::ProtocolMismatch, 0, "10.0.0.10:30082", vec![]);
    proxy.api = Api::HttpProxy;
    let diagnosed =
        |status| diagnose(&cluster, &proxy, &Reason { status: Some(status), ..Reason::default() }).code;
    assert_eq!((diagnosed(503), diagnosed(404)), (Code::ServiceCannotReachBrokers, Code::ProtocolMismatch));
}

#[test]
fn what_is_dialled_and_no_broker_s_is_called_by_its_address() {
    let cluster = sound();
    let hops = vec![hop("edge", "rejected", "203.0.113.9:80", None)];
    let mut look = route(Outcome::Refused, -1, "web.example.com:80", hops);
    look.listener = String::new();
    look.from = Place::InCluster;
    let finding = diagnosed(&cluster, &look);
    assert_eq!((finding.object.as_str(), finding.field), ("Address web.example.com:80", None));
    assert!(finding.explanation.starts_with("a client at in-cluster, dialling web.example.com:80,"));
}
