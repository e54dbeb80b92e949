//! Certificates that expire and are renewed.
//!
//! An expired certificate is the one that the same issuer has signed for the same key so long ago that it is over now: what
//! an end of TLS sees of it is what it sees of one that has grown old. Connections that stand go on; every new one fails
//! at the client, which looks at the dates (RFC 5280 section 6.1.3). Renewal is cert-manager's: the Secret gets a
//! certificate for the same key (`rotationPolicy: Never`) that is valid from now on. The kubelet of each pod brings a
//! changed Secret into the mounted files at its next look, once in a minute (kubelet's `syncFrequency`; Kubernetes,
//! "Secrets", section "Mounted Secrets are updated automatically"), except what is mounted by `subPath`; brokers load it
//! with the next connection (redpanda.md 2.1).
//! Left out: until it expires, a certificate says that it lasts longer; authorities stay as they are.

use std::time::Duration;

use hopwise_kube::cluster::OperationError;
use hopwise_kube::store::{Store, StoreError};
use k8s_openapi::api::core::v1::{KeyToPath, Pod, Secret, SecretVolumeSource};
use rand::Rng;
use tokio::time::{Instant, sleep_until};

use super::Stakes;
use crate::certificates::{self, Validity};
use crate::credentials::MountedFiles;
use crate::scenario::ObjectName;

/// The key of a certificate in its Secret.
const CERTIFICATE: &str = "tls.crt";
/// Between two looks of a kubelet at the Secrets of a pod (`syncFrequency`, default 1m).
const SYNC_FREQUENCY: Duration = Duration::from_secs(60);

/// Lets the certificate in a Secret be over, in the Secret and wherever it is mounted.
///
/// # Errors
/// If the simulation has not issued it.
pub(super) fn expire(stakes: &Stakes<'_>, secret: &ObjectName) -> Result<(), OperationError> {
    put(stakes, secret, Validity::Over)?;
    // It grows old where it is.
    for broker in stakes.brokers.all() {
        refresh(stakes, &broker.pod, secret);
    }
    hopwise_engine::notable("certificate.expired", secret.to_string(), "");
    Ok(())
}

/// Renews the certificate in a Secret, and brings it to the pods that mount it, as each kubelet comes to it.
///
/// # Errors
/// If the simulation has not issued it.
pub(super) async fn renew(
    stakes: &Stakes<'_>,
    secret: &ObjectName,
    end: Instant,
) -> Result<(), OperationError> {
    put(stakes, secret, Validity::FromNow)?;
    hopwise_engine::notable("certificate.renewed", secret.to_string(), "by cert-manager");
    let begun = Instant::now();
    let mut looks: Vec<(Instant, String)> = Vec::new();
    for broker in stakes.brokers.all() {
        let mut stream = hopwise_engine::stream(&format!("kubelet/secrets/{}", broker.pod));
        let phase = u64::try_from(SYNC_FREQUENCY.as_millis()).map_or(0, |most| stream.next_u64() % most);
        looks.push((begun + Duration::from_millis(phase), broker.pod));
    }
    looks.sort();
    for (look, pod) in looks {
        // What is over before is not looked at any more.
        sleep_until(look.min(end)).await;
        refresh(stakes, &pod, secret);
    }
    Ok(())
}

/// Puts another certificate into the Secret.
fn put(stakes: &Stakes<'_>, secret: &ObjectName, validity: Validity) -> Result<(), OperationError> {
    let inputs = stakes.inputs;
    let domain = inputs.cluster.cluster_domain.trim_end_matches('.');
    let now_s = u64::try_from(hopwise_engine::clock::unix_ms() / 1000).unwrap_or(0);
    let name = (secret.namespace.clone(), secret.name.clone());
    let issued =
        certificates::reissue(&inputs.manifests, domain, hopwise_engine::seed(), now_s, &name, validity);
    let pem = issued.ok_or_else(|| {
        OperationError::Refused(format!("nobody issues the certificate of {secret}: it is in the manifests"))
    })?;
    let (namespace, name) = (secret.namespace.as_str(), secret.name.as_str());
    let stored = stakes.cluster.api().write(|store, now| {
        store.patch::<Secret>(namespace, name, now, |object| {
            let data = object.data.get_or_insert_default();
            data.insert(CERTIFICATE.to_owned(), k8s_openapi::ByteString(pem.clone().into_bytes()));
        })
    });
    stored.map(drop).map_err(|error: StoreError| error.into())
}

/// Brings what the Secret holds into the files that are mounted into a broker's pod.
fn refresh(stakes: &Stakes<'_>, pod: &str, secret: &ObjectName) {
    let Some((namespace, name)) = pod.split_once('/') else { return };
    if namespace != secret.namespace {
        return;
    }
    let files = stakes.cluster.api().read(|store| mounted(store, (namespace, name), &secret.name));
    if !files.is_empty() {
        stakes.brokers.refresh(pod, files);
    }
}

/// The files of a Secret at their paths in the containers of a pod.
fn mounted(store: &Store, (namespace, pod): (&str, &str), secret: &str) -> MountedFiles {
    let mut files = MountedFiles::new();
    let (Some(pod), Some(held)) = (store.get::<Pod>(namespace, pod), store.get::<Secret>(namespace, secret))
    else {
        return files;
    };
    let Some(spec) = &pod.spec else { return files };
    let is_meant = |source: &&SecretVolumeSource| source.secret_name.as_deref() == Some(secret);
    for volume in spec.volumes.iter().flatten() {
        let own = volume.secret.as_ref().filter(is_meant).map(|source| source.items.as_deref());
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let projected = projected
            .filter_map(|source| source.secret.as_ref())
            .filter(|source| source.name == secret)
            .map(|source| source.items.as_deref());
        for items in own.into_iter().chain(projected) {
            let mounts =
                spec.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
            // What is mounted by subPath is never brought up to date.
            for mount in mounts.filter(|mount| mount.name == volume.name && mount.sub_path.is_none()) {
                let directory = mount.mount_path.trim_end_matches('/');
                for (key, value) in held.data.iter().flatten() {
                    if let Some(path) = path_of(key, items) {
                        files.insert(format!("{directory}/{path}"), value.0.clone());
                    }
                }
            }
        }
    }
    files
}

/// Where a key of a Secret is below its mount; nowhere if other keys are chosen.
fn path_of<'a>(key: &'a str, items: Option<&'a [KeyToPath]>) -> Option<&'a str> {
    match items {
        None => Some(key),
        Some(items) => items.iter().find(|item| item.key == key).map(|item| item.path.as_str()),
    }
}
