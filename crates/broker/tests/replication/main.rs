//! Replication under faults, in virtual time: nothing acknowledged is lost, whatever crashes, and tests that watch over
//! each promise fail when a broker is made to break it.
//!
//! `HOPWISE_SEEDS=1..1001` says which seeds the large test runs.

mod client;
mod cluster;
mod faults;
mod history;
mod leadership;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use hopwise_broker::Bugs;
use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::FabricWorld;
use tokio::time::{sleep, timeout};

use cluster::Cluster;
use faults::Timeline;
use history::{Promise, Violation, broken};
use workload::{PARTITIONS, Workload};

/// The seeds of the large test, unless `HOPWISE_SEEDS` names others.
const SEEDS: Range<u64> = 1..61;
/// After the last fault every producer has its answer within this.
const RECOVERY: Duration = Duration::from_secs(60);
/// No run takes longer, in virtual time.
const LIMIT: Span = Span::from_secs(400);

/// What a run came to.
#[derive(Debug, PartialEq)]
struct Run {
    acknowledged: usize,
    wrong: Vec<Violation>,
    /// What happened, if something is wrong.
    notes: Vec<String>,
    trace_hash: String,
}

async fn faulted(seed: u64, bugs: Bugs) -> Run {
    let timeline = Timeline::of(seed);
    let mut cluster = Cluster::start(seed, bugs, timeline.slowest);
    let clients = cluster.clients;
    let workload = Rc::new(Workload::default());
    let running = Rc::clone(&workload);
    host::spawn_on(clients, async move {
        running.create_topic().await;
        running.start();
    });
    timeline.play(&mut cluster).await;
    workload.stopping.set(true);
    let recovered = timeout(RECOVERY, async {
        while !workload.ended() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut wrong = Vec::new();
    if recovered.await.is_err() {
        let what = format!("a producer waits {RECOVERY:?} after the last fault");
        wrong.push(broken(Promise::Answers, what));
    }
    let mut logs = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let reader = Rc::clone(&workload);
        let read = host::spawn_on(clients, async move { reader.read_all(partition).await });
        match timeout(RECOVERY, read).await {
            Ok(log) => {
                logs.insert(partition, log.expect("reading does not panic"));
            }
            Err(_) => {
                let what = format!("partition {partition}, {RECOVERY:?} after the last fault");
                wrong.push(broken(Promise::Readable, what));
            }
        }
    }
    let history = workload.history.borrow();
    wrong.extend(history.check(&logs));
    let mut notes = Vec::new();
    if !wrong.is_empty() {
        notes.extend(history.notes().iter().cloned());
        notes.extend(hopwise_engine::notable_events().into_iter().map(|event| format!("{event:?}")));
    }
    let acknowledged = history.acknowledged.len();
    Run { acknowledged, wrong, notes, trace_hash: hopwise_engine::trace_hash() }
}

fn run(seed: u64, bugs: Bugs) -> Run {
    let run = Simulation::new(seed).limit(LIMIT).run(FabricWorld, move || faulted(seed, bugs));
    hopwise_fabric::uninstall();
    run.unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"))
}

fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var("HOPWISE_SEEDS") else { return SEEDS };
    let range = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("HOPWISE_SEEDS is {text:?}; expected FROM..TO"))
}

/// Runs seeds on two threads; gives those that are wrong, with what is. They are told as they are found.
fn failures(seeds: Range<u64>, bugs: Bugs) -> BTreeMap<u64, Vec<Violation>> {
    let part = |remainder: u64| {
        let seeds = seeds.clone();
        std::thread::spawn(move || {
            let mut wrong = Vec::new();
            for seed in seeds.filter(|seed| seed % 2 == remainder) {
                let run = run(seed, bugs);
                if !run.wrong.is_empty() {
                    let told: Vec<String> = run.wrong.iter().map(ToString::to_string).collect();
                    println!("seed {seed}: {told:#?} {:#?}", run.notes);
                    wrong.push((seed, run.wrong));
                }
                if seed / 50 != (seed + 2) / 50 {
                    println!("seeds up to {seed} (every second one): {} are wrong", wrong.len());
                }
            }
            wrong
        })
    };
    let parts = [part(0), part(1)];
    parts.into_iter().flat_map(|part| part.join().expect("no run panics")).collect()
}

#[test]
fn nothing_acknowledged_is_lost_whatever_crashes() {
    let failures = failures(seeds(), Bugs::default());
    assert!(failures.is_empty(), "{failures:#?}");
}

/// A seed's run is the same each time, its event log included.
#[test]
fn a_run_acknowledges_and_repeats() {
    let first = run(SEEDS.start, Bugs::default());
    assert!(first.acknowledged > 200, "{first:?}");
    assert_eq!(first, run(SEEDS.start, Bugs::default()));
}

/// A seed that is sound by itself shows that a bug breaks a promise.
fn shows(seed: u64, bugs: Bugs, promise: Promise) {
    assert_eq!(run(seed, Bugs::default()).wrong, Vec::new());
    let wrong = run(seed, bugs).wrong;
    let shown = wrong.iter().any(|violation| violation.promise == promise);
    assert!(shown, "seed {seed} with {bugs:?} does not break {promise:?}: {wrong:#?}");
}

fn ack_before_fsync() -> Bugs {
    Bugs { ack_before_fsync: true, ..Bugs::default() }
}

fn ack_before_majority() -> Bugs {
    Bugs { ack_before_majority: true, ..Bugs::default() }
}

fn read_beyond_high_watermark() -> Bugs {
    Bugs { read_beyond_high_watermark: true, ..Bugs::default() }
}

fn forget_producers() -> Bugs {
    Bugs { forget_producers: true, ..Bugs::default() }
}

#[test]
fn acknowledging_before_the_disk_has_it_is_caught_by_seed_18() {
    shows(18, ack_before_fsync(), Promise::AcknowledgedStays);
}

#[test]
fn acknowledging_before_a_majority_has_it_is_caught_by_seed_2() {
    shows(2, ack_before_majority(), Promise::AcknowledgedStays);
}

#[test]
fn reading_beyond_the_high_watermark_is_caught_by_seed_2() {
    shows(2, read_beyond_high_watermark(), Promise::ReadStays);
}

#[test]
fn forgetting_producers_is_caught_by_seed_34() {
    shows(34, forget_producers(), Promise::NoDuplicate);
}

/// Looks for seeds that show each bug: `cargo test -p hopwise-broker --test replication -- --ignored --nocapture`.
#[test]
#[ignore = "a search, whose results the tests above name"]
fn seeds_that_show_bugs() {
    let searches = [
        (ack_before_fsync(), Promise::AcknowledgedStays),
        (ack_before_majority(), Promise::AcknowledgedStays),
        (read_beyond_high_watermark(), Promise::ReadStays),
        (forget_producers(), Promise::NoDuplicate),
    ];
    let searches = searches.map(|(bugs, promise)| {
        std::thread::spawn(move || {
            for seed in seeds() {
                let broken: BTreeSet<Promise> =
                    run(seed, bugs).wrong.into_iter().map(|violation| violation.promise).collect();
                if !broken.is_empty() {
                    println!("seed {seed}, {bugs:?}: {broken:?}");
                }
                if broken.contains(&promise) {
                    return true;
                }
            }
            false
        })
    });
    let found = searches.map(|search| search.join().expect("no run panics"));
    assert_eq!(found, [true; 4], "a bug that no seed shows");
}
