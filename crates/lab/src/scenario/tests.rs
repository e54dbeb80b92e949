use std::slice;

use hopwise_engine::Span;

use super::*;
use crate::latency::LatencyRow;
use crate::report::check::Verdict;
use crate::report::run::{Data, Routing, RunReport};

const SMALL: &str = r#"
name: small
cluster: {profile: aws}
manifests: [manifests]
clients:
  - {name: near, place: in-cluster, bootstrap: ["redpanda-0.redpanda:9092"]}
  - {name: far, place: external, bootstrap: ["kafka.example.com:31092"]}
workload:
  topics: [{name: orders, partitions: 3, replication: 3}]
  producers: {requests: 10, recordSize: 100, interval: 10ms}
faults:
  - {at: 5s, deletePod: redpanda/redpanda-1, gracePeriod: 30s}
expect:
  noFailuresAfter: 20s
  less:
    - {hops: [near, far]}
    - {latency: [near, far], operation: fetch, percentile: p99}
    - {cost: [near, far]}
  podsReturn:
    - {pod: redpanda/redpanda-1, keeps: [ordinal, claim, data, id], changes: [ip]}
"#;

fn scenario(text: &str) -> Result<Scenario, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

fn small() -> Scenario {
    scenario(SMALL).expect("the fixture parses")
}

fn problems(from: &str, to: &str) -> Vec<String> {
    assert!(SMALL.contains(from), "{from}");
    let changed = scenario(&SMALL.replace(from, to)).expect("still a scenario");
    changed.problems().iter().map(Problem::to_string).collect()
}

fn refused(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    scenario(&SMALL.replace(from, to)).expect_err("no scenario")
}

#[test]
fn a_sound_scenario_has_no_problems_and_survives_a_round_trip() {
    let scenario = small();
    assert_eq!(scenario.problems(), []);
    assert_eq!(scenario.bounds.start, Duration(Span::from_secs(1200)));
    assert!(scenario.expect.every_request_at_leader && scenario.expect.nothing_lost);
    let text = serde_json::to_string(&scenario).expect("plain data");
    assert_eq!(serde_json::from_str::<Scenario>(&text).expect("the same"), scenario);
}

