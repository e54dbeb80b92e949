//! Processes that hang or are slow, and clocks that are wrong.
//!
//! A hung process is one that SIGSTOP has stopped: its sockets stay and the kernel goes on acknowledging what they hold,
//! but nothing is answered, until SIGCONT. A probe times out, SIGTERM waits for SIGCONT, SIGKILL ends it.

use hopwise_engine::{HostId, scheduling};
use k8s_openapi::api::core::v1::Pod;

use super::OperationError;
use crate::cluster::{Cluster, container_runtime};

impl Cluster {
    /// Stops a container's process (SIGSTOP).
    ///
    /// # Errors
    /// If there is no such container, or it does not run; [`OperationError::AlreadySo`] if it is stopped.
    pub fn hang_container(&self, namespace: &str, pod: &str, container: &str) -> Result<(), OperationError> {
        let host = self.process_of(namespace, pod, container)?;
        if !scheduling::stop(host) {
            return Err(OperationError::AlreadySo(format!(
                "container {container} of {namespace}/{pod} hangs"
            )));
        }
        note("container.hung", (namespace, pod, container), String::new());
        Ok(())
    }

    /// Lets a container's process go on (SIGCONT).
    ///
    /// # Errors
    /// If there is no such container, or it does not run; [`OperationError::AlreadySo`] if it is not stopped.
    pub fn resume_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<(), OperationError> {
        let host = self.process_of(namespace, pod, container)?;
        if !scheduling::resume(host) {
            return Err(OperationError::AlreadySo(format!(
                "container {container} of {namespace}/{pod} runs"
            )));
        }
        note("container.resumed", (namespace, pod, container), String::new());
        Ok(())
    }

    /// Lets everything that a container's process does take `times` as long; 1 is as usual
    /// ([`hopwise_engine::scheduling`]).
    ///
    /// # Errors
    /// If there is no such container, or it does not run.
    pub fn slow_container(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        times: u32,
    ) -> Result<(), OperationError> {
        let host = self.process_of(namespace, pod, container)?;
        if scheduling::slow(host, times) == times {
            let why = format!("container {container} of {namespace}/{pod} takes {times} times as long");
            return Err(OperationError::AlreadySo(why));
        }
        note("container.slowed", (namespace, pod, container), format!("{times} times as long"));
        Ok(())
    }

    /// Sets how far the clock of a node is ahead of the true time, in milliseconds; below zero it is behind.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn set_clock(&self, node: &str, ahead_ms: i64) -> Result<(), OperationError> {
        self.machine(node)?.clock.set_offset_ms(ahead_ms);
        hopwise_engine::notable("node.clock_set", format!("node {node}"), format!("{ahead_ms} ms ahead"));
        Ok(())
    }

    fn process_of(&self, namespace: &str, pod: &str, container: &str) -> Result<HostId, OperationError> {
        let uid = self.shared.api.read(|store| store.get::<Pod>(namespace, pod)?.metadata.uid.clone());
        let host = uid.and_then(|uid| container_runtime::host_of(&self.shared, &uid, container));
        host.ok_or_else(|| OperationError::NoContainer {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        })
    }
}

fn note(kind: &'static str, (namespace, pod, container): (&str, &str, &str), detail: String) {
    hopwise_engine::notable(kind, format!("container {namespace}/{pod}/{container}"), detail);
}
