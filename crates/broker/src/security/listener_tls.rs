//! TLS of the listeners, and of this broker as a client of the others' RPC listeners.
//!
//! A file that is missing or wrong stops the start (redpanda.md 2.2). Later the files are compared with what
//! was loaded whenever a connection comes; new ones serve from then on, and new ones that cannot be used are
//! told in the log and change nothing (redpanda.md 2.1: certificates are reloaded when the file changes).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hopwise_fabric::net::TcpStream;
use hopwise_security::Randomness;
use hopwise_security::tls::{
    ClientSettings, Clock, MaterialError, ServerSettings, TlsAcceptor, TlsConnector, TlsFailure,
};

use super::{Files, Stream};
use crate::config::{Api, Listener, TlsFiles};
use crate::start::BrokerError;

/// TLS by listener: what it speaks, and its name.
pub(crate) type TlsTable = BTreeMap<(Api, String), Arc<ListenerTls>>;

/// One listener's TLS.
pub(crate) struct ListenerTls {
    entry: TlsFiles,
    files: Files,
    clock: Clock,
    randomness: Randomness,
    acceptor: TlsAcceptor,
    loaded: Mutex<Loaded>,
}

/// The content of an entry's files.
#[derive(Clone, PartialEq, Eq)]
struct Loaded {
    certificate: Bytes,
    key: Bytes,
    truststore: Option<Bytes>,
}

/// Loads the files of every listener that speaks TLS.
///
/// # Errors
/// The first file that is missing or wrong.
pub(crate) fn load(
    listeners: &[Listener],
    files: &Files,
    clock: &Clock,
    randomness: &Randomness,
) -> Result<TlsTable, BrokerError> {
    let mut table = TlsTable::new();
    for listener in listeners {
        let Some(entry) = &listener.tls_files else { continue };
        let tls = ListenerTls::load(entry, files, clock, randomness.fork()).map_err(|(file, problem)| {
            BrokerError::Certificate { api: listener.api, name: listener.name.clone(), file, problem }
        })?;
        table.insert((listener.api, listener.name.clone()), Arc::new(tls));
    }
    Ok(table)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn read(entry: &TlsFiles, files: &Files) -> Result<Loaded, (String, String)> {
    let file = |path: &Path| files(path).ok_or_else(|| (text(path), "the file is missing".to_owned()));
    Ok(Loaded {
        certificate: file(&entry.certificate)?,
        key: file(&entry.key)?,
        truststore: entry.truststore.as_deref().map(file).transpose()?,
    })
}

fn settings(entry: &TlsFiles, loaded: &Loaded) -> ServerSettings {
    ServerSettings {
        certificate: loaded.certificate.to_vec(),
        key: loaded.key.to_vec(),
        client_authorities: loaded.truststore.as_ref().map(|bytes| bytes.to_vec()),
        require_client_certificate: entry.require_client_certificate,
        min_version: entry.min_version,
    }
}

/// The file that an error is about.
fn blamed(entry: &TlsFiles, error: &MaterialError) -> String {
    match (error, &entry.truststore) {
        (MaterialError::Key(_), _) => text(&entry.key),
        (MaterialError::Authority(_), Some(truststore)) => text(truststore),
        _ => text(&entry.certificate),
    }
}

impl ListenerTls {
    /// From when to when the certificate is valid, seconds since 1970; `None` if it cannot be read.
    pub fn validity(&self) -> Option<(i64, i64)> {
        let certificate = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).certificate.clone();
        let facts = hopwise_security::certificate::Facts::of_pem(&certificate).ok()?;
        Some((facts.not_before_s, facts.not_after_s))
    }

    fn load(
        entry: &TlsFiles,
        files: &Files,
        clock: &Clock,
        randomness: Randomness,
    ) -> Result<ListenerTls, (String, String)> {
        let loaded = read(entry, files)?;
        let acceptor = TlsAcceptor::new(&settings(entry, &loaded), Arc::clone(clock), randomness.fork())
            .map_err(|error| (blamed(entry, &error), error.to_string()))?;
        let (entry, files, clock) = (entry.clone(), Arc::clone(files), Arc::clone(clock));
        Ok(ListenerTls { entry, files, clock, randomness, acceptor, loaded: Mutex::new(loaded) })
    }

    /// Shakes hands with a client that has connected.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn accept(&self, stream: TcpStream) -> Result<Stream, TlsFailure> {
        self.reload_if_changed();
        Ok(Stream::Tls(Box::new(self.acceptor.accept(stream).await?)))
    }

    /// Shakes hands as the client of a listener with the same entry, as brokers do with each other.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> Result<Stream, TlsFailure> {
        self.reload_if_changed();
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let identity = (loaded.certificate.to_vec(), loaded.key.to_vec());
        let settings = ClientSettings {
            authorities: loaded.truststore.map(|bytes| bytes.to_vec()),
            identity: self.entry.require_client_certificate.then_some(identity),
            min_version: self.entry.min_version,
            ..ClientSettings::default()
        };
        let connector = TlsConnector::new(&settings, Arc::clone(&self.clock), self.randomness.fork())
            .map_err(|error| TlsFailure::Other(error.to_string()))?;
        Ok(Stream::Tls(Box::new(connector.connect(host, stream).await?)))
    }

    fn reload_if_changed(&self) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.entry, &self.files) {
            Ok(now) if now == *loaded => {}
            Ok(now) => {
                match self.acceptor.reload(&settings(&self.entry, &now)) {
                    Ok(()) => tracing::info!(file = text(&self.entry.certificate), "certificate reloaded"),
                    Err(error) => tracing::warn!(%error, "the changed certificate cannot be used"),
                }
                // Also if it cannot be used, so that it is told once.
                *loaded = now;
            }
            // A file is being replaced; the old content serves on.
            Err((file, problem)) => tracing::warn!(file, problem, "a certificate cannot be read again"),
        }
    }
}
