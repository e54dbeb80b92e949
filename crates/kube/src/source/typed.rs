//! A deserializer over JSON values that lets rules see each struct before it is read.
//!
//! serde tells a deserializer the name and the fields of the struct that it is asked for. [`Rules`] get both,
//! with the fields that the value has and where it is. Without any rules there is one difference to
//! `serde_json`'s own deserializer: a struct is read from a mapping only, never from a list by position.

use serde::de::value::{MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

use super::path::{FieldPath, Segment};

/// What is asked about each struct and newtype on the way.
pub trait Rules {
    /// Called for the struct `name` with the `known` fields before it is read from `fields`, which are at
    /// `trail`.
    fn check_struct(
        &self,
        trail: &Trail<'_>,
        name: &str,
        known: &'static [&'static str],
        fields: &Map<String, Value>,
    ) -> Result<(), Error>;

    /// The text to read the newtype `name` from, if it is to be read from another text than the value's own.
    fn newtype_text(&self, name: &str, value: &Value) -> Result<Option<String>, Error>;
}

/// No rules beyond the types.
pub struct NoRules;

impl Rules for NoRules {
    fn check_struct(
        &self,
        _: &Trail<'_>,
        _: &str,
        _: &'static [&'static str],
        _: &Map<String, Value>,
    ) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_text(&self, _: &str, _: &Value) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

/// The steps from the root to the value at hand, kept on the stack.
pub enum Trail<'t> {
    Root,
    Key(&'t Trail<'t>, &'t str),
    Index(&'t Trail<'t>, usize),
}

impl Trail<'_> {
    /// The steps as a path.
    pub fn path(&self) -> FieldPath {
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

/// A value that is being read.
pub struct Typed<'de, 't> {
    value: &'de Value,
    trail: &'t Trail<'t>,
    rules: &'t dyn Rules,
}

impl<'de, 't> Typed<'de, 't> {
    /// The root of a document.
    pub fn root(value: &'de Value, rules: &'t dyn Rules) -> Typed<'de, 't> {
        Typed { value, trail: &Trail::Root, rules }
    }

    fn visit_fields<V: Visitor<'de>>(
        &self,
        fields: &'de Map<String, Value>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { rest: fields.iter(), current: None, trail: self.trail, rules: self.rules })
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
        match self.rules.newtype_text(name, self.value)? {
            Some(text) => {
                let text: StringDeserializer<Error> = text.into_deserializer();
                visitor.visit_newtype_struct(text)
            }
            None => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) if fields.len() == 1 => {
                let fields =
                    Fields { rest: fields.iter(), current: None, trail: self.trail, rules: self.rules };
                MapAccessDeserializer::new(fields).deserialize_enum(name, variants, visitor)
            }
            Value::String(_) | Value::Object(_) => self.value.deserialize_enum(name, variants, visitor),
            other => {
                let expected = format!("one of {}", variants.join(", "));
                Err(unexpected(other, &expected.as_str()))
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => {
                self.rules.check_struct(self.trail, name, known, fields)?;
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
                visitor.visit_seq(Elements { rest: elements, trail: self.trail, rules: self.rules })
            }
            other => Err(unexpected(other, &visitor)),
        }
    }

    forward_to_deserialize_any! { i128 u128 unit_struct tuple_struct }
}

struct Fields<'de, 't> {
    rest: serde_json::map::Iter<'de>,
    current: Option<(&'de str, &'de Value)>,
    trail: &'t Trail<'t>,
    rules: &'t dyn Rules,
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
        seed.deserialize(Typed { value, trail: &trail, rules: self.rules })
    }
}

struct Elements<'de, 't> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    trail: &'t Trail<'t>,
    rules: &'t dyn Rules,
}

impl<'de> SeqAccess<'de> for Elements<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        let trail = Trail::Index(self.trail, index);
        seed.deserialize(Typed { value, trail: &trail, rules: self.rules }).map(Some)
    }
}

/// serde's message for a value of the wrong type.
pub fn unexpected(value: &Value, expected: &dyn serde::de::Expected) -> Error {
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
