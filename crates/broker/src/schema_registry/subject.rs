//! Subjects and the contexts they are in.
//!
//! A subject is written `name` in the default context and `:.context:name` in another; `:.context:` alone is
//! the context itself, whose compatibility and mode hold for all its subjects (Confluent's documentation,
//! "Schema contexts"; redpanda.md 3.4, last row). Each context has ids of its own.

use std::fmt;

/// The default context.
pub(crate) const DEFAULT_CONTEXT: &str = ".";

/// A subject's full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    /// With its leading dot.
    pub context: String,
    /// Empty for the context itself.
    pub name: String,
}

impl Subject {
    /// Reads `name` or `:.context:name`. What does not look like the second is the first.
    pub fn parse(text: &str) -> Subject {
        let qualified = text.strip_prefix(":.").and_then(|rest| rest.split_once(':'));
        match qualified {
            Some((context, name)) => Subject { context: format!(".{context}"), name: name.to_owned() },
            None => Subject { context: DEFAULT_CONTEXT.to_owned(), name: text.to_owned() },
        }
    }

    /// The subject of this name, unqualified names being in the same context as `self`.
    pub fn sibling(&self, text: &str) -> Subject {
        if text.starts_with(":.") {
            return Subject::parse(text);
        }
        Subject { context: self.context.clone(), name: text.to_owned() }
    }

    /// Whether this stands for a whole context other than the default one.
    pub fn is_context(&self) -> bool {
        self.name.is_empty() && self.context != DEFAULT_CONTEXT
    }

    /// The context as a subject, where its settings are.
    pub fn of_context(&self) -> Subject {
        Subject { context: self.context.clone(), name: String::new() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.context == DEFAULT_CONTEXT {
            formatter.write_str(&self.name)
        } else {
            write!(formatter, ":{}:{}", self.context, self.name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_names_are_read_and_written() {
        for text in ["orders-value", ":.staging:orders-value", ":.staging:", "a:b", ":x:y"] {
            assert_eq!(Subject::parse(text).to_string(), text);
        }
        assert_eq!(Subject::parse(":.staging:orders").context, ".staging");
        assert_eq!(Subject::parse("orders").context, DEFAULT_CONTEXT);
        assert_eq!(Subject::parse(":.:orders").to_string(), "orders");
        assert!(Subject::parse(":.staging:").is_context());
        assert!(!Subject::parse("").is_context());
    }

    #[test]
    fn references_stay_in_the_context_unless_they_name_another() {
        let subject = Subject::parse(":.staging:orders");
        assert_eq!(subject.sibling("customer").to_string(), ":.staging:customer");
        assert_eq!(subject.sibling(":.prod:customer").to_string(), ":.prod:customer");
    }
}
