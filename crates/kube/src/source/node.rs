//! The tree of a document: JSON's types, each value with the place it was written at.

use serde_json::{Map, Number, Value};

use super::path::{FieldPath, Segment};

/// A stretch of the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Line of the first byte, from 1.
    pub line: usize,
    /// Column of the first byte in characters, from 1.
    pub column: usize,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub struct Node {
    pub span: Span,
    pub data: Data,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order written; keys are unique.
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// The value of `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The entry of `key`, if this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value without places.
    pub fn to_value(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(nodes) => nodes.iter().map(Node::to_value).collect(),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The value at `path`, or `None` if there is none.
    pub fn at(&self, path: &FieldPath) -> Option<&Node> {
        path.segments().iter().try_fold(self, |node, segment| match segment {
            Segment::Key(key) => node.get(key),
            Segment::Index(index) => node.element(*index),
        })
    }

    /// The best place to point at for `path`: the value if it is there and a scalar, its key if it is a
    /// mapping or list, and the nearest existing parent if it is absent.
    pub fn place(&self, path: &FieldPath) -> Span {
        let mut node = self;
        let mut place = self.span;
        for segment in path.segments() {
            match segment {
                Segment::Key(key) => {
                    let Some(entry) = node.entry(key) else { break };
                    node = &entry.value;
                    place = if node.is_collection() || node.is_null() { entry.key_span } else { node.span };
                }
                Segment::Index(index) => {
                    let Some(element) = node.element(*index) else { break };
                    node = element;
                    place = node.span;
                }
            }
        }
        place
    }

    /// The value in words, for "got ...": `the number 5`, `a list`.
    pub fn in_words(&self) -> String {
        match &self.data {
            Data::Null => "nothing (null)".to_owned(),
            Data::Bool(value) => format!("the boolean {value}"),
            Data::Number(number) => format!("the number {number}"),
            Data::Text(text) => format!("the text {:?}", shortened(text)),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a mapping".to_owned(),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    fn is_collection(&self) -> bool {
        matches!(self.data, Data::List(_) | Data::Map(_))
    }

    fn element(&self, index: usize) -> Option<&Node> {
        match &self.data {
            Data::List(nodes) => nodes.get(index),
            _ => None,
        }
    }
}

/// At most 60 characters of `text`, so that a message stays a line.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
