//! Lifecycle hooks of containers.
//!
//! A preStop hook is performed: `sleep` sleeps, `httpGet` asks, `exec` is interpreted. A command that is not
//! understood is an assumption: it ends at once. postStart hooks are taken to end at once.
//! Source: kubernetes.md 1.8.

use hopwise_engine::{Time, scheduling};
use k8s_openapi::api::core::v1::LifecycleHandler;

use super::container_runtime::{self, ContainerState};
use super::probes::{self, Probed};
use super::state::Assumption;
use super::{exec, timing};
use crate::pod_life::termination::{End, Termination};

/// Ends a container, unless its process has ended: its hook, SIGTERM, and SIGKILL when its time is over.
pub async fn terminate(probed: &Probed, termination: Termination) {
    let (pod, name) = (&probed.pod, probed.declared.name.as_str());
    let Some(mut state) = container_runtime::state_of(&pod.shared, &pod.uid, name) else { return };
    let has_ended = |state: &ContainerState| matches!(state, ContainerState::Exited { .. });
    let end = tokio::select! {
        biased;
        _ = state.wait_for(has_ended) => return,
        end = signalled(probed, termination) => end,
    };
    container_runtime::kill(&pod.shared, &pod.uid, name, end);
}

/// Lets a container's hook run and its process end by itself; how it ends.
async fn signalled(probed: &Probed, termination: Termination) -> (i32, &'static str, &'static str) {
    let hook = probed.declared.lifecycle.as_ref().and_then(|it| it.pre_stop.as_ref());
    if let (Some(hook), Some(until)) = (hook, termination.hook_until()) {
        let _ = tokio::time::timeout(time_until(until), pre_stop(probed, hook)).await;
    }
    match termination.after_hook(hopwise_engine::now(), hook.is_some()) {
        End::Terminate { kill_at } => {
            let (shared, name) = (&probed.pod.shared, &probed.declared.name);
            // A process that is stopped notices the signal when it goes on.
            if let Some(host) = container_runtime::host_of(shared, &probed.pod.uid, name) {
                let _ = tokio::time::timeout(time_until(kill_at), scheduling::resumed(host)).await;
            }
            if time_until(kill_at) >= timing::PROCESS_STOP {
                tokio::time::sleep(timing::PROCESS_STOP).await;
                return (0, "Completed", "it was told to end");
            }
            tokio::time::sleep(time_until(kill_at)).await;
            (container_runtime::KILLED, "Error", "it did not end in time")
        }
        End::Kill => (container_runtime::KILLED, "Error", "it was killed"),
    }
}

fn time_until(at: Time) -> std::time::Duration {
    let now = hopwise_engine::now();
    if at > now { (at - now).into() } else { std::time::Duration::ZERO }
}

async fn pre_stop(probed: &Probed, hook: &LifecycleHandler) {
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(std::time::Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    } else if let Some(action) = &hook.http_get {
        probes::get(probed, action).await;
    } else if let Some(action) = &hook.exec {
        let interpreted = probed.pod.shared.programs.interprets(&probed.container.image);
        let command = action.command.clone().unwrap_or_default();
        let done = match probed.pod.device() {
            Some(device) if interpreted => exec::run(device, probed.container.clone(), command).await,
            _ => Err(exec::NotUnderstood("the image is not known".into())),
        };
        if let Err(why) = done {
            assume(probed, "preStop", why.to_string());
        }
    }
}

/// Notes a postStart hook, which is not performed.
pub fn post_start(probed: &Probed) {
    if probed.declared.lifecycle.as_ref().is_some_and(|it| it.post_start.is_some()) {
        assume(probed, "postStart", "postStart hooks are not performed".into());
    }
}

fn assume(probed: &Probed, hook: &'static str, why: String) {
    probed.pod.shared.assume(Assumption::Hook {
        pod: probed.pod.name.clone(),
        container: probed.declared.name.clone(),
        image: probed.container.image.clone(),
        hook,
        why,
    });
}
