//! What happens to the kube-proxy of a node.
//!
//! Source: kubernetes.md 9.12 (a kube-proxy that is down leaves the node's last rules in force).

use std::time::Duration;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::machine::{self, Program};

impl Cluster {
    /// Stops the kube-proxy of a node: its rules stay as they are, its health endpoints refuse.
    ///
    /// # Errors
    /// If there is no such node, or its kube-proxy does not run.
    pub fn stop_kube_proxy(&self, node: &str) -> Result<(), OperationError> {
        let machine = self.machine(node)?;
        if machine.host_of(Program::KubeProxy).is_none() {
            return Err(OperationError::AlreadySo(format!("the kube-proxy of {node} does not run")));
        }
        machine::stop(&machine, Program::KubeProxy);
        hopwise_engine::notable("kube_proxy.stopped", format!("node {node}"), "");
        Ok(())
    }

    /// Starts the kube-proxy of a node again: it writes all rules anew.
    ///
    /// # Errors
    /// If there is no such node, or its kube-proxy runs already.
    pub fn start_kube_proxy(&self, node: &str) -> Result<(), OperationError> {
        let machine = self.machine(node)?;
        if machine.host_of(Program::KubeProxy).is_some() {
            return Err(OperationError::AlreadySo(format!("the kube-proxy of {node} runs already")));
        }
        machine::start(&self.shared, &machine, Program::KubeProxy);
        hopwise_engine::notable("kube_proxy.started", format!("node {node}"), "");
        Ok(())
    }

    /// Lets the kube-proxy of a node take `lag` longer than usual from a change to its rules, from the next change on.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn lag_kube_proxy(&self, node: &str, lag: Duration) -> Result<(), OperationError> {
        self.machine(node)?.proxy_lag.set(lag);
        hopwise_engine::notable(
            "kube_proxy.lags",
            format!("node {node}"),
            format!("by {} ms", lag.as_millis()),
        );
        Ok(())
    }
}
