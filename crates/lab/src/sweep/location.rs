//! Where results are: a path on this machine, or the URL of an object in a store.
//!
//! Stores are those of the `object_store` crate: `s3://`, `gs://`, `az://` if hopwise is built with the feature
//! `object-stores`, and `file://` always. Their credentials and settings come from the environment, under the names that
//! the stores' own tools use (`AWS_REGION`, `GOOGLE_APPLICATION_CREDENTIALS`, ...).

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use tempfile::NamedTempFile;
use tokio::runtime::Runtime;
use url::Url;

use crate::replaced_file::directory_of;

/// The bytes that are sent at a time: what one part of an upload may be at least in every store.
const PART_BYTES: usize = 8 << 20;

/// A path or a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// A file or directory.
    Path(PathBuf),
    /// An object, or all whose keys begin like this and go on with `/`.
    Url(Url),
}

/// Results cannot be read or written there.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A URL that no store can have.
    #[error(
        "{url}: no object store is meant by this ({error}); expected a path, s3://, gs://, az:// or file://"
    )]
    NotSupported {
        /// The URL.
        url: String,
        /// Why.
        error: String,
    },
    /// A file operation failed.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// A store's operation failed.
    #[error("{url}: {error}")]
    Store {
        /// The object.
        url: String,
        /// Why.
        #[source]
        error: object_store::Error,
    },
}

impl Location {
    /// Reads a path or URL. What has no `://` is a path.
    ///
    /// # Errors
    /// If it is a URL that no store can have.
    pub fn parse(text: &str) -> Result<Location, LocationError> {
        if !text.contains("://") {
            return Ok(Location::Path(PathBuf::from(text)));
        }
        let wrong = |error: &dyn fmt::Display| LocationError::NotSupported {
            url: text.to_owned(),
            error: error.to_string(),
        };
        let url = Url::parse(text).map_err(|error| wrong(&error))?;
        object_store::ObjectStoreScheme::parse(&url).map_err(|error| wrong(&error))?;
        Ok(Location::Url(url))
    }

    /// The part behind the last point of the last name: what the format is told by.
    pub fn extension(&self) -> Option<&str> {
        match self {
            Location::Path(path) => path.extension()?.to_str(),
            Location::Url(url) => Some(url.path().rsplit('/').next()?.rsplit_once('.')?.1),
        }
    }

    /// The location whose name goes on with `suffix`.
    pub(super) fn with_suffix(&self, suffix: &str) -> Location {
        match self {
            Location::Path(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                Location::Path(name.into())
            }
            Location::Url(url) => {
                let mut url = url.clone();
                url.set_path(&format!("{}{suffix}", url.path()));
                Location::Url(url)
            }
        }
    }

    /// The files in the directory, or the objects directly under the prefix, by name; the location itself if it is a file
    /// or an object.
    ///
    /// # Errors
    /// If it cannot be listed, or is not there.
    pub(super) fn members(&self) -> Result<Vec<Location>, LocationError> {
        match self {
            Location::Path(path) if path.is_dir() => {
                let entries = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
                let entries = entries.map_err(|error| at(path, error))?;
                let files = entries.into_iter().map(|entry| entry.path()).filter(|path| path.is_file());
                let mut files: Vec<Location> = files.map(Location::Path).collect();
                files.sort();
                Ok(files)
            }
            Location::Url(url) if url.path().ends_with('/') => Store::open(url)?.list(url),
            one => Ok(vec![one.clone()]),
        }
    }

