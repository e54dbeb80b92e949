//! Objects: properties, and the content model that says what other properties there may be.

use std::collections::BTreeSet;

use regex::RegexBuilder;
use serde_json::{Map, Value};

use super::{Checker, Schema};

/// Bytes that a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

fn has_default(schema: &Schema) -> bool {
    schema.get("default").is_some() || schema.followed().get("default").is_some()
}

/// The schema of properties that nothing else names.
fn additional<'a>(schema: &Schema<'a>) -> Schema<'a> {
    let keys = ["additionalProperties", "unevaluatedProperties"];
    keys.iter().find_map(|key| schema.part(key)).unwrap_or_else(|| schema.anything())
}

/// What a property that is not among `properties` has to be, by its name.
fn undeclared<'a>(schema: &Schema<'a>, name: &str) -> Vec<Schema<'a>> {
    let patterns = schema.entries("patternProperties").into_iter().flatten();
    let matching: Vec<Schema> = patterns
        .filter(|(pattern, _)| {
            let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            pattern.is_ok_and(|pattern| pattern.is_match(name))
        })
        .map(|(_, value)| schema.with(value))
        .collect();
    if matching.is_empty() { vec![additional(schema)] } else { matching }
}

fn required<'a>(schema: &Schema<'a>) -> BTreeSet<&'a str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Checker {
    pub(super) fn compare_objects(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        self.compare_limit(
            reader,
            writer,
            path,
            "maxProperties",
            ("MAX_PROPERTIES_ADDED", "MAX_PROPERTIES_DECREASED"),
        );
        self.compare_limit(
            reader,
            writer,
            path,
            "minProperties",
            ("MIN_PROPERTIES_ADDED", "MIN_PROPERTIES_INCREASED"),
        );
        self.compare_properties(reader, writer, path);
        self.compare_patterns(reader, writer, path);
        self.compare_additional(reader, writer, path);
        self.compare_required(reader, writer, path);
        self.compare_dependencies(reader, writer, path);
        if let Some(own) = reader.part("propertyNames") {
            let written = writer.part("propertyNames").unwrap_or_else(|| writer.anything());
            self.compare(&own, &written, &format!("{path}/propertyNames"));
        }
    }

    fn compare_properties(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let empty = Map::new();
        let own = reader.entries("properties").unwrap_or(&empty);
        let written = writer.entries("properties").unwrap_or(&empty);
        for (name, value) in own {
            let at = format!("{path}/properties/{name}");
            let property = reader.with(value);
            match written.get(name) {
                Some(written) => self.compare(&property, &writer.with(written), &at),
                None => self.added_property(&property, &undeclared(writer, name), &at),
            }
        }
        for (name, value) in written.iter().filter(|(name, _)| !own.contains_key(*name)) {
            let at = format!("{path}/properties/{name}");
            self.removed_property(&undeclared(reader, name), &writer.with(value), &at);
        }
    }

    /// A property that the writer did not know by name: what it may have written under it has to fit.
    fn added_property(&mut self, reader: &Schema, before: &[Schema], path: &str) {
        let covered = before.iter().any(|before| {
            before.allows_nothing() || self.reads(|checker| checker.compare(reader, before, path))
        });
        if covered {
            return;
        }
        let kind = match before.iter().all(Schema::allows_anything) {
            true => "PROPERTY_ADDED_TO_OPEN_CONTENT_MODEL",
            false => "PROPERTY_ADDED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        };
        self.report(kind, path, "a property of this name could be anything else before");
    }

    fn removed_property(&mut self, now: &[Schema], writer: &Schema, path: &str) {
        let covered = now.iter().all(|now| self.reads(|checker| checker.compare(now, writer, path)));
        if covered {
            return;
        }
        let kind = match now.iter().any(Schema::allows_nothing) {
            true => "PROPERTY_REMOVED_FROM_CLOSED_CONTENT_MODEL",
            false => "PROPERTY_REMOVED_NOT_COVERED_BY_PARTIALLY_OPEN_CONTENT_MODEL",
        };
        self.report(kind, path, "what was written under this name is not allowed any more");
    }

    fn compare_patterns(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let empty = Map::new();
        let own = reader.entries("patternProperties").unwrap_or(&empty);
        let written = writer.entries("patternProperties").unwrap_or(&empty);
        for (pattern, value) in own {
            let at = format!("{path}/patternProperties/{pattern}");
            let property = reader.with(value);
            match written.get(pattern) {
                Some(written) => self.compare(&property, &writer.with(written), &at),
                None => self.added_property(&property, &[additional(writer)], &at),
            }
        }
        for (pattern, value) in written.iter().filter(|(pattern, _)| !own.contains_key(*pattern)) {
            let at = format!("{path}/patternProperties/{pattern}");
            self.removed_property(&[additional(reader)], &writer.with(value), &at);
        }
    }

    fn compare_additional(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let (own, written) = (additional(reader), additional(writer));
        let at = format!("{path}/additionalProperties");
        if own.allows_nothing() && !written.allows_nothing() {
            self.report("ADDITIONAL_PROPERTIES_REMOVED", at, "there may be no further properties any more");
        } else if written.allows_anything() && !own.allows_anything() {
            self.report("ADDITIONAL_PROPERTIES_NARROWED", at, "further properties could be anything before");
        } else {
            self.compare(&own, &written, &at);
        }
    }

    /// What is required anew may be missing in what was written, unless the reader has a default for it.
    fn compare_required(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let before = required(writer);
        for name in required(reader).difference(&before) {
            let own = reader.entries("properties").and_then(|properties| properties.get(*name));
            if own.is_some_and(|property| has_default(&reader.with(property))) {
                continue;
            }
            let known = writer.entries("properties").is_some_and(|properties| properties.contains_key(*name));
            let kind = match known {
                true => "REQUIRED_ATTRIBUTE_ADDED",
                false => "REQUIRED_PROPERTY_ADDED_TO_UNOPEN_CONTENT_MODEL",
            };
            self.report(kind, format!("{path}/required/{name}"), "it is required now and has no default");
        }
    }

    fn compare_dependencies(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let keys = ["dependencies", "dependentRequired", "dependentSchemas"];
        let find = |schema: &Schema, name: &str| -> Option<Value> {
            keys.iter().find_map(|key| schema.entries(key)?.get(name).cloned())
        };
        for key in keys {
            for (name, own) in reader.entries(key).into_iter().flatten() {
                let at = format!("{path}/{key}/{name}");
                match (own, find(writer, name)) {
                    (Value::Array(own), Some(Value::Array(written))) => {
                        if !own.iter().all(|needed| written.contains(needed)) {
                            self.report("DEPENDENCY_ARRAY_EXTENDED", at, "more properties are needed");
                        }
                    }
                    (Value::Array(_), _) => {
                        self.report("DEPENDENCY_ARRAY_ADDED", at, "other properties are needed now");
                    }
                    (own, Some(written)) if !written.is_array() => {
                        // Both are schemas for the whole object; only the text can be compared in place.
                        if *own != written {
                            self.report(
                                "DEPENDENCY_SCHEMA_CHANGED",
                                at,
                                "the object has to fit another schema",
                            );
                        }
                    }
                    _ => self.report("DEPENDENCY_SCHEMA_ADDED", at, "the object has to fit a schema now"),
                }
            }
        }
    }
}
