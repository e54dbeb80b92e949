//! Real programs as what pods run.
//!
//! The first container of a pod that is named runs the command instead of its image's program, in a namespace whose
//! interface is the pod's: Services lead to it, probes dial it, and it ends and starts anew with its container. While the
//! cluster starts in virtual time, in which no real program can take part, something stands in for it that satisfies
//! probes of TCP and HTTP.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_kube::cluster::{Container, Place, Process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::session::Session;
use crate::simulate::Instead;

/// How long the commands of `--from` wait for programs of pods to listen on the ports that their containers declare.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A program that a pod runs: `pod/NAMESPACE/NAME=COMMAND`, the command in the shell's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodProgram {
    namespace: String,
    pod: String,
    command: String,
}

/// The text names no program of a pod.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` names no pod's program; expected `pod/NAMESPACE/NAME=COMMAND`")]
pub struct NoPodProgram(String);

impl FromStr for PodProgram {
    type Err = NoPodProgram;

    fn from_str(text: &str) -> Result<Self, NoPodProgram> {
        let error = || NoPodProgram(text.to_owned());
        let (place, command) = text.split_once('=').ok_or_else(error)?;
        match place.parse() {
            Ok(Place::Pod { namespace, name }) if !command.trim().is_empty() => {
                Ok(PodProgram { namespace, pod: name, command: command.to_owned() })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for PodProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod/{}/{}={}", self.namespace, self.pod, self.command)
    }
}

/// A pod's namespace and its name.
type PodName = (String, String);

/// The programs of pods; clones are the same ones.
#[derive(Clone)]
pub(super) struct PodPrograms(Rc<Shared>);

struct Shared {
    executable: PathBuf,
    commands: BTreeMap<PodName, String>,
    /// Whether time passes with the machine's clock, so that programs can run.
    is_real: watch::Sender<bool>,
    /// The container of each pod that runs its command, and how far that has come.
    runs: RefCell<BTreeMap<PodName, Run>>,
}

struct Run {
    container: String,
    state: State,
}

enum State {
    /// It waits for real time.
    Waits,
    /// It runs, and listens on every port that its container declares.
    Listens,
    /// It could not be started, or has ended.
    Ended(String),
}

impl PodPrograms {
    pub fn new(executable: PathBuf, programs: &[PodProgram]) -> PodPrograms {
        let command = |it: &PodProgram| ((it.namespace.clone(), it.pod.clone()), it.command.clone());
        PodPrograms(Rc::new(Shared {
            executable,
            commands: programs.iter().map(command).collect(),
            is_real: watch::Sender::new(false),
            runs: RefCell::default(),
        }))
    }

    /// What the cluster asks before it starts an image's program.
    pub fn instead(self) -> Instead {
        Instead::new(move |container| self.process(container))
    }

    /// The pods of which no container has been started.
    pub fn not_started(&self) -> Vec<PodName> {
        let runs = self.0.runs.borrow();
        self.0.commands.keys().filter(|pod| !runs.contains_key(*pod)).cloned().collect()
    }

    /// Lets the programs run, and waits until each listens on the ports that its container declares, for a while at
    /// most.
    ///
    /// # Errors
    /// The program that could not be started or has ended, and why.
    pub async fn start(&self) -> Result<(), String> {
        self.0.is_real.send_replace(true);
        let end = Instant::now() + LISTENS_WITHIN;
        loop {
            let mut all_listen = true;
            for (pod, run) in &*self.0.runs.borrow() {
                match &run.state {
                    State::Listens => {}
                    State::Waits => all_listen = false,
                    State::Ended(why) => return Err(format!("pod/{}/{}: {why}", pod.0, pod.1)),
                }
            }
            if all_listen || Instant::now() >= end {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The process of a container, if it is the one of a named pod that runs the command.
    fn process(&self, container: &Container) -> Option<Process> {
        let pod = (container.namespace.clone(), container.pod.clone());
        let command = self.0.commands.get(&pod)?.clone();
        let mut runs = self.0.runs.borrow_mut();
        let run = runs
            .entry(pod.clone())
            .or_insert_with(|| Run { container: container.name.clone(), state: State::Waits });
        if run.container != container.name {
            return None;
        }
        run.state = State::Waits;
        drop(runs);
        let (programs, container) = (self.clone(), container.clone());
        let run = async move {
            stand_in(&container, programs.0.is_real.subscribe()).await;
            let why = programs.run(&pod, &container, command).await;
            programs.note(&pod, State::Ended(why.clone()));
            why
        };
        // Whether it serves is seen by its probes, or once time is real.
        Some(Process { run: Box::pin(run), ready: watch::channel(true).1 })
    }

    /// Runs the command until it ends; why it did, or nothing if it succeeded.
    async fn run(&self, pod: &PodName, container: &Container, command: String) -> String {
        let device = hopwise_fabric::with(|fabric| fabric.device_of(host::current()));
        let Some(device) = device else { return "the pod is gone".to_owned() };
        let command = vec!["/bin/sh".to_owned(), "-c".to_owned(), command];
        let session = Session::set_up(&self.0.executable, device, &pod.1, command, Vec::new());
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return error.to_string(),
        };
        if let Err(error) = session.start() {
            return error.to_string();
        }
        let ports: Vec<u16> =
            container.ports.iter().filter(|port| !port.udp).map(|port| port.number).collect();
        loop {
            let listening = session.listening();
            if ports.iter().all(|port| listening.contains(port)) {
                break;
            }
            tokio::select! {
                ended = session.wait() => return described(ended),
                () = sleep(LOOK_EVERY) => {}
            }
        }
        self.note(pod, State::Listens);
        described(session.wait().await)
    }

    fn note(&self, pod: &PodName, state: State) {
        if let Some(run) = self.0.runs.borrow_mut().get_mut(pod) {
            run.state = state;
        }
    }
}

fn described(ended: std::io::Result<u8>) -> String {
    match ended {
        Ok(0) => String::new(),
        Ok(status) => format!("the program ended with status {status}"),
        Err(error) => error.to_string(),
    }
}

/// Listens on the declared ports and answers whatever it is told with an HTTP response, until time is real.
async fn stand_in(container: &Container, mut is_real: watch::Receiver<bool>) {
    let ports = container.ports.iter().filter(|port| !port.udp);
    let addresses =
        ports.flat_map(|port| container.addresses.iter().map(|it| SocketAddr::new(*it, port.number)));
    let tasks: Vec<_> = addresses.map(|address| host::spawn(answer_at(address))).collect();
    // The sender lives as long as the simulation.
    let _ = is_real.wait_for(|is_real| *is_real).await;
    for task in tasks {
        task.abort();
        // Its socket is closed when it has ended.
        let _ = task.await;
    }
}

async fn answer_at(address: SocketAddr) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        host::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) {
    if let Ok(1..) = stream.read(&mut [0; 4096]).await {
        // Whoever asked may be gone.
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_program_is_written_as_it_is_read() {
        let text = "pod/web/server-0=exec python3 -m http.server --bind=0.0.0.0";
        let program: PodProgram = text.parse().expect("is one");
        assert_eq!(program.command, "exec python3 -m http.server --bind=0.0.0.0");
        assert_eq!(program.to_string(), text);
        for text in ["pod/web/server-0", "pod/web/server-0= ", "node/a=sh", "external=203.0.113.7", "web=sh"]
        {
            assert_eq!(text.parse::<PodProgram>(), Err(NoPodProgram(text.to_owned())), "{text}");
        }
    }
}
