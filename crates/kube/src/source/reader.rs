//! From text to documents.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScanError, Span as EventSpan, Tag};

use super::document::Document;
use super::error::SourceError;
use super::file::Source;
use super::node::{Data, Entry, Node, Span};
use super::scalar;

/// Collections inside one another. Kubernetes objects need about 15; the bound keeps every walk over a tree,
/// also those of the libraries, far from the end of the stack.
const DEPTH_MAX: usize = 100;

/// Nodes that aliases and merge keys may add to one source, so that a few lines cannot ask for gigabytes.
const ALIASED_NODES_MAX: usize = 100_000;

/// The documents of `source` in order, without those that are empty or hold only comments, and what is wrong
/// with the text. After a syntax error the rest of the source is not read; the documents before it are
/// returned.
///
/// The dialect is the one that kubectl and Helm read (go-yaml v2), where it matters:
/// * Unquoted `yes`, `no`, `on`, `off`, `y`, `n` are booleans, as in YAML 1.1. A label `enabled: on` is a
///   type error here as it is at the API server.
/// * `0644` is octal (420), as in YAML 1.1; so is `0o644`, as in YAML 1.2. `_` between digits is ignored.
/// * `1:30` is text, and so is a date.
/// * Merge keys (`<<: *base`) are applied; a key that is written explicitly wins.
/// * Keys are taken as text, as they are written: `on: 1` has the key `on`, `8080: x` has `8080`.
/// * A key that occurs twice in one mapping is an error. (kubectl warns and takes the last one; which of the
///   two was meant cannot be known.)
/// * JSON is read as the YAML that it is. The one difference: a character written as two escapes (a surrogate
///   pair, `\ud83d\ude00`) is an error; write the character itself.
pub fn read(source: &Source) -> (Vec<Document>, Vec<SourceError>) {
    let mut reader = Reader::new(source);
    let mut parser = Parser::new_from_str(&source.text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, span)) => {
                if reader.take(event, span).is_err() {
                    break;
                }
            }
            Err(error) => {
                reader.syntax_error(&error);
                break;
            }
        }
    }
    let documents =
        reader.roots.into_iter().map(|root| Document::new(source.clone(), Arc::new(root))).collect();
    (documents, reader.errors)
}

/// The one document of `source`.
///
/// # Errors
///
/// The first error of the text, or that the source holds no document or more than one.
pub fn read_one(source: &Source) -> Result<Document, SourceError> {
    let (mut documents, errors) = read(source);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    if documents.len() > 1 {
        let help = "put each document into a file of its own";
        return Err(documents[1].error("", "expected one document, got a second one", help));
    }
    documents.pop().ok_or_else(|| {
        let help = "write the fields of the document";
        SourceError::at_start(source, "expected a document, got an empty text", help)
    })
}

/// Reading of this source has ended; the error is recorded.
struct Stopped;

/// A collection that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// The key that waits for its value, in a mapping.
    key: Option<(String, Span)>,
    /// Values of merge keys, applied when the mapping is complete.
    merges: Vec<Node>,
}

