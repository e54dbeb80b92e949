//! Routes of one small cluster, each test with one thing changed: what becomes of clients, and what the findings say.

mod pod_deletion;

use hopwise_lab::findings::{Code, Severity};
use hopwise_lab::inputs::InputError;
use hopwise_lab::report::check::{Api, CheckReport, Outcome, Verdict};
use hopwise_tests::{
    Given, explained, finding, findings, fixture, kafka_outcomes, line_of, routes, unexplained,
};

const OUTSIDE_LINE: &str = r#"OUTSIDE="${HOST_IP}""#;
const ALL_OK: [Outcome; 3] = [Outcome::Ok; 3];

/// Three brokers behind a NodePort Service, as it should be.
fn nodeport() -> Given {
    Given::fixtures(&["brokers.yaml", "nodeport.yaml"])
}

/// The same with `address` advertised to clients outside.
fn advertising(address: &str) -> Given {
    nodeport().edit(OUTSIDE_LINE, &format!(r#"OUTSIDE="{address}""#))
}

/// Three brokers, each behind a load balancer of its own that has a name.
fn balanced() -> Given {
    Given::fixtures(&["brokers.yaml", "loadbalancers.yaml"])
        .edit(OUTSIDE_LINE, r#"OUTSIDE="${POD_NAME}.kafka.example.com""#)
        .edit("OUTSIDE_PORT=31094", "OUTSIDE_PORT=9094")
        .cluster(fixture("names.yaml"))
}

fn assert_inside_works(report: &CheckReport) {
    assert_eq!(kafka_outcomes(report, "in-cluster", "internal"), ALL_OK, "{:#?}", report.findings);
}

#[test]
fn the_fixture_is_sound() {
    let report = nodeport().check();
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.findings);
    assert_inside_works(&report);
    assert_eq!(kafka_outcomes(&report, "external", "outside"), ALL_OK);
    for route in routes(&report, "external", Api::Kafka, "outside") {
        assert_eq!(route.reached.as_deref(), Some(format!("kafka/rp-{}", route.broker).as_str()));
    }
}

#[test]
fn a_bare_pod_name_is_known_inside_only() {
    let report = advertising("${POD_NAME}").check();
    assert_eq!(report.verdict, Verdict::Fail);
    assert_inside_works(&report);
    assert_eq!(kafka_outcomes(&report, "external", "outside"), [Outcome::NameNotFound; 3]);
    let bare = findings(&report, Code::BarePodNameAdvertised);
    let mut of: Vec<i32> =
        bare.iter().flat_map(|it| explained(&report, it)).map(|route| route.broker).collect();
    of.sort_unstable();
    assert_eq!(of, [0, 1, 2], "{bare:#?}");
    assert_eq!(bare[0].code.to_string(), "HW0001");
}

/// As many charts' defaults are: sound where somebody has made the names known.
#[test]
fn a_bare_pod_name_that_is_known_outside_gives_no_finding() {
    let cluster = "nodes:\n  - {name: node-0, address: 10.0.0.10}\n  - {name: node-1, address: 10.0.0.11}\n  \
        - {name: node-2, address: 10.0.0.12}\nexternalNames: {rp-0: 10.0.0.10, rp-1: 10.0.0.11, rp-2: 10.0.0.12}\n";
    let report = advertising("${POD_NAME}").cluster(cluster).check();
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.findings);
    let bad = report.findings.iter().filter(|finding| finding.severity != Severity::Note);
    assert_eq!(bad.count(), 0, "{:#?}", report.findings);
    assert_eq!(kafka_outcomes(&report, "external", "outside"), ALL_OK);
}

/// Admin API and Schema Registry advertise nothing, and any broker answers: one load balancer for all is sound.
#[test]
fn any_broker_may_answer_where_no_address_is_advertised() {
    let admin = "apiVersion: v1\nkind: Service\nmetadata: {name: admin, namespace: kafka}\nspec:\n  type: LoadBalancer\n  \
        selector: {app: rp}\n  ports: [{name: admin, port: 9644}]\n";
    let report = nodeport().with("admin.yaml", admin).profile("gcp").check();
    let routes = routes(&report, "external", Api::Admin, "internal");
    assert!(routes.iter().all(|route| route.outcome == Outcome::Ok), "{routes:#?}");
    let reached: std::collections::BTreeSet<_> =
        routes.iter().map(|route| route.reached.as_deref()).collect();
    assert!(reached.iter().all(Option::is_some), "{reached:?}");
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.findings);
    // A write that another broker has to do is redirected to where clients outside cannot follow.
    assert_eq!(finding(&report, Code::AdminRedirectsInside).severity, Severity::Warning);
}

