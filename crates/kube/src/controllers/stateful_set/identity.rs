//! Which pod is which, and how a pod of an ordinal looks when it is created.
//!
//! Source: kubernetes.md 1.1.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::claims::{claim_name, claim_templates};
use crate::controllers::{controller_of, controller_reference};
use crate::store::matches_selector;

/// The label with the pod's own name.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the pod's ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// The label with the name of the revision the pod was created from.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// The name of the pod with that ordinal.
pub fn pod_name(set: &str, ordinal: u64) -> String {
    format!("{set}-{ordinal}")
}

/// The ordinal in a pod's name, if the name belongs to the set.
pub fn ordinal_of(set: &str, pod: &str) -> Option<u64> {
    let digits = pod.strip_prefix(set)?.strip_prefix('-')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// What a pod is to the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It is one of the set's pods.
    Member,
    /// It would be if the set were its controller; nobody else is.
    Orphan,
    /// The set is its controller, but the selector does not match any more.
    Stray,
    /// It is not the set's business.
    Foreign,
}

/// What `pod` is to `set` (the selector and the owner reference decide, and the name).
pub(super) fn membership(set: &StatefulSet, pod: &Pod) -> Membership {
    let Some(spec) = set.spec.as_ref() else { return Membership::Foreign };
    let selected = matches_selector(&spec.selector, pod.metadata.labels.as_ref());
    let named = ordinal_of(set_name(set), pod.metadata.name.as_deref().unwrap_or("")).is_some();
    match controller_of(&pod.metadata) {
        Some(owner) if Some(&owner.uid) != set.metadata.uid.as_ref() => Membership::Foreign,
        Some(_) if !selected => Membership::Stray,
        Some(_) if named => Membership::Member,
        None if selected && named && pod.metadata.deletion_timestamp.is_none() => Membership::Orphan,
        _ => Membership::Foreign,
    }
}

/// The set's name.
pub(super) fn set_name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or("")
}

/// The revision the pod was created from.
pub(super) fn revision_of(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)).map_or("", String::as_str)
}

/// A pod of that ordinal as it is created.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: u64) -> Pod {
    let name = pod_name(set_name(set), ordinal);
    let meta = template.metadata.clone().unwrap_or_default();
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.as_ref().and_then(|spec| spec.service_name.clone());
    let mut pod = Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference("apps/v1", "StatefulSet", &set.metadata)]),
            ..Default::default()
        },
        spec: Some(spec),
        status: None,
    };
    put_identity_right(set, ordinal, &mut pod);
    pod.metadata.labels.get_or_insert_default().insert(REVISION_LABEL.into(), revision.into());
    pod
}

/// Whether a pod has the labels and volumes that tie it to its ordinal.
pub(super) fn has_identity(set: &StatefulSet, ordinal: u64, pod: &Pod) -> bool {
    let label =
        |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or(&[]);
    let is_bound = |template: &PersistentVolumeClaim| {
        let name = template.metadata.name.as_deref().unwrap_or("");
        let claim = claim_name(name, set_name(set), ordinal);
        volumes.iter().any(|volume| binds(volume, name, &claim))
    };
    label(POD_NAME_LABEL) == Some(pod_name(set_name(set), ordinal).as_str())
        && label(POD_INDEX_LABEL) == Some(ordinal.to_string().as_str())
        && claim_templates(set).all(is_bound)
}

fn binds(volume: &Volume, name: &str, claim: &str) -> bool {
    volume.name == name
        && volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
}

/// Sets the labels and volumes that tie a pod to its ordinal. The container specification is left as it is.
pub(super) fn put_identity_right(set: &StatefulSet, ordinal: u64, pod: &mut Pod) {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME_LABEL.into(), pod_name(set_name(set), ordinal));
    labels.insert(POD_INDEX_LABEL.into(), ordinal.to_string());
    let volumes = pod.spec.get_or_insert_default().volumes.get_or_insert_default();
    for template in claim_templates(set) {
        let name = template.metadata.name.clone().unwrap_or_default();
        let claim = claim_name(&name, set_name(set), ordinal);
        if volumes.iter().any(|volume| binds(volume, &name, &claim)) {
            continue;
        }
        volumes.retain(|volume| volume.name != name);
        volumes.push(Volume {
            name,
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim,
                read_only: Some(false),
            }),
            ..Default::default()
        });
    }
    if volumes.is_empty() {
        pod.spec.get_or_insert_default().volumes = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ordinals() {
        assert_eq!(pod_name("redpanda", 2), "redpanda-2");
        for (name, ordinal) in [
            ("redpanda-0", Some(0)),
            ("redpanda-12", Some(12)),
            ("redpanda-", None),
            ("redpanda-x", None),
            ("redpanda-+1", None),
            ("redpanda", None),
            ("other-1", None),
            ("redpanda-99999999999999999999999", None),
        ] {
            assert_eq!(ordinal_of("redpanda", name), ordinal, "{name}");
        }
    }
}
