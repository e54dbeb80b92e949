//! Files that are replaced at once or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces the file at `path` by what `write` writes. Whoever reads it sees the old content or the new one.
///
/// # Errors
/// If the directory is not there, or the file cannot be written; the old content stays.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = beside(path)?;
    write(file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

/// A file in the directory of `path`, as readable for others as any new file.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory_of(path))
}

/// Whether [`replace`] could replace the file at `path` now; nothing is left behind.
///
/// # Errors
/// If it is a directory, or its directory is not there or cannot be written to.
pub fn try_out(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    beside(path)?.close()
}

/// The directory of a file.
pub(crate) fn directory_of(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_cannot_be_written_leaves_the_old_content() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("report.json");
        replace(&path, |file| file.write_all(b"old")).expect("written");
        let failed = replace(&path, |file| {
            file.write_all(b"half of the ne")?;
            Err(io::Error::other("the disk is full"))
        });
        assert_eq!(failed.expect_err("it fails").to_string(), "the disk is full");
        assert_eq!(std::fs::read(&path).expect("there"), b"old");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 1, "nothing is left behind");
        assert!(replace(&directory.path().join("no/report.json"), |_| Ok(())).is_err());
    }

    #[test]
    fn what_can_be_replaced_is_told_beforehand() {
        let directory = tempfile::tempdir().expect("a directory");
        try_out(&directory.path().join("report.json")).expect("it can be written");
        assert_eq!(std::fs::read_dir(directory.path()).expect("there").count(), 0, "nothing is left behind");
        assert!(try_out(&directory.path().join("no/report.json")).is_err());
        assert!(try_out(directory.path()).is_err());
    }
}
