//! Faults of pods and their containers.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `namespace/name` of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ContainerName {
    /// The pod.
    pub pod: PodName,
    /// The container.
    pub container: String,
}

/// A container whose process is slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowContainer {
    /// The pod.
    pub pod: PodName,
    /// The container.
    pub container: String,
    /// How many times as long everything takes; 1 is as usual.
    pub times: NonZeroU32,
}

/// A container whose process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExitContainer {
    /// The pod.
    pub pod: PodName,
    /// The container.
    pub container: String,
    /// The reason in the container's status.
    #[serde(default)]
    pub reason: ExitReason,
}

/// Why a container's process ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExitReason {
    /// It crashes: `Error`.
    #[default]
    Error,
    /// The kernel kills it for its memory.
    #[serde(rename = "OOMKilled")]
    OomKilled,
}

impl ExitReason {
    /// The reason in the container's status.
    pub fn as_str(self) -> &'static str {
        match self {
            ExitReason::Error => "Error",
            ExitReason::OomKilled => "OOMKilled",
        }
    }
}

impl TryFrom<String> for PodName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(PodName { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => {
                Err(format!("`{text}` names no pod; expected NAMESPACE/NAME, such as `redpanda/redpanda-1`"))
            }
        }
    }
}

impl From<PodName> for String {
    fn from(pod: PodName) -> String {
        pod.to_string()
    }
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
