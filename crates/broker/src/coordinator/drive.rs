//! The task of one partition: load the machine when the broker begins to lead, write what it wants written,
//! ring its timers, drop it when the broker ceases to lead.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::queue::{Batch, WriteError};
use super::shard::{Active, Serving};
use super::{Machine, Now, Shard, batch};
use crate::node::Node;
use crate::replication::partition::{Acks, Partition, PartitionError, Produced, Progress};

/// Kafka's `offsets.commit.timeout.ms`: how long a write may take to reach a majority.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Before loading again what could not be loaded.
const LOAD_RETRY: Duration = Duration::from_millis(200);
/// How often a broker that does not lead looks whether it still has a replica.
const GONE_INTERVAL: Duration = Duration::from_secs(10);
/// Read from the log at a time, bytes.
const LOAD_BYTES: usize = 1 << 20;

type Writing = Pin<Box<dyn Future<Output = Result<Produced, PartitionError>> + Send>>;

/// Drives a partition until this broker has no replica of it any more.
pub(super) async fn drive<M: Machine>(node: Arc<Node>, shard: Weak<Shard<M>>, make: fn(&Node, Now) -> M) {
    let Some(partition) = shard.upgrade().map(|shard| Arc::clone(&shard.partition)) else { return };
    let mut progress = partition.watch();
    while let Some(led) = begins_to_lead(&node, &partition, &mut progress).await {
        let Some(shard) = shard.upgrade() else { return };
        shard.set(Serving::Loading);
        let mut machine = make(&node, Now::of(&node));
        match load(&partition, &mut progress, led, &mut machine).await {
            Ok(true) => {
                machine.start(Now::of(&node), led.epoch);
                shard.set(Serving::Active(Box::new(Active::new(machine))));
                serve(&node, &shard, &mut progress, led.epoch).await;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(partition = ?partition.key, error, "a coordinator's log cannot be loaded");
                sleep(LOAD_RETRY).await;
            }
        }
        // Leadership may have gone and come back, or a write may have ended in doubt: what counts is the log.
        let leads = progress.borrow().leading;
        shard.set(if leads { Serving::Loading } else { Serving::Away });
    }
}

/// Whether this broker has given up the replica.
fn is_gone(node: &Node, partition: &Arc<Partition>) -> bool {
    node.partition(partition.key).is_none_or(|current| !Arc::ptr_eq(&current, partition))
}

/// Waits until this broker leads; `None` once it has no replica any more.
async fn begins_to_lead(
    node: &Node,
    partition: &Arc<Partition>,
    progress: &mut watch::Receiver<Progress>,
) -> Option<Progress> {
    loop {
        if is_gone(node, partition) {
            return None;
        }
        let led = timeout(GONE_INTERVAL, progress.wait_for(|progress| progress.leading)).await;
        match led {
            Ok(Ok(led)) => return Some(*led),
            Ok(Err(_)) => return None,
            Err(_) => {}
        }
    }
}

/// Replays the log up to where it ended when the leadership began; `false` if it ended meanwhile.
async fn load<M: Machine>(
    partition: &Partition,
    progress: &mut watch::Receiver<Progress>,
    led: Progress,
    machine: &mut M,
) -> Result<bool, String> {
    let over = |progress: &Progress| !progress.leading || progress.epoch != led.epoch;
    // What an earlier leader wrote is committed once something of this epoch is.
    let ready = progress.wait_for(|now| over(now) || now.high_watermark >= led.end).await;
    if ready.map_or(true, |now| over(&now)) {
        return Ok(false);
    }
    let mut next = partition.start_offset();
    while next < led.end {
        let bytes = partition.with_log(|log| log.read(next, led.end, LOAD_BYTES, true));
        let (batches, end) = batch::decode(&bytes.map_err(|error| error.to_string())?)?;
        batches.into_iter().for_each(|batch| machine.replay(batch));
        match end {
            Some(end) if end > next => next = end,
            // The log's start has moved beyond it, or there are no batches left.
            _ if partition.start_offset() > next => next = partition.start_offset(),
            _ => break,
        }
        tokio::task::yield_now().await;
        if over(&progress.borrow()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Serves while this broker leads in `epoch`.
async fn serve<M: Machine>(
    node: &Arc<Node>,
    shard: &Arc<Shard<M>>,
    progress: &mut watch::Receiver<Progress>,
    epoch: i32,
) {
    let bell = shard.bell();
    let mut writing: Option<Writing> = None;
    loop {
        let free = writing.is_none();
        let step = shard.step(|active| {
            refuse(node, &mut active.machine);
            active.machine.follow_up(node, shard);
            active.alarm = active.machine.deadline();
            let batch = if free { active.machine.writes().next_batch() } else { None };
            (batch, active.alarm)
        });
        let Ok((batch, alarm)) = step else { return };
        if let Some(batch) = batch {
            writing = Some(write(node, shard, &batch));
        }
        tokio::select! {
            biased;
            changed = progress.changed() => {
                let now = *progress.borrow_and_update();
                if changed.is_err() || !now.leading || now.epoch != epoch {
                    return;
                }
            }
            result = done(&mut writing) => {
                writing = None;
                if !written(node, shard, result) {
                    return;
                }
            }
            () = ring(alarm) => {
                let now = Now::of(node);
                if shard.with(now, |machine, now| machine.tick(now)).is_err() {
                    return;
                }
            }
            () = bell.notified() => {
                if is_gone(node, &shard.partition) {
                    return;
                }
            }
        }
    }
}

async fn done(writing: &mut Option<Writing>) -> Result<Produced, PartitionError> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}

async fn ring(alarm: Option<Instant>) {
    match alarm {
        Some(alarm) => sleep_until(alarm).await,
        None => std::future::pending().await,
    }
}

fn refuse<M: Machine>(node: &Node, machine: &mut M) {
    for then in machine.writes().take_refused() {
        machine.written(Now::of(node), then, Err(WriteError::TooLarge));
    }
}

fn write<M: Machine>(node: &Node, shard: &Shard<M>, batch: &Batch) -> Writing {
    let partition = Arc::clone(&shard.partition);
    let bytes = batch::encode(batch, (node.clock)());
    let standing = batch.kind.standing();
    Box::pin(async move {
        let bytes = bytes.map_err(PartitionError::Storage)?;
        let deadline = Instant::now() + WRITE_TIMEOUT;
        partition.produce(bytes, standing, None, Acks::All, deadline).await
    })
}

/// Tells the machine what came of a write; `false` if that is in doubt.
fn written<M: Machine>(node: &Node, shard: &Shard<M>, result: Result<Produced, PartitionError>) -> bool {
    let result = match result {
        Ok(produced) => Ok(produced.base_offset),
        Err(PartitionError::Producer(error, reason)) => {
            tracing::debug!(reason, "a coordinator's write does not fit the producer");
            Err(WriteError::Producer(error))
        }
        Err(PartitionError::Storage(reason)) => {
            tracing::error!(partition = ?shard.partition.key, reason, "a coordinator's write failed");
            Err(WriteError::Storage)
        }
        Err(error) => {
            tracing::warn!(partition = ?shard.partition.key, %error, "a coordinator's write is in doubt");
            return false;
        }
    };
    let told = shard.with(Now::of(node), |machine, now| {
        for then in machine.writes().take_done() {
            machine.written(now, then, result);
        }
    });
    told.is_ok()
}
