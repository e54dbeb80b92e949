//! Which brokers are served: those that manifests would start, or those of a plain cluster.
//!
//! A pod's redpanda.yaml comes from a ConfigMap and from the scripts of its init containers, so the cluster is first
//! brought up in virtual time; what its brokers were started with there is what is served.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hopwise_broker::{BootstrapUser, ConfigError, NodeConfig};
use hopwise_kube::cluster::{Cluster, Settled};
use k8s_openapi::api::core::v1::Pod;

use crate::check::brokers::{self, KnownBroker};
use crate::inputs::Inputs;
use crate::programs::MountedDisk;
use crate::simulate::{SimulationError, Start, simulate};

/// A broker that is to be served.
#[derive(Clone, Debug)]
pub struct PlannedBroker {
    /// `namespace/name` of its pod; of a plain cluster, as if it had one.
    pub pod: String,
    /// The node that the pod runs on.
    pub node: Option<String>,
    /// That node's zone.
    pub zone: Option<String>,
    /// What the broker is started with in its pod.
    pub config: NodeConfig,
    /// Users that exist from the first start on.
    pub users: Vec<BootstrapUser>,
    /// `namespace/name` of the claim of its disk.
    pub claim: Option<String>,
    /// Its disk's size, if that is known.
    pub capacity_bytes: Option<u64>,
}

/// A cluster that no manifest describes.
#[derive(Clone, Debug, Default)]
pub struct PlainCluster {
    /// How many brokers.
    pub brokers: u16,
    /// Cluster properties of the first start, each with its value as it stands in YAML.
    pub properties: Vec<(String, String)>,
    /// Users with all rights; if there are any, Kafka listeners ask for SASL.
    pub users: Vec<BootstrapUser>,
    /// Whether all listeners but RPC speak TLS.
    pub tls: bool,
}

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The cluster cannot be brought up in virtual time.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The manifests start no broker.
    #[error(
        "the manifests start no broker: no StatefulSet runs a container of a redpanda image; add the cluster's manifests"
    )]
    NoBrokers,
    /// Some brokers would not become ready.
    #[error("{}; `hopwise check` with the same files tells more", broken.join("; "))]
    NotReady {
        /// Each broker and why.
        broken: Vec<String>,
    },
    /// A plain cluster's properties cannot be read.
    #[error("--set: {0}")]
    Properties(#[source] ConfigError),
}

/// The brokers that `inputs` would start, in the order of their pods.
///
/// # Errors
/// If there are none, or any of them would not become ready.
pub fn from_manifests(inputs: Inputs, seed: u64) -> Result<Vec<PlannedBroker>, PlanError> {
    let manifests = inputs.manifests.clone();
    let zones: Vec<_> =
        inputs.cluster.nodes.iter().map(|node| (node.name.clone(), node.zone.clone())).collect();
    let start = Start { seed, ..Start::default() };
    let ((known, mut disks), settled) = simulate(inputs, start, |started| async move {
        let known = brokers::known(&manifests, &started.cluster, &started.brokers);
        let disks: BTreeMap<String, MountedDisk> =
            started.brokers.all().into_iter().filter_map(|broker| Some((broker.pod, broker.disk?))).collect();
        let placed: Vec<_> = known
            .into_iter()
            .map(|broker| {
                let node = node_of(&started.cluster, &broker.pod);
                (broker, node)
            })
            .collect();
        ((placed, disks), started.settled)
    })?;
    if known.is_empty() {
        return Err(PlanError::NoBrokers);
    }
    let broken: Vec<String> =
        known.iter().filter_map(|(broker, node)| complaint(broker, node.as_deref(), settled)).collect();
    if !broken.is_empty() {
        return Err(PlanError::NotReady { broken });
    }
    let planned = known.into_iter().filter_map(|(broker, node)| {
        let zone =
            zones.iter().find(|(name, _)| Some(name) == node.as_ref()).and_then(|(_, zone)| zone.clone());
        let users = broker.holdings.users;
        let disk = disks.remove(&broker.pod);
        let (claim, capacity_bytes) = disk.map(|disk| (disk.claim, disk.capacity_bytes)).unzip();
        let capacity_bytes = capacity_bytes.flatten();
        let config = broker.config?;
        Some(PlannedBroker { pod: broker.pod, node, zone, config, users, claim, capacity_bytes })
    });
    Ok(planned.collect())
}

fn node_of(cluster: &Cluster, pod: &str) -> Option<String> {
    let (namespace, name) = pod.split_once('/')?;
    cluster.api().read(|store| store.get::<Pod>(namespace, name)?.spec.as_ref()?.node_name.clone())
}

/// What is wrong with a broker that is not ready.
fn complaint(broker: &KnownBroker, node: Option<&str>, settled: Settled) -> Option<String> {
    if broker.running && broker.config.is_some() {
        return None;
    }
    let why = match (&broker.problem, node, settled) {
        (Some(problem), _, _) => problem.clone(),
        (None, None, _) => "no node takes its pod".to_owned(),
        (None, Some(_), Settled::StillChanging) => "it is still starting after 20 minutes".to_owned(),
        (None, Some(_), _) => "its start does not end".to_owned(),
    };
    Some(format!("the broker in pod {} is not ready: {why}", broker.pod))
}

