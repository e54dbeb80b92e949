//! Whether a Protobuf reader can read what a writer wrote: the registry's rules over the two descriptors.
//!
//! Fields are matched by number, messages and enumerations by name. Names of fields may change, because they
//! are not on the wire; kinds may change only within one group of the wire format. Source: Confluent's
//! documentation, "Formats, serializers, and deserializers", compatibility of Protobuf; Protocol Buffers
//! language guide, "Updating a message type".

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};

use super::Incompatibility;
use super::protobuf::ProtobufSchema;

/// What keeps `reader` from reading data of `writer`.
pub(super) fn check(reader: &ProtobufSchema, writer: &ProtobufSchema) -> Vec<Incompatibility> {
    let (Some(reader), Some(writer)) = (reader.file(), writer.file()) else { return Vec::new() };
    let mut checker = Checker { found: BTreeSet::new(), queued: BTreeSet::new(), queue: Vec::new() };
    if reader.package_name() != writer.package_name() {
        let (own, other) = (reader.package_name(), writer.package_name());
        checker.report("PACKAGE_CHANGED", "/", format!("the package was '{other}' and is '{own}'"));
    }
    checker.compare_files(&reader, &writer);
    while let Some((reader, writer)) = checker.queue.pop() {
        checker.compare_messages(&reader, &writer);
    }
    checker.found.into_iter().collect()
}

struct Checker {
    found: BTreeSet<Incompatibility>,
    /// Pairs of messages that are compared or will be, by full name; a recursive message meets itself.
    queued: BTreeSet<(String, String)>,
    queue: Vec<(MessageDescriptor, MessageDescriptor)>,
}

impl Checker {
    fn report(&mut self, kind: &'static str, path: impl AsRef<str>, description: String) {
        self.found.insert(Incompatibility::new(kind, path.as_ref(), description));
    }

    fn enqueue(&mut self, reader: &MessageDescriptor, writer: &MessageDescriptor) {
        if self.queued.insert((reader.full_name().to_owned(), writer.full_name().to_owned())) {
            self.queue.push((reader.clone(), writer.clone()));
        }
    }

    fn compare_files(&mut self, reader: &FileDescriptor, writer: &FileDescriptor) {
        let own: BTreeMap<String, MessageDescriptor> =
            reader.messages().map(|message| (message.name().to_owned(), message)).collect();
        for message in writer.messages() {
            match own.get(message.name()) {
                Some(found) => self.enqueue(found, &message),
                None => self.removed("MESSAGE_REMOVED", &message),
            }
        }
    }

    fn removed(&mut self, kind: &'static str, message: &MessageDescriptor) {
        self.report(kind, path(message), format!("message {} is missing", message.name()));
    }

    fn compare_messages(&mut self, reader: &MessageDescriptor, writer: &MessageDescriptor) {
        let own: BTreeMap<String, MessageDescriptor> =
            reader.child_messages().map(|message| (message.name().to_owned(), message)).collect();
        for child in writer.child_messages().filter(|child| !child.is_map_entry()) {
            match own.get(child.name()) {
                Some(found) => self.enqueue(found, &child),
                None => self.removed("MESSAGE_REMOVED", &child),
            }
        }
        for field in writer.fields() {
            match reader.get_field(field.number()) {
                Some(own) => self.compare_fields(&own, &field),
                None => self.removed_field(&field),
            }
        }
        for field in reader.fields().filter(FieldDescriptor::is_required) {
            if writer.get_field(field.number()).is_none() {
                let description = format!("required field {} is new", field.name());
                self.report("REQUIRED_FIELD_ADDED", field_path(&field), description);
            }
        }
        self.compare_oneofs(reader, writer);
    }

    fn removed_field(&mut self, field: &FieldDescriptor) {
        if field.is_required() {
            let description = format!("required field {} is missing", field.name());
            self.report("REQUIRED_FIELD_REMOVED", field_path(field), description);
        } else if real_oneof(field).is_some() {
            let description = format!("field {} is missing from its oneof", field.name());
            self.report("ONEOF_FIELD_REMOVED", field_path(field), description);
        }
    }

