//! Nodes that are cordoned, drained, tainted or deleted; pods that are evicted.
//!
//! Source: kubernetes.md 1.6; `kubectl drain` with `--ignore-daemonsets --delete-emptydir-data` (the Kubernetes page
//! "Safely Drain a Node").

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::OperationError;
use crate::cluster::{Cluster, is_client_pod};
use crate::controllers::disruption::{self, EvictionError};
use crate::controllers::node_lifecycle;
use crate::store::pod_state::is_finished;
use crate::store::{Grace, timestamp};

/// How long `kubectl drain` waits after a refused eviction.
const EVICTION_RETRY: Duration = Duration::from_secs(5);
/// How often `kubectl drain` looks whether an evicted pod is gone.
const GONE_POLL: Duration = Duration::from_secs(1);

/// A pod that a drain has to get rid of.
struct Victim {
    namespace: String,
    name: String,
    uid: String,
    is_evicted: bool,
}

impl Cluster {
    /// Keeps new pods off a node (`kubectl cordon`).
    ///
    /// # Errors
    /// If there is no such node.
    pub fn cordon_node(&self, node: &str) -> Result<(), OperationError> {
        self.set_unschedulable(node, true)?;
        hopwise_engine::notable("node.cordoned", format!("node {node}"), "by the user");
        Ok(())
    }

    /// Lets new pods on a node again (`kubectl uncordon`).
    ///
    /// # Errors
    /// If there is no such node.
    pub fn uncordon_node(&self, node: &str) -> Result<(), OperationError> {
        self.set_unschedulable(node, false)?;
        hopwise_engine::notable("node.uncordoned", format!("node {node}"), "by the user");
        Ok(())
    }

