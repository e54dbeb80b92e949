//! What disks the default StorageClass makes, and how long machines take to get and to give them up.

use hopwise_engine::Span;
use serde::{Deserialize, Serialize};

use super::sourced::{Sourced, origin_fault};
use crate::volumes::Disk;
use crate::volumes::attach_detach::Delays;

/// Disks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Storage {
    /// From where the disks of the default StorageClass can be reached.
    pub default_disk: Sourced<Disk>,
    /// Seconds from the request to attach a disk until the machine has it.
    pub attach_s: Sourced<u32>,
    /// Seconds from the request to detach a disk until another machine may have it.
    pub detach_s: Sourced<u32>,
}

impl Storage {
    /// How long it takes to attach and to detach a disk.
    pub fn delays(&self) -> Delays {
        let span = |seconds: &Sourced<u32>| Span::from_secs(u64::from(seconds.value));
        Delays { attach: span(&self.attach_s), detach: span(&self.detach_s) }
    }

    /// The first value that cannot be used: its path, and why.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        let disk = &self.default_disk;
        let origins = [
            ("defaultDisk", origin_fault(disk.source.as_deref(), disk.assumed, disk.note.as_deref())),
            ("attachS", origin(&self.attach_s)),
            ("detachS", origin(&self.detach_s)),
        ];
        origins.into_iter().find_map(|(field, fault)| Some((format!("storage.{field}"), fault?)))
    }
}

fn origin(number: &Sourced<u32>) -> Option<String> {
    origin_fault(number.source.as_deref(), number.assumed, number.note.as_deref())
}