    fn compare_fields(&mut self, reader: &FieldDescriptor, writer: &FieldDescriptor) {
        let at = field_path(writer);
        if reader.is_list() != writer.is_list() && !may_repeat(&writer.kind()) {
            let description = format!("field {} changed between one and many", writer.name());
            self.report("FIELD_NUMERIC_LABEL_CHANGED", &at, description);
        }
        if reader.is_map() != writer.is_map() {
            let description = format!("field {} changed between a map and something else", writer.name());
            self.report("FIELD_KIND_CHANGED", &at, description);
            return;
        }
        let (own, written) = (reader.kind(), writer.kind());
        match (&own, &written) {
            (Kind::Message(own), Kind::Message(written)) => {
                if !writer.is_map() && relative_name(own) != relative_name(written) {
                    let (is, was) = (own.full_name(), written.full_name());
                    let description = format!("field {} was a {was} and is a {is}", writer.name());
                    self.report("FIELD_NAMED_TYPE_CHANGED", at, description);
                } else {
                    self.enqueue(own, written);
                }
            }
            (Kind::Message(_), _) | (_, Kind::Message(_)) => {
                let description = format!("field {} changed between a message and a scalar", writer.name());
                self.report("FIELD_KIND_CHANGED", at, description);
            }
            _ if wire_group(&own) != wire_group(&written) => {
                let description = format!("field {} was {written:?} and is {own:?}", writer.name());
                self.report("FIELD_SCALAR_KIND_CHANGED", at, description);
            }
            _ => {}
        }
    }

    /// Moving one field into a oneof is safe, moving several is not: the writer may have set them all.
    fn compare_oneofs(&mut self, reader: &MessageDescriptor, writer: &MessageDescriptor) {
        for oneof in reader.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let moved: Vec<String> = oneof
                .fields()
                .filter_map(|field| writer.get_field(field.number()))
                .filter(|written| real_oneof(written).is_none())
                .map(|written| written.name().to_owned())
                .collect();
            if moved.len() > 1 {
                let description = format!("fields {} moved into oneof {}", moved.join(", "), oneof.name());
                let at = format!("{}/{}", path(reader), oneof.name());
                self.report("MULTIPLE_FIELDS_MOVED_TO_ONEOF", at, description);
            }
        }
    }
}

fn real_oneof(field: &FieldDescriptor) -> Option<prost_reflect::OneofDescriptor> {
    field.containing_oneof().filter(|oneof| !oneof.is_synthetic())
}

/// The name inside the package, so that a changed package is one incompatibility and not many.
fn relative_name(message: &MessageDescriptor) -> String {
    let full = message.full_name();
    let package = message.package_name();
    full.strip_prefix(package).map_or(full, |rest| rest.trim_start_matches('.')).to_owned()
}

fn path(message: &MessageDescriptor) -> String {
    format!("#/{}", relative_name(message).replace('.', "/"))
}

fn field_path(field: &FieldDescriptor) -> String {
    format!("{}/{}", path(field.parent_message()), field.number())
}

/// One value and many have the same encoding for these: a reader of one takes the last (Protocol Buffers
/// language guide, "Updating a message type").
fn may_repeat(kind: &Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_))
}

