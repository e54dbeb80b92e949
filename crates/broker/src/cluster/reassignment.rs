//! A change of a partition's replicas that is under way.
//!
//! [`Topic::partitions`](super::topics::Topic) holds the replicas that vote until the change is finished. The
//! partition's leader works towards `target`: it adds what is missing as learners, waits until they have caught
//! up, changes the group's configuration, and reports with
//! [`Command::FinishReassignment`](super::command::Command). A cancelled change has the old replicas as its
//! target. Source: redpanda.md 4.5 (decommission, balancing), 3.1.1 (`reconfigurations`).

use serde::{Deserialize, Serialize};

/// A change of one partition's replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reassignment {
    /// The replicas to have in the end; the preferred leader first.
    pub target: Vec<i32>,
    pub reason: Reason,
    /// Whether the change was given up; the target is then what was before.
    pub cancelled: bool,
}

/// Who asked for a change of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// Somebody, by the Admin API or by AlterPartitionReassignments.
    Request,
    /// A broker leaves.
    Decommission,
    /// The balancer.
    Balance,
}
