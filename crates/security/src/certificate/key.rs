//! Keys that follow from a seed and a purpose.

use p256::elliptic_curve::Generate;
use p256::pkcs8::{DecodePrivateKey, EncodePrivateKey, LineEnding};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rsa::signature::Signer;
use sha2::{Digest, Sha256};

use super::CertificateError;

/// The curve of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256, which every client understands.
    #[default]
    P256,
    /// NIST P-384.
    P384,
}

/// A key on P-256 or P-384 with its public half; it signs as RFC 6979 has it.
#[derive(Clone)]
pub struct KeyPair {
    key: Secret,
    public: Vec<u8>,
}

#[derive(Clone)]
enum Secret {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
}

impl KeyPair {
    /// The P-256 key of a seed and a purpose, such as the name of the object that it is for.
    pub fn from_seed(seed: u64, purpose: &str) -> KeyPair {
        KeyPair::on_curve(Curve::P256, seed, purpose)
    }

    /// As [`KeyPair::from_seed`], on a curve.
    pub fn on_curve(curve: Curve, seed: u64, purpose: &str) -> KeyPair {
        let mut hash = Sha256::new();
        hash.update(seed.to_be_bytes());
        hash.update(purpose.as_bytes());
        let mut stream = ChaCha8Rng::from_seed(hash.finalize().into());
        KeyPair::of(match curve {
            Curve::P256 => Secret::P256(p256::SecretKey::generate_from_rng(&mut stream).into()),
            Curve::P384 => Secret::P384(p384::SecretKey::generate_from_rng(&mut stream).into()),
        })
    }

    /// Reads a PEM file (PKCS #8 or SEC 1).
    ///
    /// # Errors
    /// [`CertificateError::Issuer`] if it is no P-256 or P-384 key.
    pub fn from_pem(pem: &str) -> Result<KeyPair, CertificateError> {
        let p256 = || {
            let sec1 = || p256::SecretKey::from_sec1_pem(pem).ok().map(p256::ecdsa::SigningKey::from);
            p256::ecdsa::SigningKey::from_pkcs8_pem(pem).ok().or_else(sec1).map(Secret::P256)
        };
        let p384 = || {
            let sec1 = || p384::SecretKey::from_sec1_pem(pem).ok().map(p384::ecdsa::SigningKey::from);
            p384::ecdsa::SigningKey::from_pkcs8_pem(pem).ok().or_else(sec1).map(Secret::P384)
        };
        let unread = || CertificateError::Issuer("its key is no P-256 or P-384 key in PEM".to_owned());
        p256().or_else(p384).map(KeyPair::of).ok_or_else(unread)
    }

    /// The key as PKCS #8 in PEM.
    ///
    /// # Errors
    /// [`CertificateError::Other`] if it cannot be written.
    pub fn to_pem(&self) -> Result<String, CertificateError> {
        let pem = match &self.key {
            Secret::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Secret::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
        };
        pem.map(|pem| pem.to_string()).map_err(|error| CertificateError::Other(error.to_string()))
    }

    fn of(key: Secret) -> KeyPair {
        let public = match &key {
            Secret::P256(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
            Secret::P384(key) => key.verifying_key().to_sec1_point(false).as_bytes().to_vec(),
        };
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
        match &self.key {
            Secret::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Secret::P384(_) => &rcgen::PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl rcgen::SigningKey for KeyPair {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = match &self.key {
            Secret::P256(key) => {
                key.try_sign(message).map(|it: p256::ecdsa::DerSignature| it.as_bytes().to_vec())
            }
            Secret::P384(key) => {
                key.try_sign(message).map(|it: p384::ecdsa::DerSignature| it.as_bytes().to_vec())
            }
        };
        signature.map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
