//! How much of a disk is used: the lengths of the files below the data directory.
//!
//! What a file system itself needs, blocks that are not filled and what others keep on the disk are left out.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The space of a disk.
pub(super) struct Space {
    capacity: u64,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    used: u64,
    /// By the bytes of the path, so that what is below a directory follows it.
    lengths: BTreeMap<Box<[u8]>, u64>,
}

/// A disk's size and what is free of it, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DiskSpace {
    pub total: u64,
    pub free: u64,
}

impl Space {
    /// An empty disk of `capacity` bytes.
    pub fn new(capacity: u64) -> Space {
        Space { capacity, files: Mutex::default() }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is free.
    pub fn free(&self) -> DiskSpace {
        DiskSpace { total: self.capacity, free: self.capacity.saturating_sub(self.files().used) }
    }

    /// Whether a file may get `length` bytes.
    ///
    /// # Errors
    /// `StorageFull`.
    pub fn check(&self, path: &Path, length: u64) -> io::Result<()> {
        let files = self.files();
        let known = files.lengths.get(path.as_os_str().as_bytes()).copied().unwrap_or(0);
        let grows = length.saturating_sub(known);
        match grows > 0 && files.used.saturating_add(grows) > self.capacity {
            true => Err(io::Error::new(ErrorKind::StorageFull, "no space left on device")),
            false => Ok(()),
        }
    }

    /// A file has at least `length` bytes.
    pub fn grown(&self, path: &Path, length: u64) {
        let mut files = self.files();
        let name = path.as_os_str().as_bytes();
        match files.lengths.get(name).copied() {
            Some(known) if known >= length => {}
            known => files.set(name, known, length),
        }
    }

    /// A file has `length` bytes.
    pub fn is_now(&self, path: &Path, length: u64) {
        let mut files = self.files();
        let name = path.as_os_str().as_bytes();
        let known = files.lengths.get(name).copied();
        files.set(name, known, length);
    }

    /// A file is gone.
    pub fn removed(&self, path: &Path) {
        let mut files = self.files();
        let length = files.lengths.remove(path.as_os_str().as_bytes()).unwrap_or(0);
        files.used = files.used.saturating_sub(length);
    }

    /// A directory is gone, and all that was in it.
    pub fn removed_below(&self, path: &Path) {
        let mut below = path.as_os_str().as_bytes().to_vec();
        below.push(b'/');
        let mut files = self.files();
        let names = files.lengths.range(below.clone().into_boxed_slice()..);
        let names: Vec<Box<[u8]>> =
            names.map(|(name, _)| name.clone()).take_while(|name| name.starts_with(&below)).collect();
        for name in names {
            let length = files.lengths.remove(&name).unwrap_or(0);
            files.used = files.used.saturating_sub(length);
        }
    }
}

impl Files {
    fn set(&mut self, name: &[u8], known: Option<u64>, length: u64) {
        self.used = self.used.saturating_sub(known.unwrap_or(0)).saturating_add(length);
        self.lengths.insert(name.into(), length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_grow_shrink_and_go_are_counted() {
        let space = Space::new(100);
        let (a, b) = (Path::new("/data/t/a"), Path::new("/data/t-2/b"));
        space.grown(a, 60);
        space.grown(a, 50);
        assert_eq!(space.free(), DiskSpace { total: 100, free: 40 });
        assert!(space.check(b, 40).is_ok() && space.check(a, 100).is_ok());
        assert_eq!(space.check(b, 41).unwrap_err().kind(), ErrorKind::StorageFull);
        space.is_now(b, 40);
        assert!(space.check(a, 60).is_ok(), "what is there already needs no space");
        space.is_now(a, 10);
        assert_eq!(space.free().free, 50);
        space.removed_below(Path::new("/data/t"));
        assert_eq!(space.free().free, 60, "a directory whose name begins alike is another");
        space.removed(b);
        assert_eq!(space.free().free, 100);
    }
}
