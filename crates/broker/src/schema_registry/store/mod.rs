//! What the registry knows: a pure state machine that is fed the records of the `_schemas` topic in order.
//!
//! Every broker has one and comes to the same state. A record that says at which offset it was meant to land
//! and lies at another one lost a race, and is passed over by everybody. Records without a value are the end
//! of what they name, wherever they lie. Source: redpanda.md 3.4.

mod lookup;

use std::collections::{BTreeMap, BTreeSet};

use super::records::{Content, Key, Record, Sequence};
use super::schema::Definition;
use super::settings::{Compatibility, Mode};
use super::subject::Subject;

pub(crate) use lookup::{StoredSchema, VersionName};

/// An id inside its context.
type SchemaKey = (String, i32);

/// A version of a subject.
#[derive(Clone, Debug)]
struct Version {
    id: i32,
    deleted: bool,
    /// The places that records about it were written to; deleting it for good takes each back.
    written: Vec<Sequence>,
}

#[derive(Clone, Debug, Default)]
struct SubjectState {
    versions: BTreeMap<i32, Version>,
    /// The places of records that deleted the subject.
    deletions: Vec<Sequence>,
}

#[derive(Clone, Debug)]
struct Setting<T> {
    value: T,
    written: Vec<Sequence>,
}

/// A schema under its id.
#[derive(Clone, Debug)]
struct SchemaState {
    definition: Definition,
    used_by: BTreeSet<(Subject, i32)>,
}

/// The state machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    /// The offset after the last record that was fed.
    next_offset: i64,
    subjects: BTreeMap<Subject, SubjectState>,
    schemas: BTreeMap<SchemaKey, SchemaState>,
    ids: BTreeMap<(String, Definition), i32>,
    /// Who refers to a version: ids of schemas.
    referrers: BTreeMap<(Subject, i32), BTreeSet<SchemaKey>>,
    /// The global one is under `None`.
    compatibility: BTreeMap<Option<Subject>, Setting<Compatibility>>,
    modes: BTreeMap<Option<Subject>, Setting<Mode>>,
}

