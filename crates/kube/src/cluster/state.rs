//! What the cluster's tasks share, and what they report.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use hopwise_engine::HostId;
use hopwise_fabric::net::resolver::ResolverConfig;
use k8s_openapi::api::core::v1::{Node, Pod};
use turmoil_fs::Fs;

use super::api::Api;
use super::bugs::Bugs;
use super::cloud::Instance;
use super::container_lives::ContainerLives;
use super::container_runtime::RunningPod;
use super::kubelet::PodName;
use super::machine::Machine;
use super::names::ResolvConf;
use super::network_policies;
use super::operations::Impairments;
use super::programs::{DiskTrouble, Programs};
use super::topology::Topology;
use crate::proxy::ServiceName;
use crate::shell::{Exit, NodeMetadata, NodeQuery, ShellError};
use crate::volumes::VolumeId;

/// Something the simulation takes for granted about a part of the cluster that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumption {
    /// An init container of an image that is not known does nothing that matters and succeeds.
    InitContainerSucceeds {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// A probe is taken to have a result, or is performed otherwise than the manifest says.
    Probe {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// Which probe: `startup`, `readiness` or `liveness`.
        probe: &'static str,
        /// What is taken for granted, in words.
        taken: String,
    },
    /// A lifecycle hook is taken to end at once.
    Hook {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// Its image.
        image: String,
        /// Which hook: `postStart` or `preStop`.
        hook: &'static str,
        /// Why it is not performed, in words.
        why: String,
    },
    /// A container of an image that is not known answers on each declared port with an echo.
    EchoesOnItsPorts {
        /// The pod.
        pod: PodName,
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
    /// A part of CoreDNS's configuration that is not understood changes no answer.
    CorefileIgnored {
        /// Line in the Corefile, from 1.
        line: usize,
        /// The plugin or option.
        what: String,
    },
    /// An annotation of a Service that its load balancer does not follow.
    BalancerIgnores {
        /// The Service.
        service: ServiceName,
        /// The annotation, with its value.
        annotation: String,
        /// What is taken instead.
        assumed: String,
    },
}

/// An init container that did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("init container {container} of pod {}/{}: {problem}", pod.0, pod.1)]
pub struct InitFailure {
    /// The pod.
    pub pod: PodName,
    /// The init container.
    pub container: String,
    /// What is the matter.
    pub problem: InitProblem,
}

/// Why an init container did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InitProblem {
    /// Its script cannot be interpreted.
    #[error(transparent)]
    NotInterpreted(#[from] ShellError),
    /// Its script ended with another status than 0.
    #[error("{}", failed(.0))]
    Failed(Exit),
}

fn failed(exit: &Exit) -> String {
    match &exit.failed {
        Some(failure) => format!(
            "{}, line {}: {} ended with status {}",
            failure.script, failure.line, failure.command, failure.status
        ),
        None => format!("it ended with status {}", exit.status),
    }
}

/// What the cluster's tasks share.
pub struct Shared {
    /// The API server.
    pub api: Api,
    /// The wires.
    pub topology: RefCell<Topology>,
    /// What images hold.
    pub programs: Rc<dyn Programs>,
    /// The machines, by their nodes' names.
    pub machines: BTreeMap<String, Rc<Machine>>,
    /// The pods on all machines, by UID.
    pub running: RefCell<BTreeMap<String, RunningPod>>,
    /// Every run of a container's process.
    pub lives: RefCell<ContainerLives>,
    /// The load balancers, by their Services.
    pub balancers: RefCell<BTreeMap<ServiceName, Instance>>,
    /// The load balancers that go up and down, and what lets them.
    pub flapping: RefCell<BTreeMap<ServiceName, tokio::task::JoinHandle<()>>>,
    /// What is wrong with the ways between places.
    pub impairments: RefCell<Impairments>,
    /// What NetworkPolicies come to, for all nodes.
    pub network_policies: Rc<RefCell<network_policies::Compiled>>,
    /// The host of the control plane's tasks.
    pub control_plane: HostId,
    /// The address of the kube-dns Service.
    pub dns_address: IpAddr,
    /// What the resolvers of pods and nodes are made from.
    pub resolv_conf: ResolvConf,
    /// The address of the API server's Service.
    pub api_address: IpAddr,
    /// Init containers that did not succeed.
    pub init_failures: RefCell<Vec<InitFailure>>,
    assumptions: RefCell<BTreeSet<Assumption>>,
    file_systems: RefCell<BTreeMap<VolumeId, (Fs, DiskTrouble)>>,
    /// The promises that it breaks.
    pub bugs: Bugs,
}

impl Shared {
    /// The state of a cluster that has just been wired.
    pub fn new(
        api: Api,
        topology: Topology,
        machines: Vec<Machine>,
        programs: Rc<dyn Programs>,
        control_plane: HostId,
        resolv_conf: ResolvConf,
        (dns_address, api_address): (IpAddr, IpAddr),
    ) -> Self {
        Shared {
            api,
            topology: RefCell::new(topology),
            machines: machines.into_iter().map(|it| (it.name().to_owned(), Rc::new(it))).collect(),
            programs,
            running: RefCell::default(),
            lives: RefCell::default(),
            balancers: RefCell::default(),
            flapping: RefCell::default(),
            impairments: RefCell::default(),
            network_policies: Rc::default(),
            control_plane,
            dns_address,
            resolv_conf,
            api_address,
            init_failures: RefCell::default(),
            assumptions: RefCell::default(),
            file_systems: RefCell::default(),
            bugs: Bugs::default(),
        }
    }

    /// The same, with promises that are broken.
    pub fn with_bugs(self, bugs: Bugs) -> Self {
        Shared { bugs, ..self }
    }

    /// The API server as the components on a node reach it.
    pub fn api_on(&self, node: &str) -> Api {
        self.machines.get(node).map_or_else(|| self.api.clone(), |machine| machine.api.clone())
    }

    /// Notes an assumption.
    pub fn assume(&self, assumption: Assumption) {
        self.assumptions.borrow_mut().insert(assumption);
    }

    /// The assumptions so far, in order.
    pub fn assumptions(&self) -> Vec<Assumption> {
        self.assumptions.borrow().iter().cloned().collect()
    }

    /// The file system of a volume, and what is wrong with it; the same for as long as the volume exists.
    pub fn disk(&self, volume: &VolumeId) -> (Fs, DiskTrouble) {
        let mut file_systems = self.file_systems.borrow_mut();
        let new = || {
            use rand::Rng;
            let seed = hopwise_engine::stream(&format!("volume/{}", volume.0)).next_u64();
            (Fs::builder().seed(seed).build(), DiskTrouble::default())
        };
        file_systems.entry(volume.clone()).or_insert_with(new).clone()
    }

    /// A volume is gone, and its data with it.
    pub fn forget_file_system(&self, volume: &VolumeId) {
        self.file_systems.borrow_mut().remove(volume);
    }

    /// The resolver of a pod, by its DNS policy, DNS configuration and host aliases (kubernetes.md 5.4).
    pub fn pod_resolver(&self, (namespace, name): &PodName) -> ResolverConfig {
        let pod = self.api.read(|store| store.get::<Pod>(namespace, name).cloned());
        let spec = pod.and_then(|pod| pod.spec.clone()).unwrap_or_default();
        self.resolv_conf.of_pod(namespace, &spec)
    }

    /// The variables that every container gets about the API server (the Kubernetes page "Accessing the
    /// Kubernetes API from a Pod").
    pub fn cluster_environment(&self) -> BTreeMap<String, String> {
        let variables = [
            ("KUBERNETES_SERVICE_HOST", self.api_address.to_string()),
            ("KUBERNETES_SERVICE_PORT", "443".to_owned()),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443".to_owned()),
        ];
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What scripts can ask the API server about nodes.
    pub fn node_query(&self) -> NodeQuery {
        let metadata = |node: &Node| NodeMetadata {
            labels: node.metadata.labels.clone().unwrap_or_default(),
            annotations: node.metadata.annotations.clone().unwrap_or_default(),
        };
        let nodes = self.api.read(|store| {
            let nodes = store.list::<Node>();
            nodes.map(|node| (node.metadata.name.clone().unwrap_or_default(), metadata(node))).collect()
        });
        NodeQuery { nodes }
    }
}
