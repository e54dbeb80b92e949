//! One pod on its node, from its binding to its end: sandbox, init containers, containers, termination.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hopwise_engine::{Span, host};
use hopwise_fabric::DeviceId;
use k8s_openapi::api::core::v1::{self as core, ContainerStatus, Pod};
use tokio::sync::{Notify, watch};

use super::container_life;
use super::container_runtime::{self, RunningPod};
use super::hooks;
use super::kubelet::PodName;
use super::machine::Machine;
use super::pod_status::{self, ContainerPhase, ContainerView, PodView};
use super::preparation::{self, NotStarting, PodFacts, Prepared, is_sidecar};
use super::probes::Probed;
use super::programs::{Container, Disk};
use super::state::{InitFailure, Shared};
use super::timing;
use super::topology::PodSite;
use crate::pod_life::phase::RestartPolicy;
use crate::pod_life::termination::Termination;
use crate::store::{Kind, pod_state};
use crate::volumes;

/// What a pod that cannot start may wait for.
const AWAITED: &[Kind] = &[
    Kind::ConfigMap,
    Kind::Secret,
    Kind::PersistentVolumeClaim,
    Kind::PersistentVolume,
    Kind::VolumeAttachment,
    Kind::Node,
];

/// What a kubelet wants of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It is to run.
    Run,
    /// It is to end within this time, and its object to go.
    Terminate(Span),
    /// The node shuts down: it is to end within this time, and its object to say so.
    ShutDown(Span),
    /// Its object is gone: it is to end at once.
    Kill,
}

/// A pod as its kubelet sees it.
pub struct PodContext {
    /// The cluster's state.
    pub shared: Rc<Shared>,
    /// Its machine.
    pub machine: Rc<Machine>,
    /// The pod as it was when the kubelet learned of it.
    pub pod: Arc<Pod>,
    /// Its UID.
    pub uid: String,
    /// Its namespace and name.
    pub name: PodName,
    view: RefCell<PodView>,
    changed: Notify,
    terminating: Cell<bool>,
}

/// The containers that a worker looks after. They hold the pod, so that the worker holds them and not the pod: what holds itself
/// would outlive the simulation.
type LookedAfter = RefCell<Vec<Rc<Probed>>>;

impl PodContext {
    /// A pod of which the kubelet has just learned.
    pub fn new(shared: Rc<Shared>, machine: Rc<Machine>, pod: Arc<Pod>) -> PodContext {
        let name = super::kubelet::name_of(&pod);
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let running = shared.running.borrow();
        let runs = running.get(&uid);
        let views = |containers: Vec<&core::Container>| {
            containers.into_iter().map(|it| view_of(&pod, runs, &it.name)).collect()
        };
        let spec = pod.spec.as_ref();
        let sidecars = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let view = PodView {
            sidecars: views(sidecars.filter(|it| is_sidecar(it)).collect()),
            containers: views(spec.into_iter().flat_map(|spec| &spec.containers).collect()),
            ..PodView::default()
        };
        drop(running);
        PodContext {
            shared,
            machine,
            pod,
            uid,
            name,
            view: RefCell::new(view),
            changed: Notify::new(),
            terminating: Cell::new(false),
        }
    }

    /// Whether the pod is on its way out.
    pub fn is_terminating(&self) -> bool {
        self.terminating.get()
    }

    /// Its device, once it has a sandbox.
    pub fn device(&self) -> Option<DeviceId> {
        let running = self.shared.running.borrow();
        running.get(&self.uid)?.site.as_ref().map(|site| site.device)
    }

    /// Whether the image of a container is known.
    pub fn knows(&self, container: &str) -> bool {
        let running = self.shared.running.borrow();
        let found = running.get(&self.uid).and_then(|pod| pod.containers.get(container));
        found.is_some_and(|it| it.is_known)
    }

    /// Whether a container counted as started, and as ready, when its state was posted last.
    pub fn posted(&self, container: &str) -> (bool, bool) {
        posted(&self.pod, container).map_or((false, false), |it| (it.started.unwrap_or(false), it.ready))
    }

    /// Changes what is known of a container; the API server learns of it as soon as it can be reached.
    pub fn change(&self, container: &str, change: impl FnOnce(&mut ContainerView)) {
        let mut view = self.view.borrow_mut();
        let PodView { containers, sidecars, .. } = &mut *view;
        if let Some(found) = containers.iter_mut().chain(sidecars).find(|it| it.name == container) {
            change(found);
        }
        self.changed.notify_one();
    }

