//! The container runtimes: what runs in each pod's sandbox, whether or not a kubelet looks after it.
//!
//! A sandbox is a pod's place on the network, a container one process in it. Containers go on while their kubelet
//! is stopped or out of touch; they end when their program does, when they are killed, or with their machine. Pods are
//! kept by UID: a node that was cut off may still run a pod whose name another node has by now (kubernetes.md 1.6).

use std::collections::BTreeMap;
use std::rc::Rc;

use hopwise_engine::{HostId, Time, host};
use tokio::sync::watch;

use super::echo::echo;
use super::kubelet::PodName;
use super::machine::{self, Machine, Program};
use super::preparation::Prepared;
use super::programs::{Container, Disk, Process};
use super::state::{Assumption, Shared};
use super::topology::PodSite;

/// Exit code of a process that SIGKILL has ended: 128 and the signal's number.
pub const KILLED: i32 = 137;

/// A pod on a machine.
pub struct RunningPod {
    /// Its namespace and name.
    pub name: PodName,
    /// Its node.
    pub node: String,
    /// Its place on the network; none before its sandbox is made and after it was lost.
    pub site: Option<PodSite>,
    /// What its containers are started with, once its init containers have run in this sandbox.
    pub prepared: Option<Prepared>,
    /// Its containers that were started, by name.
    pub containers: BTreeMap<String, RunningContainer>,
}

/// A container that was started.
pub struct RunningContainer {
    /// The host of its process; none while it does not run.
    pub host: Option<HostId>,
    /// Whether its program says that it is ready for its clients.
    pub is_serving: watch::Receiver<bool>,
    /// Whether its image is known; others echo.
    pub is_known: bool,
    /// How often it was started.
    pub starts: i32,
    /// The place of its last run among all that there were.
    life: usize,
    state: watch::Sender<ContainerState>,
    disks: Vec<Disk>,
}

/// Whether a container runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It runs.
    Running {
        /// Since when.
        since: Time,
    },
    /// Its process has ended.
    Exited {
        /// When.
        at: Time,
        /// Its exit code.
        code: i32,
        /// Why, in one word: `Error`, `Completed`, `OOMKilled`.
        reason: String,
        /// Why, in words.
        message: String,
    },
}

impl RunningPod {
    /// A pod without a sandbox.
    pub fn new(name: PodName, node: &str) -> RunningPod {
        RunningPod { name, node: node.to_owned(), site: None, prepared: None, containers: BTreeMap::new() }
    }
}

/// The state of a container; none if it was never started.
pub fn state_of(shared: &Shared, uid: &str, container: &str) -> Option<watch::Receiver<ContainerState>> {
    let running = shared.running.borrow();
    Some(running.get(uid)?.containers.get(container)?.state.subscribe())
}

/// Whether the program of a container runs and is ready for its clients.
pub fn is_serving(shared: &Shared, uid: &str, container: &str) -> bool {
    let running = shared.running.borrow();
    let found = running.get(uid).and_then(|pod| pod.containers.get(container));
    found.is_some_and(|it| it.host.is_some() && *it.is_serving.borrow())
}

/// The host of a container's process; none while it does not run.
pub fn host_of(shared: &Shared, uid: &str, container: &str) -> Option<HostId> {
    shared.running.borrow().get(uid)?.containers.get(container)?.host
}

/// Starts a container in its pod's sandbox; tells how often it was started before.
pub fn start(shared: &Rc<Shared>, machine: &Machine, uid: &str, container: &Container) -> i32 {
    let host = host::create(&format!("{}/{}/{}", container.namespace, container.pod, container.name));
    let (is_known, program) = program(shared, container);
    let now = hopwise_engine::now();
    let mut running = shared.running.borrow_mut();
    let Some(pod) = running.get_mut(uid) else { return 0 };
    if let Some(site) = &pod.site {
        hopwise_fabric::with(|fabric| fabric.attach(host, site.device));
    }
    let entry = pod.containers.entry(container.name.clone()).or_insert_with(|| RunningContainer {
        host: None,
        is_serving: watch::channel(false).1,
        is_known,
        starts: 0,
        life: 0,
        state: watch::Sender::new(ContainerState::Running { since: now }),
        disks: container.disks.values().cloned().collect(),
    });
    entry.starts += 1;
    entry.life = shared.lives.borrow_mut().begin(container);
    entry.state.send_replace(ContainerState::Running { since: now });
    let restarts = entry.starts - 1;
    match program {
        Ok(process) => {
            entry.host = Some(host);
            entry.is_serving = process.ready;
            let program = host::spawn_on(host, process.run);
            let supervised = supervise(shared.clone(), uid.to_owned(), container.name.clone(), host, program);
            let runtime = machine.host_of(Program::ContainerRuntime).unwrap_or(shared.control_plane);
            host::spawn_on(runtime, supervised);
        }
        Err(why) => {
            drop(running);
            machine::kill(host);
            ended(shared, uid, &container.name, None, (1, "Error", &why));
        }
    }
    restarts
}

