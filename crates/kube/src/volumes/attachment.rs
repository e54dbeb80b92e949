//! VolumeAttachments: which volumes need attaching, and whether a pod's volumes are attached to its node.
//!
//! Source: kubernetes.md 1.7.

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{
    VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec, VolumeAttachmentStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::attach_detach::{Request, Use};
use super::{claims_of_pod, volume_of};
use crate::store::pod_state::{is_finished, node_name};
use crate::store::{Grace, Store, StoreError};

/// What keeps a VolumeAttachment until the disk is detached.
const FINALIZER: &str = "external-attacher/hopwise";

/// CSI drivers of file shares, which are mounted without being attached (their CSIDriver objects say
/// `attachRequired: false`).
const UNATTACHED_DRIVERS: [&str; 6] = [
    "efs.csi.aws.com",
    "file.csi.azure.com",
    "filestore.csi.storage.gke.io",
    "nfs.csi.k8s.io",
    "smb.csi.k8s.io",
    "cephfs.csi.ceph.com",
];

/// Why the volumes of a pod cannot be mounted on its node yet; none once all of them can.
pub fn waits_for(store: &Store, pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let node = node_name(pod)?;
    claims_of_pod(pod).iter().find_map(|claim| {
        if store.get::<PersistentVolumeClaim>(namespace, claim).is_none() {
            return Some(format!("persistentvolumeclaim \"{claim}\" not found"));
        }
        let Some(id) = volume_of(store, namespace, claim) else {
            return Some(format!("persistentvolumeclaim \"{claim}\" is not bound"));
        };
        let volume = store.get::<PersistentVolume>("", &id.0)?;
        if needs_attachment(volume) { waits_for_disk(store, volume, &id.0, node) } else { None }
    })
}

fn waits_for_disk(store: &Store, volume: &PersistentVolume, name: &str, node: &str) -> Option<String> {
    let is_attached = |attachment: &VolumeAttachment| {
        attachment.status.as_ref().is_some_and(|status| status.attached)
            && attachment.metadata.deletion_timestamp.is_none()
    };
    match store.get::<VolumeAttachment>("", &attachment_name(name, node)) {
        Some(attachment) if is_attached(attachment) => None,
        Some(attachment) if attachment.metadata.deletion_timestamp.is_none() => {
            Some(format!("volume \"{name}\" is being attached to node {node}"))
        }
        found => {
            let holder = store
                .list::<VolumeAttachment>()
                .find(|other| other.spec.source.persistent_volume_name.as_deref() == Some(name));
            Some(match holder.filter(|_| found.is_none() && !is_shared(volume)) {
                Some(holder) => format!(
                    "Multi-Attach error for volume \"{name}\": it is still attached to node {} and can't be attached \
                     to another",
                    holder.spec.node_name
                ),
                None => format!("volume \"{name}\" is not attached to node {node} yet"),
            })
        }
    }
}

/// Whether a volume is a disk that a machine has to be given before it can be mounted there.
pub fn needs_attachment(volume: &PersistentVolume) -> bool {
    let Some(spec) = volume.spec.as_ref() else { return false };
    let by_driver = spec.csi.as_ref().map(|csi| !UNATTACHED_DRIVERS.contains(&csi.driver.as_str()));
    by_driver.unwrap_or(
        spec.aws_elastic_block_store.is_some()
            || spec.gce_persistent_disk.is_some()
            || spec.azure_disk.is_some()
            || spec.cinder.is_some()
            || spec.vsphere_volume.is_some(),
    )
}

/// Whether several machines may have the volume at a time.
pub fn is_shared(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
    modes.into_iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
}

/// The disks that a pod uses on its node; none if it is not bound or has ended.
pub fn use_of(store: &Store, pod: &Pod) -> Option<Use> {
    let node = node_name(pod).filter(|_| !is_finished(pod))?.to_owned();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let claims = claims_of_pod(pod).into_iter();
    let volumes = claims
        .filter_map(|claim| store.get::<PersistentVolume>("", &volume_of(store, namespace, &claim)?.0))
        .filter(|volume| needs_attachment(volume))
        .filter_map(|volume| Some((volume.metadata.name.clone()?, is_shared(volume))))
        .collect();
    Some(Use { node, volumes })
}

/// Shows a step of the attach and detach controller in the store.
///
/// # Errors
/// If the store refuses.
pub fn record(store: &mut Store, request: &Request, now: Time) -> Result<(), StoreError> {
    match request {
        Request::Attach(volume, node) => {
            let driver = store
                .get::<PersistentVolume>("", volume)
                .and_then(|it| Some(it.spec.as_ref()?.csi.as_ref()?.driver.clone()));
            store.create(new_attachment(volume, node, driver.unwrap_or_default()), now).map(drop)
        }
        Request::Attached(volume, node) => store
            .patch_status::<VolumeAttachment>("", &attachment_name(volume, node), now, |it| {
                it.status = Some(VolumeAttachmentStatus { attached: true, ..Default::default() });
            })
            .map(drop),
        Request::Detach(volume, node) => store
            .delete::<VolumeAttachment>("", &attachment_name(volume, node), None, Grace::AsDeclared, now)
            .map(drop),
        Request::Detached(volume, node) => store
            .patch::<VolumeAttachment>("", &attachment_name(volume, node), now, |it| {
                it.metadata.finalizers = None;
            })
            .map(drop),
    }
}

/// Whether some machine has the volume, is getting or losing it.
pub(super) fn is_attached_anywhere(store: &Store, volume: &str) -> bool {
    store
        .list::<VolumeAttachment>()
        .any(|it| it.spec.source.persistent_volume_name.as_deref() == Some(volume))
}

fn new_attachment(volume: &str, node: &str, attacher: String) -> VolumeAttachment {
    VolumeAttachment {
        metadata: ObjectMeta {
            name: Some(attachment_name(volume, node)),
            finalizers: Some(vec![FINALIZER.into()]),
            ..ObjectMeta::default()
        },
        spec: VolumeAttachmentSpec {
            attacher,
            node_name: node.to_owned(),
            source: VolumeAttachmentSource {
                persistent_volume_name: Some(volume.to_owned()),
                ..Default::default()
            },
        },
        status: Some(VolumeAttachmentStatus { attached: false, ..Default::default() }),
    }
}

/// The name of the VolumeAttachment of a volume and a node: readable, where the real one is a hash.
pub fn attachment_name(volume: &str, node: &str) -> String {
    format!("csi-{volume}-{node}")
}
