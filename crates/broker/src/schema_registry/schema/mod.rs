//! Schemas: what a client posts, what is stored, and what is compared.
//!
//! A [`Definition`] is text with a type and references. [`parse`] reads it with the library of its type
//! (`apache-avro`, `jsonschema`, `protox`) and gives the form that is stored; [`Parsed::can_read`] compares
//! two parsed schemas. Left out: metadata and rule sets of Confluent's data contracts.

pub(crate) mod avro;
mod avro_compatibility;
mod avro_text;
pub(crate) mod json;
mod json_compatibility;
pub(crate) mod protobuf;
mod protobuf_compatibility;
mod protobuf_text;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// References followed from one schema, in all: a graph of documents is finite, but not small by itself.
pub(crate) const REFERENCES_MAX: usize = 1000;

/// The language of a schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum SchemaType {
    #[default]
    Avro,
    Json,
    Protobuf,
}

impl SchemaType {
    pub fn is_avro(&self) -> bool {
        *self == SchemaType::Avro
    }

    pub fn as_str(self) -> &'static str {
        match self {
            SchemaType::Avro => "AVRO",
            SchemaType::Json => "JSON",
            SchemaType::Protobuf => "PROTOBUF",
        }
    }

    pub fn parse(text: &str) -> Option<SchemaType> {
        [SchemaType::Avro, SchemaType::Json, SchemaType::Protobuf]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}

impl fmt::Display for SchemaType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Another schema that this one builds on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// How the schema's text names it: an Avro full name, a URI of a JSON Schema, a file of a Protobuf import.
    pub name: String,
    pub subject: String,
    pub version: i32,
}

/// A schema as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Definition {
    pub schema_type: SchemaType,
    pub text: Arc<str>,
    pub references: Vec<Reference>,
}

/// A referenced schema with the name that it is referenced by. Those it builds on come before it.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub name: String,
    pub text: Arc<str>,
}

/// Why a text is not a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SchemaError(pub String);

impl SchemaError {
    fn new(problem: impl fmt::Display) -> SchemaError {
        SchemaError(problem.to_string())
    }
}

/// A schema that its library understood.
#[derive(Clone, Debug)]
pub(crate) enum Parsed {
    Avro(avro::AvroSchema),
    Json(json::JsonSchema),
    Protobuf(protobuf::ProtobufSchema),
}

/// Reads a schema's text.
///
/// # Errors
/// What the library of the type says about it.
pub(crate) fn parse(
    schema_type: SchemaType,
    text: &str,
    references: &[Resolved],
) -> Result<Parsed, SchemaError> {
    match schema_type {
        SchemaType::Avro => avro::AvroSchema::parse(text, references).map(Parsed::Avro),
        SchemaType::Json => json::JsonSchema::parse(text, references).map(Parsed::Json),
        SchemaType::Protobuf => protobuf::ProtobufSchema::parse(text, references).map(Parsed::Protobuf),
    }
}

impl Parsed {
    /// The text that is stored: without insignificant white space, or, normalized, the same for all texts that
    /// mean the same.
    pub fn text(&self, normalize: bool) -> String {
        match self {
            Parsed::Avro(schema) => schema.text(normalize),
            Parsed::Json(schema) => schema.text(normalize),
            Parsed::Protobuf(schema) => schema.text(normalize),
        }
    }

    /// Whether both mean the same although their texts may differ.
    pub fn is_same(&self, other: &Parsed) -> bool {
        match (self, other) {
            (Parsed::Protobuf(own), Parsed::Protobuf(other)) => own.is_same(other),
            _ => false,
        }
    }

    /// What keeps a reader with this schema from reading what `writer` describes; empty if nothing does. Each
    /// entry is one incompatibility in the registry's notation.
    pub fn can_read(&self, writer: &Parsed) -> Vec<String> {
        let found = match (self, writer) {
            (Parsed::Avro(reader), Parsed::Avro(writer)) => avro_compatibility::check(reader, writer),
            (Parsed::Json(reader), Parsed::Json(writer)) => json_compatibility::check(reader, writer),
            (Parsed::Protobuf(reader), Parsed::Protobuf(writer)) => {
                protobuf_compatibility::check(reader, writer)
            }
            _ => vec![Incompatibility::new(
                "SCHEMA_TYPE_CHANGED",
                "/",
                "the schemas are of different types, and data of one cannot be read with the other",
            )],
        };
        found.iter().map(Incompatibility::to_string).collect()
    }
}

/// One difference that breaks readers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incompatibility {
    kind: &'static str,
    path: String,
    description: String,
}

impl Incompatibility {
    fn new(kind: &'static str, path: impl Into<String>, description: impl Into<String>) -> Incompatibility {
        Incompatibility { kind, path: path.into(), description: description.into() }
    }

    #[cfg(test)]
    fn kind_and_path(&self) -> (&'static str, &str) {
        (self.kind, &self.path)
    }
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{{errorType:\"{}\", description:\"{}\", path:\"{}\"}}",
            self.kind, self.description, self.path
        )
    }
}
