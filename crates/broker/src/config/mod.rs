//! A broker's node configuration: `redpanda.yaml` and, for the first start, `.bootstrap.yaml`.
//!
//! Both are the text that is mounted in the pod. What is read and what stops a start: redpanda.md 2.1 and
//! 2.2.

mod build;
mod file;
mod kafka_client;
mod listener;
mod node_id;
mod relocation;
mod security;

pub use kafka_client::{BrokerTls, KafkaClientConfig};
pub use listener::{AdvertisedListener, Api, Authentication, HostPort, Listener, TlsFiles};
pub use node_id::NodeIdOverride;
pub use relocation::Relocation;
pub use security::SecurityProperties;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::raft::Timeouts;

/// What a broker is started from.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Every port of the broker, in the order of the APIs and then of the file.
    pub(crate) listeners: Vec<Listener>,
    /// The addresses told to Kafka clients, by listener name.
    pub advertised_kafka_api: Vec<AdvertisedListener>,
    /// The addresses told to HTTP Proxy clients, by listener name.
    pub advertised_pandaproxy_api: Vec<AdvertisedListener>,
    /// Where other brokers reach this one's RPC server. The command line's `--advertise-rpc-addr` goes here.
    pub advertised_rpc_api: HostPort,
    /// The brokers that found or admit to the cluster, in the file's order.
    pub seed_servers: Vec<HostPort>,
    /// Whether a broker without seeds founds a cluster of its own.
    pub empty_seed_starts_cluster: bool,
    /// The configured broker id; normally absent, so that it is assigned.
    pub node_id: Option<i32>,
    /// Which identities are to be taken for others.
    pub node_id_overrides: Vec<NodeIdOverride>,
    /// The rack (zone) replicas are spread over.
    pub rack: Option<String>,
    /// Where the broker keeps its data on its volume.
    pub data_directory: PathBuf,
    /// After so many starts in a row that came to nothing the broker does not try again; `None` for never.
    pub crash_loop_limit: Option<u32>,
    /// Whether the broker starts without HTTP Proxy, Schema Registry and clients' partitions.
    pub recovery_mode_enabled: bool,
    /// Equal for equal files.
    pub(crate) fingerprint: u32,
    /// What `.bootstrap.yaml` says.
    pub(crate) bootstrap: BTreeMap<String, serde_json::Value>,
    /// The HTTP Proxy's Kafka client.
    pub pandaproxy_client: KafkaClientConfig,
    /// The Schema Registry's Kafka client.
    pub schema_registry_client: KafkaClientConfig,
    /// Other settings of the HTTP Proxy and the Schema Registry.
    pub services: HttpServices,
    /// Cluster properties of the first start.
    pub cluster: ClusterProperties,
    /// Cluster properties about who may do what.
    pub security: SecurityProperties,
    /// Keys that change nothing here, by dotted path.
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// Settings of the HTTP Proxy and the Schema Registry besides their listeners and clients (redpanda.md 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpServices {
    /// After which an idle consumer of the HTTP Proxy is given up.
    pub consumer_instance_timeout: Duration,
    /// Kafka clients that the HTTP Proxy keeps, one per user.
    pub client_cache_max_size: usize,
    /// After which an idle one of them is given up.
    pub client_keep_alive: Duration,
    /// Replicas of the registry's topic; `None` for the cluster's default.
    pub schema_registry_replication_factor: Option<i16>,
}

impl Default for HttpServices {
    fn default() -> Self {
        HttpServices {
            consumer_instance_timeout: Duration::from_millis(300_000),
            client_cache_max_size: 10,
            client_keep_alive: Duration::from_millis(300_000),
            schema_registry_replication_factor: None,
        }
    }
}

/// The cluster properties that this version obeys (redpanda.md 4.4 for the defaults).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterProperties {
    /// How long a broker that is not heard counts as alive.
    pub alive_timeout: Duration,
    /// Between two pings to a broker.
    pub node_status_interval: Duration,
    /// Whether Metadata creates the topics it is asked for.
    pub auto_create_topics_enabled: bool,
    /// Partitions of a topic that asks for the default.
    pub default_topic_partitions: i32,
    /// Replicas of a topic that asks for the default.
    pub default_topic_replications: i16,
    /// How long a new group waits for further members.
    pub group_initial_rebalance_delay: Duration,
    /// Longest session time-out that a member of a group may ask for.
    pub group_max_session_timeout: Duration,
    /// Shortest session time-out that a member of a group may ask for.
    pub group_min_session_timeout: Duration,
    /// Partitions of the topic that groups are kept in.
    pub group_topic_partitions: i32,
    /// Replicas of the topics that brokers keep for themselves.
    pub internal_topic_replication_factor: i16,
    /// Largest batch that Produce takes, bytes.
    pub kafka_batch_max_bytes: u32,
    /// Largest request on a Kafka listener, bytes.
    pub kafka_request_max_bytes: u32,
    /// Largest Fetch response, bytes.
    pub fetch_max_bytes: u32,
    /// When a log starts a new segment, bytes.
    pub log_segment_size: u64,
    /// Most replicas that a broker holds.
    pub topic_partitions_per_shard: u32,
    /// Partitions of the topic that transactions are kept in.
    pub transaction_coordinator_partitions: i32,
    /// How often brokers tell each other who leads what.
    pub metadata_dissemination_interval: Duration,
    /// Between two heartbeats of a Raft leader.
    pub raft_heartbeat_interval: Duration,
    /// After which a heartbeat without an answer is given up.
    pub raft_heartbeat_timeout: Duration,
    /// After which a follower that hears nothing asks for votes; half of it more, at most, is drawn by lot.
    pub raft_election_timeout: Duration,
    /// How long the target of a leadership transfer may take to catch up.
    pub raft_transfer_leader_recovery_timeout: Duration,
    /// How long it may then take to be elected.
    pub raft_timeout_now_timeout: Duration,
    /// When records that nobody waits for are synced.
    pub raft_replica_max_flush_delay: Duration,
    /// Or how many bytes of them there are, at most.
    pub raft_replica_max_pending_flush_bytes: u64,
    /// Bytes per second that are copied to new replicas.
    pub raft_learner_recovery_rate: u64,
    /// Free space on a broker's disk below which nothing is taken from clients, bytes.
    pub storage_min_free_bytes: u64,
    /// Free space below which an alert is raised, bytes.
    pub storage_space_alert_free_threshold_bytes: u64,
    /// The same, percent of the disk; the larger of the two counts.
    pub storage_space_alert_free_threshold_percent: u8,
    /// Whether acks=all is content with a majority's memory, in topics that do not say.
    pub write_caching_default: bool,
}

