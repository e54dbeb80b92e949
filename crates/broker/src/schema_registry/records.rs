//! The records of the `_schemas` topic: JSON keys and values, as Redpanda and Confluent's registry write them.
//!
//! A key says what the record is about and, where a Redpanda-like registry wrote it, at which offset it was
//! meant to land (`seq`) and which broker wrote it (`node`). A record without a value takes back what records
//! of its key said. Source: redpanda.md 3.4, last paragraph; the records that both registries write.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::schema::{Definition, Reference, SchemaType};
use super::settings::{Compatibility, Mode};
use super::subject::Subject;

/// The place that a record was meant for, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sequence {
    /// The offset; `None` in records that were not sequenced.
    pub offset: Option<i64>,
    pub node: Option<i32>,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Schema {
        subject: Subject,
        version: i32,
        sequence: Sequence,
    },
    /// Of a subject or a context, or the global one.
    Config {
        subject: Option<Subject>,
        sequence: Sequence,
    },
    Mode {
        subject: Option<Subject>,
        sequence: Sequence,
    },
    DeleteSubject {
        subject: Subject,
        sequence: Sequence,
    },
    /// Written to learn the end of the topic.
    Noop,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Schema {
        definition: Definition,
        id: i32,
        deleted: bool,
    },
    Config(Compatibility),
    Mode(Mode),
    DeleteSubject,
    Noop,
    /// No value: the key is taken back.
    Tombstone,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub key: Key,
    pub content: Content,
}

/// Why a record is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the key is not one of the registry's: {0}")]
    Key(String),
    #[error("the value does not fit its key: {0}")]
    Value(String),
}

#[derive(Deserialize)]
struct WrittenKey {
    keytype: String,
    subject: Option<String>,
    version: Option<i32>,
    seq: Option<i64>,
    node: Option<i32>,
}

#[derive(Deserialize)]
struct WrittenSchema {
    id: i32,
    schema: String,
    #[serde(rename = "schemaType", default)]
    schema_type: SchemaType,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct WrittenConfig {
    #[serde(rename = "compatibilityLevel")]
    level: Compatibility,
}

#[derive(Deserialize)]
struct WrittenMode {
    mode: Mode,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is not the registry's, or of a kind that this version does not know.
    pub fn read(key: &[u8], value: Option<&[u8]>) -> Result<Record, RecordError> {
        let key = Key::read(key)?;
        let content = match value {
            None => Content::Tombstone,
            Some(value) => read_value(&key, value)?,
        };
        Ok(Record { key, content })
    }

    /// The bytes of key and value.
    pub fn write(&self) -> (Vec<u8>, Option<Vec<u8>>) {
        (self.key.write(), self.content.write(&self.key))
    }
}

fn of_value<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(value).map_err(|error| RecordError::Value(error.to_string()))
}

fn read_value(key: &Key, value: &[u8]) -> Result<Content, RecordError> {
    Ok(match key {
        Key::Schema { .. } => {
            let written: WrittenSchema = of_value(value)?;
            let definition = Definition {
                schema_type: written.schema_type,
                text: written.schema.into(),
                references: written.references.unwrap_or_default(),
            };
            Content::Schema { definition, id: written.id, deleted: written.deleted }
        }
        Key::Config { .. } => Content::Config(of_value::<WrittenConfig>(value)?.level),
        Key::Mode { .. } => Content::Mode(of_value::<WrittenMode>(value)?.mode),
        Key::DeleteSubject { .. } => Content::DeleteSubject,
        Key::Noop => Content::Noop,
    })
}

impl Key {
    fn read(bytes: &[u8]) -> Result<Key, RecordError> {
        let written: WrittenKey =
            serde_json::from_slice(bytes).map_err(|error| RecordError::Key(error.to_string()))?;
        let sequence = Sequence { offset: written.seq, node: written.node };
        let subject = written.subject.as_deref().map(Subject::parse);
        let lacks = |what: &str| RecordError::Key(format!("a {} key without {what}", written.keytype));
        Ok(match written.keytype.as_str() {
            "SCHEMA" => Key::Schema {
                subject: subject.ok_or_else(|| lacks("a subject"))?,
                version: written.version.ok_or_else(|| lacks("a version"))?,
                sequence,
            },
            "CONFIG" => Key::Config { subject, sequence },
            "MODE" => Key::Mode { subject, sequence },
            "DELETE_SUBJECT" => {
                Key::DeleteSubject { subject: subject.ok_or_else(|| lacks("a subject"))?, sequence }
            }
            "NOOP" => Key::Noop,
            other => return Err(RecordError::Key(format!("keytype {other:?}"))),
        })
    }

    /// The place that the record was meant for.
    pub fn sequence(&self) -> Sequence {
        match self {
            Key::Schema { sequence, .. }
            | Key::Config { sequence, .. }
            | Key::Mode { sequence, .. }
            | Key::DeleteSubject { sequence, .. } => *sequence,
            Key::Noop => Sequence::default(),
        }
    }

