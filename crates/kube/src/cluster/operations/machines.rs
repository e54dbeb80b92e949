//! Machines that lose power, come back, or lose touch; containers that end; an API server that is down.
//!
//! Source: kubernetes.md 1.6, 9.1, 9.4, 9.5, 9.8 to 9.10.

use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::host;
use k8s_openapi::api::core::v1::Pod;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::container_runtime::{self, KILLED};
use crate::cluster::machine::{self, Machine, Program};

/// Why a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Its program crashes, with exit code 1.
    Crash,
    /// The kernel kills it because it has used more memory than it may.
    OutOfMemory,
}

impl Cluster {
    /// Takes a node's power away at once. What was not synced to its disks is lost.
    ///
    /// # Errors
    /// A node that is not there, or is off.
    pub fn power_off_node(&self, name: &str) -> Result<(), OperationError> {
        let machine = self.machine(name)?;
        if !machine.is_on() {
            return Err(OperationError::AlreadySo(format!("node {name} has no power")));
        }
        hopwise_engine::notable("node.power_off", format!("node {name}"), "");
        machine::lose_power(&self.shared, &machine);
        Ok(())
    }

    /// Gives a node its power back; its kubelet and kube-proxy run from now on.
    ///
    /// # Errors
    /// A node that is not there, or is on.
    pub fn power_on_node(&self, name: &str) -> Result<(), OperationError> {
        let machine = self.machine(name)?;
        if machine.is_on() {
            return Err(OperationError::AlreadySo(format!("node {name} has power already")));
        }
        hopwise_engine::notable("node.power_on", format!("node {name}"), "");
        machine::boot(&self.shared, &machine);
        Ok(())
    }

    /// Takes a node's power away, and gives it back after `down_for`, in which the boot is included.
    ///
    /// # Errors
    /// A node that is not there, or is off.
    pub fn reboot_node(&self, name: &str, down_for: Duration) -> Result<(), OperationError> {
        self.power_off_node(name)?;
        let (shared, machine) = (self.shared.clone(), self.machine(name)?);
        host::spawn_on(self.shared.control_plane, async move {
            tokio::time::sleep(down_for).await;
            hopwise_engine::notable("node.power_on", format!("node {}", machine.name()), "after its reboot");
            machine::boot(&shared, &machine);
        });
        Ok(())
    }

    /// Shuts a node down: its pods end gracefully and are marked Terminated, then it has no power.
    ///
    /// # Errors
    /// A node that is not there, or is off.
    pub fn shut_down_node(&self, name: &str) -> Result<(), OperationError> {
        let machine = self.machine_that_is_on(name)?;
        hopwise_engine::notable("node.shut_down", format!("node {name}"), "");
        host::spawn_on(self.shared.control_plane, machine::shut_down(self.shared.clone(), machine));
        Ok(())
    }

