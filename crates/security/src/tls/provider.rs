//! The cryptography of both ends: ring's where it is a function of its input (ciphers, hashes, verification),
//! ours where it draws randomness (key exchange, signatures, the hellos' random bytes).

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use super::{key_exchange, signing};
use crate::randomness::Randomness;

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    Arc::new(CryptoProvider {
        kx_groups: key_exchange::GROUPS.to_vec(),
        secure_random: &Seeded,
        key_provider: &Seeded,
        ..rustls::crypto::ring::default_provider()
    })
});

/// The provider of all connections; it holds no state.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

#[derive(Debug)]
struct Seeded;

impl SecureRandom for Seeded {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        Randomness::current().map_err(|_| GetRandomFailed)?.fill(bytes);
        Ok(())
    }
}

impl KeyProvider for Seeded {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        signing::load(&key)
    }
}
