//! StorageClasses and the volumes they make.

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
    VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::controllers::endpoint_slices::ZONE_LABEL;
use crate::scheduler::HOSTNAME_LABEL;
use crate::store::{Store, StoreError};

/// The annotation of the class that claims without a class get.
pub const DEFAULT_CLASS_ANNOTATION: &str = "storageclass.kubernetes.io/is-default-class";
/// The finalizer that keeps a deleted claim while a pod uses it.
pub const PROTECTION_FINALIZER: &str = "kubernetes.io/pvc-protection";
/// The finalizer that keeps a deleted volume while a claim has it.
pub const VOLUME_PROTECTION_FINALIZER: &str = "kubernetes.io/pv-protection";

/// The provisioner that makes nothing: volumes are created by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// From where the volumes of a class can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Disk {
    /// From every node.
    Network,
    /// From the nodes of one zone.
    Zonal,
    /// From one node only.
    Local,
}

impl Disk {
    /// The provisioner of the default class with such disks.
    const fn provisioner(self) -> &'static str {
        match self {
            Disk::Network => "hopwise/network-disk",
            Disk::Zonal => "hopwise/zonal-disk",
            Disk::Local => "hopwise/local-disk",
        }
    }
}

/// From where the volumes of a class can be reached, by its provisioner. Provisioners that are not known
/// count as network disks.
pub fn disk_of(class: &StorageClass) -> Disk {
    match class.provisioner.as_str() {
        "hopwise/zonal-disk"
        | "ebs.csi.aws.com"
        | "ebs.csi.eks.amazonaws.com"
        | "kubernetes.io/aws-ebs"
        | "pd.csi.storage.gke.io"
        | "kubernetes.io/gce-pd"
        | "disk.csi.azure.com"
        | "kubernetes.io/azure-disk" => Disk::Zonal,
        "hopwise/local-disk"
        | NO_PROVISIONER
        | "rancher.io/local-path"
        | "k8s.io/minikube-hostpath"
        | "docker.io/hostpath"
        | "hostpath.csi.k8s.io"
        | "openebs.io/local"
        | "local.csi.openebs.io"
        | "topolvm.io"
        | "lvm.csi.metal-stack.io" => Disk::Local,
        _ => Disk::Network,
    }
}

/// Adds the class `standard` as the default if the store has no default class. Its volumes are bound to the
/// first consumer's node.
pub fn install_default_class(store: &mut Store, disk: Disk, now: Time) -> Result<(), StoreError> {
    if store.list::<StorageClass>().any(|class| is_default(class))
        || store.get::<StorageClass>("", "standard").is_some()
    {
        return Ok(());
    }
    let annotations = [(DEFAULT_CLASS_ANNOTATION.to_owned(), "true".to_owned())].into();
    let class = StorageClass {
        metadata: ObjectMeta {
            name: Some("standard".into()),
            annotations: Some(annotations),
            ..Default::default()
        },
        provisioner: disk.provisioner().into(),
        volume_binding_mode: Some("WaitForFirstConsumer".into()),
        reclaim_policy: Some("Delete".into()),
        ..Default::default()
    };
    store.create(class, now).map(|_| ())
}

/// What the API server adds to a claim: the default class where it names none, and the protection finalizer.
/// When several classes are the default, the youngest counts (the last by resource version).
pub fn admit_claim(store: &Store, claim: &mut PersistentVolumeClaim) {
    let spec = claim.spec.get_or_insert_default();
    if spec.storage_class_name.is_none() {
        let version = |class: &StorageClass| {
            class.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok())
        };
        let default =
            store.list::<StorageClass>().filter(|class| is_default(class)).max_by_key(|class| version(class));
        spec.storage_class_name = default.and_then(|class| class.metadata.name.clone());
    }
    let finalizers = claim.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == PROTECTION_FINALIZER) {
        finalizers.push(PROTECTION_FINALIZER.into());
    }
}

/// What the API server adds to a volume: the protection finalizer.
pub fn admit_volume(volume: &mut PersistentVolume) {
    let finalizers = volume.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == VOLUME_PROTECTION_FINALIZER) {
        finalizers.push(VOLUME_PROTECTION_FINALIZER.into());
    }
}

