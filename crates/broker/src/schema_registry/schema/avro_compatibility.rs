//! Whether an Avro reader can read what a writer wrote: Avro specification, "Schema Resolution".
//!
//! `apache-avro`'s own `SchemaCompatibility` decides about types without parts: primitives, their promotions,
//! logical types, fixed sizes. Around it, the registry is stricter or more thorough in this: (a) every
//! incompatibility is reported with its path, not only the first; (b) data that can be read only at times
//! (the library's "partial": a union or enumeration that does not cover the writer's) is incompatible; (c) a
//! type referred to by name is compared with one that is written out; (d) a reader's aliases of a type count
//! as its name.

use std::collections::BTreeSet;

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, RecordSchema};
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use super::Incompatibility;
use super::avro::AvroSchema;

/// What keeps `reader` from reading data of `writer`.
pub(super) fn check(reader: &AvroSchema, writer: &AvroSchema) -> Vec<Incompatibility> {
    let mut checker = Checker { reader, writer, seen: Seen::default(), depth: 0 };
    let mut found = BTreeSet::new();
    checker.compare(reader.root(), writer.root(), "", &mut found);
    found.into_iter().collect()
}

/// Types that refer to each other this deep are compared, and no further.
const DEPTH_MAX: usize = 200;

struct Checker<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
    seen: Seen,
    depth: usize,
}

/// Pairs of named types, reader's and writer's, and what is known of them.
#[derive(Default)]
struct Seen {
    /// Compared, or being compared: a recursive type meets itself.
    compared: BTreeSet<(String, String)>,
    /// The same in order, so that what a failed attempt assumed can be taken back.
    trail: Vec<(String, String)>,
    /// Incompatible for certain.
    failed: BTreeSet<(String, String)>,
    /// How many attempts are under way, one inside the other.
    attempts: usize,
}

impl Seen {
    /// Whether the pair is new.
    fn insert(&mut self, pair: &(String, String)) -> bool {
        let new = self.compared.insert(pair.clone());
        if new {
            self.trail.push(pair.clone());
        }
        new
    }

    fn take_back(&mut self, length: usize) {
        for pair in self.trail.drain(length..) {
            self.compared.remove(&pair);
        }
    }
}

type Found = BTreeSet<Incompatibility>;

fn report(found: &mut Found, kind: &'static str, path: &str, description: String) {
    let path = if path.is_empty() { "/" } else { path };
    found.insert(Incompatibility::new(kind, path, description));
}

impl<'a> Checker<'a> {
    fn compare(&mut self, reader: &'a Schema, writer: &'a Schema, path: &str, found: &mut Found) {
        let (reader, writer) = (self.reader.definition(reader), self.writer.definition(writer));
        if self.depth == DEPTH_MAX {
            let description = format!("types nest deeper than {DEPTH_MAX}, and are not compared further");
            report(found, "UNKNOWN", path, description);
            return;
        }
        self.depth += 1;
        self.compare_definitions(reader, writer, path, found);
        self.depth -= 1;
    }

    fn compare_definitions(&mut self, reader: &'a Schema, writer: &'a Schema, path: &str, found: &mut Found) {
        match (reader, writer) {
            (_, Schema::Union(branches)) => {
                for (index, branch) in branches.variants().iter().enumerate() {
                    if let Schema::Union(_) = reader {
                        self.compare_with_union(reader, branch, &format!("{path}/{index}"), found);
                    } else {
                        self.compare(reader, branch, path, found);
                    }
                }
            }
            (Schema::Union(_), _) => self.compare_with_union(reader, writer, path, found),
            (Schema::Array(reader), Schema::Array(writer)) => {
                self.compare(&reader.items, &writer.items, &format!("{path}/items"), found);
            }
            (Schema::Map(reader), Schema::Map(writer)) => {
                self.compare(&reader.types, &writer.types, &format!("{path}/values"), found);
            }
            _ if reader.name().is_some() && writer.name().is_some() => {
                self.compare_named(reader, writer, path, found);
            }
            _ => compare_simple(reader, writer, path, found),
        }
    }

