//! State machines that live in an internal topic: what the group and the transaction coordinator share.
//!
//! Each partition of the topic is the log of one [`Machine`]. The broker that leads the partition has it in
//! memory: it is replayed from the log when the broker begins to lead ([`drive`]), and dropped when it ceases
//! to. A machine's changes count when they are written ([`queue`]); its answers go to whoever waits
//! ([`shard`]). Source: Apache Kafka's coordinators, and redpanda.md 4.3 (a request at another broker is
//! answered with `NOT_COORDINATOR`).

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod drive;
#[cfg(test)]
pub(crate) mod played;
pub(crate) mod queue;
pub(crate) mod shard;
pub(crate) mod timers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

pub(crate) use self::batch::{Replayed, control_batch};
pub(crate) use self::queue::{Write, WriteError, WriteKind, WriteQueue};
pub(crate) use self::shard::Shard;
pub(crate) use self::timers::Timers;
use crate::node::Node;
use crate::replication::partition::Partition;

/// How often a broker looks whether it has got a replica of the topic. Requests make it look at once; this is
/// for the timers of partitions that nobody asks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Names a request that is answered later.
pub(crate) type Ticket = u64;

/// The time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    /// For durations.
    pub instant: Instant,
    /// The time of day, milliseconds since 1970, for what is kept.
    pub unix_ms: i64,
}

impl Now {
    /// The time of this moment.
    pub fn of(node: &Node) -> Now {
        Now { instant: Instant::now(), unix_ms: (node.clock)() }
    }
}

/// What is kept of one thing; no value means that it is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A state machine whose log is a partition. Between steps the shell sends what [`Machine::take_answers`] gives,
/// writes what is in [`Machine::writes`], and calls [`Machine::tick`] at [`Machine::deadline`].
pub(crate) trait Machine: Send + Sized + 'static {
    /// What a request that waits is answered.
    type Answer: Send + 'static;
    /// What to do when a write is done.
    type Then: Send + 'static;

    /// A batch of the log, while the machine is loaded.
    fn replay(&mut self, batch: Replayed);
    /// The whole log was replayed; the machine works from now on, under this epoch of the leader.
    fn start(&mut self, now: Now, epoch: i32);
    /// What waits to be written.
    fn writes(&mut self) -> &mut WriteQueue<Self::Then>;
    /// A write is done, at this offset, or why it is not.
    fn written(&mut self, now: Now, then: Self::Then, result: Result<i64, WriteError>);
    /// When [`Machine::tick`] is to be called next.
    fn deadline(&self) -> Option<Instant>;
    /// The deadline is there.
    fn tick(&mut self, now: Now);
    /// The answers since the last call.
    fn take_answers(&mut self) -> Vec<(Ticket, Self::Answer)>;
    /// The cluster's configuration may have changed.
    fn configure(&mut self, node: &Node);
    /// Starts what the machine wants done elsewhere. Called by the driving task after each of its steps.
    fn follow_up(&mut self, _node: &Arc<Node>, _shard: &Arc<Shard<Self>>) {}
}

/// One coordinator of a broker: a machine for each partition of its topic that the broker has a replica of.
pub(crate) struct Coordinator<M: Machine> {
    /// The internal topic.
    topic: &'static str,
    make: fn(&Node, Now) -> M,
    shards: Mutex<Shards<M>>,
}

struct Shards<M: Machine> {
    /// The topic whose partitions these are.
    topic: Uuid,
    by_partition: BTreeMap<i32, Arc<Shard<M>>>,
}

impl<M: Machine> Coordinator<M> {
    /// A coordinator without partitions; `make` makes an empty machine.
    pub fn new(topic: &'static str, make: fn(&Node, Now) -> M) -> Coordinator<M> {
        let shards = Shards { topic: Uuid::nil(), by_partition: BTreeMap::new() };
        Coordinator { topic, make, shards: Mutex::new(shards) }
    }

    /// The topic's id; `None` while there is no topic.
    pub fn topic_id(&self, node: &Node) -> Option<Uuid> {
        node.with_cluster(|cluster| cluster.state.topics.get(self.topic).map(|topic| topic.id))
    }

