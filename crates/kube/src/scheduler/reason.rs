//! Why a node was refused, in the words that users know from `kubectl describe pod`.

use std::fmt;

use super::Cause;

/// Why a pod cannot run on a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The node is cordoned.
    NodeUnschedulable,
    /// The node has a taint that the pod does not tolerate.
    UntoleratedTaint {
        /// The taint's key.
        key: String,
        /// The taint's value.
        value: String,
    },
    /// nodeSelector or required node affinity does not match.
    NodeAffinity,
    /// A host port is taken.
    HostPort,
    /// The requests do not fit into what is left of a resource.
    Insufficient {
        /// The resource, e.g. `cpu`.
        resource: String,
    },
    /// The node has as many pods as it takes.
    TooManyPods,
    /// A bound volume cannot be reached from the node.
    VolumeNodeAffinity,
    /// No volume can be bound for a claim that waits for its first consumer.
    NoVolumeToBind,
    /// A claim with immediate binding is not bound yet.
    UnboundImmediateClaim,
    /// A claim of the pod does not exist.
    ClaimMissing {
        /// The claim's name.
        name: String,
    },
    /// A claim of the pod is going away.
    ClaimTerminating {
        /// The claim's name.
        name: String,
    },
    /// Another pod uses a claim that only one pod at a time may use (ReadWriteOncePod).
    ClaimInUse,
    /// The spread over topology domains would become too uneven.
    TopologySpread,
    /// The node lacks the label of a topology spread constraint.
    TopologySpreadLabelMissing,
    /// Required pod affinity is not met.
    PodAffinity,
    /// A pod that the new one must keep away from is there.
    PodAntiAffinity,
    /// A pod is there that keeps the new one away.
    ExistingPodsAntiAffinity,
}

impl Reason {
    /// Whether the reason is the pod's own rather than a node's, so that a count of nodes says nothing.
    pub fn is_about_the_pod(&self) -> bool {
        matches!(
            self,
            Reason::UnboundImmediateClaim | Reason::ClaimMissing { .. } | Reason::ClaimTerminating { .. }
        )
    }
}

impl Reason {
    /// What may do away with the reason (kubernetes.md 2: relevant events).
    pub fn helped_by(&self) -> &'static [Cause] {
        match self {
            Reason::NodeUnschedulable
            | Reason::UntoleratedTaint { .. }
            | Reason::NodeAffinity
            | Reason::TopologySpreadLabelMissing => &[Cause::NodeChanged],
            Reason::HostPort
            | Reason::Insufficient { .. }
            | Reason::TooManyPods
            | Reason::PodAntiAffinity
            | Reason::ExistingPodsAntiAffinity => &[Cause::NodeChanged, Cause::PodGone],
            Reason::VolumeNodeAffinity
            | Reason::NoVolumeToBind
            | Reason::UnboundImmediateClaim
            | Reason::ClaimMissing { .. }
            | Reason::ClaimTerminating { .. } => &[Cause::NodeChanged, Cause::VolumeChanged],
            Reason::ClaimInUse => &[Cause::PodGone],
            Reason::TopologySpread => &[Cause::NodeChanged, Cause::PodGone, Cause::PodPlaced],
            Reason::PodAffinity => &[Cause::NodeChanged, Cause::PodGone, Cause::PodPlaced],
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::NodeUnschedulable => "node(s) were unschedulable",
            Reason::UntoleratedTaint { key, value } => {
                return write!(f, "node(s) had untolerated taint {{{key}: {value}}}");
            }
            Reason::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Reason::HostPort => "node(s) didn't have free ports for the requested pod ports",
            Reason::Insufficient { resource } => return write!(f, "Insufficient {resource}"),
            Reason::TooManyPods => "Too many pods",
            Reason::VolumeNodeAffinity => "node(s) had volume node affinity conflict",
            Reason::NoVolumeToBind => "node(s) didn't find available persistent volumes to bind",
            Reason::UnboundImmediateClaim => "pod has unbound immediate PersistentVolumeClaims",
            Reason::ClaimMissing { name } => return write!(f, "persistentvolumeclaim \"{name}\" not found"),
            Reason::ClaimTerminating { name } => {
                return write!(f, "persistentvolumeclaim \"{name}\" is being deleted");
            }
            Reason::ClaimInUse => {
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
            }
            Reason::TopologySpread => "node(s) didn't match pod topology spread constraints",
            Reason::TopologySpreadLabelMissing => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Reason::PodAffinity => "node(s) didn't match pod affinity rules",
            Reason::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Reason::ExistingPodsAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
        })
    }
}
