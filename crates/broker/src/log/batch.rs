//! A record batch as it lies on the wire and on disk (Kafka protocol, "Record Batch", magic 2).
//!
//! Mostly the header is read alone; records are decoded where a time is looked for, and where a log is compacted.
//! Left out: the older message formats (magic 0 and 1), which Produce version 3 and later do not carry.

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: the base offset and the length itself.
const UNCOUNTED_BYTES: usize = 12;
/// Attribute bits 0 to 2: the compression codec.
const CODEC_BITS: i16 = 0b111;
/// Attribute bit 3: timestamps are those of the append.
const LOG_APPEND_TIME: i16 = 1 << 3;
/// Attribute bit 4: the batch belongs to a transaction.
const TRANSACTIONAL: i16 = 1 << 4;
/// Attribute bit 5: the batch is a marker of the broker's own.
const CONTROL: i16 = 1 << 5;

/// What a batch's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub base_offset: i64,
    /// Bytes of the whole batch.
    pub size: usize,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    /// -1 if the producer is not idempotent.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BatchError {
    #[error("the batch ends before its header or its stated length")]
    Short,
    #[error("the batch has magic {0}, expected 2")]
    Magic(i8),
    #[error("the batch's checksum does not match its content")]
    Checksum,
    #[error("the batch's record count and offsets do not fit together")]
    Count,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], BatchError> {
    bytes.get(at..at + N).and_then(|field| field.try_into().ok()).ok_or(BatchError::Short)
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may go on with other batches. The checksum is not
    /// looked at.
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let length = i32::from_be_bytes(field(bytes, 8)?);
        let magic = i8::from_be_bytes(field(bytes, 16)?);
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let size = usize::try_from(length).map_err(|_| BatchError::Short)? + UNCOUNTED_BYTES;
        if size < HEADER_BYTES {
            return Err(BatchError::Short);
        }
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(field(bytes, 0)?),
            size,
            crc: u32::from_be_bytes(field(bytes, 17)?),
            attributes: i16::from_be_bytes(field(bytes, 21)?),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)?),
            base_timestamp_ms: i64::from_be_bytes(field(bytes, 27)?),
            max_timestamp_ms: i64::from_be_bytes(field(bytes, 35)?),
            producer_id: i64::from_be_bytes(field(bytes, 43)?),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)?),
            base_sequence: i32::from_be_bytes(field(bytes, 53)?),
            record_count: i32::from_be_bytes(field(bytes, 57)?),
        };
        if header.last_offset_delta < 0
            || header.base_offset.checked_add(header.last_offset_delta.into()).is_none()
        {
            return Err(BatchError::Count);
        }
        Ok(header)
    }

    /// Reads the header and checks that the batch is whole and its checksum right.
    pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let header = BatchHeader::read(bytes)?;
        let counted = bytes.get(21..header.size).ok_or(BatchError::Short)?;
        if crc32c::crc32c(counted) != header.crc {
            return Err(BatchError::Checksum);
        }
        Ok(header)
    }

    /// The offset of the batch's last record.
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// Whether the records are compressed.
    pub fn compressed(&self) -> bool {
        self.attributes & CODEC_BITS != 0
    }

    /// Whether the batch belongs to a transaction; its marker does, too.
    pub fn transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker that the broker wrote.
    pub fn control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Gives a batch its place in the log. The checksum does not cover these fields.
pub(crate) fn assign(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Replaces the batch's timestamps by the time of the append (topic property `message.timestamp.type`).
pub(crate) fn stamp(batch: &mut [u8], now_ms: i64) {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]) | LOG_APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    batch[35..43].copy_from_slice(&now_ms.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// The first record at or after `timestamp_ms` and `start_offset`: its timestamp and offset.
///
/// # Errors
/// Records that cannot be read.
pub(crate) fn first_at(
    batch: &[u8],
    header: &BatchHeader,
    timestamp_ms: i64,
    start_offset: i64,
) -> Result<Option<(i64, i64)>, String> {
    if header.max_timestamp_ms < timestamp_ms {
        return Ok(None);
    }
    if header.attributes & LOG_APPEND_TIME != 0 {
        return Ok(Some((header.max_timestamp_ms, header.base_offset.max(start_offset))));
    }
    let set = RecordBatchDecoder::decode(&mut Bytes::copy_from_slice(&batch[..header.size]))
        .map_err(|error| error.to_string())?;
    let mut records = set.records.iter();
    let found = records.find(|record| record.timestamp >= timestamp_ms && record.offset >= start_offset);
    Ok(found.map(|record| (record.timestamp, record.offset)))
}

/// Key and value of the first record of a batch that is not compressed (control batches never are); `None` if
/// there is none with both.
pub(crate) fn first_record(batch: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = batch.get(HEADER_BYTES..)?;
    let length = usize::try_from(varint(&mut rest)?).ok()?;
    let mut record = rest.get(1..length)?;
    varint(&mut record)?;
    varint(&mut record)?;
    let key = sized(&mut record)?;
    let value = sized(&mut record)?;
    Some((key, value))
}

fn sized<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let (field, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(field)
}

/// A zigzag variable-length integer, as records use it.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
/// How many records whole batches hold, by their headers.
pub(crate) fn record_count(mut batches: &[u8]) -> u64 {
    let mut count = 0;
    while let Ok(header) = BatchHeader::read(batches) {
        count += u64::try_from(header.record_count).unwrap_or(0);
        batches = batches.get(header.size..).unwrap_or_default();
    }
    count
}