    /// The id of the topic and the partition that a key belongs to; `None` while there is no topic.
    pub fn partition_of(&self, node: &Node, key: &str) -> Option<(Uuid, i32)> {
        node.with_cluster(|cluster| {
            let topic = cluster.state.topics.get(self.topic)?;
            Some((topic.id, partition_of(key, topic.partitions.len())))
        })
    }

    /// The shard that a key belongs to.
    ///
    /// # Errors
    /// `NOT_COORDINATOR` if this broker has no replica of its partition.
    pub fn shard(self: &Arc<Self>, node: &Arc<Node>, key: &str) -> Result<Arc<Shard<M>>, ResponseError> {
        let (topic, index) = self.partition_of(node, key).ok_or(ResponseError::NotCoordinator)?;
        self.shard_of(node, topic, index).ok_or(ResponseError::NotCoordinator)
    }

    /// The shard of a partition of the topic, if this broker has a replica.
    pub fn shard_of(self: &Arc<Self>, node: &Arc<Node>, topic: Uuid, index: i32) -> Option<Arc<Shard<M>>> {
        let partition = node.partition((topic, index));
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if shards.topic != topic {
            shards.by_partition.values().for_each(|gone| gone.ring());
            *shards = Shards { topic, by_partition: BTreeMap::new() };
        }
        let known = shards.by_partition.get(&index);
        if let Some((shard, partition)) = known.zip(partition.as_ref())
            && Arc::ptr_eq(&shard.partition, partition)
        {
            return Some(Arc::clone(shard));
        }
        if let Some(gone) = shards.by_partition.remove(&index) {
            gone.ring();
        }
        let shard = self.adopt(node, partition?);
        shards.by_partition.insert(index, Arc::clone(&shard));
        Some(shard)
    }

    fn adopt(self: &Arc<Self>, node: &Arc<Node>, partition: Arc<Partition>) -> Arc<Shard<M>> {
        let shard = Arc::new(Shard::new(partition));
        node.tasks.spawn(drive::drive(Arc::clone(node), Arc::downgrade(&shard), self.make));
        shard
    }

    /// The shards of all partitions that this broker has a replica of, by index.
    pub fn shards(self: &Arc<Self>, node: &Arc<Node>) -> Vec<Arc<Shard<M>>> {
        let topic = node.with_cluster(|cluster| {
            let topic = cluster.state.topics.get(self.topic)?;
            Some((topic.id, topic.partitions.len()))
        });
        let Some((topic, count)) = topic else { return Vec::new() };
        (0..count as i32).filter_map(|index| self.shard_of(node, topic, index)).collect()
    }

    /// Takes up partitions that this broker gets, and changes of the configuration, for ever.
    pub async fn run(self: Arc<Self>, node: Arc<Node>) {
        let mut configured = None;
        loop {
            let shards = self.shards(&node);
            let version = node.with_cluster(|cluster| cluster.state.config_version);
            if configured.replace(version) != Some(version) {
                for shard in shards {
                    // One that is not active yet is made with the present configuration.
                    let _ = shard.with(Now::of(&node), |machine, _| machine.configure(&node));
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

/// The partition that a key (a group, a transactional id) belongs to.
///
/// Source: Redpanda's `coordinator_ntp_mapper`: xxHash64 of the key, then jump consistent hashing (Lamping and
/// Veach, arXiv:1406.2294), in place of Kafka's `hashCode` modulo the count.
pub(crate) fn partition_of(key: &str, partitions: usize) -> i32 {
    let mut hash = twox_hash::XxHash64::oneshot(0, key.as_bytes());
    let (mut bucket, mut next) = (0, 0);
    while next < partitions as i64 {
        bucket = next;
        hash = hash.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1u64 << 31) as f64 / ((hash >> 33) + 1) as f64)) as i64;
    }
    bucket as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_over_the_partitions_and_move_little_when_they_grow() {
        let keys: Vec<String> = (0..16_000).map(|number| format!("group-{number}")).collect();
        let mut counts = [0; 16];
        let mut moved = 0;
        for key in &keys {
            let partition = partition_of(key, 16);
            counts[partition as usize] += 1;
            let among_more = partition_of(key, 17);
            assert!(
                among_more == partition || among_more == 16,
                "jump hashing moves keys to the new one alone"
            );
            moved += usize::from(among_more != partition);
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert!((700..1200).contains(&moved), "{moved}");
        assert_eq!(partition_of("any", 1), 0);
    }
}
