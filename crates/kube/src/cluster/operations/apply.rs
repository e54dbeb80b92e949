//! `kubectl apply`: objects become what a manifest says.
//!
//! What is there is changed, what is not is created. Fields that the API server has filled in and the manifest leaves
//! out (cluster IPs, node ports) stay. A pod takes a changed ConfigMap in when it starts again, so a change of advertised
//! addresses is this and a `restart_rollout`, or a change of the pod template beside it.
//! Source: Kubernetes, "Declarative Management of Kubernetes Objects Using Configuration Files"; the StatefulSet's
//! immutable fields: kubernetes.md 1.3. Left out: fields that other managers own; Services that need a new address.

use hopwise_engine::Time;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceSpec};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::OperationError;
use crate::cluster::Cluster;
use crate::manifest::{Manifests, Object};
use crate::store::{Key, Resource, Store};

impl Cluster {
    /// Applies the StatefulSets, Deployments, Services, ConfigMaps, Secrets, PodDisruptionBudgets and NetworkPolicies
    /// of manifests, in an order in which none misses another.
    ///
    /// # Errors
    /// If the API server is down or refuses an object; those before it are applied then.
    pub fn apply(&self, manifests: &Manifests) -> Result<(), OperationError> {
        self.needs_api_server()?;
        let api = self.api();
        for object in &manifests.config_maps {
            api.write(|store, now| {
                put::<ConfigMap>(store, object, now, |old, new| {
                    (old.data, old.binary_data) = (new.data, new.binary_data);
                    Ok(())
                })
            })?;
        }
        for object in &manifests.secrets {
            api.write(|store, now| {
                put::<Secret>(store, object, now, |old, new| {
                    old.data = new.data;
                    Ok(())
                })
            })?;
        }
        for object in &manifests.services {
            api.write(|store, now| put_service(store, object, now))?;
        }
        for object in &manifests.network_policies {
            api.write(|store, now| {
                put::<NetworkPolicy>(store, object, now, |old, new| {
                    old.spec = new.spec;
                    Ok(())
                })
            })?;
        }
        for object in &manifests.pod_disruption_budgets {
            api.write(|store, now| {
                put::<PodDisruptionBudget>(store, object, now, |old, new| {
                    old.spec = new.spec;
                    Ok(())
                })
            })?;
        }
        for object in &manifests.stateful_sets {
            api.write(|store, now| put::<StatefulSet>(store, object, now, merge_stateful_set))?;
        }
        for object in &manifests.deployments {
            api.write(|store, now| {
                put::<Deployment>(store, object, now, |old, new| {
                    let replicas = old.spec.as_ref().and_then(|spec| spec.replicas);
                    old.spec = new.spec;
                    if let Some(spec) = &mut old.spec {
                        spec.replicas = spec.replicas.or(replicas);
                    }
                    Ok(())
                })
            })?;
        }
        Ok(())
    }
}

/// Creates an object, or lets `merge` change the one that is there.
fn put<T: Resource>(
    store: &mut Store,
    object: &Object<T>,
    now: Time,
    merge: impl FnOnce(&mut T, T) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let mut new = object.value.clone();
    if T::KIND.is_namespaced() {
        new.meta_mut().namespace.get_or_insert_with(|| "default".to_owned());
    }
    let key = Key::of(&new);
    let event = match store.get::<T>(&key.namespace, &key.name) {
        None => {
            store.create(new, now)?;
            "object.created"
        }
        Some(known) => {
            let mut changed = T::clone(known);
            merge_metadata(changed.meta_mut(), new.meta());
            merge(&mut changed, new)?;
            store.patch::<T>(&key.namespace, &key.name, now, |object| *object = changed)?;
            "object.configured"
        }
    };
    hopwise_engine::notable(event, key.to_string(), "by the user");
    Ok(())
}

/// Labels and annotations of a manifest are added to those that are there.
fn merge_metadata(old: &mut ObjectMeta, new: &ObjectMeta) {
    if let Some(labels) = &new.labels {
        old.labels.get_or_insert_default().extend(labels.clone());
    }
    if let Some(annotations) = &new.annotations {
        old.annotations.get_or_insert_default().extend(annotations.clone());
    }
}

fn merge_stateful_set(old: &mut StatefulSet, new: StatefulSet) -> Result<(), OperationError> {
    let (Some(before), Some(mut after)) = (&old.spec, new.spec) else { return Ok(()) };
    let claims = |spec: &StatefulSetSpec| -> Vec<Option<String>> {
        spec.volume_claim_templates.iter().flatten().map(|claim| claim.metadata.name.clone()).collect()
    };
    let policy = |spec: &StatefulSetSpec| spec.pod_management_policy.clone().unwrap_or("OrderedReady".into());
    let immutable = [
        ("selector", before.selector != after.selector),
        ("serviceName", before.service_name != after.service_name),
        ("podManagementPolicy", policy(before) != policy(&after)),
        ("volumeClaimTemplates", claims(before) != claims(&after)),
    ];
    if let Some((field, _)) = immutable.into_iter().find(|(_, differs)| *differs) {
        let name = old.metadata.name.as_deref().unwrap_or_default();
        return Err(OperationError::Refused(format!(
            "StatefulSet {name}: spec.{field} cannot be changed; only replicas, ordinals, template, updateStrategy, \
             persistentVolumeClaimRetentionPolicy and minReadySeconds can"
        )));
    }
    after.replicas = after.replicas.or(before.replicas);
    after.volume_claim_templates.clone_from(&before.volume_claim_templates);
    old.spec = Some(after);
    Ok(())
}

fn put_service(store: &mut Store, object: &Object<Service>, now: Time) -> Result<(), OperationError> {
    let namespace = object.namespace.as_deref().unwrap_or("default");
    let is_headless =
        object.value.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"));
    if !is_headless && store.get::<Service>(namespace, &object.name).is_none() {
        let name = &object.name;
        return Err(OperationError::Refused(format!(
            "Service {namespace}/{name} needs a new address, which only the manifests of the start get; declare it there"
        )));
    }
    put::<Service>(store, object, now, |old, new| {
        let (Some(before), Some(mut after)) = (&old.spec, new.spec) else { return Ok(()) };
        keep_allocated(before, &mut after);
        old.spec = Some(after);
        Ok(())
    })
}

/// Keeps what the API server has given a Service and the manifest leaves open.
fn keep_allocated(before: &ServiceSpec, after: &mut ServiceSpec) {
    macro_rules! keep {
        ($($field:ident)*) => { $(
            if after.$field.is_none() {
                after.$field.clone_from(&before.$field);
            }
        )* };
    }
    keep! {
        type_ cluster_ip cluster_ips ip_families ip_family_policy health_check_node_port session_affinity
        internal_traffic_policy external_traffic_policy
    }
    for port in after.ports.iter_mut().flatten() {
        let tcp = |protocol: &Option<String>| protocol.as_deref().unwrap_or("TCP").to_owned();
        let same = before
            .ports
            .iter()
            .flatten()
            .find(|known| known.port == port.port && tcp(&known.protocol) == tcp(&port.protocol));
        if let Some(known) = same {
            port.node_port = port.node_port.or(known.node_port);
            port.protocol = port.protocol.take().or_else(|| known.protocol.clone());
        }
    }
}
