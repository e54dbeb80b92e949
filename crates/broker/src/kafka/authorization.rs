//! Who may do what: the cluster's ACLs applied to a request (KIP-11, KIP-290).
//!
//! Superusers may do everything, and so may everybody while authorization is off
//! (`kafka_enable_authorization`, or `enable_sasl` where that is null). Otherwise a rule has to allow it and
//! none may deny it. To read, write, delete or alter includes to describe; to alter configurations includes
//! to describe them (Kafka: `AclAuthorizer`).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;

use super::Session;
use super::principal::Principal;
use crate::cluster::acls::Acl;
use crate::cluster::properties;
use crate::cluster::roles::ROLE_PRINCIPAL;
use crate::cluster::state::State;
use crate::security::service_users;

/// What is to be done; the codes are those of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(crate) enum Operation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
}

/// What it is to be done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
    TransactionalId(&'a str),
}

/// The one name that a cluster resource has.
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";
/// Every user and every host in a rule.
const ANY_USER: &str = "User:*";
const ANY_HOST: &str = "*";
const DENY: i8 = 2;
const ALLOW: i8 = 3;
/// What "authorized operations" are where the client did not ask for them.
pub(super) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

impl Resource<'_> {
    fn code(self) -> i8 {
        match self {
            Resource::Topic(_) => 2,
            Resource::Group(_) => 3,
            Resource::Cluster => 4,
            Resource::TransactionalId(_) => 5,
        }
    }

    fn name(&self) -> &str {
        match self {
            Resource::Topic(name) | Resource::Group(name) | Resource::TransactionalId(name) => name,
            Resource::Cluster => CLUSTER_NAME,
        }
    }

    fn error(self) -> ResponseError {
        match self {
            Resource::Topic(_) => ResponseError::TopicAuthorizationFailed,
            Resource::Group(_) => ResponseError::GroupAuthorizationFailed,
            Resource::Cluster => ResponseError::ClusterAuthorizationFailed,
            Resource::TransactionalId(_) => ResponseError::TransactionalIdAuthorizationFailed,
        }
    }

    /// What can be done to a resource of this kind.
    fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            Resource::Topic(_) => {
                &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs]
            }
            Resource::Group(_) => &[Read, Delete, Describe],
            Resource::Cluster => {
                &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
            }
            Resource::TransactionalId(_) => &[Write, Describe],
        }
    }
}

impl Operation {
    /// The operations whose permission includes this one.
    fn included_in(self) -> &'static [Operation] {
        match self {
            Operation::Describe => &[Operation::Read, Operation::Write, Operation::Delete, Operation::Alter],
            Operation::DescribeConfigs => &[Operation::AlterConfigs],
            _ => &[],
        }
    }
}

/// Whether a request may do this.
///
/// # Errors
/// The code for the client if it may not.
pub(super) fn authorize(
    session: &Session,
    operation: Operation,
    resource: Resource<'_>,
) -> Result<(), ResponseError> {
    let allowed = session.node.with_cluster(|cluster| allowed(session, &cluster.state, operation, resource));
    if allowed { Ok(()) } else { Err(resource.error()) }
}

/// As [`authorize`], where the cluster's state is at hand already.
pub(super) fn allowed(
    session: &Session,
    state: &State,
    operation: Operation,
    resource: Resource<'_>,
) -> bool {
    if !enabled(state) {
        return true;
    }
    let principal = session.principal();
    is_superuser(state, &principal) || {
        let host = session.connection.peer.map(|peer| peer.ip().to_string()).unwrap_or_default();
        let asker = Asker { principals: principals(state, &principal), host };
        asker.may(&state.acls, operation, resource)
    }
}

/// What the request may do to a resource, as a bit per operation (KIP-430).
pub(super) fn authorized_operations(session: &Session, state: &State, resource: Resource<'_>) -> i32 {
    let bit = |operation: &Operation| 1 << (*operation as i8);
    let operations = resource.operations().iter();
    operations.filter(|operation| allowed(session, state, **operation, resource)).map(bit).sum()
}

