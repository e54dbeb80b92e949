//! A container from its first start through its restarts.

use std::rc::Rc;

use hopwise_engine::{Time, host};
use hopwise_fabric::DeviceId;
use tokio::sync::mpsc;

use super::echo::echo;
use super::machine;
use super::pod_status::ContainerPhase;
use super::programs::{Container, Process};
use super::state::{Assumption, Shared};
use super::timing;

/// What a container's task tells its pod.
pub struct Report {
    /// The container.
    pub container: String,
    /// Its state.
    pub phase: ContainerPhase,
    /// How often it has been started again.
    pub restarts: i32,
}

/// Runs a container for as long as its pod lives: when its program ends it is started again, after a back-off
/// that doubles (kubernetes.md 1.8).
pub async fn run(
    shared: Rc<Shared>,
    device: DeviceId,
    container: Container,
    reports: mpsc::UnboundedSender<Report>,
) {
    let object = format!("container {}/{}/{}", container.namespace, container.pod, container.name);
    let (mut restarts, mut back_off) = (0, timing::RESTART_BACK_OFF);
    let report = |phase, restarts| {
        let _ = reports.send(Report { container: container.name.clone(), phase, restarts });
    };
    loop {
        let started_at = hopwise_engine::now();
        let host = host::create(&format!("{}/{}/{}", container.namespace, container.pod, container.name));
        hopwise_fabric::with(|fabric| fabric.attach(host, device));
        let pod = (container.namespace.clone(), container.pod.clone());
        if let Some(entry) = shared.running.borrow_mut().get_mut(&pod) {
            entry.containers.insert(container.name.clone(), host);
        }
        let why = match program(&shared, &container) {
            Ok(process) => {
                supervise(host, process, |ready| report(ContainerPhase::Running { ready }, restarts)).await
            }
            Err(why) => why,
        };
        machine::kill(host);
        hopwise_engine::notable("container.exited", object.as_str(), why.clone());
        if (hopwise_engine::now() - started_at) > timing::RESTART_BACK_OFF_RESET.into() {
            back_off = timing::RESTART_BACK_OFF;
        }
        report(ContainerPhase::Waiting { reason: "CrashLoopBackOff".into(), message: why }, restarts);
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(timing::RESTART_BACK_OFF_MAX);
        restarts += 1;
    }
}

fn program(shared: &Shared, container: &Container) -> Result<Process, String> {
    match shared.programs.start(container) {
        Some(started) => started,
        None => {
            shared.assume(Assumption::EchoesOnItsPorts {
                pod: (container.namespace.clone(), container.pod.clone()),
                container: container.name.clone(),
                image: container.image.clone(),
            });
            Ok(echo(container))
        }
    }
}

/// Runs a program on its host until it ends; tells when it becomes ready or ceases to be.
async fn supervise(host: hopwise_engine::HostId, process: Process, mut tell: impl FnMut(bool)) -> String {
    let Process { run, mut ready } = process;
    let mut running = host::spawn_on(host, run);
    tell(*ready.borrow_and_update());
    let mut can_change = true;
    loop {
        tokio::select! {
            biased;
            ended = &mut running => {
                return match ended {
                    Ok(why) => why,
                    Err(error) if error.is_panic() => format!("panicked at {}", Time::ZERO + (hopwise_engine::now() - Time::ZERO)),
                    Err(_) => "killed".into(),
                };
            }
            changed = ready.changed(), if can_change => match changed {
                Ok(()) => tell(*ready.borrow_and_update()),
                Err(_) => can_change = false,
            },
        }
    }
}
