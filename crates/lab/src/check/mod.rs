//! `hopwise check`: start the cluster the manifests describe, then try every listener of every broker from every
//! place, as a client would.

pub(crate) mod brokers;
pub(crate) mod facts;
pub(crate) mod inputs_findings;
mod references;
#[cfg(test)]
mod security_tests;
mod trials;
mod unmade;

use std::path::PathBuf;

use hopwise_kube::cluster::{Place, PlaceError, is_client_pod};
use hopwise_kube::controllers::service_defaults::service_type;
use hopwise_kube::store::{Store, pod_state};
use k8s_openapi::api::core::v1::{Pod as PodObject, Service as ServiceObject};

use crate::credentials;
use crate::findings::{diagnosis, lint};
use crate::inputs::Inputs;
use crate::report::check::{Broker, CheckReport, Listener, Pod, Service};
use crate::simulate::{self, SimulationError, Start, Started};
use brokers::KnownBroker;
pub(crate) use trials::outcome_of;

/// How a check is made.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// The places that listeners are tried from.
    pub from: Vec<Place>,
    /// The seed.
    pub seed: u64,
    /// Where a capture of each device is written.
    pub captures: Option<PathBuf>,
}

impl Default for CheckOptions {
    /// From a pod inside and from the internet.
    fn default() -> Self {
        CheckOptions { from: vec![Place::InCluster, Place::External(None)], seed: 0, captures: None }
    }
}

/// Why a check has no result.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The simulation gave none.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A place that is asked for is not there.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

/// Checks a cluster.
///
/// # Errors
/// A place that is not there, a capture that cannot be written.
pub fn check(inputs: Inputs, options: &CheckOptions) -> Result<CheckReport, CheckError> {
    let start = Start { seed: options.seed, captures: options.captures.clone(), ..Start::default() };
    let (from, captures) = (options.from.clone(), options.captures.clone());
    let kept = inputs.clone();
    simulate::simulate(inputs, start, move |started| examine(kept, started, from, captures))?
}

async fn examine(
    inputs: Inputs,
    started: Started,
    from: Vec<Place>,
    captures: Option<PathBuf>,
) -> Result<CheckReport, CheckError> {
    let Started { cluster, brokers: running, .. } = started;
    let mut sites = Vec::new();
    for place in from {
        let site = cluster.place(&place, &format!("client at {place}")).await?;
        sites.push((place, site));
    }
    if let Some(directory) = &captures {
        simulate::capture_all(directory)?;
    }
    let known = brokers::known(&inputs.manifests, &cluster, &running);
    let facts = facts::of(&inputs, &cluster, &known);
    let securities = securities(&known, &cluster);
    let (routes, reasons) = trials::routes(&facts, &sites, &running, &securities).await;
    let mut findings = lint::lint(&facts);
    findings.extend(inputs_findings::of(&inputs, &cluster, &known));
    let findings = diagnosis::explain(&facts, &routes, &reasons, findings);
    let (pods, services) = cluster.api().read(|store| (pods(store), services(store)));
    let brokers = known.iter().map(|known| broker(known, &facts, &inputs, &cluster)).collect();
    Ok(CheckReport::new(brokers, routes, findings, pods, services))
}

/// The brokers of the cluster that `inputs` describe, each with its listeners as it runs them now.
pub fn brokers_of(inputs: &Inputs, started: &Started) -> Vec<Broker> {
    let known = brokers::known(&inputs.manifests, &started.cluster, &started.brokers);
    let facts = facts::of(inputs, &started.cluster, &known);
    known.iter().map(|known| broker(known, &facts, inputs, &started.cluster)).collect()
}