struct Reader<'a> {
    source: &'a Source,
    /// The byte at which each character starts; empty if the text is ASCII, where they are the same.
    char_starts: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
    roots: Vec<Node>,
    anchors: BTreeMap<usize, Node>,
    aliased_nodes: usize,
    errors: Vec<SourceError>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source) -> Reader<'a> {
        let text = &source.text;
        let char_starts =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Reader {
            source,
            char_starts,
            open: Vec::new(),
            root: None,
            roots: Vec::new(),
            anchors: BTreeMap::new(),
            aliased_nodes: 0,
            errors: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'_>, span: EventSpan) -> Result<(), Stopped> {
        let span = self.span(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
            Event::DocumentEnd => {
                self.anchors.clear();
                self.roots.extend(self.root.take().filter(|root| !root.is_null()));
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_key = self
                    .open
                    .last()
                    .is_some_and(|open| matches!(open.node.data, Data::Map(_)) && open.key.is_none());
                if is_key {
                    return self.key(text, span);
                }
                let data = scalar::resolve(text, style, tag.as_deref()).unwrap_or_else(|what| {
                    self.errors.push(SourceError::new(self.source, span, what, KNOWN_TAGS));
                    Data::Null
                });
                self.value(Node { span, data }, anchor)
            }
            Event::Alias(id) => self.alias(id, span),
            Event::SequenceStart(anchor, tag) => {
                self.open(Node { span, data: Data::List(Vec::new()) }, anchor, tag, "seq")
            }
            Event::MappingStart(anchor, tag) => {
                self.open(Node { span, data: Data::Map(Vec::new()) }, anchor, tag, "map")
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn key(&mut self, text: Cow<'_, str>, span: Span) -> Result<(), Stopped> {
        if let Some(open) = self.open.last_mut() {
            open.key = Some((text.into_owned(), span));
        }
        Ok(())
    }

    /// Puts a complete value where it belongs: under the waiting key, into the list, or at the root.
    fn value(&mut self, node: Node, anchor: usize) -> Result<(), Stopped> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.data, open.key.take()) {
            (Data::Map(_), Some((key, _))) if key == "<<" => open.merges.push(node),
            (Data::Map(entries), Some((key, key_span))) => {
                if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                    let what = format!("the key `{key}` is already set on line {}", first.key_span.line);
                    let help = "keep one of the two";
                    self.errors.push(SourceError::new(self.source, key_span, what, help));
                } else {
                    entries.push(Entry { key, key_span, value: node });
                }
            }
            (Data::Map(_), None) => {
                let what = format!("expected a key, got {}", node.in_words());
                let help = "write keys as plain text; a template expression that was not rendered looks like this too";
                return self.stop(node.span, what, help);
            }
            (Data::List(nodes), _) => nodes.push(node),
            // Only collections are opened.
            (Data::Null | Data::Bool(_) | Data::Number(_) | Data::Text(_), _) => {}
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Stopped> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return self.stop(span, "this alias stands inside of what it refers to", "write the value out");
        };
        self.spend(&node, span)?;
        if depth(&node) + self.open.len() > DEPTH_MAX {
            return self.too_deep(span);
        }
        self.value(node, 0)
    }

    fn open(
        &mut self,
        node: Node,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        own: &str,
    ) -> Result<(), Stopped> {
        if let Some(tag) = tag.filter(|tag| !(tag.is_yaml_core_schema() && tag.suffix == own)) {
            let what = format!("the tag {tag} is not known");
            self.errors.push(SourceError::new(self.source, node.span, what, KNOWN_TAGS));
        }
        if self.open.len() >= DEPTH_MAX {
            return self.too_deep(node.span);
        }
        self.open.push(Open { node, anchor, key: None, merges: Vec::new() });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stopped> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        for merged in std::mem::take(&mut open.merges) {
            self.merge(&mut open.node, merged)?;
        }
        self.value(open.node, open.anchor)
    }

    /// Adds the entries of a merge key's value to `target`, where it does not have them itself.
    fn merge(&mut self, target: &mut Node, merged: Node) -> Result<(), Stopped> {
        let span = merged.span;
        let from = match merged.data {
            Data::Map(entries) => vec![entries],
            Data::List(nodes) => {
                let maps = nodes.into_iter().map(|node| match node.data {
                    Data::Map(entries) => Some(entries),
                    _ => None,
                });
                match maps.collect::<Option<Vec<_>>>() {
                    Some(maps) => maps,
                    None => return self.stop(span, NOT_MERGEABLE, MERGE_HELP),
                }
            }
            _ => return self.stop(span, NOT_MERGEABLE, MERGE_HELP),
        };
        let Data::Map(entries) = &mut target.data else { return Ok(()) };
        for entry in from.into_iter().flatten() {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
        Ok(())
    }

    fn spend(&mut self, node: &Node, span: Span) -> Result<(), Stopped> {
        self.aliased_nodes += count(node);
        if self.aliased_nodes > ALIASED_NODES_MAX {
            let what = format!("aliases expand to more than {ALIASED_NODES_MAX} values");
            return self.stop(span, what, "write fewer aliases of aliases");
        }
        Ok(())
    }

    fn too_deep(&mut self, span: Span) -> Result<(), Stopped> {
        self.stop(span, format!("more than {DEPTH_MAX} collections inside one another"), "nest less deeply")
    }

    fn stop(&mut self, span: Span, what: impl Into<String>, help: &str) -> Result<(), Stopped> {
        self.errors.push(SourceError::new(self.source, span, what, help));
        Err(Stopped)
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = self.byte(error.marker());
        let span = Span { end: at, ..self.span(EventSpan::empty(*error.marker())) };
        let what = format!("not valid YAML: {}", error.info());
        let help = "look at indentation, quotes and brackets on this line and the one before; \
                    a Helm template must be rendered first (helm template)";
        self.errors.push(SourceError::new(self.source, span, what, help));
    }

    fn span(&self, span: EventSpan) -> Span {
        let start = self.byte(&span.start);
        Span {
            start,
            end: self.byte(&span.end).max(start),
            line: span.start.line().max(1),
            column: span.start.col() + 1,
        }
    }

    /// The byte of the text at `marker`, whose own index counts characters.
    fn byte(&self, marker: &Marker) -> usize {
        let length = self.source.text.len();
        if self.char_starts.is_empty() {
            marker.index().min(length)
        } else {
            self.char_starts.get(marker.index()).copied().unwrap_or(length)
        }
    }
}

const KNOWN_TAGS: &str = "leave the tag out, or use !!str, !!int, !!float, !!bool, !!null, !!seq or !!map";
const NOT_MERGEABLE: &str = "expected a mapping or a list of mappings to merge";
const MERGE_HELP: &str = "give << the alias of a mapping";

/// Nodes of the tree.
fn count(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(nodes) => nodes.iter().map(count).sum(),
        Data::Map(entries) => entries.iter().map(|entry| count(&entry.value)).sum(),
        _ => 0,
    }
}

/// Collections inside one another, 0 for a scalar.
fn depth(node: &Node) -> usize {
    match &node.data {
        Data::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Data::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