/// The brokers of a plain cluster, with Kafka listeners `internal` and `external`, and one of each other API.
///
/// # Errors
/// If a property's value is not of its type.
pub fn plain(cluster: &PlainCluster) -> Result<Vec<PlannedBroker>, PlanError> {
    let config = NodeConfig::parse(&plain_yaml(cluster), Some(&plain_bootstrap(cluster)));
    let config = config.map_err(PlanError::Properties)?;
    let broker = |index| PlannedBroker {
        pod: format!("plain/redpanda-{index}"),
        node: Some(format!("node-{index}")),
        zone: None,
        config: config.clone(),
        users: cluster.users.clone(),
        claim: Some(format!("plain/datadir-redpanda-{index}")),
        capacity_bytes: None,
    };
    Ok((0..cluster.brokers).map(broker).collect())
}

fn plain_bootstrap(cluster: &PlainCluster) -> String {
    let given = |key: &str| cluster.properties.iter().any(|(name, _)| name == key);
    let mut text = String::new();
    let mut default = |key: &str, value: &str| {
        if !given(key) {
            let _ = writeln!(text, "{key}: {value}");
        }
    };
    if !cluster.users.is_empty() {
        let names: Vec<String> = cluster.users.iter().map(|user| quoted(&user.name)).collect();
        default("enable_sasl", "true");
        default("sasl_mechanisms", "[SCRAM, PLAIN]");
        default("superusers", &format!("[{}]", names.join(", ")));
    }
    for (key, value) in &cluster.properties {
        let _ = writeln!(text, "{key}: {value}");
    }
    text
}

/// JSON's strings are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The ports are those of the chart (redpanda.md 1.1); all of them are replaced.
fn plain_yaml(cluster: &PlainCluster) -> String {
    let tls = |names: &[&str]| -> String {
        let entry =
            |name: &&str| format!("{{name: {name}, enabled: true, cert_file: /tls.crt, key_file: /tls.key}}");
        let entries: Vec<String> = names.iter().filter(|_| cluster.tls).map(entry).collect();
        format!("[{}]", entries.join(", "))
    };
    let mut client = "brokers: [{address: 127.0.0.1, port: 9093}]".to_owned();
    if let Some(user) = cluster.users.first() {
        let (name, password) = (quoted(&user.name), quoted(&user.password));
        let mechanism = user.mechanism.name();
        let _ = write!(
            client,
            ", sasl_mechanism: {mechanism}, scram_username: {name}, scram_password: {password}"
        );
    }
    if cluster.tls {
        client.push_str(", broker_tls: {enabled: true, truststore_file: /ca.crt}");
    }
    format!(
        "redpanda:
  empty_seed_starts_cluster: false
  admin:
    - {{name: internal, address: 127.0.0.1, port: 9644}}
  admin_api_tls: {internal}
  kafka_api:
    - {{name: internal, address: 127.0.0.1, port: 9093}}
    - {{name: external, address: 127.0.0.1, port: 9094}}
  kafka_api_tls: {both}
  rpc_server: {{address: 127.0.0.1, port: 33145}}
pandaproxy:
  pandaproxy_api:
    - {{name: internal, address: 127.0.0.1, port: 8082}}
  pandaproxy_api_tls: {internal}
pandaproxy_client: {{{client}}}
schema_registry:
  schema_registry_api:
    - {{name: internal, address: 127.0.0.1, port: 8081}}
  schema_registry_api_tls: {internal}
schema_registry_client: {{{client}}}
",
        internal = tls(&["internal"]),
        both = tls(&["internal", "external"]),
    )
}

#[cfg(test)]
mod tests {
    use hopwise_broker::{Api, Authentication};
    use hopwise_security::sasl::Mechanism;

    use super::*;

    fn with(properties: &[(&str, &str)]) -> PlainCluster {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        PlainCluster { brokers: 2, properties: properties.collect(), ..PlainCluster::default() }
    }

    #[test]
    fn a_plain_cluster_may_have_users_and_tls() {
        let user = BootstrapUser {
            name: "al\"ice".to_owned(),
            password: "{a: b}".to_owned(),
            mechanism: Mechanism::ScramSha256,
        };
        let cluster = PlainCluster { brokers: 1, users: vec![user], tls: true, ..PlainCluster::default() };
        let planned = plain(&cluster).unwrap();
        let config = &planned[0].config;
        for listener in config.listeners() {
            assert_eq!(listener.tls, listener.api != Api::Rpc, "{}", listener.api);
            let sasl = listener.authentication == Authentication::Sasl;
            assert_eq!(sasl, listener.api == Api::Kafka, "{}", listener.api);
        }
        assert_eq!(config.security.superusers, ["al\"ice"]);
        assert_eq!(config.pandaproxy_client.scram_password, "{a: b}");
    }

    #[test]
    fn a_plain_cluster_has_every_api_and_two_kafka_listeners() {
        let planned = plain(&with(&[("auto_create_topics_enabled", "true")])).unwrap();
        let listeners: Vec<(Api, String)> =
            planned[1].config.listeners().into_iter().map(|listener| (listener.api, listener.name)).collect();
        let named = |api, name: &str| (api, name.to_owned());
        assert_eq!(
            listeners,
            [
                named(Api::Kafka, "internal"),
                named(Api::Kafka, "external"),
                named(Api::Admin, "internal"),
                named(Api::HttpProxy, "internal"),
                named(Api::SchemaRegistry, "internal"),
                named(Api::Rpc, ""),
            ]
        );
        assert!(planned[0].config.cluster.auto_create_topics_enabled);
        assert_eq!([&planned[0].pod, &planned[1].pod], ["plain/redpanda-0", "plain/redpanda-1"]);
    }

    #[test]
    fn a_property_of_the_wrong_type_is_named() {
        let error = plain(&with(&[("default_topic_partitions", "many")])).unwrap_err();
        assert!(error.to_string().contains("default_topic_partitions: many"), "{error}");
    }
}