    /// Somebody else may have written the pod's status: the kubelet's own truth is posted again.
    pub fn post_again(&self) {
        self.changed.notify_one();
    }

    fn change_pod(&self, change: impl FnOnce(&mut PodView)) {
        change(&mut self.view.borrow_mut());
        self.changed.notify_one();
    }

    fn show_addresses(&self) {
        let host_ips = self.shared.topology.borrow().node_addresses(self.machine.name());
        let running = self.shared.running.borrow();
        let site = running.get(&self.uid).and_then(|entry| entry.site.as_ref());
        let pod_ips = site.map(|site| site.addresses.clone()).unwrap_or_default();
        self.change_pod(|view| (view.pod_ips, view.host_ips) = (pod_ips, host_ips));
    }

    fn policy(&self) -> RestartPolicy {
        RestartPolicy::named(self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()))
    }

    fn is_sidecar(&self, container: &str) -> bool {
        self.view.borrow().sidecars.iter().any(|it| it.name == container)
    }
}

/// What a pod's status says of a container.
fn posted<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    all.into_iter().find(|it| it.name == container)
}

/// A container when the kubelet learns of its pod. One that runs already stays as it was posted.
fn view_of(pod: &Pod, running: Option<&RunningPod>, container: &str) -> ContainerView {
    let mut view = ContainerView::new(container);
    if let Some(posted) = posted(pod, container) {
        view.restarts = posted.restart_count;
        let runs = running.and_then(|it| it.containers.get(container)).is_some_and(|it| it.host.is_some());
        if runs {
            view.started = posted.started.unwrap_or(false);
            view.phase = ContainerPhase::Running { ready: posted.ready };
        }
    }
    view
}

/// Carries a pod through its life.
pub async fn run(pod: Rc<PodContext>, mut orders: watch::Receiver<Order>) {
    let posting = host::spawn(post(pod.clone()));
    let new = || RunningPod::new(pod.name.clone(), pod.machine.name());
    pod.shared.running.borrow_mut().entry(pod.uid.clone()).or_insert_with(new);
    let looked_after = LookedAfter::default();
    tokio::select! {
        biased;
        _ = orders.wait_for(|order| *order != Order::Run) => {}
        () = live(&pod, &looked_after) => {}
    }
    end(&pod, looked_after.into_inner(), &mut orders).await;
    posting.abort();
    let kubelet = pod.machine.kubelet.borrow().upgrade();
    if let Some(kubelet) = kubelet {
        kubelet.forget(&pod.uid);
    }
}

/// Writes the pod's status whenever it has changed and the API server can be reached.
async fn post(pod: Rc<PodContext>) {
    loop {
        pod.changed.notified().await;
        pod.machine.api.reachable().await;
        write_status(&pod);
    }
}

fn write_status(pod: &PodContext) {
    let (namespace, name) = &pod.name;
    let mine = |stored: &&Arc<Pod>| stored.metadata.uid.as_deref() == Some(pod.uid.as_str());
    let stored = pod.shared.api.read(|store| store.get::<Pod>(namespace, name).filter(mine).cloned());
    let Some(stored) = stored else { return };
    let was_ready = pod_state::is_ready(&stored);
    let view = pod.view.borrow();
    let patched = pod.machine.api.write(|store, now| {
        store.patch_status::<Pod>(namespace, name, now, |pod| pod_status::set(pod, &view, now))
    });
    let Ok(patched) = patched else { return };
    let is_ready = pod_state::is_ready(&patched);
    if was_ready != is_ready {
        let kind = if is_ready { "pod.ready" } else { "pod.not_ready" };
        hopwise_engine::notable(kind, format!("pod {namespace}/{name}"), "");
    }
}

