//! Private keys that sign the same message with the same bytes: ECDSA on P-256 and P-384 as RFC 6979 has it, Ed25519,
//! RSA with PKCS #1 v1.5, and RSA-PSS with a salt from the connection's stream.
//!
//! Left out: P-521 keys, which clients of TLS hardly take.

use std::sync::Arc;

use p256::ecdsa::SigningKey as P256Key;
use p256::pkcs8::DecodePrivateKey;
use p384::ecdsa::SigningKey as P384Key;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::sha2::{Sha256, Sha384, Sha512};
use rsa::signature::{RandomizedSigner, SignatureEncoding, Signer as _};
use rsa::{PrivateKey, pkcs1v15, pss};
use rustls::crypto::GetRandomFailed;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

use crate::randomness::Randomness;

/// Reads a key of any kind that a broker may be given.
pub(super) fn load(key: &PrivateKeyDer<'_>) -> Result<Arc<dyn SigningKey>, Error> {
    if let Some(key) = p256(key) {
        return Ok(Arc::new(Ecdsa { key: EcdsaKey::P256(Arc::new(key)) }));
    }
    if let Some(key) = p384(key) {
        return Ok(Arc::new(Ecdsa { key: EcdsaKey::P384(Arc::new(key)) }));
    }
    if let Some(key) = rsa(key) {
        return Ok(Arc::new(Rsa { key: Arc::new(key) }));
    }
    if let PrivateKeyDer::Pkcs8(pkcs8) = key
        && let Ok(key) = rustls::crypto::ring::sign::any_eddsa_type(pkcs8)
    {
        return Ok(key);
    }
    let kinds = "the private key is no P-256, P-384, RSA (2048 bits or more) or Ed25519 key";
    Err(Error::General(kinds.to_owned()))
}

fn p256(key: &PrivateKeyDer<'_>) -> Option<P256Key> {
    match key {
        PrivateKeyDer::Pkcs8(pkcs8) => P256Key::from_pkcs8_der(pkcs8.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(sec1) => {
            p256::SecretKey::from_sec1_der(sec1.secret_sec1_der()).ok().map(P256Key::from)
        }
        _ => None,
    }
}

fn p384(key: &PrivateKeyDer<'_>) -> Option<P384Key> {
    match key {
        PrivateKeyDer::Pkcs8(pkcs8) => P384Key::from_pkcs8_der(pkcs8.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(sec1) => {
            p384::SecretKey::from_sec1_der(sec1.secret_sec1_der()).ok().map(P384Key::from)
        }
        _ => None,
    }
}

fn rsa(key: &PrivateKeyDer<'_>) -> Option<PrivateKey> {
    match key {
        PrivateKeyDer::Pkcs8(pkcs8) => PrivateKey::from_pkcs8_der(pkcs8.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(pkcs1) => PrivateKey::from_pkcs1_der(pkcs1.secret_pkcs1_der()).ok(),
        _ => None,
    }
}

#[derive(Clone, Debug)]
enum EcdsaKey {
    P256(Arc<P256Key>),
    P384(Arc<P384Key>),
}

#[derive(Clone, Debug)]
struct Ecdsa {
    key: EcdsaKey,
}

impl SigningKey for Ecdsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.scheme()).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(match &self.key {
            EcdsaKey::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                public_key_to_spki(&alg_id::ECDSA_P256, point.as_bytes())
            }
            EcdsaKey::P384(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                public_key_to_spki(&alg_id::ECDSA_P384, point.as_bytes())
            }
        })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Ecdsa {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.key {
            EcdsaKey::P256(key) => encoded(key.try_sign(message) as Result<p256::ecdsa::DerSignature, _>),
            EcdsaKey::P384(key) => encoded(key.try_sign(message) as Result<p384::ecdsa::DerSignature, _>),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        match self.key {
            EcdsaKey::P256(_) => SignatureScheme::ECDSA_NISTP256_SHA256,
            EcdsaKey::P384(_) => SignatureScheme::ECDSA_NISTP384_SHA384,
        }
    }
}

/// In order of preference, as ring's provider has them.
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RSA_PSS_SHA512,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PKCS1_SHA512,
    SignatureScheme::RSA_PKCS1_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
];

#[derive(Debug)]
struct Rsa {
    key: Arc<PrivateKey>,
}

#[derive(Debug)]
struct RsaSigner {
    key: Arc<PrivateKey>,
    scheme: SignatureScheme,
}

impl SigningKey for Rsa {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = RSA_SCHEMES.into_iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(RsaSigner { key: Arc::clone(&self.key), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

fn encoded<S: SignatureEncoding>(signature: Result<S, rsa::signature::Error>) -> Result<Vec<u8>, Error> {
    signature.map(|signature| signature.to_vec()).map_err(|error| Error::General(error.to_string()))
}

impl Signer for RsaSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let mut stream = Randomness::current().map_err(|_| Error::from(GetRandomFailed))?;
        let (key, stream) = (PrivateKey::clone(&self.key), &mut stream);
        // With the stream for the blinding, so that nothing is drawn from elsewhere.
        match self.scheme {
            SignatureScheme::RSA_PSS_SHA512 => {
                encoded(pss::SigningKey::<Sha512>::new(key).try_sign_with_rng(stream, message))
            }
            SignatureScheme::RSA_PSS_SHA384 => {
                encoded(pss::SigningKey::<Sha384>::new(key).try_sign_with_rng(stream, message))
            }
            SignatureScheme::RSA_PSS_SHA256 => {
                encoded(pss::SigningKey::<Sha256>::new(key).try_sign_with_rng(stream, message))
            }
            SignatureScheme::RSA_PKCS1_SHA512 => {
                encoded(pkcs1v15::SigningKey::<Sha512>::new(key).try_sign_with_rng(stream, message))
            }
            SignatureScheme::RSA_PKCS1_SHA384 => {
                encoded(pkcs1v15::SigningKey::<Sha384>::new(key).try_sign_with_rng(stream, message))
            }
            _ => encoded(pkcs1v15::SigningKey::<Sha256>::new(key).try_sign_with_rng(stream, message)),
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
