//! The two files as they are written: every key optional, `null` the same as absent.
//!
//! Source: redpanda.md 2.1. A key that this table does not know is not an error; [`unknown_keys`] lists it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::kafka_client::KafkaClientSection;

/// `redpanda.yaml`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RedpandaYaml {
    pub redpanda: Option<Redpanda>,
    pub pandaproxy: Option<Pandaproxy>,
    pub schema_registry: Option<SchemaRegistry>,
    pub pandaproxy_client: Option<KafkaClientSection>,
    pub schema_registry_client: Option<KafkaClientSection>,
}

/// The `redpanda` section.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Redpanda {
    pub admin: OneOrMany<Endpoint>,
    pub admin_api_tls: OneOrMany<Tls>,
    pub kafka_api: OneOrMany<Endpoint>,
    pub kafka_api_tls: OneOrMany<Tls>,
    pub advertised_kafka_api: OneOrMany<Endpoint>,
    pub rpc_server: Option<Endpoint>,
    pub rpc_server_tls: Option<Tls>,
    pub advertised_rpc_api: Option<Endpoint>,
    pub seed_servers: Option<Vec<Seed>>,
    pub empty_seed_starts_cluster: Option<bool>,
    pub node_id: Option<i32>,
    pub node_id_overrides: Vec<Override>,
    pub rack: Option<String>,
    pub data_directory: Option<String>,
    /// Unlike elsewhere, `null` is a value here: no limit.
    #[serde(deserialize_with = "present")]
    pub crash_loop_limit: Option<Option<u32>>,
    pub recovery_mode_enabled: Option<bool>,
}

/// An entry of `node_id_overrides`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Override {
    pub current_uuid: Option<String>,
    pub new_uuid: Option<String>,
    pub new_id: Option<i32>,
    pub ignore_existing_node_id: bool,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// The `pandaproxy` section: the HTTP Proxy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pandaproxy {
    pub pandaproxy_api: OneOrMany<Endpoint>,
    pub pandaproxy_api_tls: OneOrMany<Tls>,
    pub advertised_pandaproxy_api: OneOrMany<Endpoint>,
    pub client_cache_max_size: Option<usize>,
    /// Milliseconds.
    pub client_keep_alive: Option<u64>,
    pub consumer_instance_timeout_ms: Option<u64>,
}

/// The `schema_registry` section.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SchemaRegistry {
    pub schema_registry_api: OneOrMany<Endpoint>,
    pub schema_registry_api_tls: OneOrMany<Tls>,
    pub schema_registry_replication_factor: Option<i16>,
}

/// A listener, an advertised address, or a plain address.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Endpoint {
    pub name: Option<String>,
    pub address: Option<Spanned<String>>,
    pub port: Option<u16>,
    pub authentication_method: Option<Spanned<String>>,
}

/// An entry of `seed_servers`: `{host: {address, port}}`, or the address itself (the older form).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seed {
    pub host: Option<Endpoint>,
    pub address: Option<Spanned<String>>,
    pub port: Option<u16>,
}

/// A TLS entry. Cipher lists and `crl_file` change nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    pub name: Option<String>,
    pub enabled: Option<bool>,
    pub cert_file: Option<String>,
    pub key_file: Option<String>,
    pub truststore_file: Option<String>,
    pub require_client_auth: Option<bool>,
    pub min_tls_version: Option<Spanned<String>>,
}

