//! ConfigMaps, Secrets, volumes and claims.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::check::Checker;
use super::metadata;
use super::names::Form;
use crate::source::FieldPath;

/// Bytes that a ConfigMap or Secret may hold.
const DATA_BYTES_MAX: usize = 1024 * 1024;

const ACCESS_MODES: [&str; 4] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"];

pub fn check_config_map(checker: &mut Checker<'_>, map: &ConfigMap) {
    metadata::check(checker, &map.metadata, Form::Subdomain);
    let mut bytes = 0;
    for (key, value) in map.data.iter().flatten() {
        checker.name(&FieldPath::from("data").key(key.as_str()), key, Form::DataKey);
        bytes += value.len();
    }
    for (key, value) in map.binary_data.iter().flatten() {
        let field = FieldPath::from("binaryData").key(key.as_str());
        checker.name(&field, key, Form::DataKey);
        if map.data.as_ref().is_some_and(|data| data.contains_key(key)) {
            let what = format!("the key `{key}` is also in data");
            checker.reject(&field, what, "each key once", "remove one of them");
        }
        bytes += value.0.len();
    }
    check_size(checker, bytes);
}

pub fn check_secret(checker: &mut Checker<'_>, secret: &Secret) {
    metadata::check(checker, &secret.metadata, Form::Subdomain);
    let field = FieldPath::from("data");
    for (key, _) in secret.data.iter().flatten() {
        checker.name(&field.key(key.as_str()), key, Form::DataKey);
    }
    check_size(checker, secret.data.iter().flatten().map(|(_, value)| value.0.len()).sum());
    // Source: Kubernetes documentation, "Types of Secret".
    let required: &[&str] = match secret.type_.as_deref() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/ssh-auth") => &["ssh-privatekey"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in required {
        if !secret.data.as_ref().is_some_and(|data| data.contains_key(*key)) {
            let expected =
                format!("the key `{key}` in a Secret of the type {}", secret.type_.as_deref().unwrap_or(""));
            checker.reject(&field.key(*key), "is missing", expected, "add the key");
        }
    }
}

fn check_size(checker: &mut Checker<'_>, bytes: usize) {
    if bytes > DATA_BYTES_MAX {
        let expected = format!("at most {DATA_BYTES_MAX} bytes");
        checker.reject(&FieldPath::from("data"), format!("{bytes} bytes"), expected, "split the object");
    }
}

pub fn check_claim(checker: &mut Checker<'_>, claim: &PersistentVolumeClaim) {
    metadata::check(checker, &claim.metadata, Form::Subdomain);
    check_claim_spec(checker, &FieldPath::from("spec"), claim.spec.as_ref());
}

/// Checks the claim, or claim template, at `field`.
pub fn check_claim_spec(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    spec: Option<&PersistentVolumeClaimSpec>,
) {
    let Some(spec) = spec else {
        checker.reject(field, "is missing", "accessModes and resources", "add the claim's spec");
        return;
    };
    check_access_modes(checker, &field.key("accessModes"), spec.access_modes.as_deref());
    let requests = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    check_storage(checker, &field.key("resources").key("requests").key("storage"), requests);
    checker.one_of(&field.key("volumeMode"), spec.volume_mode.as_deref(), &["Filesystem", "Block"]);
}

pub fn check_volume(checker: &mut Checker<'_>, volume: &PersistentVolume) {
    metadata::check(checker, &volume.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    let Some(spec) = &volume.spec else {
        checker.reject(&field, "is missing", "capacity, accessModes and a kind of volume", "add the spec");
        return;
    };
    check_access_modes(checker, &field.key("accessModes"), spec.access_modes.as_deref());
    check_storage(checker, &field.key("capacity").key("storage"), spec.capacity.as_ref());
    checker.one_of(
        &field.key("persistentVolumeReclaimPolicy"),
        spec.persistent_volume_reclaim_policy.as_deref(),
        &["Retain", "Delete", "Recycle"],
    );
    let has_affinity = spec.node_affinity.as_ref().is_some_and(|affinity| affinity.required.is_some());
    if spec.local.is_some() && !has_affinity {
        let expected = "the node that has the local volume";
        checker.reject(&field.key("nodeAffinity"), "is missing", expected, "add nodeAffinity.required");
    }
}

fn check_access_modes(checker: &mut Checker<'_>, field: &FieldPath, modes: Option<&[String]>) {
    let modes = modes.unwrap_or_default();
    if modes.is_empty() {
        checker.reject(field, "is empty", "at least one access mode", "add ReadWriteOnce");
    }
    for (index, mode) in modes.iter().enumerate() {
        checker.one_of(&field.index(index), Some(mode), &ACCESS_MODES);
    }
}

fn check_storage(checker: &mut Checker<'_>, field: &FieldPath, sizes: Option<&BTreeMap<String, Quantity>>) {
    let Some(size) = sizes.and_then(|sizes| sizes.get("storage")) else {
        checker.reject(field, "is missing", "a size such as 10Gi", "add the size");
        return;
    };
    let is_positive = !size.0.starts_with('-') && size.0.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if !is_positive {
        checker.reject(field, format!("{} is too small", size.0), "a size above 0", "change the size");
    }
}
