//! Spreading leaders evenly over the brokers.
//!
//! A leader moves from the broker that leads most to the replica's broker that leads least, as long as that makes
//! the two more equal. A partition whose leader was moved is left alone for a while, and so is a broker that was
//! not heard lately. After a round that found nothing the balancer rests; a change of the members wakes it. The
//! real balancer weighs its moves (`leader_balancer_mode`); this one always takes the best one. Source:
//! redpanda.md 4.4, 4.5.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{is_controller, leadership, milliseconds};
use crate::node::{Node, PartitionKey};

/// Between becoming the controller's leader, or a change of the members, and the first round (redpanda.md 4.4).
const ACTIVATION_DELAY: Duration = Duration::from_secs(30);
/// Added to the dissemination interval: the least time between two rounds (redpanda.md 4.4).
const ROUND_MARGIN: Duration = Duration::from_secs(1);
/// Between two looks at whether it is time.
const TICK: Duration = Duration::from_secs(1);

/// A partition and its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    key: PartitionKey,
    leader: i32,
    replicas: Vec<i32>,
}

/// One leader to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Transfer {
    key: PartitionKey,
    from: i32,
    to: i32,
}

/// The moves that even out the leaders, at most `limit` from or to one broker.
fn plan(
    groups: &[Group],
    able: &BTreeSet<i32>,
    muted: impl Fn(&PartitionKey) -> bool,
    limit: usize,
) -> Vec<Transfer> {
    let mut leads: BTreeMap<i32, usize> = able.iter().map(|id| (*id, 0)).collect();
    let mut led: BTreeMap<i32, Vec<&Group>> = BTreeMap::new();
    for group in groups.iter().filter(|group| able.contains(&group.leader)) {
        *leads.entry(group.leader).or_default() += 1;
        if !muted(&group.key) {
            led.entry(group.leader).or_default().push(group);
        }
    }
    let mut touched: BTreeMap<i32, usize> = BTreeMap::new();
    let mut transfers = Vec::new();
    // A broker is done when it has nothing left that would help another one.
    let mut open: BTreeSet<i32> = led.keys().copied().collect();
    while let Some(from) = open.iter().copied().max_by_key(|id| (leads[id], -id)) {
        let room = |id: &i32| touched.get(id).copied().unwrap_or(0) < limit;
        let best = led[&from].iter().enumerate().filter_map(|(index, group)| {
            let others = group.replicas.iter().filter(|id| able.contains(id) && **id != from && room(id));
            let to = others.min_by_key(|id| (leads[id], **id))?;
            (leads[to] + 1 < leads[&from]).then_some((leads[to], index, *to))
        });
        let Some((_, index, to)) = best.min().filter(|_| room(&from)) else {
            open.remove(&from);
            continue;
        };
        let group = led.get_mut(&from).map(|groups| groups.remove(index));
        let Some(group) = group else { break };
        *leads.entry(from).or_default() -= 1;
        *leads.entry(to).or_default() += 1;
        *touched.entry(from).or_default() += 1;
        *touched.entry(to).or_default() += 1;
        transfers.push(Transfer { key: group.key, from, to });
    }
    transfers
}

/// When the next round is, and which partitions are left alone.
#[derive(Default)]
struct Rounds {
    /// `None` while this broker is not the controller's leader.
    next: Option<Instant>,
    able: BTreeSet<i32>,
    muted_until: BTreeMap<PartitionKey, Instant>,
}

impl Rounds {
    /// Whether a round is due. `able` are the brokers that can lead now.
    fn is_due(&mut self, now: Instant, active: bool, able: &BTreeSet<i32>) -> bool {
        if !active {
            *self = Rounds::default();
            return false;
        }
        let soon = now + ACTIVATION_DELAY;
        let next = self.next.get_or_insert(soon);
        if self.able != *able {
            // Somebody has come or gone: that is looked at before the rest is over.
            *next = (*next).min(soon);
            self.able = able.clone();
        }
        now >= *next
    }

    fn finished(&mut self, now: Instant, transfers: &[Transfer], mute: Duration, rest: Duration) {
        self.next = Some(now + rest);
        self.muted_until.retain(|_, until| now < *until);
        self.muted_until.extend(transfers.iter().map(|transfer| (transfer.key, now + mute)));
    }
}

/// Balances as long as this broker is the controller's leader, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut rounds = Rounds::default();
    loop {
        sleep(TICK).await;
        let active = is_controller(&node) && node.property("enable_leader_balancer") == true;
        let able = if active { able(&node) } else { BTreeSet::new() };
        if !rounds.is_due(Instant::now(), active, &able) {
            continue;
        }
        let limit = node.property("leader_balancer_transfer_limit_per_shard").as_u64().unwrap_or(512);
        let now = Instant::now();
        let muted = |key: &PartitionKey| rounds.muted_until.get(key).is_some_and(|until| now < *until);
        let transfers = plan(&groups(&node), &able, muted, limit as usize);
        for transfer in &transfers {
            let Transfer { key, from, to } = *transfer;
            if let Err(refusal) = leadership::transfer_at(&node, from, key, to).await {
                tracing::debug!(from, to, %refusal, "a leader stays where it is");
            }
        }
        let rest = if transfers.is_empty() {
            milliseconds(&node, "leader_balancer_idle_timeout")
        } else {
            milliseconds(&node, "metadata_dissemination_interval_ms") + ROUND_MARGIN
        };
        rounds.finished(
            Instant::now(),
            &transfers,
            milliseconds(&node, "leader_balancer_mute_timeout"),
            rest,
        );
    }
}