    /// The content as a local file: the file itself, or a copy that is gone when it is closed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn open(&self) -> Result<File, LocationError> {
        match self {
            Location::Path(path) => File::open(path).map_err(|error| at(path, error)),
            Location::Url(url) => Store::open(url)?.fetch(url),
        }
    }

    /// Replaces the content at once, or not at all. `file` is gone afterwards; for a path it has to be in the path's
    /// directory ([`Location::beside`]).
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn replace(&self, mut file: NamedTempFile) -> Result<(), LocationError> {
        match self {
            Location::Path(path) => {
                file.as_file_mut().sync_all().map_err(|error| at(path, error))?;
                file.persist(path).map_err(|error| at(path, error.error))?;
                sync_directory(path)
            }
            Location::Url(url) => Store::open(url)?.upload(url, file.as_file_mut()),
        }
    }

    /// Removes it. What is not there is removed already.
    ///
    /// # Errors
    /// If it stays.
    pub(super) fn remove(&self) -> Result<(), LocationError> {
        match self {
            Location::Path(path) => match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
                _ => Ok(()),
            },
            Location::Url(url) => Store::open(url)?.remove(url),
        }
    }

    /// A new file that [`Location::replace`] can put in place.
    ///
    /// # Errors
    /// If the directory cannot be written.
    pub(super) fn beside(&self) -> Result<NamedTempFile, LocationError> {
        match self {
            Location::Path(path) => {
                let directory = directory_of(path);
                NamedTempFile::new_in(directory).map_err(|error| at(directory, error))
            }
            Location::Url(_) => NamedTempFile::new().map_err(|error| at(&std::env::temp_dir(), error)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => write!(f, "{}", path.display()),
            Location::Url(url) => write!(f, "{url}"),
        }
    }
}

/// A store, with a runtime of its own to wait for it.
struct Store {
    store: Box<dyn ObjectStore>,
    key: Key,
    runtime: Runtime,
}

impl Store {
    fn open(url: &Url) -> Result<Store, LocationError> {
        let not_supported = |error: String| LocationError::NotSupported { url: url.to_string(), error };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let (store, key) = object_store::parse_url_opts(url, variables)
            .map_err(|error| not_supported(format!("{error}{}", hint(url))))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| not_supported(format!("no runtime: {error}")))?;
        Ok(Store { store, key, runtime })
    }

    fn list(&self, url: &Url) -> Result<Vec<Location>, LocationError> {
        let mut keys: Vec<Key> = match self.runtime.block_on(self.store.list_with_delimiter(Some(&self.key)))
        {
            Ok(listed) => listed.objects.into_iter().map(|object| object.location).collect(),
            // No object begins like this.
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(of(url, error)),
        };
        keys.sort();
        let names = keys.iter().filter_map(|key| Some(key.filename()?.to_owned()));
        let joined = |name: String| {
            let wrong = |error: url::ParseError| LocationError::NotSupported {
                url: format!("{url}{name}"),
                error: error.to_string(),
            };
            url.join(&name).map(Location::Url).map_err(wrong)
        };
        names.map(joined).collect()
    }

    fn fetch(&self, url: &Url) -> Result<File, LocationError> {
        let copy = || {
            let mut file = tempfile::tempfile().map_err(io_error)?;
            self.runtime.block_on(async {
                let mut chunks = self.store.get(&self.key).await?.into_stream();
                while let Some(chunk) = futures_util::StreamExt::next(&mut chunks).await {
                    file.write_all(&chunk?).map_err(io_error)?;
                }
                Ok::<(), object_store::Error>(())
            })?;
            file.seek(SeekFrom::Start(0)).map_err(io_error)?;
            Ok::<File, object_store::Error>(file)
        };
        copy().map_err(|error| of(url, error))
    }

    /// Sends a file in parts; the object is there when the last one has arrived.
    fn upload(&self, url: &Url, file: &mut File) -> Result<(), LocationError> {
        let sent = self.runtime.block_on(async {
            file.seek(SeekFrom::Start(0)).map_err(io_error)?;
            let mut upload =
                WriteMultipart::new_with_chunk_size(self.store.put_multipart(&self.key).await?, PART_BYTES);
            let mut buffer = vec![0; PART_BYTES];
            loop {
                match file.read(&mut buffer).map_err(io_error)? {
                    0 => break,
                    length => upload.write(&buffer[..length]),
                }
                upload.wait_for_capacity(1).await?;
            }
            upload.finish().await
        });
        sent.map(drop).map_err(|error| of(url, error))
    }

    fn remove(&self, url: &Url) -> Result<(), LocationError> {
        match self.runtime.block_on(self.store.delete(&self.key)) {
            Err(object_store::Error::NotFound { .. }) | Ok(()) => Ok(()),
            Err(error) => Err(of(url, error)),
        }
    }
}

