//! A record batch as it lies on the wire and on disk (Kafka protocol, "Record Batch", magic 2).
//!
//! Only the header is read; records are looked at for timestamps alone, and only if they are not compressed.
//! Left out: the older message formats (magic 0 and 1), which Produce version 3 and later do not carry.

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: the base offset and the length itself.
const UNCOUNTED_BYTES: usize = 12;
/// Attribute bits 0 to 2: the compression codec.
const CODEC_BITS: i16 = 0b111;
/// Attribute bit 3: timestamps are those of the append.
const LOG_APPEND_TIME: i16 = 1 << 3;

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

/// The first record at or after `timestamp_ms`: its timestamp and offset. A compressed batch is not opened:
/// its first offset stands for all of its records.
pub(crate) fn first_at(batch: &[u8], header: &BatchHeader, timestamp_ms: i64) -> Option<(i64, i64)> {
    if header.max_timestamp_ms < timestamp_ms {
        return None;
    }
    if header.attributes & LOG_APPEND_TIME != 0 {
        return Some((header.max_timestamp_ms, header.base_offset));
    }
    if header.compressed() || header.base_timestamp_ms >= timestamp_ms {
        return Some((header.base_timestamp_ms.max(timestamp_ms), header.base_offset));
    }
    let mut rest = batch.get(HEADER_BYTES..header.size)?;
    while !rest.is_empty() {
        let length = usize::try_from(varint(&mut rest)?).ok()?;
        let mut record = rest.get(1..length)?;
        rest = rest.get(length..)?;
        let timestamp = header.base_timestamp_ms.checked_add(varint(&mut record)?)?;
        let offset = header.base_offset.checked_add(varint(&mut record)?)?;
        if timestamp >= timestamp_ms {
            return Some((timestamp, offset));
        }
    }
    None
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
