//! Files in memory, for brokers that are served and keep nothing.
//!
//! What is written is shared with who wrote it and not copied: a file is a list of pieces. Nothing is ever lost of it, so
//! there is nothing to sync; the simulated file system is there for disks that crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Files in memory; its clones are the same files.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    files: BTreeMap<PathBuf, File>,
    directories: BTreeSet<PathBuf>,
}

/// A file's content in pieces that follow one another, each with where it begins. None of them is empty.
#[derive(Debug, Default)]
struct File {
    pieces: Vec<(u64, Bytes)>,
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl MemoryFiles {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_file<R>(&self, path: &Path, work: impl FnOnce(&mut File) -> R) -> io::Result<R> {
        self.tree().files.get_mut(path).map(work).ok_or_else(|| missing(path))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        let tree = self.tree();
        tree.files.contains_key(path) || tree.directories.contains(path)
    }

    pub(super) fn is_directory(&self, path: &Path) -> bool {
        self.tree().directories.contains(path)
    }

    /// With its parents.
    pub(super) fn create_directory(&self, path: &Path) {
        self.tree().directories.extend(path.ancestors().map(Path::to_owned));
    }

    /// With all that is in it.
    pub(super) fn remove_directory(&self, path: &Path) {
        let mut tree = self.tree();
        tree.files.retain(|file, _| !file.starts_with(path));
        tree.directories.retain(|directory| !directory.starts_with(path));
    }

    /// The names in a directory, sorted.
    pub(super) fn names(&self, path: &Path) -> Vec<String> {
        let tree = self.tree();
        let below = (Bound::Excluded(path), Bound::Unbounded);
        let files = tree.files.range::<Path, _>(below).map(|(file, _)| file);
        let directories = tree.directories.range::<Path, _>(below);
        let inside = |all: &mut dyn Iterator<Item = &PathBuf>| -> BTreeSet<String> {
            let all = all.take_while(|it| it.starts_with(path)).filter(|it| it.parent() == Some(path));
            all.filter_map(|it| Some(it.file_name()?.to_str()?.to_owned())).collect()
        };
        let mut names = inside(&mut files.into_iter());
        names.append(&mut inside(&mut directories.into_iter()));
        names.into_iter().collect()
    }

    pub(super) fn length(&self, path: &Path) -> io::Result<u64> {
        self.with_file(path, |file| file.length())
    }

    pub(super) fn read_at(&self, path: &Path, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self.with_file(path, |file| file.read_at(position, bytes))? {
            true => Ok(()),
            false => Err(io::Error::new(ErrorKind::UnexpectedEof, "the file ends before that")),
        }
    }

    pub(super) fn write_at(&self, path: &Path, position: u64, content: Bytes) -> io::Result<()> {
        self.with_file(path, |file| file.write_at(position, content))
    }

    pub(super) fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.with_file(path, |file| {
            file.cut(length);
            file.grow(length);
        })
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.tree().files.remove(path).map(drop).ok_or_else(|| missing(path))
    }

    /// A file with this content, whatever was there before.
    pub(super) fn put(&self, path: &Path, content: Bytes) {
        let mut file = File::default();
        file.write_at(0, content);
        self.tree().files.insert(path.to_owned(), file);
    }
}

impl File {
    fn length(&self) -> u64 {
        self.pieces.last().map_or(0, |(at, piece)| at + piece.len() as u64)
    }

    /// The piece that holds `position`, or the first one after it.
    fn place(&self, position: u64) -> usize {
        self.pieces.partition_point(|(at, piece)| at + piece.len() as u64 <= position)
    }

    /// Whether the file has so many bytes there.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> bool {
        let (mut position, mut rest) = (position, bytes);
        for (at, piece) in &self.pieces[self.place(position)..] {
            if rest.is_empty() {
                break;
            }
            let from = usize::try_from(position - at).unwrap_or(usize::MAX);
            let count = rest.len().min(piece.len() - from);
            rest[..count].copy_from_slice(&piece[from..from + count]);
            position += count as u64;
            rest = &mut rest[count..];
        }
        rest.is_empty()
    }

    fn write_at(&mut self, position: u64, content: Bytes) {
        if content.is_empty() {
            return;
        }
        let end = position + content.len() as u64;
        let after = self.cut_out_after(end);
        self.cut(position);
        self.grow(position);
        self.pieces.push((position, content));
        self.pieces.extend(after);
    }

    /// Takes what is there from `position` on.
    fn cut_out_after(&mut self, position: u64) -> Vec<(u64, Bytes)> {
        let mut after = self.pieces.split_off(self.place(position));
        if let Some((at, piece)) = after.first_mut().filter(|(at, _)| *at < position) {
            let before = piece.split_to(usize::try_from(position - *at).unwrap_or(usize::MAX));
            self.pieces.push((*at, before));
            *at = position;
        }
        after
    }

    fn cut(&mut self, length: u64) {
        self.cut_out_after(length);
    }

    /// Fills with zeros.
    fn grow(&mut self, length: u64) {
        let own = self.length();
        if own < length {
            let missing = usize::try_from(length - own).unwrap_or(usize::MAX);
            self.pieces.push((own, Bytes::from(vec![0; missing])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(file: &File) -> Vec<u8> {
        let mut bytes = vec![9; usize::try_from(file.length()).unwrap()];
        assert!(file.read_at(0, &mut bytes));
        bytes
    }

    /// Every write, cut and read against a plain vector.
    #[test]
    fn pieces_read_as_one_content() {
        let (mut file, mut expected) = (File::default(), Vec::new());
        let mut number = 1_u64;
        let mut next = |bound: u64| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (number >> 33) % bound
        };
        for step in 0..2_000_u64 {
            let position = next(60);
            if next(4) == 0 {
                file.cut(position);
                file.grow(position);
                expected.resize(usize::try_from(position).unwrap(), 0);
            } else {
                let content = vec![step as u8; usize::try_from(next(9)).unwrap()];
                let (from, to) =
                    (usize::try_from(position).unwrap(), usize::try_from(position).unwrap() + content.len());
                if !content.is_empty() {
                    expected.resize(expected.len().max(to), 0);
                    expected[from..to].copy_from_slice(&content);
                }
                file.write_at(position, Bytes::from(content));
            }
            assert_eq!(whole(&file), expected, "step {step}");
            assert!(file.pieces.iter().all(|(_, piece)| !piece.is_empty()));
            let (from, count) = (next(60), usize::try_from(next(9)).unwrap());
            let mut read = vec![0; count];
            let there = expected.get(usize::try_from(from).unwrap()..).and_then(|rest| rest.get(..count));
            assert_eq!(file.read_at(from, &mut read), there.is_some() || count == 0);
            if let Some(there) = there {
                assert_eq!(read, there);
            }
        }
    }

    #[test]
    fn what_is_written_is_shared() {
        let (files, path) = (MemoryFiles::default(), Path::new("/a/file"));
        assert_eq!(files.write_at(path, 0, Bytes::new()).unwrap_err().kind(), ErrorKind::NotFound);
        files.put(path, Bytes::new());
        let content = Bytes::from(vec![1; 10]);
        files.write_at(path, 0, content.clone()).unwrap();
        let same = files.with_file(path, |file| file.pieces[0].1.as_ptr()).unwrap();
        assert_eq!(same, content.as_ptr());
        assert_eq!(files.read_at(path, 5, &mut [0; 6]).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