#[test]
fn unknown_fields_are_refused() {
    for (from, to, field) in [
        ("seed", "sed", "sed"),
        ("interval: 10ms", "intervall: 10ms", "intervall"),
        ("gracePeriod", "grace", "grace"),
        ("percentile: p99", "quantile: p99", "quantile"),
        ("noFailuresAfter", "noFailureAfter", "noFailureAfter"),
    ] {
        let text = SMALL.replace("name: small", "name: small\nseed: 7").replace(from, to);
        let error = scenario(&text).expect_err(field);
        assert!(error.contains("unknown field") && error.contains(field), "{error}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_refused_with_what_is_expected() {
    let error = refused("10ms", "10");
    assert!(error.contains("is no duration; expected a number and one of ns, us, ms, s, m, h"), "{error}");
    let error = refused("place: external", "place: outside");
    assert!(error.contains("`outside` is no place"), "{error}");
    let error = refused("{hops: [near, far]}", "{hops: [near, far], cost: [near, far]}");
    assert!(error.contains("exactly one of `hops`, `latency` and `cost`"), "{error}");
    let error = refused("deletePod: redpanda/redpanda-1, gracePeriod: 30s", "gracePeriod: 30s");
    assert!(error.contains("expected `deletePod: NAMESPACE/NAME`"), "{error}");
    let error = refused("deletePod: redpanda/redpanda-1", "powerOffNode: node-1");
    assert!(error.contains("`gracePeriod` and `force` go with `deletePod` only"), "{error}");
    let error = refused("deletePod: redpanda/redpanda-1", "deletePod: a/b, powerOffNode: node-1");
    assert!(
        error.contains("this one is `deletePod` already; make another fault of `powerOffNode`"),
        "{error}"
    );
    let error = refused("deletePod: redpanda/redpanda-1", "deletePod: redpanda-1");
    assert!(error.contains("`redpanda-1` names no pod"), "{error}");
}

#[test]
fn references_are_checked() {
    insta::assert_snapshot!(problems("{hops: [near, far]}", "{hops: [near, fra]}").join("\n"), @"expect.less[0].hops[1]: no client is called `fra`; expected one of near, far");
    insta::assert_snapshot!(problems("pod: redpanda/redpanda-1", "pod: redpanda/redpanda-2").join("\n"), @"expect.podsReturn[0].pod: no fault deletes redpanda/redpanda-2; expected a pod that a fault deletes");
    insta::assert_snapshot!(problems("name: far", "name: near").join("\n"), @r"
    clients[1].name: another client is called `near`; expected a name of its own
    expect.less[0].hops[1]: no client is called `far`; expected one of near, near
    expect.less[1].latency[1]: no client is called `far`; expected one of near, near
    expect.less[2].cost[1]: no client is called `far`; expected one of near, near
    ");
}

#[test]
fn ranges_are_checked() {
    insta::assert_snapshot!(problems("partitions: 3", "partitions: 0").join("\n"), @"workload.topics[0].partitions: there are none; expected at least 1");
    insta::assert_snapshot!(problems("replication: 3", "replication: 2").join("\n"), @"workload.topics[0].replication: 2 replicas are not possible; expected an odd number, as Redpanda wants it");
    insta::assert_snapshot!(problems("gracePeriod: 30s", "gracePeriod: 1500ms").join("\n"), @"faults[0].gracePeriod: 1500ms is not whole seconds; expected whole seconds");
    insta::assert_snapshot!(problems("at: 5s", "at: 2h").join("\n"), @"faults[0].at: 2h is after the end of the run at 30m; expected a time before bounds.run");
    insta::assert_snapshot!(problems("kafka.example.com:31092", "kafka.example.com").join("\n"), @"clients[1].bootstrap[0]: `kafka.example.com` is no address; expected host:port with a port from 1 to 65535");
    insta::assert_snapshot!(problems("cluster: {profile: aws}", "cluster: 7").join("\n"), @"cluster: this is no cluster; expected the path of a cluster file, or its content");
}

fn row(route: &str, operation: &str, hops: u32, p50_ns: u64, p99_ns: u64) -> LatencyRow {
    LatencyRow {
        route: route.into(),
        operation: operation.into(),
        count: 10,
        hops,
        min_ns: p50_ns,
        p50_ns,
        p90_ns: p99_ns,
        p99_ns,
        p999_ns: p99_ns,
        max_ns: p99_ns,
    }
}

fn report() -> RunReport {
    RunReport {
        scenario: "small".into(),
        seed: 0,
        verdict: Verdict::Pass,
        trace_hash: "00".into(),
        simulated_ns: 0,
        wall_ns: 0,
        checks: vec![],
        latency: vec![
            row("near", "produce", 2, 1_000_000, 2_000_000),
            row("far", "produce", 3, 20_000_000, 21_000_000),
            row("near", "fetch", 2, 1_000_000, 30_000_000),
            row("far", "fetch", 3, 20_000_000, 21_000_000),
        ],
        routing: Routing { requests: 20, to_leader: 20, ..Routing::default() },
        data: Data { acknowledged: 10, ..Data::default() },
        events: vec![],
        faults: vec![],
        outages: vec![],
        cost: vec![],
        clients: Vec::new(),
        ways: vec![],
        findings: vec![],
    }
}

fn shown(checks: &[crate::report::run::Check]) -> String {
    let line = |check: &crate::report::run::Check| {
        format!("{} {}: {}", if check.ok { "ok" } else { "NO" }, check.name, check.detail)
    };
    checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn expectations_are_compared_with_a_report() {
    let failures = [Span::from_secs(6), Span::from_secs(25)];
    insta::assert_snapshot!(shown(&check_report(&small().expect, &report(), &failures)), @r"
    ok every request reached the leader of its partition: 20 of 20 requests, 0 failed
    ok every acknowledged record can be read once and in order: 10 acknowledged, 0 lost, 0 duplicated, 0 reordered
    NO no attempt fails after 20s: 1 failed after it, the last at 25s; 2 in all
    ok hops: near is less than far: near 2, far 3
    NO p99 fetch: near is less than far: near 30.000 ms, far 21.000 ms
    NO cost per month: near is less than far: near $0.00, far $0.00
    ");
}

#[test]
fn a_run_without_requests_or_rows_is_no_success() {
    let empty = RunReport { latency: vec![], routing: Routing::default(), ..report() };
    let checks = check_report(&small().expect, &empty, &[]);
    assert!(!checks[0].ok);
    assert_eq!(checks[3].detail, "nothing was measured for near");
}

#[test]
fn pods_are_compared_with_what_they_were() {
    let before = PodIdentity {
        pod: "redpanda/redpanda-1".into(),
        ordinal: Some(1),
        claims: vec!["datadir-redpanda-1".into()],
        data: Some("5f3a".into()),
        broker: Some(1),
        ip: Some("10.244.1.2".into()),
        uid: "u1".into(),
    };
    let after = PodIdentity { ip: Some("10.244.1.3".into()), uid: "u2".into(), ..before.clone() };
    let expect = small().expect;
    insta::assert_snapshot!(shown(&check_pods(&expect, slice::from_ref(&before), &[after])), @"ok redpanda/redpanda-1 comes back and keeps ordinal, claim, data, id, with a new ip: ordinal 1; claim datadir-redpanda-1; data 5f3a; id 1; ip 10.244.1.2 -> 10.244.1.3");
    let lost = PodIdentity { data: None, broker: Some(3), ..before.clone() };
    insta::assert_snapshot!(shown(&check_pods(&expect, slice::from_ref(&before), &[lost])), @"NO redpanda/redpanda-1 comes back and keeps ordinal, claim, data, id, with a new ip: ordinal 1; claim datadir-redpanda-1; data 5f3a -> none; id 1 -> 3; ip 10.244.1.2");
    assert!(!check_pods(&expect, &[before], &[])[0].ok);
}

/// A scenario without Kafka clients.
const PLAIN: &str = r#"
name: plain
cluster: {nodes: [{name: node-0, address: 10.0.0.10}]}
manifests: [manifests]
faults:
  - {at: 5s, powerOffNode: node-0}
  - {at: 1m, name: back, powerOnNode: node-0}
  - {at: 2m, rebootNode: {node: node-0, downFor: 30s}}
  - {at: 3m, stopApiServer: true}
observations:
  - {at: 2s, from: external, connect: "10.0.0.10:31000", outcome: ok, servedBy: [demo/echo-0], source: client}
  - {after: back, within: [0s, 30s], every: 5s, from: in-cluster, resolve: echo.demo, addresses: [pod/demo/echo-0]}
expect:
  events:
    - {kind: pod.ready, object: pod demo/echo-0, after: back, within: [0s, 1m], name: ready}
    - {kind: pod.deleted, never: true}
  states:
    - {object: pod demo/echo-0, after: ready, at: 1s, is: {uid: same, ready: true, restarts: 1}}
    - {object: node node-0, throughout: [0s, 4s], is: {taints: []}}
"#;

fn plain(from: &str, to: &str) -> Result<Scenario, String> {
    assert!(PLAIN.contains(from), "{from}");
    scenario(&PLAIN.replace(from, to))
}

#[test]
fn a_scenario_needs_no_clients_and_survives_a_round_trip() {
    let scenario = plain("", "").expect("it parses");
    assert_eq!(scenario.problems(), []);
    let names: Vec<String> = scenario.faults.iter().map(Fault::name).collect();
    assert_eq!(names, ["powerOffNode", "back", "rebootNode", "stopApiServer"]);
    // The last time is a minute and a second after the pod is ready, a minute after the machine is back.
    assert_eq!(scenario.watched_for(), Duration(Span::from_secs(181)));
    let text = serde_json::to_string(&scenario).expect("plain data");
    assert_eq!(serde_json::from_str::<Scenario>(&text).expect("the same"), scenario);
}

#[test]
fn faults_observations_and_expectations_say_what_they_need() {
    for (from, to, words) in [
        (
            "powerOnNode: node-0",
            "powerOn: node-0",
            "unknown field `powerOn`, expected one of `at`, `when`, `for`, `name`",
        ),
        ("downFor: 30s", "for: 30s", "unknown field `for`"),
        ("stopApiServer: true", "stopApiServer: false", "leave the fault out"),
        (
            "within: [0s, 30s], every",
            "within: [30s, 0s], every",
            "the window from 30s to 0ns ends before it begins",
        ),
        ("{at: 2s, from", "{from", "one of `at`, `within` and `throughout`"),
        ("outcome: ok", "rcode: NXDOMAIN", "`rcode` and `addresses` go with `resolve`"),
        ("source: client", "source: me", "`me` is no address"),
        ("pod demo/echo-0, after: back", "demo/echo-0, after: back", "names no object"),
        ("{kind: pod.deleted, never: true}", "{kind: pod.deleted, never: true, name: x}", "has no name"),
        ("is: {taints: []}", "is: {}", "`is` is empty"),
    ] {
        let error = plain(from, to).expect_err(to);
        assert!(error.contains(words), "{to}: {error}");
    }
}

#[test]
fn times_count_from_what_there_is() {
    let problems = |from: &str, to: &str| {
        let problems = plain(from, to).expect("it parses").problems();
        problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(problems("after: ready, at: 1s", "after: raedy, at: 1s"), @"expect.states[0].after: no fault, and no event before it, is called `raedy`; expected `ready` perhaps, or another of back, powerOffNode, ready, rebootNode, stopApiServer");
    insta::assert_snapshot!(problems("{at: 5s, powerOffNode", "{at: 5s, name: back, powerOffNode"), @"faults[1].name: another fault is called `back`; expected a name of its own");
    insta::assert_snapshot!(problems("faults:", "duration: 1m\nfaults:"), @r"
    faults[1].at: 1m is after the end of the run at 1m; expected a time before duration
    faults[2].at: 2m is after the end of the run at 1m; expected a time before duration
    faults[3].at: 3m is after the end of the run at 1m; expected a time before duration
    duration: the scenario names times up to 181s; expected at least 181s, or no duration
    ");
}

#[test]
fn a_client_may_name_its_resolver() {
    let with = |resolver: &str| {
        scenario(&SMALL.replace("place: external,", &format!("place: external, resolver: {resolver},")))
    };
    let resolvers: Vec<String> =
        with("jvm").expect("it is one").clients.iter().map(|client| client.resolver().to_string()).collect();
    assert_eq!(resolvers, ["glibc", "jvm"]);
    let error = with("bind").expect_err("it is none");
    assert!(error.contains("`bind` is no resolver; expected `glibc`, `musl`, `go` or `jvm`"), "{error}");
}

#[test]
fn a_client_may_name_its_profile_and_has_that_profile_s_resolver() {
    let with =
        |fields: &str| scenario(&SMALL.replace("place: external,", &format!("place: external, {fields},")));
    let second = |fields: &str| with(fields).expect("sound").clients[1].clone();
    assert_eq!(second("profile: franz-go").profile.0, hopwise_client::Profile::FranzGo);
    assert_eq!(second("profile: franz-go").resolver().to_string(), "go");
    assert_eq!(second("profile: java").resolver().to_string(), "jvm");
    assert_eq!(second("profile: java, resolver: musl").resolver().to_string(), "musl");
    let error = with("profile: sarama").expect_err("it is none");
    assert!(error.contains("`sarama` is not a client profile"), "{error}");
    let error = with("bug: stale-everything").expect_err("it is none");
    assert!(error.contains("stale-metadata"), "{error}");
}

#[test]
fn a_bug_needs_a_build_that_has_bugs() {
    let text = SMALL.replace("place: external,", "place: external, bug: stale-dns,");
    let buggy = scenario(&text).expect("the words are known");
    let problems = |built: bool| {
        let problems = super::problems::unbuilt_bugs(&buggy.clients, built);
        problems.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>()
    };
    assert!(problems(true).is_empty());
    insta::assert_snapshot!(problems(false).join("\n"), @"clients[1].bug: this build has no bugs: they are for tests of the checks; expected no bug, or a build with feature `bugs`");
    assert_eq!(buggy.problems().iter().any(|it| it.field.ends_with(".bug")), !ClientBug::BUILT);
}
