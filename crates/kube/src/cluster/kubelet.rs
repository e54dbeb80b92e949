//! The kubelets: start the pods that are bound to their nodes, and stop those that are to go.
//!
//! One task per pod carries it from its network to its init containers, its containers, and its end. Left out:
//! probes, lifecycle hooks and resource limits; a container is ready when its program says so.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use hopwise_engine::{HostId, host};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::container_life::{self, Report};
use super::machine::{Machine, kill};
use super::pod_status::{self, ContainerPhase};
use super::preparation::{self, NotStarting, PodFacts};
use super::programs::{Container, Disk};
use super::state::Shared;
use super::timing;
use super::topology::PodSite;
use super::watches::Changes;
use crate::store::{Action, Kind, Object, pod_state};
use crate::volumes;

/// A pod's namespace and name.
pub type PodName = (String, String);

/// A pod that a kubelet takes care of.
pub struct RunningPod {
    uid: String,
    /// Its place on the network, once it has one.
    pub site: Option<PodSite>,
    /// The hosts of its running containers, by name.
    pub containers: BTreeMap<String, HostId>,
    /// The tasks that start its containers again when they end.
    lives: Vec<JoinHandle<()>>,
    stop: Option<oneshot::Sender<()>>,
}

/// Runs the kubelet of one machine.
pub async fn run(shared: Rc<Shared>, machine: Rc<Machine>) {
    let mut watch = machine.api.watch_pods_of(machine.name());
    loop {
        match watch.next(timing::CONTROLLER_LAG).await {
            Changes::Some(changes) => {
                for change in changes {
                    match (change.action, &change.object) {
                        (Action::Deleted, Object::Pod(pod)) => forget(&shared, pod),
                        (_, Object::Pod(pod)) => look_at(&shared, pod),
                        _ => {}
                    }
                }
            }
            Changes::All => {
                let here = |pod: &&Arc<Pod>| pod_state::node_name(pod) == Some(machine.name());
                let pods: Vec<_> =
                    shared.api.read(|store| store.list::<Pod>().filter(here).cloned().collect());
                pods.iter().for_each(|pod| look_at(&shared, pod));
            }
        }
    }
}

/// A pod whose object is gone (deleted by force) is stopped too.
fn forget(shared: &Rc<Shared>, pod: &Pod) {
    let mut running = shared.running.borrow_mut();
    let entry = running.get_mut(&name_of(pod)).filter(|entry| Some(&entry.uid) == pod.metadata.uid.as_ref());
    if let Some(stop) = entry.and_then(|entry| entry.stop.take()) {
        let _ = stop.send(());
    }
}

