//! A producer that spreads records over a topic's partitions as the Java client does.
//!
//! A record with a key goes to the partition its key's hash names (murmur2, so that other clients of the same topic
//! agree); without one, to the partitions in turn (the sticky partitioner of KIP-480 concerns batching, which is the
//! caller's here).

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Acks, Client, ClientError, Operation, Record};

/// Sends records to one topic.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    topic: String,
    acks: Acks,
    turn: AtomicU32,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The offset; -1 with [`Acks::None`].
    pub offset: i64,
}

impl Producer {
    /// A producer for `topic`.
    pub fn new(client: Client, topic: impl Into<String>, acks: Acks) -> Producer {
        Producer { client, topic: topic.into(), acks, turn: AtomicU32::new(0) }
    }

    /// Sends one record to its partition's leader.
    ///
    /// # Errors
    /// As [`Client::produce`], and [`ClientError::GaveUp`] if the topic's partitions cannot be learned.
    pub async fn send(&self, record: Record) -> Result<Delivery, ClientError> {
        let partitions = self.partitions().await?;
        let turn = || self.turn.fetch_add(1, Ordering::Relaxed) % partitions;
        let chosen = record.key.as_ref().map_or_else(turn, |key| partition_of(key, partitions));
        let partition = i32::try_from(chosen).unwrap_or(0);
        let offset = self.client.produce(&self.topic, partition, &[record], self.acks).await?;
        Ok(Delivery { partition, offset })
    }

    /// How many partitions the topic has, at least one.
    async fn partitions(&self) -> Result<u32, ClientError> {
        let known = |client: &Client| {
            let state = client.state();
            let topic = state.knowledge.cluster.topics.get(&self.topic);
            topic.and_then(|topic| u32::try_from(topic.partitions.len()).ok()).filter(|&count| count > 0)
        };
        if let Some(count) = known(&self.client) {
            return Ok(count);
        }
        // A look at the first partition's end waits for the topic as every operation does.
        self.client.list_offsets(&self.topic, 0, crate::OffsetSpec::Latest).await?;
        known(&self.client).ok_or_else(|| ClientError::Incomplete {
            operation: Operation::Metadata,
            about: format!("the partitions of {}", self.topic),
        })
    }
}

/// The partition of a key among `partitions` (at least one): murmur2 of the key without its sign bit, as the Java
/// client's built-in partitioner has it.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// MurmurHash2 by Austin Appleby (public domain), 32 bits, with the seed Kafka uses.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const SHIFT: u32 = 24;
    // The hash is defined on 32-bit lengths.
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut mixed = word.iter().rev().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
        mixed = mixed.wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0_u32, |value, &byte| value << 8 | u32::from(byte));
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that the Java client computes (its own tests list them).
    #[test]
    fn the_hash_agrees_with_the_java_client() {
        for (key, hash) in [
            (&b"21"[..], -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key) as i32, hash, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn a_partition_is_always_in_range() {
        for key in 0..1_000_u32 {
            assert!(partition_of(&key.to_be_bytes(), 6) < 6);
        }
        assert_eq!(partition_of(b"any", 0), 0);
    }
}
