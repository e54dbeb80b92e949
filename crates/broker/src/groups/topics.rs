//! Topics that are deleted take their offsets with them (Kafka: `GroupCoordinator.handleDeletedPartitions`).
//!
//! A deletion is noticed by the broker that leads the group's partition then; if leadership moves at that very
//! moment the offsets stay until they expire, as in Kafka.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::sleep;
use uuid::Uuid;

use crate::coordinator::Now;
use crate::node::Node;

/// How often the topics are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often a coordinator that loads is asked again.
const LOADING_TRIES: usize = 60;

/// Forgets the offsets of topics as they are deleted, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut seen = Seen::default();
    loop {
        let gone = seen.look(&node);
        if !gone.is_empty() {
            node.tasks.spawn(forget(Arc::clone(&node), gone));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// The topics at the last look.
#[derive(Default)]
struct Seen {
    version: Option<u64>,
    topics: BTreeMap<Uuid, String>,
}

impl Seen {
    /// The names of the topics that are no more. Costs nothing while the cluster's state stays the same.
    fn look(&mut self, node: &Node) -> BTreeSet<String> {
        let topics = node.with_cluster(|cluster| {
            let version = Some(cluster.state.version);
            if self.version == version {
                return None;
            }
            self.version = version;
            let visible = cluster.state.topics.visible();
            Some(visible.map(|topic| (topic.id, topic.name.clone())).collect::<BTreeMap<_, _>>())
        });
        let Some(topics) = topics else { return BTreeSet::new() };
        let before = std::mem::replace(&mut self.topics, topics);
        let gone = before.into_iter().filter(|(id, _)| !self.topics.contains_key(id));
        gone.map(|(_, name)| name).collect()
    }
}

async fn forget(node: Arc<Node>, gone: BTreeSet<String>) {
    let mut shards = node.groups.shards(&node);
    for _ in 0..LOADING_TRIES {
        shards.retain(|shard| {
            let forgot =
                shard.with(Now::of(&node), |machine, _| machine.forget_topics(|topic| gone.contains(topic)));
            forgot == Err(ResponseError::CoordinatorLoadInProgress)
        });
        if shards.is_empty() {
            return;
        }
        sleep(LOOK_INTERVAL).await;
    }
}
