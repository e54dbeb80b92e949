//! Avro schemas, read by `apache-avro`.
//!
//! The stored form is the JSON as it was posted, without white space. Source: the Avro specification, "Schema
//! Declaration" and "Names".

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{ArraySchema, MapSchema, RecordSchema};
use serde_json::Value;

use super::{Resolved, SchemaError, avro_text};

/// A parsed Avro schema with the named types that it can refer to.
#[derive(Clone, Debug)]
pub(crate) struct AvroSchema {
    json: Value,
    root: Schema,
    /// The definition of each named type, by full name.
    names: BTreeMap<String, Schema>,
}

impl AvroSchema {
    /// # Errors
    /// What `apache-avro` says; references have to be named types (records, enumerations, fixed).
    pub fn parse(text: &str, references: &[Resolved]) -> Result<AvroSchema, SchemaError> {
        let json = read_json(text)?;
        let mut texts: Vec<&str> = Vec::new();
        for reference in references {
            // One type may be reached by several references.
            if !texts.contains(&&*reference.text) {
                texts.push(&reference.text);
            }
        }
        let written = json.to_string();
        let (root, referenced) = Schema::parse_str_with_list(&written, texts).map_err(SchemaError::new)?;
        let mut names = BTreeMap::new();
        for schema in referenced.iter().chain([&root]) {
            collect_names(schema, &mut names);
        }
        Ok(AvroSchema { json, root, names })
    }

    pub fn text(&self, normalize: bool) -> String {
        if normalize { avro_text::normalized(&self.json).to_string() } else { self.json.to_string() }
    }

    pub fn root(&self) -> &Schema {
        &self.root
    }

    /// The definition that a reference stands for; other schemas stand for themselves.
    pub fn definition<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        match schema {
            Schema::Ref { name } => self.names.get(&name.fullname(None)).unwrap_or(schema),
            other => other,
        }
    }
}

/// A schema's JSON. A bare primitive name without quotes is taken too, as Redpanda does.
fn read_json(text: &str) -> Result<Value, SchemaError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(SchemaError::new("the schema is empty"));
    }
    match serde_json::from_str(trimmed) {
        Ok(json) => Ok(json),
        Err(_) if trimmed.bytes().all(|byte| byte.is_ascii_lowercase()) => {
            Ok(Value::String(trimmed.to_owned()))
        }
        Err(error) => Err(SchemaError::new(error)),
    }
}

fn collect_names(schema: &Schema, names: &mut BTreeMap<String, Schema>) {
    if !matches!(schema, Schema::Ref { .. })
        && let Some(name) = schema.name()
    {
        names.insert(name.fullname(None), schema.clone());
    }
    match schema {
        Schema::Array(ArraySchema { items, .. }) => collect_names(items, names),
        Schema::Map(MapSchema { types, .. }) => collect_names(types, names),
        Schema::Union(union) => union.variants().iter().for_each(|schema| collect_names(schema, names)),
        Schema::Record(RecordSchema { fields, .. }) => {
            fields.iter().for_each(|field| collect_names(&field.schema, names));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: &str, normalize: bool) -> String {
        AvroSchema::parse(schema, &[]).unwrap().text(normalize)
    }

    #[test]
    fn white_space_goes_and_order_stays() {
        let posted = "{ \"name\" : \"R\", \"type\": \"record\",\n \"fields\": [] }";
        assert_eq!(text(posted, false), r#"{"name":"R","type":"record","fields":[]}"#);
        assert_eq!(text("\"string\"", false), r#""string""#);
        assert_eq!(text("string", false), r#""string""#);
    }

    #[test]
    fn what_is_no_schema_is_an_error() {
        for bad in
            ["", "{", "{\"type\":\"nothing\"}", "nothing", "[\"int\",\"int\"]", "5", "{\"type\":\"record\"}"]
        {
            assert!(AvroSchema::parse(bad, &[]).is_err(), "{bad}");
        }
        let deep = format!("{}\"int\"{}", "{\"type\":\"array\",\"items\":".repeat(2000), "}".repeat(2000));
        assert!(AvroSchema::parse(&deep, &[]).is_err());
    }

    #[test]
    fn references_are_named_types() {
        let address = Resolved {
            name: "com.acme.Address".to_owned(),
            text: r#"{"type":"record","name":"Address","namespace":"com.acme","fields":[]}"#.into(),
        };
        let customer = r#"{"type":"record","name":"Customer","namespace":"com.acme","fields":[
            {"name":"home","type":"Address"},{"name":"work","type":"com.acme.Address"}]}"#;
        assert!(AvroSchema::parse(customer, &[]).is_err());
        let schema = AvroSchema::parse(customer, &[address.clone(), address]).unwrap();
        let Schema::Record(record) = schema.root() else { panic!("a record") };
        for field in &record.fields {
            assert!(matches!(schema.definition(&field.schema), Schema::Record(_)), "{}", field.name);
        }
    }
}
