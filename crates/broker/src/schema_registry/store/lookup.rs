//! Questions to the store.

use std::collections::BTreeSet;

use super::{SchemaKey, Store, SubjectState};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::records::{Key, Sequence};
use crate::schema_registry::schema::{
    self, Definition, Parsed, REFERENCES_MAX, Resolved, SchemaError, SchemaType,
};
use crate::schema_registry::settings::{Compatibility, Mode};
use crate::schema_registry::subject::Subject;

/// References that lead to references; each is parsed inside the one before it.
const REFERENCE_DEPTH_MAX: usize = 32;

/// A version with its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSchema {
    pub subject: Subject,
    pub version: i32,
    pub id: i32,
    pub definition: Definition,
    pub deleted: bool,
}

/// A version as a path names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionName {
    Number(i32),
    /// `latest` or `-1`.
    Latest,
}

impl VersionName {
    /// # Errors
    /// 42202.
    pub fn parse(text: &str) -> Result<VersionName, RegistryError> {
        match text {
            "latest" | "-1" => Ok(VersionName::Latest),
            number => match number.parse() {
                Ok(number @ 1..=i32::MAX) => Ok(VersionName::Number(number)),
                _ => Err(RegistryError::invalid_version(text)),
            },
        }
    }
}

impl SubjectState {
    fn live(&self) -> impl DoubleEndedIterator<Item = i32> {
        self.versions.iter().filter(|(_, version)| !version.deleted).map(|(number, _)| *number)
    }
}

impl Store {
    /// The subjects, in order; without `deleted` those that have a version that is not deleted.
    pub fn subjects(&self, deleted: bool) -> impl Iterator<Item = &Subject> {
        self.subjects
            .iter()
            .filter(move |(_, state)| deleted || state.live().next().is_some())
            .map(|(subject, _)| subject)
    }

    /// The contexts that have subjects, and the default one.
    pub fn contexts(&self) -> BTreeSet<String> {
        let mut contexts: BTreeSet<String> =
            self.subjects.keys().map(|subject| subject.context.clone()).collect();
        contexts.insert(super::super::subject::DEFAULT_CONTEXT.to_owned());
        contexts
    }

    /// # Errors
    /// 40401 if there is none.
    pub fn versions(&self, subject: &Subject, deleted: bool) -> Result<Vec<i32>, RegistryError> {
        let missing = || RegistryError::subject_not_found(subject);
        let state = self.subjects.get(subject).ok_or_else(missing)?;
        let versions: Vec<i32> =
            if deleted { state.versions.keys().copied().collect() } else { state.live().collect() };
        if versions.is_empty() { Err(missing()) } else { Ok(versions) }
    }

    /// # Errors
    /// 40401, 40402.
    pub fn version(
        &self,
        subject: &Subject,
        name: VersionName,
        deleted: bool,
    ) -> Result<StoredSchema, RegistryError> {
        let number = match name {
            VersionName::Number(number) => {
                self.versions(subject, deleted)?;
                number
            }
            VersionName::Latest => self
                .versions(subject, deleted)?
                .pop()
                .ok_or_else(|| RegistryError::subject_not_found(subject))?,
        };
        self.stored(subject, number)
            .filter(|stored| deleted || !stored.deleted)
            .ok_or_else(|| RegistryError::version_not_found(number))
    }

    /// A version, deleted or not.
    pub fn stored(&self, subject: &Subject, number: i32) -> Option<StoredSchema> {
        let version = self.subjects.get(subject)?.versions.get(&number)?;
        let schema = self.schemas.get(&(subject.context.clone(), version.id))?;
        Some(StoredSchema {
            subject: subject.clone(),
            version: number,
            id: version.id,
            definition: schema.definition.clone(),
            deleted: version.deleted,
        })
    }

    /// # Errors
    /// 40403.
    pub fn schema(&self, context: &str, id: i32) -> Result<&Definition, RegistryError> {
        let schema = self.schemas.get(&(context.to_owned(), id));
        schema.map(|schema| &schema.definition).ok_or_else(|| RegistryError::schema_not_found(id))
    }

