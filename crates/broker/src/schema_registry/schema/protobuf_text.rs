//! `.proto` text from a descriptor.
//!
//! Types are written by their full names, so that the text does not depend on scopes. Normalized, imports are
//! in alphabetical order; options always come by their numbers. Source: the Protocol Buffers language
//! specifications of proto2 and proto3. Left out: editions.

use std::fmt::Write as _;

use prost_reflect::prost_types::field_descriptor_proto::{Label, Type};
use prost_reflect::prost_types::{DescriptorProto, FieldDescriptorProto};
use prost_reflect::{
    DynamicMessage, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Syntax, Value,
};

/// The largest field number, as `max` in ranges.
const FIELD_NUMBER_MAX: i32 = 536_870_911;

/// The file as text.
pub(super) fn render(file: &FileDescriptor, normalize: bool) -> String {
    let mut writer = Writer { text: String::new(), depth: 0, proto3: file.syntax() == Syntax::Proto3 };
    writer.file(file, normalize);
    writer.text
}

struct Writer {
    text: String,
    depth: usize,
    proto3: bool,
}

impl Writer {
    fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = self.depth * 2);
    }

    fn block(&mut self, head: String, body: impl FnOnce(&mut Writer)) {
        self.line(format!("{head} {{"));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    fn file(&mut self, file: &FileDescriptor, normalize: bool) {
        let proto = file.file_descriptor_proto();
        self.line(format!("syntax = \"{}\";", if self.proto3 { "proto3" } else { "proto2" }));
        if !proto.package().is_empty() {
            self.line(format!("package {};", proto.package()));
        }
        let index = |index: usize| i32::try_from(index).unwrap_or(i32::MAX);
        let mut imports: Vec<(&str, &str)> = Vec::new();
        for (position, name) in proto.dependency.iter().enumerate() {
            let kind = match index(position) {
                position if proto.public_dependency.contains(&position) => "public ",
                position if proto.weak_dependency.contains(&position) => "weak ",
                _ => "",
            };
            imports.push((name, kind));
        }
        if normalize {
            imports.sort_unstable();
        }
        for (name, kind) in imports {
            self.line(format!("import {kind}{};", quoted(name)));
        }
        self.options(&file.options());
        for message in file.messages() {
            self.message(&message);
        }
        for enumeration in file.enums() {
            self.enumeration(&enumeration);
        }
        self.extensions(file.extensions());
        for service in file.services() {
            self.service(&service);
        }
    }

    fn options(&mut self, options: &DynamicMessage) {
        for (name, value) in option_list(options) {
            self.line(format!("option {name} = {value};"));
        }
    }

    fn message(&mut self, message: &MessageDescriptor) {
        self.block(format!("message {}", message.name()), |writer| writer.message_body(message));
    }

    fn message_body(&mut self, message: &MessageDescriptor) {
        let proto = message.descriptor_proto();
        self.options(&message.options());
        self.reserved(proto);
        let extension_ranges = proto.extension_range.iter();
        for range in extension_ranges {
            self.line(format!("extensions {};", range_text(range.start(), range.end() - 1)));
        }
        let mut written_oneofs = Vec::new();
        for proto_field in &proto.field {
            let number = u32::try_from(proto_field.number()).unwrap_or(0);
            let Some(field) = message.get_field(number) else { continue };
            match field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => self.field(&field),
                Some(oneof) if written_oneofs.contains(&oneof.full_name().to_owned()) => {}
                Some(oneof) => {
                    written_oneofs.push(oneof.full_name().to_owned());
                    self.block(format!("oneof {}", oneof.name()), |writer| {
                        writer.options(&oneof.options());
                        oneof.fields().for_each(|field| writer.field(&field));
                    });
                }
            }
        }
        let groups: Vec<String> = message
            .fields()
            .filter(FieldDescriptor::is_group)
            .filter_map(|field| field.kind().as_message().map(|group| group.full_name().to_owned()))
            .collect();
        for child in message.child_messages() {
            if !child.is_map_entry() && !groups.iter().any(|group| group == child.full_name()) {
                self.message(&child);
            }
        }
        for child in message.child_enums() {
            self.enumeration(&child);
        }
        self.extensions(message.child_extensions());
    }

    fn reserved(&mut self, proto: &DescriptorProto) {
        for range in &proto.reserved_range {
            self.line(format!("reserved {};", range_text(range.start(), range.end() - 1)));
        }
        for name in &proto.reserved_name {
            self.line(format!("reserved {};", quoted(name)));
        }
    }

    fn field(&mut self, field: &FieldDescriptor) {
        let proto = field.field_descriptor_proto();
        let oneof = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
        let label = self.label(proto, oneof || field.is_map());
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
                format!("map<{}, {}>", kind_text(&key.kind()), kind_text(&value.kind()))
            }
            kind => kind_text(&kind),
        };
        self.declaration(label, kind, proto, &field.kind(), &field.options());
    }

    fn extensions(&mut self, extensions: impl Iterator<Item = ExtensionDescriptor>) {
        for extension in extensions {
            let extended = extension.containing_message();
            self.block(format!("extend .{}", extended.full_name()), |writer| {
                let proto = extension.field_descriptor_proto();
                let label = writer.label(proto, false);
                let kind = extension.kind();
                writer.declaration(label, kind_text(&kind), proto, &kind, &extension.options());
            });
        }
    }

    fn label(&self, proto: &FieldDescriptorProto, bare: bool) -> &'static str {
        match proto.label() {
            _ if bare => "",
            Label::Repeated => "repeated ",
            Label::Required => "required ",
            Label::Optional if self.proto3 && !proto.proto3_optional() => "",
            Label::Optional => "optional ",
        }
    }

    fn declaration(
        &mut self,
        label: &str,
        type_text: String,
        proto: &FieldDescriptorProto,
        kind: &Kind,
        options: &DynamicMessage,
    ) {
        let mut list: Vec<String> = Vec::new();
        if proto.default_value.is_some() {
            let default = proto.default_value();
            let text = match proto.r#type() {
                Type::String => quoted(default),
                // Bytes are escaped in the descriptor already.
                Type::Bytes => format!("\"{default}\""),
                _ => default.to_owned(),
            };
            list.push(format!("default = {text}"));
        }
        if proto.json_name.is_some() && proto.json_name() != camel_case(proto.name()) {
            list.push(format!("json_name = {}", quoted(proto.json_name())));
        }
        list.extend(option_list(options).into_iter().map(|(name, value)| format!("{name} = {value}")));
        let options = if list.is_empty() { String::new() } else { format!(" [{}]", list.join(", ")) };
        let number = proto.number();
        match kind {
            Kind::Message(group) if proto.r#type() == Type::Group => {
                let head = format!("{label}group {} = {number}{options}", group.name());
                self.block(head, |writer| writer.message_body(group));
            }
            _ => self.line(format!("{label}{type_text} {} = {number}{options};", proto.name())),
        }
    }

    fn enumeration(&mut self, enumeration: &EnumDescriptor) {
        let proto = enumeration.enum_descriptor_proto();
        self.block(format!("enum {}", enumeration.name()), |writer| {
            writer.options(&enumeration.options());
            let in_order = proto.value.iter().filter_map(|value| enumeration.get_value_by_name(value.name()));
            for value in in_order {
                let options: Vec<String> = option_list(&value.options())
                    .into_iter()
                    .map(|(name, value)| format!("{name} = {value}"))
                    .collect();
                let options =
                    if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) };
                writer.line(format!("{} = {}{options};", value.name(), value.number()));
            }
            for range in &proto.reserved_range {
                let end = if range.end() == i32::MAX { "max".to_owned() } else { range.end().to_string() };
                let range = if range.start() == range.end() {
                    range.start().to_string()
                } else {
                    format!("{} to {end}", range.start())
                };
                writer.line(format!("reserved {range};"));
            }
            for name in &proto.reserved_name {
                writer.line(format!("reserved {};", quoted(name)));
            }
        });
    }

    fn service(&mut self, service: &ServiceDescriptor) {
        self.block(format!("service {}", service.name()), |writer| {
            writer.options(&service.options());
            for method in service.methods() {
                let stream = |on: bool| if on { "stream " } else { "" };
                let head = format!(
                    "rpc {} ({}.{}) returns ({}.{})",
                    method.name(),
                    stream(method.is_client_streaming()),
                    method.input().full_name(),
                    stream(method.is_server_streaming()),
                    method.output().full_name()
                );
                let options = method.options();
                if option_list(&options).is_empty() {
                    writer.line(format!("{head};"));
                } else {
                    writer.block(head, |writer| writer.options(&options));
                }
            }
        });
    }
}

