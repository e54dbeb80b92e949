//! Faults on a timeline.
//!
//! A fault is a time and one thing that happens, as a field of its own: `deletePod: redpanda/redpanda-1`. Another kind
//! of fault is another field here and another variant of [`FaultKind`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Duration;

/// Something that goes wrong at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FaultFields", into = "FaultFields")]
pub struct Fault {
    /// When, after the workload's start.
    pub at: Duration,
    /// What.
    pub kind: FaultKind,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// What `kubectl delete pod` does.
    DeletePod {
        /// The pod.
        pod: PodName,
        /// `--grace-period`; the pod's own if absent.
        grace_period: Option<Duration>,
        /// `--force`: the object goes at once, whatever the node says.
        force: bool,
    },
}

/// `namespace/name` of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A fault as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FaultFields {
    at: Duration,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delete_pod: Option<PodName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grace_period: Option<Duration>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    force: bool,
}

impl TryFrom<FaultFields> for Fault {
    type Error = String;

    fn try_from(fields: FaultFields) -> Result<Self, String> {
        let FaultFields { at, delete_pod, grace_period, force } = fields;
        match delete_pod {
            Some(pod) => Ok(Fault { at, kind: FaultKind::DeletePod { pod, grace_period, force } }),
            None => {
                Err("a fault needs what happens beside `at`; expected `deletePod: NAMESPACE/NAME`".to_owned())
            }
        }
    }
}

impl From<Fault> for FaultFields {
    fn from(fault: Fault) -> Self {
        let FaultKind::DeletePod { pod, grace_period, force } = fault.kind;
        FaultFields { at: fault.at, delete_pod: Some(pod), grace_period, force }
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
