//! Scenario files: a cluster, clients, a workload, faults, observations and expectations.
//!
//! The format is described in `docs/scenario-file.md`. This module holds the schema and the checks that need only the
//! file itself ([`Scenario::problems`]) or the objects that it names besides ([`Scenario::unknown_objects`]); reading
//! YAML and pointing at lines is `hopwise_kube::source`'s part: problems name fields in the way that its documents
//! locate them (`expect.less[0].hops`).

mod broker;
mod checks;
mod client;
mod cluster;
mod contradictions;
mod draw;
mod event;
mod expect;
mod fault;
mod object;
mod observation;
mod problems;
mod quantity;
mod references;
mod schema;
mod state;
mod timeline;
mod when;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use broker::BrokerBug;
pub use checks::Checks;
pub use client::{Client, ClientBug, ClientProfile, Resolver};
pub use cluster::ClusterBug;
pub use draw::{Choices, Draw, KINDS, Listed, Stock, Target};
pub use event::EventExpectation;
pub use expect::{
    Comparison, Expect, Kept, Measure, Percentile, PodIdentity, PodReturn, check_pods, check_report,
};
pub use fault::{
    BlackHole, BlockedPort, Cascade, ContainerName, DelayedLink, DeleteWorkload, DiskTrouble, DnsServers,
    ExitContainer, ExitReason, ExpiredFlows, FailingDisk, Fault, FaultKind, FlappingBalancer, FlowEnd,
    ImpairedShare, LagKubeProxy, LimitedLink, LinkAspect, MendedDisk, MendedLink, PodName, RebootNode,
    RemoveTaint, ReorderedLink, Scale, SetImage, Share, Skew, SkewedClock, SlowContainer, SlowDisk, SlowDns,
    SlowRegistration, TaintEffect, TaintNode, Target as FaultTarget, Trigger, TriggerEvent, Way, Yes,
    catalogue,
};
pub use object::{ObjectKind, ObjectName};
pub use observation::{Address, Look, Observation};
pub use problems::Problem;
pub use quantity::{DataSize, Duration, QuantityError};
pub use schema::{cluster_schema, scenario_schema};
pub use state::{Fact, Facts, History, StateExpectation, Wanted, facts_of};
pub use when::{When, Window, seconds};

/// A scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence or two.
    #[serde(default)]
    pub about: Option<String>,
    /// The seed unless the command line gives one.
    #[serde(default)]
    pub seed: u64,
    /// The cluster file: its path (relative to the scenario), or its content.
    #[schemars(with = "schema::PathOrCluster")]
    pub cluster: serde_json::Value,
    /// Manifest files and directories, relative to the scenario.
    pub manifests: Vec<String>,
    /// How many pods StatefulSets begin with, where that is not what the manifests say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replicas: BTreeMap<ObjectName, u32>,
    /// The Kafka clients. Each is a route of the report.
    #[serde(default)]
    pub clients: Vec<Client>,
    /// What every client does; nothing if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What goes wrong besides, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<Draw>,
    /// Looks from a place, and what has to come of them.
    #[serde(default)]
    pub observations: Vec<Observation>,
    /// How long the cluster is watched from the timeline's start; to the last time that the scenario names if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
    /// What has to come about.
    #[serde(default)]
    pub expect: Expect,
    /// Which of the checks that are always made are not.
    #[serde(default, skip_serializing_if = "Checks::is_default")]
    pub checks: Checks,
    /// The promise that the brokers break, in builds with feature `bugs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_bug: Option<BrokerBug>,
    /// The promise that the cluster breaks, in builds with feature `bugs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_bug: Option<ClusterBug>,
    /// How the costs are counted.
    #[serde(default)]
    pub cost: Cost,
    /// When a run is given up.
    #[serde(default)]
    pub bounds: Bounds,
}

/// What every client does, at the same time: it produces and fetches, spread over the partitions in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Workload {
    /// The topics. They are created before the workload starts.
    pub topics: Vec<Topic>,
    /// Produce requests.
    #[serde(default)]
    pub producers: Option<Producers>,
    /// Fetch requests.
    #[serde(default)]
    pub consumers: Option<Consumers>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its partitions.
    pub partitions: u32,
    /// Replicas of each partition.
    pub replication: u16,
}

/// Produce requests of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Producers {
    /// How many requests.
    pub requests: u32,
    /// Records in a request.
    #[serde(default = "one")]
    pub records: u32,
    /// Bytes of a record's value.
    pub record_size: u32,
    /// Whose acknowledgement the producer waits for.
    #[serde(default)]
    pub acks: Acks,
    /// From the start of a request to the start of the next; a slow answer delays the next one.
    pub interval: Duration,
    /// Whether a batch that is sent twice is written once (`enable.idempotence`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub idempotent: bool,
    /// How requests make up transactions; they are in none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<Transactions>,
}

/// How the requests of a producer make up transactions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Transactions {
    /// Requests of one transaction, each to the next partition.
    pub partitions: u32,
    /// Each so-manieth is aborted instead of committed; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_every: Option<u32>,
}

/// Fetch requests of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Consumers {
    /// How many requests.
    pub requests: u32,
    /// From the start of a request to the start of the next; a slow answer delays the next one.
    pub interval: Duration,
    /// How long a broker may wait for records (`fetch.max.wait.ms`).
    #[serde(default)]
    pub max_wait: Duration,
}

/// Whose acknowledgement a producer waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// Nobody's (0).
    None,
    /// The leader's (1).
    Leader,
    /// A majority's (-1).
    #[default]
    All,
}

/// How the costs are counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Cost {
    /// Bytes of records per month and client that the run stands for.
    pub monthly_volume: DataSize,
}

/// When a run is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Bounds {
    /// Virtual time until every broker is ready and every load balancer serves.
    pub start: Duration,
    /// Virtual time from then until the workload is done.
    pub run: Duration,
    /// How long after the last fault is over a client may take until its requests are served again.
    pub progress: Duration,
    /// Records of the event log.
    pub events: u64,
    /// Memory of the process.
    pub memory: DataSize,
}

impl Default for Cost {
    fn default() -> Self {
        Cost { monthly_volume: DataSize(1_000_000_000_000) }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration(hopwise_engine::Span::from_secs(minutes * 60));
        Bounds {
            start: minutes(20),
            run: minutes(30),
            // A request of Java's producer that begins then has to be served before it is given up
            // (delivery.timeout.ms, 120 s).
            progress: minutes(2),
            // Some hundred times what the largest scenario of the repository writes.
            events: 10_000_000_000,
            memory: DataSize(32_000_000_000),
        }
    }
}

impl Producers {
    /// Whether a batch that is sent twice is written once (`enable.idempotence`).
    pub fn is_idempotent(&self) -> bool {
        self.idempotent || self.transactions.is_some()
    }
}

impl Workload {
    /// Whether consumers get records of transactions only once they are committed.
    pub fn reads_committed(&self) -> bool {
        self.producers.as_ref().is_some_and(|producers| producers.transactions.is_some())
    }
}

impl Acks {
    /// The number in a Produce request.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests;