/// A range of numbers, both ends included.
fn range_text(first: i32, last: i32) -> String {
    match last {
        last if last == first => first.to_string(),
        last if last >= FIELD_NUMBER_MAX => format!("{first} to max"),
        last => format!("{first} to {last}"),
    }
}

fn kind_text(kind: &Kind) -> String {
    let name = match kind {
        Kind::Message(message) => return format!(".{}", message.full_name()),
        Kind::Enum(enumeration) => return format!(".{}", enumeration.full_name()),
        Kind::Double => "double",
        Kind::Float => "float",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Sint32 => "sint32",
        Kind::Sint64 => "sint64",
        Kind::Fixed32 => "fixed32",
        Kind::Fixed64 => "fixed64",
        Kind::Sfixed32 => "sfixed32",
        Kind::Sfixed64 => "sfixed64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
    };
    name.to_owned()
}

/// The options that are set, with their names and values as a statement has them.
fn option_list(options: &DynamicMessage) -> Vec<(String, String)> {
    let mut list = Vec::new();
    let mut push = |name: String, kind: &Kind, value: &Value| match value {
        Value::List(values) => {
            list.extend(values.iter().map(|value| (name.clone(), value_text(kind, value))));
        }
        value => list.push((name, value_text(kind, value))),
    };
    for (field, value) in options.fields() {
        // Statements that the compiler has interpreted already.
        if field.name() != "uninterpreted_option" {
            push(field.name().to_owned(), &field.kind(), value);
        }
    }
    for (extension, value) in options.extensions() {
        push(format!("({})", extension.full_name()), &extension.kind(), value);
    }
    list
}

