//! The eviction API: a deletion that asks the pod's budget first.

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::covers;
use crate::store::pod_state::{is_finished, is_ready, is_terminating, phase};
use crate::store::{Deletion, Grace, Store, StoreError, timestamp};

/// Why a pod is not evicted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvictionError {
    /// The budget does not allow it now (429): try again later.
    #[error(
        "cannot evict pod {pod} as it would violate the pod's disruption budget: {budget} needs {needed} healthy pods and \
         has {healthy} currently"
    )]
    BudgetSpent {
        /// The pod.
        pod: String,
        /// Its budget.
        budget: String,
        /// How many healthy pods the budget asks for.
        needed: i32,
        /// How many there are.
        healthy: i32,
    },
    /// The budget's status is not up to date yet (429): try again.
    #[error("the disruption budget {budget} is still being processed by the server")]
    BudgetNotObserved {
        /// The budget.
        budget: String,
    },
    /// The pod has several budgets (500): give it one.
    #[error(
        "pod {pod} has more than one PodDisruptionBudget ({budgets}), which the eviction API does not support; leave one"
    )]
    SeveralBudgets {
        /// The pod.
        pod: String,
        /// Their names.
        budgets: String,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EvictionError {
    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, EvictionError::BudgetSpent { .. } | EvictionError::BudgetNotObserved { .. })
    }
}

/// Evicts a pod: it is deleted with its grace period if its budget allows it. Pods that have not started or have ended
/// need no budget.
///
/// # Errors
/// What forbids it; [`EvictionError::is_temporary`] tells whether to try again.
pub fn evict(store: &mut Store, namespace: &str, name: &str, now: Time) -> Result<Deletion, EvictionError> {
    let pod = store.patch_status::<Pod>(namespace, name, now, |_| {})?;
    if !(phase(&pod) == "Pending" || is_finished(&pod) || is_terminating(&pod)) {
        let budgets: Vec<_> = store
            .list_in::<PodDisruptionBudget>(namespace)
            .filter(|budget| covers(budget, &pod))
            .cloned()
            .collect();
        match budgets.as_slice() {
            [] => {}
            [budget] => spend(store, &pod, budget, now)?,
            several => {
                let names: Vec<_> = several.iter().filter_map(|it| it.metadata.name.clone()).collect();
                return Err(EvictionError::SeveralBudgets {
                    pod: format!("{namespace}/{name}"),
                    budgets: names.join(", "),
                });
            }
        }
    }
    store.patch_status::<Pod>(namespace, name, now, |pod| disrupted(pod, "EvictionByEvictionAPI", now))?;
    Ok(store.delete::<Pod>(namespace, name, pod.metadata.uid.as_deref(), Grace::AsDeclared, now)?)
}

/// Takes one disruption from the budget, unless the pod may go without (KEP-3017).
fn spend(store: &mut Store, pod: &Pod, budget: &PodDisruptionBudget, now: Time) -> Result<(), EvictionError> {
    let status = budget.status.clone().unwrap_or_default();
    let desired = status.desired_healthy.unwrap_or(0);
    let current = status.current_healthy.unwrap_or(0);
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    if !is_ready(pod) {
        let has_healthy_budget = current >= desired && desired > 0;
        if policy == Some("AlwaysAllow") || has_healthy_budget {
            return Ok(());
        }
    }
    let (namespace, name) =
        (pod.metadata.namespace.as_deref().unwrap_or(""), budget.metadata.name.as_deref().unwrap_or(""));
    if status.observed_generation.unwrap_or(0) < budget.metadata.generation.unwrap_or(0) {
        return Err(EvictionError::BudgetNotObserved { budget: name.to_owned() });
    }
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    if status.disruptions_allowed.unwrap_or(0) <= 0 {
        return Err(EvictionError::BudgetSpent {
            pod: format!("{namespace}/{pod_name}"),
            budget: name.to_owned(),
            needed: desired,
            healthy: current,
        });
    }
    store.patch_status::<PodDisruptionBudget>(namespace, name, now, |budget| {
        let status = budget.status.get_or_insert_default();
        *status.disruptions_allowed.get_or_insert(0) -= 1;
        status.disrupted_pods.get_or_insert_default().insert(pod_name, timestamp(now));
    })?;
    Ok(())
}

/// Says in the pod's status why it is deleted (condition DisruptionTarget).
pub fn disrupted(pod: &mut Pod, reason: &str, now: Time) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some(reason.into()),
        last_transition_time: Some(timestamp(now)),
        ..PodCondition::default()
    });
}
