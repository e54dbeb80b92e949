//! Reading a fault: fields of its own, and one that is what happens.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, VariantAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Fault, FaultKind, Trigger, catalogue};
use crate::scenario::Duration;

/// The fields of a fault beside the one that says what happens.
const FIELDS: [&str; 7] = ["at", "when", "for", "name", "gracePeriod", "force", "mayMiss"];

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FaultVisitor)
    }
}

/// A fault as far as it was read.
#[derive(Default)]
struct Parts {
    at: Option<Duration>,
    when: Option<Trigger>,
    lasts: Option<Duration>,
    name: Option<String>,
    kind: Option<FaultKind>,
    grace_period: Option<Duration>,
    force: bool,
    may_miss: bool,
}

impl Parts {
    /// The fault, if its parts fit together.
    fn fault(self) -> Result<Fault, String> {
        let Parts { at, when, lasts, name, kind, grace_period, force, may_miss } = self;
        // What waits for something happens at once if it is not told to wait longer.
        let at = at.or(when.as_ref().map(|_| Duration::default()));
        let at = at
            .ok_or("a fault needs its time: `at` (after the start), or `when` (after an event or a fault)")?;
        let kind = kind.ok_or(
            "a fault needs what happens beside `at`; expected `deletePod: NAMESPACE/NAME` or another fault",
        )?;
        if (grace_period.is_some() || force) && !matches!(kind, FaultKind::DeletePod(_)) {
            return Err("`gracePeriod` and `force` go with `deletePod` only".to_owned());
        }
        if lasts.is_some() && kind.undo().is_none() {
            let undoable = catalogue::entries().filter(|entry| entry.undo.is_some()).map(|entry| entry.field);
            let undoable = undoable.collect::<Vec<_>>().join(", ");
            let field = kind.field();
            return Err(format!(
                "nothing undoes `{field}`, so it has no `for`; what can be undone: {undoable}"
            ));
        }
        Ok(Fault { at, when, lasts, name, kind, grace_period, force, may_miss })
    }
}

struct FaultVisitor;

impl<'de> Visitor<'de> for FaultVisitor {
    type Value = Fault;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping with `at` and what happens, such as `deletePod: NAMESPACE/NAME`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fault, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "at" => parts.at = Some(map.next_value()?),
                "when" => parts.when = Some(map.next_value()?),
                "for" => parts.lasts = Some(map.next_value()?),
                "name" => parts.name = Some(map.next_value()?),
                "gracePeriod" => parts.grace_period = Some(map.next_value()?),
                "force" => parts.force = map.next_value()?,
                "mayMiss" => parts.may_miss = map.next_value()?,
                _ => {
                    let read = FaultKind::deserialize(Entry { key: &key, map: &mut map })?;
                    if let Some(known) = parts.kind.replace(read) {
                        let why = format!(
                            "a fault is one thing that happens, and this one is `{}` already; make another fault of \
                             `{key}`",
                            known.field()
                        );
                        return Err(A::Error::custom(why));
                    }
                }
            }
        }
        parts.fault().map_err(A::Error::custom)
    }
}

/// One entry of a mapping as an enum: the key is the variant, the value what it holds.
struct Entry<'a, A> {
    key: &'a str,
    map: &'a mut A,
}

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Entry<'_, A> {
    type Error = A::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        if variants.contains(&self.key) {
            return visitor.visit_enum(self);
        }
        // In the words of an unknown field, which it is for whoever wrote it.
        let known: Vec<String> = FIELDS.iter().chain(variants).map(|known| format!("`{known}`")).collect();
        Err(A::Error::custom(format!("unknown field `{}`, expected one of {}", self.key, known.join(", "))))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de, A: MapAccess<'de>> EnumAccess<'de> for Entry<'_, A> {
    type Error = A::Error;
    type Variant = Self;

    fn variant_seed<S: serde::de::DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), A::Error> {
        let key: StrDeserializer<'_, A::Error> = self.key.into_deserializer();
        Ok((seed.deserialize(key)?, self))
    }
}

impl<'de, A: MapAccess<'de>> VariantAccess<'de> for Entry<'_, A> {
    type Error = A::Error;

    fn newtype_variant_seed<S: serde::de::DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }

    fn unit_variant(self) -> Result<(), A::Error> {
        Err(A::Error::custom("every fault holds a value"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("every fault holds one value"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, A::Error> {
        Err(A::Error::custom("every fault holds one value"))
    }
}
