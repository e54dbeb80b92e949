//! The revisions of the set's pod template.
//!
//! A revision is a template with a name and a number. Two templates of equal content are one revision, so
//! that going back to an earlier template is a rollback to its revision. Names are `SET-HASH` with a hash of
//! the content (the real controller uses another hash; names differ, behaviour does not).
//! Source: kubernetes.md 1.3 (revision equality, rollback, history limit).

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::identity::set_name;
use super::{Request, Requests, View};
use crate::controllers::{RequestFailed, controller_of, controller_reference};
use crate::store::matches_selector;

/// How many unused revisions are kept when the set does not say (kubernetes.md 8).
const HISTORY_LIMIT_DEFAULT: usize = 10;

/// The revisions that a pass works with.
#[derive(Clone, Debug)]
pub(super) struct Revisions {
    /// The revision pods had when the last update was complete.
    pub current: Revision,
    /// The revision of the set's template.
    pub update: Revision,
    /// The set's revisions, oldest first, as `(name, number)`.
    known: Vec<(String, i64)>,
}

/// A template with its name.
#[derive(Clone, Debug)]
pub(super) struct Revision {
    pub name: String,
    pub template: PodTemplateSpec,
}

/// Finds the revision of the set's template, keeping or renumbering it where needed, and the current
/// revision.
pub(super) fn resolve(view: &View<'_>, api: &mut dyn Requests) -> Result<Revisions, RequestFailed> {
    let deleted = view.set.metadata.deletion_timestamp.is_some();
    let mut all: Vec<ControllerRevision> = Vec::new();
    for revision in view.revisions {
        if belongs(view.set, revision) {
            all.push(ControllerRevision::clone(revision));
        } else if !deleted && is_orphan_of(view.set, revision) {
            all.push(adopt(view.set, revision, api)?);
        }
    }
    all.sort_by(|a, b| (a.revision, &a.metadata.name).cmp(&(b.revision, &b.metadata.name)));
    let template = view.set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let data = data_of(&template);
    let next = all.last().map_or(1, |last| last.revision.saturating_add(1));
    match all.iter().position(|revision| content(revision) == Some(&data)) {
        Some(last) if last + 1 == all.len() => {}
        Some(earlier) => {
            let mut revision = all.remove(earlier);
            revision.revision = next;
            if !deleted {
                api.make(Request::UpdateRevision(Box::new(revision.clone())))?;
            }
            all.push(revision);
        }
        None => {
            let revision = new_revision(view.set, &data, next);
            if !deleted {
                api.make(Request::CreateRevision(Box::new(revision.clone())))?;
            }
            all.push(revision);
        }
    }
    let name = |revision: &ControllerRevision| revision.metadata.name.clone().unwrap_or_default();
    let update = Revision { name: all.last().map(name).unwrap_or_default(), template };
    let recorded = view.set.status.as_ref().and_then(|status| status.current_revision.clone());
    let current = all
        .iter()
        .find(|revision| revision.metadata.name == recorded)
        .and_then(|revision| Some(Revision { name: name(revision), template: template_of(revision)? }))
        .unwrap_or_else(|| update.clone());
    Ok(Revisions {
        current,
        update,
        known: all.iter().map(|revision| (name(revision), revision.revision)).collect(),
    })
}

/// The template before the present one: of the set's revisions, the newest but one.
pub(super) fn previous_template(
    set: &StatefulSet,
    revisions: &[Arc<ControllerRevision>],
) -> Option<PodTemplateSpec> {
    let mut own: Vec<&Arc<ControllerRevision>> = revisions.iter().filter(|it| belongs(set, it)).collect();
    own.sort_by_key(|revision| (revision.revision, revision.metadata.name.clone()));
    template_of(own.iter().rev().nth(1)?)
}

/// Deletes the oldest revisions that nothing uses, beyond the history limit.
pub(super) fn forget_unused(
    view: &View<'_>,
    revisions: &Revisions,
    in_use: &BTreeSet<String>,
    api: &mut dyn Requests,
) -> Result<(), RequestFailed> {
    let limit = view.set.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let limit = limit.map_or(HISTORY_LIMIT_DEFAULT, |limit| usize::try_from(limit).unwrap_or(0));
    let unused: Vec<_> = revisions.known.iter().filter(|(name, _)| !in_use.contains(name)).collect();
    for (name, _) in unused.iter().take(unused.len().saturating_sub(limit)) {
        api.make(Request::DeleteRevision { name: name.clone() })?;
    }
    Ok(())
}

fn belongs(set: &StatefulSet, revision: &ControllerRevision) -> bool {
    controller_of(&revision.metadata).is_some_and(|owner| Some(&owner.uid) == set.metadata.uid.as_ref())
}

/// Whether a revision that nobody controls has the labels of the set's own: it is left over from a set that was
/// deleted without its dependents (kubernetes.md 9.14).
fn is_orphan_of(set: &StatefulSet, revision: &ControllerRevision) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    controller_of(&revision.metadata).is_none()
        && revision.metadata.deletion_timestamp.is_none()
        && selector.is_some_and(|selector| matches_selector(selector, revision.metadata.labels.as_ref()))
}

fn adopt(
    set: &StatefulSet,
    revision: &ControllerRevision,
    api: &mut dyn Requests,
) -> Result<ControllerRevision, RequestFailed> {
    let mut adopted = revision.clone();
    let owner = controller_reference("apps/v1", "StatefulSet", &set.metadata);
    adopted.metadata.owner_references.get_or_insert_default().push(owner);
    api.make(Request::UpdateRevision(Box::new(adopted.clone())))?;
    // The API gives the object a new version with each change; the next request is about whatever it is then.
    adopted.metadata.resource_version = None;
    Ok(adopted)
}

fn new_revision(set: &StatefulSet, data: &Value, number: i64) -> ControllerRevision {
    let digest = Sha256::digest(data.to_string().as_bytes());
    let hash: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", set_name(set))),
            namespace: set.metadata.namespace.clone(),
            labels: set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()),
            owner_references: Some(vec![controller_reference("apps/v1", "StatefulSet", &set.metadata)]),
            ..Default::default()
        },
        data: Some(RawExtension(data.clone())),
        revision: number,
    }
}

fn data_of(template: &PodTemplateSpec) -> Value {
    json!({ "spec": { "template": serde_json::to_value(template).unwrap_or(Value::Null) } })
}

fn content(revision: &ControllerRevision) -> Option<&Value> {
    revision.data.as_ref().map(|data| &data.0)
}

fn template_of(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    serde_json::from_value(content(revision)?.pointer("/spec/template")?.clone()).ok()
}