    /// The versions that have this schema, in order of their subjects.
    ///
    /// # Errors
    /// 40403.
    pub fn versions_of_schema(
        &self,
        context: &str,
        id: i32,
        deleted: bool,
    ) -> Result<Vec<(Subject, i32)>, RegistryError> {
        let schema = self.schemas.get(&(context.to_owned(), id));
        let schema = schema.ok_or_else(|| RegistryError::schema_not_found(id))?;
        let shown = |used: &&(Subject, i32)| deleted || !self.is_deleted(&used.0, used.1);
        Ok(schema.used_by.iter().filter(shown).cloned().collect())
    }

    /// The id of a definition.
    pub fn id_of(&self, context: &str, definition: &Definition) -> Option<i32> {
        self.ids.get(&(context.to_owned(), definition.clone())).copied()
    }

    /// The id after the highest one.
    pub fn next_id(&self, context: &str) -> i32 {
        let of_context = (context.to_owned(), 0)..=(context.to_owned(), i32::MAX);
        self.schemas.range(of_context).next_back().map_or(1, |((_, id), _)| id.saturating_add(1))
    }

    /// The version after the highest one, deleted ones included.
    pub fn next_version(&self, subject: &Subject) -> i32 {
        let last = self.subjects.get(subject).and_then(|state| state.versions.keys().next_back());
        last.map_or(1, |last| last.saturating_add(1))
    }

    fn is_deleted(&self, subject: &Subject, version: i32) -> bool {
        let version = self.subjects.get(subject).and_then(|state| state.versions.get(&version));
        version.is_none_or(|version| version.deleted)
    }

    /// The ids of schemas that refer to a version and are in use.
    pub fn referrers(&self, subject: &Subject, version: i32) -> Vec<i32> {
        let in_use = |key: &&SchemaKey| {
            self.schemas.get(*key).is_some_and(|schema| {
                schema.used_by.iter().any(|(subject, version)| !self.is_deleted(subject, *version))
            })
        };
        let referrers = self.referrers.get(&(subject.clone(), version)).into_iter().flatten();
        referrers.filter(in_use).map(|(_, id)| *id).collect()
    }

    /// The level that is set for exactly this, the global one with `None`.
    pub fn own_compatibility(&self, subject: Option<&Subject>) -> Option<Compatibility> {
        self.compatibility.get(&subject.cloned()).map(|setting| setting.value)
    }

    /// The level that holds: the subject's, its context's, the global one.
    pub fn compatibility(&self, subject: &Subject) -> Compatibility {
        let own = self.own_compatibility(Some(subject));
        own.or_else(|| self.own_compatibility(Some(&subject.of_context())))
            .or_else(|| self.own_compatibility(None))
            .unwrap_or_default()
    }

    /// The mode that is set for exactly this, the global one with `None`.
    pub fn own_mode(&self, subject: Option<&Subject>) -> Option<Mode> {
        self.modes.get(&subject.cloned()).map(|setting| setting.value)
    }

    /// The mode that holds: the subject's, its context's, the global one.
    pub fn mode(&self, subject: Option<&Subject>) -> Mode {
        subject
            .and_then(|subject| {
                self.own_mode(Some(subject)).or_else(|| self.own_mode(Some(&subject.of_context())))
            })
            .or_else(|| self.own_mode(None))
            .unwrap_or_default()
    }

    /// The keys under which a level was set: what deleting it takes back.
    pub fn compatibility_keys(&self, subject: &Subject) -> Vec<Key> {
        let setting = self.compatibility.get(&Some(subject.clone()));
        let written = setting.map(|setting| setting.written.as_slice()).unwrap_or_default();
        let key = |sequence: &Sequence| Key::Config { subject: Some(subject.clone()), sequence: *sequence };
        written.iter().map(key).collect()
    }

