//! Commands of a partition's own log: what every replica does at the same place of it.
//!
//! There is one, which moves the log's start (KIP-107). Redpanda replicates it, too, as a batch that truncates the
//! log's prefix (`log_eviction_stm`): a replica that is down meanwhile, or comes later, finds it in the log and never
//! serves the records again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use super::partition::{Partition, PartitionError, epoch};

/// What a command entry of a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PartitionCommand {
    /// The log begins at this offset.
    RemoveBefore(i64),
}

impl PartitionCommand {
    fn encode(self) -> Bytes {
        serde_json::to_vec(&self).map(Bytes::from).unwrap_or_default()
    }

    /// The command from what was encoded; `None` if the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<PartitionCommand> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Partition {
    /// Moves the start of the log up to `offset`, which must be committed, at all replicas; the first offset that
    /// is kept then. Returns when a majority has the command and this replica has carried it out; the others follow
    /// as they hear that it is committed.
    ///
    /// # Errors
    /// The replica does not lead, or ceases to before the command is committed (which it may still become); no
    /// majority takes it before `deadline`; the volume fails.
    pub async fn remove_before(&self, offset: i64, deadline: Instant) -> Result<i64, PartitionError> {
        let mut progress = self.watch();
        let start = self.start_offset();
        if offset <= start {
            return Ok(start);
        }
        let term = self.with_group(|group| {
            let (term, _) = group.next_entry()?;
            if !group.serves() {
                return Err(PartitionError::NotLeadingYet);
            }
            group.propose_command(PartitionCommand::RemoveBefore(offset).encode())?;
            Ok(term)
        })??;
        let decided = progress.wait_for(|progress| {
            progress.start >= offset || !progress.leading || progress.epoch != epoch(term)
        });
        match timeout_at(deadline, decided).await {
            Ok(Ok(progress)) if progress.start >= offset => Ok(progress.start),
            Ok(_) => Err(PartitionError::NotLeader),
            Err(_) => Err(PartitionError::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_it_was_written() {
        let command = PartitionCommand::RemoveBefore(41);
        assert_eq!(PartitionCommand::decode(&command.encode()), Some(command));
        assert_eq!(PartitionCommand::decode(b"{}"), None);
    }
}
