//! Faults under Kafka clients: what each does to requests and records, and that it is over when it is undone.
//!
//! The scenarios of `scenarios/faults/` show the faults that need no broker.

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::RunReport;
use hopwise_tests::runs::{run, with_client_outside};

/// A client outside that produces `size` bytes a second to three brokers, while `faults` (lines of the list) are played.
fn scenario(size: u32, seconds: u32, faults: &[&str], rest: &str) -> String {
    let does = format!(
        r"workload:
  topics: [{{name: orders, partitions: 6, replication: 3}}]
  producers: {{requests: {seconds}, recordSize: {size}, interval: 1s}}
expect:
  everyRequestAtLeader: false
  nothingLost: true
{rest}"
    );
    with_client_outside("faults", faults, &does)
}

/// The longest and the median produce request, in milliseconds.
fn produce_ms(report: &RunReport) -> (u64, u64) {
    let row = report.latency.iter().find(|row| row.operation == "produce").expect("it produced");
    (row.max_ns / 1_000_000, row.p50_ns / 1_000_000)
}

fn assert_passes(report: &RunReport) {
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.checks);
}

#[test]
fn large_records_hang_in_an_mtu_black_hole_and_small_ones_pass() {
    let hole = "{at: 2s, for: 20s, blackHoleLink: {link: external -> zone/zone-b, above: 700}}";
    let small = run(&scenario(100, 30, &[hole], ""));
    let large = run(&scenario(4096, 30, &[hole], ""));
    assert_passes(&small);
    assert_passes(&large);
    let ((small_ms, _), (large_ms, _)) = (produce_ms(&small), produce_ms(&large));
    assert!(small_ms < 1_000, "small records took up to {small_ms} ms");
    // TCP sends again and again, and gets through when the hole is gone.
    assert!(large_ms > 10_000, "large records took up to {large_ms} ms");
}

#[test]
fn a_hung_broker_holds_requests_up_and_loses_nothing() {
    let hung = "{at: 3s, for: 15s, hangContainer: {pod: redpanda/redpanda-1, container: redpanda}}";
    let report = run(&scenario(200, 40, &[hung], "  noFailuresAfter: 35s\n"));
    assert_passes(&report);
    // Attempts that nobody answered have no latency: what they cost is time without a served request.
    let (outage, (_, median_ms)) = (&report.outages[0], produce_ms(&report));
    assert!(
        report.routing.retried > 0 && outage.longest_ns > 3_000_000_000,
        "{outage:?}, {:?}",
        report.routing
    );
    assert!(median_ms < 1_000, "{median_ms} ms");
}

/// Port 33145 is the brokers' own (RPC), 9094 the one that clients outside are led to.
#[test]
fn a_firewall_between_brokers_moves_leaders_and_one_before_clients_keeps_them_waiting() {
    let blocked = |port: u16| format!("{{at: 5s, for: 20s, blockPort: {{node: node-1, port: {port}}}}}");
    let outage_ms = |port: u16| {
        let report = run(&scenario(200, 60, &[&blocked(port)], ""));
        assert_passes(&report);
        report.outages.first().expect("one way in").longest_ns / 1_000_000
    };
    let between = outage_ms(33145);
    assert!(
        (1_000..5_000).contains(&between),
        "an election takes seconds, the firewall is up for 20: {between}"
    );
    let before = outage_ms(9094);
    // TCP tries again ever more seldom, so that a while passes after the firewall is gone.
    assert!((20_000..40_000).contains(&before), "{before}");
}

#[test]
fn a_slow_broker_answers_late() {
    let slow = |pod: u32| {
        format!(
            "{{at: 0s, name: slow-{pod}, slowContainer: {{pod: redpanda/redpanda-{pod}, container: redpanda, times: 100}}}}"
        )
    };
    let slow = [slow(0), slow(1), slow(2)];
    let healthy = produce_ms(&run(&scenario(200, 10, &["{at: 1s, setClock: node-0}"], "")));
    let report = run(&scenario(200, 10, &slow.each_ref().map(String::as_str), ""));
    assert_passes(&report);
    assert!(produce_ms(&report).1 > healthy.1 + 20, "{:?} and {healthy:?}", produce_ms(&report));
}

#[test]
fn slow_disks_delay_what_waits_for_a_majority() {
    let disk = |pod: u32| {
        format!(
            "{{at: 0s, for: 12s, name: slow-{pod}, slowDisk: {{claim: persistentVolumeClaim redpanda/datadir-redpanda-{pod}, by: 200ms}}}}"
        )
    };
    let disks = [disk(0), disk(1), disk(2)];
    let report = run(&scenario(200, 20, &disks.each_ref().map(String::as_str), ""));
    assert_passes(&report);
    let row = report.latency.iter().find(|row| row.operation == "produce").expect("it produced");
    assert!(row.max_ns > 200_000_000 && row.min_ns < 150_000_000, "{row:?}");
}

#[test]
fn full_failing_and_lying_disks_of_one_broker_lose_nothing() {
    let disk = "persistentVolumeClaim redpanda/datadir-redpanda-1";
    let faults = [
        format!("{{at: 2s, for: 5s, fillDisk: {disk}}}"),
        format!("{{at: 12s, for: 5s, failDisk: {{claim: {disk}, share: 50%}}}}"),
        format!("{{at: 22s, for: 5s, corruptDisk: {{claim: {disk}, share: 10%}}}}"),
        "{at: 5s, for: 20s, skewClock: {node: node-2, behind: 1h}}".to_owned(),
    ];
    let report = run(&scenario(200, 40, &faults.each_ref().map(String::as_str), ""));
    assert_passes(&report);
    let kinds = |kind: &str| report.events.iter().filter(|event| event.kind == kind).count();
    assert_eq!((kinds("disk.broken"), kinds("disk.mended"), kinds("node.clock_set")), (3, 3, 2));
}

#[test]
fn brokers_are_drained_and_decommissioned_through_their_admin_api() {
    let faults = [
        "{at: 2s, for: 10s, startMaintenance: redpanda/redpanda-1}",
        "{at: 20s, for: 5s, decommissionBroker: redpanda/redpanda-2}",
    ];
    assert_passes(&run(&scenario(200, 40, &faults, "")));
    let report = run(&scenario(200, 5, &["{at: 1s, endMaintenance: redpanda/redpanda-9}"], ""));
    let failed = report.checks.iter().find(|check| !check.ok).expect("there is no such broker");
    assert!(failed.detail.contains("the pod redpanda/redpanda-9 has no broker with an id"), "{failed:?}");
}

#[test]
fn a_run_ends_at_its_bounds() {
    let report = run(&scenario(200, 5, &["{at: 1s, setClock: node-0}"], "bounds: {events: 1000}\n"));
    assert_eq!(report.verdict, Verdict::Fail);
    let [check] = report.checks.as_slice() else { panic!("{:?}", report.checks) };
    assert!(!check.ok && check.detail.contains("more than bounds.events (1000)"), "{check:?}");
    let report = run(&scenario(200, 5, &["{at: 1s, setClock: node-0}"], "bounds: {memory: 1 kB}\n"));
    assert!(report.checks[0].detail.contains("more than bounds.memory"), "{:?}", report.checks);
}