    /// A writer's type that is no union, and a reader's union: one branch has to read it.
    fn compare_with_union(&mut self, reader: &'a Schema, writer: &'a Schema, path: &str, found: &mut Found) {
        let Schema::Union(branches) = reader else { return };
        let reads = branches.variants().iter().any(|branch| self.reads(branch, writer));
        if !reads {
            let writer = self.writer.definition(writer);
            let description = format!("the reader's union has no branch for the writer's {}", named(writer));
            report(found, "MISSING_UNION_BRANCH", path, description);
        }
    }

    /// Whether one type reads another, without reporting why not.
    fn reads(&mut self, reader: &'a Schema, writer: &'a Schema) -> bool {
        let assumed = self.seen.trail.len();
        let mut found = Found::new();
        self.seen.attempts += 1;
        self.compare(reader, writer, "", &mut found);
        self.seen.attempts -= 1;
        if !found.is_empty() {
            self.seen.take_back(assumed);
        }
        found.is_empty()
    }

    fn compare_named(&mut self, reader: &'a Schema, writer: &'a Schema, path: &str, found: &mut Found) {
        let full = |schema: &Schema| schema.name().map(|name| name.fullname(None)).unwrap_or_default();
        let same_kind = std::mem::discriminant(reader) == std::mem::discriminant(writer);
        if !same_kind && matches!(reader, Schema::Record(_) | Schema::Enum(_)) {
            let description = format!("the reader has {}, the writer {}", named(reader), named(writer));
            report(found, "TYPE_MISMATCH", path, description);
            return;
        }
        if !names_match(reader, writer) {
            let description = format!("the reader's name is {}, the writer's {}", full(reader), full(writer));
            report(found, "NAME_MISMATCH", &format!("{path}/name"), description);
        }
        let pair = (full(reader), full(writer));
        // An attempt asks only whether, and that is known.
        if self.seen.attempts > 0 && self.seen.failed.contains(&pair) {
            report(found, "TYPE_MISMATCH", path, format!("{} cannot be read", named(writer)));
            return;
        }
        if !self.seen.insert(&pair) {
            return;
        }
        let before = found.len();
        match (reader, writer) {
            (Schema::Record(reader), Schema::Record(writer)) => {
                self.compare_fields(reader, writer, path, found);
            }
            (Schema::Enum(reader), Schema::Enum(writer)) => compare_symbols(reader, writer, path, found),
            _ if names_match(reader, writer) => compare_simple(reader, writer, path, found),
            _ => {}
        }
        if found.len() > before {
            self.seen.failed.insert(pair);
        }
    }

    fn compare_fields(
        &mut self,
        reader: &'a RecordSchema,
        writer: &'a RecordSchema,
        path: &str,
        found: &mut Found,
    ) {
        for (index, field) in reader.fields.iter().enumerate() {
            let mut names = std::iter::once(&field.name).chain(field.aliases.iter());
            let written = names.find_map(|name| writer.fields.iter().find(|written| written.name == *name));
            match written {
                Some(written) => {
                    let path = format!("{path}/fields/{index}/type");
                    self.compare(&field.schema, &written.schema, &path, found);
                }
                None if field.default.is_none() => {
                    let description =
                        format!("field '{}' has no default and the writer lacks it", field.name);
                    let path = format!("{path}/fields/{index}");
                    report(found, "READER_FIELD_MISSING_DEFAULT_VALUE", &path, description);
                }
                None => {}
            }
        }
    }
}

/// The unqualified names are equal (Avro specification, "Schema Resolution"), or the reader has the writer's
/// full name as an alias.
fn names_match(reader: &Schema, writer: &Schema) -> bool {
    let (Some(own), Some(written)) = (reader.name(), writer.name()) else { return true };
    let aliases = reader.aliases().map(Vec::as_slice).unwrap_or_default();
    own.name() == written.name()
        || aliases.iter().any(|alias| alias.fullname(own.namespace()) == written.fullname(None))
}