fn value_text(kind: &Kind, value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::EnumNumber(number) => kind
            .as_enum()
            .and_then(|enumeration| enumeration.get_value(*number))
            .map_or_else(|| number.to_string(), |value| value.name().to_owned()),
        Value::Message(message) => format!("{{ {} }}", message.to_text_format()),
        other => other.to_string(),
    }
}

/// A string literal.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => literal.push_str("\\\""),
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            character if character.is_ascii_control() => {
                let _ = write!(literal, "\\{:03o}", u32::from(character));
            }
            character => literal.push(character),
        }
    }
    literal.push('"');
    literal
}

/// The JSON name that a field has unless it says otherwise.
fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut upper = false;
    for character in name.chars() {
        match character {
            '_' => upper = true,
            character if upper => {
                camel.push(character.to_ascii_uppercase());
                upper = false;
            }
            character => camel.push(character),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::super::protobuf::ProtobufSchema;

    /// What is rendered compiles to the same descriptor as what it was rendered from.
    fn assert_same(text: &str) -> String {
        let schema = ProtobufSchema::parse(text, &[]).unwrap();
        let rendered = schema.text(true);
        let again =
            ProtobufSchema::parse(&rendered, &[]).unwrap_or_else(|error| panic!("{error}\n{rendered}"));
        assert!(again.is_same(&schema), "{rendered}");
        assert_eq!(again.text(true), rendered);
        rendered
    }

    #[test]
    fn proto3_survives() {
        let rendered = assert_same(
            r#"syntax = "proto3"; package a.b;
            option java_package = "com.acme"; option optimize_for = CODE_SIZE;
            message M {
              option deprecated = true;
              reserved 10, 12 to 14, 500 to max; reserved "old";
              string s = 1; optional int32 i = 2; repeated double d = 3 [packed = false];
              map<string, Inner> m = 4; oneof choice { bytes x = 5; E e = 6 [deprecated = true]; }
              string named = 7 [json_name = "other"];
              message Inner { M parent = 1; }
              enum E { option allow_alias = true; ZERO = 0; NIL = 0; reserved 3 to 5; reserved "GONE"; }
            }
            service S { rpc Get (M) returns (stream M.Inner) { option deprecated = true; } rpc Put (stream M) returns (M); }"#,
        );
        assert!(rendered.contains("map<string, .a.b.M.Inner> m = 4;"), "{rendered}");
    }

    #[test]
    fn proto2_survives() {
        assert_same(
            r#"syntax = "proto2"; package p;
            message M {
              required string s = 1 [default = "a\"b\n"]; optional bytes b = 2 [default = "\001x"];
              optional E e = 3 [default = TWO]; repeated group G = 4 { optional int64 x = 1; }
              optional double d = 5 [default = inf];
              extensions 100 to 199; extensions 1000 to max;
              extend M { optional string nested = 100; }
            }
            enum E { ONE = 1; TWO = 2; }
            extend M { repeated E more = 101; }"#,
        );
    }

    #[test]
    fn own_options_survive() {
        let rendered = assert_same(
            r#"syntax = "proto3"; package p; import "google/protobuf/descriptor.proto";
            message Rule { string text = 1; repeated int32 n = 2; }
            extend google.protobuf.FieldOptions { Rule rule = 50001; repeated string tags = 50002; }
            message M { string s = 1 [(rule) = { text: "x", n: [1, 2] }, (tags) = "a", (tags) = "b"]; }"#,
        );
        assert!(rendered.contains("(p.tags) = \"a\", (p.tags) = \"b\""), "{rendered}");
    }
}
