//! What a run leaves for pictures of it: the cluster as it stood, every attempt of every client, and what happened when.
//!
//! A report says how a run came out and is small; this is as large as the run, and is looked at by what draws the run (the
//! page, the trace), which aggregates or samples it.

use std::sync::Arc;

use hopwise_client::{Outcome, RequestRecord};
use hopwise_engine::Time;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::report::check::{Broker, Pod, Service};

/// A run, as it was.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// When the workload began.
    pub start: Time,
    /// When the simulation ended.
    pub end: Time,
    /// The cluster at the end.
    pub topology: Topology,
    /// What each client did.
    pub clients: Vec<RecordedClient>,
    /// The faults that struck, in order.
    pub faults: Vec<RecordedFault>,
    /// Who became the leader of a partition, in order.
    pub elections: Vec<Election>,
    /// What became of the endpoints of Services since the workload began, in order.
    pub endpoints: Vec<EndpointChange>,
}

/// What pods, brokers and load balancers stand where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// The nodes, in the order of the cluster file.
    pub nodes: Vec<TopologyNode>,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
    /// The pods of the manifests.
    pub pods: Vec<Pod>,
    /// The Services of the manifests.
    pub services: Vec<Service>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyNode {
    /// Its name.
    pub name: String,
    /// Its zone, if it has one.
    pub zone: Option<String>,
    /// Its address on the network of the nodes.
    pub address: String,
}

/// One client.
#[derive(Clone, Debug)]
pub struct RecordedClient {
    /// Its name in the scenario.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Its attempts, in the order in which they ended.
    pub attempts: Vec<Arc<RequestRecord>>,
}

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFault {
    /// When.
    pub at: Time,
    /// Its name.
    pub name: String,
}

/// A broker became the leader of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// When.
    pub at: Time,
    /// `namespace/name` of the broker's pod.
    pub pod: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The Raft term.
    pub term: u64,
}

/// The endpoints of a Service that take connections became others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointChange {
    /// When.
    pub at: Time,
    /// `namespace/name` of the Service.
    pub service: String,
    /// The ready endpoints from then on: pods as `namespace/name`, or addresses.
    pub ready: Vec<String>,
}

impl Topology {
    /// The nodes of a cluster file with what stands on them.
    pub fn of(
        nodes: &[hopwise_kube::cluster_file::Node],
        brokers: Vec<Broker>,
        pods: Vec<Pod>,
        services: Vec<Service>,
    ) -> Topology {
        let node = |node: &hopwise_kube::cluster_file::Node| TopologyNode {
            name: node.name.clone(),
            zone: node.zone.clone(),
            address: node.address().to_string(),
        };
        Topology { nodes: nodes.iter().map(node).collect(), brokers, pods, services }
    }
}

impl Recording {
    /// How many attempts there are.
    pub fn attempts(&self) -> usize {
        self.clients.iter().map(|client| client.attempts.len()).sum()
    }
}

/// Whether an attempt failed: no answer, an answer with an error, or an answer from the wrong broker.
pub(crate) fn is_failed(record: &RequestRecord) -> bool {
    record.outcome != Outcome::Ok || record.error_code.is_some_and(|code| code != 0)
}
