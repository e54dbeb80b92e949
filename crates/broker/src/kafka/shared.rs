//! What all Kafka connections of a broker share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::fetch::sessions::Sessions;
use super::quotas::Buckets;
use super::telemetry::Instances;
use crate::cluster::topics::Topic;
use crate::groups::consumer_protocol::subscription::{TopicImage, TopicOutline};
use crate::node::Node;

/// redpanda.md 4.4, `fetch_session_eviction_timeout_ms`.
const SESSION_EVICTION: Duration = Duration::from_secs(60);

/// The state of a broker's Kafka listeners.
pub(crate) struct Shared {
    fetch_sessions: Mutex<Sessions>,
    quotas: Mutex<Buckets>,
    telemetry: Mutex<Instances>,
    topic_image: Mutex<Option<Arc<TopicImage>>>,
    connections: Arc<AtomicUsize>,
}

/// A connection that counts as long as this is kept.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Shared {
    pub fn new() -> Shared {
        Shared {
            fetch_sessions: Mutex::new(Sessions::new(SESSION_EVICTION)),
            quotas: Mutex::default(),
            telemetry: Mutex::default(),
            topic_image: Mutex::default(),
            connections: Arc::default(),
        }
    }

    pub(super) fn fetch_sessions(&self) -> MutexGuard<'_, Sessions> {
        self.fetch_sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn quotas(&self) -> MutexGuard<'_, Buckets> {
        self.quotas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn telemetry(&self) -> MutexGuard<'_, Instances> {
        self.telemetry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topics that clients see, as the cluster's state has them; made anew only if that has changed.
    pub(super) fn topic_image(&self, node: &Node) -> Arc<TopicImage> {
        let mut image = self.topic_image.lock().unwrap_or_else(PoisonError::into_inner);
        node.with_cluster(|cluster| {
            let version = cluster.state.version;
            if let Some(image) = image.as_ref().filter(|image| image.version == version) {
                return Arc::clone(image);
            }
            let outline = |topic: &Topic| TopicOutline {
                id: topic.id,
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
            };
            let topics = cluster.state.topics.visible().map(|topic| (topic.name.clone(), outline(topic)));
            let made = Arc::new(TopicImage { version, topics: topics.collect() });
            *image = Some(Arc::clone(&made));
            made
        })
    }

    /// Counts a connection; `None` if there are `max` already.
    pub(super) fn admit(&self, max: Option<u64>) -> Option<Counted> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.connections));
        (max.is_none_or(|max| (before as u64) < max)).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_while_they_last() {
        let shared = Shared::new();
        let first = shared.admit(Some(1));
        assert!(first.is_some() && shared.admit(Some(1)).is_none());
        drop(first);
        assert!(shared.admit(Some(1)).is_some());
        assert!(shared.admit(None).is_some());
    }
}
