//! Keys that follow from a seed and a purpose.

use p256::ecdsa::{DerSignature, SigningKey};
use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rsa::signature::Signer;
use sha2::{Digest, Sha256};

use super::CertificateError;

/// A P-256 key with its public half; it signs as RFC 6979 has it.
#[derive(Clone)]
pub struct KeyPair {
    key: SigningKey,
    public: Vec<u8>,
}

impl KeyPair {
    /// The key of a seed and a purpose, such as the name of the object that it is for.
    pub fn from_seed(seed: u64, purpose: &str) -> KeyPair {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(purpose.as_bytes());
        let mut stream = ChaCha8Rng::from_seed(hash.finalize().into());
        KeyPair::of(SigningKey::from(p256::SecretKey::generate_from_rng(&mut stream)))
    }

    /// Reads a PEM file (PKCS #8 or SEC 1).
    ///
    /// # Errors
    /// [`CertificateError::Issuer`] if it is no P-256 key.
    pub fn from_pem(pem: &str) -> Result<KeyPair, CertificateError> {
        let read = SigningKey::from_pkcs8_pem(pem)
            .ok()
            .or_else(|| p256::SecretKey::from_sec1_pem(pem).ok().map(SigningKey::from));
        let unread = || CertificateError::Issuer("its key is no P-256 key in PEM".to_owned());
        read.map(KeyPair::of).ok_or_else(unread)
    }

    /// The key as PKCS #8 in PEM.
    ///
    /// # Errors
    /// [`CertificateError::Other`] if it cannot be written.
    pub fn to_pem(&self) -> Result<String, CertificateError> {
        let pem = self.key.to_pkcs8_pem(LineEnding::LF);
        pem.map(|pem| pem.to_string()).map_err(|error| CertificateError::Other(error.to_string()))
    }

    fn of(key: SigningKey) -> KeyPair {
        let public = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        KeyPair { key, public }
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeyPair")
    }
}

impl rcgen::PublicKeyData for KeyPair {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.key.try_sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_bytes().to_vec())
    }
}
