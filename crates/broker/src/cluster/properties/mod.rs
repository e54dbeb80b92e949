//! The cluster's properties: what they are called, which values they take, and what a change asks for.
//!
//! A property is a row of a table ([`table::ALL`]). A value is stored only if it was set; every other
//! property has its default. Values are JSON; as in the real API, a text that reads as the wanted type is
//! taken for it (`"5"` for 5). Source: redpanda.md 3.1.1 (`cluster_config`), 4.4 (defaults).

mod rules;
mod table;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub(crate) use rules::{problems, secrets_hidden};

/// What values a property takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    /// A whole number between two bounds, both included; the unit is `ms`, `s`, `bytes` or empty.
    Integer {
        min: i64,
        max: i64,
        unit: &'static str,
    },
    /// A number between two bounds, both included.
    Number {
        min: f64,
        max: f64,
    },
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
    /// A list of these words.
    Choices(&'static [&'static str]),
}

/// What a property is when it is not set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text(&'static str),
    List(&'static [&'static str]),
}

/// Who a property is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    User,
    Tunable,
    Deprecated,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Literal,
    pub needs_restart: bool,
    pub visibility: Visibility,
    pub nullable: bool,
    pub secret: bool,
    pub description: &'static str,
}

/// Every property, by name.
pub(crate) fn all() -> impl Iterator<Item = &'static Property> {
    table::ALL.iter()
}

/// A property by its name.
pub(crate) fn find(name: &str) -> Option<&'static Property> {
    let index = table::ALL.binary_search_by(|property| property.name.cmp(name)).ok()?;
    Some(&table::ALL[index])
}

/// The value of a property: what is set, or the default. `Null` for a name that is no property.
pub(crate) fn value_of(set: &BTreeMap<String, Value>, name: &str) -> Value {
    set.get(name).cloned().unwrap_or_else(|| find(name).map_or(Value::Null, Property::default_value))
}

/// The value of a boolean property.
pub(crate) fn flag(set: &BTreeMap<String, Value>, name: &str) -> bool {
    value_of(set, name).as_bool().unwrap_or(false)
}

/// The value of a whole-number property; `None` if it is null.
pub(crate) fn integer(set: &BTreeMap<String, Value>, name: &str) -> Option<i64> {
    value_of(set, name).as_i64()
}

impl Property {
    pub fn default_value(&self) -> Value {
        match self.default {
            Literal::Null => Value::Null,
            Literal::Boolean(value) => json!(value),
            Literal::Integer(value) => json!(value),
            Literal::Number(value) => json!(value),
            Literal::Text(value) => json!(value),
            Literal::List(values) => json!(values),
        }
    }

    /// The value as it is stored, or what is wrong with it.
    pub fn read(&self, value: &Value) -> Result<Value, String> {
        if value.is_null() {
            return if self.nullable { Ok(Value::Null) } else { Err("the property cannot be null".into()) };
        }
        match self.kind {
            Kind::Boolean => boolean(value).map(Value::Bool),
            Kind::Integer { min, max, .. } => integer_between(value, min, max),
            Kind::Number { min, max } => number_between(value, min, max),
            Kind::Text => text(value).map(Value::String),
            Kind::Choice(words) => text(value).and_then(|word| one_of(&word, words)).map(Value::String),
            Kind::List => list(value, Ok),
            Kind::Choices(words) => list(value, |word| one_of(&word, words)),
        }
    }

    /// Its entry of `cluster_config/schema`.
    pub fn schema(&self) -> Value {
        let mut schema = json!({
            "description": self.description,
            "type": self.type_name(),
            "needs_restart": self.needs_restart,
            "visibility": self.visibility.as_str(),
            "nullable": self.nullable,
            "is_secret": self.secret,
        });
        match self.kind {
            Kind::Integer { min, max, unit } => {
                if !unit.is_empty() {
                    schema["units"] = json!(unit);
                }
                schema["minimum"] = json!(min);
                schema["maximum"] = json!(max);
            }
            Kind::Choice(words) => schema["enum_values"] = json!(words),
            Kind::List | Kind::Choices(_) => schema["items"] = json!({"type": "string"}),
            Kind::Boolean | Kind::Number { .. } | Kind::Text => {}
        }
        schema
    }

    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Boolean => "boolean",
            Kind::Integer { .. } => "integer",
            Kind::Number { .. } => "number",
            Kind::Text | Kind::Choice(_) => "string",
            Kind::List | Kind::Choices(_) => "array",
        }
    }
}