fn enabled(state: &State) -> bool {
    properties::value_of(&state.properties, "kafka_enable_authorization")
        .as_bool()
        .unwrap_or_else(|| properties::flag(&state.properties, "enable_sasl"))
}

fn is_superuser(state: &State, principal: &Principal) -> bool {
    let Principal::User(name) = principal else { return false };
    if service_users::is_service(name) {
        return true;
    }
    let superusers = properties::value_of(&state.properties, "superusers");
    superusers.as_array().is_some_and(|users| users.iter().any(|user| user.as_str() == Some(name)))
}

/// The names under which rules may speak of a client: its own, that of every user, and its roles.
fn principals(state: &State, principal: &Principal) -> Vec<String> {
    let mut names = vec![principal.to_string(), ANY_USER.to_owned()];
    if let Principal::User(user) = principal {
        names.extend(state.roles_of(user).map(|role| format!("{ROLE_PRINCIPAL}{role}")));
    }
    names
}

/// Who asks.
struct Asker {
    principals: Vec<String>,
    host: String,
}

impl Asker {
    fn may(&self, acls: &BTreeSet<Acl>, operation: Operation, resource: Resource<'_>) -> bool {
        let mut allowed = false;
        for acl in covering(acls, resource.code(), resource.name()) {
            if !self.is_meant(acl) {
                continue;
            }
            let names = |wanted: Operation| acl.operation == wanted as i8;
            let direct = names(operation) || names(Operation::All);
            match acl.permission {
                DENY if direct => return false,
                ALLOW => {
                    allowed |= direct || operation.included_in().iter().any(|wanted| names(*wanted));
                }
                _ => {}
            }
        }
        allowed
    }

    fn is_meant(&self, acl: &Acl) -> bool {
        self.principals.contains(&acl.principal) && (acl.host == ANY_HOST || acl.host == self.host)
    }
}

/// The rules about a resource: looked up by its name's beginnings, whatever other rules there are.
fn covering<'a>(acls: &'a BTreeSet<Acl>, resource_type: i8, name: &str) -> Vec<&'a Acl> {
    let of = |name: &str| from_name(acls, resource_type, name);
    let mut found: Vec<&Acl> = of("*").filter(|acl| acl.covers(name)).collect();
    // Names sort before what they are a beginning of, so the last rule up to a bound is either about a beginning
    // of the name, or tells how short a beginning has to be at most.
    let mut bound = name.to_owned();
    while let Some(last) = last_up_to(acls, resource_type, &bound) {
        let shared = shared_beginning(&last.resource_name, name);
        if shared == last.resource_name.len() {
            found.extend(of(&last.resource_name).filter(|acl| acl.covers(name)));
            let Some(shorter) = shortened(&last.resource_name) else { break };
            bound = shorter.to_owned();
        } else {
            bound.truncate(shared);
        }
    }
    found
}

fn least(resource_type: i8, name: &str) -> Acl {
    Acl {
        resource_type,
        resource_name: name.to_owned(),
        pattern_type: i8::MIN,
        principal: String::new(),
        host: String::new(),
        operation: i8::MIN,
        permission: i8::MIN,
    }
}

/// The rules with this very name.
fn from_name<'a>(
    acls: &'a BTreeSet<Acl>,
    resource_type: i8,
    name: &str,
) -> impl Iterator<Item = &'a Acl> + use<'a> {
    let name = name.to_owned();
    acls.range(least(resource_type, &name)..)
        .take_while(move |acl| acl.resource_type == resource_type && acl.resource_name == name)
}

/// The last rule of a resource type whose name is not after `bound`.
fn last_up_to<'a>(acls: &'a BTreeSet<Acl>, resource_type: i8, bound: &str) -> Option<&'a Acl> {
    let last = Acl { pattern_type: i8::MAX, ..least(resource_type, bound) };
    acls.range(least(resource_type, "")..=last).next_back()
}

