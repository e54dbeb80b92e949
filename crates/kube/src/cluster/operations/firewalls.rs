//! Firewalls of nodes: a port that somebody's rules do not let through.

use std::num::NonZeroU16;
use std::sync::Arc;

use hopwise_fabric::nat::rules::Protocol;
use hopwise_fabric::{Chain, FilterAction, FilterRule};

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::topology::linux_node;

impl Cluster {
    /// Drops, on a node, every packet to a TCP port: what comes for the node's pods, and what they send to that port of
    /// others. Connections that are open fall silent; nobody is told (iptables' `DROP`).
    ///
    /// # Errors
    /// If there is no such node, or the port is blocked there.
    pub fn block_port(&self, node: &str, port: NonZeroU16) -> Result<(), OperationError> {
        let rule = rule(port);
        let blocked = self.with_rules(node, |rules| {
            let new = !rules.contains(&rule);
            if new {
                rules.insert(0, rule);
            }
            new
        })?;
        done(blocked, "firewall.blocked", node, port, "blocked")
    }

    /// Lets the port through again.
    ///
    /// # Errors
    /// If there is no such node, or the port is not blocked there.
    pub fn unblock_port(&self, node: &str, port: NonZeroU16) -> Result<(), OperationError> {
        let rule = rule(port);
        let unblocked = self.with_rules(node, |rules| {
            let count = rules.len();
            rules.retain(|it| *it != rule);
            rules.len() < count
        })?;
        done(unblocked, "firewall.unblocked", node, port, "not blocked")
    }

    fn with_rules<R>(
        &self,
        node: &str,
        f: impl FnOnce(&mut Vec<FilterRule>) -> R,
    ) -> Result<R, OperationError> {
        let device = self.machine(node)?.device;
        Ok(hopwise_fabric::with(|fabric| f(&mut linux_node(fabric, device).filter_mut().rules)))
    }
}

fn rule(port: NonZeroU16) -> FilterRule {
    let reason: Arc<str> = format!("the node's firewall drops TCP port {port}").into();
    FilterRule {
        chains: vec![Chain::Input, Chain::Forward],
        protocol: Some(Protocol::Tcp),
        ports: vec![port.get()..=port.get()],
        new_flows_only: false,
        ..FilterRule::new(FilterAction::Deny, reason)
    }
}

fn done(
    changed: bool,
    kind: &'static str,
    node: &str,
    port: NonZeroU16,
    state: &str,
) -> Result<(), OperationError> {
    if !changed {
        return Err(OperationError::AlreadySo(format!("TCP port {port} is {state} on node {node}")));
    }
    hopwise_engine::notable(kind, format!("node {node}"), format!("TCP port {port}"));
    Ok(())
}