/// What to do about a store that this build cannot speak to.
fn hint(url: &Url) -> &'static str {
    match url.scheme() {
        "file" => "",
        _ if cfg!(feature = "object-stores") => "",
        _ => "; this hopwise was built without stores: build it with `--features object-stores`",
    }
}

/// Makes a new name in a directory outlast a loss of power.
fn sync_directory(path: &Path) -> Result<(), LocationError> {
    let directory = directory_of(path);
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| at(directory, error))
}

pub(super) fn at(path: &Path, error: io::Error) -> LocationError {
    LocationError::File { path: path.to_owned(), error }
}

fn of(url: &Url, error: object_store::Error) -> LocationError {
    LocationError::Store { url: url.to_string(), error }
}

fn io_error(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "temporary file", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: &LocationError) -> String {
        error.to_string()
    }

    #[test]
    fn paths_and_urls_are_told_apart() {
        let path = Location::parse("out/rows.jsonl").expect("a path");
        assert_eq!((path.to_string().as_str(), path.extension()), ("out/rows.jsonl", Some("jsonl")));
        let url = Location::parse("s3://bucket/run.1/rows").expect("a URL");
        assert_eq!(url.extension(), None);
        assert_eq!(url.with_suffix(".parts/").to_string(), "s3://bucket/run.1/rows.parts/");
        let error = Location::parse("ftp://host/rows.jsonl").expect_err("no store");
        assert!(
            told(&error).starts_with("ftp://host/rows.jsonl: no object store is meant by this"),
            "{error}"
        );
    }

    #[cfg(not(feature = "object-stores"))]
    #[test]
    fn a_store_that_is_not_built_in_is_told_with_the_remedy() {
        let url = Location::parse("s3://bucket/rows.jsonl").expect("a URL");
        let error = url.open().expect_err("it is not built in");
        assert!(told(&error).contains("build it with `--features object-stores`"), "{error}");
    }

    #[test]
    fn a_file_and_an_object_are_replaced_listed_read_and_removed_alike() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.jsonl");
        let url = Url::from_file_path(directory.path().join("b.jsonl")).expect("absolute");
        for location in [Location::Path(path), Location::Url(url)] {
            for content in ["first", "second, and longer"] {
                let mut file = location.beside().expect("a file");
                file.write_all(content.as_bytes()).expect("written");
                location.replace(file).expect("replaced");
                let read = io::read_to_string(location.open().expect("opened")).expect("read");
                assert_eq!(read, content);
            }
        }
        let names = |locations: Vec<Location>| {
            let name = |it: &Location| it.to_string().rsplit('/').next().unwrap_or_default().to_owned();
            locations.iter().map(name).collect::<Vec<_>>()
        };
        let whole = Location::Path(directory.path().to_owned());
        let prefix = Location::Url(Url::from_directory_path(directory.path()).expect("absolute"));
        for all in [whole, prefix] {
            assert_eq!(names(all.members().expect("listed")), ["a.jsonl", "b.jsonl"]);
        }
        for location in Location::Path(directory.path().to_owned()).members().expect("listed") {
            location.remove().expect("removed");
            location.remove().expect("it is gone already");
        }
        let gone = Location::Path(directory.path().join("a.jsonl"));
        assert!(told(&gone.open().expect_err("gone")).contains("a.jsonl: No such file"));
    }
}
