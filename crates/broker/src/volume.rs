//! The broker's volume: each operation enters the file system, works, and leaves, without waiting.
//!
//! What is not synced is lost in a crash, and so is a file whose directory entry is not synced; the functions
//! here that promise durability do both.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use turmoil_fs::Fs;
use turmoil_fs::shim::std::fs::{self, OpenOptions};

/// A volume and the data directory on it.
#[derive(Clone)]
pub(crate) struct Volume {
    fs: Fs,
    root: PathBuf,
}

impl Volume {
    pub fn new(fs: Fs, root: PathBuf) -> Volume {
        Volume { fs, root }
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a directory and its parents, durably.
    pub fn create_directory(&self, path: &Path) -> io::Result<()> {
        let _inside = self.fs.enter();
        if fs::exists(path) {
            return Ok(());
        }
        fs::create_dir_all(path)?;
        let mut parents: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        parents.reverse();
        parents.into_iter().try_for_each(fs::sync_dir)
    }

    /// The names in a directory, sorted; none if it does not exist.
    pub fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let _inside = self.fs.enter();
        if !fs::exists(path) {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        let mut names: Vec<String> =
            entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// A whole file; `None` if it does not exist.
    pub fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.length(path)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.read_at(path, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// A file's length in bytes; `None` if it does not exist.
    pub fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let _inside = self.fs.enter();
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fills `bytes` from `position`; a short read is continued.
    pub fn read_at(&self, path: &Path, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let _inside = self.fs.enter();
        let file = OpenOptions::new().read(true).open(path)?;
        file.read_exact_at(bytes, position)
    }

    /// Creates an empty file, durably.
    pub fn create(&self, path: &Path) -> io::Result<()> {
        let _inside = self.fs.enter();
        OpenOptions::new().write(true).create(true).truncate(true).open(path)?.sync_all()?;
        path.parent().map_or(Ok(()), fs::sync_dir)
    }

    /// Writes `bytes` at `position` and syncs the file.
    pub fn write_at(&self, path: &Path, position: u64, bytes: &[u8]) -> io::Result<()> {
        let _inside = self.fs.enter();
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(bytes, position)?;
        file.sync_all()
    }

    /// Cuts a file to `length` bytes and syncs it.
    pub fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let _inside = self.fs.enter();
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    }

    /// Removes a file, durably.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let _inside = self.fs.enter();
        fs::remove_file(path)?;
        path.parent().map_or(Ok(()), fs::sync_dir)
    }

    /// Replaces a small file as a whole: after a crash it holds the old content or the new.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let _inside = self.fs.enter();
        let next = path.with_extension("next");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&next)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()?;
        drop(file);
        fs::rename(&next, path)?;
        path.parent().map_or(Ok(()), fs::sync_dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> Volume {
        Volume::new(Fs::builder().seed(1).build(), PathBuf::from("/data"))
    }

    #[test]
    fn a_replaced_file_survives_a_crash_with_its_last_content() {
        let volume = volume();
        volume.create_directory(Path::new("/data/kvstore")).unwrap();
        let path = Path::new("/data/kvstore/identity.json");
        volume.replace(path, b"one, and longer").unwrap();
        volume.fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"one, and longer"[..]));
        volume.replace(path, b"two").unwrap();
        volume.fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(volume.names(Path::new("/data/kvstore")).unwrap(), ["identity.json"]);
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        let volume = volume();
        assert_eq!(volume.read(Path::new("/data/nothing")).unwrap(), None);
        assert!(volume.names(Path::new("/data/nothing")).unwrap().is_empty());
    }
}
