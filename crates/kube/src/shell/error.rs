//! What the interpreter says about a script it cannot follow.

/// A script that cannot be interpreted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{script}, line {line}: {construct}: {kind}")]
pub struct ShellError {
    /// The script's path, or `bash -c`.
    pub script: String,
    /// Its line, from 1.
    pub line: usize,
    /// The piece of the script in question.
    pub construct: String,
    /// What is the matter with it.
    pub kind: ShellErrorKind,
}

/// Why a script cannot be interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShellErrorKind {
    /// Valid shell that this interpreter leaves out. Rewrite the line with what is interpreted.
    #[error("is not interpreted (see the list in hopwise_kube::shell); rewrite it with plain commands")]
    NotInterpreted,
    /// Not valid shell.
    #[error("is not valid shell; bash would report a syntax error here")]
    Syntax,
    /// The script does more than `limit` of something.
    #[error("goes beyond the interpreter's limit of {limit} {what}; is there an endless loop?")]
    Limit {
        /// The bound.
        limit: usize,
        /// What is bounded.
        what: &'static str,
    },
}
