//! Errors that point at the text.

use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use serde::Serialize;

use super::file::Source;
use super::node::Span;
use super::path::FieldPath;

/// A place in a file. Displayed as `FILE:LINE:COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Location {
    /// The name of the file as the user gave it; `-` is standard input.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Location {
    pub(super) fn new(source: &Source, span: Span) -> Location {
        Location { file: source.name.clone(), line: span.line, column: span.column }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Something in an input file that is wrong: where, which field, what, and what to change.
///
/// Displayed on one line as `FILE:LINE:COLUMN: FIELD: WHAT`; as a [`Diagnostic`] it also shows the lines of
/// the file and the help.
#[derive(Clone, thiserror::Error)]
#[error("{}", .0.headline())]
pub struct SourceError(Box<Parts>);

#[derive(Clone)]
struct Parts {
    location: Location,
    field: FieldPath,
    object: Option<String>,
    what: String,
    help: String,
    code: NamedSource<Arc<str>>,
    span: SourceSpan,
}

impl SourceError {
    pub(super) fn new(source: &Source, span: Span, what: impl Into<String>, help: impl Into<String>) -> Self {
        let first_line = |text: &Arc<str>| {
            let end = text[span.start..span.end].find('\n').map_or(span.end, |end| span.start + end);
            SourceSpan::from(span.start..end)
        };
        SourceError(Box::new(Parts {
            location: Location::new(source, span),
            field: FieldPath::root(),
            object: None,
            what: what.into(),
            help: help.into(),
            code: NamedSource::new(&source.name, source.text.clone()),
            span: first_line(&source.text),
        }))
    }

    /// An error about the source as a whole.
    pub(crate) fn at_start(source: &Source, what: impl Into<String>, help: impl Into<String>) -> Self {
        SourceError::new(source, Span { start: 0, end: 0, line: 1, column: 1 }, what, help)
    }

    /// The same error, about this field.
    pub(crate) fn in_field(mut self, field: FieldPath) -> Self {
        self.0.field = field;
        self
    }

    /// The same error, about this object (`Service default/web`).
    pub(crate) fn in_object(mut self, object: impl Into<String>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Where it is.
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// The field, from the root of the document or of the object in it; the root if the error is not about
    /// one field.
    pub fn field(&self) -> &FieldPath {
        &self.0.field
    }

    /// What is wrong: what was expected, and what was found.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// What to change.
    pub fn fix(&self) -> &str {
        &self.0.help
    }
}

impl Parts {
    fn headline(&self) -> String {
        let mut headline = format!("{}: ", self.location);
        if let Some(object) = &self.object {
            headline.push_str(&format!("{object}: "));
        }
        if !self.field.is_root() {
            headline.push_str(&format!("{}: ", self.field));
        }
        headline.push_str(&self.what);
        headline
    }
}

impl fmt::Debug for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceError({})", self.0.headline())
    }
}

impl Diagnostic for SourceError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.0.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.0.code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = if self.0.field.is_root() { "here".to_owned() } else { self.0.field.to_string() };
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(label), self.0.span))))
    }
}

/// All that is wrong with the input, in the order of the files. Never empty.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", summary(.0))]
pub struct LoadErrors(Vec<SourceError>);

impl LoadErrors {
    /// `Ok` if there are none.
    ///
    /// # Errors
    /// All of them.
    pub fn check(errors: Vec<SourceError>) -> Result<(), LoadErrors> {
        if errors.is_empty() { Ok(()) } else { Err(LoadErrors(errors)) }
    }

    /// Each error.
    pub fn errors(&self) -> &[SourceError] {
        &self.0
    }

    /// The error, if it is the only one; it then needs no list around it.
    fn only(&self) -> Option<&SourceError> {
        match self.errors() {
            [only] => Some(only),
            _ => None,
        }
    }
}

impl From<SourceError> for LoadErrors {
    fn from(error: SourceError) -> LoadErrors {
        LoadErrors(vec![error])
    }
}

impl Diagnostic for LoadErrors {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.only().and_then(Diagnostic::help)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.only().and_then(Diagnostic::source_code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.only().and_then(Diagnostic::labels)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.errors() {
            [_] => None,
            errors => Some(Box::new(errors.iter().map(|error| error as &dyn Diagnostic))),
        }
    }
}

fn summary(errors: &[SourceError]) -> String {
    match errors {
        [only] => only.to_string(),
        errors => format!("{} errors in the input", errors.len()),
    }
}
