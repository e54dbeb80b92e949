//! Workloads that are scaled, updated, deleted or created anew, as with `kubectl`.
//!
//! Source: kubernetes.md 1.3, 9.3, 9.13 and 9.14. Left out: going back to an earlier template of a Deployment (its
//! ReplicaSets, which hold the earlier templates, are not modelled).

use std::sync::Arc;

use hopwise_engine::Time;
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PodTemplateSpec};

use super::OperationError;
use crate::cluster::Cluster;
use crate::controllers::{garbage_collector, stateful_set};
use crate::store::{Grace, Key, Kind, Store, StoreError, timestamp};

/// The annotation that `kubectl rollout restart` sets, so that the template differs.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What becomes of the objects that a deleted object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cascade {
    /// They are deleted after it.
    Background,
    /// They stay, without it.
    Orphan,
}

impl Cluster {
    /// Sets how many pods a StatefulSet or Deployment wants.
    ///
    /// # Errors
    /// If there is no such object, or it is of another kind.
    pub fn scale(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        replicas: i32,
    ) -> Result<(), OperationError> {
        self.api().write(|store, now| match kind {
            Kind::StatefulSet => store
                .patch::<StatefulSet>(namespace, name, now, |set| {
                    set.spec.get_or_insert_default().replicas = Some(replicas);
                })
                .map(drop)
                .map_err(OperationError::from),
            Kind::Deployment => store
                .patch::<Deployment>(namespace, name, now, |deployment| {
                    deployment.spec.get_or_insert_default().replicas = Some(replicas);
                })
                .map(drop)
                .map_err(OperationError::from),
            other => Err(no_template(other)),
        })?;
        note("workload.scaled", kind, namespace, name, format!("to {replicas}"));
        Ok(())
    }

    /// Replaces all pods in the way that the update strategy says, as `kubectl rollout restart`.
    ///
    /// # Errors
    /// If there is no such object, or it is of another kind.
    pub fn restart_rollout(&self, kind: Kind, namespace: &str, name: &str) -> Result<(), OperationError> {
        let at = timestamp(hopwise_engine::now()).0.to_string();
        self.edit_template(kind, namespace, name, |template| {
            let annotations = template.metadata.get_or_insert_default().annotations.get_or_insert_default();
            annotations.insert(RESTARTED_AT.into(), at);
            Ok(())
        })?;
        note("workload.restarted", kind, namespace, name, String::new());
        Ok(())
    }

    /// Changes the image of a container in the pod template.
    ///
    /// # Errors
    /// If there is no such object or container, or the object is of another kind.
    pub fn set_image(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        container: &str,
        image: &str,
    ) -> Result<(), OperationError> {
        self.edit_template(kind, namespace, name, |template| {
            let containers = template.spec.iter_mut().flat_map(|spec| &mut spec.containers);
            match containers.into_iter().find(|it| it.name == container) {
                Some(found) => {
                    found.image = Some(image.to_owned());
                    Ok(())
                }
                None => Err(OperationError::Refused(format!(
                    "the pod template of {kind} {namespace}/{name} has no container {container}"
                ))),
            }
        })?;
        note("workload.updated", kind, namespace, name, format!("{container}={image}"));
        Ok(())
    }

    /// Goes back to the pod template before the present one, as `kubectl rollout undo`.
    ///
    /// # Errors
    /// If there is no such StatefulSet, or it has had one template only. Deployments are refused: what their earlier
    /// templates were is not kept.
    pub fn roll_back(&self, kind: Kind, namespace: &str, name: &str) -> Result<(), OperationError> {
        if kind != Kind::StatefulSet {
            return Err(OperationError::Refused(format!(
                "a {kind} cannot be rolled back: only StatefulSets keep their earlier templates here; set the image again"
            )));
        }
        let key = || Key::new(kind, namespace, name);
        let set = self.api().read(|store| store.get::<StatefulSet>(namespace, name).cloned());
        let set = set.ok_or_else(|| StoreError::NotFound(key()))?;
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let revisions: Vec<Arc<ControllerRevision>> =
            self.api().read(|store| store.owned_by(uid).cloned().collect());
        let previous = stateful_set::previous_template(&set, &revisions).ok_or_else(|| {
            OperationError::Refused(format!("{} has no earlier pod template to go back to", key()))
        })?;
        self.edit_template(kind, namespace, name, |template| {
            *template = previous;
            Ok(())
        })?;
        note("workload.rolled_back", kind, namespace, name, String::new());
        Ok(())
    }

