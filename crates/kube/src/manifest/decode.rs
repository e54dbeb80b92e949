//! From a JSON value to a type of the API, the way the API server's decoder reads it.
//!
//! k8s-openapi's own deserialization ignores unknown fields, gives missing required fields a default, and
//! takes quantities as text only. The rules here
//! * collect the fields that a struct does not have,
//! * report a required field that is missing (`required.rs`),
//! * take numbers for quantities, and check their form.
//!
//! Source: Kubernetes API conventions, "Objects" and "Quantity".

use std::cell::RefCell;

use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Error, Map, Value};

use super::required::required_fields;
use crate::source::{FieldPath, Rules, Trail, Typed, field_path, unexpected};

/// A field that its struct does not have, and the fields that it has.
#[derive(Debug)]
pub struct Unknown {
    pub path: FieldPath,
    pub known: &'static [&'static str],
}

/// What is wrong with a value, in serde's words, and where.
pub struct DecodeError {
    pub path: FieldPath,
    pub said: String,
}

/// Decodes `value`; unknown fields are added to `unknown`.
pub fn decode<T: DeserializeOwned>(value: &Value, unknown: &mut Vec<Unknown>) -> Result<T, DecodeError> {
    let rules = ApiRules::default();
    let result = serde_path_to_error::deserialize(Typed::root(value, &rules)).map_err(|error| DecodeError {
        path: field_path(error.path()),
        said: error.into_inner().to_string(),
    });
    unknown.append(&mut rules.unknown.into_inner());
    result
}

/// Removes null fields, which the API server treats as absent. Nulls in lists stay: an element that is null
/// is an error of its type.
pub fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The rules of the API's types.
#[derive(Default)]
struct ApiRules {
    unknown: RefCell<Vec<Unknown>>,
}

impl Rules for ApiRules {
    fn check_struct(
        &self,
        trail: &Trail<'_>,
        name: &str,
        known: &'static [&'static str],
        fields: &Map<String, Value>,
    ) -> Result<(), Error> {
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.unknown.borrow_mut().push(Unknown { path: trail.path().key(key.as_str()), known });
        }
        match required_fields(name).iter().find(|required| !fields.contains_key(**required)) {
            Some(missing) => Err(Error::missing_field(missing)),
            None => Ok(()),
        }
    }

    fn newtype_text(&self, name: &str, value: &Value) -> Result<Option<String>, Error> {
        if name != "Quantity" {
            return Ok(None);
        }
        let text = match value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(unexpected(value, &QUANTITY)),
        };
        if is_quantity(&text) { Ok(Some(text)) } else { Err(unexpected(value, &QUANTITY)) }
    }
}

const QUANTITY: &str = "a quantity such as 500m, 2 or 1Gi";

/// Whether `text` is a quantity: a decimal number with a suffix or an exponent.
pub fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 16] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let has_digit = number.bytes().any(|byte| byte.is_ascii_digit());
    let has_one_point_at_most = number.bytes().filter(|&byte| byte == b'.').count() <= 1;
    let exponent = suffix.strip_prefix(['e', 'E']).map(|exp| exp.strip_prefix(['+', '-']).unwrap_or(exp));
    let is_exponent = exponent.is_some_and(|exp| !exp.is_empty() && exp.bytes().all(|b| b.is_ascii_digit()));
    has_digit && has_one_point_at_most && (is_exponent || SUFFIXES.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for text in ["0", "1", "500m", "1.5Gi", "2e3", "1E", "1E3", "-1", "+.5", "10Ki", "100n"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "Gi", "1GB", "1.2.3", "one", "1 Gi", "1e", "e3", "1gi", "."] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn nulls_are_dropped_from_mappings_at_every_level() {
        let mut value = serde_json::json!({"a": null, "b": [{"c": null, "d": 1}, null]});
        drop_nulls(&mut value);
        assert_eq!(value, serde_json::json!({"b": [{"d": 1}, null]}));
    }
}