impl Visibility {
    fn as_str(self) -> &'static str {
        match self {
            Visibility::User => "user",
            Visibility::Tunable => "tunable",
            Visibility::Deprecated => "deprecated",
        }
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text == "true" => Ok(true),
        Value::String(text) if text == "false" => Ok(false),
        other => Err(format!("expected true or false, got {other}")),
    }
}

fn integer_between(value: &Value, min: i64, max: i64) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    };
    let number = number.ok_or_else(|| format!("expected a whole number, got {value}"))?;
    if number < min || number > max {
        return Err(format!("{number} is out of range; use {min} to {max}"));
    }
    Ok(json!(number))
}

fn number_between(value: &Value, min: f64, max: f64) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let number = number.filter(|number: &f64| number.is_finite());
    let number = number.ok_or_else(|| format!("expected a number, got {value}"))?;
    if number < min || number > max {
        return Err(format!("{number} is out of range; use {min} to {max}"));
    }
    Ok(json!(number))
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(format!("expected a text, got {other}")),
    }
}

fn one_of(word: &str, words: &[&str]) -> Result<String, String> {
    if words.contains(&word) {
        return Ok(word.to_owned());
    }
    Err(format!("\"{word}\" is not taken; use one of {}", words.join(", ")))
}

fn list(value: &Value, element: impl Fn(String) -> Result<String, String>) -> Result<Value, String> {
    let Value::Array(items) = value else { return Err(format!("expected a list, got {value}")) };
    let read = items.iter().map(|item| text(item).and_then(&element).map(Value::String));
    read.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_values() {
        let names: Vec<&str> = all().map(|property| property.name).collect();
        assert!(names.is_sorted(), "{:?}", names.windows(2).find(|pair| pair[0] >= pair[1]));
        for property in all() {
            let default = property.default_value();
            assert_eq!(property.read(&default), Ok(default.clone()), "{}", property.name);
            assert!(property.description.ends_with('.'), "{}", property.name);
            assert_eq!(find(property.name).unwrap().name, property.name);
        }
    }

    #[test]
    fn values_are_read_by_kind() {
        let read = |name: &str, value: Value| find(name).unwrap().read(&value);
        assert_eq!(read("auto_create_topics_enabled", json!("true")), Ok(json!(true)));
        assert!(read("auto_create_topics_enabled", json!(1)).is_err());
        assert_eq!(read("default_topic_partitions", json!("12")), Ok(json!(12)));
        assert!(read("default_topic_partitions", json!(0)).unwrap_err().contains("out of range"));
        assert!(read("default_topic_partitions", Value::Null).is_err());
        assert_eq!(read("kafka_connections_max", Value::Null), Ok(Value::Null));
        assert_eq!(read("superusers", json!(["a", "b"])), Ok(json!(["a", "b"])));
        assert!(read("sasl_mechanisms", json!(["CRAM"])).is_err());
        assert!(read("partition_autobalancing_mode", json!("sometimes")).unwrap_err().contains("node_add"));
    }

    #[test]
    fn the_schema_tells_what_a_client_needs() {
        let schema = find("log_segment_size").unwrap().schema();
        assert_eq!((&schema["type"], &schema["units"]), (&json!("integer"), &json!("bytes")));
        assert_eq!(find("superusers").unwrap().schema()["items"]["type"], "string");
        assert_eq!(find("kafka_connections_max").unwrap().schema()["nullable"], true);
    }
}
