//! What operators do to StatefulSets and Deployments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::ObjectName;

/// Another number of replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scale {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// How many.
    pub replicas: u32,
}

/// Another image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SetImage {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// The container.
    pub container: String,
    /// The image.
    pub image: String,
}

/// A workload that is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeleteWorkload {
    /// The StatefulSet or Deployment.
    pub object: ObjectName,
    /// What becomes of its pods.
    #[serde(default)]
    pub cascade: Cascade,
}

/// What becomes of the pods of a workload that is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cascade {
    /// They are deleted afterwards.
    #[default]
    Background,
    /// They stay.
    Orphan,
}