    /// Cordons a node, evicts its pods as their budgets allow, and waits until they are gone; for ever, if a budget
    /// never allows it. Pods of DaemonSets stay, as does the client pod that hopwise adds.
    ///
    /// # Errors
    /// If there is no such node, if a pod on it has no controller that would replace it (nothing is evicted then), or
    /// if an eviction fails for good.
    pub async fn drain_node(&self, node: &str) -> Result<(), OperationError> {
        self.cordon_node(node)?;
        let mut victims = self.victims(node)?;
        loop {
            let mut wait = GONE_POLL;
            for victim in victims.iter_mut().filter(|victim| !victim.is_evicted) {
                match self.evict(&victim.namespace, &victim.name) {
                    Ok(()) => victim.is_evicted = true,
                    Err(error) if error.is_temporary() => wait = EVICTION_RETRY,
                    Err(EvictionError::Store(crate::store::StoreError::NotFound(_))) => {
                        victim.is_evicted = true;
                    }
                    Err(error) => return Err(refused(error)),
                }
            }
            victims.retain(|victim| self.is_there(victim));
            if victims.is_empty() {
                hopwise_engine::notable("node.drained", format!("node {node}"), "");
                return Ok(());
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Evicts a pod through the eviction API, once.
    ///
    /// # Errors
    /// If there is no such pod, or its PodDisruptionBudget does not allow it.
    pub fn evict_pod(&self, namespace: &str, name: &str) -> Result<(), OperationError> {
        self.evict(namespace, name).map_err(refused)
    }

    /// Adds a taint to a node, or replaces the one of that key and effect.
    ///
    /// # Errors
    /// If there is no such node, or the taint's effect is none.
    pub fn taint_node(&self, node: &str, taint: Taint) -> Result<(), OperationError> {
        if !matches!(taint.effect.as_str(), "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
            let what = format!("{:?} is no effect of a taint", taint.effect);
            return Err(OperationError::Refused(what + "; use NoSchedule, PreferNoSchedule or NoExecute"));
        }
        let detail = format!("{}={}:{}", taint.key, taint.value.as_deref().unwrap_or(""), taint.effect);
        let identity = [(taint.key.clone(), taint.effect.clone())];
        self.change_node(node, |node, now| {
            let time_added = taint.time_added.clone().or_else(|| Some(timestamp(now)));
            node_lifecycle::change_taints(node, &[Taint { time_added, ..taint }], &identity);
        })?;
        hopwise_engine::notable("node.tainted", format!("node {node}"), detail);
        Ok(())
    }

    /// Removes the taints of a key from a node, whatever their effect.
    ///
    /// # Errors
    /// If there is no such node, or it has no such taint.
    pub fn remove_taint(&self, node: &str, key: &str) -> Result<(), OperationError> {
        let mut found = false;
        self.change_node(node, |node, _| {
            let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
            found = taints.iter().any(|taint| taint.key == key);
            taints.retain(|taint| taint.key != key);
        })?;
        if !found {
            return Err(OperationError::Refused(format!("node {node} has no taint {key}")));
        }
        hopwise_engine::notable("node.untainted", format!("node {node}"), key);
        Ok(())
    }

    /// Deletes the Node object (`kubectl delete node`); the machine is not touched.
    ///
    /// # Errors
    /// If there is no such node.
    pub fn delete_node(&self, node: &str) -> Result<(), OperationError> {
        self.known_node(node)?;
        self.shared.api.write(|store, now| store.delete::<Node>("", node, None, Grace::AsDeclared, now))?;
        hopwise_engine::notable("node.deleted", format!("node {node}"), "by the user");
        Ok(())
    }

    fn set_unschedulable(&self, node: &str, unschedulable: bool) -> Result<(), OperationError> {
        self.change_node(node, |node, _| {
            let spec = node.spec.get_or_insert_default();
            spec.unschedulable = unschedulable.then_some(true);
        })
    }

    fn change_node(
        &self,
        name: &str,
        change: impl FnOnce(&mut Node, hopwise_engine::Time),
    ) -> Result<(), OperationError> {
        self.known_node(name)?;
        let changed =
            self.shared.api.write(|store, now| store.patch::<Node>("", name, now, |node| change(node, now)));
        Ok(changed.map(drop)?)
    }

    fn known_node(&self, name: &str) -> Result<(), OperationError> {
        self.shared.api.read(|store| {
            if store.get::<Node>("", name).is_some() {
                return Ok(());
            }
            let known: Vec<String> =
                store.list::<Node>().filter_map(|node| node.metadata.name.clone()).collect();
            Err(OperationError::NoNode { name: name.to_owned(), known: known.join(", ") })
        })
    }

    /// The pods that a drain of the node evicts.
    fn victims(&self, node: &str) -> Result<Vec<Victim>, OperationError> {
        let (mut victims, mut alone) = (Vec::new(), Vec::new());
        self.shared.api.read(|store| {
            for pod in store.pods_on(node) {
                let (namespace, name) = (
                    pod.metadata.namespace.clone().unwrap_or_default(),
                    pod.metadata.name.clone().unwrap_or_default(),
                );
                let mut owners = pod.metadata.owner_references.iter().flatten();
                let controller = owners.find(|owner| owner.controller == Some(true));
                let stays = controller.is_some_and(|owner| owner.kind == "DaemonSet")
                    || is_client_pod(&namespace, &name);
                if stays {
                    continue;
                }
                if controller.is_none() && !is_finished(pod) {
                    alone.push(format!("{namespace}/{name}"));
                }
                let uid = pod.metadata.uid.clone().unwrap_or_default();
                victims.push(Victim { namespace, name, uid, is_evicted: false });
            }
        });
        if alone.is_empty() {
            return Ok(victims);
        }
        let what = format!("node {node} cannot be drained: {} declare no controller", alone.join(", "));
        Err(OperationError::Refused(what + " that would replace them; delete them first"))
    }

    fn evict(&self, namespace: &str, name: &str) -> Result<(), EvictionError> {
        self.shared.api.write(|store, now| disruption::evict(store, namespace, name, now))?;
        hopwise_engine::notable("pod.evicted", format!("pod {namespace}/{name}"), "by the user");
        Ok(())
    }

    fn is_there(&self, victim: &Victim) -> bool {
        self.shared.api.read(|store| {
            let pod = store.get::<Pod>(&victim.namespace, &victim.name);
            pod.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(&victim.uid))
        })
    }
}

fn refused(error: EvictionError) -> OperationError {
    match error {
        EvictionError::Store(error) => OperationError::Store(error),
        other => OperationError::Refused(other.to_string()),
    }
}
