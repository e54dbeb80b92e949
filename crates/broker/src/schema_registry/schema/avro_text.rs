//! The normalized text of an Avro schema: one text for all that differ only in how they are written.
//!
//! Attributes come in the order of the specification's parsing canonical form, then those that it drops, by
//! name; a primitive type is written without braces; a name that is in the enclosing namespace loses its
//! prefix. Documentation, defaults and other attributes stay, because readers may need them. Source: Avro
//! specification, "Transforming into Parsing Canonical Form"; Confluent's documentation, "Schema
//! normalization".

use serde_json::{Map, Value};

const ORDER: [&str; 12] = [
    "type",
    "name",
    "namespace",
    "doc",
    "aliases",
    "fields",
    "symbols",
    "items",
    "values",
    "size",
    "default",
    "order",
];
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The normalized form.
pub(super) fn normalized(schema: &Value) -> Value {
    normalize(schema, None)
}

fn normalize(schema: &Value, namespace: Option<&str>) -> Value {
    match schema {
        Value::String(name) => Value::String(relative(name, namespace)),
        Value::Array(branches) => {
            Value::Array(branches.iter().map(|branch| normalize(branch, namespace)).collect())
        }
        Value::Object(attributes) => normalize_object(attributes, namespace),
        other => other.clone(),
    }
}

fn relative(name: &str, namespace: Option<&str>) -> String {
    let inside = namespace.and_then(|namespace| name.strip_prefix(namespace)?.strip_prefix('.'));
    match inside {
        Some(short) if !short.contains('.') && !PRIMITIVES.contains(&short) => short.to_owned(),
        _ => name.to_owned(),
    }
}

fn normalize_object(attributes: &Map<String, Value>, namespace: Option<&str>) -> Value {
    let primitive = attributes.get("type").and_then(Value::as_str).filter(|name| PRIMITIVES.contains(name));
    if let (Some(name), 1) = (primitive, attributes.len()) {
        return Value::String(name.to_owned());
    }
    let written = attributes.get("name").and_then(Value::as_str);
    let (own_namespace, name) = match written.and_then(|name| name.rsplit_once('.')) {
        Some((prefix, name)) => (Some(prefix), Some(name)),
        None => (attributes.get("namespace").and_then(Value::as_str).or(namespace), written),
    };
    // A type that is only used here (an array, a map) leaves the enclosing namespace as it is.
    let inner = if written.is_some() { own_namespace } else { namespace };
    let mut normal = Map::new();
    let rest: std::collections::BTreeMap<&String, &Value> =
        attributes.iter().filter(|(key, _)| !ORDER.contains(&key.as_str())).collect();
    for key in ORDER {
        let value = match key {
            "name" => name.map(|name| Value::String(name.to_owned())),
            "namespace" if written.is_some() => own_namespace
                .filter(|own| !own.is_empty() && Some(*own) != namespace)
                .map(|own| Value::String(own.to_owned())),
            _ => attributes.get(key).map(|value| attribute(key, value, inner)),
        };
        if let Some(value) = value {
            normal.insert(key.to_owned(), value);
        }
    }
    normal.extend(rest.into_iter().map(|(key, value)| (key.clone(), value.clone())));
    Value::Object(normal)
}

fn attribute(key: &str, value: &Value, namespace: Option<&str>) -> Value {
    match (key, value) {
        ("type" | "items" | "values", schema) => normalize(schema, namespace),
        ("fields", Value::Array(fields)) => {
            Value::Array(fields.iter().map(|field| normalize_field(field, namespace)).collect())
        }
        (_, other) => other.clone(),
    }
}

fn normalize_field(field: &Value, namespace: Option<&str>) -> Value {
    let Value::Object(attributes) = field else { return field.clone() };
    let mut normal = Map::new();
    for key in ["name", "type"] {
        if let Some(value) = attributes.get(key) {
            let value = if key == "type" { normalize(value, namespace) } else { value.clone() };
            normal.insert(key.to_owned(), value);
        }
    }
    let rest: std::collections::BTreeMap<&String, &Value> = attributes.iter().collect();
    for (key, value) in rest {
        // Fields are in ascending order unless they say otherwise.
        let is_default_order = key == "order" && value == "ascending";
        if !normal.contains_key(key) && !is_default_order {
            normal.insert(key.clone(), value.clone());
        }
    }
    Value::Object(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_normal(schema: &str, expected: &str) {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let normal = normalized(&schema);
        assert_eq!(normal.to_string(), expected);
        assert_eq!(normalized(&normal), normal, "normalizing twice changes something");
    }

    #[test]
    fn writings_of_one_schema_become_one() {
        assert_normal(r#"{"type":"string"}"#, r#""string""#);
        assert_normal(
            r#"{"fields":[{"type":{"type":"int"},"name":"a","order":"ascending","doc":"d","default":1}],
                "name":"com.acme.R","type":"record"}"#,
            r#"{"type":"record","name":"R","namespace":"com.acme","fields":[{"name":"a","type":"int","default":1,"doc":"d"}]}"#,
        );
    }

    #[test]
    fn names_inside_the_namespace_are_short() {
        assert_normal(
            r#"{"type":"record","name":"R","namespace":"com.acme","fields":[
                {"name":"e","type":{"type":"enum","name":"E","namespace":"com.acme","symbols":["A"]}},
                {"name":"f","type":["null","com.acme.E","org.other.T"]}]}"#,
            r#"{"type":"record","name":"R","namespace":"com.acme","fields":[{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},{"name":"f","type":["null","E","org.other.T"]}]}"#,
        );
    }

    #[test]
    fn other_attributes_stay() {
        assert_normal(
            r#"{"scale":2,"logicalType":"decimal","precision":4,"type":"bytes"}"#,
            r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        );
    }
}
