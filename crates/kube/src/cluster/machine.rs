//! The machines that nodes run on: what runs on each, and whether it has power and touch.
//!
//! A machine that boots starts its container runtime, its kubelet and its kube-proxy, each a host of its own on the
//! node's sockets. They reach the API server by the machine's own line ([`Machine::api`]).
//! Source: kubernetes.md 1.6, 9.4 to 9.9, 9.12.

use std::cell::Cell;
use std::rc::Rc;

use hopwise_engine::{HostId, host};
use hopwise_fabric::DeviceId;

use super::api::{Api, Line};
use super::state::Shared;
use super::{kube_proxy, kubelet};
use crate::proxy::NodeFacts;

/// The machine of one node.
pub struct Machine {
    /// What its kube-proxy knows of it.
    pub facts: NodeFacts,
    /// Its device.
    pub device: DeviceId,
    /// The API server, as the machine reaches it.
    pub api: Api,
    /// How much longer than usual its kube-proxy takes to write rules.
    pub proxy_lag: kube_proxy::ExtraLag,
    line: Rc<Line>,
    programs: [Cell<Option<HostId>>; 3],
}

/// A program of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// What keeps containers running whether or not the kubelet runs (containerd and its shims).
    ContainerRuntime,
    /// The kubelet.
    Kubelet,
    /// kube-proxy.
    KubeProxy,
}

impl Machine {
    /// A machine that is off.
    pub fn new(facts: NodeFacts, device: DeviceId, api: &Api) -> Machine {
        let line = Rc::new(Line::default());
        let api = api.over(line.clone());
        Machine { facts, device, api, proxy_lag: Default::default(), line, programs: Default::default() }
    }

    /// Its node's name.
    pub fn name(&self) -> &str {
        &self.facts.name
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.host_of(Program::ContainerRuntime).is_some()
    }

    /// The host of a program; none while it does not run.
    pub fn host_of(&self, program: Program) -> Option<HostId> {
        self.programs[program as usize].get()
    }

    /// Cuts the machine from the API server, or mends that.
    pub fn set_connected(&self, connected: bool) {
        self.line.set_connected(connected);
    }
}

/// Starts everything that runs on a machine.
pub fn boot(shared: &Rc<Shared>, machine: &Rc<Machine>) {
    let runtime = new_host(machine, Program::ContainerRuntime);
    machine.programs[Program::ContainerRuntime as usize].set(Some(runtime));
    start(shared, machine, Program::Kubelet);
    start(shared, machine, Program::KubeProxy);
}

/// Starts a program of a machine that is on, unless it runs.
pub fn start(shared: &Rc<Shared>, machine: &Rc<Machine>, program: Program) {
    if !machine.is_on() || machine.host_of(program).is_some() {
        return;
    }
    let host = new_host(machine, program);
    machine.programs[program as usize].set(Some(host));
    match program {
        Program::ContainerRuntime => {}
        Program::Kubelet => drop(host::spawn_on(host, kubelet::run(shared.clone(), machine.clone()))),
        Program::KubeProxy => {
            let (api, facts) = (machine.api.clone(), machine.facts.clone());
            let program = kube_proxy::run(api, facts, machine.device, machine.proxy_lag.clone());
            host::spawn_on(host, program);
        }
    }
}

/// Ends a program of a machine. What it has set up in the kernel stays.
pub fn stop(machine: &Machine, program: Program) {
    if let Some(host) = machine.programs[program as usize].take() {
        kill(host);
    }
}

fn new_host(machine: &Machine, program: Program) -> HostId {
    let program = match program {
        Program::ContainerRuntime => "containerd",
        Program::Kubelet => "kubelet",
        Program::KubeProxy => "kube-proxy",
    };
    let host = host::create(&format!("{}/{program}", machine.name()));
    hopwise_fabric::with(|fabric| fabric.attach(host, machine.device));
    host
}

/// Kills the processes of a host: its tasks end, and its peers see what Linux shows them.
pub fn kill(host: HostId) {
    hopwise_fabric::with(|fabric| fabric.kill_host(host));
    host::kill(host);
}
