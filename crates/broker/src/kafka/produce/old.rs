//! Produce 0 to 2, which carry message formats that are not kept any more.
//!
//! `kafka-protocol` reads them no longer, so the request is read here as version 3 without a transactional id,
//! and the answer is written by hand. Every partition that would take records is refused: the formats before
//! version 2 have no place for what idempotent and transactional producers write (KIP-98, KIP-896).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::protocol::Decodable;

/// The version of the request whose body follows the older ones' after a transactional id.
const NEXT_VERSION: i16 = 3;
/// A null string.
const NULL: [u8; 2] = [0xff, 0xff];

/// The body of the answer; `None` if none is wanted.
///
/// # Errors
/// Bytes that are no request.
pub(in crate::kafka) fn answer(body: &[u8], version: i16) -> Result<Option<Bytes>, String> {
    let mut bytes = Bytes::from([&NULL, body].concat());
    let request = ProduceRequest::decode(&mut bytes, NEXT_VERSION).map_err(|error| error.to_string())?;
    Ok((request.acks != 0).then(|| refusal(&request, version)))
}

fn refusal(request: &ProduceRequest, version: i16) -> Bytes {
    let mut body = BytesMut::new();
    let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    body.put_i32(count(request.topic_data.len()));
    for topic in &request.topic_data {
        // It was read as a string of at most so many bytes.
        body.put_i16(i16::try_from(topic.name.len()).unwrap_or(i16::MAX));
        body.put_slice(topic.name.as_bytes());
        body.put_i32(count(topic.partition_data.len()));
        for partition in &topic.partition_data {
            body.put_i32(partition.index);
            body.put_i16(ResponseError::UnsupportedForMessageFormat.code());
            // Base offset.
            body.put_i64(-1);
            if version >= 2 {
                // The time of the append.
                body.put_i64(-1);
            }
        }
    }
    if version >= 1 {
        // Throttled for no time.
        body.put_i32(0);
    }
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(acks: i16) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i16(acks);
        body.put_i32(1000);
        body.put_i32(1);
        body.put_i16(1);
        body.put_slice(b"t");
        body.put_i32(1);
        body.put_i32(7);
        body.put_i32(3);
        body.put_slice(b"old");
        body
    }

    #[test]
    fn the_formats_that_are_gone_are_refused_per_partition() {
        let code = ResponseError::UnsupportedForMessageFormat.code().to_be_bytes();
        for (version, length) in [(0, 4 + 3 + 4 + 4 + 2 + 8), (1, 29), (2, 37)] {
            let answer = answer(&request(1), version).unwrap().unwrap();
            assert_eq!(answer.len(), length, "version {version}");
            assert_eq!(answer[15..17], code);
        }
        assert_eq!(answer(&request(0), 2), Ok(None));
        assert!(answer(&request(1)[..9], 0).is_err());
    }
}
