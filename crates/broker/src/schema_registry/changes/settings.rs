//! Compatibility levels and modes.

use super::{Decided, Decision, check_writable, not_permitted};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::records::{Content, Key, Record, Sequence};
use crate::schema_registry::settings::{Compatibility, Mode};
use crate::schema_registry::store::Store;
use crate::schema_registry::subject::Subject;

/// Sets the level of a subject, of a context, or the global one.
///
/// # Errors
/// 42205.
pub(crate) fn put_compatibility(
    store: &Store,
    subject: Option<&Subject>,
    level: Compatibility,
    at: Sequence,
) -> Decided<Compatibility> {
    check_writable(store, subject)?;
    if store.own_compatibility(subject) == Some(level) {
        return Ok(Decision::Done(level));
    }
    let key = Key::Config { subject: subject.cloned(), sequence: at };
    Ok(Decision::sequenced(vec![Record { key, content: Content::Config(level) }], level))
}

/// Takes a subject's level back; the answer is what it was.
///
/// # Errors
/// 42205, and 40401 if none is set.
pub(crate) fn delete_compatibility(store: &Store, subject: &Subject) -> Decided<Compatibility> {
    check_writable(store, Some(subject))?;
    let level = store.own_compatibility(Some(subject));
    let level = level.ok_or_else(|| RegistryError::subject_not_found(subject))?;
    Ok(Decision::tombstones(store.compatibility_keys(subject), level))
}

/// Sets the mode of a subject, of a context, or the global one. Schemas can be imported only where there are
/// none yet, unless `force` says that their ids may be overwritten.
///
/// # Errors
/// 42205.
pub(crate) fn put_mode(
    store: &Store,
    subject: Option<&Subject>,
    mode: Mode,
    force: bool,
    at: Sequence,
) -> Decided<Mode> {
    if store.own_mode(subject) == Some(mode) {
        return Ok(Decision::Done(mode));
    }
    if mode == Mode::Import && !force {
        let covers = |known: &&Subject| match subject {
            None => true,
            Some(scope) if scope.is_context() => known.context == scope.context,
            Some(subject) => *known == subject,
        };
        if let Some(existing) = store.subjects(false).find(covers) {
            let message = format!(
                "Cannot import since there are schemas already, in subject {existing}; use force=true"
            );
            return Err(not_permitted(message));
        }
    }
    let key = Key::Mode { subject: subject.cloned(), sequence: at };
    Ok(Decision::sequenced(vec![Record { key, content: Content::Mode(mode) }], mode))
}

/// Takes a subject's mode back; the answer is what it was.
///
/// # Errors
/// 40401 if none is set (redpanda.md 3.4).
pub(crate) fn delete_mode(store: &Store, subject: &Subject) -> Decided<Mode> {
    let mode = store.own_mode(Some(subject));
    let mode = mode.ok_or_else(|| RegistryError::subject_not_found(subject))?;
    Ok(Decision::tombstones(store.mode_keys(subject), mode))
}
