//! The two forms that keys and values have in JSON: JSON itself, and base64 of any bytes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::error::{ErrorCode, ProxyError};
use crate::kafka_client::TopicPartition;
use crate::kafka_client::records::{FetchedRecord, Record};

/// The content type of everything but records (redpanda.md 3.3).
pub(super) const CONTROL: &str = "application/vnd.kafka.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";

/// How keys and values are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Binary,
    Json,
}

impl Format {
    pub const ALL: [Format; 2] = [Format::Binary, Format::Json];

    pub fn content_type(self) -> &'static str {
        match self {
            Format::Binary => BINARY,
            Format::Json => JSON,
        }
    }

    /// The name that a consumer is created with.
    pub fn parse(name: &str) -> Option<Format> {
        match name {
            "binary" => Some(Format::Binary),
            "json" => Some(Format::Json),
            _ => None,
        }
    }

    /// The bytes of a key or value; `null` is none.
    ///
    /// # Errors
    /// 422: not base64.
    pub fn read(self, value: Option<&Value>) -> Result<Option<Bytes>, ProxyError> {
        let unprocessable =
            |problem: String| ProxyError::http(axum::http::StatusCode::UNPROCESSABLE_ENTITY, problem);
        match (self, value) {
            (_, None | Some(Value::Null)) => Ok(None),
            (Format::Json, Some(value)) => Ok(Some(Bytes::from(value.to_string()))),
            (Format::Binary, Some(Value::String(text))) => BASE64_STANDARD
                .decode(text)
                .map(|bytes| Some(Bytes::from(bytes)))
                .map_err(|error| unprocessable(format!("{text:?} is not base64: {error}"))),
            (Format::Binary, Some(other)) => {
                Err(unprocessable(format!("{other} is not base64; send a string, or the JSON content type")))
            }
        }
    }

    fn write(self, bytes: Option<&Bytes>) -> Option<Value> {
        match (self, bytes) {
            (_, None) => Some(Value::Null),
            (Format::Binary, Some(bytes)) => Some(Value::String(BASE64_STANDARD.encode(bytes))),
            (Format::Json, Some(bytes)) => serde_json::from_slice(bytes).ok(),
        }
    }

    /// A record in an answer.
    ///
    /// # Errors
    /// 40801 if the record's bytes do not have this form.
    pub fn record(self, key: &TopicPartition, fetched: &FetchedRecord) -> Result<Value, ProxyError> {
        let (topic, partition) = key;
        let part = |name: &str, bytes: Option<&Bytes>| {
            self.write(bytes).ok_or_else(|| {
                let offset = fetched.offset;
                let message = format!(
                    "the {name} at offset {offset} of {topic}/{partition} is not JSON; ask for {BINARY}"
                );
                ProxyError::new(ErrorCode::Serialization, message)
            })
        };
        let Record { key, value } = &fetched.record;
        Ok(json!({
            "topic": topic,
            "key": part("key", key.as_ref())?,
            "value": part("value", value.as_ref())?,
            "partition": partition,
            "offset": fetched.offset,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(key: Option<&'static [u8]>, value: Option<&'static [u8]>) -> FetchedRecord {
        let record = Record { key: key.map(Bytes::from_static), value: value.map(Bytes::from_static) };
        FetchedRecord { offset: 7, record }
    }

    #[test]
    fn keys_and_values_are_read() {
        let value = json!({"a": [1, null]});
        assert_eq!(Format::Json.read(Some(&value)).unwrap().unwrap(), r#"{"a":[1,null]}"#);
        assert_eq!(Format::Binary.read(Some(&json!("aGk="))).unwrap().unwrap(), "hi");
        for format in Format::ALL {
            assert_eq!(format.read(Some(&Value::Null)), Ok(None));
            assert_eq!(format.read(None), Ok(None));
        }
        for bad in [json!("a"), json!(5)] {
            assert_eq!(Format::Binary.read(Some(&bad)).unwrap_err().code.number(), 422, "{bad}");
        }
    }

    #[test]
    fn records_are_written() {
        let key = ("t".to_owned(), 2);
        let written = Format::Binary.record(&key, &fetched(None, Some(b"hi"))).unwrap();
        let expected = json!({"topic": "t", "key": null, "value": "aGk=", "partition": 2, "offset": 7});
        assert_eq!(written, expected);
        let written = Format::Json.record(&key, &fetched(Some(b"1"), Some(b"{}"))).unwrap();
        assert_eq!((&written["key"], &written["value"]), (&json!(1), &json!({})));
        let refused = Format::Json.record(&key, &fetched(None, Some(b"hi"))).unwrap_err();
        assert_eq!(refused.code.number(), 40801);
    }
}