fn compare_symbols(reader: &EnumSchema, writer: &EnumSchema, path: &str, found: &mut Found) {
    let missing: Vec<&str> =
        writer.symbols.iter().filter(|symbol| !reader.symbols.contains(symbol)).map(String::as_str).collect();
    if !missing.is_empty() && reader.default.is_none() {
        let description = format!("the reader lacks the symbols [{}]", missing.join(", "));
        report(found, "MISSING_ENUM_SYMBOLS", &format!("{path}/symbols"), description);
    }
}

/// Types without parts, as the library sees them.
fn compare_simple(reader: &Schema, writer: &Schema, path: &str, found: &mut Found) {
    use apache_avro::error::CompatibilityError;
    let kind = match SchemaCompatibility::can_read(&nameless(writer, reader), reader) {
        Ok(Compatibility::Full) => return,
        Ok(Compatibility::Partial) => "TYPE_MISMATCH",
        Err(CompatibilityError::FixedMismatch) => "FIXED_SIZE_MISMATCH",
        Err(_) => "TYPE_MISMATCH",
    };
    let at = if kind == "FIXED_SIZE_MISMATCH" { format!("{path}/size") } else { path.to_owned() };
    report(found, kind, &at, format!("the reader has {}, the writer {}", named(reader), named(writer)));
}

/// The writer's fixed under the reader's name, where that is known to be an alias of it.
fn nameless(writer: &Schema, reader: &Schema) -> Schema {
    match (writer, reader) {
        (Schema::Fixed(written), Schema::Fixed(own)) => {
            let mut renamed = written.clone();
            renamed.name = own.name.clone();
            Schema::Fixed(renamed)
        }
        _ => writer.clone(),
    }
}

