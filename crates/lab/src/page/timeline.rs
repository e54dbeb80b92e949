//! What happened when: lanes of faults, elections, endpoints, pods and the rest, and each client's requests in equal bins.

use hopwise_engine::Time;

use crate::recording::{RecordedFault, Recording, is_failed};
use crate::report::run::RunReport;

/// Bins of time.
const BINS: usize = 120;
/// The most marks of a lane; the first ones are drawn, and the page says how many are left out.
const MARKS_MAX: usize = 400;

/// A timeline, in seconds since the workload began.
pub(super) struct Timeline {
    pub from_s: f64,
    pub to_s: f64,
    pub bin_s: f64,
    pub lanes: Vec<Lane>,
    pub loads: Vec<Load>,
}

/// Things of one sort.
pub(super) struct Lane {
    pub name: &'static str,
    pub marks: Vec<Mark>,
    /// How many more there are.
    pub left_out: usize,
}

/// Something that happened.
pub(super) struct Mark {
    pub at_s: f64,
    /// Until when it lasted; the same time if it did not last.
    pub to_s: f64,
    pub bad: bool,
    /// What, in words.
    pub text: String,
}

/// One client's requests.
pub(super) struct Load {
    pub name: String,
    pub colour: usize,
    /// How many ended well and how many failed, bin by bin.
    pub bins: Vec<(u32, u32)>,
}

/// The timeline of a run, from the beginning of its workload to the last thing that happened.
pub(super) fn of(report: &RunReport, recording: &Recording) -> Timeline {
    let start = recording.start;
    let seconds = |at: Time| (at.as_nanos() as f64 - start.as_nanos() as f64) / 1e9;
    let mut lanes = vec![
        lane("faults", faults(&recording.faults, &seconds)),
        lane("leaders", elections(recording, &seconds)),
        lane("endpoints", endpoints(recording, &seconds)),
    ];
    for (name, kinds) in [
        ("pods", &["pod.", "container.", "broker."][..]),
        ("nodes", &["node."]),
        ("load balancers, disks", &["load_balancer.", "volume."]),
    ] {
        let of_lane =
            report.events.iter().filter(|event| kinds.iter().any(|kind| event.kind.starts_with(kind)));
        let marks = of_lane.filter(|event| event.at_ns >= start.as_nanos()).map(|event| {
            let at_s = seconds(Time::from_nanos(event.at_ns));
            let detail = if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
            Mark {
                at_s,
                to_s: at_s,
                bad: is_bad(&event.kind),
                text: format!("{} {}{detail}", event.kind, event.object),
            }
        });
        lanes.push(lane(name, marks.collect()));
    }
    let last_attempt = recording.clients.iter().flat_map(|client| &client.attempts);
    let last_attempt =
        last_attempt.map(|attempt| seconds(attempt.started_at + attempt.total)).fold(0.0, f64::max);
    let last_mark =
        lanes.iter().flat_map(|lane| &lane.marks).map(|mark| mark.to_s.max(mark.at_s)).fold(0.0, f64::max);
    let to_s = last_attempt.max(last_mark).max(0.001) * 1.02;
    let bin_s = to_s / BINS as f64;
    let loads = recording.clients.iter().enumerate().map(|(colour, client)| {
        let mut bins = vec![(0_u32, 0_u32); BINS];
        for attempt in client.attempts.iter().filter(|attempt| attempt.started_at >= start) {
            let at = seconds(attempt.started_at + attempt.total);
            let bin = &mut bins[((at / bin_s) as usize).min(BINS - 1)];
            if is_failed(attempt) { bin.1 += 1 } else { bin.0 += 1 }
        }
        Load { name: client.name.clone(), colour, bins }
    });
    let loads = loads.collect();
    Timeline { from_s: 0.0, to_s, bin_s, lanes, loads }
}

fn lane(name: &'static str, mut marks: Vec<Mark>) -> Lane {
    let left_out = marks.len().saturating_sub(MARKS_MAX);
    marks.truncate(MARKS_MAX);
    Lane { name, marks, left_out }
}

/// A fault lasts until the strike that undoes it, `NAME.end`.
fn faults(faults: &[RecordedFault], seconds: &impl Fn(Time) -> f64) -> Vec<Mark> {
    let mark = |(index, fault): (usize, &RecordedFault)| {
        let end = format!("{}.end", fault.name);
        let ends = faults[index..].iter().find(|other| other.name == end);
        let at_s = seconds(fault.at);
        let to_s = ends.map_or(at_s, |end| seconds(end.at));
        Mark { at_s, to_s, bad: !fault.name.ends_with(".end"), text: fault.name.clone() }
    };
    faults.iter().enumerate().map(mark).collect()
}

fn elections(recording: &Recording, seconds: &impl Fn(Time) -> f64) -> Vec<Mark> {
    let since = recording.elections.iter().filter(|election| election.at >= recording.start);
    let mark = |election: &crate::recording::Election| {
        let at_s = seconds(election.at);
        let text = format!(
            "{} leads {}/{} in term {}",
            election.pod, election.topic, election.partition, election.term
        );
        Mark { at_s, to_s: at_s, bad: false, text }
    };
    since.map(mark).collect()
}

fn endpoints(recording: &Recording, seconds: &impl Fn(Time) -> f64) -> Vec<Mark> {
    let since = recording.endpoints.iter().filter(|change| change.at >= recording.start);
    let mark = |change: &crate::recording::EndpointChange| {
        let at_s = seconds(change.at);
        let ready = if change.ready.is_empty() { "nobody".to_owned() } else { change.ready.join(", ") };
        let text = format!("{} leads to {ready}", change.service);
        Mark { at_s, to_s: at_s, bad: change.ready.is_empty(), text }
    };
    since.map(mark).collect()
}

/// Whether a kind of event means that something works less than before.
fn is_bad(kind: &str) -> bool {
    const BAD: [&str; 12] = [
        "not_ready",
        "unhealthy",
        "power_off",
        "deleted",
        "exited",
        "evicted",
        "down",
        "unschedulable",
        "failed",
        "killed",
        "expired",
        "full",
    ];
    BAD.iter().any(|word| kind.ends_with(word))
}
