//! What the kubelet writes into a pod's status.

use std::net::IpAddr;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition,
    PodIP, PodStatus,
};

use crate::store::timestamp;

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
}

/// Sets the pod's addresses.
pub fn set_addresses(pod: &mut Pod, pod_ips: &[IpAddr], host_ips: &[IpAddr]) {
    let status = pod.status.get_or_insert_default();
    status.pod_ip = pod_ips.first().map(ToString::to_string);
    status.pod_ips = Some(pod_ips.iter().map(|ip| PodIP { ip: ip.to_string() }).collect());
    status.host_ip = host_ips.first().map(ToString::to_string);
    status.host_ips = Some(host_ips.iter().map(|ip| HostIP { ip: ip.to_string() }).collect());
}

/// Sets phase, conditions and container statuses. `containers` are `(name, phase, restarts)`.
pub fn set_containers(pod: &mut Pod, containers: &[(String, ContainerPhase, i32)], now: Time) {
    let running = containers.iter().any(|(_, phase, _)| matches!(phase, ContainerPhase::Running { .. }));
    let ready = !containers.is_empty()
        && containers.iter().all(|(_, phase, _)| *phase == ContainerPhase::Running { ready: true });
    let restarted = containers.iter().any(|(_, _, restarts)| *restarts > 0);
    let status = pod.status.get_or_insert_default();
    status.phase = Some(if running || restarted { "Running" } else { "Pending" }.into());
    if running {
        status.start_time.get_or_insert_with(|| timestamp(now));
    }
    status.container_statuses = Some(containers.iter().map(container_status).collect());
    status.reason = None;
    status.message = None;
    for (type_, value) in [("ContainersReady", ready), ("Ready", ready)] {
        set_condition(status, type_, value, None, None, now);
    }
}

/// Says why no container of the pod can start.
pub fn set_waiting(pod: &mut Pod, reason: &str, message: &str, now: Time) {
    let names: Vec<String> =
        pod.spec.iter().flat_map(|spec| &spec.containers).map(|it| it.name.clone()).collect();
    let waiting = ContainerPhase::Waiting { reason: reason.into(), message: message.into() };
    let containers: Vec<_> = names.into_iter().map(|name| (name, waiting.clone(), 0)).collect();
    set_containers(pod, &containers, now);
    let status = pod.status.get_or_insert_default();
    status.reason = Some(reason.into());
    status.message = Some(message.into());
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

fn container_status((name, phase, restarts): &(String, ContainerPhase, i32)) -> ContainerStatus {
    let state = match phase {
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
    };
    ContainerStatus {
        name: name.clone(),
        ready: *phase == ContainerPhase::Running { ready: true },
        restart_count: *restarts,
        started: Some(matches!(phase, ContainerPhase::Running { .. })),
        state: Some(state),
        ..ContainerStatus::default()
    }
}
