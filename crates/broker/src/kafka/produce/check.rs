//! Whether the bytes for a partition are a batch that the broker keeps.
//!
//! Produce 3 and later carry exactly one batch of format 2 (Kafka: `ProduceRequest.validateRecords`); what is
//! checked of it is what Kafka's `LogValidator` checks.

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::content::{self, ContentError};
use crate::log::batch::{BatchError, BatchHeader};
use crate::log::codec::{CodecError, UNCOMPRESSED_BYTES_MAX, uncompress};

/// Bytes of a batch before its records.
const HEADER_BYTES: usize = 61;
/// Attribute bits (KIP-98).
const CODEC: i16 = 0b111;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const ZSTD: i16 = 4;
/// First version in which a producer may use zstd (KIP-110).
const ZSTD_VERSION: i16 = 7;

/// What the topic and the request ask of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub version: i16,
    pub bytes_max: usize,
    /// The topic is compacted.
    pub needs_keys: bool,
    /// The request has a transactional id.
    pub transactional: bool,
}

/// Why a batch is refused: the code and the reason for the client.
pub(super) type Refused = (ResponseError, String);

fn invalid(reason: impl Into<String>) -> Refused {
    (ResponseError::InvalidRecord, reason.into())
}

/// The batch, if it may be kept.
///
/// # Errors
/// What is wrong with it.
pub(super) fn batch(records: Option<&Bytes>, rules: Rules) -> Result<Bytes, Refused> {
    let records =
        records.filter(|records| !records.is_empty()).ok_or_else(|| invalid("there is no batch"))?;
    if records.len() > rules.bytes_max {
        let reason = format!("the batch has {} bytes, at most {} are taken", records.len(), rules.bytes_max);
        return Err((ResponseError::MessageTooLarge, reason));
    }
    let header = BatchHeader::check(records).map_err(|error| match error {
        // Before version 3 of the request there are older formats, from then on there is one.
        BatchError::Magic(_) => invalid(error.to_string()),
        _ => (ResponseError::CorruptMessage, error.to_string()),
    })?;
    if header.size != records.len() {
        return Err(invalid("there is more than one batch"));
    }
    check_header(records, &header, rules)?;
    check_content(records, &header, rules)?;
    Ok(records.clone())
}

fn check_header(records: &[u8], header: &BatchHeader, rules: Rules) -> Result<(), Refused> {
    if header.record_count < 1 || header.record_count - 1 != header.last_offset_delta {
        return Err(invalid("the record count does not fit the batch's last offset"));
    }
    if header.base_offset != 0 {
        return Err(invalid(format!("the batch's base offset is {}, expected 0", header.base_offset)));
    }
    if header.attributes & CONTROL != 0 {
        return Err(invalid("clients may not write control records"));
    }
    let (producer_id, sequence) = producer(records);
    if producer_id >= 0 && sequence < 0 {
        return Err(invalid(format!("producer {producer_id} sends sequence {sequence}")));
    }
    if header.attributes & TRANSACTIONAL != 0 && !rules.transactional {
        // Kafka: `KafkaApis.handleProduceRequest`.
        let reason = "a transactional batch in a request without a transactional id".to_owned();
        return Err((ResponseError::TransactionalIdAuthorizationFailed, reason));
    }
    if header.attributes & CODEC == ZSTD && rules.version < ZSTD_VERSION {
        let reason = format!("zstd needs Produce {ZSTD_VERSION} or later");
        return Err((ResponseError::UnsupportedCompressionType, reason));
    }
    Ok(())
}

/// The producer's id and the batch's first sequence.
fn producer(records: &[u8]) -> (i64, i32) {
    let id = records.get(43..).and_then(|rest| rest.first_chunk()).map_or(-1, |id| i64::from_be_bytes(*id));
    let sequence = records.get(53..).and_then(|rest| rest.first_chunk());
    (id, sequence.map_or(-1, |sequence| i32::from_be_bytes(*sequence)))
}

fn check_content(records: &[u8], header: &BatchHeader, rules: Rules) -> Result<(), Refused> {
    let refused = |error: ContentError| {
        let code = match error {
            ContentError::Codec(CodecError::Unknown(_)) => ResponseError::UnsupportedCompressionType,
            ContentError::Codec(CodecError::Damaged(_)) => ResponseError::CorruptMessage,
            ContentError::Codec(CodecError::Large(_)) => ResponseError::MessageTooLarge,
            ContentError::Record(_) | ContentError::NoKey(_) | ContentError::Count => {
                ResponseError::InvalidRecord
            }
        };
        (code, error.to_string())
    };
    let bytes = records.get(HEADER_BYTES..).unwrap_or_default();
    let content = uncompress(header.attributes & CODEC, bytes, UNCOMPRESSED_BYTES_MAX)
        .map_err(|error| refused(error.into()))?;
    content::check(&content, header.record_count, rules.needs_keys).map_err(refused)
}
