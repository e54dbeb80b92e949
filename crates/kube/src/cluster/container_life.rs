//! A container under its kubelet: started, probed, started again.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{Span, Time};
use tokio::sync::{mpsc, watch};

use super::container_runtime::{self, ContainerState};
use super::pod_status::{ContainerPhase, Ended};
use super::probes::{self, Probed};
use super::{hooks, timing};
use crate::pod_life::back_off::BackOff;
use crate::pod_life::phase::RestartPolicy;
use crate::pod_life::probe::{ProbeKind, Probes, Verdict};
use crate::pod_life::termination::Termination;

/// Keeps a container running for as long as its pod is to live. One that runs already is taken over.
pub async fn run(probed: Rc<Probed>, policy: RestartPolicy) {
    let (pod, name) = (&probed.pod, probed.declared.name.as_str());
    let mut back_off = BackOff::default();
    let mut adopted = container_runtime::state_of(&pod.shared, &pod.uid, name);
    loop {
        let running = match adopted.take().filter(is_running) {
            Some(state) => Some((state, true)),
            None => started(&probed, policy).map(|state| (state, false)),
        };
        let Some((state, taken_over)) = running else { return };
        let ended = supervise(&probed, state, taken_over).await;
        tokio::time::sleep(timing::CONTAINER_NOTICE).await;
        let code = ended.code;
        let starts_at = back_off.restart_at(ended.at).max(hopwise_engine::now());
        pod.change(name, |view| {
            view.last = Some(ended.clone());
            view.started = false;
            view.phase = ContainerPhase::Ended(ended);
        });
        if pod.is_terminating() || !policy.restarts(code) {
            return;
        }
        if starts_at > hopwise_engine::now() {
            pod.change(name, |view| {
                let message = view.last.as_ref().map(|last| last.message.clone()).unwrap_or_default();
                view.phase = ContainerPhase::Waiting { reason: "CrashLoopBackOff".into(), message };
            });
            tokio::time::sleep((starts_at - hopwise_engine::now()).into()).await;
        }
        if pod.is_terminating() {
            return;
        }
    }
}

fn is_running(state: &watch::Receiver<ContainerState>) -> bool {
    matches!(&*state.borrow(), ContainerState::Running { .. })
}

/// Starts the container, unless it has ended for good while its kubelet was away.
fn started(probed: &Probed, policy: RestartPolicy) -> Option<watch::Receiver<ContainerState>> {
    let (pod, name) = (&probed.pod, probed.declared.name.as_str());
    let last = container_runtime::state_of(&pod.shared, &pod.uid, name).and_then(|it| ended_of(&it.borrow()));
    if let Some(last) = last {
        let code = last.code;
        pod.change(name, |view| {
            view.last = Some(last.clone());
            view.phase = ContainerPhase::Ended(last);
        });
        if !policy.restarts(code) {
            return None;
        }
    }
    let restarts = container_runtime::start(&pod.shared, &pod.machine, &pod.uid, &probed.container);
    hooks::post_start(probed);
    pod.change(name, |view| view.restarts = restarts);
    container_runtime::state_of(&pod.shared, &pod.uid, name)
}

fn ended_of(state: &ContainerState) -> Option<Ended> {
    match state.clone() {
        ContainerState::Running { .. } => None,
        ContainerState::Exited { at, code, reason, message } => Some(Ended { at, code, reason, message }),
    }
}

