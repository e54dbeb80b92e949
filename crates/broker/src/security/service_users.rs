//! The users as whom the HTTP Proxy and the Schema Registry log in where their sections of `redpanda.yaml` name
//! none.
//!
//! Source: redpanda.md 3.5, "ephemeral credentials": a Redpanda broker draws such users at random and tells them to
//! the others over RPC. Here a service's password follows from the cluster's uuid and the service's name, so that
//! every member knows it without being told; it is no secret from who can read the uuid, as those who can reach
//! the Admin API do.

use hopwise_security::sasl::{ITERATIONS_DEFAULT, Login, Mechanism, ScramCredential};
use uuid::Uuid;

use crate::node::Node;

/// How all of them log in.
const MECHANISM: Mechanism = Mechanism::ScramSha256;
/// A service of the broker that is a Kafka client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    HttpProxy,
    SchemaRegistry,
}

impl Service {
    const ALL: [Service; 2] = [Service::HttpProxy, Service::SchemaRegistry];

    fn user(self) -> &'static str {
        match self {
            Service::HttpProxy => "__pandaproxy",
            Service::SchemaRegistry => "__schema_registry",
        }
    }

    fn of(user: &str) -> Option<Service> {
        Service::ALL.into_iter().find(|service| service.user() == user)
    }

    /// How the service logs in; `None` before the broker belongs to a cluster.
    pub fn login(self, node: &Node) -> Option<Login> {
        let cluster = node.membership()?.cluster;
        Some(Login::new(MECHANISM, self.user(), password(cluster, self.user())))
    }
}

/// Whether this is a service's user, which may do everything.
pub(crate) fn is_service(user: &str) -> bool {
    Service::of(user).is_some()
}

/// A user that a certificate names: no certificate makes its owner a service.
///
/// # Errors
/// Why the name is refused.
pub(crate) fn unless_service(user: String) -> Result<String, String> {
    if is_service(&user) { Err(format!("{user} is the name of a broker's own service")) } else { Ok(user) }
}

/// What tells whether a client is a service of a broker of this cluster; `None` for any other user.
pub(super) fn credential(node: &Node, user: &str, mechanism: Mechanism) -> Option<ScramCredential> {
    let service = Service::of(user).filter(|_| mechanism == MECHANISM)?;
    let cluster = node.membership()?.cluster;
    let mut credentials = node.services.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, known)) = credentials.iter().find(|(known, _)| *known == service) {
        return Some(known.clone());
    }
    let salt = cluster.as_bytes().to_vec();
    let made =
        ScramCredential::with_salt(mechanism, &password(cluster, service.user()), ITERATIONS_DEFAULT, salt);
    credentials.push((service, made.clone()));
    Some(made)
}

/// Credentials that were calculated already.
#[derive(Default)]
pub(crate) struct ServiceCredentials(std::sync::Mutex<Vec<(Service, ScramCredential)>>);

fn password(cluster: Uuid, user: &str) -> String {
    let seed = cluster.as_u64_pair().0;
    let halves = [seed, seed.rotate_left(32)].map(|seed| twox_hash::XxHash64::oneshot(seed, user.as_bytes()));
    format!("{:016x}{:016x}", halves[0], halves[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_service_and_cluster_has_its_own_password() {
        let (one, two) = (Uuid::from_u128(1 << 100), Uuid::from_u128(2 << 100));
        let mut passwords: Vec<String> = [one, two]
            .into_iter()
            .flat_map(|cluster| Service::ALL.map(|service| password(cluster, service.user())))
            .collect();
        passwords.sort();
        passwords.dedup();
        assert_eq!(passwords.len(), 4);
        assert!(is_service("__schema_registry") && !is_service("alice"));
    }

    #[test]
    fn no_certificate_names_a_service() {
        assert_eq!(unless_service("alice".to_owned()).as_deref(), Ok("alice"));
        assert!(unless_service("__pandaproxy".to_owned()).is_err());
    }
}
