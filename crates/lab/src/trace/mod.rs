//! A run as trace events, which Perfetto (ui.perfetto.dev) and Chrome's tracing view show: a track per host, the requests
//! as spans on their clients' tracks, the packets' hops as spans on the devices', arrows along the way, and what happened to
//! the cluster as instants. Times are virtual, in microseconds since the simulation's start.
//!
//! A trace is bounded: of more than [`REQUESTS_MAX`] requests every so-manieth is in it, failed ones before others, and the
//! trace says so in its metadata and by an instant at its beginning.
//!
//! A connection's path is known by the last packet each way, so hops are those of the packets that ended the exchange; what
//! lies between them is the broker's and the client's part.
//!
//! Source: "Trace Event Format" (Google), the JSON object format: phases X, s, t, f, i and M.

mod events;
#[cfg(test)]
pub(crate) mod fixture;
mod sample;
mod tracks;

use std::io::{self, Write};

use crate::recording::Recording;
use crate::report::run::RunReport;
use events::Events;

/// The kinds of instants that are a trace's own, and what they tell; the others are those of the run's events
/// ([`crate::report::event_kinds::EVENT_KINDS`]).
pub const TRACE_KINDS: [(&str, &str); 5] = [
    (FAULT, "a fault strikes, or is undone"),
    (LEADER, "a broker leads a partition from now on"),
    (ENDPOINTS, "the ready endpoints of a Service have changed"),
    (SAMPLED, "the trace has the spans of some of the requests only; the detail says of how many"),
    (LEFT_OUT, "so many later instants are not in the trace"),
];

const FAULT: &str = "fault";
const LEADER: &str = "partition.leader";
const ENDPOINTS: &str = "service.endpoints";
const SAMPLED: &str = "trace.sampled";
const LEFT_OUT: &str = "trace.left_out";

/// The most requests of which a trace has the spans.
pub const REQUESTS_MAX: usize = 3_000;
/// The most instants; what happens later than these is left out, and the trace says how much that is.
pub const INSTANTS_MAX: usize = 20_000;

/// Writes the trace of a run.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write_trace(out: &mut impl Write, report: &RunReport, recording: &Recording) -> io::Result<()> {
    let sample = sample::choose(recording, REQUESTS_MAX);
    let mut events = Events::default();
    events.note_sample(&sample);
    for (client, attempts) in &sample.chosen {
        for attempt in attempts {
            events.request(client, attempt);
        }
    }
    for event in &report.events {
        events.happened(event.at_ns, &event.kind, &event.object, &event.detail);
    }
    for fault in &recording.faults {
        events.happened(fault.at.as_nanos(), FAULT, "cluster", &fault.name);
    }
    for election in &recording.elections {
        let detail = format!("{}/{} in term {}", election.topic, election.partition, election.term);
        events.happened(election.at.as_nanos(), LEADER, &format!("pod {}", election.pod), &detail);
    }
    for change in &recording.endpoints {
        let object = format!("service {}", change.service);
        events.happened(change.at.as_nanos(), ENDPOINTS, &object, &change.ready.join(", "));
    }
    let about = serde_json::json!({
        "scenario": report.scenario,
        "seed": report.seed,
        "trace_hash": report.trace_hash,
        "time": "virtual, since the simulation's start",
        "requests": sample.of,
        "requests_in_trace": sample.len(),
    });
    // One event a line, so that a trace can be looked at with a pager too.
    writeln!(out, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{about},\"traceEvents\":[")?;
    let all = events.finish();
    for (index, event) in all.iter().enumerate() {
        let comma = if index + 1 < all.len() { "," } else { "" };
        writeln!(out, "{event}{comma}")?;
    }
    writeln!(out, "]}}")
}

#[cfg(test)]
mod tests;