/// Starts the pod and keeps it running; ends only with a pod whose containers have all ended for good.
async fn live(pod: &Rc<PodContext>, looked_after: &LookedAfter) {
    let Some(prepared) = prepare(pod).await else { return };
    for sidecar in prepared.sidecars {
        let name = sidecar.name.clone();
        look_after(pod, sidecar, RestartPolicy::Always, looked_after);
        // The next container waits until this one has started.
        while !pod.view.borrow().sidecars.iter().any(|it| it.name == name && it.started) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let lives: Vec<_> = prepared
        .containers
        .into_iter()
        .filter_map(|it| look_after(pod, it, pod.policy(), looked_after))
        .collect();
    for life in lives {
        let _ = life.await;
    }
}

/// Starts to look after a container.
fn look_after(
    pod: &Rc<PodContext>,
    container: Container,
    policy: RestartPolicy,
    looked_after: &LookedAfter,
) -> Option<tokio::task::JoinHandle<()>> {
    let spec = pod.pod.spec.as_ref()?;
    let mut declared = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let declared = declared.find(|it| it.name == container.name)?.clone();
    let probed = Rc::new(Probed { pod: pod.clone(), declared, container: Rc::new(container) });
    looked_after.borrow_mut().push(probed.clone());
    Some(host::spawn(container_life::run(probed, policy)))
}

/// Makes the sandbox and runs the init containers, however long that takes; none if the pod has failed.
async fn prepare(pod: &PodContext) -> Option<Prepared> {
    let known = pod.shared.running.borrow().get(&pod.uid).and_then(|entry| entry.prepared.clone());
    if let Some(prepared) = known {
        pod.show_addresses();
        return Some(prepared);
    }
    tokio::time::sleep(timing::POD_START).await;
    let mut watch = pod.machine.api.watch(AWAITED);
    let mut said = None;
    loop {
        let (reason, message) = match prepare_now(pod) {
            Ok(prepared) => {
                pod.change_pod(|view| view.why = None);
                if let Some(entry) = pod.shared.running.borrow_mut().get_mut(&pod.uid) {
                    entry.prepared = Some(prepared.clone());
                }
                return Some(prepared);
            }
            Err(NotStarting::Waits { reason, message }) => (reason, message),
            Err(NotStarting::InitFailed(failure)) => {
                let message = failure.to_string();
                note(pod, *failure);
                if pod.policy() == RestartPolicy::Never {
                    pod.change_pod(|view| {
                        (view.phase, view.why) = (Some("Failed"), Some(("Init:Error".into(), message)));
                    });
                    return None;
                }
                ("Init:Error", message)
            }
        };
        if said.as_ref() != Some(&message) {
            let kind = if reason == "Init:Error" { "pod.init_failed" } else { "pod.waiting" };
            hopwise_engine::notable(kind, format!("pod {}/{}", pod.name.0, pod.name.1), message.clone());
            said = Some(message.clone());
        }
        pod.change_pod(|view| wait(view, reason, &message));
        // What an init script does follows from what it reads: it is run again when that may have changed.
        watch.next(timing::CONTROLLER_LAG).await;
    }
}

fn wait(view: &mut PodView, reason: &str, message: &str) {
    for container in &mut view.containers {
        container.phase = ContainerPhase::Waiting { reason: reason.into(), message: message.into() };
    }
    view.why = Some((reason.into(), message.into()));
}

fn note(pod: &PodContext, failure: InitFailure) {
    let mut failures = pod.shared.init_failures.borrow_mut();
    failures.retain(|it| (&it.pod, &it.container) != (&failure.pod, &failure.container));
    failures.push(failure);
}

/// Puts the pod on the network (once) and resolves everything it refers to, or says why it has to wait.
fn prepare_now(pod: &PodContext) -> Result<Prepared, NotStarting> {
    let (shared, node) = (&pod.shared, pod.machine.name());
    if let Some(message) = shared.api.read(|store| volumes::attachment::waits_for(store, &pod.pod)) {
        return Err(NotStarting::Waits { reason: "FailedAttachVolume", message });
    }
    let known = shared.running.borrow().get(&pod.uid).and_then(|entry| entry.site.clone());
    let site = match known {
        Some(site) => site,
        None => network_of(shared, &pod.pod, &pod.name, node)?,
    };
    if let Some(entry) = shared.running.borrow_mut().get_mut(&pod.uid) {
        entry.site = Some(site.clone());
    }
    let host_ips = shared.topology.borrow().node_addresses(node);
    pod.show_addresses();
    let disk_of = |claim: &str| {
        let (volume, capacity_bytes) = shared.api.read(|store| {
            let volume = volumes::volume_of(store, &pod.name.0, claim)?;
            let capacity = volumes::capacity_bytes(store, &volume);
            Some((volume, capacity))
        })?;
        let (file_system, trouble) = shared.disk(&volume);
        Some(Disk { claim: claim.to_owned(), volume: volume.0, capacity_bytes, file_system, trouble })
    };
    let facts = PodFacts {
        pod: &pod.pod,
        name: &pod.name,
        node,
        pod_ips: &site.addresses,
        host_ips: &host_ips,
        clock: &pod.machine.clock,
    };
    preparation::containers(shared, &facts, &disk_of)
}

/// The pod's place on the network. One that shares its node's network looks names up as its node does (kubernetes.md 5;
/// DNS policy ClusterFirstWithHostNet is left out).
fn network_of(shared: &Shared, pod: &Pod, name: &PodName, node: &str) -> Result<PodSite, NotStarting> {
    let on_host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    if let Some(site) = shared.topology.borrow().host_pod(node).filter(|_| on_host) {
        return Ok(site);
    }
    let device_name = format!("{}/{}", name.0, name.1);
    hopwise_fabric::with(|fabric| {
        let site = shared.topology.borrow_mut().add_pod(fabric, node, &device_name).map_err(|error| {
            NotStarting::Waits { reason: "FailedCreatePodSandBox", message: error.to_string() }
        })?;
        fabric.set_resolver(site.device, shared.pod_resolver(name));
        Ok(site)
    })
}

/// The pod is to end, or has ended by itself: its containers, its sandbox and, unless it is to stay, its object.
async fn end(pod: &Rc<PodContext>, containers: Vec<Rc<Probed>>, orders: &mut watch::Receiver<Order>) {
    pod.terminating.set(true);
    let mut order = *orders.borrow_and_update();
    if pod.shared.bugs.confirm_before_end && matches!(order, Order::Terminate(_)) {
        remove_object(pod).await;
        // What is heard of the object from here on is that it is gone, which this kubelet takes for nothing new.
        end_containers(pod.clone(), containers, grace_of(order)).await;
        take_off_network(pod).await;
        return;
    }
    let mut ending = host::spawn(end_containers(pod.clone(), containers, grace_of(order)));
    loop {
        tokio::select! {
            biased;
            _ = &mut ending => break,
            changed = orders.changed() => {
                if changed.is_err() {
                    break;
                }
                order = *orders.borrow_and_update();
                if order == Order::Kill || grace_of(order) == Span::ZERO {
                    ending.abort();
                    break;
                }
            }
        }
    }
    take_off_network(pod).await;
    if let Order::ShutDown(_) = order {
        let message = "the pod was terminated because its node shuts down";
        pod.change_pod(|view| {
            (view.phase, view.why) = (Some("Failed"), Some(("Terminated".into(), message.into())));
        });
    }
    // A pod that has ended by itself stays until somebody deletes it.
    let to_go = |order: &Order| matches!(order, Order::Terminate(_) | Order::Kill);
    if orders.wait_for(to_go).await.is_err() {
        return;
    }
    remove_object(pod).await;
}

async fn remove_object(pod: &PodContext) {
    pod.machine.api.reachable().await;
    let (namespace, name) = &pod.name;
    // The object may be gone already when the deletion was forced.
    let removed = |store: &mut crate::store::Store, now| {
        store.remove::<Pod>(namespace, name, Some(pod.uid.as_str()), now)
    };
    let _ = pod.machine.api.write(removed);
}

fn grace_of(order: Order) -> Span {
    match order {
        Order::Terminate(grace) | Order::ShutDown(grace) => grace,
        Order::Run | Order::Kill => Span::ZERO,
    }
}

async fn end_containers(pod: Rc<PodContext>, containers: Vec<Rc<Probed>>, grace: Span) {
    let termination = Termination::new(hopwise_engine::now(), grace);
    let (sidecars, containers): (Vec<_>, Vec<_>) =
        containers.into_iter().partition(|it| pod.is_sidecar(&it.declared.name));
    let ending: Vec<_> = containers
        .into_iter()
        .map(|it| host::spawn(async move { hooks::terminate(&it, termination).await }))
        .collect();
    for container in ending {
        let _ = container.await;
    }
    // Sidecars end after the others, in reverse order.
    for sidecar in sidecars.into_iter().rev() {
        hooks::terminate(&sidecar, termination).await;
    }
}

async fn take_off_network(pod: &PodContext) {
    let names: Vec<String> = {
        let running = pod.shared.running.borrow();
        running.get(&pod.uid).into_iter().flat_map(|it| it.containers.keys().cloned()).collect()
    };
    for name in names {
        let end = (container_runtime::KILLED, "Error", "it was killed");
        container_runtime::kill(&pod.shared, &pod.uid, &name, end);
    }
    if pod.device().is_some() {
        // What the dying processes said is on its way before the network goes.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    container_runtime::remove(&pod.shared, &pod.uid);
    hopwise_engine::notable("pod.stopped", format!("pod {}/{}", pod.name.0, pod.name.1), "");
}