impl Default for ClusterProperties {
    fn default() -> Self {
        ClusterProperties {
            alive_timeout: Duration::from_millis(5000),
            node_status_interval: Duration::from_millis(100),
            auto_create_topics_enabled: false,
            default_topic_partitions: 1,
            default_topic_replications: 1,
            group_initial_rebalance_delay: Duration::from_millis(3000),
            group_max_session_timeout: Duration::from_millis(300_000),
            group_min_session_timeout: Duration::from_millis(6000),
            group_topic_partitions: 16,
            internal_topic_replication_factor: 3,
            kafka_batch_max_bytes: 1 << 20,
            kafka_request_max_bytes: 100 << 20,
            fetch_max_bytes: 57_671_680,
            log_segment_size: 128 << 20,
            topic_partitions_per_shard: 5000,
            transaction_coordinator_partitions: 50,
            metadata_dissemination_interval: Duration::from_millis(3000),
            raft_heartbeat_interval: Duration::from_millis(150),
            raft_heartbeat_timeout: Duration::from_millis(3000),
            raft_election_timeout: Duration::from_millis(1500),
            raft_transfer_leader_recovery_timeout: Duration::from_millis(10_000),
            raft_timeout_now_timeout: Duration::from_millis(1000),
            raft_replica_max_flush_delay: Duration::from_millis(100),
            raft_replica_max_pending_flush_bytes: 256 << 10,
            raft_learner_recovery_rate: 100 << 20,
            storage_min_free_bytes: 5 << 30,
            storage_space_alert_free_threshold_bytes: 0,
            storage_space_alert_free_threshold_percent: 5,
            write_caching_default: false,
        }
    }
}

impl ClusterProperties {
    /// The properties that a set of values comes to; `None` if a value has another type than is wanted.
    pub(crate) fn of(set: &BTreeMap<String, serde_json::Value>) -> Option<ClusterProperties> {
        build::properties_of(set)
    }

    /// What Raft groups wait for. The jitter is half the election timeout, as its defaults are (redpanda.md 4.4).
    pub(crate) fn raft_timeouts(&self) -> Timeouts {
        Timeouts {
            heartbeat_interval: self.raft_heartbeat_interval,
            election: self.raft_election_timeout,
            election_jitter: self.raft_election_timeout / 2,
            heartbeat: self.raft_heartbeat_timeout,
            transfer_catch_up: self.raft_transfer_leader_recovery_timeout,
            timeout_now: self.raft_timeout_now_timeout,
            flush_delay: self.raft_replica_max_flush_delay,
            flush_bytes: self.raft_replica_max_pending_flush_bytes,
        }
    }
}

/// Why a configuration cannot start a broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not YAML, or a key has a value of the wrong type.
    #[error("{file}{}: {message}", at(*.line))]
    Syntax {
        /// `redpanda.yaml` or `.bootstrap.yaml`.
        file: &'static str,
        /// The line, where it is known.
        line: Option<u64>,
        /// What is wrong, with the place.
        message: String,
    },
    /// There is no `redpanda` section.
    #[error("redpanda.yaml: the section \"redpanda\" is missing; put the node's settings under it")]
    MissingRoot,
    /// A key has a value that no broker can start with.
    #[error("{file}{}: {field}: {problem}; {expected}", at(*.line))]
    Field {
        /// `redpanda.yaml` or `.bootstrap.yaml`.
        file: &'static str,
        /// The line, where it is known.
        line: Option<u64>,
        /// The key's path, as `redpanda.kafka_api[1].address`.
        field: String,
        /// What is wrong with the value.
        problem: String,
        /// What is expected, or what to change.
        expected: String,
    },
}

fn at(line: Option<u64>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

impl NodeConfig {
    /// Reads the two files.
    ///
    /// # Errors
    /// The first thing that would stop the broker from starting, with its place.
    pub fn parse(redpanda_yaml: &str, bootstrap_yaml: Option<&str>) -> Result<NodeConfig, ConfigError> {
        build::node_config(redpanda_yaml, bootstrap_yaml)
    }

    /// Every port the broker opens: Kafka, Admin, HTTP Proxy, Schema Registry, RPC. The HTTP Proxy and the
    /// Schema Registry are there only if the file has their section.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut listeners = self.listeners.clone();
        for listener in listeners.iter_mut().filter(|listener| listener.api == Api::Rpc) {
            listener.advertised = Some(self.advertised_rpc_api.clone());
        }
        listeners
    }

    /// The listeners of one kind.
    pub(crate) fn listeners_of(&self, api: Api) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| listener.api == api)
    }
}