    /// Deletes a StatefulSet or Deployment, with or without its pods.
    ///
    /// # Errors
    /// If there is no such object, or it is of another kind.
    pub fn delete_workload(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        cascade: Cascade,
    ) -> Result<(), OperationError> {
        if !matches!(kind, Kind::StatefulSet | Kind::Deployment) {
            return Err(no_template(kind));
        }
        let key = Key::new(kind, namespace, name);
        self.api().write(|store, now| {
            if cascade == Cascade::Orphan {
                store.patch_meta(&key, now, garbage_collector::add_orphan_finalizer)?;
            }
            store.delete_key(&key, None, Grace::AsDeclared, now)
        })?;
        let how = match cascade {
            Cascade::Background => "its pods follow",
            Cascade::Orphan => "its pods stay",
        };
        note("workload.deleted", kind, namespace, name, how.into());
        Ok(())
    }

    /// Creates a StatefulSet, for example one that was deleted without its pods, with other immutable fields.
    ///
    /// # Errors
    /// If there is one of that name.
    pub fn create_stateful_set(&self, mut set: StatefulSet) -> Result<(), OperationError> {
        // What an earlier object of that name had from the API server is not the new one's.
        set.metadata.uid = None;
        set.metadata.resource_version = None;
        set.metadata.finalizers = None;
        set.status = None;
        let created = self.api().write(|store, now| store.create(set, now))?;
        let meta = &created.metadata;
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        note(
            "workload.created",
            Kind::StatefulSet,
            namespace.unwrap_or(""),
            name.unwrap_or(""),
            String::new(),
        );
        Ok(())
    }

    /// Deletes a claim. It goes once no pod uses it, and its volume as its reclaim policy says.
    ///
    /// # Errors
    /// If there is no such claim.
    pub fn delete_claim(&self, namespace: &str, name: &str) -> Result<(), OperationError> {
        self.api().write(|store, now| {
            store.delete::<PersistentVolumeClaim>(namespace, name, None, Grace::AsDeclared, now)
        })?;
        note("claim.deleted", Kind::PersistentVolumeClaim, namespace, name, "by the user".into());
        Ok(())
    }

    fn edit_template(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut PodTemplateSpec) -> Result<(), OperationError>,
    ) -> Result<(), OperationError> {
        self.api().write(|store, now| {
            let mut template = template_of(store, kind, namespace, name)?;
            edit(&mut template)?;
            put_template(store, kind, (namespace, name), template, now)?;
            Ok(())
        })
    }
}

fn template_of(
    store: &Store,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<PodTemplateSpec, OperationError> {
    let template = match kind {
        Kind::StatefulSet => {
            let set = store.get::<StatefulSet>(namespace, name);
            set.map(|set| set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default())
        }
        Kind::Deployment => {
            let deployment = store.get::<Deployment>(namespace, name);
            deployment.map(|it| it.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default())
        }
        other => return Err(no_template(other)),
    };
    template.ok_or_else(|| StoreError::NotFound(Key::new(kind, namespace, name)).into())
}

fn put_template(
    store: &mut Store,
    kind: Kind,
    (namespace, name): (&str, &str),
    template: PodTemplateSpec,
    now: Time,
) -> Result<(), StoreError> {
    match kind {
        Kind::StatefulSet => store
            .patch::<StatefulSet>(namespace, name, now, |set| {
                set.spec.get_or_insert_default().template = template;
            })
            .map(drop),
        _ => store
            .patch::<Deployment>(namespace, name, now, |deployment| {
                deployment.spec.get_or_insert_default().template = template;
            })
            .map(drop),
    }
}

fn no_template(kind: Kind) -> OperationError {
    OperationError::Refused(format!("a {kind} is no workload; expected a StatefulSet or a Deployment"))
}

fn note(event: &'static str, kind: Kind, namespace: &str, name: &str, detail: String) {
    hopwise_engine::notable(event, format!("{kind} {namespace}/{name}"), detail);
}
