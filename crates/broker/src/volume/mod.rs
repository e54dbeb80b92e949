//! The broker's volume: a simulated file system, a directory of the machine, or files in memory.
//!
//! Each operation opens what it needs, works, and leaves, without waiting. What is not synced is lost in a
//! crash, and so is a file whose directory entry is not synced; the functions that promise durability do both.
//! A simulated disk's latency is told by [`Volume::latency`] and slept by the caller, because nothing here
//! waits; where a machine's disk makes the thread wait, the runtime's other tasks go on. Left out: open file handles
//! are not kept, so that the number of partitions is not bound by the machine's limit on open files.

mod disk;
mod memory;
mod space;

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use turmoil_fs::{Fs, FsContext};

use space::Space;

pub use disk::{Disk, DiskTrouble};
pub use memory::MemoryFiles;
pub(crate) use space::DiskSpace;

use crate::gathered::Gathered;

/// Where the files are.
#[derive(Clone)]
enum Files {
    Simulated(Fs),
    Machine,
    Memory(MemoryFiles),
}

/// A volume and the data directory on it.
#[derive(Clone)]
pub(crate) struct Volume {
    files: Files,
    trouble: Option<Arc<dyn DiskTrouble>>,
    /// `None` if nobody knows how large the disk is.
    space: Option<Arc<Space>>,
    root: PathBuf,
}

/// Runs a block with `fs` as the functions of the volume's file system, of which two have the same names; or an
/// expression for files in memory.
macro_rules! on {
    ($volume:expr, $work:block, |$files:ident| $in_memory:expr) => {
        match &$volume.files {
            Files::Simulated(simulated) => {
                use turmoil_fs::shim::std::fs;
                let _inside = simulated.enter();
                $work
            }
            Files::Machine => {
                use std::fs;
                $work
            }
            Files::Memory($files) => $in_memory,
        }
    };
}

impl Volume {
    /// A data directory on a simulated file system.
    pub fn simulated(fs: Fs, root: PathBuf) -> Volume {
        Volume::of(Files::Simulated(fs), root)
    }

    /// A directory of the machine.
    pub fn machine(root: PathBuf) -> Volume {
        Volume::of(Files::Machine, root)
    }

    /// A data directory that is in memory.
    pub fn memory(files: MemoryFiles, root: PathBuf) -> Volume {
        Volume::of(Files::Memory(files), root)
    }

    fn of(files: Files, root: PathBuf) -> Volume {
        Volume { files, trouble: None, space: None, root }
    }

    /// The volume of a disk, with the data directory that the node configuration names.
    ///
    /// # Errors
    /// What is on a disk of a known size cannot be looked at.
    pub fn new(disk: Disk, data_directory: &Path) -> io::Result<Volume> {
        match disk {
            Disk::Simulated(fs) => Ok(Volume::simulated(fs, data_directory.to_owned())),
            Disk::Machine(root) => Ok(Volume::machine(root)),
            Disk::Memory(files) => Ok(Volume::memory(files, data_directory.to_owned())),
            Disk::Troubled(disk, trouble) => {
                let mut volume = Volume::new(*disk, data_directory)?;
                if let Some(capacity) = trouble.capacity_bytes() {
                    let space = Space::new(capacity);
                    volume.count(&volume.root, &space)?;
                    volume.space = Some(Arc::new(space));
                }
                Ok(Volume { trouble: Some(trouble), ..volume })
            }
        }
    }

    /// Counts the files in a directory and below.
    fn count(&self, directory: &Path, space: &Space) -> io::Result<()> {
        for name in self.names(directory)? {
            let path = directory.join(name);
            let found =
                on!(self, { fs::metadata(&path).map(|found| (found.is_dir(), found.len())) }, |files| {
                    match files.is_directory(&path) {
                        true => Ok((true, 0)),
                        false => files.length(&path).map(|length| (false, length)),
                    }
                });
            match found? {
                (true, _) => self.count(&path, space)?,
                (false, length) => space.is_now(&path, length),
            }
        }
        Ok(())
    }

    /// The data directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How long the simulated disk takes for the next operation that reaches it, and how much longer any disk takes
    /// by what is wrong with it. A machine's disk takes its own time itself.
    pub fn latency(&self) -> Duration {
        let extra = self.trouble.as_ref().map_or(Duration::ZERO, |trouble| trouble.extra_latency());
        extra
            + match &self.files {
                Files::Simulated(fs) => {
                    let _inside = fs.enter();
                    FsContext::current(|context| context.fs.calculate_latency(false))
                }
                Files::Machine | Files::Memory(_) => Duration::ZERO,
            }
    }

    /// Whether what reaches the disk blocks the thread.
    pub fn blocks(&self) -> bool {
        matches!(self.files, Files::Machine)
    }

