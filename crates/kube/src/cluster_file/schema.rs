//! The JSON Schema of what the cluster file reads by hand: texts that are more than texts, and lists that may be one.
//!
//! A schema is for editors, which complete and mark; what it lets pass is still read and checked by the file's own rules.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{NamePattern, NodePortAddresses, ServiceRef, Targets};

/// One text, or a list of them.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "it stands for a form of text in schemas only")]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// A Kubernetes quantity: `4`, `500m`, `16Gi`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "it stands for a form of text in schemas only")]
pub(super) enum Quantity {
    Number(f64),
    Text(String),
}

macro_rules! written_as {
    ($($type:ty, $name:literal => $schema:tt;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

written_as! {
    ServiceRef, "ServiceRef" => {
        "description": "A Service, as NAMESPACE/NAME.",
        "type": "string",
        "pattern": "^[^/]+/[^/]+$"
    };
    NamePattern, "NamePattern" => {
        "description": "A DNS name, or *.DOMAIN for the names below a domain.",
        "type": "string"
    };
    NodePortAddresses, "NodePortAddresses" => {
        "description": "Networks, or the one entry `primary`.",
        "type": "array",
        "items": {"type": "string"}
    };
    Targets, "Targets" => {
        "description": "An address, node/NAME or service/NAMESPACE/NAME, or a list of them.",
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "string"}, "minItems": 1}
        ]
    };
}
