//! Which kinds are simulated, and how a kind is recognised.

use crate::source::nearest;

/// A kind that is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Pod,
    StatefulSet,
    Deployment,
    Service,
    ConfigMap,
    Secret,
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    Namespace,
    PodDisruptionBudget,
    NetworkPolicy,
    EndpointSlice,
    Endpoints,
}

/// The apiVersion and name of each kept kind.
const KEPT: [(&str, &str, Kind); 14] = [
    ("v1", "Pod", Kind::Pod),
    ("apps/v1", "StatefulSet", Kind::StatefulSet),
    ("apps/v1", "Deployment", Kind::Deployment),
    ("v1", "Service", Kind::Service),
    ("v1", "ConfigMap", Kind::ConfigMap),
    ("v1", "Secret", Kind::Secret),
    ("v1", "PersistentVolumeClaim", Kind::PersistentVolumeClaim),
    ("v1", "PersistentVolume", Kind::PersistentVolume),
    ("storage.k8s.io/v1", "StorageClass", Kind::StorageClass),
    ("v1", "Namespace", Kind::Namespace),
    ("policy/v1", "PodDisruptionBudget", Kind::PodDisruptionBudget),
    ("networking.k8s.io/v1", "NetworkPolicy", Kind::NetworkPolicy),
    ("discovery.k8s.io/v1", "EndpointSlice", Kind::EndpointSlice),
    ("v1", "Endpoints", Kind::Endpoints),
];

impl Kind {
    /// Whether objects of the kind are in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::PersistentVolume | Kind::StorageClass | Kind::Namespace)
    }
}

/// Kinds that Kubernetes itself serves beside the kept ones in the groups that could be meant by a slip.
const OTHERS: [&str; 18] = [
    "Binding",
    "ControllerRevision",
    "CSIDriver",
    "CSINode",
    "CSIStorageCapacity",
    "DaemonSet",
    "Event",
    "Ingress",
    "IngressClass",
    "LimitRange",
    "List",
    "Node",
    "PodTemplate",
    "ReplicaSet",
    "ReplicationController",
    "ResourceQuota",
    "ServiceAccount",
    "VolumeAttachment",
];

/// What an apiVersion and kind mean to the loader.
#[derive(Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A kind that is simulated.
    Kept(Kind),
    /// Something else that exists, or may exist as a custom resource.
    Ignored,
    /// The API server knows no such kind.
    Wrong {
        /// The field that is wrong: `apiVersion` or `kind`.
        field: &'static str,
        what: String,
        help: String,
    },
}

/// What `api_version` and `kind` mean.
pub fn meaning(api_version: &str, kind: &str) -> Meaning {
    let kept = KEPT.iter().find(|(version, name, _)| *version == api_version && *name == kind);
    if let Some((_, _, kept)) = kept {
        return Meaning::Kept(*kept);
    }
    if !is_kubernetes_group(api_version) {
        return Meaning::Ignored;
    }
    if let Some((right, _, _)) = KEPT.iter().find(|(_, name, _)| *name == kind) {
        return Meaning::Wrong {
            field: "apiVersion",
            what: format!("expected `{right}` for the kind {kind}, got `{api_version}`"),
            help: format!("write apiVersion: {right}"),
        };
    }
    if OTHERS.contains(&kind) {
        return Meaning::Ignored;
    }
    let of_group = KEPT.iter().filter(|(version, _, _)| *version == api_version).map(|(_, name, _)| *name);
    match nearest(kind, of_group.chain(OTHERS)) {
        Some(near) => Meaning::Wrong {
            field: "kind",
            what: format!("`{api_version}` has no kind `{kind}`"),
            help: format!("did you mean `{near}`?"),
        },
        None => Meaning::Ignored,
    }
}

/// Whether the group of `api_version` is one that only Kubernetes defines kinds in.
fn is_kubernetes_group(api_version: &str) -> bool {
    match api_version.split_once('/') {
        None => true,
        Some((group, _)) => {
            let groups =
                ["apps", "extensions", "policy", "storage.k8s.io", "networking.k8s.io", "discovery.k8s.io"];
            groups.contains(&group)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_other_groups_are_ignored() {
        assert_eq!(meaning("serving.knative.dev/v1", "Service"), Meaning::Ignored);
        assert_eq!(meaning("v1", "ServiceAccount"), Meaning::Ignored);
        assert_eq!(meaning("batch/v1", "Job"), Meaning::Ignored);
        assert_eq!(meaning("networking.k8s.io/v1", "Ingress"), Meaning::Ignored);
    }

    #[test]
    fn slips_are_wrong() {
        let field = |api_version, kind| match meaning(api_version, kind) {
            Meaning::Wrong { field, .. } => Some(field),
            _ => None,
        };
        assert_eq!(field("v1", "StatefulSet"), Some("apiVersion"));
        assert_eq!(field("apps/v1beta1", "Deployment"), Some("apiVersion"));
        assert_eq!(field("v1", "service"), Some("kind"));
        assert_eq!(field("v1", "Sevice"), Some("kind"));
        assert_eq!(field("v1", "Service"), None);
    }
}
