//! Replication under faults, in virtual time: nothing acknowledged is lost, whatever crashes, and tests that watch over
//! each promise fail when a broker is made to break it.
//!
//! `HOPWISE_SEEDS=1..1001` says which seeds the large test runs.

mod client;
mod cluster;
mod faults;
mod history;
mod workload;

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use hopwise_broker::Bugs;
use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::FabricWorld;
use tokio::time::{sleep, timeout};

use cluster::Cluster;
use faults::Timeline;
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
    wrong: Vec<String>,
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
        wrong.push(format!("a producer has no answer {RECOVERY:?} after the last fault"));
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
                wrong.push(format!("partition {partition} cannot be read {RECOVERY:?} after the last fault"))
            }
        }
    }
    let history = workload.history.borrow();
    if wrong.is_empty() {
        wrong = history.check(&logs);
    } else {
        wrong.extend(history.notes().iter().cloned());
        wrong.extend(hopwise_engine::notable_events().into_iter().map(|event| format!("{event:?}")));
    }
    Run { acknowledged: history.acknowledged.len(), wrong, trace_hash: hopwise_engine::trace_hash() }
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

/// Runs seeds on two threads; gives those that are wrong, with what is.
fn failures(seeds: Range<u64>, bugs: Bugs) -> BTreeMap<u64, Vec<String>> {
    let part = |remainder: u64| {
        let seeds = seeds.clone();
        std::thread::spawn(move || {
            let own = seeds.filter(|seed| seed % 2 == remainder);
            own.map(|seed| (seed, run(seed, bugs).wrong))
                .filter(|(_, wrong)| !wrong.is_empty())
                .collect::<Vec<_>>()
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

/// Whether a seed that is sound by itself shows a bug.
fn shows(seed: u64, bugs: Bugs) {
    assert_eq!(run(seed, Bugs::default()).wrong, Vec::<String>::new());
    assert_ne!(run(seed, bugs).wrong, Vec::<String>::new(), "seed {seed} does not show {bugs:?}");
}

#[test]
fn acknowledging_before_the_disk_has_it_is_caught_by_seed_2() {
    shows(2, Bugs { ack_before_fsync: true, ..Bugs::default() });
}

#[test]
fn acknowledging_before_a_majority_has_it_is_caught_by_seed_36() {
    shows(36, Bugs { ack_before_majority: true, ..Bugs::default() });
}

#[test]
fn forgetting_producers_is_caught_by_seed_9() {
    shows(9, Bugs { forget_producers: true, ..Bugs::default() });
}

/// The first of `seeds` that shows a bug.
fn first_caught(seeds: Range<u64>, bugs: Bugs) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| run(seed, bugs).wrong.into_iter().next().map(|wrong| (seed, wrong)))
}

/// Looks for seeds that show each bug: `cargo test -p hopwise-broker --test replication -- --ignored --nocapture`.
#[test]
#[ignore = "a search, whose results the tests above name"]
fn seeds_that_show_bugs() {
    for bugs in [
        Bugs { ack_before_fsync: true, ..Bugs::default() },
        Bugs { ack_before_majority: true, ..Bugs::default() },
        Bugs { read_beyond_high_watermark: true, ..Bugs::default() },
        Bugs { forget_producers: true, ..Bugs::default() },
    ] {
        println!("{bugs:?}: {:?}", first_caught(seeds(), bugs));
    }
}
