use std::collections::BTreeSet;

use super::*;
use crate::scenario::{Problem, Scenario};

fn fault(text: &str) -> Result<Fault, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The problems of a scenario with these faults, each on a line.
fn problems(faults: &[&str]) -> String {
    let lines: String = faults.iter().map(|fault| format!("  - {fault}\n")).collect();
    let text = format!(
        "name: x\ncluster: {{}}\nmanifests: [m]\nfaults:\n{lines}expect: {{events: [{{kind: pod.ready, within: [0s, 1s]}}]}}\n"
    );
    let scenario: Scenario = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    scenario.problems().iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_catalogue_holds_every_kind_once() {
    let fields: Vec<&str> = catalogue::entries().map(|entry| entry.field).collect();
    let listed: BTreeSet<&str> = fields.iter().copied().collect();
    let known: BTreeSet<&str> = FaultKind::fields().iter().copied().collect();
    assert_eq!(listed, known);
    assert_eq!(fields.len(), listed.len(), "each once");
}

#[test]
fn every_kind_is_written_as_it_is_read() {
    for entry in catalogue::entries() {
        let mut written = Fault::at(Duration(hopwise_engine::Span::from_secs(5)), entry.example.clone());
        written.lasts = entry.undo.map(|_| Duration(hopwise_engine::Span::from_secs(20)));
        let json = serde_json::to_string(&written).expect("plain data");
        assert_eq!(serde_json::from_str::<Fault>(&json).expect(&json), written);
        let yaml = serde_saphyr::to_string(&written).expect("plain data");
        assert_eq!(serde_saphyr::from_str::<Fault>(&yaml).expect(&yaml), written, "{yaml}");
        assert!(written.kind.objects().next().is_some(), "{} acts on something", entry.field);
    }
}

#[test]
fn what_undoes_a_fault_acts_on_the_same_and_is_not_undone_itself() {
    for entry in catalogue::entries() {
        let Some(undo) = entry.example.undo() else { continue };
        assert!(undo.undo().is_none(), "{} is undone by {}, which is undone too", entry.field, undo.field());
        let (kind, objects): (BTreeSet<_>, BTreeSet<_>) =
            (entry.example.objects().collect(), undo.objects().collect());
        assert_eq!(kind, objects, "{}", entry.field);
    }
}

#[test]
fn an_unknown_fault_is_told_with_what_there_is() {
    let error = fault("{at: 1s, deletePot: a/b}").expect_err("unknown");
    assert!(error.contains("unknown field `deletePot`, expected one of `at`, `when`, `for`"), "{error}");
    let error = fault("{at: 1s, for: 5s, deletePod: a/b}").expect_err("nothing undoes it");
    assert!(error.contains("nothing undoes `deletePod`, so it has no `for`"), "{error}");
    let error = fault("{deletePod: a/b}").expect_err("no time");
    assert!(error.contains("a fault needs its time: `at` (after the start), or `when`"), "{error}");
    let error = fault("{at: -5s, deletePod: a/b}").expect_err("in the past");
    assert!(error.contains("`-5s` is in the past"), "{error}");
}

#[test]
fn links_are_written_as_ways() {
    for (text, words) in [
        ("{at: 1s, cutLink: node/a}", "expected `node/a <-> node/b`"),
        ("{at: 1s, cutLink: node/a -> a}", "expected `node/NAME`, `zone/NAME` or `external`"),
        ("{at: 1s, cutLink: zone/a <-> zone/a}", "expected two places"),
        ("{at: 1s, loseOnLink: {link: zone/a <-> zone/b, share: 2}}", "`2` is no share"),
        ("{at: 1s, delayLink: {link: zone/a <-> zone/b}}", "missing field `by`"),
        ("{at: 1s, mendLink: {link: zone/a <-> zone/b, of: speed}}", "unknown variant `speed`"),
    ] {
        let error = fault(text).expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
    }
    let cut = fault("{at: 1s, for: 2s, cutLink: external <-> zone/a}").expect("sound");
    let objects: Vec<String> = cut.kind.objects().collect();
    assert_eq!(objects, ["link external to zone/a", "link zone/a to external"]);
}

#[test]
fn a_fault_may_wait_for_an_event_or_a_fault() {
    let waiting =
        fault("{when: {event: pod.ready, object: pod a/b, within: [0s, 1m]}, at: 2s, deletePod: a/b}");
    let waiting = waiting.expect("sound");
    assert_eq!(
        waiting.when.as_ref().and_then(|when| when.event.as_ref()).map(|event| event.kind.as_str()),
        Some("pod.ready")
    );
    let at_once = fault("{when: {after: gone}, deletePod: a/b}").expect("sound");
    assert_eq!(at_once.at, Duration::default());
    for (text, words) in [
        ("{when: {}, deletePod: a/b}", "`when` needs an `event`"),
        ("{when: {after: x, object: pod a/b}, deletePod: a/b}", "go with `event`"),
        ("{when: {event: pod.ready, within: [2s, 1s]}, deletePod: a/b}", "ends before it begins"),
        ("{when: {kind: pod.ready}, deletePod: a/b}", "unknown field `kind`"),
    ] {
        let error = fault(text).expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_a_fault_waits_for_is_known_and_ends() {
    insta::assert_snapshot!(problems(&["{name: first, when: {after: second}, deletePod: a/b}", "{at: 5s, name: second, deletePod: a/c}"]), @"");
    insta::assert_snapshot!(problems(&["{when: {event: pod.ready}, deletePod: a/b}"]), @"");
    insta::assert_snapshot!(problems(&["{name: down, at: 1s, for: 5s, stopApiServer: true}", "{when: {after: down.end}, at: 1s, deletePod: a/b}"]), @"");
}

#[test]
fn faults_are_over_before_the_run_is() {
    insta::assert_snapshot!(problems(&["{at: 29m, for: 2m, powerOffNode: n}"]), @"");
    insta::assert_snapshot!(problems(&["{at: 1s, for: 0s, powerOffNode: n}"]), @"");
}

#[test]
fn faults_that_contradict_each_other_are_told() {
    insta::assert_snapshot!(problems(&["{at: 5s, for: 20s, powerOffNode: n}", "{at: 10s, shutDownNode: n}"]), @"");
    insta::assert_snapshot!(problems(&["{at: 5s, for: 20s, cutLink: node/a -> node/b}", "{at: 24s, name: two, cutLink: node/b <-> node/a}"]), @"");
    insta::assert_snapshot!(problems(&["{at: 5s, powerOffNode: n}", "{at: 5s, powerOnNode: n}"]), @"");
    // Another node, another aspect, another time, or another event.
    assert_eq!(
        problems(&[
            "{at: 5s, for: 20s, powerOffNode: n}",
            "{at: 5s, for: 20s, name: b, powerOffNode: m}",
            "{at: 25s, for: 20s, name: c, powerOffNode: n}",
            "{at: 5s, for: 20s, cutLink: node/a -> node/b}",
            "{at: 5s, for: 20s, delayLink: {link: node/a -> node/b, by: 1s}}",
            "{at: 5s, when: {event: pod.ready, within: [0s, 9s]}, name: d, powerOnNode: n}",
        ]),
        ""
    );
}
