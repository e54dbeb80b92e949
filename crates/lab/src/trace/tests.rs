use std::collections::BTreeSet;

use hopwise_client::Outcome;
use serde_json::Value;

use super::fixture::{record, recording, report};
use super::*;

fn trace(requests: u64, failed: u64) -> Value {
    let outcome = |number| if number < failed { Outcome::Timeout } else { Outcome::Ok };
    let recording = recording((0..requests).map(|number| record(number, outcome(number))).collect());
    let mut out = Vec::new();
    write_trace(&mut out, &report(), &recording).expect("memory can be written to");
    serde_json::from_slice(&out).expect("it is JSON")
}

fn of_phase<'a>(trace: &'a Value, phase: &str) -> Vec<&'a Value> {
    let events = trace["traceEvents"].as_array().expect("events");
    events.iter().filter(|event| event["ph"] == phase).collect()
}

#[test]
fn requests_and_hops_are_spans_on_named_tracks_with_arrows_between_them() {
    let trace = trace(2, 0);
    let named: BTreeSet<u64> = of_phase(&trace, "M")
        .into_iter()
        .filter(|event| event["name"] == "process_name")
        .filter_map(|event| event["pid"].as_u64())
        .collect();
    let spans = of_phase(&trace, "X");
    assert!(spans.iter().all(|span| named.contains(&span["pid"].as_u64().expect("a number"))));
    let requests: Vec<_> = spans.iter().filter(|span| span["cat"] == "request").collect();
    assert_eq!(
        (requests.len(), &requests[1]["ts"], &requests[1]["dur"]),
        (2, &10_000.0.into(), &900.0.into())
    );
    // Two hops each way before the last, and the last one.
    assert_eq!(spans.iter().filter(|span| span["cat"] == "hop").count(), 2 * 6);
    for (phase, count) in [("s", 4), ("t", 4), ("f", 4)] {
        let arrows = of_phase(&trace, phase);
        assert_eq!(arrows.len(), count, "{phase}");
        for arrow in arrows {
            let bound = spans.iter().any(|span| {
                let (ts, dur) = (span["ts"].as_f64().expect("ts"), span["dur"].as_f64().expect("dur"));
                let at = arrow["ts"].as_f64().expect("ts");
                (&span["pid"], &span["tid"]) == (&arrow["pid"], &arrow["tid"]) && ts <= at && at <= ts + dur
            });
            assert!(bound, "{arrow}");
        }
    }
}

#[test]
fn what_happens_is_an_instant_on_the_track_of_its_object() {
    let trace = trace(1, 0);
    let instants = of_phase(&trace, "i");
    assert_eq!(instants.len(), 2, "{instants:?}");
    let pod = of_phase(&trace, "M")
        .into_iter()
        .find(|event| event["args"]["name"] == "kafka/rp-0")
        .expect("the pod has a track");
    assert_eq!((&instants[0]["pid"], &instants[0]["ts"]), (&pod["pid"], &1_500.0.into()));
    assert_eq!((&instants[1]["s"], &instants[1]["ts"]), (&"g".into(), &1e6.into()));
}

#[test]
fn a_long_run_is_sampled_and_the_trace_says_so() {
    let trace = trace(40_000, 100);
    let requests = of_phase(&trace, "X").into_iter().filter(|span| span["cat"] == "request");
    let (failed, well): (Vec<_>, Vec<_>) = requests.partition(|span| span["args"]["outcome"] == "timeout");
    assert_eq!(failed.len(), 100, "every failed one is there");
    assert!(well.len() <= REQUESTS_MAX - 100 && well.len() > REQUESTS_MAX / 2, "{}", well.len());
    let note = of_phase(&trace, "i").into_iter().find(|event| event["name"] == "trace.sampled");
    assert!(note.expect("a note")["args"]["detail"].as_str().expect("text").contains("of 40000 requests"));
    assert_eq!(trace["otherData"]["requests"], 40_000);
}
