//! From a JSON value to a type of the API, the way the API server's decoder reads it.
//!
//! k8s-openapi's own deserialization ignores unknown fields, gives missing required fields a default, and
//! takes quantities as text only. Its types name their fields to serde, and that is enough to do better: the
//! deserializer here sees each struct's name and fields, and
//! * collects the fields that the struct does not have,
//! * reports a required field that is missing (`required.rs`),
//! * takes numbers for quantities, and checks their form.
//!
//! Source: Kubernetes API conventions, "Objects" and "Quantity".

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

use super::required::required_fields;
use crate::source::{FieldPath, Segment};

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
    let found = RefCell::new(Vec::new());
    let typed = Typed { value, trail: &Trail::Root, unknown: &found };
    let result = serde_path_to_error::deserialize(typed).map_err(|error| DecodeError {
        path: crate::source::field_path(error.path()),
        said: error.into_inner().to_string(),
    });
    unknown.append(&mut found.into_inner());
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

/// The steps from the root to the value at hand, kept on the stack.
enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    fn path(&self) -> FieldPath {
        let mut segments = Vec::new();
        let mut at = self;
        loop {
            at = match at {
                Trail::Root => break,
                Trail::Key(parent, key) => {
                    segments.push(Segment::Key((*key).to_owned()));
                    parent
                }
                Trail::Index(parent, index) => {
                    segments.push(Segment::Index(*index));
                    parent
                }
            };
        }
        segments.into_iter().rev().collect()
    }
}

/// A value that is being decoded.
struct Typed<'de, 't> {
    value: &'de Value,
    trail: &'t Trail<'t>,
    unknown: &'t RefCell<Vec<Unknown>>,
}

impl<'de> Typed<'de, '_> {
    fn visit_fields<V: Visitor<'de>>(
        &self,
        fields: &'de Map<String, Value>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields {
            rest: fields.iter(),
            current: None,
            trail: self.trail,
            unknown: self.unknown,
        })
    }

    /// Collects unknown fields; the first required field that is missing is an error.
    fn check_fields(
        &self,
        name: &str,
        known: &'static [&'static str],
        fields: &Map<String, Value>,
    ) -> Result<(), Error> {
        for key in fields.keys().filter(|key| !known.contains(&key.as_str())) {
            self.unknown.borrow_mut().push(Unknown { path: self.trail.path().key(key.as_str()), known });
        }
        match required_fields(name).iter().find(|required| !fields.contains_key(**required)) {
            Some(missing) => Err(Error::missing_field(missing)),
            None => Ok(()),
        }
    }
}

/// Hands these calls to `serde_json`'s own deserializer: nothing below them is a struct of the API.
macro_rules! scalar_types {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.value.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Typed<'de, '_> {
    type Error = Error;

    scalar_types! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name != "Quantity" {
            return visitor.visit_newtype_struct(self);
        }
        let text = match self.value {
            Value::Number(number) => number.to_string(),
            Value::String(text) => text.clone(),
            _ => return Err(unexpected(self.value, &QUANTITY)),
        };
        if !is_quantity(&text) {
            return Err(unexpected(self.value, &QUANTITY));
        }
        let text: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
        visitor.visit_newtype_struct(text)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => {
                self.check_fields(name, known, fields)?;
                self.visit_fields(fields, visitor)
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => self.visit_fields(fields, visitor),
            other => Err(unexpected(other, &visitor)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(elements) => {
                let elements = elements.iter().enumerate();
                visitor.visit_seq(Elements { rest: elements, trail: self.trail, unknown: self.unknown })
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    forward_to_deserialize_any! { i128 u128 unit_struct tuple tuple_struct enum }
}

struct Fields<'de, 't> {
    rest: serde_json::map::Iter<'de>,
    current: Option<(&'de str, &'de Value)>,
    trail: &'t Trail<'t>,
    unknown: &'t RefCell<Vec<Unknown>>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.rest.next() else { return Ok(None) };
        self.current = Some((key, value));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, value) = self.current.take().ok_or_else(|| Error::custom("a value without its key"))?;
        let trail = Trail::Key(self.trail, key);
        seed.deserialize(Typed { value, trail: &trail, unknown: self.unknown })
    }
}

struct Elements<'de, 't> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    trail: &'t Trail<'t>,
    unknown: &'t RefCell<Vec<Unknown>>,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        let trail = Trail::Index(self.trail, index);
        seed.deserialize(Typed { value, trail: &trail, unknown: self.unknown }).map(Some)
    }
}

const QUANTITY: &str = "a quantity such as 500m, 2 or 1Gi";

/// serde's message for a value of the wrong type.
fn unexpected(value: &Value, expected: &dyn serde::de::Expected) -> Error {
    use serde::de::Unexpected;
    let found = match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(_) => Unexpected::Other("a number"),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    };
    Error::invalid_type(found, expected)
}

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