/// The brokers that can lead and were heard within `leader_balancer_node_mute_timeout`.
fn able(node: &Node) -> BTreeSet<i32> {
    let (own, now) = (node.id(), Instant::now());
    let patience = milliseconds(node, "leader_balancer_node_mute_timeout");
    let able = leadership::able_to_lead(node);
    node.with_cluster(|cluster| {
        let heard = |id: &i32| cluster.members.silence(*id, now).is_some_and(|silence| silence <= patience);
        able.into_iter().filter(|id| *id == own || heard(id)).collect()
    })
}

fn groups(node: &Node) -> Vec<Group> {
    let topics = node.with_cluster(|cluster| cluster.state.topics.clone());
    let mut groups = Vec::new();
    for topic in topics.all() {
        for (index, replicas) in topic.partitions.iter().enumerate() {
            let key = (topic.id, index as i32);
            if let Some((leader, _)) = node.leader_of(key) {
                groups.push(Group { key, leader, replicas: replicas.clone() });
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn group(index: i32, leader: i32, replicas: &[i32]) -> Group {
        Group { key: (Uuid::nil(), index), leader, replicas: replicas.to_vec() }
    }

    fn able(ids: &[i32]) -> BTreeSet<i32> {
        ids.iter().copied().collect()
    }

    fn leaders(groups: &[Group], transfers: &[Transfer]) -> BTreeMap<i32, usize> {
        let mut leads = BTreeMap::new();
        for group in groups {
            let moved = transfers.iter().find(|transfer| transfer.key == group.key);
            *leads.entry(moved.map_or(group.leader, |transfer| transfer.to)).or_default() += 1;
        }
        leads
    }

    #[test]
    fn leaders_are_spread_evenly_with_few_moves() {
        let groups: Vec<Group> = (0..9).map(|index| group(index, 0, &[0, 1, 2])).collect();
        let transfers = plan(&groups, &able(&[0, 1, 2]), |_| false, 512);
        assert_eq!(transfers.len(), 6);
        assert_eq!(leaders(&groups, &transfers), BTreeMap::from([(0, 3), (1, 3), (2, 3)]));
        let even: Vec<Group> = (0..4).map(|index| group(index, index % 3, &[0, 1, 2])).collect();
        assert_eq!(plan(&even, &able(&[0, 1, 2]), |_| false, 512), []);
    }

    #[test]
    fn only_able_brokers_with_a_replica_get_a_leader() {
        let groups: Vec<Group> = (0..4).map(|index| group(index, 0, &[0, 1, 2])).collect();
        let transfers = plan(&groups, &able(&[0, 2]), |_| false, 512);
        assert!(transfers.iter().all(|transfer| transfer.to == 2) && transfers.len() == 2, "{transfers:?}");
        let alone: Vec<Group> = (0..4).map(|index| group(index, 0, &[0])).collect();
        assert_eq!(plan(&alone, &able(&[0, 1]), |_| false, 512), []);
        // A broker that is drained neither gives nor takes here.
        assert_eq!(plan(&groups, &able(&[1, 2]), |_| false, 512), []);
    }

    #[test]
    fn muted_partitions_and_the_limit_hold_moves_back() {
        let groups: Vec<Group> = (0..10).map(|index| group(index, 0, &[0, 1])).collect();
        assert_eq!(plan(&groups, &able(&[0, 1]), |_| false, 2).len(), 2);
        let transfers = plan(&groups, &able(&[0, 1]), |key| key.1 < 8, 512);
        assert_eq!(transfers.iter().map(|transfer| transfer.key.1).collect::<Vec<_>>(), [8, 9]);
    }

    #[test]
    fn rounds_wait_rest_and_wake() {
        let (mut rounds, start) = (Rounds::default(), Instant::now());
        let (three, two) = (able(&[0, 1, 2]), able(&[0, 1]));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!rounds.is_due(start, true, &three));
        assert!(!rounds.is_due(at(29), true, &three) && rounds.is_due(at(30), true, &three));
        rounds.finished(at(30), &[], Duration::from_secs(300), Duration::from_secs(120));
        assert!(!rounds.is_due(at(140), true, &three) && rounds.is_due(at(150), true, &three));
        rounds.finished(at(150), &[], Duration::from_secs(300), Duration::from_secs(120));
        assert!(!rounds.is_due(at(160), true, &two), "a member is away");
        assert!(rounds.is_due(at(190), true, &two), "and that wakes the balancer after 30 s");
        assert!(!rounds.is_due(at(191), false, &two) && !rounds.is_due(at(192), true, &two));
    }

    #[test]
    fn a_moved_partition_is_left_alone_for_a_while() {
        let (mut rounds, now) = (Rounds::default(), Instant::now());
        let key = (Uuid::nil(), 3);
        let mute = Duration::from_secs(300);
        rounds.finished(now, &[Transfer { key, from: 0, to: 1 }], mute, Duration::ZERO);
        assert_eq!(rounds.muted_until[&key], now + mute);
        rounds.finished(now + mute, &[], mute, Duration::ZERO);
        assert!(rounds.muted_until.is_empty());
    }
}
