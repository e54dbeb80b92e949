//! Deleting: first softly, which can be seen with `?deleted=true`, then for good.
//!
//! A soft deletion is a record of its own. Deletion for good takes every record back that was written about
//! the thing, so that compaction leaves nothing of it.

use super::{Decided, Decision, check_writable, tombstones};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::records::{Content, Key, Record, Sequence};
use crate::schema_registry::store::{Store, VersionName};
use crate::schema_registry::subject::Subject;

/// Deletes a subject; the answer is its versions.
///
/// # Errors
/// 40401, 40404, 40405, 42205, 42206.
pub(crate) fn delete_subject(
    store: &Store,
    subject: &Subject,
    permanent: bool,
    at: Sequence,
) -> Decided<Vec<i32>> {
    check_writable(store, Some(subject))?;
    let all = store.versions(subject, true)?;
    let live = store.versions(subject, false).unwrap_or_default();
    if permanent {
        if !live.is_empty() {
            return Err(RegistryError::subject_not_soft_deleted(subject));
        }
        let mut keys = store.deletion_keys(subject);
        keys.extend(all.iter().flat_map(|version| store.version_keys(subject, *version)));
        return Ok(Decision::tombstones(keys, all));
    }
    if live.is_empty() {
        return Err(RegistryError::subject_soft_deleted(subject));
    }
    for version in &live {
        check_unreferenced(store, subject, *version)?;
    }
    let key = Key::DeleteSubject { subject: subject.clone(), sequence: at };
    let mut records = vec![Record { key, content: Content::DeleteSubject }];
    // What was set for the subject goes with it.
    records.extend(tombstones(store.mode_keys(subject)));
    records.extend(tombstones(store.compatibility_keys(subject)));
    Ok(Decision::sequenced(records, live))
}

/// Deletes one version; the answer is its number.
///
/// # Errors
/// 40401, 40402, 40406, 40407, 42205, 42206.
pub(crate) fn delete_version(
    store: &Store,
    subject: &Subject,
    name: VersionName,
    permanent: bool,
    at: Sequence,
) -> Decided<i32> {
    check_writable(store, Some(subject))?;
    let all = store.versions(subject, true)?;
    // The latest is the latest that is not deleted.
    let stored = store.version(subject, name, name != VersionName::Latest)?;
    let version = stored.version;
    if permanent {
        if !stored.deleted {
            return Err(RegistryError::version_not_soft_deleted(subject, version));
        }
        let mut keys = store.version_keys(subject, version);
        if all.len() == 1 {
            keys.extend(store.deletion_keys(subject));
        }
        return Ok(Decision::tombstones(keys, version));
    }
    if stored.deleted {
        return Err(RegistryError::version_soft_deleted(subject, version));
    }
    check_unreferenced(store, subject, version)?;
    let key = Key::Schema { subject: subject.clone(), version, sequence: at };
    let content = Content::Schema { definition: stored.definition, id: stored.id, deleted: true };
    let mut records = vec![Record { key, content }];
    if store.versions(subject, false)? == [version] {
        records.extend(tombstones(store.compatibility_keys(subject)));
    }
    Ok(Decision::sequenced(records, version))
}

fn check_unreferenced(store: &Store, subject: &Subject, version: i32) -> Result<(), RegistryError> {
    match store.referrers(subject, version).is_empty() {
        true => Ok(()),
        false => Err(RegistryError::reference_exists(subject, version)),
    }
}
