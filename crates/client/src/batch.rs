//! Records and the batches they travel in (message format v2), by `kafka-protocol`'s encoder.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::ClientError;

/// The message format in use since Kafka 0.11.
const FORMAT_VERSION: i8 = 2;

/// A record to be produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The key; records of one key go to one partition.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in their order; of two with one name the last stays.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds on the clock the caller goes by; `None` takes the client's.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record without headers, stamped when it is sent.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Record {
        Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedRecord {
    /// Its offset in the partition.
    pub offset: i64,
    /// What was produced, with its timestamp.
    pub record: Record,
}

/// Who a batch is from, and which of that producer's it is (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub producer_id: i64,
    pub epoch: i16,
    /// The sequence of the first record in its partition.
    pub sequence: i32,
    pub transactional: bool,
}

/// An encoded batch as a request carries it.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub records: Bytes,
    /// For batches of a transaction.
    pub transactional_id: Option<String>,
}

impl Batch {
    /// A batch that belongs to no transaction.
    pub fn of(records: Bytes) -> Batch {
        Batch { records, transactional_id: None }
    }
}

/// A transaction that was aborted: its records, from the first offset on to the marker, are not for those who read
/// committed records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// The batch of `records`, with the producer's stamp if it has one; those without a timestamp get `now_ms`.
pub(crate) fn encode(records: &[Record], now_ms: i64, stamp: Option<Stamp>) -> Result<Bytes, ClientError> {
    if records.is_empty() {
        return Err(failed("encoded", &"a batch needs at least one record"));
    }
    let batch: Vec<_> =
        (0..).zip(records).map(|(offset, record)| to_wire(record, offset, now_ms, stamp)).collect();
    let options = RecordEncodeOptions { version: FORMAT_VERSION, compression: Compression::None };
    let mut buffer = BytesMut::new();
    RecordBatchEncoder::encode(&mut buffer, &batch, &options).map_err(|error| failed("encoded", &error))?;
    Ok(buffer.freeze())
}

