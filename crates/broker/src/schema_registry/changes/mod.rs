//! What a request changes: pure decisions about which records to write, from what the store knows.
//!
//! A decision is made for one place of the topic. If the records land elsewhere, another broker was faster,
//! and the decision is made again (see `writer`). Source: redpanda.md 3.4; Confluent's documentation, "Schema
//! Registry API Reference".

mod delete;
mod register;
mod settings;

pub(crate) use delete::{delete_subject, delete_version};
pub(crate) use register::{Registration, check_compatibility, look_up, register};
pub(crate) use settings::{delete_compatibility, delete_mode, put_compatibility, put_mode};

use super::error::{ErrorCode, RegistryError};
use super::records::{Content, Key, Record};
use super::settings::Mode;
use super::store::Store;
use super::subject::Subject;

/// What a request comes to.
#[derive(Debug)]
pub(crate) enum Decision<T> {
    /// Nothing has to be written.
    Done(T),
    /// Done once these records are written.
    Write { records: Vec<Record>, sequenced: bool, outcome: T },
}

impl<T> Decision<T> {
    /// Records that count only at the place they were decided for.
    fn sequenced(records: Vec<Record>, outcome: T) -> Decision<T> {
        Decision::Write { records, sequenced: true, outcome }
    }

    /// Records without values, which count wherever they land.
    fn tombstones(keys: Vec<Key>, outcome: T) -> Decision<T> {
        if keys.is_empty() {
            return Decision::Done(outcome);
        }
        Decision::Write { records: tombstones(keys), sequenced: false, outcome }
    }
}

type Decided<T> = Result<Decision<T>, RegistryError>;

fn tombstones(keys: Vec<Key>) -> Vec<Record> {
    keys.into_iter().map(|key| Record { key, content: Content::Tombstone }).collect()
}

/// # Errors
/// 42205 in READONLY mode.
fn check_writable(store: &Store, subject: Option<&Subject>) -> Result<(), RegistryError> {
    if store.mode(subject) != Mode::ReadOnly {
        return Ok(());
    }
    let what = subject.map_or_else(|| "The registry".to_owned(), |subject| format!("Subject {subject}"));
    Err(not_permitted(format!("{what} is in read-only mode")))
}

fn not_permitted(message: String) -> RegistryError {
    RegistryError::new(ErrorCode::OperationNotPermitted, message)
}

#[cfg(test)]
mod tests;
