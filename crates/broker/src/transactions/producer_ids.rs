//! Producer ids, each of which the cluster hands out once.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::command::{Applied, Command};
use crate::cluster::submit::submit;
use crate::node::Node;
use crate::rpc::Refusal;

/// Redpanda's `id_allocator_batch_size`: ids that a broker fetches at a time.
const BLOCK: u32 = 1000;
/// How long the controller may take to hand out a block.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Ids that this broker has and has not given to a producer. Those that it has when it ends are lost.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds(Mutex<Range<i64>>);

impl ProducerIds {
    fn take(&self) -> Option<i64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    /// An id that nobody has had.
    ///
    /// # Errors
    /// Why the controller hands out none.
    pub async fn next(&self, node: &Arc<Node>) -> Result<i64, Refusal> {
        if let Some(id) = self.take() {
            return Ok(id);
        }
        let command = Command::AllocateProducerIds { count: BLOCK };
        match submit(node, command, Instant::now() + TIMEOUT).await? {
            Applied::ProducerIds(mut block) => {
                let id = block.next().ok_or(Refusal::NotController)?;
                // Where two producers waited at once the later block is kept; the rest of the other is lost.
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = block;
                Ok(id)
            }
            _ => Err(Refusal::NotController),
        }
    }
}
