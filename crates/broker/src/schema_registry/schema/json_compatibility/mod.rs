//! Whether everything that one JSON Schema allows is allowed by another: the registry's rules, keyword by
//! keyword.
//!
//! A reader's schema is a conjunction: its own keywords, its `$ref`, each part of its `allOf`, its `anyOf`,
//! its `oneOf` and its `not`. Each has to be implied by the writer's. Objects and arrays follow the documented
//! rules of open, partially open and closed content models. What no rule is documented for (`if`, `contains`)
//! must not change. Source: Confluent's documentation, "JSON Schema serializer", JSON Schema compatibility
//! rules; redpanda.md 3.4. Left out: `format` and other annotations, `unevaluatedItems`.

mod array;
mod object;
mod scalar;

use std::collections::BTreeSet;

use jsonschema::{Registry, Uri};
use serde_json::{Map, Value};

use super::Incompatibility;
use super::json::JsonSchema;

/// Schemas inside schemas, references followed.
const DEPTH_MAX: usize = 200;
/// Comparisons of two schemas made for one answer; alternatives of alternatives multiply.
const COMPARISONS_MAX: usize = 50_000;
/// References that lead to references.
const REFERENCES_IN_A_ROW_MAX: usize = 50;

/// What keeps `reader` from reading data of `writer`.
pub(super) fn check(reader: &JsonSchema, writer: &JsonSchema) -> Vec<Incompatibility> {
    match (Documents::of(reader), Documents::of(writer)) {
        (Ok(reader), Ok(writer)) => check_documents(&reader, &writer),
        (Err(error), _) | (_, Err(error)) => {
            vec![Incompatibility::new("UNKNOWN", "#", format!("the schema cannot be followed: {error}"))]
        }
    }
}

fn check_documents(reader: &Documents, writer: &Documents) -> Vec<Incompatibility> {
    let (Some(reader), Some(writer)) = (reader.root(), writer.root()) else { return Vec::new() };
    let mut checker =
        Checker { found: BTreeSet::new(), under_way: BTreeSet::new(), depth: 0, comparisons: 0 };
    checker.compare(&reader, &writer, "#");
    checker.found.into_iter().collect()
}

struct Documents {
    registry: Registry<'static>,
    base: Uri<String>,
}

impl Documents {
    fn of(schema: &JsonSchema) -> Result<Documents, super::SchemaError> {
        Ok(Documents { registry: schema.registry()?, base: schema.base()? })
    }

    fn root(&self) -> Option<Schema<'_>> {
        let found = self.registry.resolver(self.base.clone()).lookup("#").ok()?;
        Some(Schema {
            value: found.contents(),
            base: found.resolver().base_uri().as_ref().clone(),
            documents: self,
        })
    }
}

/// A schema and where it is, so that its references can be followed.
#[derive(Clone)]
struct Schema<'a> {
    value: &'a Value,
    base: Uri<String>,
    documents: &'a Documents,
}

static ANYTHING: Value = Value::Bool(true);

impl<'a> Schema<'a> {
    fn with(&self, value: &'a Value) -> Schema<'a> {
        let id = value.get("$id").and_then(Value::as_str);
        let base = id.and_then(|id| jsonschema::uri::resolve_against(&self.base.borrow(), id).ok());
        Schema { value, base: base.unwrap_or_else(|| self.base.clone()), documents: self.documents }
    }

    fn anything(&self) -> Schema<'a> {
        Schema { value: &ANYTHING, base: self.base.clone(), documents: self.documents }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.value.get(key)
    }

