//! Each routing bug that a client can be given is seen by a check of the run, and the same seed without it passes.
//!
//! The scenarios are `fixtures/client-bugs/*.yaml`, named after the bug; each names its seed.

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::RunReport;
use hopwise_tests::fixtures;
use hopwise_tests::runs::run_file;

/// Runs the scenario of a bug, with it or without.
fn run(bug: &str, with_bug: bool) -> RunReport {
    let path = fixtures().join("client-bugs").join(format!("{bug}.yaml"));
    run_file(&path, |scenario| {
        for client in &mut scenario.clients {
            assert!(client.bug.is_some(), "client {} has no bug", client.name);
            client.bug = client.bug.filter(|_| with_bug);
        }
    })
}

/// The checks that failed, with what was seen.
fn failed(report: &RunReport) -> Vec<String> {
    let failed = report.checks.iter().filter(|check| !check.ok);
    failed.map(|check| format!("{}: {}", check.name, check.detail)).collect()
}

/// Checks that the bug makes the check with these words fail, and nothing fails without it.
fn is_seen(bug: &str, words: &str) -> RunReport {
    let sound = run(bug, false);
    assert_eq!(sound.verdict, Verdict::Pass, "without the bug: {:#?}\n{:#?}", failed(&sound), sound.clients);
    let broken = run(bug, true);
    let seen = failed(&broken);
    let context = || format!("{seen:#?}\n{:#?}", broken.clients);
    assert!(seen.iter().any(|check| check.contains(words)), "no failed check says {words:?}: {}", context());
    broken
}

#[test]
fn metadata_that_is_kept_for_ever_is_seen_by_requests_that_are_given_up() {
    is_seen("stale-metadata", "every request of client client is served");
}

#[test]
fn not_leader_without_new_metadata_is_seen_by_requests_that_are_given_up() {
    let broken = is_seen("ignore-not-leader", "every request of client client is served");
    assert!(broken.clients[0].misrouted > 20, "{:#?}", broken.clients);
}

#[test]
fn the_address_where_a_broker_was_is_seen_by_requests_that_are_given_up() {
    is_seen("stale-address", "every request of client client is served");
}

#[test]
fn a_dns_answer_that_is_kept_for_ever_is_seen_by_requests_that_are_given_up() {
    is_seen("stale-dns", "every request of client client is served");
}

#[test]
fn a_retry_at_another_partition_is_seen_by_records_where_they_do_not_belong() {
    is_seen("retry-elsewhere", "every record is in the partition that its sender chose");
}
