//! Kafka frames: a request as bytes, the answer's bytes as a response, and what it is if it is no answer.
//!
//! A frame is a 4-byte length, a header with a correlation id, and a body (Kafka protocol guide). A peer that
//! speaks another protocol shows in the length or in the correlation id; [`read_as_text`] says what it looks like.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};

use crate::{Failure, Outcome};

/// Bytes of the length field.
const LENGTH_BYTES: usize = 4;
/// Bytes of the correlation id, which begins every answer.
const CORRELATION_BYTES: usize = 4;

/// The frame of `request`.
///
/// # Errors
/// A field that this version cannot carry.
pub(crate) fn encode<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut frame = BytesMut::zeroed(LENGTH_BYTES);
    encode_request_header_into_buffer(&mut frame, &header).map_err(|error| error.to_string())?;
    request.encode(&mut frame, version).map_err(|error| error.to_string())?;
    let length =
        i32::try_from(frame.len() - LENGTH_BYTES).map_err(|_| "the request exceeds 2 GiB".to_owned())?;
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// Takes the next whole frame (without its length) off `input`; `None` until it is there.
///
/// # Errors
/// [`Outcome::ProtocolMismatch`] if the length cannot be one.
pub(crate) fn take(input: &mut BytesMut, bytes_max: u32) -> Result<Option<Bytes>, Failure> {
    let Some(prefix) = input.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix);
    if length > bytes_max || (length as usize) < CORRELATION_BYTES {
        return Err(Failure::new(
            Outcome::ProtocolMismatch,
            format!(
                "the answer is not Kafka: its first bytes read as a length of {length} bytes; {}",
                read_as_text(input)
            ),
        ));
    }
    let length = length as usize;
    if input.len() < LENGTH_BYTES + length {
        input.reserve(LENGTH_BYTES + length - input.len());
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(length).freeze()))
}

/// The correlation id a frame begins with ([`take`] sees to it that there is one).
pub(crate) fn correlation_id(frame: &[u8]) -> i32 {
    frame.first_chunk::<CORRELATION_BYTES>().map_or(-1, |bytes| i32::from_be_bytes(*bytes))
}

/// The response in `frame`.
///
/// # Errors
/// [`Outcome::ProtocolMismatch`] if the bytes are not that response.
pub(crate) fn decode<R: Request>(mut frame: Bytes, version: i16) -> Result<R::Response, Failure> {
    let bytes = frame.len();
    let header_version = R::Response::header_version(version);
    ResponseHeader::decode(&mut frame, header_version)
        .and_then(|_| R::Response::decode(&mut frame, version))
        .map_err(|error| {
            Failure::new(
                Outcome::ProtocolMismatch,
                format!(
                    "an answer of {bytes} bytes to API key {} version {version} cannot be decoded: {error}",
                    R::KEY
                ),
            )
        })
}

/// What bytes that are not Kafka look like, for an explanation.
pub(crate) fn read_as_text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(32)];
    let guess = match bytes {
        // A TLS record of type alert (21) or handshake (22) begins with its type and version 3.x (RFC 8446 5.1);
        // as a length an alert reads as 352518912 (redpanda.md 5, rows 24 and 25).
        [0x15, 3, ..] => "they are a TLS alert: the listener wants TLS",
        [0x16, 3, ..] => "they are a TLS handshake: the peer speaks TLS",
        [b'H', b'T', b'T', b'P', ..] => "they are an HTTP response: this is an HTTP listener",
        _ => "the protocol is not known",
    };
    format!("{guess} (`{}`)", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};
    use kafka_protocol::protocol::Encodable;

    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let failure = take(&mut BytesMut::from(bytes), 100_000_000).expect_err("not Kafka");
        assert_eq!(failure.outcome, Outcome::ProtocolMismatch);
        failure.explanation
    }

    #[test]
    fn other_protocols_are_told_by_their_first_bytes() {
        assert!(refused(b"HTTP/1.1 400 Bad Request\r\n").contains("HTTP response"));
        let alert = refused(&[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x46]);
        assert!(alert.contains("352518912") && alert.contains("TLS alert"), "{alert}");
        assert!(refused(&[0, 0, 0, 2, 1, 1]).contains("not known"));
    }

    #[test]
    fn a_frame_comes_out_when_it_is_whole() {
        let mut input = BytesMut::from(&[0, 0, 0, 6, 0, 0, 0, 9, 7][..]);
        assert_eq!(take(&mut input, 100), Ok(None));
        input.extend_from_slice(&[7, 0, 0]);
        let frame = take(&mut input, 100).expect("Kafka").expect("whole");
        assert_eq!((correlation_id(&frame), frame.len(), input.len()), (9, 6, 2));
    }

    #[test]
    fn requests_and_responses_keep_their_fields() {
        let frame = encode(&ApiVersionsRequest::default(), 0, 5, "c").expect("encodes");
        assert_eq!(
            frame.len(),
            LENGTH_BYTES + u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize
        );
        let mut answer = BytesMut::new();
        ResponseHeader::default().with_correlation_id(5).encode(&mut answer, 0).expect("encodes");
        ApiVersionsResponse::default().with_error_code(35).encode(&mut answer, 0).expect("encodes");
        let response = decode::<ApiVersionsRequest>(answer.freeze(), 0).expect("decodes");
        assert_eq!(response.error_code, 35);
        let broken =
            decode::<ApiVersionsRequest>(Bytes::from_static(&[0, 0, 0, 5, 0]), 0).expect_err("too short");
        assert_eq!(broken.outcome, Outcome::ProtocolMismatch);
    }
}
