//! Which partition a record goes to that names none: by its key, or in turn.
//!
//! Source: Kafka's default partitioner (murmur2 of the key, without its sign, over the partitions).

/// The partition of a record without one; `turn` counts the records that have no key either.
pub(super) fn partition(key: Option<&[u8]>, partitions: &[i32], turn: u64) -> Option<i32> {
    let count = partitions.len() as u64;
    let number = match key {
        Some(key) => u64::from(murmur2(key) & 0x7fff_ffff),
        None => turn,
    };
    partitions.get(usize::try_from(number.checked_rem(count)?).ok()?).copied()
}

/// MurmurHash2, 32 bit, with the seed that Kafka gives it.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (index, byte) in rest.iter().enumerate().rev() {
        hash ^= u32::from(*byte) << (8 * index);
        if index == 0 {
            hash = hash.wrapping_mul(M);
        }
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that Kafka's own test of the hash has (`UtilsTest.testMurmur2`).
    #[test]
    fn the_hash_is_kafka_s() {
        let cases: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in cases {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn records_without_a_key_take_turns() {
        let partitions = [0, 1, 2];
        let turns: Vec<_> = (0..4).filter_map(|turn| partition(None, &partitions, turn)).collect();
        assert_eq!(turns, [0, 1, 2, 0]);
        assert_eq!(partition(Some(b"foobar"), &partitions, 0), partition(Some(b"foobar"), &partitions, 1));
        assert_eq!(partition(Some(b"k"), &[], 0), None);
    }
}