    /// Cuts a node from the API server; its data plane goes on.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn cut_node_from_control_plane(&self, name: &str) -> Result<(), OperationError> {
        self.connect_to_control_plane(name, false, "node.cut_from_control_plane")
    }

    /// Mends what [`Cluster::cut_node_from_control_plane`] has cut.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn reconnect_node_to_control_plane(&self, name: &str) -> Result<(), OperationError> {
        self.connect_to_control_plane(name, true, "node.reconnected_to_control_plane")
    }

    fn connect_to_control_plane(
        &self,
        name: &str,
        connected: bool,
        kind: &'static str,
    ) -> Result<(), OperationError> {
        self.machine(name)?.set_connected(connected);
        hopwise_engine::notable(kind, format!("node {name}"), "");
        Ok(())
    }

    /// Cuts a node's links to the rest of the network. Its pods still reach each other, its kubelet still probes
    /// them, and the API server is still in reach.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn cut_node_from_network(&self, name: &str) -> Result<(), OperationError> {
        self.connect_to_network(name, false, "node.cut_from_network")
    }

    /// Mends what [`Cluster::cut_node_from_network`] has cut.
    ///
    /// # Errors
    /// A node that is not there.
    pub fn reconnect_node_to_network(&self, name: &str) -> Result<(), OperationError> {
        self.connect_to_network(name, true, "node.reconnected_to_network")
    }

    fn connect_to_network(
        &self,
        name: &str,
        connected: bool,
        kind: &'static str,
    ) -> Result<(), OperationError> {
        self.machine(name)?;
        let topology = self.shared.topology.borrow();
        if let Some(link) = topology.uplink(name) {
            hopwise_fabric::with(|fabric| {
                [false, true].map(|reverse| fabric.change_link(link, reverse, |it| it.cut = !connected))
            });
        }
        hopwise_engine::notable(kind, format!("node {name}"), "");
        Ok(())
    }

    /// Stops a node's kubelet; its containers go on, and nobody starts them again.
    ///
    /// # Errors
    /// A node that is not there, is off, or has no kubelet running.
    pub fn stop_kubelet(&self, name: &str) -> Result<(), OperationError> {
        let machine = self.machine_that_is_on(name)?;
        if machine.host_of(Program::Kubelet).is_none() {
            return Err(OperationError::AlreadySo(format!("the kubelet of node {name} does not run")));
        }
        machine::stop(&machine, Program::Kubelet);
        hopwise_engine::notable("kubelet.stopped", format!("node {name}"), "");
        Ok(())
    }

    /// Starts a node's kubelet; it takes over the containers that run.
    ///
    /// # Errors
    /// A node that is not there, is off, or has a kubelet running.
    pub fn start_kubelet(&self, name: &str) -> Result<(), OperationError> {
        let machine = self.machine_that_is_on(name)?;
        if machine.host_of(Program::Kubelet).is_some() {
            return Err(OperationError::AlreadySo(format!("the kubelet of node {name} runs already")));
        }
        machine::start(&self.shared, &machine, Program::Kubelet);
        hopwise_engine::notable("kubelet.started", format!("node {name}"), "");
        Ok(())
    }

    /// Stops the API server: no object changes until it is started again.
    ///
    /// # Errors
    /// If it is down.
    pub fn stop_api_server(&self) -> Result<(), OperationError> {
        if !self.shared.api.is_reachable() {
            return Err(OperationError::AlreadySo("the API server is down already".into()));
        }
        self.shared.api.set_up(false);
        hopwise_engine::notable("api_server.stopped", "API server", "");
        Ok(())
    }

    /// Starts the API server again, with all that it had stored.
    ///
    /// # Errors
    /// If it is up.
    pub fn start_api_server(&self) -> Result<(), OperationError> {
        if self.shared.api.is_reachable() {
            return Err(OperationError::AlreadySo("the API server runs already".into()));
        }
        self.shared.api.set_up(true);
        hopwise_engine::notable("api_server.started", "API server", "");
        Ok(())
    }

    /// Ends a container's process.
    ///
    /// # Errors
    /// If there is no such container, or it does not run.
    pub fn exit_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        reason: ExitReason,
    ) -> Result<(), OperationError> {
        let end = match reason {
            ExitReason::Crash => (1, "Error", "it crashed"),
            ExitReason::OutOfMemory => (KILLED, "OOMKilled", "it was out of memory"),
        };
        let uid = self.shared.api.read(|store| store.get::<Pod>(namespace, pod)?.metadata.uid.clone());
        if uid.is_some_and(|uid| container_runtime::kill(&self.shared, &uid, container, end)) {
            return Ok(());
        }
        let (namespace, pod, container) = (namespace.into(), pod.into(), container.into());
        Err(OperationError::NoContainer { namespace, pod, container })
    }

    /// What runs on the machines, whatever the API server knows of it: `namespace/name` of each pod and its node, in
    /// order. A node that was cut off may run a pod whose name another node has by now.
    pub fn running_pods(&self) -> Vec<(String, String)> {
        let running = self.shared.running.borrow();
        let named = running.values().map(|pod| (format!("{}/{}", pod.name.0, pod.name.1), pod.node.clone()));
        let mut pods: Vec<_> = named.collect();
        pods.sort();
        pods
    }

    /// Whether people can ask the API server for something.
    pub(in crate::cluster) fn needs_api_server(&self) -> Result<(), OperationError> {
        if self.shared.api.is_reachable() {
            return Ok(());
        }
        Err(OperationError::Refused("the API server is down".into()))
    }

    /// The machine of a node.
    pub(in crate::cluster) fn machine(&self, name: &str) -> Result<Rc<Machine>, OperationError> {
        self.shared.machines.get(name).cloned().ok_or_else(|| OperationError::NoNode {
            name: name.to_owned(),
            known: self.shared.machines.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    fn machine_that_is_on(&self, name: &str) -> Result<Rc<Machine>, OperationError> {
        let machine = self.machine(name)?;
        if machine.is_on() {
            return Ok(machine);
        }
        Err(OperationError::Refused(format!("node {name} has no power")))
    }
}
