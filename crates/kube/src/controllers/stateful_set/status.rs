//! The status that a pass leaves behind.
//!
//! Source: kubernetes.md 1.2 (one status write per reconcile) and 1.3 (when an update is complete).

use k8s_openapi::api::apps::v1::StatefulSetStatus;

use super::pass::{Pass, Slot};
use super::{View, replicas_wanted, rolling_partition};
use crate::store::pod_state::is_running_and_ready;

/// Counts the pods as the pass leaves them: pods asked to go still exist, but no longer count for a revision.
pub(super) fn of(view: &View<'_>, pass: &Pass<'_>) -> StatefulSetStatus {
    let pods: Vec<&Slot> = pass.replicas.iter().chain(&pass.condemned).filter(|slot| slot.created).collect();
    let count = |counts: &dyn Fn(&Slot) -> bool| {
        i32::try_from(pods.iter().filter(|slot| counts(slot)).count()).unwrap_or(i32::MAX)
    };
    let at = |revision: &str| count(&|slot| !slot.terminating && slot.revision() == revision);
    let (current, update) = (&pass.revisions.current.name, &pass.revisions.update.name);
    let replicas = count(&|_| true);
    let ready = count(&|slot| is_running_and_ready(&slot.pod));
    let updated = at(update);
    let wanted = i32::try_from(replicas_wanted(view.set)).unwrap_or(i32::MAX);
    // The update is complete when all pods are there, ready and new; never while a partition holds some back.
    let complete =
        rolling_partition(view.set).is_some() && updated == wanted && ready == wanted && replicas == wanted;
    let before = view.set.status.clone().unwrap_or_default();
    StatefulSetStatus {
        replicas,
        ready_replicas: Some(ready),
        available_replicas: Some(count(&|slot| slot.is_available(view))),
        current_replicas: Some(if complete { updated } else { at(current) }),
        updated_replicas: Some(updated),
        current_revision: Some(if complete { update.clone() } else { current.clone() }),
        update_revision: Some(update.clone()),
        observed_generation: view.set.metadata.generation,
        collision_count: before.collision_count.or(Some(0)),
        conditions: before.conditions,
    }
}
