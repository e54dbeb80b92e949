//! Input text whose every value knows where it was written.
//!
//! A [`Source`] is the text of one YAML or JSON file. [`read`] turns it into [`Document`]s: trees whose nodes
//! know line and column. A document converts to `serde_json::Value` and deserializes into any type
//! ([`Document::parse`]); when that fails, the path that serde reports is looked up in the tree, so that the
//! message names file, line, column, field, what was expected and what was found. Findings made much later
//! use [`Document::locate`] to point at the same places.
//!
//! Which YAML this is: the dialect that `kubectl` reads, because a simulation that reads a manifest in
//! another way than the cluster does would be wrong from the first line. See [`read`] for the list.
//!
//! Left out: writing YAML, comments, and the timestamp, binary and set types of YAML 1.1.

mod document;
mod error;
mod explain;
mod file;
mod node;
mod path;
mod reader;
mod scalar;
mod typed;

pub use document::Document;
pub use error::{LoadErrors, Location, SourceError};
pub use explain::nearest;
pub use file::{FileError, Source, read_paths};
pub use path::{FieldPath, Segment};
pub use reader::{read, read_one};

pub(crate) use document::field_path;
pub(crate) use node::{Data, Node};
pub(crate) use typed::{Rules, Trail, Typed, unexpected};