fn is_default(class: &StorageClass) -> bool {
    class
        .metadata
        .annotations
        .as_ref()
        .and_then(|all| all.get(DEFAULT_CLASS_ANNOTATION))
        .is_some_and(|v| v == "true")
}

/// Whether the class makes volumes, and may do so for `node`.
pub(super) fn can_provision(class: &StorageClass, node: Option<&Node>) -> bool {
    let label = |key: &str| node.and_then(|node| node_label(node, key));
    let allowed = class.allowed_topologies.as_deref().filter(|terms| !terms.is_empty());
    let in_topology = allowed.zip(node).is_none_or(|(terms, _)| {
        terms.iter().any(|term| {
            let mut expressions = term.match_label_expressions.iter().flatten();
            expressions.all(|one| {
                label(&one.key).is_some_and(|value| one.values.iter().any(|listed| listed == value))
            })
        })
    });
    class.provisioner != NO_PROVISIONER && in_topology
}

/// A new volume for a claim, reachable from where its kind of disk is; none if that is unknown without a
/// node.
pub(super) fn new_volume(
    store: &Store,
    class: &StorageClass,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<PersistentVolume> {
    let (key, value) = match disk_of(class) {
        Disk::Network => ("", String::new()),
        Disk::Local => (HOSTNAME_LABEL, node_label(node?, HOSTNAME_LABEL)?.to_owned()),
        Disk::Zonal => match node.and_then(|node| node_label(node, ZONE_LABEL)) {
            Some(zone) => (ZONE_LABEL, zone.to_owned()),
            // A zoneless node's disk is reachable from everywhere, as on clusters of one zone.
            None if node.is_some() => ("", String::new()),
            None => zone_for(store, claim).map_or(("", String::new()), |zone| (ZONE_LABEL, zone)),
        },
    };
    let spec = claim.spec.as_ref();
    let name = format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or(""));
    let (local, csi) = match disk_of(class) {
        Disk::Local => {
            let path = format!("/var/lib/volumes/{name}");
            (Some(LocalVolumeSource { path, fs_type: None }), None)
        }
        Disk::Network | Disk::Zonal => {
            let (driver, volume_handle) = (class.provisioner.clone(), name.clone());
            (None, Some(CSIPersistentVolumeSource { driver, volume_handle, ..Default::default() }))
        }
    };
    let mut volume = PersistentVolume {
        metadata: ObjectMeta { name: Some(name), ..Default::default() },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.and_then(|spec| spec.access_modes.clone()),
            capacity: spec
                .and_then(|spec| spec.resources.as_ref())
                .and_then(|resources| resources.requests.clone()),
            claim_ref: Some(reference(claim)),
            storage_class_name: class.metadata.name.clone(),
            persistent_volume_reclaim_policy: Some(
                class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into()),
            ),
            volume_mode: spec.and_then(|spec| spec.volume_mode.clone()),
            node_affinity: (!key.is_empty()).then(|| node_affinity(key, value)),
            local,
            csi,
            ..Default::default()
        }),
        status: None,
    };
    admit_volume(&mut volume);
    Some(volume)
}

/// The reference from a volume to its claim.
pub(super) fn reference(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("PersistentVolumeClaim".into()),
        namespace: claim.metadata.namespace.clone(),
        name: claim.metadata.name.clone(),
        uid: claim.metadata.uid.clone(),
        ..Default::default()
    }
}

/// The zone for a zonal disk that is made before anybody uses it: claims of one set go round the zones by
/// their ordinals.
fn zone_for(store: &Store, claim: &PersistentVolumeClaim) -> Option<String> {
    let nodes = store.list::<Node>();
    let zones: std::collections::BTreeSet<&str> =
        nodes.filter_map(|node| node_label(node, ZONE_LABEL)).collect();
    let name = claim.metadata.name.as_deref().unwrap_or("");
    let ordinal: u64 = name.rsplit('-').next().and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let index = usize::try_from(ordinal).unwrap_or(0).checked_rem(zones.len())?;
    zones.into_iter().nth(index).map(str::to_owned)
}

fn node_label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let labelled = node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    labelled.or_else(|| node.metadata.name.as_deref().filter(|_| key == HOSTNAME_LABEL))
}

fn node_affinity(key: &str, value: String) -> VolumeNodeAffinity {
    let requirement =
        NodeSelectorRequirement { key: key.into(), operator: "In".into(), values: Some(vec![value]) };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}
