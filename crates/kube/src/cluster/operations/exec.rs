//! `kubectl exec`: a command in a container that runs.

use std::rc::Rc;

use k8s_openapi::api::core::v1::Pod;

use super::OperationError;
use crate::cluster::{Cluster, exec};

impl Cluster {
    /// Executes a shell script in the first container of a pod, and waits for its end; what it has printed. What it
    /// calls (`curl`) goes over the pod's network.
    ///
    /// # Errors
    /// If the pod does not run, or the script is not understood or fails.
    pub async fn exec(&self, namespace: &str, pod: &str, script: &str) -> Result<String, OperationError> {
        let refused = |why: String| OperationError::Refused(format!("in pod {namespace}/{pod}: {why}"));
        let uid = self.shared.api.read(|store| store.get::<Pod>(namespace, pod)?.metadata.uid.clone());
        let found = uid.and_then(|uid| {
            let running = self.shared.running.borrow();
            let entry = running.get(&uid)?;
            let container = entry.prepared.as_ref()?.containers.first()?.clone();
            // A container whose process has ended takes no command.
            entry.containers.get(&container.name)?.host?;
            Some((entry.site.as_ref()?.device, container))
        });
        let (device, container) = found.ok_or_else(|| refused("it does not run".to_owned()))?;
        let command = ["sh", "-c", script].map(ToOwned::to_owned).to_vec();
        let exit = exec::run(device, Rc::new(container), command).await;
        let exit = exit.map_err(|error| refused(error.to_string()))?;
        let printed = String::from_utf8_lossy(&exit.stdout).into_owned();
        match exit.status {
            0 => Ok(printed),
            status => Err(refused(format!("it ended with status {status}: {}", printed.trim()))),
        }
    }
}