impl Store {
    /// The offset after the last record that was fed.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Offsets before this one hold nothing that was not fed: compaction and control batches leave gaps.
    pub fn skip_to(&mut self, offset: i64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// Takes the record at `offset`. Records that were fed before change nothing.
    pub fn feed(&mut self, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        if offset < self.next_offset {
            return;
        }
        self.next_offset = offset + 1;
        match Record::read(key.unwrap_or_default(), value) {
            Ok(record) => self.apply(offset, record),
            Err(error) => tracing::warn!(offset, %error, "a record of _schemas is passed over"),
        }
    }

    fn apply(&mut self, offset: i64, record: Record) {
        let meant = record.key.sequence().offset;
        let tombstone = record.content == Content::Tombstone;
        if !tombstone && meant.is_some_and(|meant| meant != offset) {
            tracing::debug!(offset, meant, "a record of _schemas lost its race");
            return;
        }
        match (record.key, record.content) {
            (Key::Schema { subject, version, .. }, Content::Tombstone) => {
                self.forget_version(&subject, version);
            }
            (Key::Schema { subject, version, sequence }, Content::Schema { definition, id, deleted }) => {
                self.put_version(subject, version, sequence, definition, id, deleted)
            }
            (Key::Config { subject, .. }, Content::Tombstone) => {
                self.compatibility.remove(&subject);
            }
            (Key::Config { subject, sequence }, Content::Config(level)) => {
                put_setting(&mut self.compatibility, subject, level, sequence);
            }
            (Key::Mode { subject, .. }, Content::Tombstone) => {
                self.modes.remove(&subject);
            }
            (Key::Mode { subject, sequence }, Content::Mode(mode)) => {
                put_setting(&mut self.modes, subject, mode, sequence);
            }
            (Key::DeleteSubject { subject, sequence }, Content::DeleteSubject) => {
                if let Some(state) = self.subjects.get_mut(&subject) {
                    state.deletions.push(sequence);
                    state.versions.values_mut().for_each(|version| version.deleted = true);
                }
            }
            // A deletion that is taken back after the versions that it was about.
            (Key::DeleteSubject { .. }, _) | (Key::Noop, _) => {}
            // `Record::read` gives each key its own content.
            (_, _) => {}
        }
    }

    fn put_version(
        &mut self,
        subject: Subject,
        version: i32,
        sequence: Sequence,
        definition: Definition,
        id: i32,
        deleted: bool,
    ) {
        let known = self.subjects.get(&subject).and_then(|state| state.versions.get(&version));
        if let Some(known) = known.filter(|known| known.id != id) {
            let known = known.id;
            self.release(&subject, version, known);
        }
        self.put_schema(&subject, version, definition, id);
        let state = self.subjects.entry(subject).or_default();
        let entry =
            state.versions.entry(version).or_insert_with(|| Version { id, deleted, written: Vec::new() });
        entry.id = id;
        entry.deleted = deleted;
        entry.written.push(sequence);
    }

    fn put_schema(&mut self, subject: &Subject, version: i32, definition: Definition, id: i32) {
        let key = (subject.context.clone(), id);
        let mut used_by = BTreeSet::new();
        if let Some(known) = self.schemas.get_mut(&key) {
            if known.definition == definition {
                known.used_by.insert((subject.clone(), version));
                return;
            }
            // The id stands for another schema from now on.
            used_by = std::mem::take(&mut known.used_by);
            self.drop_schema(&key);
        }
        used_by.insert((subject.clone(), version));
        for reference in &definition.references {
            let referred = (subject.sibling(&reference.subject), reference.version);
            self.referrers.entry(referred).or_default().insert(key.clone());
        }
        // Where two ids have one definition, the first keeps it.
        self.ids.entry((key.0.clone(), definition.clone())).or_insert(id);
        self.schemas.insert(key, SchemaState { definition, used_by });
    }

    /// The version does not use the schema any more.
    fn release(&mut self, subject: &Subject, version: i32, id: i32) {
        let key = (subject.context.clone(), id);
        if let Some(schema) = self.schemas.get_mut(&key) {
            schema.used_by.remove(&(subject.clone(), version));
            if schema.used_by.is_empty() {
                self.drop_schema(&key);
            }
        }
    }

    fn drop_schema(&mut self, key: &SchemaKey) {
        let Some(schema) = self.schemas.remove(key) else { return };
        let by_definition = (key.0.clone(), schema.definition);
        if self.ids.get(&by_definition) == Some(&key.1) {
            self.ids.remove(&by_definition);
        }
        let context = Subject { context: key.0.clone(), name: String::new() };
        for reference in &by_definition.1.references {
            let referred = (context.sibling(&reference.subject), reference.version);
            if let Some(referrers) = self.referrers.get_mut(&referred) {
                referrers.remove(key);
                if referrers.is_empty() {
                    self.referrers.remove(&referred);
                }
            }
        }
    }

    fn forget_version(&mut self, subject: &Subject, version: i32) {
        let Some(state) = self.subjects.get_mut(subject) else { return };
        let Some(forgotten) = state.versions.remove(&version) else { return };
        if state.versions.is_empty() {
            self.subjects.remove(subject);
        }
        self.release(subject, version, forgotten.id);
    }
}

fn put_setting<T>(
    settings: &mut BTreeMap<Option<Subject>, Setting<T>>,
    subject: Option<Subject>,
    value: T,
    sequence: Sequence,
) {
    match settings.get_mut(&subject) {
        Some(setting) => {
            setting.value = value;
            setting.written.push(sequence);
        }
        None => {
            settings.insert(subject, Setting { value, written: vec![sequence] });
        }
    }
}

#[cfg(test)]
mod tests;