fn name_of(pod: &Pod) -> PodName {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

fn look_at(shared: &Rc<Shared>, pod: &Pod) {
    if pod_state::node_name(pod).is_none() || pod_state::is_finished(pod) {
        return;
    }
    let (name, uid) = (name_of(pod), pod.metadata.uid.clone().unwrap_or_default());
    let mut running = shared.running.borrow_mut();
    match running.get_mut(&name) {
        None => {
            let (stop, stopped) = oneshot::channel();
            let entry = RunningPod {
                uid,
                site: None,
                containers: BTreeMap::new(),
                lives: Vec::new(),
                stop: Some(stop),
            };
            running.insert(name.clone(), entry);
            host::spawn_on(shared.control_plane, live(shared.clone(), pod.clone(), name, stopped));
        }
        Some(entry) if entry.uid == uid && !pod_state::is_terminating(pod) => {}
        Some(entry) => {
            if let Some(stop) = entry.stop.take() {
                let _ = stop.send(());
            }
        }
    }
}

/// A pod from its binding to the end of its object.
async fn live(shared: Rc<Shared>, pod: Pod, name: PodName, mut stopped: oneshot::Receiver<()>) {
    let (events, mut reports) = mpsc::unbounded_channel();
    let mut starting = Box::pin(start(&shared, &pod, &name, events));
    tokio::select! {
        biased;
        _ = &mut stopped => {}
        () = follow(&shared, &pod, &name, &mut starting, &mut reports) => {}
    }
    drop(starting);
    stop(&shared, &pod, &name).await;
}

/// Starts the pod and keeps its status up to date; never ends by itself.
async fn follow(
    shared: &Rc<Shared>,
    pod: &Pod,
    name: &PodName,
    starting: &mut (impl Future<Output = ()> + Unpin),
    reports: &mut mpsc::UnboundedReceiver<Report>,
) {
    let names = pod.spec.iter().flat_map(|spec| &spec.containers).map(|it| it.name.clone());
    let waiting = || ContainerPhase::Waiting { reason: "ContainerCreating".into(), message: String::new() };
    let mut containers: Vec<(String, ContainerPhase, i32)> = names.map(|name| (name, waiting(), 0)).collect();
    let mut started = false;
    loop {
        tokio::select! {
            biased;
            () = &mut *starting, if !started => started = true,
            report = reports.recv() => {
                let Some(report) = report else { return std::future::pending().await };
                let Some(entry) = containers.iter_mut().find(|(name, ..)| *name == report.container) else { continue };
                (entry.1, entry.2) = (report.phase, report.restarts);
                write_status(shared, name, |pod, now| pod_status::set_containers(pod, &containers, now));
            }
        }
    }
}

fn write_status(
    shared: &Shared,
    (namespace, name): &PodName,
    change: impl FnOnce(&mut Pod, hopwise_engine::Time),
) {
    let was_ready =
        shared.api.read(|store| store.get::<Pod>(namespace, name).map(|pod| pod_state::is_ready(pod)));
    let patched = shared
        .api
        .write(|store, now| store.patch_status::<Pod>(namespace, name, now, |pod| change(pod, now)));
    let Ok(pod) = patched else { return };
    let ready = pod_state::is_ready(&pod);
    if was_ready != Some(ready) {
        let kind = if ready { "pod.ready" } else { "pod.not_ready" };
        if ready || was_ready == Some(true) {
            hopwise_engine::notable(kind, format!("pod {namespace}/{name}"), "");
        }
    }
}

async fn start(shared: &Rc<Shared>, pod: &Pod, name: &PodName, events: mpsc::UnboundedSender<Report>) {
    tokio::time::sleep(timing::POD_START).await;
    let Some(node) = pod_state::node_name(pod) else { return };
    let mut watch = shared.api.watch(&[Kind::ConfigMap]);
    let (site, containers) = loop {
        match prepare(shared, pod, name, node) {
            Ok(prepared) => break prepared,
            Err(NotStarting::Waits { reason, message }) => {
                hopwise_engine::notable("pod.waiting", format!("pod {}/{}", name.0, name.1), message.clone());
                write_status(shared, name, |pod, now| pod_status::set_waiting(pod, reason, &message, now));
            }
            Err(NotStarting::InitFailed(failure)) => {
                let message = failure.to_string();
                hopwise_engine::notable(
                    "pod.init_failed",
                    format!("pod {}/{}", name.0, name.1),
                    message.clone(),
                );
                shared.init_failures.borrow_mut().push(*failure);
                write_status(shared, name, |pod, now| {
                    pod_status::set_waiting(pod, "Init:Error", &message, now)
                });
                return;
            }
        }
        watch.next(timing::CONTROLLER_LAG).await;
    };
    for container in containers {
        let life = container_life::run(shared.clone(), site.device, container, events.clone());
        let life = host::spawn_on(shared.control_plane, life);
        if let Some(entry) = shared.running.borrow_mut().get_mut(name) {
            entry.lives.push(life);
        }
    }
}

/// Puts the pod on the network (once) and resolves everything it refers to, or says why it has to wait.
fn prepare(
    shared: &Shared,
    pod: &Pod,
    name: &PodName,
    node: &str,
) -> Result<(PodSite, Vec<Container>), NotStarting> {
    let known = shared.running.borrow().get(name).and_then(|entry| entry.site.clone());
    let site = match known {
        Some(site) => site,
        None => {
            let site = network_of(shared, name, node)?;
            if let Some(entry) = shared.running.borrow_mut().get_mut(name) {
                entry.site = Some(site.clone());
            }
            site
        }
    };
    let host_ips = shared.topology.borrow().node_addresses(node);
    write_status(shared, name, |pod, _| pod_status::set_addresses(pod, &site.addresses, &host_ips));
    let disk_of = |claim: &str| {
        let volume = shared.api.read(|store| volumes::volume_of(store, &name.0, claim))?;
        Some(Disk { claim: claim.to_owned(), file_system: shared.file_system(&volume) })
    };
    let facts = PodFacts { pod, name, node, pod_ips: &site.addresses, host_ips: &host_ips };
    let containers = preparation::containers(shared, &facts, &disk_of)?;
    Ok((site, containers))
}

fn network_of(shared: &Shared, name: &PodName, node: &str) -> Result<PodSite, NotStarting> {
    let device_name = format!("{}/{}", name.0, name.1);
    hopwise_fabric::with(|fabric| {
        let site = shared.topology.borrow_mut().add_pod(fabric, node, &device_name).map_err(|error| {
            NotStarting::Waits { reason: "FailedCreatePodSandBox", message: error.to_string() }
        })?;
        fabric.set_resolver(site.device, shared.pod_resolver(&name.0));
        Ok(site)
    })
}

/// Stops a pod: its processes are asked to end and do so within [`timing::PROCESS_STOP`], or at once when the pod
/// is given no time; then its network and its object go.
async fn stop(shared: &Shared, pod: &Pod, name: &PodName) {
    let grace_s = shared.api.read(|store| {
        let stored =
            store.get::<Pod>(&name.0, &name.1).filter(|stored| stored.metadata.uid == pod.metadata.uid);
        stored.and_then(|stored| stored.metadata.deletion_grace_period_seconds)
    });
    if let Some(grace_s) = grace_s {
        let grace = std::time::Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
        tokio::time::sleep(timing::PROCESS_STOP.min(grace)).await;
    }
    let (containers, site) = {
        let mut running = shared.running.borrow_mut();
        let entry = running.get_mut(name);
        // No container starts again in a pod that is going.
        entry.iter().flat_map(|entry| &entry.lives).for_each(JoinHandle::abort);
        entry.map(|entry| (std::mem::take(&mut entry.containers), entry.site.take())).unwrap_or_default()
    };
    for host in containers.into_values() {
        kill(host);
    }
    if let Some(site) = site {
        // What the dying processes said is on its way before the network goes.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        hopwise_fabric::with(|fabric| shared.topology.borrow_mut().remove_pod(fabric, &site));
    }
    hopwise_engine::notable("pod.stopped", format!("pod {}/{}", name.0, name.1), "");
    shared.running.borrow_mut().remove(name);
    // The object may be gone already when the deletion was forced.
    let _ = shared
        .api
        .write(|store, now| store.remove::<Pod>(&name.0, &name.1, pod.metadata.uid.as_deref(), now));
}
