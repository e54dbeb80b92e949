//! The claims of the set's pods: their names, their content, and who owns them.
//!
//! Source: kubernetes.md 1.1 (names and labels), 1.5 (retention policy).

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::View;
use super::identity::{pod_name, set_name};
use crate::controllers::controller_reference;

/// Who takes a claim along when it goes, by the retention policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOwner {
    /// Nobody: the claim stays.
    Nobody,
    /// The set: the claim goes when the set is deleted.
    Set,
    /// The pod: the claim goes when the pod is deleted.
    Pod,
}

/// The name of a claim. It depends on nothing but these three (kubernetes.md 1.1).
pub fn claim_name(template: &str, set: &str, ordinal: u64) -> String {
    format!("{template}-{}", pod_name(set, ordinal))
}

/// Who owns the claims of a pod, inside the set's ordinals or scaled away (the table of kubernetes.md 1.5).
pub fn claim_owner(set: &StatefulSet, in_range: bool) -> ClaimOwner {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |choice: Option<&String>| choice.is_some_and(|choice| choice == "Delete");
    let when_scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let when_deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    match (when_scaled && !in_range, when_deleted) {
        (true, _) => ClaimOwner::Pod,
        (false, true) => ClaimOwner::Set,
        (false, false) => ClaimOwner::Nobody,
    }
}

/// The set's claim templates.
pub(super) fn claim_templates(set: &StatefulSet) -> impl Iterator<Item = &PersistentVolumeClaim> {
    set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten())
}

/// The names of the claims that a pod of that ordinal needs.
pub(super) fn names_of(set: &StatefulSet, ordinal: u64) -> impl Iterator<Item = String> {
    claim_templates(set).map(move |template| {
        claim_name(template.metadata.name.as_deref().unwrap_or(""), set_name(set), ordinal)
    })
}

/// The claims a pod of that ordinal needs, as they are created.
pub(super) fn claims_of(set: &StatefulSet, ordinal: u64) -> impl Iterator<Item = PersistentVolumeClaim> {
    claim_templates(set).map(move |template| {
        let mut claim = template.clone();
        let template_name = template.metadata.name.as_deref().unwrap_or("");
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.as_ref());
        labels.extend(selector.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        claim.metadata.name = Some(claim_name(template_name, set_name(set), ordinal));
        claim.metadata.namespace = set.metadata.namespace.clone();
        claim.metadata.labels = Some(labels).filter(|labels| !labels.is_empty());
        if claim_owner(set, true) == ClaimOwner::Set {
            claim.metadata.owner_references = Some(vec![set_reference(set)]);
        }
        claim.status = None;
        claim
    })
}

/// The claims that exist, by name.
pub(super) type Claims<'a> = BTreeMap<&'a str, &'a PersistentVolumeClaim>;

/// The claims that the controller sees, by name.
pub(super) fn by_name<'a>(view: &View<'a>) -> Claims<'a> {
    view.claims.iter().map(|claim| (claim.metadata.name.as_deref().unwrap_or(""), claim.as_ref())).collect()
}

/// The claim of that name, if it exists.
pub(super) fn find<'a>(claims: &Claims<'a>, name: &str) -> Option<&'a PersistentVolumeClaim> {
    claims.get(name).copied()
}

/// Whether a claim of the pod-to-be still belongs to an earlier pod of that name, or is going away: then the
/// pod has to wait.
pub(super) fn must_wait(set: &StatefulSet, claims: &Claims<'_>, ordinal: u64) -> bool {
    let pod = pod_name(set_name(set), ordinal);
    names_of(set, ordinal).filter_map(|name| find(claims, &name)).any(|claim| {
        claim.metadata.deletion_timestamp.is_some()
            || claim
                .metadata
                .owner_references
                .iter()
                .flatten()
                .any(|owner| owner.kind == "Pod" && owner.name == pod)
    })
}

/// The claims of an existing pod whose owners are not what the retention policy says, put right.
pub(super) fn claims_to_reown(
    set: &StatefulSet,
    claims: &Claims<'_>,
    pod: &Pod,
    ordinal: u64,
    in_range: bool,
) -> Vec<PersistentVolumeClaim> {
    let wanted = claim_owner(set, in_range);
    names_of(set, ordinal)
        .filter_map(|name| find(claims, &name))
        .filter_map(|claim| {
            let mut owners = claim.metadata.owner_references.clone().unwrap_or_default();
            owners.retain(|owner| !is_set(owner, set) && !is_pod(owner, &pod.metadata));
            match wanted {
                ClaimOwner::Nobody => {}
                ClaimOwner::Set => owners.push(set_reference(set)),
                ClaimOwner::Pod => owners.push(pod_reference(&pod.metadata)),
            }
            let owners = Some(owners).filter(|owners| !owners.is_empty());
            if owners == claim.metadata.owner_references {
                return None;
            }
            let mut claim = PersistentVolumeClaim::clone(claim);
            claim.metadata.owner_references = owners;
            Some(claim)
        })
        .collect()
}

fn set_reference(set: &StatefulSet) -> OwnerReference {
    controller_reference("apps/v1", "StatefulSet", &set.metadata)
}

fn pod_reference(pod: &ObjectMeta) -> OwnerReference {
    controller_reference("v1", "Pod", pod)
}

fn is_set(owner: &OwnerReference, set: &StatefulSet) -> bool {
    owner.kind == "StatefulSet" && owner.name == set_name(set)
}

fn is_pod(owner: &OwnerReference, pod: &ObjectMeta) -> bool {
    owner.kind == "Pod" && Some(&owner.name) == pod.name.as_ref()
}
