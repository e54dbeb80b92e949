//! What members are subscribed to: names, regular expressions, and the topics that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use uuid::Uuid;

/// Largest compiled regular expression, bytes: a short one can stand for a very large automaton.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// What a member wants, and who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<String>,
    pub rack: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub topics: BTreeSet<String>,
    /// As RE2 has it.
    pub regex: Option<String>,
    /// How long the member may take to give partitions up, milliseconds.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it prefers.
    pub assignor: Option<String>,
}

/// The topics that a regular expression stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub topics: BTreeSet<String>,
    /// The version of the topics then.
    pub version: u64,
    /// Milliseconds since 1970.
    pub resolved_ms: i64,
}

/// A topic as an assignor sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopicOutline {
    pub id: Uuid,
    pub partitions: i32,
}

/// The topics that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicImage {
    /// Grows with each change.
    pub version: u64,
    pub topics: BTreeMap<String, TopicOutline>,
}

/// Which topics a client may see.
#[derive(Clone)]
pub(crate) struct Visible(pub Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for Visible {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Visible")
    }
}

impl Visible {
    /// All of them.
    #[cfg(test)]
    pub fn all() -> Visible {
        Visible(Arc::new(|_| true))
    }
}

impl TopicImage {
    /// The topics that the expression matches as a whole and the client may see. An expression that cannot be
    /// compiled, which no member has, stands for none.
    pub fn matching(&self, expression: &str, visible: &Visible) -> BTreeSet<String> {
        let Ok(expression) = compile(expression) else { return BTreeSet::new() };
        let matches = |name: &&String| expression.is_match(name) && (visible.0)(name);
        self.topics.keys().filter(matches).cloned().collect()
    }
}

/// A regular expression that matches whole names, as Kafka's.
///
/// # Errors
/// Why it is none.
pub(crate) fn compile(expression: &str) -> Result<Regex, regex::Error> {
    // Each on its own first: "a)|(b" is none, though it would be one within the brackets.
    RegexBuilder::new(expression).size_limit(REGEX_BYTES_MAX).build()?;
    RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(REGEX_BYTES_MAX).build()
}

/// Differs if a topic comes, goes, is made anew or gets partitions. It is kept with the group's epoch, so that a
/// new coordinator does not take topics that stayed as they were for changed ones.
pub(crate) fn metadata_hash(subscribed: &BTreeSet<String>, image: &TopicImage) -> u64 {
    let mut text = Vec::new();
    for name in subscribed {
        let Some(topic) = image.topics.get(name) else { continue };
        text.extend_from_slice(name.as_bytes());
        text.push(0);
        text.extend_from_slice(topic.id.as_bytes());
        text.extend_from_slice(&topic.partitions.to_be_bytes());
    }
    if text.is_empty() { 0 } else { twox_hash::XxHash64::oneshot(0, &text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(topics: &[(&str, u128, i32)]) -> TopicImage {
        let outline = |id, partitions| TopicOutline { id: Uuid::from_u128(id), partitions };
        let topics = topics.iter().map(|(name, id, count)| (name.to_string(), outline(*id, *count)));
        TopicImage { version: 1, topics: topics.collect() }
    }

    #[test]
    fn an_expression_matches_whole_names_that_may_be_seen() {
        let image = image(&[("orders", 1, 1), ("orders-eu", 2, 1), ("old-orders", 3, 1)]);
        let seen = Visible(Arc::new(|name| name != "orders"));
        let names = |expression, visible: &Visible| -> Vec<String> {
            image.matching(expression, visible).into_iter().collect()
        };
        assert_eq!(names("orders|old", &Visible::all()), ["orders"]);
        assert_eq!(names("orders.*", &Visible::all()), ["orders", "orders-eu"]);
        assert_eq!(names("orders.*", &seen), ["orders-eu"]);
        assert!(compile("a)|(b").is_err());
        assert!(compile("(").is_err());
        assert!(compile(&format!("{}{}", "(a{1000}){1000}", "x")).is_err(), "it would be too large");
    }

    #[test]
    fn the_hash_changes_with_the_topics_that_are_subscribed_to_alone() {
        let subscribed = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let first = metadata_hash(&subscribed, &image(&[("a", 1, 3)]));
        assert_eq!(first, metadata_hash(&subscribed, &image(&[("a", 1, 3), ("c", 9, 1)])));
        for other in
            [image(&[("a", 1, 4)]), image(&[("a", 2, 3)]), image(&[("a", 1, 3), ("b", 3, 1)]), image(&[])]
        {
            assert_ne!(first, metadata_hash(&subscribed, &other), "{other:?}");
        }
    }
}
