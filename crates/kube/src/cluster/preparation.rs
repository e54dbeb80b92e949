//! From a pod's specification to containers that can run: volumes, environment, init containers.
//!
//! Nothing here runs on the network, so the same code answers what a pod that cannot start *would* be configured
//! like ([`preview`]).

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{self as core, Pod, PodSpec};
use turmoil_fs::Fs;

use super::environment::{Surroundings, expand};
use super::kubelet::PodName;
use super::mounts::{Mounted, PodVolumes};
use super::programs::{Container, ContainerPort, Disk, DiskTrouble, MachineClock};
use super::state::{Assumption, InitFailure, InitProblem, Shared};
use crate::shell;

/// A pod and where it is.
pub struct PodFacts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its namespace and name.
    pub name: &'a PodName,
    /// Its node.
    pub node: &'a str,
    /// Its addresses.
    pub pod_ips: &'a [IpAddr],
    /// Its node's addresses.
    pub host_ips: &'a [IpAddr],
    /// Its node's clock.
    pub clock: &'a MachineClock,
}

/// Why a pod's containers do not start.
#[derive(Debug, thiserror::Error)]
pub enum NotStarting {
    /// Something it refers to is missing; it may come.
    #[error("{message}")]
    Waits {
        /// The kubelet's word for it.
        reason: &'static str,
        /// What is missing.
        message: String,
    },
    /// An init container did not succeed.
    #[error(transparent)]
    InitFailed(#[from] Box<InitFailure>),
}

type Resolved<'a> = (&'a core::Container, Vec<String>, BTreeMap<String, String>);

/// The containers of a pod that go on running.
#[derive(Clone)]
pub struct Prepared {
    /// Init containers with `restartPolicy: Always`, in order.
    pub sidecars: Vec<Container>,
    /// The containers proper.
    pub containers: Vec<Container>,
}

/// The containers of a pod after its init containers have run. `disk_of` finds the disk behind a claim. Sidecars start
/// after the other init containers here, whatever their order: scripts cannot use what a sidecar serves.
///
/// # Errors
/// What keeps them from starting.
pub fn containers(
    shared: &Shared,
    facts: &PodFacts<'_>,
    disk_of: &dyn Fn(&str) -> Option<Disk>,
) -> Result<Prepared, NotStarting> {
    let spec = facts.pod.spec.clone().unwrap_or_default();
    let (mut volumes, init_containers, containers) = resolve(shared, facts, &spec, disk_of)?;
    let (sidecars, init_containers): (Vec<_>, Vec<_>) =
        init_containers.into_iter().partition(|(container, ..)| is_sidecar(container));
    for container in init_containers {
        run_init_container(shared, facts.name, &mut volumes, container)?;
    }
    let all = |resolved: Vec<Resolved<'_>>| {
        resolved.into_iter().map(|resolved| container_of(facts, &volumes, resolved)).collect()
    };
    Ok(Prepared { sidecars: all(sidecars), containers: all(containers) })
}

/// Whether an init container goes on running beside the others.
pub fn is_sidecar(container: &core::Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn resolve<'a>(
    shared: &Shared,
    facts: &PodFacts<'_>,
    spec: &'a PodSpec,
    disk_of: &dyn Fn(&str) -> Option<Disk>,
) -> Result<(PodVolumes, Vec<Resolved<'a>>, Vec<Resolved<'a>>), NotStarting> {
    let text = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (pod_ips, host_ips) = (text(facts.pod_ips), text(facts.host_ips));
    let cluster = shared.cluster_environment();
    shared.api.read(|store| {
        let surroundings =
            Surroundings { store, pod: facts.pod, pod_ips: &pod_ips, host_ips: &host_ips, cluster: &cluster };
        let volumes = PodVolumes::of(spec, &surroundings, disk_of)
            .map_err(|error| NotStarting::Waits { reason: "FailedMount", message: error.to_string() })?;
        let resolve = |container: &'a core::Container| {
            let environment = surroundings.environment(container).map_err(|error| NotStarting::Waits {
                reason: "CreateContainerConfigError",
                message: format!("container {}: {error}", container.name),
            })?;
            let words = container.command.iter().flatten().chain(container.args.iter().flatten());
            let command = words.map(|word| expand(word, &environment)).collect();
            Ok((container, command, environment))
        };
        let init_containers =
            spec.init_containers.iter().flatten().map(resolve).collect::<Result<_, NotStarting>>()?;
        let containers = spec.containers.iter().map(resolve).collect::<Result<_, NotStarting>>()?;
        Ok((volumes, init_containers, containers))
    })
}

/// Runs one init container. One whose image's scripts are not interpreted is assumed to succeed, which is reported.
fn run_init_container(
    shared: &Shared,
    pod: &PodName,
    volumes: &mut PodVolumes,
    (container, command, environment): Resolved<'_>,
) -> Result<(), Box<InitFailure>> {
    let image = container.image.as_deref().unwrap_or("");
    if !shared.programs.interprets(image) || command.is_empty() {
        shared.assume(Assumption::InitContainerSucceeds {
            pod: pod.clone(),
            container: container.name.clone(),
            image: image.to_owned(),
        });
        return Ok(());
    }
    let mounts = container.volume_mounts.as_deref().unwrap_or(&[]);
    let mut files = volumes.mounted(mounts).files;
    let mut commands = (shell::Rpk, shared.node_query());
    let problem = match shell::run(&command, &environment, &mut files, &mut commands) {
        Ok(exit) if exit.status == 0 => {
            volumes.keep(mounts, &files);
            return Ok(());
        }
        Ok(exit) => InitProblem::Failed(exit),
        Err(error) => InitProblem::NotInterpreted(error),
    };
    Err(Box::new(InitFailure { pod: pod.clone(), container: container.name.clone(), problem }))
}

fn container_of(
    facts: &PodFacts<'_>,
    volumes: &PodVolumes,
    (container, command, environment): Resolved<'_>,
) -> Container {
    let Mounted { files, disks } = volumes.mounted(container.volume_mounts.as_deref().unwrap_or(&[]));
    let ports = container.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.container_port).ok()?;
        Some(ContainerPort { name: port.name.clone(), number, udp: port.protocol.as_deref() == Some("UDP") })
    });
    Container {
        namespace: facts.name.0.clone(),
        pod: facts.name.1.clone(),
        pod_uid: facts.pod.metadata.uid.clone().unwrap_or_default(),
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        command,
        environment,
        files,
        disks,
        ports: ports.collect(),
        addresses: facts.pod_ips.to_vec(),
        node: facts.node.to_owned(),
        clock: facts.clock.clone(),
    }
}

/// What the containers of a pod that does not run would be started with on `node`, disks aside.
///
/// # Errors
/// What keeps them from starting there too.
pub fn preview(
    shared: &Shared,
    pod: &Pod,
    name: &PodName,
    node: &str,
) -> Result<Vec<Container>, NotStarting> {
    let host_ips = shared.topology.borrow().node_addresses(node);
    let disk_of = |claim: &str| {
        let (claim, file_system) = (claim.to_owned(), Fs::builder().build());
        let (volume, trouble) = (String::new(), DiskTrouble::default());
        Some(Disk { claim, volume, capacity_bytes: None, file_system, trouble })
    };
    let clock = MachineClock::default();
    let facts = PodFacts { pod, name, node, pod_ips: &[], host_ips: &host_ips, clock: &clock };
    containers(shared, &facts, &disk_of).map(|prepared| prepared.containers)
}
