//! A record batch as it lies on the wire and on disk (Kafka protocol, "Record Batch", magic 2).
//!
//! Only the header is read here; records are in `records.rs`.
//! Left out: the older message formats (magic 0 and 1), which Produce version 3 and later do not carry.

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

    /// The records' compression; 0 for none.
    pub fn codec(&self) -> i16 {
        self.attributes & CODEC_BITS
    }

    /// Whether timestamps are those of the append.
    pub fn log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
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

/// A batch's header with other records behind it: base offset and last offset stay, so that the batch takes up
/// the same offsets as before.
pub(super) fn with_records(batch: &[u8], records: &[u8], count: i32, max_timestamp_ms: i64) -> Vec<u8> {
    let mut bytes = [&batch[..HEADER_BYTES], records].concat();
    let length = (bytes.len() - UNCOUNTED_BYTES) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    if count == 0 {
        let attributes = i16::from_be_bytes([bytes[21], bytes[22]]) & !CODEC_BITS;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    }
    bytes[35..43].copy_from_slice(&max_timestamp_ms.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
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
