//! Rules that need no simulation: combinations that render and cannot work.
//!
//! The rules follow the table in redpanda.md 1.7 (named L1 to L16 there) and the rows of section 5 that facts alone
//! can show. Each rule is a function from the cluster to findings.

mod addresses;
mod names;
mod placement;
mod ports;
mod security;
mod services;

#[cfg(test)]
pub(crate) mod fixture;

use super::facts::{Broker, Cluster, Listener, Position};
use super::{Finding, arrange};
use crate::report::check::Api;

/// Applies every rule.
pub fn lint(cluster: &Cluster) -> Vec<Finding> {
    let rules: [fn(&Cluster) -> Vec<Finding>; 6] =
        [addresses::rules, names::rules, ports::rules, services::rules, placement::rules, security::rules];
    arrange(rules.iter().flat_map(|rule| rule(cluster)).collect())
}

/// One listener over all brokers that have it, so that a mistake in a template gives one finding, not one per broker.
pub(super) struct Group<'a> {
    /// The object that holds the listener's configuration.
    pub object: String,
    /// Where it is written.
    pub position: Option<&'a Position>,
    /// What the listener speaks.
    pub api: Api,
    /// The listener's name.
    pub name: &'a str,
    /// The brokers and their listener.
    pub members: Vec<(&'a Broker, &'a Listener)>,
}

impl Group<'_> {
    /// The field of the advertised address.
    pub fn field(&self) -> String {
        field(self.api, self.name)
    }

    /// Whether the listener is meant for clients outside: it advertises something that is no name of the cluster.
    pub fn is_external(&self, cluster: &Cluster) -> bool {
        self.members.iter().any(|(_, listener)| cluster.is_for_outside(listener))
    }

    /// A finding about the listener.
    pub fn finding(&self, code: super::Code, explanation: String) -> Finding {
        Finding::new(code, self.object.clone(), explanation).field(self.field()).at(self.position)
    }

    /// `Kafka listener "default"`.
    pub fn title(&self) -> String {
        title(self.api, self.name)
    }
}

/// The listeners of all brokers, grouped by the object that configures them, the API and the name.
pub(super) fn groups(cluster: &Cluster) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for broker in &cluster.brokers {
        let object = owner(cluster, broker);
        for listener in &broker.listeners {
            let known = groups.iter_mut().find(|group| {
                group.object == object && group.api == listener.api && group.name == listener.name
            });
            match known {
                Some(group) => group.members.push((broker, listener)),
                None => groups.push(Group {
                    object: object.clone(),
                    position: broker.position.as_ref(),
                    api: listener.api,
                    name: &listener.name,
                    members: vec![(broker, listener)],
                }),
            }
        }
    }
    groups
}

/// The StatefulSet that a broker belongs to, or its pod.
pub(super) fn owner(cluster: &Cluster, broker: &Broker) -> String {
    let set = broker.pod.rsplit_once('-').map(|(set, _)| set);
    cluster
        .stateful_sets
        .iter()
        .find(|candidate| candidate.namespace == broker.namespace && Some(candidate.name.as_str()) == set)
        .map_or_else(|| broker.object(), |set| set.object())
}

/// The field of redpanda.yaml that holds a listener's advertised address, or the listener where there is none.
pub(super) fn field(api: Api, name: &str) -> String {
    // There is one RPC server, without a name.
    let list = match api {
        Api::Kafka => "redpanda.advertised_kafka_api",
        Api::HttpProxy => "pandaproxy.advertised_pandaproxy_api",
        Api::Admin => "redpanda.admin",
        Api::SchemaRegistry => "schema_registry.schema_registry_api",
        Api::Rpc => "redpanda.rpc_server",
    };
    if name.is_empty() { list.to_owned() } else { format!("{list}[{name}]") }
}

/// `Kafka listener "default"`, `RPC listener`.
pub(super) fn title(api: Api, name: &str) -> String {
    match name {
        "" => format!("{} listener", api_title(api)),
        _ => format!("{} listener \"{name}\"", api_title(api)),
    }
}

/// The name of an API in a sentence.
pub(super) fn api_title(api: Api) -> &'static str {
    match api {
        Api::Kafka => "Kafka",
        Api::Admin => "Admin API",
        Api::HttpProxy => "HTTP Proxy",
        Api::SchemaRegistry => "Schema Registry",
        Api::Rpc => "RPC",
    }
}

/// `a, b and c`, cut after four.
pub(super) fn listed(items: &[String]) -> String {
    const SHOWN: usize = 4;
    match items {
        [] => "none".to_owned(),
        [only] => only.clone(),
        [head @ .., last] if items.len() <= SHOWN => format!("{} and {last}", head.join(", ")),
        _ => format!("{} and {} more", items[..SHOWN].join(", "), items.len() - SHOWN),
    }
}
