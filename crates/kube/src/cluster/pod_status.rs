//! What the kubelet writes into a pod's status.

use std::net::IpAddr;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};

use crate::pod_life::phase::{self, Progress, RestartPolicy};
use crate::store::{pod_state, timestamp};

/// The state of one container as far as the status tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerPhase {
    /// It does not run, with the reason and message that `kubectl describe` shows.
    Waiting {
        /// One word: `ContainerCreating`, `CrashLoopBackOff`.
        reason: String,
        /// The circumstances.
        message: String,
    },
    /// It runs, and is ready or not.
    Running {
        /// Whether it is ready.
        ready: bool,
    },
    /// It has ended.
    Ended(Ended),
}

/// How a container has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Time,
    /// Its exit code.
    pub code: i32,
    /// One word: `Error`, `Completed`, `OOMKilled`.
    pub reason: String,
    /// The circumstances.
    pub message: String,
}

/// One container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Its state.
    pub phase: ContainerPhase,
    /// Whether its startup probe, if it has one, has succeeded.
    pub started: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// How it ended before.
    pub last: Option<Ended>,
}

/// What the kubelet knows of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Sidecars: init containers that go on running.
    pub sidecars: Vec<ContainerView>,
    /// The containers.
    pub containers: Vec<ContainerView>,
    /// The pod's addresses, once it has some.
    pub pod_ips: Vec<IpAddr>,
    /// Its node's addresses.
    pub host_ips: Vec<IpAddr>,
    /// Why the pod as a whole waits or has ended: reason and message.
    pub why: Option<(String, String)>,
    /// The phase, where it does not follow from the containers.
    pub phase: Option<&'static str>,
}

impl ContainerView {
    /// A container that has not been started.
    pub fn new(name: &str) -> ContainerView {
        let phase = ContainerPhase::Waiting { reason: "ContainerCreating".into(), message: String::new() };
        ContainerView { name: name.to_owned(), phase, started: false, restarts: 0, last: None }
    }

    fn is_ready(&self) -> bool {
        self.phase == ContainerPhase::Running { ready: true }
    }

    fn progress(&self) -> Progress {
        match (&self.phase, &self.last) {
            (ContainerPhase::Running { .. }, _) => Progress::Running,
            (ContainerPhase::Ended(ended), _) | (_, Some(ended)) => Progress::Ended(ended.code),
            (ContainerPhase::Waiting { .. }, None) => Progress::NotStarted,
        }
    }
}

impl PodView {
    /// The phase that follows from the containers.
    pub fn phase(&self, policy: RestartPolicy) -> &'static str {
        let progress: Vec<Progress> = self.containers.iter().map(ContainerView::progress).collect();
        self.phase.unwrap_or_else(|| phase::phase(policy, &progress))
    }
}

/// Writes what the kubelet knows into a pod's status; what others wrote of it gives way.
pub fn set(pod: &mut Pod, view: &PodView, now: Time) {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    let phase = view.phase(RestartPolicy::named(policy));
    let all = || view.containers.iter().chain(&view.sidecars);
    let containers_ready = !view.containers.is_empty() && all().all(ContainerView::is_ready);
    let gates_open = readiness_gates_are_open(pod);
    if !view.pod_ips.is_empty() {
        set_addresses(pod, &view.pod_ips, &view.host_ips);
    }
    let status = pod.status.get_or_insert_default();
    status.phase = Some(phase.into());
    if all().any(|it| it.progress() != Progress::NotStarted) {
        status.start_time.get_or_insert_with(|| timestamp(now));
    }
    let statuses = |views: &[ContainerView]| views.iter().map(container_status).collect::<Vec<_>>();
    status.container_statuses = Some(statuses(&view.containers));
    status.init_container_statuses = (!view.sidecars.is_empty()).then(|| statuses(&view.sidecars));
    (status.reason, status.message) = view.why.clone().unzip();
    let finished = matches!(phase, "Succeeded" | "Failed");
    let not_ready = if finished { "PodCompleted" } else { "ContainersNotReady" };
    let reason = (!containers_ready).then_some(not_ready);
    set_condition(status, "ContainersReady", containers_ready, reason, None, now);
    let reason = reason.or((!gates_open).then_some("ReadinessGatesNotReady"));
    set_condition(status, "Ready", containers_ready && gates_open, reason, None, now);
}

/// Whether every condition that `readinessGates` names is True (kubernetes.md 1.8).
fn readiness_gates_are_open(pod: &Pod) -> bool {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    gates.into_iter().all(|gate| {
        pod_state::condition(pod, &gate.condition_type).is_some_and(|condition| condition.status == "True")
    })
}

fn set_addresses(pod: &mut Pod, pod_ips: &[IpAddr], host_ips: &[IpAddr]) {
    let status = pod.status.get_or_insert_default();
    status.pod_ip = pod_ips.first().map(ToString::to_string);
    status.pod_ips = Some(pod_ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect());
    status.host_ip = host_ips.first().map(ToString::to_string);
    status.host_ips = Some(host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
}

/// Sets the condition PodScheduled.
pub fn set_scheduled(pod: &mut Pod, unschedulable: Option<&str>, now: Time) {
    let status = pod.status.get_or_insert_default();
    status.phase.get_or_insert_with(|| "Pending".into());
    let reason = unschedulable.map(|_| "Unschedulable");
    set_condition(status, "PodScheduled", unschedulable.is_none(), reason, unschedulable, now);
}

/// Sets the condition Ready to False and leaves the rest as it is: the pod's node is not ready (kubernetes.md 1.6).
pub fn set_not_ready(pod: &mut Pod, now: Time) {
    set_condition(pod.status.get_or_insert_default(), "Ready", false, None, None, now);
}

fn set_condition(
    status: &mut PodStatus,
    type_: &str,
    value: bool,
    reason: Option<&str>,
    message: Option<&str>,
    now: Time,
) {
    let value = if value { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let found = conditions.iter().position(|condition| condition.type_ == type_);
    let since = match found {
        Some(index) if conditions[index].status == value => conditions[index].last_transition_time.clone(),
        _ => Some(timestamp(now)),
    };
    let condition = PodCondition {
        type_: type_.into(),
        status: value.into(),
        reason: reason.map(Into::into),
        message: message.map(Into::into),
        last_transition_time: since,
        ..PodCondition::default()
    };
    match found {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

fn container_status(view: &ContainerView) -> ContainerStatus {
    let running = matches!(view.phase, ContainerPhase::Running { .. });
    let state = match &view.phase {
        ContainerPhase::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: Some(message.clone()),
            }),
            ..ContainerState::default()
        },
        ContainerPhase::Running { .. } => {
            ContainerState { running: Some(ContainerStateRunning::default()), ..ContainerState::default() }
        }
        ContainerPhase::Ended(ended) => terminated(ended),
    };
    ContainerStatus {
        name: view.name.clone(),
        ready: view.is_ready(),
        restart_count: view.restarts,
        started: Some(running && view.started),
        state: Some(state),
        last_state: view.last.as_ref().map(terminated),
        ..ContainerStatus::default()
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    let terminated = ContainerStateTerminated {
        exit_code: ended.code,
        reason: Some(ended.reason.clone()),
        message: Some(ended.message.clone()),
        finished_at: Some(timestamp(ended.at)),
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}
