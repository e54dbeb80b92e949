//! Faults of the disks behind claims.

use hopwise_kube::cluster::DiskAspect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Share;
use crate::scenario::{Duration, ObjectName};

/// A disk that is slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowDisk {
    /// The claim.
    pub claim: ObjectName,
    /// How much longer a sync takes.
    pub by: Duration,
}

/// A disk of whose operations a part fails, or goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FailingDisk {
    /// The claim.
    pub claim: ObjectName,
    /// How many.
    pub share: Share,
}

/// A disk that is mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MendedDisk {
    /// The claim.
    pub claim: ObjectName,
    /// Of what; of everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<DiskTrouble>,
}

/// What can be wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskTrouble {
    /// `fillDisk`.
    Full,
    /// `slowDisk`.
    Slow,
    /// `failDisk`.
    Failing,
    /// `corruptDisk`.
    Corrupting,
}

impl DiskTrouble {
    /// As the cluster calls it.
    pub fn of_cluster(self) -> DiskAspect {
        match self {
            DiskTrouble::Full => DiskAspect::Full,
            DiskTrouble::Slow => DiskAspect::Slow,
            DiskTrouble::Failing => DiskAspect::Failing,
            DiskTrouble::Corrupting => DiskAspect::Corrupting,
        }
    }
}
