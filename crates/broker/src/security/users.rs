//! The users that a broker knows: SCRAM credentials in the cluster's state.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hopwise_security::sasl::{Mechanism, ScramCredential, Users};

use super::service_users;
use crate::cluster::users::{ScramCredential as Stored, ScramMechanism};
use crate::node::Node;

/// Passwords that are remembered as right, so that a client that sends its password with each request costs
/// one calculation.
const REMEMBERED_MAX: usize = 1000;

/// The users of the cluster as this broker knows it.
pub(crate) struct ClusterUsers<'a>(pub &'a Node);

impl Users for ClusterUsers<'_> {
    fn credential(&self, user: &str, mechanism: Mechanism) -> Option<ScramCredential> {
        // The names of services are theirs alone, whatever users there are.
        if service_users::is_service(user) {
            return service_users::credential(self.0, user, mechanism);
        }
        let kind = kind(mechanism)?;
        let stored = self.0.with_cluster(|cluster| cluster.state.users.get(user)?.get(&kind).cloned())?;
        Some(ScramCredential {
            mechanism,
            salt: stored.salt,
            iterations: stored.iterations,
            stored_key: stored.stored_key,
            server_key: stored.server_key,
        })
    }
}

fn kind(mechanism: Mechanism) -> Option<ScramMechanism> {
    match mechanism {
        Mechanism::ScramSha256 => Some(ScramMechanism::Sha256),
        Mechanism::ScramSha512 => Some(ScramMechanism::Sha512),
        Mechanism::Plain => None,
    }
}

/// A credential as the cluster's state keeps it.
pub(crate) fn stored(credential: ScramCredential) -> Stored {
    Stored {
        mechanism: kind(credential.mechanism).unwrap_or(ScramMechanism::Sha256),
        salt: credential.salt,
        iterations: credential.iterations,
        stored_key: credential.stored_key,
        server_key: credential.server_key,
    }
}

/// The mechanisms that clients may choose from, `PLAIN` last (redpanda.md 2.1; `sasl_mechanisms`).
pub(crate) fn mechanisms(node: &Node) -> Vec<Mechanism> {
    let set: Option<Vec<String>> = node.with_cluster(|cluster| {
        let value = cluster.state.properties.get("sasl_mechanisms")?;
        serde_json::from_value(value.clone()).ok()
    });
    let families = set.as_ref().unwrap_or(&node.config.security.sasl_mechanisms);
    let offered = |family: &str| families.iter().any(|name| name == family);
    let mut mechanisms = Vec::new();
    if offered("SCRAM") {
        mechanisms.extend([Mechanism::ScramSha256, Mechanism::ScramSha512]);
    }
    if offered("PLAIN") {
        mechanisms.push(Mechanism::Plain);
    }
    mechanisms
}

/// The mechanism that a user has a credential for, SCRAM-SHA-256 first.
pub(crate) fn mechanism_of(node: &Node, user: &str) -> Option<Mechanism> {
    let known = [Mechanism::ScramSha256, Mechanism::ScramSha512];
    known.into_iter().find(|mechanism| ClusterUsers(node).credential(user, *mechanism).is_some())
}

/// Whether a user may do everything.
pub(crate) fn is_superuser(node: &Node, user: &str) -> bool {
    if service_users::is_service(user) {
        return true;
    }
    let set: Option<Vec<String>> = node.with_cluster(|cluster| {
        let value = cluster.state.properties.get("superusers")?;
        serde_json::from_value(value.clone()).ok()
    });
    let superusers = set.as_ref().unwrap_or(&node.config.security.superusers);
    superusers.iter().any(|name| name == user)
}

/// Checks passwords, and remembers the right ones until the user's credential changes.
#[derive(Clone, Default)]
pub(crate) struct Passwords(Arc<Mutex<BTreeMap<String, Remembered>>>);

struct Remembered {
    password: String,
    credential: ScramCredential,
}

impl Passwords {
    /// Whether this is the user's password.
    pub fn check(&self, users: &dyn Users, user: &str, password: &str) -> bool {
        let known = [Mechanism::ScramSha256, Mechanism::ScramSha512];
        let mut known = known.into_iter().filter_map(|mechanism| users.credential(user, mechanism));
        known.any(|credential| self.matches(user, password, credential))
    }

    fn matches(&self, user: &str, password: &str, credential: ScramCredential) -> bool {
        let right =
            |remembered: &Remembered| remembered.password == password && remembered.credential == credential;
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user).is_some_and(right) {
            return true;
        }
        if !credential.matches(password) {
            return false;
        }
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.pop_first();
        }
        remembered.insert(user.to_owned(), Remembered { password: password.to_owned(), credential });
        true
    }
}
