//! The follower's side: take what the leader sends, tell what is there.

use crate::log::batch::BatchHeader;
use crate::log::{Log, LogError};
use crate::node::{Node, PartitionKey};
use crate::rpc::{Refusal, Reply};
use crate::status::Counter;

use super::partition::{PartitionError, append_batches};

fn storage(node: &Node, error: PartitionError) -> Refusal {
    node.status.add(Counter::StorageErrors, 1);
    Refusal::Storage(error.to_string())
}

/// Takes the leader's batches from `base_offset` on. Batches that are there already are passed over, so a
/// request that arrives twice does no harm; one that is there with other content is cut off with all that
/// follows it.
pub(crate) fn append(
    node: &Node,
    key: PartitionKey,
    base_offset: i64,
    high_watermark: i64,
    batches: &[u8],
) -> Result<Reply, Refusal> {
    let partition = node.partition(key).ok_or(Refusal::UnknownPartition)?;
    if partition.leads() {
        return Err(Refusal::Invalid("this broker leads the partition".to_owned()));
    }
    let reply = partition.with_log(|log| {
        if log.end_offset() < base_offset {
            return Ok(Reply::Behind { end: log.end_offset() });
        }
        let matched = append_new(log, base_offset, batches)?;
        Ok(Reply::Appended { matched })
    });
    let reply = reply.map_err(|error| storage(node, error))?;
    partition.follow(high_watermark);
    Ok(reply)
}

fn append_new(log: &mut Log, base_offset: i64, batches: &[u8]) -> Result<i64, LogError> {
    let mut matched = base_offset;
    let mut rest = batches;
    while !rest.is_empty() {
        let header = BatchHeader::check(rest).map_err(std::io::Error::other)?;
        if header.base_offset >= log.end_offset() {
            break;
        }
        let index = log.index_of(header.base_offset).unwrap_or(0);
        let there = log.entries(index, index + 1, 0)?;
        if there.first().is_none_or(|entry| *entry.payload != rest[..header.size]) {
            log.truncate(index)?;
            break;
        }
        matched = header.last_offset() + 1;
        rest = &rest[header.size..];
    }
    if !rest.is_empty() {
        append_batches(log, rest)?;
        matched = log.end_offset();
    }
    Ok(matched)
}

/// Tells the replica's end, and up to `bytes_max` of batches from `offset` on.
pub(crate) fn read(
    node: &Node,
    key: PartitionKey,
    offset: i64,
    bytes_max: u32,
) -> Result<(Reply, Vec<u8>), Refusal> {
    let partition = node.partition(key).ok_or(Refusal::UnknownPartition)?;
    let read = partition.with_log(|log| {
        let end = log.end_offset();
        let batches = match bytes_max {
            0 => Vec::new(),
            _ => log.read(offset, i64::MAX, bytes_max as usize, true)?,
        };
        Ok((Reply::Replica { end }, batches))
    });
    read.map_err(|error| storage(node, error))
}
