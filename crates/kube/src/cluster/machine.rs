//! The machines that nodes run on: what runs on each, and whether it has power and touch.
//!
//! A machine that boots starts its container runtime, its kubelet and its kube-proxy, each a host of its own on the
//! node's sockets. They reach the API server by the machine's own line ([`Machine::api`]).
//! Source: kubernetes.md 1.6, 9.4 to 9.9, 9.12.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use hopwise_engine::{HostId, host};
use hopwise_fabric::DeviceId;

use super::api::{Api, Line};
use super::kubelet::Kubelet;
use super::programs::MachineClock;
use super::state::Shared;
use super::topology::linux_node;
use super::{container_runtime, kube_proxy, kubelet, network_policies, node_status};
use crate::proxy::{self, NodeFacts};

/// The machine of one node.
pub struct Machine {
    /// What its kube-proxy knows of it.
    pub facts: NodeFacts,
    /// Its device.
    pub device: DeviceId,
    /// The API server, as the machine reaches it.
    pub api: Api,
    /// Its kubelet, while that runs.
    pub kubelet: RefCell<Weak<Kubelet>>,
    /// How much longer than usual its kube-proxy takes to write rules.
    pub proxy_lag: kube_proxy::ExtraLag,
    /// Its clock.
    pub clock: MachineClock,
    line: Rc<Line>,
    boots: Cell<u32>,
    programs: [Cell<Option<HostId>>; 4],
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
    /// The agent of the pod network: masquerades what leaves it, and enforces NetworkPolicies.
    NetworkAgent,
}

impl Machine {
    /// A machine that is off.
    pub fn new(facts: NodeFacts, device: DeviceId, api: &Api) -> Machine {
        let line = Rc::new(Line::default());
        let api = api.over(line.clone());
        let (kubelet, proxy_lag, clock, boots, programs) = Default::default();
        Machine { facts, device, api, kubelet, proxy_lag, clock, line, boots, programs }
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

/// Gives a machine power, unless it has it: everything that runs on it starts.
pub fn boot(shared: &Rc<Shared>, machine: &Rc<Machine>) {
    if machine.is_on() {
        return;
    }
    hopwise_fabric::with(|fabric| linux_node(fabric, machine.device).power_on());
    machine.boots.set(machine.boots.get() + 1);
    let runtime = new_host(machine, Program::ContainerRuntime);
    machine.programs[Program::ContainerRuntime as usize].set(Some(runtime));
    start(shared, machine, Program::Kubelet);
    start(shared, machine, Program::KubeProxy);
    start(shared, machine, Program::NetworkAgent);
}

/// Takes a machine's power away: every process on it, pods' and clients' included, ends at this instant and says
/// nothing; flows, rules, neighbours and what was not synced to disk are lost.
pub fn lose_power(shared: &Shared, machine: &Machine) {
    container_runtime::lose_power(shared, machine.name());
    machine.programs.iter().for_each(|program| program.set(None));
    let random = hopwise_engine::stream(&format!("node/{}/boot {}", machine.name(), machine.boots.get()));
    hopwise_fabric::with(|fabric| {
        fabric.kill_hosts_silently(machine.device);
        linux_node(fabric, machine.device).lose_power(random);
    });
}

/// Ends a machine's pods gracefully, then takes its power away (kubernetes.md 1.6, graceful node shutdown). Without a
/// kubelet the power goes at once.
pub async fn shut_down(shared: Rc<Shared>, machine: Rc<Machine>) {
    let boots = machine.boots.get();
    let kubelet = machine.kubelet.borrow().upgrade();
    if let Some(kubelet) = kubelet.filter(|_| machine.host_of(Program::Kubelet).is_some()) {
        node_status::set_ready(&machine, false, "KubeletNotReady", "node is shutting down");
        kubelet.shut_down().await;
    }
    // The power may have gone, and come back, in the meantime.
    if machine.is_on() && machine.boots.get() == boots {
        lose_power(&shared, &machine);
    }
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
            let (api, facts) = (shared.api_on(machine.name()), machine.facts.clone());
            let program = kube_proxy::run(api, facts, machine.device, machine.proxy_lag.clone());
            host::spawn_on(host, program);
        }
        Program::NetworkAgent => {
            let masquerade = proxy::source_rules(&machine.facts);
            hopwise_fabric::with(|fabric| {
                linux_node(fabric, machine.device).set_source_rules(masquerade);
            });
            let (api, policies) = (machine.api.clone(), shared.network_policies.clone());
            let name = machine.name().to_owned();
            host::spawn_on(host, network_policies::run(api, name, machine.device, policies));
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
        Program::NetworkAgent => "network-agent",
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
