//! The ordered log of changes that watches read.
//!
//! Each watch keeps a cursor, so a watch costs nothing while it sleeps and several watches may read at
//! different speeds. The log is bounded; as in the real API, a watch that lies too far behind has to list
//! again.

use std::collections::VecDeque;

use hopwise_engine::Time;

use super::{Key, Object};

/// One change of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which object.
    pub key: Key,
    /// What happened to it.
    pub action: Action,
    /// The object after the change; the last state of a deleted object.
    pub object: Object,
    /// The object before the change.
    pub previous: Option<Object>,
    /// The resource version of the change.
    pub version: u64,
    /// When it happened.
    pub at: Time,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was created.
    Added,
    /// It was changed (marking it for deletion included).
    Modified,
    /// It is gone.
    Deleted,
}

/// How far a watch has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(u64);

/// The watch lies further behind than the log reaches: list all objects and watch from
/// [`super::Store::cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missed} changes after this cursor are no longer kept; list again")]
pub struct CursorExpired {
    /// How many changes the watch has missed for good.
    pub missed: u64,
}

/// A bounded sequence of changes.
#[derive(Clone, Debug)]
pub(super) struct ChangeLog {
    changes: VecDeque<Change>,
    /// How many changes were dropped from the front.
    dropped: u64,
    kept_max: usize,
}

impl ChangeLog {
    pub(super) fn new(kept_max: usize) -> Self {
        ChangeLog { changes: VecDeque::new(), dropped: 0, kept_max }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > self.kept_max {
            self.changes.pop_front();
            self.dropped += 1;
        }
    }

    pub(super) fn oldest(&self) -> Option<&Change> {
        self.changes.front()
    }

    pub(super) fn end(&self) -> Cursor {
        Cursor(self.dropped + self.changes.len() as u64)
    }

    pub(super) fn since(&self, cursor: Cursor) -> Result<impl Iterator<Item = &Change>, CursorExpired> {
        if cursor.0 < self.dropped {
            return Err(CursorExpired { missed: self.dropped - cursor.0 });
        }
        let skip = usize::try_from(cursor.0 - self.dropped).unwrap_or(usize::MAX);
        Ok(self.changes.range(skip.min(self.changes.len())..))
    }
}