    fn write(&self) -> Vec<u8> {
        let mut key = Map::new();
        let mut put = |name: &str, value: Value| key.insert(name.to_owned(), value);
        let global = |subject: &Option<Subject>| json!(subject.as_ref().map(Subject::to_string));
        match self {
            Key::Schema { subject, version, .. } => {
                put("keytype", json!("SCHEMA"));
                put("subject", json!(subject.to_string()));
                put("version", json!(version));
                put("magic", json!(1));
            }
            Key::Config { subject, .. } => {
                put("keytype", json!("CONFIG"));
                put("subject", global(subject));
                put("magic", json!(0));
            }
            Key::Mode { subject, .. } => {
                put("keytype", json!("MODE"));
                put("subject", global(subject));
                put("magic", json!(0));
            }
            Key::DeleteSubject { subject, .. } => {
                put("keytype", json!("DELETE_SUBJECT"));
                put("subject", json!(subject.to_string()));
                put("magic", json!(0));
            }
            Key::Noop => {
                put("keytype", json!("NOOP"));
                put("magic", json!(0));
            }
        }
        let Sequence { offset, node } = self.sequence();
        if let Some(offset) = offset {
            put("seq", json!(offset));
        }
        if let Some(node) = node {
            put("node", json!(node));
        }
        Value::Object(key).to_string().into_bytes()
    }
}

impl Content {
    fn write(&self, key: &Key) -> Option<Vec<u8>> {
        let value = match (self, key) {
            (Content::Tombstone, _) => return None,
            (Content::Schema { definition, id, deleted }, Key::Schema { subject, version, .. }) => {
                let mut value = Map::new();
                value.insert("subject".to_owned(), json!(subject.to_string()));
                value.insert("version".to_owned(), json!(version));
                value.insert("id".to_owned(), json!(id));
                if !definition.schema_type.is_avro() {
                    value.insert("schemaType".to_owned(), json!(definition.schema_type));
                }
                value.insert("schema".to_owned(), json!(definition.text));
                if !definition.references.is_empty() {
                    value.insert("references".to_owned(), json!(definition.references));
                }
                value.insert("deleted".to_owned(), json!(deleted));
                Value::Object(value)
            }
            (Content::Config(level), _) => json!({"compatibilityLevel": level}),
            (Content::Mode(mode), _) => json!({"mode": mode}),
            (Content::DeleteSubject, Key::DeleteSubject { subject, .. }) => {
                json!({"subject": subject.to_string()})
            }
            _ => json!({}),
        };
        Some(value.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_round_trip(key: &str, value: Option<&str>) -> Record {
        let record = Record::read(key.as_bytes(), value.map(str::as_bytes)).unwrap();
        let (written_key, written_value) = record.write();
        assert_eq!(String::from_utf8(written_key).unwrap(), key);
        assert_eq!(written_value.map(|value| String::from_utf8(value).unwrap()).as_deref(), value);
        record
    }

    #[test]
    fn records_are_read_and_written_alike() {
        assert_round_trip(
            r#"{"keytype":"SCHEMA","subject":"orders-value","version":1,"magic":1,"seq":42,"node":2}"#,
            Some(r#"{"subject":"orders-value","version":1,"id":7,"schema":"\"string\"","deleted":true}"#),
        );
        assert_round_trip(
            r#"{"keytype":"SCHEMA","subject":":.ctx:o","version":3,"magic":1}"#,
            Some(
                r#"{"subject":":.ctx:o","version":3,"id":1,"schemaType":"PROTOBUF","schema":"x","references":[{"name":"a.proto","subject":"a","version":2}],"deleted":false}"#,
            ),
        );
        assert_round_trip(
            r#"{"keytype":"CONFIG","subject":null,"magic":0,"seq":0,"node":0}"#,
            Some(r#"{"compatibilityLevel":"FORWARD_TRANSITIVE"}"#),
        );
        assert_round_trip(r#"{"keytype":"MODE","subject":"o","magic":0}"#, Some(r#"{"mode":"READONLY"}"#));
        assert_round_trip(
            r#"{"keytype":"DELETE_SUBJECT","subject":"o","magic":0,"seq":9,"node":1}"#,
            Some(r#"{"subject":"o"}"#),
        );
        assert_round_trip(r#"{"keytype":"NOOP","magic":0}"#, Some("{}"));
        assert_round_trip(r#"{"keytype":"MODE","subject":"o","magic":0,"seq":1,"node":1}"#, None);
    }

    #[test]
    fn confluent_s_extra_fields_are_passed_over() {
        let key = br#"{"keytype":"DELETE_SUBJECT","subject":"o","magic":0}"#;
        let record = Record::read(key, Some(br#"{"subject":"o","version":4}"#)).unwrap();
        assert_eq!(record.content, Content::DeleteSubject);
        let key = br#"{"keytype":"SCHEMA","subject":"o","version":1,"magic":1}"#;
        let value = br#"{"subject":"o","version":1,"id":1,"md5":"x","schema":"\"int\"","references":null}"#;
        assert!(Record::read(key, Some(value)).is_ok());
    }

    #[test]
    fn other_records_are_errors() {
        for key in [
            "",
            "{}",
            "[]",
            r#"{"keytype":"CLEAR_SUBJECT","subject":"o","magic":0}"#,
            r#"{"keytype":"SCHEMA","magic":1}"#,
        ] {
            assert!(matches!(Record::read(key.as_bytes(), None), Err(RecordError::Key(_))), "{key}");
        }
        let key = br#"{"keytype":"CONFIG","subject":null,"magic":0}"#;
        assert!(matches!(Record::read(key, Some(b"{}")), Err(RecordError::Value(_))));
    }
}