/// The length of the beginning that two names share.
fn shared_beginning(one: &str, other: &str) -> usize {
    let pairs = one.char_indices().zip(other.chars());
    let differ = pairs.into_iter().find(|((_, a), b)| a != b).map(|((index, _), _)| index);
    differ.unwrap_or(one.len().min(other.len()))
}

fn shortened(name: &str) -> Option<&str> {
    name.char_indices().next_back().map(|(index, _)| &name[..index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LITERAL: i8 = 3;
    const PREFIXED: i8 = 4;

    fn acl(name: &str, pattern_type: i8, operation: Operation, permission: i8) -> Acl {
        Acl {
            resource_type: 2,
            resource_name: name.to_owned(),
            pattern_type,
            principal: "User:ann".to_owned(),
            host: "*".to_owned(),
            operation: operation as i8,
            permission,
        }
    }

    fn ann() -> Asker {
        Asker { principals: vec!["User:ann".to_owned(), ANY_USER.to_owned()], host: "10.0.0.1".to_owned() }
    }

    fn may(acls: &[Acl], operation: Operation, topic: &str) -> bool {
        ann().may(&acls.iter().cloned().collect(), operation, Resource::Topic(topic))
    }

    #[test]
    fn nothing_is_allowed_without_a_rule_and_a_denial_wins() {
        assert!(!may(&[], Operation::Read, "orders"));
        let allow = acl("orders", LITERAL, Operation::All, ALLOW);
        assert!(may(std::slice::from_ref(&allow), Operation::Read, "orders"));
        assert!(!may(std::slice::from_ref(&allow), Operation::Read, "orders-eu"));
        let deny = acl("ord", PREFIXED, Operation::Read, DENY);
        assert!(!may(&[allow.clone(), deny.clone()], Operation::Read, "orders"));
        assert!(may(&[allow, deny], Operation::Write, "orders"));
    }

    #[test]
    fn operations_include_others() {
        let read = [acl("*", LITERAL, Operation::Read, ALLOW)];
        assert!(may(&read, Operation::Describe, "any") && !may(&read, Operation::Write, "any"));
        let configs = [acl("o", PREFIXED, Operation::AlterConfigs, ALLOW)];
        assert!(may(&configs, Operation::DescribeConfigs, "orders"));
        // A denial to read does not deny to describe.
        let both = [acl("*", LITERAL, Operation::Write, ALLOW), acl("*", LITERAL, Operation::Read, DENY)];
        assert!(may(&both, Operation::Describe, "any"));
    }

    #[test]
    fn hosts_and_other_users_count() {
        let mut rule = acl("orders", LITERAL, Operation::Read, ALLOW);
        rule.host = "10.0.0.2".to_owned();
        assert!(!may(std::slice::from_ref(&rule), Operation::Read, "orders"));
        rule.host = "10.0.0.1".to_owned();
        assert!(may(std::slice::from_ref(&rule), Operation::Read, "orders"));
        rule.principal = "User:bob".to_owned();
        assert!(!may(std::slice::from_ref(&rule), Operation::Read, "orders"));
        rule.principal = ANY_USER.to_owned();
        assert!(may(&[rule], Operation::Read, "orders"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_look_up_finds_what_a_search_of_all_rules_finds(
            rules in prop::collection::vec(("[ab*é]{0,3}", prop::bool::ANY), 0..30),
            name in "[ab*é]{0,4}",
        ) {
            let rule = |(name, literal): &(String, bool)| {
                acl(name, if *literal { LITERAL } else { PREFIXED }, Operation::Read, ALLOW)
            };
            let acls: BTreeSet<Acl> = rules.iter().map(rule).collect();
            let expected: BTreeSet<&Acl> = acls.iter().filter(|acl| acl.covers(&name)).collect();
            let found: BTreeSet<&Acl> = covering(&acls, 2, &name).into_iter().collect();
            prop_assert_eq!(found, expected);
        }
    }
}