/// Kinds of one group can read each other (Protocol Buffers language guide, "Updating a message type").
fn wire_group(kind: &Kind) -> u8 {
    match kind {
        Kind::Int32 | Kind::Uint32 | Kind::Int64 | Kind::Uint64 | Kind::Bool | Kind::Enum(_) => 0,
        Kind::Sint32 | Kind::Sint64 => 1,
        Kind::String | Kind::Bytes => 2,
        Kind::Fixed32 | Kind::Sfixed32 => 3,
        Kind::Fixed64 | Kind::Sfixed64 => 4,
        Kind::Float => 5,
        Kind::Double => 6,
        Kind::Message(_) => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(reader: &str, writer: &str) -> Vec<String> {
        let parse = |text: &str| {
            ProtobufSchema::parse(&format!("syntax = \"proto3\"; package p; {text}"), &[]).unwrap()
        };
        let found = check(&parse(reader), &parse(writer));
        found.iter().map(|found| format!("{} {}", found.kind_and_path().0, found.kind_and_path().1)).collect()
    }

    fn assert_reads(reader: &str, writer: &str) {
        assert_eq!(compare(reader, writer), Vec::<String>::new(), "{reader} reads {writer}");
    }

    fn field(field: &str) -> String {
        format!("message A {{ {field} }}")
    }

    #[test]
    fn fields_come_and_go_and_change_their_names() {
        assert_reads(&field("string a = 1; int32 b = 2;"), &field("string x = 1;"));
        assert_reads(&field(""), &field("string x = 1;"));
        assert_eq!(compare("message B {}", "message A {}"), ["MESSAGE_REMOVED #/A"]);
        assert_eq!(compare("message A {}", "message A { message B {} }"), ["MESSAGE_REMOVED #/A/B"]);
    }

    #[test]
    fn kinds_change_within_their_group() {
        assert_reads(&field("int64 a = 1;"), &field("uint32 a = 1;"));
        assert_reads(&field("string a = 1;"), &field("bytes a = 1;"));
        assert_reads("enum E { Z = 0; } message A { E a = 1; }", &field("int32 a = 1;"));
        assert_eq!(
            compare(&field("string a = 1;"), &field("int32 a = 1;")),
            ["FIELD_SCALAR_KIND_CHANGED #/A/1"]
        );
        assert_eq!(
            compare(&field("sint32 a = 1;"), &field("int32 a = 1;")),
            ["FIELD_SCALAR_KIND_CHANGED #/A/1"]
        );
        assert_eq!(compare(&field("A a = 1;"), &field("int32 a = 1;")), ["FIELD_KIND_CHANGED #/A/1"]);
        assert_eq!(
            compare(&field("map<string, string> a = 1;"), &field("string a = 1;")),
            ["FIELD_KIND_CHANGED #/A/1"]
        );
    }

    #[test]
    fn messages_are_followed_and_recursion_ends() {
        let with = |kind: &str| {
            format!(
                "message A {{ B b = 1; A next = 2; }} message B {{ map<string, C> c = 1; }} message C {{ {kind} v = 1; A a = 2; }}"
            )
        };
        assert_reads(&with("int64"), &with("int32"));
        assert_eq!(compare(&with("string"), &with("int32")), ["FIELD_SCALAR_KIND_CHANGED #/C/1"]);
        let other = "message A { C b = 1; } message B {} message C {}";
        assert_eq!(
            compare(other, "message A { B b = 1; } message B {} message C {}"),
            ["FIELD_NAMED_TYPE_CHANGED #/A/1"]
        );
    }

    #[test]
    fn oneofs_and_labels() {
        let plain = field("string a = 1; string b = 2;");
        assert_reads(&field("oneof o { string a = 1; } string b = 2;"), &plain);
        let both = field("oneof o { string a = 1; string b = 2; }");
        assert_eq!(compare(&both, &plain), ["MULTIPLE_FIELDS_MOVED_TO_ONEOF #/A/o"]);
        assert_eq!(compare(&field("oneof o { string a = 1; }"), &both), ["ONEOF_FIELD_REMOVED #/A/2"]);
        assert_reads(&field("repeated string a = 1;"), &field("string a = 1;"));
        assert_eq!(
            compare(&field("repeated int32 a = 1;"), &field("int32 a = 1;")),
            ["FIELD_NUMERIC_LABEL_CHANGED #/A/1"]
        );
        assert_reads(&field("optional string a = 1; string b = 2;"), &plain);
    }

    #[test]
    fn packages_and_required_fields() {
        let parse = |text: &str| ProtobufSchema::parse(text, &[]).unwrap();
        let kinds = |reader: &str, writer: &str| -> Vec<&str> {
            check(&parse(reader), &parse(writer)).iter().map(|found| found.kind).collect()
        };
        let package = |name: &str| format!("package {name}; message A {{ optional A a = 1; }}");
        assert_eq!(kinds(&package("p"), &package("q")), ["PACKAGE_CHANGED"]);
        let required = "message A { required string a = 1; }";
        assert_eq!(kinds(required, "message A {}"), ["REQUIRED_FIELD_ADDED"]);
        assert_eq!(kinds("message A {}", required), ["REQUIRED_FIELD_REMOVED"]);
    }
}