/// How a user of the cluster speaks to each listener, by broker, API and listener name.
fn securities(known: &[KnownBroker], cluster: &hopwise_kube::cluster::Cluster) -> trials::Securities {
    let mut securities = trials::Securities::new();
    for broker in known {
        let (namespace, _) = broker.pod.split_once('/').unwrap_or(("", &broker.pod));
        for listener in broker.listeners() {
            let user = format!("{}/{}/{}", broker.pod, listener.api, listener.name);
            let security = cluster.api().read(|store| {
                credentials::for_listener(&broker.holdings, &listener, store, namespace, &user)
            });
            // Certificates that cannot be read keep the broker from starting, which has a finding of its own.
            let security = security.unwrap_or_default();
            securities.insert((broker.id, facts::api(listener.api), listener.name.clone()), security);
        }
    }
    securities
}

fn broker(
    known: &KnownBroker,
    facts: &crate::findings::facts::Cluster,
    inputs: &Inputs,
    cluster: &hopwise_kube::cluster::Cluster,
) -> Broker {
    let (namespace, pod) = known.pod.split_once('/').unwrap_or(("", &known.pod));
    let node = facts.brokers.iter().find(|it| it.pod_key() == known.pod).and_then(|it| it.node.clone());
    let address =
        inputs.cluster.nodes.iter().find(|it| Some(&it.name) == node.as_ref()).map(|it| it.address());
    Broker {
        id: known.id,
        pod: known.pod.clone(),
        node,
        node_address: address.map(|address| address.to_string()),
        volumes: cluster.volumes_of(namespace, pod).into_iter().map(|(claim, _)| claim).collect(),
        rack: known.config.as_ref().and_then(|config| config.rack.clone()),
        listeners: known
            .listeners()
            .into_iter()
            .map(|listener| Listener {
                api: facts::api(listener.api),
                name: listener.name,
                bind: listener.bind.to_string(),
                advertised: listener.advertised.map(|address| address.to_string()),
                tls: listener.tls,
                authentication: listener.authentication.as_str().to_owned(),
            })
            .collect(),
    }
}

/// The pods of the manifests; those that hopwise adds are not shown.
pub(crate) fn pods(store: &Store) -> Vec<Pod> {
    let name = |pod: &PodObject| {
        (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
    };
    let shown = store.list::<PodObject>().filter(|pod| {
        let (namespace, name) = name(pod);
        namespace != "kube-system" && !is_client_pod(&namespace, &name)
    });
    shown
        .map(|pod| {
            let (namespace, name) = name(pod);
            Pod {
                pod: format!("{namespace}/{name}"),
                phase: pod_state::phase(pod).to_owned(),
                ready: pod_state::is_ready(pod),
                node: pod_state::node_name(pod).map(ToOwned::to_owned),
                ip: pod_state::addresses(pod).first().map(ToString::to_string),
                reason: facts::why_not_ready(pod),
            }
        })
        .collect()
}

/// The Services of the manifests, with what was allocated.
pub(crate) fn services(store: &Store) -> Vec<Service> {
    let own = |service: &ServiceObject| {
        let namespace = service.metadata.namespace.as_deref().unwrap_or("");
        let name = service.metadata.name.as_deref().unwrap_or("");
        namespace == "kube-system" || (namespace, name) == ("default", "kubernetes")
    };
    let shown = store.list::<ServiceObject>().filter(|service| !own(service));
    shown
        .map(|service| {
            let spec = service.spec.clone().unwrap_or_default();
            let status = service.status.clone().unwrap_or_default().load_balancer.unwrap_or_default();
            let node_ports = spec.ports.iter().flatten().filter_map(|port| {
                let number = u16::try_from(port.node_port?).ok()?;
                Some((port.name.clone().unwrap_or_else(|| port.port.to_string()), number))
            });
            let namespace = service.metadata.namespace.as_deref().unwrap_or("");
            Service {
                service: format!("{namespace}/{}", service.metadata.name.as_deref().unwrap_or("")),
                r#type: service_type(service).to_owned(),
                node_ports: node_ports.collect(),
                cluster_ip: spec.cluster_ip.clone(),
                ingress: status
                    .ingress
                    .into_iter()
                    .flatten()
                    .filter_map(|it| it.ip.or(it.hostname))
                    .collect(),
            }
        })
        .collect()
}