#[test]
fn a_node_without_a_broker_drops_what_the_local_policy_keeps_from_others() {
    let cluster = "nodes:\n  - {name: node-0, address: 10.0.0.10}\n  - {name: node-1, address: 10.0.0.11}\n  \
        - {name: node-2, address: 10.0.0.12}\n  - name: node-3\n    address: 10.0.0.13\n    \
        taints: [{key: other, effect: NoSchedule}]\n";
    let report = advertising("10.0.0.13").cluster(cluster).check();
    for route in routes(&report, "external", Api::Kafka, "outside") {
        assert_eq!(route.outcome, Outcome::Timeout);
        let last = route.hops.last().expect("the connection leaves the client");
        assert_eq!((last.device.as_str(), last.action.as_str()), ("node-3", "dropped"), "{:#?}", route.hops);
        let why = last.detail.as_deref().unwrap_or("");
        assert!(why.contains("Local"), "the hop names the policy: {why}");
    }
    let finding = finding(&report, Code::NodeWithoutEndpoint);
    assert_eq!(finding.code.to_string(), "HW0005");
    assert!(finding.explanation.contains("node-3"), "{}", finding.explanation);
    assert_eq!(unexplained(&report), [] as [&_; 0]);
    assert_inside_works(&report);
}

#[test]
fn one_node_s_address_for_all_brokers_leads_to_its_own_broker() {
    let report = advertising("10.0.0.10").check();
    let outside = routes(&report, "external", Api::Kafka, "outside");
    let reached: Vec<_> = outside.iter().filter_map(|route| route.reached.as_deref()).collect();
    assert_eq!(reached.len(), 3);
    assert!(reached.iter().all(|pod| *pod == reached[0]), "{reached:?}");
    let wrong = outside.iter().filter(|route| route.outcome == Outcome::WrongBroker).count();
    let right = outside.iter().filter(|route| route.outcome == Outcome::Ok).count();
    assert_eq!((right, wrong), (1, 2));
    assert_eq!(unexplained(&report), [] as [&_; 0]);
    finding(&report, Code::SharedAdvertisedAddress);
}

#[test]
fn a_service_that_selects_no_pod_refuses() {
    let selecting =
        |app: &str| format!("selector: {{app: {app}}}\n  ports:\n    - {{name: kafka, port: 9094");
    let given = nodeport().edit(&selecting("rp"), &selecting("nothing"));
    let report = given.edit("externalTrafficPolicy: Local", "externalTrafficPolicy: Cluster").check();
    assert_eq!(kafka_outcomes(&report, "external", "outside"), [Outcome::Refused; 3]);
    let finding = finding(&report, Code::SelectorMatchesNothing);
    assert_eq!((finding.object.as_str(), finding.severity), ("Service kafka/outside", Severity::Error));
    assert_eq!(finding.file.as_deref(), Some("nodeport.yaml"));
    assert!(finding.line.is_some());
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}

#[test]
fn load_balancers_stay_pending_without_a_cloud() {
    let report = balanced().profile("bare-metal").check();
    assert_inside_works(&report);
    assert!(kafka_outcomes(&report, "external", "outside").iter().all(|outcome| outcome.is_failure()));
    let pending = findings(&report, Code::LoadBalancerPending);
    let objects: Vec<&str> = pending.iter().map(|finding| finding.object.as_str()).collect();
    assert_eq!(objects, ["Service kafka/lb-0", "Service kafka/lb-1", "Service kafka/lb-2"]);
    assert_eq!(unexplained(&report), [] as [&_; 0]);
    for service in report.services.iter().filter(|it| it.service.contains("lb-")) {
        assert!(service.ingress.is_empty(), "{service:?}");
    }
}

/// The cluster file with an instance for each Service.
fn with_instances(kind: &str) -> String {
    let instance = |broker: u32| {
        format!("  - {{service: kafka/lb-{broker}, address: 203.0.113.{}, kind: {kind}}}\n", broker + 1)
    };
    let instances: String = (0..3).map(instance).collect();
    format!("{}loadBalancers:\n{instances}", fixture("names.yaml"))
}

#[test]
fn declared_nat_instances_keep_the_client_s_address() {
    let report = balanced().cluster(with_instances("nat")).check();
    assert_eq!(kafka_outcomes(&report, "external", "outside"), ALL_OK, "{:#?}", report.findings);
    for route in routes(&report, "external", Api::Kafka, "outside") {
        let client = route.hops.first().and_then(|hop| hop.src.rsplit_once(':')).map(|(ip, _)| ip);
        assert_eq!(route.source_seen.as_deref(), client);
        assert!(client.is_some());
    }
}

#[test]
fn declared_proxy_instances_show_their_own_address() {
    let report = balanced().cluster(with_instances("proxy")).check();
    assert_eq!(kafka_outcomes(&report, "external", "outside"), ALL_OK, "{:#?}", report.findings);
    for route in routes(&report, "external", Api::Kafka, "outside") {
        let client = route.hops.first().and_then(|hop| hop.src.rsplit_once(':')).map(|(ip, _)| ip);
        assert!(route.source_seen.is_some() && route.source_seen.as_deref() != client, "{route:#?}");
    }
}

#[test]
fn a_cloud_s_load_balancers_serve_everyone() {
    let report = balanced().profile("aws").check();
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.findings);
    assert_inside_works(&report);
    let outside = routes(&report, "external", Api::Kafka, "outside");
    for route in &outside {
        assert_eq!(route.outcome, Outcome::Ok);
        let of_balancer = |device: &str| device.contains(&format!("lb-{}", route.broker));
        assert!(route.hops.iter().any(|hop| of_balancer(&hop.device)), "{:#?}", route.hops);
    }
    assert_eq!(outside.len(), 3);
}