fn program(shared: &Shared, container: &Container) -> (bool, Result<Process, String>) {
    match shared.programs.start(container) {
        Some(started) => (true, started),
        None => {
            shared.assume(Assumption::EchoesOnItsPorts {
                pod: (container.namespace.clone(), container.pod.clone()),
                container: container.name.clone(),
                image: container.image.clone(),
            });
            (false, Ok(echo(container)))
        }
    }
}

/// Waits for the end of a container's program. One that gives no reason has completed.
async fn supervise(
    shared: Rc<Shared>,
    uid: String,
    container: String,
    host: HostId,
    program: tokio::task::JoinHandle<String>,
) {
    let (code, why) = match program.await {
        Ok(why) => (i32::from(!why.is_empty()), why),
        Err(error) if error.is_panic() => (1, "panicked".to_owned()),
        Err(_) => return,
    };
    machine::kill(host);
    let reason = if code == 0 { "Completed" } else { "Error" };
    ended(&shared, &uid, &container, Some(host), (code, reason, &why));
}

/// Notes that the process of a container on `host` has ended.
fn ended(
    shared: &Shared,
    uid: &str,
    container: &str,
    host: Option<HostId>,
    (code, reason, message): (i32, &str, &str),
) {
    let mut running = shared.running.borrow_mut();
    let Some(pod) = running.get_mut(uid) else { return };
    let object = format!("container {}/{}/{container}", pod.name.0, pod.name.1);
    let Some(entry) = pod.containers.get_mut(container).filter(|entry| entry.host == host) else { return };
    entry.host = None;
    shared.lives.borrow_mut().end(entry.life);
    let (reason, message) = (reason.to_owned(), message.to_owned());
    let at = hopwise_engine::now();
    hopwise_engine::notable("container.exited", object, message.clone());
    entry.state.send_replace(ContainerState::Exited { at, code, reason, message });
}

/// Ends the process of a container; says whether it ran.
pub fn kill(shared: &Shared, uid: &str, container: &str, end: (i32, &str, &str)) -> bool {
    let Some(host) = host_of(shared, uid, container) else { return false };
    machine::kill(host);
    ended(shared, uid, container, Some(host), end);
    true
}

/// Takes a pod's sandbox off the network, and forgets the pod.
pub fn remove(shared: &Shared, uid: &str) {
    let Some(pod) = shared.running.borrow_mut().remove(uid) else { return };
    for container in pod.containers.into_values() {
        if let Some(host) = container.host {
            machine::kill(host);
            shared.lives.borrow_mut().end(container.life);
        }
    }
    if let Some(site) = pod.site {
        hopwise_fabric::with(|fabric| shared.topology.borrow_mut().remove_pod(fabric, &site));
    }
}

/// The machine of these pods has lost power: their processes end at once and say nothing, their sandboxes are gone, and
/// what their disks were not asked to keep is lost. Which containers there were stays known.
pub fn lose_power(shared: &Shared, node: &str) {
    let now = hopwise_engine::now();
    let mut running = shared.running.borrow_mut();
    for pod in running.values_mut().filter(|pod| pod.node == node) {
        pod.prepared = None;
        if let Some(site) = pod.site.take() {
            // Without its device, what the processes' sockets do on their way down reaches nobody.
            hopwise_fabric::with(|fabric| {
                fabric.kill_hosts_silently(site.device);
                fabric.remove(site.device);
                shared.topology.borrow_mut().remove_pod(fabric, &site);
            });
        }
        for container in pod.containers.values_mut() {
            container.disks.iter().for_each(|disk| disk.file_system.crash());
            if container.host.take().is_some() {
                shared.lives.borrow_mut().end(container.life);
                let message = "the node lost power".to_owned();
                let reason = "Error".to_owned();
                container.state.send_replace(ContainerState::Exited {
                    at: now,
                    code: KILLED,
                    reason,
                    message,
                });
            }
        }
    }
}
