use std::sync::Arc;

use hopwise_client::{Outcome as ClientOutcome, RequestRecord};
use hopwise_kube::cluster_file::ClusterFile;

use super::*;
use crate::findings::{Code, Finding};
use crate::latency::LatencyRow;
use crate::report::check::{Api, Hop, Outcome, Route};
use crate::report::run::Check;
use crate::trace::fixture;

fn hostile() -> String {
    "</script><script>alert('x')</script><img src=x onerror=\"alert(1)\">&{{".to_owned()
}

/// The elements whose text the page's own code and style are.
const OWN: [&str; 2] = ["<script>", "<style>"];

fn is_tame(page: &str) {
    assert!(!page.contains("<img"), "an element of the input is on the page");
    for own in OWN {
        assert_eq!(page.matches(own).count(), 1, "{own}");
    }
    assert!(!page.contains("onerror=\""), "an attribute of the input is on the page");
    assert!(page.contains("&lt;img"), "the input is shown as it is");
}

#[test]
fn what_inputs_say_is_shown_and_never_obeyed() {
    let text = hostile();
    let mut report = fixture::report();
    report.scenario = text.clone();
    report.checks = vec![Check { name: text.clone(), ok: false, detail: text.clone() }];
    report.findings = vec![Finding::new(Code::ALL[0], text.clone(), text.clone()).field(text.clone())];
    report.events[0].object = text.clone();
    report.events[0].detail = text.clone();
    let mut recording = fixture::recording(vec![fixture::record(0, ClientOutcome::Ok), failed(&text)]);
    recording.clients[0].name = text.clone();
    recording.faults[0].name = text.clone();
    is_tame(&run_page(&report, &recording, &text));

    let hop = Hop {
        device: text.clone(),
        action: "dropped".into(),
        src: text.clone(),
        dst: text.clone(),
        at_ns: 1,
        detail: Some(text.clone()),
    };
    let route = Route {
        from: crate::place::Place::InCluster,
        api: Api::Kafka,
        listener: text.clone(),
        broker: 0,
        address: text.clone(),
        outcome: Outcome::Timeout,
        reached: Some(text.clone()),
        source_seen: None,
        hops: vec![Hop { device: text.clone(), action: "sent".into(), ..hop.clone() }, hop],
        connect_ns: None,
        request_ns: None,
    };
    let check = CheckReport::new(Vec::new(), vec![route], Vec::new(), Vec::new(), Vec::new());
    let topology = Topology::of(&ClusterFile::with_nodes(3).nodes, Vec::new(), Vec::new(), Vec::new());
    is_tame(&check_page(&check, &topology, &text));
}

fn failed(explanation: &str) -> Arc<RequestRecord> {
    let record = fixture::record(1, ClientOutcome::Timeout);
    Arc::new(RequestRecord { explanation: explanation.to_owned(), ..(*record).clone() })
}

#[test]
fn a_failed_way_shows_its_reason_and_a_page_loads_nothing() {
    let recording =
        fixture::recording(vec![fixture::record(0, ClientOutcome::Ok), failed("nobody answered within 30s")]);
    let page = run_page(&fixture::report(), &recording, "a.yaml");
    assert!(page.contains("Nobody answered within 30s."), "{page}");
    assert!(page.contains("hopwise run a.yaml --seed 1"), "{page}");
    assert!(page.contains("default-src 'none'"), "{page}");
    for loads in ["src=", "<link", "@import", "url(http", "href=\"http"] {
        assert!(!page.contains(loads), "{loads}");
    }
}

#[test]
fn a_million_requests_are_a_small_page() {
    let kinds: Vec<Arc<RequestRecord>> = (0..1_000)
        .map(|number| {
            fixture::record(number, if number % 7 == 0 { ClientOutcome::Timeout } else { ClientOutcome::Ok })
        })
        .collect();
    let attempts = kinds.iter().cycle().take(1_000_000).cloned().collect();
    let mut report = fixture::report();
    report.events = vec![report.events[0].clone(); 20_000];
    report.latency = vec![LatencyRow {
        route: "inside".into(),
        operation: "produce".into(),
        count: 1_000_000,
        hops: 1,
        min_ns: 1,
        p50_ns: 2,
        p90_ns: 3,
        p99_ns: 4,
        p999_ns: 5,
        max_ns: 6,
    }];
    let page = run_page(&report, &fixture::recording(attempts), "a.yaml");
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(
        page.contains("later changes are left out") || page.contains("later change"),
        "what is left out is said"
    );
    assert!(page.contains("role=\"img\""), "there are plots");
}

#[test]
fn a_run_without_a_recording_is_a_page_too() {
    let mut report = fixture::report();
    report.checks =
        vec![Check { name: "the run stays within its bounds".into(), ok: false, detail: "no".into() }];
    let page = run_page(&report, &Recording::default(), "a.yaml");
    assert!(page.contains("the run stays within its bounds"), "{page}");
}
