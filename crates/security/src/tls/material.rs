//! Certificates and keys as they stand in files (PEM), and what can be wrong with them.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why certificates or keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaterialError {
    /// A file that should hold certificates holds something else.
    #[error("no PEM certificate can be read: {0}")]
    Certificates(String),
    /// A file that should hold a private key holds something else.
    #[error("no private key can be read: {0}")]
    Key(String),
    /// The key is not the certificate's.
    #[error("the private key does not belong to the certificate")]
    KeyOfAnother,
    /// An authority's certificate cannot be used as one.
    #[error("a certificate of the trust store cannot be used: {0}")]
    Authority(String),
    /// A name that no certificate can hold.
    #[error("{0:?} is neither a host name nor an IP address")]
    Name(String),
    /// The library refuses the combination.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| MaterialError::Certificates(error.to_string()))?;
    if read.is_empty() {
        return Err(MaterialError::Certificates("there is none in the file".to_owned()));
    }
    Ok(read)
}

/// The first private key of a PEM file.
pub(crate) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, MaterialError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| MaterialError::Key(error.to_string()))
}

/// A chain with its key; the two belong together.
pub(super) fn certified(
    provider: &CryptoProvider,
    chain: &[u8],
    key_pem: &[u8],
) -> Result<Arc<CertifiedKey>, MaterialError> {
    let loaded = provider.key_provider.load_private_key(key(key_pem)?);
    let loaded = loaded.map_err(|error| MaterialError::Key(error.to_string()))?;
    let certified = CertifiedKey::new(certificates(chain)?, loaded);
    match certified.keys_match() {
        // A kind of key that does not tell its public half is judged in the handshake.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(Arc::new(certified))
        }
        Err(rustls::Error::InconsistentKeys(_)) => Err(MaterialError::KeyOfAnother),
        Err(error) => Err(MaterialError::Certificates(error.to_string())),
    }
}

/// A trust store with every certificate of a PEM file.
pub(super) fn authorities(pem: &[u8]) -> Result<RootCertStore, MaterialError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|error| MaterialError::Authority(error.to_string()))?;
    }
    Ok(store)
}
