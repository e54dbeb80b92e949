//! The files that the user names.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::Diagnostic;
use thiserror::Error;

/// The text of one input file. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the user gave it; `-` is standard input.
    pub name: Arc<str>,
    /// The text, without a byte order mark.
    pub text: Arc<str>,
}

impl Source {
    /// A source of this name and text.
    pub fn new(name: &str, text: &str) -> Source {
        Source { name: name.into(), text: text.strip_prefix('\u{feff}').unwrap_or(text).into() }
    }
}

/// An input file that cannot be read.
#[derive(Debug, Error, Diagnostic)]
pub enum FileError {
    /// There is no such file.
    #[error("{}: no such file or directory", path.display())]
    #[diagnostic(help("give the path of a YAML or JSON file, of a directory, or - for standard input"))]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{}: cannot be read: {reason}", path.display())]
    #[diagnostic(help("check that the file is readable"))]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The text is not UTF-8.
    #[error("{}:{line}: expected UTF-8 text, got the byte 0x{byte:02x}", path.display())]
    #[diagnostic(help("save the file as UTF-8"))]
    NotUtf8 {
        /// The path.
        path: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
        /// The first wrong byte.
        byte: u8,
    },
    /// The file holds nothing.
    #[error("{}: expected YAML or JSON, got an empty file", path.display())]
    #[diagnostic(help("write the documents into the file, or leave it out"))]
    Empty {
        /// The path.
        path: PathBuf,
    },
    /// The directory holds no file to read.
    #[error("{}: the directory has no file that ends in .yaml or .yml", path.display())]
    #[diagnostic(help("name the files themselves if they end differently; subdirectories are not searched"))]
    NoFiles {
        /// The directory.
        path: PathBuf,
    },
    /// `-` is named twice.
    #[error("-: standard input is named twice")]
    #[diagnostic(help("name it once"))]
    StandardInputTwice,
}

/// Reads every file that `paths` name, in their order. A directory means its `*.yaml` and `*.yml`, sorted by
/// name, without those of its subdirectories; `-` means `standard_input`.
///
/// # Errors
///
/// The first path that cannot be read.
pub fn read_paths<P: AsRef<Path>>(
    paths: &[P],
    standard_input: &mut dyn Read,
) -> Result<Vec<Source>, FileError> {
    let mut sources = Vec::new();
    let mut standard_input = Some(standard_input);
    for path in paths {
        let path = path.as_ref();
        if path == Path::new("-") {
            let input = standard_input.take().ok_or(FileError::StandardInputTwice)?;
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map_err(|reason| unreadable(path, reason))?;
            sources.push(source(path, bytes)?);
        } else if path.is_dir() {
            for file in files_of(path)? {
                sources.push(read_file(&file)?);
            }
        } else {
            sources.push(read_file(path)?);
        }
    }
    Ok(sources)
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|reason| unreadable(directory, reason))? {
        let path = entry.map_err(|reason| unreadable(directory, reason))?.path();
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(FileError::NoFiles { path: directory.to_owned() });
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Source, FileError> {
    source(path, std::fs::read(path).map_err(|reason| unreadable(path, reason))?)
}

fn source(path: &Path, bytes: Vec<u8>) -> Result<Source, FileError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let line = 1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        FileError::NotUtf8 { path: path.to_owned(), line, byte: bytes[at] }
    })?;
    if text.trim_start_matches('\u{feff}').trim().is_empty() {
        return Err(FileError::Empty { path: path.to_owned() });
    }
    Ok(Source::new(&path.to_string_lossy(), &text))
}

fn unreadable(path: &Path, reason: io::Error) -> FileError {
    let path = path.to_owned();
    if reason.kind() == io::ErrorKind::NotFound {
        FileError::Missing { path }
    } else {
        FileError::Unreadable { path, reason }
    }
}

#[cfg(test)]
mod tests;
