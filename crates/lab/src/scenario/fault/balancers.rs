//! Faults of load balancers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{Duration, ObjectName};

/// A load balancer that is down and up in turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FlappingBalancer {
    /// Its Service.
    pub service: ObjectName,
    /// How long it is down each time.
    pub down: Duration,
    /// How long it is up each time.
    pub up: Duration,
}

/// A load balancer that takes its time with new targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowRegistration {
    /// Its Service.
    pub service: ObjectName,
    /// How much longer until a target that registers is checked.
    pub by: Duration,
}
