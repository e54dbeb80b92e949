//! Bytes on the wire, counted from what requests hold.
//!
//! The fabric does not count the bytes of each connection, so they follow from the sizes of records and of Kafka's
//! frames around them (Kafka protocol guide), cut into TCP segments. Acknowledgements ride on the segments of the
//! other direction. Left out: retransmissions, connection set-up, and requests other than produce and fetch.

use hopwise_client::{Acks, Record};

use super::journal::Moved;

/// Payload of a full TCP segment: an MTU of 1500 bytes less the headers.
const SEGMENT_BYTES: u64 = 1_460;
/// The headers of a segment: IPv4 20 and TCP 20.
const HEADER_BYTES: u64 = 40;
/// A batch without its records (message format v2).
const BATCH_BYTES: u64 = 61;
/// A record without its key and value: its length, attributes, timestamp and offset deltas, two lengths, headers.
const RECORD_BYTES: u64 = 8;
/// A Produce request of version 9 or later without topic name and batch, its header included.
const PRODUCE_REQUEST_BYTES: u64 = 45;
/// Its answer without the topic name.
const PRODUCE_ANSWER_BYTES: u64 = 55;
/// A Fetch request of version 12 without the topic name, its header included.
const FETCH_REQUEST_BYTES: u64 = 90;
/// Its answer without topic name and batches.
const FETCH_ANSWER_BYTES: u64 = 65;

/// Bytes of a record's key and value.
pub(super) fn content(record: &Record) -> u64 {
    let length = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, |part| part.len() as u64);
    length(&record.key) + length(&record.value)
}

/// What producing `records` in one batch moves.
pub(super) fn produce(topic: &str, records: &[Record], acks: Acks) -> Moved {
    let name = topic.len() as u64;
    let received = if acks == Acks::None { HEADER_BYTES } else { ip_bytes(PRODUCE_ANSWER_BYTES + name) };
    Moved { sent: ip_bytes(PRODUCE_REQUEST_BYTES + name + batch(records)), received }
}

/// What fetching `records` moves; they count as one batch.
pub(super) fn fetch(topic: &str, records: &[Record]) -> Moved {
    let name = topic.len() as u64;
    let batch = if records.is_empty() { 0 } else { batch(records) };
    Moved {
        sent: ip_bytes(FETCH_REQUEST_BYTES + name),
        received: ip_bytes(FETCH_ANSWER_BYTES + name + batch),
    }
}

fn batch(records: &[Record]) -> u64 {
    BATCH_BYTES + records.iter().map(|record| RECORD_BYTES + content(record)).sum::<u64>()
}

/// The bytes of the packets that carry `payload` bytes of a TCP stream.
fn ip_bytes(payload: u64) -> u64 {
    payload + payload.div_ceil(SEGMENT_BYTES).max(1) * HEADER_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kilobyte_fits_one_segment_and_two_take_two() {
        let records = [Record::new("k/1", vec![0; 1024])];
        let one = produce("orders", &records, Acks::All);
        assert_eq!(one.sent, 45 + 6 + 61 + 8 + 3 + 1024 + 40);
        assert_eq!(one.received, 55 + 6 + 40);
        let two = fetch("orders", &[records[0].clone(), records[0].clone()]);
        assert_eq!(two.received, 65 + 6 + 61 + 2 * (8 + 3 + 1024) + 2 * 40);
        assert_eq!(fetch("orders", &[]).received, 65 + 6 + 40);
    }
}
