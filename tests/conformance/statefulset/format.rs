//! The format `k8s-statefulset/1`, every field of it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub format: String,
    #[serde(rename = "action_words")]
    pub _action_words: BTreeMap<String, String>,
    #[serde(rename = "sources")]
    pub _sources: Vec<String>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    #[serde(rename = "title")]
    pub _title: String,
    pub origin: Origin,
    #[serde(rename = "derived", default)]
    pub _derived: bool,
    #[serde(rename = "notes")]
    pub _notes: Option<String>,
    pub set: Option<Set>,
    #[serde(default)]
    pub gates: Gates,
    pub initial: Option<Initial>,
    #[serde(default)]
    pub steps: Vec<Step>,
    pub stage: Option<Stage>,
    #[serde(default)]
    pub expect: Expect,
    pub revisions: Option<Revisions>,
    pub pvc: Option<Pvc>,
    pub timeline: Option<Vec<Moment>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    pub path: String,
    pub test: String,
    pub also: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    UpdateOnly,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Set {
    pub replicas: i32,
    pub pod_management_policy: Option<String>,
    pub update_strategy: Option<String>,
    pub partition: i32,
    pub ordinals_start: i32,
    pub min_ready_seconds: i32,
    pub max_unavailable: Option<Value>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    #[serde(rename = "MaxUnavailableStatefulSet", default)]
    pub max_unavailable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initial {
    pub pods: Vec<InitialPod>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialPod {
    pub ordinal: u64,
    pub phase: Option<String>,
    pub ready: Option<bool>,
    pub available: Option<bool>,
    pub ready_for_s: Option<u64>,
    pub revision: Option<String>,
}

impl InitialPod {
    pub fn state(&self) -> PodState {
        let InitialPod { phase, ready, available, ready_for_s, .. } = self.clone();
        PodState { phase, ready, available, ready_for_s }
    }
}

/// What can be said of a pod's state.
#[derive(Clone, Default)]
pub struct PodState {
    pub phase: Option<String>,
    pub ready: Option<bool>,
    pub available: Option<bool>,
    pub ready_for_s: Option<u64>,
}

/// A step: an event, a reconcile, or (adoption) what has come of the event before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub event: Option<Event>,
    pub sync: Option<Vec<String>>,
    pub status: Option<Status>,
    pub error: Option<String>,
    pub expect: Option<String>,
    #[serde(rename = "why")]
    pub _why: Option<String>,
    #[serde(rename = "note")]
    pub _note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub pod: Option<u64>,
    pub phase: Option<String>,
    pub ready: Option<bool>,
    pub available: Option<bool>,
    pub ready_for_s: Option<u64>,
    #[serde(default)]
    pub terminating: bool,
    #[serde(default)]
    pub removed: bool,
    #[serde(default)]
    pub owner_removed: bool,
    #[serde(default)]
    pub labels_removed: bool,
    #[serde(default)]
    pub labels_restored: bool,
    pub spec: Option<SpecChange>,
    pub api_error: Option<String>,
    pub after_calls: Option<u64>,
    pub api_ok: Option<String>,
    pub create_fails: Option<bool>,
    pub status_write_fails: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecChange {
    pub replicas: Option<i32>,
    pub template: Option<String>,
    pub partition: Option<i32>,
    pub update_strategy: Option<String>,
    pub ordinals_start: Option<i32>,
    pub min_ready_seconds: Option<i32>,
    pub max_unavailable: Option<Value>,
}

/// The status in the words of the file; what is not said is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    pub replicas: Option<i32>,
    pub ready: Option<i32>,
    pub available: Option<i32>,
    pub current: Option<i32>,
    pub updated: Option<i32>,
    pub current_revision: Option<String>,
    pub update_revision: Option<String>,
}

/// What holds at the end.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub status: Option<Status>,
    pub labels: Option<BTreeMap<String, String>>,
    pub invariants: Option<Vec<String>>,
    pub api_calls: Option<BTreeMap<String, u64>>,
    pub status_after_failed_delete: Option<AfterFailure>,
    pub pod_names: Option<Vec<String>>,
    pub revisions: Option<BTreeMap<String, String>>,
    pub pods_at: Option<BTreeMap<String, String>>,
    pub revision_count: Option<usize>,
    pub current: Option<String>,
    pub update: Option<String>,
    pub pods_removed: Option<usize>,
    pub remaining_ordinals: Option<Vec<u64>>,
    pub max_reconciles: Option<usize>,
    pub min_concurrent_calls: Option<usize>,
    pub rule: Option<String>,
    pub status_writes: Option<usize>,
    pub error: Option<String>,
    pub pvc_owners: Option<Vec<String>>,
    pub pvc_deleted_by_gc_after: Option<String>,
    pub replacement: Option<bool>,
    pub pod_object: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterFailure {
    pub current: i32,
    pub revisions_differ: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revisions {
    pub existing_in_order: Vec<String>,
    pub status_current: Option<String>,
    pub spec_template: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pvc {
    pub when_scaled: String,
    pub when_deleted: String,
    pub pod_in_range: bool,
}

/// A moment of a timeline: when, and what happens or has happened then.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    pub t_s: Value,
    pub what: String,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.path, self.test)?;
        self.also.iter().try_for_each(|also| write!(f, " ({also})"))
    }
}
