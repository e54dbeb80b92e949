//! Types, values, numbers and strings.

use serde_json::Value;

use super::{Checker, Schema};

const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// The types that a schema allows; `number` allows integers too.
fn types(schema: &Schema) -> Vec<&'static str> {
    let named = |name: &Value| TYPES.into_iter().find(|known| name == known);
    match schema.get("type") {
        Some(Value::String(_)) => schema.get("type").and_then(named).into_iter().collect(),
        Some(Value::Array(names)) => names.iter().filter_map(named).collect(),
        _ => TYPES.into_iter().filter(|name| *name != "integer").collect(),
    }
}

/// Whether a value of this type can fit the schema.
pub(super) fn may_be(schema: &Schema, name: &str) -> bool {
    types(schema).iter().any(|known| *known == name || (name == "number" && *known == "integer"))
}

/// The values that `enum` or `const` allow.
fn values<'a>(schema: &Schema<'a>) -> Option<Vec<&'a Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().collect()),
        _ => None,
    }
}

impl Checker {
    pub(super) fn compare_types(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let (own, written) = (types(reader), types(writer));
        let reads = |name: &&str| own.contains(name) || (*name == "integer" && own.contains(&"number"));
        if written.iter().all(reads) {
            return;
        }
        // Values that are listed have types of their own.
        if let Some(values) = values(writer)
            && values.iter().all(|value| own.iter().any(|name| is_of_type(value, name)))
        {
            return;
        }
        let kind = if written.iter().any(reads) { "TYPE_NARROWED" } else { "TYPE_CHANGED" };
        let description = format!("the types were {written:?} and are {own:?}").replace('"', "'");
        self.report(kind, format!("{path}/type"), description);
    }

    pub(super) fn compare_values(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let Some(own) = values(reader) else { return };
        let at = format!("{path}/{}", if reader.get("const").is_some() { "const" } else { "enum" });
        match values(writer) {
            None => self.report("ENUM_ARRAY_ADDED", at, "only listed values are allowed now"),
            Some(written) => {
                let gone = written.iter().filter(|value| !own.contains(value)).count();
                if gone > 0 {
                    let all = gone == written.len() || own.len() >= written.len();
                    let kind = if all { "ENUM_ARRAY_CHANGED" } else { "ENUM_ARRAY_NARROWED" };
                    self.report(kind, at, format!("{gone} of the listed values are gone"));
                }
            }
        }
    }

    pub(super) fn compare_numbers(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        for (upper, plain, exclusive) in
            [(true, "maximum", "exclusiveMaximum"), (false, "minimum", "exclusiveMinimum")]
        {
            let sign = if upper { 1.0 } else { -1.0 };
            let (own, written) = (bounds(reader, plain, exclusive), bounds(writer, plain, exclusive));
            let inside = |own: f64, strict: bool| {
                let by_plain = written.plain.is_some_and(|written| {
                    let (own, written) = (own * sign, written * sign);
                    if strict { written < own } else { written <= own }
                });
                by_plain || written.exclusive.is_some_and(|written| written * sign <= own * sign)
            };
            let kinds = match (upper, written.plain.is_some() || written.exclusive.is_some()) {
                (true, false) => ("MAXIMUM_ADDED", "EXCLUSIVE_MAXIMUM_ADDED"),
                (true, true) => ("MAXIMUM_DECREASED", "EXCLUSIVE_MAXIMUM_DECREASED"),
                (false, false) => ("MINIMUM_ADDED", "EXCLUSIVE_MINIMUM_ADDED"),
                (false, true) => ("MINIMUM_INCREASED", "EXCLUSIVE_MINIMUM_INCREASED"),
            };
            if let Some(bound) = own.plain.filter(|bound| !inside(*bound, false)) {
                self.report(kinds.0, format!("{path}/{plain}"), format!("the bound is {bound} now"));
            }
            if let Some(bound) = own.exclusive.filter(|bound| !inside(*bound, true)) {
                self.report(kinds.1, format!("{path}/{exclusive}"), format!("the bound is {bound} now"));
            }
        }
        let Some(own) = reader.number("multipleOf") else { return };
        let at = format!("{path}/multipleOf");
        match writer.number("multipleOf") {
            None => self.report("MULTIPLE_OF_ADDED", at, format!("only multiples of {own} are allowed now")),
            Some(written) => {
                let quotient = written / own;
                if (quotient - quotient.round()).abs() > f64::EPSILON * quotient.abs() {
                    let kind = if own > written { "MULTIPLE_OF_EXPANDED" } else { "MULTIPLE_OF_CHANGED" };
                    self.report(kind, at, format!("it was {written} and is {own}"));
                }
            }
        }
    }

    pub(super) fn compare_strings(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        self.compare_limit(reader, writer, path, "maxLength", ("MAX_LENGTH_ADDED", "MAX_LENGTH_DECREASED"));
        self.compare_limit(reader, writer, path, "minLength", ("MIN_LENGTH_ADDED", "MIN_LENGTH_INCREASED"));
        let (own, written) = (reader.get("pattern"), writer.get("pattern"));
        if own.is_some() && own != written {
            let kind = if written.is_none() { "PATTERN_ADDED" } else { "PATTERN_CHANGED" };
            self.report(kind, format!("{path}/pattern"), "another pattern has to match");
        }
    }

    /// A limit of size: `max…` must not fall, `min…` must not rise.
    pub(super) fn compare_limit(
        &mut self,
        reader: &Schema,
        writer: &Schema,
        path: &str,
        keyword: &str,
        (added, tightened): (&'static str, &'static str),
    ) {
        let Some(own) = reader.number(keyword) else { return };
        let upper = keyword.starts_with("max");
        // At least none is no limit.
        if !upper && own <= 0.0 {
            return;
        }
        let (kind, tighter) = match writer.number(keyword) {
            None => (added, true),
            Some(written) => (tightened, if upper { own < written } else { own > written }),
        };
        if tighter {
            self.report(kind, format!("{path}/{keyword}"), format!("the limit is {own} now"));
        }
    }
}

struct Bounds {
    plain: Option<f64>,
    exclusive: Option<f64>,
}

/// Draft 4 says with a boolean that the plain bound is exclusive.
fn bounds(schema: &Schema, plain: &str, exclusive: &str) -> Bounds {
    let bound = schema.number(plain);
    match schema.get(exclusive) {
        Some(Value::Bool(true)) => Bounds { plain: None, exclusive: bound },
        _ => Bounds { plain: bound, exclusive: schema.number(exclusive) },
    }
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::Number(number) => {
            let whole =
                number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|n| n.fract() == 0.0);
            name == "number" || (name == "integer" && whole)
        }
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
    }
}