#[test]
fn a_pod_that_fits_on_no_node_stays_pending() {
    let report = nodeport().nodes(2).check();
    let pending: Vec<_> = report.pods.iter().filter(|pod| pod.phase == "Pending").collect();
    assert_eq!(pending.len(), 1, "{:#?}", report.pods);
    let reason = pending[0].reason.as_deref().unwrap_or("");
    assert!(reason.contains("0/2 nodes are available"), "{reason}");
    assert!(reason.contains("anti-affinity"), "{reason}");
    let finding = finding(&report, Code::FewerNodesThanReplicas);
    assert_eq!(finding.object, "StatefulSet kafka/rp");
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}

#[test]
fn a_missing_config_map_keeps_brokers_from_starting() {
    let report = nodeport().edit("configMap: {name: rp}", "configMap: {name: absent}").check();
    let finding = finding(&report, Code::MissingReference);
    let text = fixture("brokers.yaml");
    assert_eq!(finding.file.as_deref(), Some("brokers.yaml"));
    assert_eq!(finding.line, Some(line_of(&text, "configMap: {name: rp}")), "{finding:#?}");
    assert!(finding.explanation.contains("absent"), "{}", finding.explanation);
    assert!(report.pods.iter().all(|pod| !pod.ready));
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}

#[test]
fn an_empty_advertised_address_is_named() {
    let report = advertising("").check();
    let finding = finding(&report, Code::EmptyAdvertisedAddress);
    assert_eq!(finding.severity, Severity::Error);
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}

#[test]
fn a_node_port_outside_its_range_is_rejected() {
    let report = nodeport().edit("nodePort: 31094", "nodePort: 29094").check();
    let finding = finding(&report, Code::NodePortOutOfRange);
    assert_eq!(finding.file.as_deref(), Some("nodeport.yaml"));
    assert_eq!(finding.line, Some(line_of(&fixture("nodeport.yaml"), "nodePort: 31094")));
    assert_eq!(finding.field.as_deref(), Some("spec.ports[0].nodePort"));
    assert!(!report.services.iter().any(|service| service.service == "kafka/outside"));
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}

#[test]
fn a_node_port_that_is_used_twice_is_rejected() {
    let second = fixture("nodeport.yaml").replace("name: outside", "name: second");
    let report = nodeport().with("second.yaml", second).check();
    let finding = finding(&report, Code::NodePortUsedTwice);
    assert_eq!(finding.severity, Severity::Error);
    assert!(finding.explanation.contains("31094"), "{}", finding.explanation);
    assert_eq!(finding.file.as_deref(), Some("second.yaml"));
    assert_eq!(kafka_outcomes(&report, "external", "outside"), ALL_OK, "the first keeps the port");
}

#[test]
fn two_stateful_sets_of_one_name_are_an_input_error() {
    let given = nodeport().with("again.yaml", fixture("brokers.yaml"));
    let Err(InputError::Load(errors)) = given.load() else { panic!("a load error") };
    let set = errors.errors().iter().find(|it| it.to_string().contains("StatefulSet kafka/rp"));
    let set = set.unwrap_or_else(|| panic!("{errors}"));
    assert_eq!(&*set.location().file, "again.yaml");
    assert!(set.what().contains("brokers.yaml"), "it names the first: {set}");
}

#[test]
fn brokers_learn_their_rack_from_their_node() {
    let rack = r#"OUTSIDE_PORT=31094
    RACK=$(curl --silent --cacert /ca.crt "https://${KUBERNETES_SERVICE_HOST}:${KUBERNETES_SERVICE_PORT_HTTPS}/api/v1/nodes/${NODE_NAME}?pretty=true" | grep '"topology.kubernetes.io/zone"' | cut -d '"' -f 4)
    rpk redpanda config --config "$CONFIG" set redpanda.rack "${RACK}""#;
    let report = nodeport().edit("OUTSIDE_PORT=31094", rack).cluster(fixture("names.yaml")).check();
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.findings);
    let zone_of =
        |node: &str| node.replace("node-0", "zone-a").replace("node-1", "zone-b").replace("node-2", "zone-c");
    assert_eq!(report.brokers.len(), 3);
    for broker in &report.brokers {
        assert_eq!(broker.rack, broker.node.as_deref().map(zone_of), "{broker:#?}");
        assert!(broker.rack.is_some());
    }
}

#[test]
fn a_script_that_cannot_be_followed_is_named_with_its_line() {
    let report =
        nodeport().edit("OUTSIDE_PORT=31094", "select OUTSIDE_PORT in 31094; do break; done").check();
    let finding = finding(&report, Code::InitContainerFailed);
    // The script begins in the line after its key.
    let text = fixture("brokers.yaml");
    let line = line_of(&text, "OUTSIDE_PORT=31094") - line_of(&text, "configure.sh: |");
    assert!(
        finding.explanation.contains(&format!("/scripts/configure.sh, line {line}")),
        "{}",
        finding.explanation
    );
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(unexplained(&report), [] as [&_; 0]);
}