/// `.bootstrap.yaml`: a flat map of cluster properties.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BootstrapYaml {
    pub admin_api_require_auth: Option<bool>,
    pub alive_timeout_ms: Option<u64>,
    pub auto_create_topics_enabled: Option<bool>,
    pub default_topic_partitions: Option<i32>,
    pub default_topic_replications: Option<i16>,
    pub enable_sasl: Option<bool>,
    pub fetch_max_bytes: Option<u32>,
    pub group_initial_rebalance_delay: Option<u64>,
    pub group_max_session_timeout_ms: Option<u64>,
    pub group_min_session_timeout_ms: Option<u64>,
    pub group_topic_partitions: Option<i32>,
    pub internal_topic_replication_factor: Option<i16>,
    pub kafka_batch_max_bytes: Option<u32>,
    pub kafka_enable_authorization: Option<bool>,
    pub kafka_mtls_principal_mapping_rules: Option<Vec<String>>,
    pub kafka_request_max_bytes: Option<u32>,
    pub log_segment_size: Option<u64>,
    pub metadata_dissemination_interval_ms: Option<u64>,
    pub node_status_interval: Option<u64>,
    pub raft_election_timeout_ms: Option<u64>,
    pub raft_heartbeat_interval_ms: Option<u64>,
    pub raft_heartbeat_timeout_ms: Option<u64>,
    pub raft_learner_recovery_rate: Option<u64>,
    pub raft_replica_max_flush_delay_ms: Option<u64>,
    pub raft_replica_max_pending_flush_bytes: Option<u64>,
    pub raft_timeout_now_timeout_ms: Option<u64>,
    pub raft_transfer_leader_recovery_timeout_ms: Option<u64>,
    pub sasl_mechanisms: Option<Vec<String>>,
    pub superusers: Option<Vec<String>>,
    pub tls_min_version: Option<String>,
    pub topic_partitions_per_shard: Option<u32>,
    pub transaction_coordinator_partitions: Option<i32>,
    pub storage_min_free_bytes: Option<u64>,
    pub storage_space_alert_free_threshold_bytes: Option<u64>,
    pub storage_space_alert_free_threshold_percent: Option<u8>,
    pub write_caching_default: Option<WriteCaching>,
}

/// `true`, `false`, or `disabled`, which also overrides what topics say. Written with quotes or without.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WriteCaching {
    Plain(bool),
    Word(WriteCachingWord),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WriteCachingWord {
    True,
    False,
    Disabled,
}

impl WriteCaching {
    pub fn is_on(self) -> bool {
        matches!(self, WriteCaching::Plain(true) | WriteCaching::Word(WriteCachingWord::True))
    }
}

/// A list, or one entry without the list around it, as Redpanda's `one_or_many` properties accept both.
#[derive(Debug)]
pub(super) struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shape<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Shape<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of entries, or one entry")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(OneOrMany::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(entries)).map(OneOrMany)
            }

            fn visit_map<A: MapAccess<'de>>(self, entry: A) -> Result<Self::Value, A::Error> {
                Ok(OneOrMany(vec![T::deserialize(MapAccessDeserializer::new(entry))?]))
            }
        }

        deserializer.deserialize_any(Shape(std::marker::PhantomData))
    }
}

const REDPANDA_KEYS: &[&str] = &[
    "admin",
    "admin_api_tls",
    "kafka_api",
    "kafka_api_tls",
    "advertised_kafka_api",
    "rpc_server",
    "rpc_server_tls",
    "advertised_rpc_api",
    "seed_servers",
    "empty_seed_starts_cluster",
    "node_id",
    "node_id_overrides",
    "rack",
    "data_directory",
    "crash_loop_limit",
    "recovery_mode_enabled",
];
const PANDAPROXY_KEYS: &[&str] = &[
    "pandaproxy_api",
    "pandaproxy_api_tls",
    "advertised_pandaproxy_api",
    "client_cache_max_size",
    "client_keep_alive",
    "consumer_instance_timeout_ms",
];
const SCHEMA_REGISTRY_KEYS: &[&str] =
    &["schema_registry_api", "schema_registry_api_tls", "schema_registry_replication_factor"];

/// The keys of `redpanda.yaml` that change nothing here, by dotted path, with their values.
pub(super) fn unknown_keys(text: &str) -> BTreeMap<String, serde_json::Value> {
    let document: BTreeMap<String, serde_json::Value> = serde_saphyr::from_str(text).unwrap_or_default();
    let mut unknown = BTreeMap::new();
    for (section, value) in document {
        let known = match section.as_str() {
            "redpanda" => REDPANDA_KEYS,
            "pandaproxy" => PANDAPROXY_KEYS,
            "schema_registry" => SCHEMA_REGISTRY_KEYS,
            "pandaproxy_client" | "schema_registry_client" => super::kafka_client::KEYS,
            _ => {
                unknown.insert(section, value);
                continue;
            }
        };
        if let serde_json::Value::Object(entries) = value {
            for (key, value) in entries {
                if !known.contains(&key.as_str()) {
                    unknown.insert(format!("{section}.{key}"), value);
                }
            }
        }
    }
    unknown
}
