//! Registering a schema: does it exist, may it be written, does it fit, which id and version does it get.

use super::{Decided, Decision, check_writable, not_permitted};
use crate::schema_registry::error::{ErrorCode, RegistryError};
use crate::schema_registry::records::{Content, Key, Record, Sequence};
use crate::schema_registry::schema::{Definition, Parsed};
use crate::schema_registry::settings::{Compatibility, Mode};
use crate::schema_registry::store::{Store, StoredSchema, VersionName};
use crate::schema_registry::subject::Subject;

/// A schema as it is posted.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub definition: Definition,
    /// In IMPORT mode.
    pub id: Option<i32>,
    /// In IMPORT mode.
    pub version: Option<i32>,
    pub normalize: bool,
}

/// A posted schema, understood, in the form that is stored.
struct Candidate {
    definition: Definition,
    parsed: Parsed,
}

/// # Errors
/// 42201.
fn understand(
    store: &Store,
    subject: &Subject,
    posted: &Definition,
    normalize: bool,
) -> Result<Candidate, RegistryError> {
    let parsed = store.parse(subject, posted).map_err(RegistryError::invalid_schema)?;
    let mut references = posted.references.clone();
    for reference in &mut references {
        // The latest version of now; later ones may say something else.
        if reference.version == -1 {
            let latest = store.version(&subject.sibling(&reference.subject), VersionName::Latest, true)?;
            reference.version = latest.version;
        }
    }
    if normalize {
        references.sort();
    }
    let text = parsed.text(normalize).into();
    Ok(Candidate { definition: Definition { schema_type: posted.schema_type, text, references }, parsed })
}

/// Registers a schema under a subject; the answer is its id.
///
/// # Errors
/// 409, 42201, 42205, 42207, and 500 if an earlier schema cannot be read any more.
pub(crate) fn register(
    store: &Store,
    subject: &Subject,
    posted: &Registration,
    at: Sequence,
) -> Decided<i32> {
    let Candidate { definition, parsed } = understand(store, subject, &posted.definition, posted.normalize)?;
    if let Some(existing) = store.find(subject, &definition, &parsed, false)
        && posted.id.is_none_or(|id| id == existing.id)
        && posted.version.is_none_or(|version| version == existing.version)
    {
        return Ok(Decision::Done(existing.id));
    }
    check_writable(store, Some(subject))?;
    check_mode(store, subject, posted)?;
    let id = match posted.id {
        Some(id) => imported_id(store, subject, &definition, id)?,
        None => {
            let level = store.compatibility(subject);
            let versions = store.versions(subject, false).unwrap_or_default();
            let problems = compare(store, subject, &parsed, &considered(&versions, level, None), level)?;
            if !problems.is_empty() {
                return Err(incompatible(subject, &problems));
            }
            store.id_of(&subject.context, &definition).unwrap_or_else(|| store.next_id(&subject.context))
        }
    };
    let version = posted.version.unwrap_or_else(|| store.next_version(subject));
    let key = Key::Schema { subject: subject.clone(), version, sequence: at };
    let content = Content::Schema { definition, id, deleted: false };
    Ok(Decision::sequenced(vec![Record { key, content }], id))
}

/// Ids and versions are given in IMPORT mode, and nowhere else.
fn check_mode(store: &Store, subject: &Subject, posted: &Registration) -> Result<(), RegistryError> {
    let explicit = posted.id.is_some() || posted.version.is_some();
    match store.mode(Some(subject)) {
        Mode::Import if posted.id.is_none() => {
            Err(not_permitted(format!("Subject {subject} is in import mode; give the schema's id")))
        }
        Mode::ReadWrite if explicit => {
            Err(not_permitted(format!("Subject {subject} is not in import mode; leave id and version out")))
        }
        _ => Ok(()),
    }
}

fn imported_id(
    store: &Store,
    subject: &Subject,
    definition: &Definition,
    id: i32,
) -> Result<i32, RegistryError> {
    match store.schema(&subject.context, id) {
        Ok(known) if known != definition => {
            let message = format!("Overwrite new schema with id {id} is not permitted.");
            Err(RegistryError::new(ErrorCode::IdInUse, message))
        }
        _ => Ok(id),
    }
}

fn incompatible(subject: &Subject, problems: &[String]) -> RegistryError {
    let message = format!(
        "Schema being registered is incompatible with an earlier schema for subject \"{subject}\", details: [{}]",
        problems.join(", ")
    );
    RegistryError::new(ErrorCode::Incompatible, message)
}

/// The versions that a new schema is compared with, the latest first: from `from` on, or all if the level is
/// transitive; without `from`, the last.
fn considered(live: &[i32], level: Compatibility, from: Option<i32>) -> Vec<i32> {
    let first = match (level.transitive(), from) {
        (true, _) => 0,
        (false, Some(from)) => live.partition_point(|version| *version < from),
        (false, None) => live.len().saturating_sub(1),
    };
    live[first..].iter().rev().copied().collect()
}

/// What makes the new schema incompatible with the first of the versions that it does not fit.
fn compare(
    store: &Store,
    subject: &Subject,
    new: &Parsed,
    versions: &[i32],
    level: Compatibility,
) -> Result<Vec<String>, RegistryError> {
    if level == Compatibility::None {
        return Ok(Vec::new());
    }
    for version in versions {
        let Some(stored) = store.stored(subject, *version) else { continue };
        let old = store.parse(subject, &stored.definition).map_err(|error| {
            let message = format!("version {version} of subject '{subject}' cannot be read: {error}");
            RegistryError::new(ErrorCode::Internal, message)
        })?;
        let mut problems = Vec::new();
        if level.backward() {
            problems.extend(new.can_read(&old));
        }
        if level.forward() {
            problems.extend(old.can_read(new));
        }
        if !problems.is_empty() {
            problems.push(format!("{{oldSchemaVersion: {version}}}"));
            problems.push(format!("{{oldSchema: '{}'}}", stored.definition.text));
            problems.push(format!("{{compatibility: '{level}'}}"));
            return Ok(problems);
        }
    }
    Ok(Vec::new())
}

/// Whether a schema could be registered after a version: nothing if it could, what keeps it away otherwise.
///
/// # Errors
/// 40401, 40402, 42201, 500.
pub(crate) fn check_compatibility(
    store: &Store,
    subject: &Subject,
    name: VersionName,
    posted: &Registration,
) -> Result<Vec<String>, RegistryError> {
    let version = store.version(subject, name, false)?.version;
    let candidate = understand(store, subject, &posted.definition, posted.normalize)?;
    let level = store.compatibility(subject);
    let live = store.versions(subject, false)?;
    compare(store, subject, &candidate.parsed, &considered(&live, level, Some(version)), level)
}

/// Finds a schema under a subject.
///
/// # Errors
/// 40401, 40403, 42201.
pub(crate) fn look_up(
    store: &Store,
    subject: &Subject,
    posted: &Registration,
    deleted: bool,
) -> Result<StoredSchema, RegistryError> {
    store.versions(subject, deleted)?;
    let candidate = understand(store, subject, &posted.definition, posted.normalize)?;
    store
        .find(subject, &candidate.definition, &candidate.parsed, deleted)
        .ok_or_else(|| RegistryError::new(ErrorCode::SchemaNotFound, "Schema not found"))
}
