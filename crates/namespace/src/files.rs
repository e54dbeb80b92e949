//! Files and directories in place of the machine's, seen in one mount namespace only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::Directory;

/// Where the new files stand until each is mounted over the old one. It is on every Linux (FHS 3.0), and hidden in this mount
/// namespace only, for a moment.
const STAGE: &str = "/mnt";

/// Mounts each file over the one of its path. A path that is a link stands for what it leads to; one that the machine does
/// not have is left out.
pub(crate) fn replace(files: &[(PathBuf, String)]) -> io::Result<()> {
    // What is mounted here must not be seen outside.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    mount(Some("hopwise"), STAGE, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))?;
    for (index, (path, content)) in files.iter().enumerate() {
        let Ok(place) = fs::canonicalize(path) else { continue };
        let staged = Path::new(STAGE).join(index.to_string());
        fs::write(&staged, content)?;
        mount(Some(&staged), &place, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    }
    // The mounts of the files keep the file system.
    umount2(STAGE, MntFlags::MNT_DETACH)?;
    Ok(())
}

/// Mounts a directory over the one of its path, and lets nobody write into it, as volumes of Secrets are mounted (Kubernetes
/// documentation, "Secrets"). Call it after [`replace`], which hides the mounts of this namespace from others.
pub(crate) fn cover(directory: &Directory) -> io::Result<()> {
    let (source, flags) = (Some("hopwise"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    let place = fs::canonicalize(&directory.path)?;
    mount(source, &place, Some("tmpfs"), flags, Some("mode=0755"))?;
    for (name, content) in &directory.files {
        // The API server accepts no key with a slash.
        let name = Path::new(name).file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        fs::write(place.join(name), content)?;
    }
    Ok(mount(
        None::<&str>,
        &place,
        None::<&str>,
        flags | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
        None::<&str>,
    )?)
}

/// Mounts the process file system of this PID namespace.
pub(crate) fn mount_proc() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)?)
}