    fn part(&self, key: &str) -> Option<Schema<'a>> {
        self.get(key).map(|value| self.with(value))
    }

    fn parts(&self, key: &str) -> Vec<Schema<'a>> {
        let parts = self.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        parts.iter().map(|part| self.with(part)).collect()
    }

    fn entries(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.get(key).and_then(Value::as_object)
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Value::as_f64)
    }

    /// Where `$ref` and its relatives lead.
    fn reference(&self) -> Option<Schema<'a>> {
        let reference =
            ["$ref", "$dynamicRef", "$recursiveRef"].iter().find_map(|key| self.get(key)?.as_str())?;
        let found = self.documents.registry.resolver(self.base.clone()).lookup(reference).ok()?;
        let base = found.resolver().base_uri().as_ref().clone();
        Some(Schema { value: found.contents(), base, documents: self.documents })
    }

    /// The schema that this one only refers to, or itself.
    fn followed(&self) -> Schema<'a> {
        let mut schema = self.clone();
        for _ in 0..REFERENCES_IN_A_ROW_MAX {
            match schema.reference() {
                Some(target) if !schema.has_own_keywords() => schema = target,
                _ => break,
            }
        }
        schema
    }

    /// Whether anything besides references, parts and annotations restricts values.
    fn has_own_keywords(&self) -> bool {
        let no_restriction = |key: &str| {
            key.starts_with('$')
                || matches!(
                    key,
                    "id" | "title"
                        | "description"
                        | "default"
                        | "examples"
                        | "definitions"
                        | "deprecated"
                        | "readOnly"
                        | "writeOnly"
                        | "format"
                        | "allOf"
                        | "anyOf"
                        | "oneOf"
                        | "not"
                )
        };
        self.value.as_object().is_some_and(|keys| !keys.keys().all(|key| no_restriction(key)))
    }

    fn allows_anything(&self) -> bool {
        let schema = self.followed();
        match schema.value {
            Value::Bool(allows) => *allows,
            Value::Object(_) => {
                let parts = ["allOf", "anyOf", "oneOf", "not", "$ref", "$dynamicRef", "$recursiveRef"];
                !schema.has_own_keywords() && parts.iter().all(|key| schema.get(key).is_none())
            }
            _ => false,
        }
    }

    fn allows_nothing(&self) -> bool {
        *self.followed().value == Value::Bool(false)
    }

    /// The sum type that the schema is, if it is one.
    fn alternatives(&self) -> Option<(&'static str, Vec<Schema<'a>>)> {
        ["oneOf", "anyOf"]
            .into_iter()
            .find(|key| self.get(key).is_some_and(Value::is_array))
            .map(|key| (key, self.parts(key)))
    }
}

struct Checker {
    found: BTreeSet<Incompatibility>,
    /// Pairs of schemas, by where they are in memory, that are being compared: a recursive one meets itself.
    under_way: BTreeSet<(usize, usize)>,
    depth: usize,
    comparisons: usize,
}

impl Checker {
    fn report(&mut self, kind: &'static str, path: impl Into<String>, description: impl Into<String>) {
        self.found.insert(Incompatibility::new(kind, path, description));
    }

    /// Whether one reads the other, without reporting why not.
    fn reads(&mut self, compare: impl FnOnce(&mut Checker)) -> bool {
        let before = std::mem::take(&mut self.found);
        compare(self);
        std::mem::replace(&mut self.found, before).is_empty()
    }

    fn compare(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let (reader, writer) = (reader.followed(), writer.followed());
        let pair = (std::ptr::from_ref(reader.value) as usize, std::ptr::from_ref(writer.value) as usize);
        self.comparisons += 1;
        if self.depth == DEPTH_MAX || self.comparisons > COMPARISONS_MAX {
            self.report("UNKNOWN", "#", "the schemas are too deep or too large to be compared");
            return;
        }
        if reader.allows_anything() || writer.allows_nothing() || !self.under_way.insert(pair) {
            return;
        }
        self.depth += 1;
        if reader.allows_nothing() {
            self.report("TYPE_NARROWED", path, "nothing is allowed any more");
        } else {
            self.compare_conjunction(&reader, &writer, path);
        }
        self.depth -= 1;
        self.under_way.remove(&pair);
    }

    fn compare_conjunction(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        if reader.has_own_keywords() {
            self.compare_own_keywords(reader, writer, path);
        }
        if let Some(target) = reader.reference() {
            self.compare(&target, writer, path);
        }
        self.compare_all_of(reader, writer, path);
        self.compare_alternatives(reader, writer, path);
        self.compare_not(reader, writer, path);
    }

    /// The reader's own keywords against the writer's, or against any part that the writer's values have to
    /// fit, or against each alternative.
    fn compare_own_keywords(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        if self.reads(|checker| checker.compare_keywords(reader, writer, path)) {
            return;
        }
        let mut implied = writer.parts("allOf");
        implied.extend(writer.reference());
        let implies = |checker: &mut Checker, part: &Schema| {
            checker.reads(|checker| checker.compare_keywords_with(reader, part, path))
        };
        if implied.iter().any(|part| implies(self, part)) {
            return;
        }
        if let Some((_, alternatives)) = writer.alternatives()
            && alternatives.iter().all(|part| implies(self, part))
        {
            return;
        }
        self.compare_keywords(reader, writer, path);
    }

    fn compare_keywords_with(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        self.comparisons += 1;
        if self.depth == DEPTH_MAX || self.comparisons > COMPARISONS_MAX {
            self.report("UNKNOWN", "#", "the schemas are too deep or too large to be compared");
            return;
        }
        self.depth += 1;
        let writer = writer.followed();
        if !writer.allows_nothing() {
            self.compare_own_keywords(reader, &writer, path);
        }
        self.depth -= 1;
    }