    /// How large the disk is and what is free of it by the files that are on it, if that is known.
    pub fn counted_space(&self) -> Option<DiskSpace> {
        self.space.as_ref().map(|space| space.free())
    }

    /// As [`Volume::counted_space`]; a disk that somebody else has filled has nothing free.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        let known = self.counted_space()?;
        let full = self.trouble.as_ref().is_some_and(|trouble| trouble.is_full());
        Some(if full { DiskSpace { free: 0, ..known } } else { known })
    }

    /// Works where the disk may keep the thread waiting; meanwhile the runtime's other tasks get another thread, if it
    /// has any.
    fn waiting<R>(&self, work: impl FnOnce() -> R) -> R {
        let threads =
            || Handle::try_current().is_ok_and(|it| it.runtime_flavor() == RuntimeFlavor::MultiThread);
        match self.blocks() && threads() {
            true => tokio::task::block_in_place(work),
            false => work(),
        }
    }

    /// Whether the disk works at all at the moment.
    fn works(&self) -> io::Result<()> {
        match self.trouble.as_ref().is_some_and(|trouble| trouble.fails()) {
            true => Err(io::Error::other("input/output error")),
            false => Ok(()),
        }
    }

    /// Whether the disk has space for more.
    fn space(&self) -> io::Result<()> {
        self.works()?;
        if self.trouble.as_ref().is_some_and(|trouble| trouble.is_full()) {
            return Err(io::Error::new(ErrorKind::StorageFull, "no space left on device"));
        }
        Ok(())
    }

    /// Whether the disk has space for a file of this length.
    fn space_for(&self, path: &Path, length: u64) -> io::Result<()> {
        self.space()?;
        self.space.as_ref().map_or(Ok(()), |space| space.check(path, length))
    }

    fn counted(&self, count: impl FnOnce(&Space)) {
        if let Some(space) = &self.space {
            count(space);
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        match &self.files {
            Files::Simulated(fs) => {
                let _inside = fs.enter();
                turmoil_fs::shim::std::fs::sync_dir(path)
            }
            Files::Machine => self.waiting(|| std::fs::File::open(path)?.sync_all()),
            Files::Memory(_) => Ok(()),
        }
    }

    fn sync_parent(&self, path: &Path) -> io::Result<()> {
        path.parent().map_or(Ok(()), |parent| self.sync_directory(parent))
    }

    fn exists(&self, path: &Path) -> bool {
        on!(self, { fs::metadata(path).is_ok() }, |files| files.exists(path))
    }

    /// Creates a directory and its parents, durably. Whether it was missing.
    pub fn create_directory(&self, path: &Path) -> io::Result<bool> {
        if self.exists(path) {
            return Ok(false);
        }
        self.space()?;
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !self.exists(path)).collect();
        on!(self, { fs::create_dir_all(path)? }, |files| files.create_directory(path));
        for path in missing.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            self.sync_directory(path)?;
            self.sync_parent(path)?;
        }
        Ok(true)
    }

    /// Removes a directory with all that is in it, durably; it may be missing.
    pub fn remove_directory(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path) {
            return Ok(());
        }
        self.waiting(|| {
            on!(self, { fs::remove_dir_all(path) }, |files| {
                files.remove_directory(path);
                Ok(())
            })
        })?;
        self.counted(|space| space.removed_below(path));
        self.sync_parent(path)
    }

    /// The names in a directory, sorted; none if it does not exist.
    pub fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        if !self.exists(path) {
            return Ok(Vec::new());
        }
        let mut names = on!(
            self,
            {
                let mut names = Vec::new();
                for entry in fs::read_dir(path)? {
                    names.extend(entry?.file_name().into_string().ok());
                }
                names
            },
            |files| files.names(path)
        );
        names.sort();
        Ok(names)
    }

    /// A whole file; `None` if it does not exist.
    pub fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let Some(length) = self.length(path)? else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.waiting(|| self.read_at(path, 0, &mut bytes))?;
        Ok(Some(bytes))
    }

    /// A file's length in bytes; `None` if it does not exist.
    pub fn length(&self, path: &Path) -> io::Result<Option<u64>> {
        let length =
            on!(self, { fs::metadata(path).map(|metadata| metadata.len()) }, |files| files.length(path));
        match length {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fills `bytes` from `position`; a short read is continued.
    pub fn read_at(&self, path: &Path, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.works()?;
        on!(
            self,
            { fs::OpenOptions::new().read(true).open(path)?.read_exact_at(bytes, position)? },
            |files| files.read_at(path, position, bytes)?
        );
        if let Some(first) = bytes.first_mut()
            && self.trouble.as_ref().is_some_and(|trouble| trouble.corrupts())
        {
            *first ^= 0xff;
        }
        Ok(())
    }

    /// Writes `bytes` at `position` of a file that exists. They are not durable before [`Volume::sync`].
    pub fn write_at(&self, path: &Path, position: u64, bytes: impl Into<Gathered>) -> io::Result<()> {
        let bytes = bytes.into();
        let end = position.saturating_add(bytes.len() as u64);
        self.space_for(path, end)?;
        let written = self.write_chunks(path, position, bytes);
        // A write that failed may have left something.
        match &written {
            Ok(()) => self.counted(|space| space.grown(path, end)),
            Err(_) => self.recount(path),
        }
        written
    }

    fn write_chunks(&self, path: &Path, mut position: u64, bytes: Gathered) -> io::Result<()> {
        let chunks = bytes.into_chunks();
        on!(
            self,
            {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                for chunk in chunks {
                    file.write_all_at(&chunk, position)?;
                    position += chunk.len() as u64;
                }
                Ok(())
            },
            |files| chunks.into_iter().try_for_each(|chunk| {
                let length = chunk.len() as u64;
                files.write_at(path, position, chunk)?;
                position += length;
                Ok(())
            })
        )
    }

    /// Makes a file's content and length durable.
    pub fn sync(&self, path: &Path) -> io::Result<()> {
        self.works()?;
        self.waiting(|| {
            on!(self, { fs::OpenOptions::new().write(true).open(path)?.sync_data() }, |_files| Ok(()))
        })
    }

    /// Cuts a file to `length` bytes. It is not durable before [`Volume::sync`].
    pub fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.works()?;
        on!(self, { fs::OpenOptions::new().write(true).open(path)?.set_len(length)? }, |files| files
            .set_length(path, length)?);
        self.counted(|space| space.is_now(path, length));
        Ok(())
    }

    /// Removes a file, durably.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        if matches!(self.files, Files::Simulated(_)) {
            // The simulation keeps unsynced writes of a removed file, and they would fall upon the next one of
            // that name.
            self.sync(path)?;
        }
        on!(self, { fs::remove_file(path)? }, |files| files.remove(path)?);
        self.counted(|space| space.removed(path));
        self.sync_parent(path)
    }

    /// Creates or replaces a file as a whole: after a crash it holds the old content or the new.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let next = path.with_extension("next");
        let replaced = self.replace_by(path, &next, bytes);
        if replaced.is_err() && self.exists(&next) {
            // On a full disk the space is needed; what is left otherwise does no harm.
            let _ = self.remove(&next);
        }
        replaced
    }

    fn replace_by(&self, path: &Path, next: &Path, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        self.space_for(next, length)?;
        let written = self.waiting(|| {
            on!(
                self,
                {
                    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).open(next)?;
                    file.write_all_at(bytes, 0)?;
                    file.sync_all()?;
                    drop(file);
                    fs::rename(next, path)
                },
                |files| {
                    files.put(path, Bytes::copy_from_slice(bytes));
                    Ok(())
                }
            )
        });
        if let Err(error) = written {
            self.recount(next);
            return Err(error);
        }
        self.counted(|space| {
            space.removed(next);
            space.is_now(path, length);
        });
        self.sync_parent(path)
    }

    /// Looks how long a file is now.
    fn recount(&self, path: &Path) {
        if self.space.is_some() {
            match self.length(path) {
                Ok(Some(length)) => self.counted(|space| space.is_now(path, length)),
                Ok(None) => self.counted(|space| space.removed(path)),
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn simulated() -> (Volume, Fs) {
        let fs = Fs::builder().seed(1).build();
        (Volume::simulated(fs.clone(), PathBuf::from("/data")), fs)
    }

    #[test]
    fn a_replaced_file_survives_a_crash_with_its_last_content() {
        let (volume, fs) = simulated();
        volume.create_directory(Path::new("/data/kvstore")).unwrap();
        let path = Path::new("/data/kvstore/identity.json");
        volume.replace(path, b"one, and longer").unwrap();
        fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"one, and longer"[..]));
        volume.replace(path, b"two").unwrap();
        fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(volume.names(Path::new("/data/kvstore")).unwrap(), ["identity.json"]);
    }

    #[test]
    fn a_missing_file_is_not_an_error() {
        let (volume, _) = simulated();
        assert_eq!(volume.read(Path::new("/data/nothing")).unwrap(), None);
        assert!(volume.names(Path::new("/data/nothing")).unwrap().is_empty());
    }

    #[test]
    fn what_is_written_is_durable_only_when_synced() {
        let (volume, fs) = simulated();
        volume.create_directory(Path::new("/data")).unwrap();
        let path = Path::new("/data/file");
        volume.replace(path, b"").unwrap();
        volume.write_at(path, 0, b"one").unwrap();
        volume.sync(path).unwrap();
        volume.write_at(path, 3, b"two").unwrap();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"onetwo"[..]));
        fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b"one"[..]));
    }

    #[test]
    fn writes_to_a_removed_file_do_not_reach_its_successor() {
        let fs = Fs::builder().seed(1).block_size(1).build();
        let volume = Volume::simulated(fs.clone(), PathBuf::from("/data"));
        volume.create_directory(Path::new("/data")).unwrap();
        let path = Path::new("/data/file");
        volume.replace(path, b"").unwrap();
        volume.write_at(path, 0, b"first").unwrap();
        volume.remove(path).unwrap();
        volume.replace(path, b"").unwrap();
        fs.crash();
        assert_eq!(volume.read(path).unwrap().as_deref(), Some(&b""[..]));
    }

    struct Full;

    impl DiskTrouble for Full {
        fn is_full(&self) -> bool {
            true
        }
        fn extra_latency(&self) -> Duration {
            Duration::from_millis(7)
        }
    }

    #[test]
    fn a_full_disk_takes_nothing_new_and_gives_back_what_it_has() {
        let (volume, fs) = simulated();
        volume.create_directory(Path::new("/data")).unwrap();
        let path = Path::new("/data/file");
        volume.replace(path, b"one").unwrap();
        let disk = Disk::Troubled(Box::new(Disk::Simulated(fs)), Arc::new(Full));
        let full = Volume::new(disk, Path::new("/data")).unwrap();
        for refused in [
            full.write_at(path, 3, b"two"),
            full.replace(path, b"two"),
            full.create_directory(Path::new("/data/more")).map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::StorageFull);
        }
        assert_eq!(full.read(path).unwrap().as_deref(), Some(&b"one"[..]));
        assert_eq!(full.latency(), Duration::from_millis(7));
        full.remove(path).unwrap();
    }

    #[test]
    fn the_machine_and_memory_do_the_same() {
        let directory = tempfile::tempdir().unwrap();
        for disk in [Disk::Machine(directory.path().join("data")), Disk::Memory(MemoryFiles::default())] {
            does_the_same(&Volume::new(disk, Path::new("/elsewhere")).unwrap());
        }
    }

    fn does_the_same(volume: &Volume) {
        let folder = volume.root().join("a/b");
        volume.create_directory(&folder).unwrap();
        let path = folder.join("file");
        assert_eq!(volume.length(&path).unwrap(), None);
        volume.replace(&path, b"one").unwrap();
        volume.write_at(&path, 3, b"two").unwrap();
        volume.sync(&path).unwrap();
        volume.set_length(&path, 5).unwrap();
        assert_eq!(volume.read(&path).unwrap().as_deref(), Some(&b"onetw"[..]));
        assert_eq!(volume.names(&folder).unwrap(), ["file"]);
        volume.remove(&path).unwrap();
        assert_eq!(volume.read(&path).unwrap(), None);
        volume.remove_directory(&folder).unwrap();
        assert!(volume.names(volume.root().join("a").as_path()).unwrap().is_empty());
    }

    struct Sized(u64);

    impl DiskTrouble for Sized {
        fn is_full(&self) -> bool {
            false
        }
        fn extra_latency(&self) -> Duration {
            Duration::ZERO
        }
        fn capacity_bytes(&self) -> Option<u64> {
            Some(self.0)
        }
    }

    #[test]
    fn a_disk_takes_no_more_than_its_size() {
        let (_, fs) = simulated();
        let open = || {
            let disk = Disk::Troubled(Box::new(Disk::Simulated(fs.clone())), Arc::new(Sized(10)));
            Volume::new(disk, Path::new("/data")).unwrap()
        };
        let volume = open();
        volume.create_directory(Path::new("/data/a")).unwrap();
        let path = Path::new("/data/a/file");
        volume.replace(path, b"1234").unwrap();
        volume.write_at(path, 4, b"5678").unwrap();
        volume.sync(path).unwrap();
        assert_eq!(volume.counted_space(), Some(DiskSpace { total: 10, free: 2 }));
        assert_eq!(volume.write_at(path, 8, b"9ab").unwrap_err().kind(), ErrorKind::StorageFull);
        volume.write_at(path, 6, b"new!").unwrap();
        assert_eq!(volume.replace(Path::new("/data/b"), b"1").unwrap_err().kind(), ErrorKind::StorageFull);
        volume.sync(path).unwrap();
        assert_eq!(open().counted_space(), Some(DiskSpace { total: 10, free: 0 }), "it is counted anew");
        volume.set_length(path, 3).unwrap();
        assert_eq!(volume.counted_space(), Some(DiskSpace { total: 10, free: 7 }));
        volume.remove_directory(Path::new("/data/a")).unwrap();
        assert_eq!(volume.counted_space(), Some(DiskSpace { total: 10, free: 10 }));
    }
}
