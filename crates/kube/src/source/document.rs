//! One document of a source.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Location, SourceError};
use super::explain;
use super::file::Source;
use super::node::{Node, Span};
use super::path::{FieldPath, Segment};
use super::typed::{NoRules, Typed};

/// A YAML or JSON document whose every value knows its line and column. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Document {
    source: Source,
    root: Arc<Node>,
}

impl Document {
    pub(super) fn new(source: Source, root: Arc<Node>) -> Document {
        Document { source, root }
    }

    /// The document as a `T`. Fields that `T` does not know are an error where `T` denies them.
    ///
    /// # Errors
    ///
    /// The first value that does not fit, with its place, what was expected and what was found.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        let value = self.value();
        serde_path_to_error::deserialize(Typed::root(&value, &NoRules)).map_err(|error| {
            let path = field_path(error.path());
            self.explain(&FieldPath::root(), &path, &error.into_inner().to_string())
        })
    }

    /// The document without places.
    pub fn value(&self) -> Value {
        self.root.to_value()
    }

    /// The part of the document below `path`, with its places; `None` if there is none.
    pub fn part(&self, path: impl Into<FieldPath>) -> Option<Document> {
        let node = self.root.at(&path.into())?.clone();
        Some(Document { source: self.source.clone(), root: Arc::new(node) })
    }

    /// The file that the document is in.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Where the value at `path` is written: a scalar's own place, the key of a mapping or list. A path that
    /// does not exist gives the nearest parent that does.
    pub fn locate(&self, path: impl Into<FieldPath>) -> Location {
        Location::new(&self.source, self.root.place(&path.into()))
    }

    /// An error at the value at `path`: what is wrong, and what to change.
    pub fn error(
        &self,
        path: impl Into<FieldPath>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> SourceError {
        let path = path.into();
        SourceError::new(&self.source, self.root.place(&path), what, help).in_field(path)
    }

    /// What serde said about the value at `path` below `base`, in the words of the file. The fields of the
    /// message are named from `base` on.
    pub(crate) fn explain(&self, base: &FieldPath, path: &FieldPath, said: &str) -> SourceError {
        let full = base.join(path);
        let explanation = explain::explain(said, self.root.at(&full));
        let mut place = self.root.place(&full);
        let mut field = path.clone();
        if let Some(key) = &explanation.key {
            // serde's path ends at the mapping, or at the key if it had read it already.
            if !matches!(path.segments().last(), Some(Segment::Key(last)) if last == key) {
                field = path.key(key.as_str());
            }
            let full = base.join(&field);
            place = self.key_place(&full).unwrap_or(place);
        }
        SourceError::new(&self.source, place, explanation.what, explanation.help).in_field(field)
    }

    /// Where the last key of `path` is written, or the nearest parent that exists.
    pub(crate) fn locate_key(&self, path: &FieldPath) -> Location {
        let place = self.key_place(path).unwrap_or_else(|| self.root.place(path));
        Location::new(&self.source, place)
    }

    fn key_place(&self, path: &FieldPath) -> Option<Span> {
        let (Segment::Key(key), parent) = path.segments().split_last()? else { return None };
        let parent: FieldPath = parent.iter().cloned().collect();
        Some(self.root.at(&parent)?.entry(key)?.key_span)
    }

    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

/// serde's path in ours. Steps that serde cannot name end it: what is below them has no place of its own.
pub(crate) fn field_path(path: &serde_path_to_error::Path) -> FieldPath {
    path.iter()
        .map_while(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Segment::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Segment::Key(key.clone())),
            serde_path_to_error::Segment::Enum { variant } => Some(Segment::Key(variant.clone())),
            serde_path_to_error::Segment::Unknown => None,
        })
        .collect()
}
