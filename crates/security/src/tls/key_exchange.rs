//! Key exchange over X25519 and P-256 whose ephemeral keys come from the connection's stream.
//!
//! ring makes its ephemeral keys from the machine alone, which is why these are here. P-384 is left out: every
//! client offers X25519 or P-256.

use p256::PublicKey;
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::ecdh::diffie_hellman;
use p256::elliptic_curve::sec1::ToSec1Point;
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

use crate::randomness::Randomness;

/// In order of preference, as ring's provider has them.
pub(super) static GROUPS: &[&dyn SupportedKxGroup] = &[&X25519, &Secp256r1];

#[derive(Debug)]
struct X25519;

#[derive(Debug)]
struct Secp256r1;

struct X25519Exchange {
    secret: x25519_dalek::StaticSecret,
    public: [u8; 32],
}

struct Secp256r1Exchange {
    secret: p256::SecretKey,
    public: Vec<u8>,
}

fn current() -> Result<Randomness, Error> {
    Randomness::current().map_err(|_| GetRandomFailed.into())
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut bytes = [0; 32];
        current()?.fill(&mut bytes);
        let secret = x25519_dalek::StaticSecret::from(bytes);
        let public = x25519_dalek::PublicKey::from(&secret).to_bytes();
        Ok(Box::new(X25519Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for X25519Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = self.secret.diffie_hellman(&peer.into());
        // RFC 8446, section 7.4.2: an all-zero result is refused.
        if !shared.was_contributory() {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared.to_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl SupportedKxGroup for Secp256r1 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut stream = current()?;
        let secret = p256::SecretKey::generate_from_rng(&mut stream);
        let public = secret.public_key().to_sec1_point(false).as_bytes().to_vec();
        Ok(Box::new(Secp256r1Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

impl ActiveKeyExchange for Secp256r1Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        // RFC 8446, section 4.2.8.2: the uncompressed form, which begins with 4.
        if peer.first() != Some(&4) {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        let peer = PublicKey::from_sec1_bytes(peer).map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        let shared = diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
        Ok(SharedSecret::from(&shared.raw_secret_bytes()[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp256r1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_each_group_agree_and_a_seed_repeats_its_keys() {
        for group in GROUPS {
            let start = |seed| Randomness::from_seed(seed).scope(|| group.start().unwrap());
            let (one, other) = (start(1), start(2));
            assert_eq!(one.pub_key(), start(1).pub_key());
            assert_ne!(one.pub_key(), other.pub_key());
            let (one_public, other_public) = (one.pub_key().to_vec(), other.pub_key().to_vec());
            let one = one.complete(&other_public).unwrap();
            let other = other.complete(&one_public).unwrap();
            assert_eq!(one.secret_bytes(), other.secret_bytes());
        }
    }

    #[test]
    fn our_shares_are_understood_by_ring() {
        for group in GROUPS {
            let ours = Randomness::from_seed(1).scope(|| group.start().unwrap());
            let theirs = rustls::crypto::ring::default_provider();
            let theirs = theirs.kx_groups.iter().find(|other| other.name() == group.name()).unwrap();
            let theirs = theirs.start_and_complete(ours.pub_key()).unwrap();
            let shared = ours.complete(&theirs.pub_key).unwrap();
            assert_eq!(shared.secret_bytes(), theirs.secret.secret_bytes());
        }
    }

    #[test]
    fn bad_shares_and_missing_streams_are_errors() {
        for group in GROUPS {
            assert_eq!(group.start().err(), Some(GetRandomFailed.into()));
            for share in [&[][..], &[0; 32], &[4; 65], &[2; 33]] {
                let exchange = Randomness::from_seed(1).scope(|| group.start().unwrap());
                // 32 bytes of zero are a point of X25519 of low order; the others are no shares at all.
                assert!(exchange.complete(share).is_err(), "{:?} {}", group.name(), share.len());
            }
        }
    }
}
