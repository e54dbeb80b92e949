//! One Redpanda-like broker, started from the `redpanda.yaml` that is mounted in its pod.
//!
//! [`NodeConfig::parse`] reads the configuration, [`NodeConfig::listeners`] tells which ports it opens, and
//! [`Broker::start`] runs it: the network is reached through `hopwise_fabric::net` alone, the disk through
//! the [`Disk`] that is passed in, the time through `tokio::time`, and randomness comes from a
//! seed. The same code therefore runs in virtual time and on the machine's own sockets.
//!
//! What is modelled, and what is not, is said at the top of each module.

mod bugs;
mod cluster;
mod config;
mod coordinator;
mod gathered;
mod groups;
mod housekeeping;
mod http;
mod http_proxy;
mod kafka;
mod kafka_client;
mod log;
mod metrics;
mod node;
mod operations;
mod processor;
mod producers;
mod raft;
mod replication;
mod rpc;
mod schema_registry;
mod security;
mod space_alert;
mod start;
mod status;
mod tasks;
mod tenure;
mod topic_creation;
mod topic_properties;
mod transactions;
mod volume;

#[cfg(feature = "bugs")]
pub use bugs::Bugs;
pub use config::{
    AdvertisedListener, Api, Authentication, BrokerTls, ClusterProperties, ConfigError, HostPort,
    HttpServices, KafkaClientConfig, Listener, NodeConfig, Relocation, SecurityProperties, TlsFiles,
};
pub use processor::Processor;
pub use security::{BootstrapUser, Environment, Files};
pub use start::{Broker, BrokerError, Clock, StartParameters};
pub use status::{BrokerStatus, Counter, Phase};
pub use tenure::Tenure;
pub use volume::{Disk, DiskTrouble, MemoryFiles};
