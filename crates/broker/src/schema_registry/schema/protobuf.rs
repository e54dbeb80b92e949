//! Protobuf schemas: `.proto` text or a base64 `FileDescriptorProto`, compiled by `protox`.
//!
//! Text is stored as it was posted; a descriptor is stored as text made from it, and so is everything that is
//! normalized. Two texts with the same descriptor are one schema. Source: redpanda.md 3.4; the Protocol
//! Buffers language specification.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::prost::{Message, decode_length_delimiter};
use prost_reflect::prost_types::FileDescriptorProto;
use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::{Resolved, SchemaError, protobuf_text};

/// The name of the file that a posted schema is; no import can have it.
const ROOT: &str = "-schema-.proto";

/// A compiled Protobuf schema.
#[derive(Clone, Debug)]
pub(crate) struct ProtobufSchema {
    /// The text as it was posted; `None` if a descriptor was.
    posted: Option<String>,
    pool: DescriptorPool,
    /// The `FileDescriptorProto`, without the places in the text.
    descriptor: Vec<u8>,
}

impl ProtobufSchema {
    /// # Errors
    /// What `protox` says; every import has to be among the references, under its file name, or be one of
    /// Google's well-known types.
    pub fn parse(text: &str, references: &[Resolved]) -> Result<ProtobufSchema, SchemaError> {
        if text.trim().is_empty() {
            return Err(SchemaError::new("the schema is empty"));
        }
        let mut files = BTreeMap::new();
        for reference in references {
            files.insert(reference.name.clone(), file(&reference.name, &reference.text)?);
        }
        let root = file(ROOT, text)?;
        let posted = root.source().is_some().then(|| text.to_owned());
        files.insert(ROOT.to_owned(), root);
        let mut resolver = ChainFileResolver::new();
        resolver.add(References { files });
        resolver.add(GoogleFileResolver::new());
        let mut compiler = Compiler::with_file_resolver(resolver);
        compiler.open_file(ROOT).map_err(SchemaError::new)?;
        // A set of this file alone: the entry's tag, its length, and the descriptor.
        let set = compiler.encode_file_descriptor_set();
        let mut entry = set.get(1..).unwrap_or_default();
        let length = decode_length_delimiter(&mut entry).map_err(SchemaError::new)?;
        let descriptor = entry.get(..length).unwrap_or_default().to_vec();
        Ok(ProtobufSchema { posted, pool: compiler.descriptor_pool(), descriptor })
    }

    pub fn text(&self, normalize: bool) -> String {
        match &self.posted {
            Some(text) if !normalize => text.clone(),
            _ => self.file().map(|file| protobuf_text::render(&file, normalize)).unwrap_or_default(),
        }
    }

    /// The file that the schema is, without those it imports.
    pub fn file(&self) -> Option<FileDescriptor> {
        self.pool.get_file_by_name(ROOT)
    }

    /// Whether both compile to the same descriptor; comments and white space do not count.
    pub fn is_same(&self, other: &ProtobufSchema) -> bool {
        self.descriptor == other.descriptor
    }

    /// The `FileDescriptorProto` in base64, as `?format=serialized` asks for it.
    pub fn serialized(&self) -> String {
        BASE64_STANDARD.encode(&self.descriptor)
    }
}

struct References {
    files: BTreeMap<String, File>,
}

impl FileResolver for References {
    fn resolve_path(&self, path: &std::path::Path) -> Option<String> {
        path.to_str().filter(|path| self.files.contains_key(*path)).map(str::to_owned)
    }

    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        self.files.get(name).cloned().ok_or_else(|| protox::Error::file_not_found(name))
    }
}

fn file(name: &str, text: &str) -> Result<File, SchemaError> {
    match descriptor(name, text) {
        Some(file) => Ok(file),
        None => File::from_source(name, text).map_err(SchemaError::new),
    }
}

/// The file of a base64 `FileDescriptorProto`; `None` if the text is none.
fn descriptor(name: &str, text: &str) -> Option<File> {
    let mut bytes = BASE64_STANDARD.decode(text.trim()).ok()?;
    // A message may be written in parts, and the last name counts (Protocol Buffers encoding, "Last One
    // Wins"). This way, options that only later descriptors explain are kept.
    let renamed = FileDescriptorProto { name: Some(name.to_owned()), ..FileDescriptorProto::default() };
    bytes.extend(renamed.encode_to_vec());
    File::decode_file_descriptor_proto(bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ProtobufSchema {
        ProtobufSchema::parse(text, &[]).unwrap()
    }

    #[test]
    fn white_space_and_comments_do_not_make_another_schema() {
        let one = parse("syntax = \"proto3\";\n// a comment\nmessage A { string b = 1; }");
        let other = parse("syntax=\"proto3\"; message A {\n  string b=1;\n}");
        assert!(one.is_same(&other));
        assert!(!one.is_same(&parse("syntax = \"proto3\"; message A { string c = 1; }")));
        assert!(one.text(false).contains("a comment"));
        assert_eq!(one.text(true), other.text(true));
    }

    #[test]
    fn descriptors_in_base64_are_schemas_too() {
        let text =
            "syntax = \"proto3\"; package p; message A { optional string b = 1; map<string, A> c = 2; }";
        let posted = parse(text);
        let again = parse(&posted.serialized());
        assert!(again.is_same(&posted));
        assert!(parse(&again.text(false)).is_same(&posted), "{}", again.text(false));
    }

    #[test]
    fn imports_are_references_or_well_known() {
        let common = Resolved {
            name: "common.proto".to_owned(),
            text: "syntax = \"proto3\"; package c; message Id { int64 v = 1; }".into(),
        };
        let text = "syntax = \"proto3\"; import \"common.proto\"; import \"google/protobuf/timestamp.proto\";
            message A { c.Id id = 1; google.protobuf.Timestamp at = 2; }";
        let schema = ProtobufSchema::parse(text, &[common]).unwrap();
        assert_eq!(schema.file().unwrap().messages().count(), 1);
        let missing = ProtobufSchema::parse(text, &[]).unwrap_err();
        assert!(missing.0.contains("common.proto"), "{missing}");
    }

    #[test]
    fn what_is_no_schema_is_an_error() {
        let deep = format!("{}{}", "message A {".repeat(5000), "}".repeat(5000));
        let bad = ["", "message", "message A { B b = 1; }", "syntax = \"proto9\";", "AAAA", &deep];
        for bad in bad {
            assert!(ProtobufSchema::parse(bad, &[]).is_err(), "{bad:.40}");
        }
    }
}
