//! Syncs of replicas' logs: at once, after a simulated disk's latency, or on a thread that a machine's disk may block.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::partition::{Partition, PartitionError};
use crate::log::DetachedSync;
use crate::node::Node;

/// Syncs that a machine's disk does at a time, which is a thread each; a file system puts those that come together into
/// one commit anyway.
const AT_ONCE_MAX: usize = 16;

/// How many syncs may begin.
pub(crate) struct Syncs(Semaphore);

impl Default for Syncs {
    fn default() -> Syncs {
        Syncs(Semaphore::new(AT_ONCE_MAX))
    }
}

/// Syncs a replica's log if it wants that; tells whether it is to be driven again at once.
pub(super) fn sync(node: &Arc<Node>, replica: &Arc<Partition>, now: Instant) -> bool {
    let mut core = replica.core();
    let Ok(group) = &mut core.group else { return false };
    if !group.wants_sync(now) {
        return false;
    }
    if node.bugs.ack_before_fsync {
        group.pretend_sync();
        return true;
    }
    group.begin_sync();
    let log = &group.store().log;
    let (latency, detached) = (log.sync_latency(), log.detach_sync());
    if latency.is_zero() && detached.is_none() {
        group.end_sync();
        return true;
    }
    drop(core);
    let (node, replica) = (Arc::clone(node), Arc::clone(replica));
    node.clone().tasks.spawn(async move {
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        // A replica without a log has nothing to sync.
        let _ = match detached {
            Some(sync) => node.raft.syncs.end(&replica, sync).await,
            None => replica.with_group(|group| group.end_sync()),
        };
    });
    false
}

impl Syncs {
    /// Syncs on a thread that may block, and tells the group.
    async fn end(&self, replica: &Partition, sync: DetachedSync) -> Result<(), PartitionError> {
        let permit = self.0.acquire().await;
        let sync = Arc::new(sync);
        let blocking = Arc::clone(&sync);
        let result = tokio::task::spawn_blocking(move || blocking.run()).await;
        drop(permit);
        replica.with_group(|group| {
            if group.store().log.began(&sync) {
                let result = result.unwrap_or_else(|cut_short| Err(io::Error::other(cut_short)));
                group.end_sync_by(|store| store.log.finish_sync(&sync, result));
            }
        })
    }
}