/// A type as a person would call it.
fn named(schema: &Schema) -> String {
    let kind = match schema {
        Schema::Record(_) => "record",
        Schema::Enum(_) => "enum",
        Schema::Fixed(fixed) => {
            return format!("fixed {} of {} bytes", fixed.name.fullname(None), fixed.size);
        }
        Schema::Decimal(decimal) => {
            return format!("decimal of precision {} and scale {}", decimal.precision, decimal.scale);
        }
        Schema::Array(_) => return "array".to_owned(),
        Schema::Map(_) => return "map".to_owned(),
        Schema::Union(_) => return "union".to_owned(),
        other => {
            let shown = other.to_string();
            return shown.to_ascii_lowercase();
        }
    };
    schema.name().map_or_else(|| kind.to_owned(), |name| format!("{kind} {}", name.fullname(None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(reader: &str, writer: &str) -> Vec<String> {
        let parse = |text: &str| AvroSchema::parse(text, &[]).unwrap();
        let found = check(&parse(reader), &parse(writer));
        found.iter().map(|found| format!("{} {}", found.kind_and_path().0, found.kind_and_path().1)).collect()
    }

    fn assert_reads(reader: &str, writer: &str) {
        assert_eq!(compare(reader, writer), Vec::<String>::new(), "{reader} reads {writer}");
    }

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    }

    #[test]
    fn promotions_are_the_specification_s() {
        let promoted = [("int", "long float double"), ("long", "float double"), ("float", "double")];
        for (writer, readers) in promoted {
            for reader in readers.split(' ') {
                assert_reads(&format!("\"{reader}\""), &format!("\"{writer}\""));
                let back = compare(&format!("\"{writer}\""), &format!("\"{reader}\""));
                assert_eq!(back, ["TYPE_MISMATCH /"], "{writer} reads {reader}");
            }
        }
        assert_reads("\"string\"", "\"bytes\"");
        assert_reads("\"bytes\"", "\"string\"");
        assert_eq!(compare("\"boolean\"", "\"int\""), ["TYPE_MISMATCH /"]);
    }

    #[test]
    fn fields_need_defaults_and_every_gap_is_told() {
        let old = record(r#"{"name":"a","type":"string"}"#);
        let with = |field: &str| record(&format!(r#"{{"name":"a","type":"string"}},{field}"#));
        assert_reads(&with(r#"{"name":"b","type":"int","default":0}"#), &old);
        let both = r#"{"name":"b","type":"int"},{"name":"c","type":"int"}"#;
        assert_eq!(
            compare(&with(both), &old),
            ["READER_FIELD_MISSING_DEFAULT_VALUE /fields/1", "READER_FIELD_MISSING_DEFAULT_VALUE /fields/2"]
        );
        assert_reads(&old, &with(both));
        assert_reads(&record(r#"{"name":"z","aliases":["a"],"type":"string"}"#), &old);
        assert_eq!(compare(&record(r#"{"name":"a","type":"int"}"#), &old), ["TYPE_MISMATCH /fields/0/type"]);
    }

    #[test]
    fn unions_have_to_cover_the_writer() {
        assert_reads(r#"["null","string"]"#, "\"string\"");
        assert_reads(r#"["null","string","long"]"#, r#"["null","int"]"#);
        assert_eq!(compare(r#"["null","string"]"#, r#"["null","int"]"#), ["MISSING_UNION_BRANCH /1"]);
        assert_eq!(compare(r#"["null","string"]"#, "\"int\""), ["MISSING_UNION_BRANCH /"]);
        // The library calls this partly compatible.
        assert_eq!(compare("\"int\"", r#"["int","string"]"#), ["TYPE_MISMATCH /"]);
        assert_reads("\"long\"", r#"["int","long"]"#);
    }

    #[test]
    fn enumerations_need_the_symbols_or_a_default() {
        let symbols = |symbols: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
        assert_reads(&symbols(r#""A","B""#), &symbols(r#""A""#));
        // The library calls this partly compatible.
        assert_eq!(compare(&symbols(r#""A""#), &symbols(r#""A","B""#)), ["MISSING_ENUM_SYMBOLS /symbols"]);
        let defaulted = r#"{"type":"enum","name":"E","symbols":["A"],"default":"A"}"#;
        assert_reads(defaulted, &symbols(r#""A","B""#));
    }

    #[test]
    fn names_sizes_and_items_are_compared() {
        let fixed = |name: &str, size: u8| format!(r#"{{"type":"fixed","name":"{name}","size":{size}}}"#);
        assert_reads(&fixed("F", 4), &fixed("F", 4));
        assert_eq!(compare(&fixed("F", 4), &fixed("F", 8)), ["FIXED_SIZE_MISMATCH /size"]);
        assert_eq!(compare(&fixed("F", 4), &fixed("G", 4)), ["NAME_MISMATCH /name"]);
        assert_reads(r#"{"type":"fixed","name":"F","aliases":["G"],"size":4}"#, &fixed("G", 4));
        let array = |items: &str| format!(r#"{{"type":"array","items":"{items}"}}"#);
        assert_eq!(compare(&array("int"), &array("string")), ["TYPE_MISMATCH /items"]);
        assert_eq!(compare(&array("int"), &fixed("F", 4)), ["TYPE_MISMATCH /"]);
        let other = r#"{"type":"record","name":"S","fields":[]}"#;
        assert_eq!(compare(&record(""), other), ["NAME_MISMATCH /name"]);
        let alias = r#"{"type":"record","name":"S","aliases":["R"],"fields":[]}"#;
        assert_reads(alias, &record(""));
    }

    #[test]
    fn types_by_name_are_compared_with_types_written_out() {
        let inner = r#"{"type":"record","name":"I","fields":[{"name":"x","type":"int"}]}"#;
        let twice = record(&format!(r#"{{"name":"a","type":{inner}}},{{"name":"b","type":"I"}}"#));
        let swapped = record(&format!(r#"{{"name":"b","type":{inner}}},{{"name":"a","type":"I"}}"#));
        assert_reads(&twice, &swapped);
        let list = |value: &str| {
            format!(
                r#"{{"type":"record","name":"L","fields":[{{"name":"v","type":"{value}"}},
                {{"name":"next","type":["null","L"]}}]}}"#
            )
        };
        assert_reads(&list("long"), &list("int"));
        assert_eq!(compare(&list("int"), &list("long")), ["TYPE_MISMATCH /fields/0/type"]);
    }
}
