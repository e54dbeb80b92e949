//! Commands that are executed in a running container: exec probes and hooks.
//!
//! Their scripts are interpreted ([`crate::shell`]); what they ask over the network (`curl`, `rpk cluster health`) and
//! the time they take (`sleep`) is real. The interpreter itself does not wait: a script is run up to its first call that
//! takes time, the call is made, and the script is run again from the start with that call's outcome known. Scripts
//! are deterministic, so they come to the same point. A script that calls anything else is not understood.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{HostId, host};
use hopwise_fabric::DeviceId;
use rand::seq::SliceRandom;

use super::curl::{self, Curl};
use super::machine;
use super::programs::Container;
use super::rpk;
use crate::shell::{self, Commands, Exit, Files, Invocation, Outcome};

/// How many calls one script may make.
const CALLS_MAX: usize = 300;

/// Why a command cannot be executed as the container would.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotUnderstood(pub String);

/// Executes `command` in `container`, whose sockets are those of `device`. What it has started ends when this is
/// dropped.
///
/// # Errors
/// If the command, or something that it calls, is not understood.
pub async fn run(
    device: DeviceId,
    container: Rc<Container>,
    command: Vec<String>,
) -> Result<Exit, NotUnderstood> {
    let host = host::create(&format!("{}/{}/{} exec", container.namespace, container.pod, container.name));
    hopwise_fabric::with(|fabric| fabric.attach(host, device));
    let _end = KillOnDrop(host);
    let mut running = pin!(interpret(&container, &command));
    poll_fn(|cx| host::within(host, || running.as_mut().poll(cx))).await
}

struct KillOnDrop(HostId);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // A simulation that ends takes its fabric away first.
        if hopwise_fabric::is_installed() {
            machine::kill(self.0);
        }
    }
}

async fn interpret(container: &Container, command: &[String]) -> Result<Exit, NotUnderstood> {
    let mut calls = Calls::default();
    for _ in 0..CALLS_MAX {
        calls.made = 0;
        let mut files = container.files.clone();
        let ended = shell::run(command, &container.environment, &mut files, &mut calls);
        if let Some(what) = calls.not_understood {
            return Err(NotUnderstood(what));
        }
        let Some(call) = calls.wanted.take() else {
            return ended.map_err(|error| NotUnderstood(error.to_string()));
        };
        calls.outcomes.push(call.make(container).await);
    }
    Err(NotUnderstood(format!("it makes more than {CALLS_MAX} calls")))
}

/// A call that takes time.
enum Call {
    Curl(Box<Curl>),
    ClusterHealth(rpk::Admin),
    Sleep(Duration),
}

impl Call {
    async fn make(self, container: &Container) -> Outcome {
        match self {
            Call::Curl(curl) => curl::perform(&curl, &container.files).await,
            Call::ClusterHealth(mut admin) => {
                // rpk asks the brokers in random order.
                let name = format!("rpk/{}/{}", container.pod_uid, container.name);
                admin.addresses.shuffle(&mut hopwise_engine::stream(&name));
                rpk::cluster_health(&admin, &container.files).await
            }
            Call::Sleep(time) => {
                tokio::time::sleep(time).await;
                Outcome::default()
            }
        }
    }
}

/// The calls of one script: the outcomes of those that were made, and the one that is to be made next.
#[derive(Default)]
struct Calls {
    outcomes: Vec<Outcome>,
    made: usize,
    wanted: Option<Call>,
    not_understood: Option<String>,
}

impl Commands for Calls {
    fn run(&mut self, invocation: &Invocation, files: &mut Files) -> Option<Outcome> {
        if let Some(outcome) = self.outcomes.get(self.made) {
            self.made += 1;
            return Some(outcome.clone());
        }
        match call_of(invocation, files) {
            Ok(call) => self.wanted = Some(call),
            Err(what) => {
                self.not_understood = Some(format!("line {}: {}: {what}", invocation.line, invocation.name));
            }
        }
        Some(Outcome::default())
    }

    fn takes_time(&self) -> bool {
        true
    }

    fn is_over(&self) -> bool {
        self.wanted.is_some() || self.not_understood.is_some()
    }
}

fn call_of(invocation: &Invocation, files: &Files) -> Result<Call, String> {
    match invocation.name.rsplit('/').next().unwrap_or_default() {
        "curl" => Curl::parse(&invocation.args).map(|curl| Call::Curl(Box::new(curl))),
        "rpk" => rpk::Admin::of_cluster_health(&invocation.args, files).map(Call::ClusterHealth),
        "sleep" => seconds(&invocation.args).map(Call::Sleep),
        _ => Err("is not a program that is modelled".into()),
    }
}

fn seconds(args: &[String]) -> Result<Duration, String> {
    let [time] = args else { return Err("one number of seconds is understood".into()) };
    let number = time.strip_suffix('s').unwrap_or(time).parse::<f64>().ok();
    let time = number.and_then(|number| Duration::try_from_secs_f64(number).ok());
    time.ok_or_else(|| format!("{} is no number of seconds", args[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(ToOwned::to_owned).collect()
    }

    #[test]
    fn time_is_read_in_seconds() {
        assert_eq!(seconds(&words("0.5")), Ok(Duration::from_millis(500)));
        assert_eq!(seconds(&words("5s")), Ok(Duration::from_secs(5)));
        for wrong in ["x", "-1", "1 2"] {
            assert!(seconds(&words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_script_is_run_up_to_its_first_call() {
        let mut calls = Calls::default();
        let command =
            ["sh", "-c", "until curl -f http://a:1/; do sleep 1; done; echo over"].map(String::from);
        let run = |calls: &mut Calls| {
            calls.made = 0;
            shell::run(&command, &std::collections::BTreeMap::new(), &mut Files::new(), calls)
        };
        assert!(run(&mut calls).is_err());
        assert!(matches!(calls.wanted.take(), Some(Call::Curl(_))));
        calls.outcomes.push(Outcome::failure(7, "refused"));
        assert!(run(&mut calls).is_err());
        assert!(matches!(calls.wanted.take(), Some(Call::Sleep(time)) if time == Duration::from_secs(1)));
        calls.outcomes.extend([Outcome::default(), Outcome::success("body ")]);
        assert_eq!(run(&mut calls).expect("it ends").stdout, b"body over\n");
        assert!(calls.wanted.is_none());
    }

    #[test]
    fn an_unknown_program_is_not_understood() {
        let mut calls = Calls::default();
        let command = ["sh", "-c", "pg_isready || exit 1"].map(String::from);
        let _ = shell::run(&command, &std::collections::BTreeMap::new(), &mut Files::new(), &mut calls);
        let what = calls.not_understood.expect("nobody knows it");
        assert_eq!(what, "line 1: pg_isready: is not a program that is modelled");
    }
}
