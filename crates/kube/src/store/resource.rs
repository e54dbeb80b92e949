//! The kinds of object the store holds.

use std::fmt;
use std::sync::Arc;

use hopwise_engine::Span;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Grace, TERMINATION_GRACE_DEFAULT, pod_state};

/// Where an object lives: kind, namespace (empty for kinds without one) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty for kinds without one.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of that kind, namespace and name. The namespace is ignored for kinds that have none.
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        Key { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<T: Resource>(object: &T) -> Self {
        Key::new(
            T::KIND,
            object.meta().namespace.as_deref().unwrap_or(""),
            object.meta().name.as_deref().unwrap_or(""),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// A type of object that the store can hold.
pub trait Resource: Clone + PartialEq + fmt::Debug + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to change.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// As an object of any kind.
    fn wrap(object: Arc<Self>) -> Object;
    /// From an object of any kind; none if it is of another kind.
    fn unwrap(object: &Object) -> Option<&Arc<Self>>;
    /// How long the object stays after a request to delete it; none: it goes at once.
    fn time_to_stop(&self, _grace: Grace) -> Option<Span> {
        None
    }
}

macro_rules! resources {
    ($($kind:ident $namespaced:literal { $($time_to_stop:item)? })*) => {
        /// A kind of object.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// Whether objects of this kind live in a namespace.
            pub const fn is_namespaced(self) -> bool {
                match self { $(Kind::$kind => $namespaced),* }
            }
        }

        impl fmt::Display for Kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Kind::$kind => stringify!($kind)),* })
            }
        }

        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Object { $($kind(Arc<$kind>)),* }

        impl Object {
            /// Its kind.
            pub const fn kind(&self) -> Kind {
                match self { $(Object::$kind(_) => Kind::$kind),* }
            }
            /// Its metadata.
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Object::$kind(object) => &object.metadata),* }
            }
            /// The same object with other metadata.
            pub(super) fn edit_meta(&self, change: impl FnOnce(&mut ObjectMeta)) -> Object {
                match self {
                    $(Object::$kind(object) => {
                        let mut object = $kind::clone(object);
                        change(&mut object.metadata);
                        Object::$kind(Arc::new(object))
                    })*
                }
            }
            /// How long the object stays after a request to delete it; none: it goes at once.
            pub(super) fn time_to_stop(&self, grace: Grace) -> Option<Span> {
                match self { $(Object::$kind(object) => object.time_to_stop(grace)),* }
            }
        }

        $(impl Resource for $kind {
            const KIND: Kind = Kind::$kind;
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
            fn wrap(object: Arc<Self>) -> Object { Object::$kind(object) }
            fn unwrap(object: &Object) -> Option<&Arc<Self>> {
                match object { Object::$kind(object) => Some(object), _ => None }
            }
            $($time_to_stop)?
        })*
    };
}

resources! {
    Namespace false {}
    Node false {}
    Lease true {}
    StorageClass false {}
    PersistentVolume false {}
    VolumeAttachment false {}
    PersistentVolumeClaim true {}
    ConfigMap true {}
    Secret true {}
    Service true {}
    EndpointSlice true {}
    NetworkPolicy true {}
    PodDisruptionBudget true {}
    ControllerRevision true {}
    StatefulSet true {}
    Deployment true {}
    Pod true {
        /// A pod that was never bound to a node, or has ended by itself, has nothing to stop.
        fn time_to_stop(&self, grace: Grace) -> Option<Span> {
            if pod_state::node_name(self).is_none() || pod_state::is_finished(self) {
                return None;
            }
            let declared = || {
                let declared_s = self.spec.as_ref()?.termination_grace_period_seconds?;
                Some(Span::from_secs(u64::try_from(declared_s).unwrap_or(0)))
            };
            let span = match grace {
                Grace::AsDeclared => declared().unwrap_or(TERMINATION_GRACE_DEFAULT),
                Grace::Within(span) => span,
                Grace::Forced => Span::ZERO,
            };
            Some(span).filter(|span| *span > Span::ZERO)
        }
    }
}