/// Probes a container until its process has ended.
async fn supervise(probed: &Probed, mut state: watch::Receiver<ContainerState>, taken_over: bool) -> Ended {
    let since = match &*state.borrow() {
        ContainerState::Running { since } => *since,
        ContainerState::Exited { at, .. } => *at,
    };
    let name = probed.declared.name.as_str();
    let mut probes = Probes::new(&probed.declared, since);
    if taken_over {
        let (was_started, was_ready) = probed.pod.posted(name);
        probes = probes.adopt(was_started, was_ready);
    }
    let probes = RefCell::new(probes);
    let (verdicts, mut heard) = mpsc::unbounded_channel();
    let begin = watch::Sender::new(());
    let work = |kind| work(probed, kind, &probes, verdicts.clone(), begin.subscribe());
    let [startup, readiness, liveness] = ProbeKind::ALL.map(work);
    let workers = async { tokio::join!(startup, readiness, liveness) };
    let mut workers = pin!(workers);
    let mut working = true;
    show(probed, &probes.borrow());
    loop {
        let verdict = tokio::select! {
            biased;
            ended = end_of(&mut state) => return ended,
            Some(verdict) = heard.recv() => verdict,
            _ = &mut workers, if working => {
                working = false;
                continue;
            }
        };
        match verdict {
            Verdict::Started => begin.send_replace(()),
            Verdict::Restart if !probed.pod.is_terminating() => {
                restart(probed).await;
                continue;
            }
            _ => {}
        }
        show(probed, &probes.borrow());
    }
}

/// Waits for the end of a container's process.
async fn end_of(state: &mut watch::Receiver<ContainerState>) -> Ended {
    let ended = state.wait_for(|it| ended_of(it).is_some()).await;
    ended.ok().and_then(|it| ended_of(&it)).unwrap_or_else(lost)
}

/// The runtime has forgotten the container.
fn lost() -> Ended {
    let (reason, message) = ("ContainerStatusUnknown".into(), "the container is gone".into());
    Ended { at: hopwise_engine::now(), code: container_runtime::KILLED, reason, message }
}

fn show(probed: &Probed, probes: &Probes) {
    let (ready, started) = (probes.is_ready(), probes.is_started());
    probed.pod.change(&probed.declared.name, |view| {
        view.phase = ContainerPhase::Running { ready };
        view.started = started;
    });
}

/// Ends a container that fails its probes, as gracefully as its pod would be.
async fn restart(probed: &Probed) {
    let object = format!("container {}/{}/{}", probed.pod.name.0, probed.pod.name.1, probed.declared.name);
    hopwise_engine::notable("container.unhealthy", object, "its startup or liveness probe failed");
    let liveness =
        [ProbeKind::Liveness, ProbeKind::Startup].into_iter().filter_map(|it| it.of(&probed.declared));
    let own = liveness.filter_map(|probe| probe.termination_grace_period_seconds).next();
    let spec = probed.pod.pod.spec.as_ref();
    let grace_s = own.or_else(|| spec?.termination_grace_period_seconds).unwrap_or(30);
    let grace = Span::from_secs(u64::try_from(grace_s).unwrap_or(0));
    hooks::terminate(probed, Termination::new(hopwise_engine::now(), grace)).await;
}

/// Makes one kind of probe again and again. While the pod terminates, only readiness goes on.
async fn work(
    probed: &Probed,
    kind: ProbeKind,
    probes: &RefCell<Probes>,
    verdicts: mpsc::UnboundedSender<Verdict>,
    mut begun: watch::Receiver<()>,
) {
    while probes.borrow().has(kind) {
        let due = probes.borrow().due(kind);
        let Some(due) = due else {
            if kind == ProbeKind::Startup || begun.changed().await.is_err() {
                return;
            }
            continue;
        };
        sleep_until(due).await;
        if probed.pod.is_terminating() && kind != ProbeKind::Readiness {
            return;
        }
        let timeout: Duration = probes.borrow().timeout(kind).into();
        let success = probes::perform(probed, kind, timeout).await;
        let verdict = probes.borrow_mut().observe(hopwise_engine::now(), kind, success);
        if verdict != Verdict::Nothing {
            let _ = verdicts.send(verdict);
        }
    }
}

async fn sleep_until(at: Time) {
    let now = hopwise_engine::now();
    if at > now {
        tokio::time::sleep((at - now).into()).await;
    }
}
