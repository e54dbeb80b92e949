//! What a server keeps of a password (RFC 5802, section 3), and the calculations of both ends.

use hmac::{Hmac, KeyInit, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256, Sha512};

use crate::randomness::Randomness;
use crate::sasl::{Mechanism, SaslError};

/// Rounds of the salted password's calculation, unless something else is asked for; also the least that is
/// accepted (RFC 7677, section 4).
pub const ITERATIONS_DEFAULT: u32 = 4096;

/// The most rounds that a client lets a server ask of it, and a server lets somebody store.
pub const ITERATIONS_MAX: u32 = 16_384;

/// Bytes of a new salt.
const SALT_BYTES: usize = 16;

/// What a server keeps of a password: enough to check it, not enough to log in elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramCredential {
    /// One of the two SCRAM mechanisms.
    pub mechanism: Mechanism,
    /// The salt.
    pub salt: Vec<u8>,
    /// The number of rounds.
    pub iterations: u32,
    /// The hash of the client's key.
    pub stored_key: Vec<u8>,
    /// The server's key.
    pub server_key: Vec<u8>,
}

impl ScramCredential {
    /// The credential of a password, with a salt from `randomness`. PLAIN is kept as SCRAM-SHA-256 is.
    pub fn new(mechanism: Mechanism, password: &str, iterations: u32, randomness: &Randomness) -> Self {
        ScramCredential::with_salt(mechanism, password, iterations, randomness.bytes(SALT_BYTES))
    }

    /// The credential of a password and a salt.
    pub fn with_salt(mechanism: Mechanism, password: &str, iterations: u32, salt: Vec<u8>) -> Self {
        let mechanism = match mechanism {
            Mechanism::ScramSha512 => Mechanism::ScramSha512,
            _ => Mechanism::ScramSha256,
        };
        ScramCredential::of_salted(
            mechanism,
            &salted(mechanism, password, &salt, iterations),
            salt,
            iterations,
        )
    }

    /// The credential of a password that is already salted, as clients send it that set a user's password.
    pub fn of_salted(mechanism: Mechanism, salted: &[u8], salt: Vec<u8>, iterations: u32) -> Self {
        let client_key = hmac(mechanism, salted, b"Client Key");
        ScramCredential {
            mechanism,
            salt,
            iterations,
            stored_key: hash(mechanism, &client_key),
            server_key: hmac(mechanism, salted, b"Server Key"),
        }
    }

    /// Whether this is the password.
    pub fn matches(&self, password: &str) -> bool {
        let salted = salted(self.mechanism, password, &self.salt, self.iterations);
        let client_key = hmac(self.mechanism, &salted, b"Client Key");
        same(&hash(self.mechanism, &client_key), &self.stored_key)
    }

    /// Whether a client's proof shows that it knows the password.
    pub(crate) fn accepts(&self, proof: &[u8], auth_message: &[u8]) -> bool {
        let signature = hmac(self.mechanism, &self.stored_key, auth_message);
        if proof.len() != signature.len() {
            return false;
        }
        let client_key = xor(proof, &signature);
        same(&hash(self.mechanism, &client_key), &self.stored_key)
    }

    /// The server's proof.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> Vec<u8> {
        hmac(self.mechanism, &self.server_key, auth_message)
    }
}

/// The client's proof, and the signature that the server must answer with.
pub(crate) fn client_proof(mechanism: Mechanism, salted: &[u8], auth_message: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let client_key = hmac(mechanism, salted, b"Client Key");
    let signature = hmac(mechanism, &hash(mechanism, &client_key), auth_message);
    let server_key = hmac(mechanism, salted, b"Server Key");
    (xor(&client_key, &signature), hmac(mechanism, &server_key, auth_message))
}

/// `Hi` of RFC 5802.
pub(crate) fn salted(mechanism: Mechanism, password: &str, salt: &[u8], iterations: u32) -> Vec<u8> {
    match mechanism {
        Mechanism::ScramSha512 => {
            let mut salted = vec![0; 64];
            pbkdf2_hmac::<Sha512>(password.as_bytes(), salt, iterations, &mut salted);
            salted
        }
        _ => {
            let mut salted = vec![0; 32];
            pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
            salted
        }
    }
}

/// Whether the number of rounds is one that is worked with.
pub(crate) fn check_iterations(iterations: u32) -> Result<u32, SaslError> {
    if (1..=ITERATIONS_MAX).contains(&iterations) {
        return Ok(iterations);
    }
    Err(SaslError::Malformed("the number of iterations is out of bounds"))
}

fn hash(mechanism: Mechanism, bytes: &[u8]) -> Vec<u8> {
    match mechanism {
        Mechanism::ScramSha512 => Sha512::digest(bytes).to_vec(),
        _ => Sha256::digest(bytes).to_vec(),
    }
}

fn hmac(mechanism: Mechanism, key: &[u8], bytes: &[u8]) -> Vec<u8> {
    fn with<M: Mac + KeyInit>(key: &[u8], bytes: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length.
        let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Vec::new() };
        mac.update(bytes);
        mac.finalize().into_bytes().to_vec()
    }
    match mechanism {
        Mechanism::ScramSha512 => with::<Hmac<Sha512>>(key, bytes),
        _ => with::<Hmac<Sha256>>(key, bytes),
    }
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

/// Compares in a time that does not depend on where the first difference is.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_knows_its_password_alone() {
        for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha512] {
            let randomness = Randomness::from_seed(1);
            let credential = ScramCredential::new(mechanism, "pencil", ITERATIONS_DEFAULT, &randomness);
            assert!(credential.matches("pencil"));
            assert!(!credential.matches("pencil "));
            let again =
                ScramCredential::new(mechanism, "pencil", ITERATIONS_DEFAULT, &Randomness::from_seed(1));
            assert_eq!(credential, again);
            assert_ne!(
                credential.salt,
                ScramCredential::new(mechanism, "pencil", ITERATIONS_DEFAULT, &randomness).salt
            );
        }
    }
}
