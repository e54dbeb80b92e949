//! Access control lists: who may do what to which resource (KIP-11, KIP-290).
//!
//! Codes are those of the Kafka protocol, so that requests can be kept as they are.

use serde::{Deserialize, Serialize};

/// Any resource type, operation, pattern or permission in a filter.
const ANY: i8 = 1;
/// In a filter: literal, prefixed and wildcard patterns that cover the name.
const PATTERN_MATCH: i8 = 2;
const PATTERN_PREFIXED: i8 = 4;
/// A literal name that stands for every resource.
const WILDCARD: &str = "*";

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Acl {
    /// 2 topic, 3 group, 4 cluster, 5 transactional id.
    pub resource_type: i8,
    pub resource_name: String,
    /// 3 literal, 4 prefixed.
    pub pattern_type: i8,
    /// `User:name`, or `User:*`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    pub operation: i8,
    /// 2 deny, 3 allow.
    pub permission: i8,
}

/// Which rules are meant; `None` and 1 mean any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AclFilter {
    pub resource_type: i8,
    pub resource_name: Option<String>,
    pub pattern_type: i8,
    pub principal: Option<String>,
    pub host: Option<String>,
    pub operation: i8,
    pub permission: i8,
}

impl Acl {
    /// Whether the rule is about a resource of this name.
    pub fn covers(&self, name: &str) -> bool {
        match self.pattern_type {
            PATTERN_PREFIXED => name.starts_with(&self.resource_name),
            _ => self.resource_name == name || self.resource_name == WILDCARD,
        }
    }
}

impl AclFilter {
    /// Whether a rule is meant.
    pub fn matches(&self, acl: &Acl) -> bool {
        let code = |wanted: i8, code: i8| wanted == ANY || wanted == code;
        let text =
            |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        let name = match (&self.resource_name, self.pattern_type) {
            (None, PATTERN_MATCH | ANY) => true,
            (None, pattern) => pattern == acl.pattern_type,
            (Some(name), PATTERN_MATCH) => acl.covers(name),
            (Some(name), ANY) => *name == acl.resource_name,
            (Some(name), pattern) => *name == acl.resource_name && pattern == acl.pattern_type,
        };
        name && code(self.resource_type, acl.resource_type)
            && code(self.operation, acl.operation)
            && code(self.permission, acl.permission)
            && text(&self.principal, &acl.principal)
            && text(&self.host, &acl.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATTERN_LITERAL: i8 = 3;

    fn acl(name: &str, pattern_type: i8) -> Acl {
        Acl {
            resource_type: 2,
            resource_name: name.to_owned(),
            pattern_type,
            principal: "User:a".to_owned(),
            host: "*".to_owned(),
            operation: 3,
            permission: 3,
        }
    }

    fn filter(name: Option<&str>, pattern_type: i8) -> AclFilter {
        AclFilter {
            resource_type: ANY,
            resource_name: name.map(str::to_owned),
            pattern_type,
            principal: None,
            host: None,
            operation: ANY,
            permission: ANY,
        }
    }

    #[test]
    fn patterns_cover_names_as_kip_290_says() {
        assert!(acl("orders", PATTERN_LITERAL).covers("orders"));
        assert!(!acl("orders", PATTERN_LITERAL).covers("orders-eu"));
        assert!(acl("orders", PATTERN_PREFIXED).covers("orders-eu"));
        assert!(acl(WILDCARD, PATTERN_LITERAL).covers("anything"));
    }

    #[test]
    fn a_match_filter_finds_every_rule_that_covers_the_name() {
        let (literal, prefixed) = (acl("orders-eu", PATTERN_LITERAL), acl("orders", PATTERN_PREFIXED));
        let matching = filter(Some("orders-eu"), PATTERN_MATCH);
        assert!(matching.matches(&literal) && matching.matches(&prefixed));
        let exact = filter(Some("orders-eu"), PATTERN_LITERAL);
        assert!(exact.matches(&literal) && !exact.matches(&prefixed));
        assert!(filter(None, ANY).matches(&prefixed));
        assert!(!filter(None, PATTERN_LITERAL).matches(&prefixed));
    }
}
