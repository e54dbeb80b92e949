//! Kubernetes objects from manifests, with the place each was written at.
//!
//! [`Manifests::load`] reads documents as the API server's decoder does: lists are flattened, null fields
//! count as absent, quantities may be numbers, a field of the wrong type is an error. What the decoder
//! accepts but validation rejects is [`crate::admission`]'s part.
//!
//! Only the kinds that shape traffic are kept. Every other kind is counted in [`Manifests::ignored`], so
//! that nothing is skipped in silence.
//!
//! Left out: server-side defaults but the two that routing depends on (`targetPort`, the namespace), and
//! merging of two manifests of one object.

mod cert_manager;
mod decode;
mod kind;
mod load;
mod object;
mod required;

pub use cert_manager::{CertManagerCertificate, CertManagerIssuer, IssuerKind};
pub(crate) use decode::is_quantity;
pub use object::{CertificateSecret, Ignored, Object, ObjectRef, Origin, PodTemplate, UnknownField};

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::storage::v1::StorageClass;

use crate::source::{LoadErrors, Source};

/// The objects of all manifests, each list in the order of the files.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// Pods that no controller makes.
    pub pods: Vec<Object<Pod>>,
    /// StatefulSets.
    pub stateful_sets: Vec<Object<StatefulSet>>,
    /// Deployments.
    pub deployments: Vec<Object<Deployment>>,
    /// Services. Each port has its `targetPort`: absent, empty and 0 mean the same number as `port`.
    pub services: Vec<Object<Service>>,
    /// ConfigMaps.
    pub config_maps: Vec<Object<ConfigMap>>,
    /// Secrets. `stringData` is merged into `data`, as the API server does on writing.
    pub secrets: Vec<Object<Secret>>,
    /// PersistentVolumeClaims that no StatefulSet makes.
    pub persistent_volume_claims: Vec<Object<PersistentVolumeClaim>>,
    /// PersistentVolumes.
    pub persistent_volumes: Vec<Object<PersistentVolume>>,
    /// StorageClasses.
    pub storage_classes: Vec<Object<StorageClass>>,
    /// Namespaces.
    pub namespaces: Vec<Object<Namespace>>,
    /// PodDisruptionBudgets.
    pub pod_disruption_budgets: Vec<Object<PodDisruptionBudget>>,
    /// NetworkPolicies.
    pub network_policies: Vec<Object<NetworkPolicy>>,
    /// EndpointSlices that no controller makes, for Services without a selector.
    pub endpoint_slices: Vec<Object<EndpointSlice>>,
    /// Endpoints, the older form of the same.
    pub endpoints: Vec<Object<Endpoints>>,
    /// cert-manager's Certificates.
    pub certificates: Vec<CertManagerCertificate>,
    /// cert-manager's Issuers and ClusterIssuers.
    pub issuers: Vec<CertManagerIssuer>,
    /// Kinds that are not simulated, one entry per apiVersion and kind, sorted.
    pub ignored: Vec<Ignored>,
    /// The pod templates in objects of those kinds: their pods do not run here, and may carry labels that a Service
    /// selects.
    pub ignored_pod_templates: Vec<PodTemplate>,
    /// Secrets that cert-manager would make, from its Certificates.
    pub secrets_made_by_certificates: Vec<CertificateSecret>,
    /// Fields that the kinds above do not have. The API server drops them, or rejects the object if it is
    /// asked to validate strictly.
    pub unknown_fields: Vec<UnknownField>,
}

impl Manifests {
    /// Reads every object of `sources`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the input: text that is not YAML, a document that is no object, a field
    /// of the wrong type, a required field that is missing, two objects of one kind, namespace and name.
    /// Input without any object is an error too.
    pub fn load(sources: &[Source]) -> Result<Manifests, LoadErrors> {
        load::load(sources)
    }
}

#[cfg(test)]
mod mutation_tests;
#[cfg(test)]
mod real_input_tests;
#[cfg(test)]
mod tests;
