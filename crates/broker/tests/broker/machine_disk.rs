//! Brokers that keep their data in a directory of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use hopwise_broker::{Disk, DiskTrouble};
use kafka_protocol::records::Compression;

use super::support::*;

/// A disk that keeps other threads waiting than the one of the runtime, which it counts.
struct Blocking {
    runtime: ThreadId,
    elsewhere: AtomicU32,
}

const BLOCKED: Duration = Duration::from_millis(400);

impl DiskTrouble for Blocking {
    fn is_full(&self) -> bool {
        false
    }

    fn extra_latency(&self) -> Duration {
        Duration::ZERO
    }

    #[expect(clippy::disallowed_methods, reason = "a disk of the machine blocks its thread")]
    fn fails(&self) -> bool {
        if thread::current().id() != self.runtime {
            self.elsewhere.fetch_add(1, Ordering::SeqCst);
            thread::sleep(BLOCKED);
        }
        false
    }
}

#[tokio::test]
async fn a_sync_that_takes_its_time_holds_up_its_own_produce_alone() {
    let directory = tempfile::tempdir().unwrap();
    let trouble = Arc::new(Blocking { runtime: thread::current().id(), elsewhere: AtomicU32::new(0) });
    let mut brokers = new_cluster(1);
    let machine = Box::new(Disk::Machine(directory.path().to_owned()));
    brokers[0].disk = Some(Disk::Troubled(machine, Arc::<Blocking>::clone(&trouble)));
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    leader_of(&brokers, "orders", 0).await;

    let before = trouble.elsewhere.load(Ordering::SeqCst);
    let started = tokio::time::Instant::now();
    let ticks = tokio::spawn(async {
        let mut ticks = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            ticks += 1;
            TICKS.store(ticks, Ordering::SeqCst);
        }
    });
    let answer = client.produce("orders", 0, -1, batch(&["one"], Compression::None)).await;
    assert_eq!(answer.error_code, 0);
    ticks.abort();
    assert!(trouble.elsewhere.load(Ordering::SeqCst) > before, "the sync ran on the runtime's thread");
    assert!(started.elapsed() >= BLOCKED, "acks=all waits for the sync");
    // 400 ms of ticks every 5 ms; a machine with much to do makes fewer.
    let ticks = TICKS.load(Ordering::SeqCst);
    assert!(ticks >= 20, "only {ticks} ticks while the disk synced");
}

static TICKS: AtomicU32 = AtomicU32::new(0);

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut brokers = new_cluster(1);
    brokers[0].disk = Some(Disk::Machine(directory.path().to_owned()));
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    leader_of(&brokers, "orders", 0).await;
    for round in 0..20 {
        let value = format!("value {round}");
        let records = batch(&[&value], Compression::None);
        assert_eq!(client.produce("orders", 0, -1, records).await.error_code, 0);
    }
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    leader_of(&brokers, "orders", 0).await;
    let values = brokers[0].client().await.values("orders", 0, 0).await;
    assert_eq!(values, (0..20).map(|round| (round, format!("value {round}"))).collect::<Vec<_>>());
}