    fn compare_keywords(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        self.compare_types(reader, writer, path);
        self.compare_values(reader, writer, path);
        if scalar::may_be(writer, "number") {
            self.compare_numbers(reader, writer, path);
        }
        if scalar::may_be(writer, "string") {
            self.compare_strings(reader, writer, path);
        }
        if scalar::may_be(writer, "array") {
            self.compare_arrays(reader, writer, path);
        }
        if scalar::may_be(writer, "object") {
            self.compare_objects(reader, writer, path);
        }
        for key in ["if", "then", "else"] {
            if reader.get(key).is_some() && reader.get(key) != writer.get(key) {
                self.report("CONDITION_CHANGED", format!("{path}/{key}"), "a condition is new or changed");
            }
        }
    }

    fn compare_all_of(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let (own, written) = (reader.parts("allOf"), writer.parts("allOf"));
        let unread: Vec<usize> = (0..own.len())
            .filter(|index| {
                let part = &own[*index];
                let by_whole = self.reads(|checker| checker.compare(part, writer, path));
                !by_whole
                    && !written
                        .iter()
                        .any(|written| self.reads(|checker| checker.compare(part, written, path)))
            })
            .collect();
        if unread.is_empty() {
            return;
        }
        let kind = match own.len() > written.len() {
            true => "PRODUCT_TYPE_EXTENDED",
            false => "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
        };
        let description = format!("parts {unread:?} of allOf are not implied by what was allowed before");
        self.report(kind, format!("{path}/allOf"), description);
    }

    fn compare_alternatives(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let Some((keyword, own)) = reader.alternatives() else { return };
        let at = format!("{path}/{keyword}");
        let Some((written_keyword, written)) = writer.alternatives() else {
            let some = own.iter().any(|part| self.reads(|checker| checker.compare(part, writer, path)));
            if !some {
                let description = format!("no part of {keyword} allows what was allowed before");
                self.report("COMBINED_TYPE_SUBSCHEMAS_CHANGED", at, description);
            }
            return;
        };
        if keyword == "oneOf" && written_keyword == "anyOf" && written.len() > 1 {
            let description = "anyOf became oneOf, which allows no value that fits two parts";
            self.report("COMBINED_TYPE_CHANGED", at, description);
            return;
        }
        let readers: Vec<Vec<usize>> = written
            .iter()
            .map(|written| {
                let reads =
                    |index: &usize| self.reads(|checker| checker.compare(&own[*index], written, path));
                (0..own.len()).filter(reads).collect()
            })
            .collect();
        let matched = match keyword {
            // Each part of the reader can stand for one of the writer's only.
            "oneOf" => matching(&readers, own.len()),
            _ => readers.iter().filter(|readers| !readers.is_empty()).count(),
        };
        if matched < written.len() {
            let kind = match own.len() < written.len() {
                true => "SUM_TYPE_NARROWED",
                false => "COMBINED_TYPE_SUBSCHEMAS_CHANGED",
            };
            let description = format!("{matched} of {} parts of {keyword} are still allowed", written.len());
            self.report(kind, at, description);
        }
    }

    fn compare_not(&mut self, reader: &Schema, writer: &Schema, path: &str) {
        let Some(forbidden) = reader.part("not") else { return };
        let written = writer.part("not");
        let before =
            written.is_some_and(|written| self.reads(|checker| checker.compare(&written, &forbidden, path)));
        if !before {
            self.report("NOT_TYPE_EXTENDED", format!("{path}/not"), "more is forbidden than before");
        }
    }
}

/// How many of the writers can get a reader of their own: a maximum bipartite matching by augmenting paths.
fn matching(readers: &[Vec<usize>], count: usize) -> usize {
    fn assign(
        writer: usize,
        readers: &[Vec<usize>],
        visited: &mut [bool],
        owner: &mut [Option<usize>],
    ) -> bool {
        for &reader in &readers[writer] {
            if std::mem::replace(&mut visited[reader], true) {
                continue;
            }
            let free = match owner[reader] {
                Some(other) => assign(other, readers, visited, owner),
                None => true,
            };
            if free {
                owner[reader] = Some(writer);
                return true;
            }
        }
        false
    }
    let mut owner = vec![None; count];
    (0..readers.len()).filter(|writer| assign(*writer, readers, &mut vec![false; count], &mut owner)).count()
}

#[cfg(test)]
mod tests;