/// The records of `batches` at `from` and later, and the offset to read next.
///
/// A broker sends from the beginning of a batch, so earlier records may come along; control records are for
/// brokers only, and are stepped over. So are the records of `aborted` transactions (KIP-98, as Java's consumer does).
pub(crate) fn decode(
    mut batches: Bytes,
    from: i64,
    mut aborted: Vec<Aborted>,
) -> Result<(Vec<FetchedRecord>, i64), ClientError> {
    batches.truncate(whole_batches(&batches));
    let sets = RecordBatchDecoder::decode_all(&mut batches).map_err(|error| failed("decoded", &error))?;
    let mut next = from;
    let mut records = Vec::new();
    aborted.sort_by_key(|transaction| transaction.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut open: BTreeSet<i64> = BTreeSet::new();
    for record in sets.into_iter().flat_map(|set| set.records).filter(|record| record.offset >= from) {
        next = next.max(record.offset.saturating_add(1));
        while let Some(begun) = aborted.next_if(|transaction| transaction.first_offset <= record.offset) {
            open.insert(begun.producer_id);
        }
        if record.control {
            // Every marker of a producer ends its transaction there.
            open.remove(&record.producer_id);
        } else if !(record.transactional && open.contains(&record.producer_id)) {
            records.push(from_wire(record));
        }
    }
    Ok((records, next))
}

/// The length of the batches that are whole: a broker cuts an answer at its byte limit, inside a batch if need be
/// (Kafka protocol guide, Fetch).
fn whole_batches(batches: &[u8]) -> usize {
    // A batch is its base offset (8 bytes), its length (4), and that many bytes.
    const HEAD_BYTES: usize = 12;
    let mut end = 0;
    while let Some(length) = batches.get(end + 8..).and_then(|rest| rest.first_chunk::<4>()) {
        // A negative length is no batch: it is left for the decoder to complain about.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else { return batches.len() };
        if batches.len() - end < HEAD_BYTES + length {
            break;
        }
        end += HEAD_BYTES + length;
    }
    end
}

fn failed(doing: &'static str, error: &dyn std::fmt::Display) -> ClientError {
    ClientError::Records { doing, problem: error.to_string() }
}

fn to_wire(
    record: &Record,
    offset: i64,
    now_ms: i64,
    stamp: Option<Stamp>,
) -> kafka_protocol::records::Record {
    let header =
        |(name, value): &(String, Option<Bytes>)| (StrBytes::from_string(name.clone()), value.clone());
    let without = Stamp {
        producer_id: NO_PRODUCER_ID,
        epoch: NO_PRODUCER_EPOCH,
        sequence: NO_SEQUENCE,
        transactional: false,
    };
    let stamp = stamp.unwrap_or(without);
    kafka_protocol::records::Record {
        transactional: stamp.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: stamp.producer_id,
        producer_epoch: stamp.epoch,
        timestamp_type: TimestampType::Creation,
        offset,
        // The encoder makes one batch of records whose sequence runs with the offset; the first one's is written.
        sequence: stamp.sequence.wrapping_add(offset as i32),
        timestamp: record.timestamp_ms.unwrap_or(now_ms),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.iter().map(header).collect(),
    }
}

fn from_wire(record: kafka_protocol::records::Record) -> FetchedRecord {
    let headers = record.headers.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
    let timestamp_ms = Some(record.timestamp);
    FetchedRecord {
        offset: record.offset,
        record: Record { key: record.key, value: record.value, headers, timestamp_ms },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in_one_batch() {
        let records = vec![
            Record {
                headers: vec![("trace".to_owned(), Some(Bytes::from_static(b"1")))],
                ..Record::new("k", "v")
            },
            Record { key: None, value: None, headers: Vec::new(), timestamp_ms: Some(42) },
        ];
        let batch = encode(&records, 7, None).expect("encodes");
        let infos = RecordBatchDecoder::decode_batch_info(&mut batch.clone()).expect("whole");
        assert_eq!(infos.len(), 1);
        assert_eq!((infos[0].record_count, infos[0].base_sequence, infos[0].producer_id), (2, -1, -1));
        let (read, next) = decode(batch, 0, Vec::new()).expect("decodes");
        assert_eq!(next, 2);
        assert_eq!(read.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(read[0].record, Record { timestamp_ms: Some(7), ..records[0].clone() });
        assert_eq!(read[1].record, records[1]);
    }

    #[test]
    fn records_before_the_offset_asked_for_are_left_out() {
        let batch = encode(&[Record::new("a", "1"), Record::new("b", "2")], 0, None).expect("encodes");
        let (read, next) = decode(batch, 1, Vec::new()).expect("decodes");
        assert_eq!((read.len(), next), (1, 2));
        assert_eq!(read[0].record.value.as_deref(), Some(&b"2"[..]));
    }

    #[test]
    fn a_batch_that_was_cut_off_is_left_for_the_next_fetch() {
        let first = encode(&[Record::new("a", "1")], 0, None).expect("encodes");
        let cut = [&first[..], &first[..first.len() - 1]].concat();
        assert_eq!(whole_batches(&cut), first.len());
        let (read, _) = decode(Bytes::from(cut), 0, Vec::new()).expect("decodes");
        assert_eq!(read.len(), 1);
        assert_eq!(decode(first.slice(..5), 7, Vec::new()), Ok((Vec::new(), 7)));
    }

    #[test]
    fn bytes_that_are_no_batch_are_an_error() {
        let negative = Bytes::from_static(&[0xff; 80]);
        assert!(matches!(
            decode(negative, 0, Vec::new()),
            Err(ClientError::Records { doing: "decoded", .. })
        ));
        assert_eq!(decode(Bytes::new(), 0, Vec::new()), Ok((Vec::new(), 0)));
        assert!(matches!(encode(&[], 0, None), Err(ClientError::Records { doing: "encoded", .. })));
    }

    #[test]
    fn records_of_aborted_transactions_are_stepped_over() {
        let stamp =
            |producer_id, sequence| Some(Stamp { producer_id, epoch: 0, sequence, transactional: true });
        let one = encode(&[Record::new("a", "1")], 0, stamp(7, 5)).expect("encodes");
        let infos = RecordBatchDecoder::decode_batch_info(&mut one.clone()).expect("whole");
        assert_eq!((infos[0].base_sequence, infos[0].producer_id), (5, 7));
        let other = encode(&[Record::new("b", "2")], 0, stamp(8, 0)).expect("encodes");
        let keys = |aborted: Vec<Aborted>| {
            let both = Bytes::from([&one[..], &other[..]].concat());
            let (read, next) = decode(both, 0, aborted).expect("decodes");
            assert_eq!(next, 1);
            read.into_iter().filter_map(|it| it.record.key).collect::<Vec<_>>()
        };
        assert_eq!(keys(Vec::new()), ["a", "b"]);
        assert_eq!(keys(vec![Aborted { producer_id: 7, first_offset: 0 }]), ["b"]);
        assert_eq!(keys(vec![Aborted { producer_id: 7, first_offset: 9 }]), ["a", "b"]);
    }
}
