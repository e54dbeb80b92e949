//! Requests about access rules (KIP-140, KIP-290); they are kept in the cluster's state.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod describe;

use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::authorization::CLUSTER_NAME;
use crate::cluster::acls::{Acl, AclFilter};

/// How long the controller has: the requests name no time.
const PATIENCE: Duration = Duration::from_secs(5);
/// Topic, group, cluster, transactional id.
const RESOURCE_TYPES: RangeInclusive<i8> = 2..=5;
const CLUSTER: i8 = 4;
/// Literal, prefixed.
const PATTERN_TYPES: RangeInclusive<i8> = 3..=4;
/// All … idempotent write.
const OPERATIONS: RangeInclusive<i8> = 2..=12;
/// Deny, allow.
const PERMISSIONS: RangeInclusive<i8> = 2..=3;
/// Whom rules may be about: users, and roles, which are sets of users.
const PRINCIPALS: [&str; 2] = ["User:", "RedpandaRole:"];

/// Why a rule or a filter is refused.
type Refused = (ResponseError, String);

fn invalid<T>(reason: String) -> Result<T, Refused> {
    Err((ResponseError::InvalidRequest, reason))
}

/// Checks a rule that is to be created.
///
/// # Errors
/// What no rule can be.
fn check_rule(acl: &Acl) -> Result<(), Refused> {
    let codes = [
        ("resource type", acl.resource_type, RESOURCE_TYPES),
        ("pattern type", acl.pattern_type, PATTERN_TYPES),
        ("operation", acl.operation, OPERATIONS),
        ("permission", acl.permission, PERMISSIONS),
    ];
    for (what, code, range) in codes {
        if !range.contains(&code) {
            return invalid(format!("{what} {code}; use {} to {}", range.start(), range.end()));
        }
    }
    if acl.resource_name.is_empty() {
        return invalid("the resource name is empty".to_owned());
    }
    if acl.resource_type == CLUSTER && acl.resource_name != CLUSTER_NAME {
        return invalid(format!("the cluster is named {:?}; use \"{CLUSTER_NAME}\"", acl.resource_name));
    }
    let named =
        PRINCIPALS.iter().any(|kind| acl.principal.len() > kind.len() && acl.principal.starts_with(kind));
    if !named {
        return invalid(format!("principal {:?}; use User:NAME", acl.principal));
    }
    if acl.host.is_empty() {
        return invalid("the host is empty; use an address, or * for all".to_owned());
    }
    Ok(())
}

/// Checks a filter; 0 is what a client sends that does not know the code it means.
///
/// # Errors
/// What no filter can be.
fn check_filter(filter: &AclFilter) -> Result<(), Refused> {
    let codes = [
        ("resource type", filter.resource_type, 6),
        ("pattern type", filter.pattern_type, 4),
        ("operation", filter.operation, 14),
        ("permission", filter.permission, 3),
    ];
    for (what, code, max) in codes {
        if !(1..=max).contains(&code) {
            return invalid(format!("{what} {code}; use 1 to {max}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> Acl {
        Acl {
            resource_type: 2,
            resource_name: "orders".to_owned(),
            pattern_type: 3,
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation: 3,
            permission: 3,
        }
    }

    #[test]
    fn only_rules_that_can_hold_are_taken() {
        assert!(check_rule(&rule()).is_ok());
        let wrong = [
            Acl { resource_type: 1, ..rule() },
            Acl { pattern_type: 2, ..rule() },
            Acl { operation: 1, ..rule() },
            Acl { permission: 1, ..rule() },
            Acl { resource_name: String::new(), ..rule() },
            Acl { resource_type: 4, ..rule() },
            Acl { principal: "ann".to_owned(), ..rule() },
            Acl { principal: "User:".to_owned(), ..rule() },
            Acl { host: String::new(), ..rule() },
        ];
        for rule in wrong {
            assert_eq!(check_rule(&rule).unwrap_err().0, ResponseError::InvalidRequest, "{rule:?}");
        }
    }
}
