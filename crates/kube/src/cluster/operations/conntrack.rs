//! Connection tracking tables of nodes that are full, flushed, or have lost an entry.

use std::net::{IpAddr, SocketAddr};

use hopwise_fabric::nat::Conntrack;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::topology::linux_node;

impl Cluster {
    /// Fills a node's connection tracking table with flows of no concern here: those that it has go on, the first
    /// packet of any other is dropped.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn fill_conntrack(&self, node: &str) -> Result<(), OperationError> {
        self.with_conntrack(node, |table| table.occupy(usize::MAX))?;
        note("conntrack.filled", node, String::new());
        Ok(())
    }

    /// Makes room in a node's table again.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn free_conntrack(&self, node: &str) -> Result<(), OperationError> {
        self.with_conntrack(node, |table| table.occupy(0))?;
        note("conntrack.freed", node, String::new());
        Ok(())
    }

    /// Forgets all flows of a node (`conntrack -F`).
    ///
    /// # Errors
    /// If there is no such node.
    pub fn flush_conntrack(&self, node: &str) -> Result<(), OperationError> {
        let count = self.with_conntrack(node, |table| table.delete_where(|_| true))?;
        note("conntrack.flushed", node, format!("{count} flows"));
        Ok(())
    }

    /// Forgets the flows of a node to an address, as if their time had come (`conntrack -D`); `to` is the address that
    /// the client called, or that of the pod it was led to, with any port if the port is 0.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn expire_conntrack(&self, node: &str, to: SocketAddr) -> Result<(), OperationError> {
        let fits = |address: IpAddr, port: u16| address == to.ip() && (to.port() == 0 || port == to.port());
        let count = self.with_conntrack(node, |table| {
            table.delete_where(|flow| {
                let (called, led_to) = (flow.original.destination, flow.reply.source);
                fits(called.ip(), called.port()) || fits(led_to.ip(), led_to.port())
            })
        })?;
        note("conntrack.expired", node, format!("{count} flows to {to}"));
        Ok(())
    }

    fn with_conntrack<R>(
        &self,
        node: &str,
        f: impl FnOnce(&mut Conntrack) -> R,
    ) -> Result<R, OperationError> {
        let device = self.machine(node)?.device;
        Ok(hopwise_fabric::with(|fabric| f(linux_node(fabric, device).conntrack_mut())))
    }
}

fn note(kind: &'static str, node: &str, detail: String) {
    hopwise_engine::notable(kind, format!("node {node}"), detail);
}