    /// The keys under which a mode was set.
    pub fn mode_keys(&self, subject: &Subject) -> Vec<Key> {
        let setting = self.modes.get(&Some(subject.clone()));
        let written = setting.map(|setting| setting.written.as_slice()).unwrap_or_default();
        let key = |sequence: &Sequence| Key::Mode { subject: Some(subject.clone()), sequence: *sequence };
        written.iter().map(key).collect()
    }

    /// The keys under which a version was written.
    pub fn version_keys(&self, subject: &Subject, number: i32) -> Vec<Key> {
        let version = self.subjects.get(subject).and_then(|state| state.versions.get(&number));
        let written = version.map(|version| version.written.as_slice()).unwrap_or_default();
        let key = |sequence: &Sequence| Key::Schema {
            subject: subject.clone(),
            version: number,
            sequence: *sequence,
        };
        written.iter().map(key).collect()
    }

    /// The keys under which a subject was deleted.
    pub fn deletion_keys(&self, subject: &Subject) -> Vec<Key> {
        let state = self.subjects.get(subject);
        let written = state.map(|state| state.deletions.as_slice()).unwrap_or_default();
        let key = |sequence: &Sequence| Key::DeleteSubject { subject: subject.clone(), sequence: *sequence };
        written.iter().map(key).collect()
    }

    /// Reads a schema with everything that it refers to.
    ///
    /// # Errors
    /// A reference to nothing, or what the library of the type says.
    pub fn parse(&self, subject: &Subject, definition: &Definition) -> Result<Parsed, SchemaError> {
        let mut resolved = Vec::new();
        let mut seen = BTreeSet::new();
        self.resolve(subject, definition, 0, &mut seen, &mut resolved)?;
        schema::parse(definition.schema_type, &definition.text, &resolved)
    }

    fn resolve(
        &self,
        subject: &Subject,
        definition: &Definition,
        depth: usize,
        seen: &mut BTreeSet<(String, Subject, i32)>,
        resolved: &mut Vec<Resolved>,
    ) -> Result<(), SchemaError> {
        if depth > REFERENCE_DEPTH_MAX || resolved.len() > REFERENCES_MAX {
            return Err(SchemaError("there are too many references to references".to_owned()));
        }
        for reference in &definition.references {
            let referred = subject.sibling(&reference.subject);
            if !seen.insert((reference.name.clone(), referred.clone(), reference.version)) {
                continue;
            }
            let name = match reference.version {
                -1 => VersionName::Latest,
                number => VersionName::Number(number),
            };
            let found = self.version(&referred, name, true).map_err(|_| {
                SchemaError(format!(
                    "no schema reference found for subject \"{referred}\" and version {}; register it first",
                    reference.version
                ))
            })?;
            if found.definition.schema_type != definition.schema_type {
                let (own, other) = (definition.schema_type, found.definition.schema_type);
                return Err(SchemaError(format!(
                    "reference \"{}\" is {other}, and the schema is {own}",
                    reference.name
                )));
            }
            self.resolve(&referred, &found.definition, depth + 1, seen, resolved)?;
            resolved.push(Resolved { name: reference.name.clone(), text: found.definition.text });
        }
        Ok(())
    }

    /// The live version of a subject that has this schema; `deleted` admits deleted ones. A Protobuf schema is
    /// found by its descriptor too.
    pub fn find(
        &self,
        subject: &Subject,
        definition: &Definition,
        parsed: &Parsed,
        deleted: bool,
    ) -> Option<StoredSchema> {
        let versions = self.versions(subject, deleted).unwrap_or_default();
        let mut candidates = versions.iter().rev().filter_map(|number| self.stored(subject, *number));
        if let Some(found) = candidates.clone().find(|stored| stored.definition == *definition) {
            return Some(found);
        }
        if definition.schema_type != SchemaType::Protobuf {
            return None;
        }
        candidates.find(|stored| {
            stored.definition.schema_type == SchemaType::Protobuf
                && stored.definition.references == definition.references
                && self.parse(subject, &stored.definition).is_ok_and(|stored| stored.is_same(parsed))
        })
    }
}
