//! Step 3 and 4 of a pass: replacing pods whose template has changed.
//!
//! Source: kubernetes.md 1.2 (steps 3 and 4) and 1.4 (`maxUnavailable`).

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::pass::Pass;
use super::{is_ordered, replicas_wanted, rolling_partition};
use crate::controllers::RequestFailed;

impl Pass<'_> {
    /// Deletes stale pods as the strategy allows.
    pub(super) fn update_pods(&mut self) -> Result<(), RequestFailed> {
        // OnDelete: nothing is ever deleted because of a template change.
        let Some(partition) = rolling_partition(self.view.set) else { return Ok(()) };
        if self.view.gates.max_unavailable {
            self.update_within_budget(partition)
        } else {
            self.update_one(partition)
        }
    }

    /// The highest stale pod goes, unless a pod above it is not healthy.
    fn update_one(&mut self, partition: usize) -> Result<(), RequestFailed> {
        for slot in self.replicas.iter_mut().skip(partition).rev() {
            if slot.revision() != self.revisions.update.name && !slot.terminating {
                return if slot.created { Self::delete(self.api, slot) } else { Ok(()) };
            }
            if !slot.is_healthy() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// As many stale pods go, from the top, as may be unavailable together. Under Parallel, stale pods that
    /// are unavailable already go first and cost nothing extra.
    fn update_within_budget(&mut self, partition: usize) -> Result<(), RequestFailed> {
        let view = self.view;
        let available: Vec<bool> =
            self.replicas.iter().map(|slot| !slot.terminating && slot.is_available(view)).collect();
        let unavailable = available.iter().filter(|available| !**available).count();
        let mut budget = max_unavailable(view.set).saturating_sub(unavailable);
        let stale: Vec<usize> = (partition..self.replicas.len())
            .rev()
            .filter(|index| {
                let slot = &self.replicas[*index];
                slot.created && !slot.terminating && slot.revision() != self.revisions.update.name
            })
            .collect();
        let parallel = !is_ordered(view.set);
        if parallel {
            for index in stale.iter().filter(|index| !available[**index]) {
                Self::delete(self.api, &mut self.replicas[*index])?;
            }
        }
        for index in stale.into_iter().filter(|index| !parallel || available[*index]) {
            if budget == 0 {
                break;
            }
            budget -= 1;
            Self::delete(self.api, &mut self.replicas[index])?;
        }
        Ok(())
    }
}

/// How many pods may be unavailable: a number, or a share of the replicas rounded down; never below 1.
fn max_unavailable(set: &StatefulSet) -> usize {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let value = strategy
        .and_then(|strategy| strategy.rolling_update.as_ref())
        .and_then(|r| r.max_unavailable.as_ref());
    let count = match value {
        None => 1,
        Some(IntOrString::Int(count)) => usize::try_from(*count).unwrap_or(0),
        Some(IntOrString::String(share)) => {
            let percent: usize =
                share.strip_suffix('%').and_then(|percent| percent.parse().ok()).unwrap_or(0);
            replicas_wanted(set).saturating_mul(percent) / 100
        }
    };
    count.max(1)
}
