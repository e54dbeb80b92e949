//! Draining a broker: its leaderships are moved to others and no new ones are taken.
//!
//! Partitions are moved 25 at a time; one that could not be moved is tried again after a while. A partition with
//! one replica, or whose other replicas are away, stays. Source: redpanda.md 4.5 (maintenance).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::leadership;
use crate::node::{Node, PartitionKey};
use crate::replication::partition::Partition;

/// Transfers at a time (redpanda.md 4.5).
const BATCH: usize = 25;
/// Before a transfer that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks at what is to be done.
const TICK: Duration = Duration::from_millis(500);

/// How far a drain has come, as the Admin API shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DrainStatus {
    pub draining: bool,
    pub finished: bool,
    pub errors: bool,
    /// Partitions that the broker leads.
    pub partitions: usize,
    /// Those that somebody else can lead.
    pub eligible: usize,
    pub transferring: usize,
    pub failed: usize,
}

/// A partition that this broker leads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    key: PartitionKey,
    /// Who else can lead it.
    others: Vec<i32>,
}

/// The drain of one broker.
#[derive(Default)]
pub(crate) struct Drain(Mutex<State>);

#[derive(Default)]
struct State {
    /// Somebody has asked this broker itself.
    local: bool,
    status: DrainStatus,
    /// When a partition could not be moved.
    failed: BTreeMap<PartitionKey, Instant>,
}

impl State {
    /// Which partitions to move now, and to whom.
    fn plan(&mut self, now: Instant, wanted: bool, led: &[Led]) -> Vec<(PartitionKey, i32)> {
        if !wanted {
            self.failed.clear();
            self.status = DrainStatus::default();
            return Vec::new();
        }
        self.failed.retain(|key, _| led.iter().any(|led| led.key == *key));
        let eligible: Vec<&Led> = led.iter().filter(|led| !led.others.is_empty()).collect();
        let due = |key: &PartitionKey| self.failed.get(key).is_none_or(|at| now.duration_since(*at) >= RETRY);
        let moves: Vec<(PartitionKey, i32)> = eligible
            .iter()
            .filter(|led| due(&led.key))
            .take(BATCH)
            .map(|led| (led.key, led.others[0]))
            .collect();
        self.status = DrainStatus {
            draining: true,
            finished: eligible.is_empty(),
            errors: !self.failed.is_empty(),
            partitions: led.len(),
            eligible: eligible.len(),
            transferring: moves.len(),
            failed: self.failed.len(),
        };
        moves
    }

    fn all_done(&mut self, now: Instant, moved: impl Iterator<Item = (PartitionKey, bool)>) {
        for (key, moved) in moved {
            self.done(now, key, moved);
        }
        self.status.transferring = 0;
    }

    fn done(&mut self, now: Instant, key: PartitionKey, moved: bool) {
        if moved {
            self.failed.remove(&key);
        } else {
            self.failed.insert(key, now);
        }
    }
}

impl Drain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn status(&self) -> DrainStatus {
        self.state().status.clone()
    }

    /// Drains this broker whatever the cluster has decided, until it restarts.
    pub fn start_local(&self) {
        let mut state = self.state();
        state.local = true;
        state.status.draining = true;
    }

    pub fn stop_local(&self) {
        self.state().local = false;
    }
}

/// Whether this broker is to lead nothing.
pub(crate) fn is_wanted(node: &Node) -> bool {
    let own = node.id();
    let decided = node.with_cluster(|cluster| {
        cluster.state.members.get(&own).is_some_and(|registered| registered.maintenance)
    });
    decided || node.control.drain.state().local
}

/// Drains this broker whenever that is wanted, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut blocked = BTreeSet::new();
    loop {
        let wanted = is_wanted(&node);
        block(&node, wanted, &mut blocked);
        let led = if wanted { led(&node) } else { Vec::new() };
        let moves = node.control.drain.state().plan(Instant::now(), wanted, &led);
        if moves.is_empty() {
            if wanted && super::is_controller(&node) {
                // The controller's group is moved too; a failure is tried again with the next tick.
                let _ = leadership::transfer_controller(&node, None).await;
            }
            sleep(TICK).await;
            continue;
        }
        let transfers = moves.iter().map(|(key, target)| leadership::transfer(&node, *key, Some(*target)));
        let results = join_all(transfers).await;
        let moved = moves.iter().zip(results).map(|((key, _), result)| (*key, result.is_ok()));
        node.control.drain.state().all_done(Instant::now(), moved);
        // Transfers that fail at once must not keep the broker busy.
        tokio::task::yield_now().await;
    }
}

/// Keeps this broker's replicas from becoming leaders, or lets them again.
fn block(node: &Node, wanted: bool, blocked: &mut BTreeSet<PartitionKey>) {
    if !wanted && blocked.is_empty() {
        return;
    }
    let mut replicas: Vec<Arc<Partition>> = node.with_partitions(|all| all.values().cloned().collect());
    replicas.extend(node.controller.replica().cloned());
    for replica in replicas.iter().filter(|replica| blocked.contains(&replica.key) != wanted) {
        replica.set_blocked(wanted);
    }
    *blocked = if wanted { replicas.iter().map(|replica| replica.key).collect() } else { BTreeSet::new() };
}

fn led(node: &Node) -> Vec<Led> {
    let led: Vec<(PartitionKey, Vec<i32>)> = node.with_partitions(|partitions| {
        let led = partitions.values().filter(|partition| partition.leads());
        led.map(|partition| (partition.key, partition.replicas())).collect()
    });
    let able = leadership::able_to_lead(node);
    let own = node.id();
    let others =
        |replicas: Vec<i32>| replicas.into_iter().filter(|id| *id != own && able.contains(id)).collect();
    led.into_iter().map(|(key, replicas)| Led { key, others: others(replicas) }).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn led(index: i32, others: &[i32]) -> Led {
        Led { key: (Uuid::nil(), index), others: others.to_vec() }
    }

    #[test]
    fn twenty_five_are_moved_at_a_time_and_the_rest_stays() {
        let mut state = State::default();
        let mut all: Vec<Led> = (0..40).map(|index| led(index, &[1, 2])).collect();
        all.push(led(40, &[]));
        let now = Instant::now();
        let moves = state.plan(now, true, &all);
        assert_eq!(moves.len(), 25);
        assert_eq!((state.status.partitions, state.status.eligible, state.status.finished), (41, 40, false));
        let rest: Vec<Led> = all.split_off(25);
        assert_eq!(state.plan(now, true, &rest).len(), 15);
        assert!(state.plan(now, true, &rest[15..]).is_empty());
        assert!(state.status.finished && state.status.draining);
        assert_eq!(state.status.partitions, 1);
    }

    #[test]
    fn a_failed_transfer_is_tried_again_later() {
        let mut state = State::default();
        let (all, now) = ([led(0, &[1])], Instant::now());
        let moves = state.plan(now, true, &all);
        state.done(now, moves[0].0, false);
        assert!(state.plan(now, true, &all).is_empty());
        assert!(state.status.errors && state.status.failed == 1 && !state.status.finished);
        assert_eq!(state.plan(now + RETRY, true, &all).len(), 1);
        state.done(now, moves[0].0, true);
        state.plan(now + RETRY, true, &[]);
        assert!(!state.status.errors && state.status.finished);
    }

    #[test]
    fn what_is_not_wanted_is_forgotten() {
        let mut state = State::default();
        state.plan(Instant::now(), true, &[led(0, &[1])]);
        state.plan(Instant::now(), false, &[]);
        assert_eq!(state.status, DrainStatus::default());
    }
}
