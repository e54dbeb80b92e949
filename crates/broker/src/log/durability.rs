//! How what was appended becomes durable: at once, or on another thread while the log goes on.
//!
//! A simulated disk syncs in no time, and its latency is slept before. A machine's disk takes its time itself, and the
//! thread that waits for it must not be one that other replicas need: [`Log::detach_sync`] says what is to be synced,
//! [`DetachedSync::run`] blocks and touches nothing of the log, and [`Log::finish_sync`] takes note. In between the
//! log takes appends, may start another segment (which syncs the last one as a whole) and may cut entries off (which
//! syncs what is left), so that nothing is missing when the sync ends.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Log, LogError};
use crate::volume::Volume;

/// A sync of a log's last segment, to be done where it may block.
pub(crate) struct DetachedSync {
    /// Tells a log from the one that is opened after it.
    origin: Arc<()>,
    volume: Volume,
    path: PathBuf,
    /// Bytes of the segment that will be durable.
    length: u64,
    /// The last entry that will be durable.
    end: u64,
    cuts: u64,
}

impl DetachedSync {
    /// Syncs; it blocks for as long as the disk takes.
    ///
    /// # Errors
    /// The volume's.
    pub fn run(&self) -> io::Result<()> {
        self.volume.sync(&self.path)
    }
}

impl Log {
    /// Makes everything durable that was appended.
    ///
    /// # Errors
    /// `Io` from the sync; from then on the log refuses appends and syncs until it is opened again.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.check_usable()?;
        let end = self.last_index();
        let segment = self.segments.last_mut().filter(|segment| segment.synced < segment.length);
        if let Some(segment) = segment {
            if let Err(error) = self.volume.sync(&segment.path) {
                return Err(self.refuse(error));
            }
            segment.synced = segment.length;
        }
        self.synced_index = end;
        Ok(())
    }

    /// How long the simulated disk takes to sync, and what is wrong with any disk adds; sleep it before a sync.
    pub fn sync_latency(&self) -> Duration {
        self.volume.latency()
    }

    /// What [`Log::sync`] would do now, to be done elsewhere; `None` if it would not block.
    pub fn detach_sync(&self) -> Option<DetachedSync> {
        let segment = self.last();
        let blocks = self.volume.blocks() && self.refuses.is_none() && segment.synced < segment.length;
        blocks.then(|| DetachedSync {
            origin: Arc::clone(&self.origin),
            volume: self.volume.clone(),
            path: segment.path.clone(),
            length: segment.length,
            end: self.last_index(),
            cuts: self.cuts,
        })
    }

    /// Whether a sync was detached from this log, and not from one that was open before.
    pub fn began(&self, sync: &DetachedSync) -> bool {
        Arc::ptr_eq(&self.origin, &sync.origin)
    }

    /// A detached sync has ended.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn finish_sync(&mut self, sync: &DetachedSync, result: io::Result<()>) -> Result<(), LogError> {
        self.check_usable()?;
        let is_last = self.last().path == sync.path;
        match result {
            // The segment was closed or cut off, both durably, and is gone since.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_last => {}
            Err(error) => return Err(self.refuse(error)),
            Ok(()) => {}
        }
        if self.cuts == sync.cuts {
            self.synced_index = self.synced_index.max(sync.end);
            if let Some(segment) = self.segments.last_mut().filter(|_| is_last) {
                segment.synced = segment.synced.max(sync.length);
            }
        }
        Ok(())
    }

    /// Nobody knows what a disk has kept that failed to sync.
    pub(super) fn refuse(&mut self, error: io::Error) -> LogError {
        self.refuses = Some(format!("a sync failed: {error}"));
        LogError::Io(error)
    }
}
