//! The brokers of a cluster: those that run, and those that would if their pods could start.

use std::sync::Arc;

use hopwise_broker::{HostPort, Listener, NodeConfig};
use hopwise_kube::cluster::{Cluster, Preview};
use hopwise_kube::manifest::{Manifests, ObjectRef};

use crate::credentials::{Holdings, files_of};
use crate::programs::{Brokers, broker_config, is_broker};

/// A broker as far as it is known.
#[derive(Clone, Debug)]
pub struct KnownBroker {
    /// Its id; for a broker that has none yet, its place among the seed servers.
    pub id: i32,
    /// `namespace/name` of its pod.
    pub pod: String,
    /// The StatefulSet that makes the pod.
    pub set: Option<ObjectRef>,
    /// Its configuration, unless that is what is wrong.
    pub config: Option<NodeConfig>,
    /// Whether it is ready.
    pub running: bool,
    /// Why it does not run.
    pub problem: Option<String>,
    /// What is mounted into it, and its users.
    pub holdings: Holdings,
}

impl KnownBroker {
    /// Its listeners.
    pub fn listeners(&self) -> Vec<Listener> {
        self.config.as_ref().map(NodeConfig::listeners).unwrap_or_default()
    }
}

/// All brokers of the cluster's StatefulSets, by pod.
pub fn known(manifests: &Manifests, cluster: &Cluster, brokers: &Brokers) -> Vec<KnownBroker> {
    let (running, failures) = (brokers.all(), brokers.failures());
    let mut known = Vec::new();
    for set in &manifests.stateful_sets {
        let containers = set
            .value
            .spec
            .iter()
            .filter_map(|spec| spec.template.spec.as_ref())
            .flat_map(|spec| &spec.containers);
        let runs_brokers = containers.into_iter().any(|container| {
            let words: Vec<String> =
                container.command.iter().flatten().chain(container.args.iter().flatten()).cloned().collect();
            is_broker(container.image.as_deref().unwrap_or(""), &words)
        });
        if !runs_brokers {
            continue;
        }
        for (preview, index) in cluster.preview(&set.value).into_iter().zip(0..) {
            let pod = format!("{}/{}", preview.namespace, preview.pod);
            let set = Some(set.reference());
            let failure =
                failures.iter().find(|failure| failure.pod == pod).map(|failure| failure.reason.clone());
            known.push(match running.iter().find(|broker| broker.pod == pod) {
                Some(broker) => KnownBroker {
                    id: broker
                        .status
                        .broker_id()
                        .unwrap_or_else(|| seed_index(&broker.config).unwrap_or(index)),
                    pod,
                    set,
                    config: Some(broker.config.clone()),
                    running: broker.status.ready(),
                    problem: failure,
                    holdings: brokers.holdings(&broker.pod).unwrap_or_default(),
                },
                None => from_preview(preview, pod, set, index, failure),
            });
        }
    }
    known
}

fn from_preview(
    preview: Preview,
    pod: String,
    set: Option<ObjectRef>,
    index: i32,
    failure: Option<String>,
) -> KnownBroker {
    let mut holdings = Holdings::default();
    let config = preview.containers.and_then(|containers| {
        let broker = containers.iter().find(|container| is_broker(&container.image, &container.command));
        let broker = broker.ok_or_else(|| "no container starts a broker".to_owned())?;
        holdings.files = Arc::new(files_of(&broker.files));
        broker_config(broker)
    });
    let (config, problem) = match config {
        Ok(config) => (Some(config), failure),
        Err(problem) => (None, Some(failure.unwrap_or(problem))),
    };
    let id = config.as_ref().and_then(seed_index).unwrap_or(index);
    KnownBroker { id, pod, set, config, running: false, problem, holdings }
}

/// A founding broker's id: the place of its own RPC address among the seed servers (redpanda.md 2.3).
fn seed_index(config: &NodeConfig) -> Option<i32> {
    let own: &HostPort = &config.advertised_rpc_api;
    config.seed_servers.iter().position(|seed| seed == own).and_then(|index| i32::try_from(index).ok())
}
