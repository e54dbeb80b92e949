//! JSON Schemas, checked against their meta-schema by `jsonschema`.
//!
//! The stored form is the JSON as it was posted, without white space; normalized, with the keys of every
//! object in alphabetical order. Drafts 4 to 2020-12; a schema without `$schema` is read as `jsonschema` reads
//! it (2020-12). Source: json-schema.org, "JSON Schema Core"; redpanda.md 3.4.

use std::collections::BTreeMap;

use jsonschema::{Registry, Resource, Retrieve, Uri};
use serde_json::{Map, Value};

use super::{Resolved, SchemaError};

/// The name that the schema has among its references where it gives itself none.
const ROOT: &str = "json-schema:///";

/// A JSON Schema with the documents that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct JsonSchema {
    json: Value,
    /// By the name in the references.
    documents: BTreeMap<String, Value>,
}

impl JsonSchema {
    /// # Errors
    /// What is not JSON, what the meta-schema forbids, and references to nothing.
    pub fn parse(text: &str, references: &[Resolved]) -> Result<JsonSchema, SchemaError> {
        let json = read_json(text)?;
        if !json.is_object() && !json.is_boolean() {
            return Err(SchemaError::new("a JSON Schema is an object or a boolean"));
        }
        jsonschema::meta::options().validate(&json).map_err(|error| {
            let place = error.instance_path().to_string();
            SchemaError::new(format!("{error} (at '{place}')"))
        })?;
        let mut documents = BTreeMap::new();
        for reference in references {
            documents.insert(reference.name.clone(), read_json(&reference.text)?);
        }
        let schema = JsonSchema { json, documents };
        schema.check_references()?;
        Ok(schema)
    }

    pub fn text(&self, normalize: bool) -> String {
        if normalize { sorted(&self.json).to_string() } else { self.json.to_string() }
    }

    /// Where the schema itself is found in [`JsonSchema::registry`].
    pub fn base(&self) -> Result<Uri<String>, SchemaError> {
        let id = ["$id", "id"].iter().find_map(|key| self.json.get(key)?.as_str());
        let id = id.unwrap_or_default().trim_end_matches('#');
        let root = jsonschema::uri::from_str(ROOT).map_err(SchemaError::new)?;
        jsonschema::uri::resolve_against(&root.borrow(), id).map_err(SchemaError::new)
    }

    /// All documents, for following references.
    pub fn registry(&self) -> Result<Registry<'static>, SchemaError> {
        let base = self.base()?;
        let mut builder = Registry::new().retriever(Nowhere);
        for (name, document) in &self.documents {
            // A reference is written as the schema's text has it: relative to the schema, or in full.
            let uri = jsonschema::uri::resolve_against(&base.borrow(), name).map_err(SchemaError::new)?;
            builder = builder
                .add(uri.as_str(), Resource::from_contents(document.clone()))
                .map_err(SchemaError::new)?;
        }
        let root = Resource::from_contents(self.json.clone());
        builder.add(base.as_str(), root).and_then(|builder| builder.prepare()).map_err(SchemaError::new)
    }

    fn check_references(&self) -> Result<(), SchemaError> {
        let registry = self.registry()?;
        let resolver = registry.resolver(self.base()?);
        let mut open = vec![(&self.json, resolver)];
        while let Some((value, resolver)) = open.pop() {
            let resolver = match value.get("$id").and_then(Value::as_str) {
                // The root's own, and those that are data and no schema, may not be found.
                Some(id) => resolver.lookup(id).map_or(resolver, |found| found.resolver().clone()),
                None => resolver,
            };
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                resolver
                    .lookup(reference)
                    .map_err(|error| SchemaError::new(format!("$ref '{reference}': {error}")))?;
            }
            match value {
                Value::Object(entries) => {
                    // Values of these are data, in which "$ref" is a key like another.
                    let schemas = entries.iter().filter(|(key, _)| {
                        !matches!(key.as_str(), "enum" | "const" | "default" | "examples")
                    });
                    open.extend(schemas.map(|(_, entry)| (entry, resolver.clone())));
                }
                Value::Array(entries) => open.extend(entries.iter().map(|entry| (entry, resolver.clone()))),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Fetches nothing: what a schema needs is among its references.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("'{uri}' is not among the schema's references").into())
    }
}

fn read_json(text: &str) -> Result<Value, SchemaError> {
    if text.trim().is_empty() {
        return Err(SchemaError::new("the schema is empty"));
    }
    serde_json::from_str(text).map_err(SchemaError::new)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let entries: BTreeMap<&String, &Value> = entries.iter().collect();
            let entries = entries.into_iter().map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(entries.collect::<Map<String, Value>>())
        }
        Value::Array(entries) => Value::Array(entries.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compact_and_sorted_when_normalized() {
        let schema =
            JsonSchema::parse("{ \"type\": \"object\",\n \"additionalProperties\": false }", &[]).unwrap();
        assert_eq!(schema.text(false), r#"{"type":"object","additionalProperties":false}"#);
        assert_eq!(schema.text(true), r#"{"additionalProperties":false,"type":"object"}"#);
    }

    #[test]
    fn the_meta_schema_of_the_draft_decides() {
        let draft =
            |draft: &str, rest: &str| JsonSchema::parse(&format!(r#"{{"$schema":"{draft}",{rest}}}"#), &[]);
        let exclusive = r#""type":"integer","maximum":5,"exclusiveMaximum":true"#;
        assert!(draft("http://json-schema.org/draft-04/schema#", exclusive).is_ok());
        assert!(draft("http://json-schema.org/draft-07/schema#", exclusive).is_err());
        let bad = ["", "{", "5", r#"{"type":"nothing"}"#, r#"{"properties":[]}"#, r#"{"required":"a"}"#];
        for bad in bad {
            assert!(JsonSchema::parse(bad, &[]).is_err(), "{bad}");
        }
        assert!(draft("http://example.com/unknown", r#""type":"string""#).is_err());
        assert!(JsonSchema::parse(&"[".repeat(100_000), &[]).is_err());
    }

    #[test]
    fn references_lead_somewhere() {
        let ok = [
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}"##,
            r##"{"items":{"$ref":"#"}}"##,
            r##"{"enum":[{"$ref":"#/nothing"}]}"##,
            r##"{"$id":"http://acme.com/a.json","$ref":"b.json","$defs":{"b":{"$id":"b.json"}}}"##,
        ];
        for ok in ok {
            JsonSchema::parse(ok, &[]).unwrap_or_else(|error| panic!("{ok}: {error}"));
        }
        for reference in ["#/$defs/a", "http://example.com/x", "x.json"] {
            let error = JsonSchema::parse(&format!(r#"{{"$ref":"{reference}"}}"#), &[]).unwrap_err();
            assert!(error.0.contains(reference), "{error}");
        }
        let other = Resolved {
            name: "customer.json".to_owned(),
            text: r##"{"$defs":{"id":{"type":"integer"}},"type":"object"}"##.into(),
        };
        for schema in [
            r##"{"$ref":"customer.json"}"##,
            r##"{"$ref":"customer.json#/$defs/id"}"##,
            r##"{"$id":"http://acme.com/order.json","$ref":"customer.json"}"##,
        ] {
            JsonSchema::parse(schema, std::slice::from_ref(&other)).unwrap();
        }
    }
}
