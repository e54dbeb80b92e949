//! Where keys, nonces and salts come from: a seeded stream, never the machine, unless it is asked for.
//!
//! rustls draws randomness through `&'static dyn` objects that know nothing of the connection they work for.
//! A connection therefore makes its stream the thread's current one while it is polled ([`Randomness::scope`])
//! and takes it back when the poll returns. Whatever draws outside such a scope gets an error, so that nothing
//! can be random unnoticed.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng, TryCryptoRng, TryRng};

/// Bytes of a nonce before they are written as text. RFC 5802 asks for enough not to be guessed; 24 bytes are
/// 32 characters without padding.
const NONCE_BYTES: usize = 24;

thread_local! {
    static CURRENT: RefCell<Option<Randomness>> = const { RefCell::new(None) };
}

/// A stream of random bytes. Clones draw from the same stream.
#[derive(Clone)]
pub struct Randomness(Arc<Mutex<ChaCha8Rng>>);

/// Randomness was asked for where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomnessError {
    /// A handshake drew outside of [`Randomness::scope`].
    #[error("no stream of random bytes is current on this thread")]
    NoCurrentStream,
    /// The operating system gave none.
    #[error("the machine gives no random bytes")]
    Machine,
}

impl Randomness {
    /// The stream of a seed.
    pub fn from_seed(seed: u64) -> Randomness {
        Randomness(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    /// A stream that the machine seeds, for brokers that are reached from outside a simulation.
    ///
    /// # Errors
    /// [`RandomnessError::Machine`].
    pub fn from_machine() -> Result<Randomness, RandomnessError> {
        let mut seed = [0; 32];
        let machine = rustls::crypto::ring::default_provider().secure_random;
        machine.fill(&mut seed).map_err(|_| RandomnessError::Machine)?;
        Ok(Randomness(Arc::new(Mutex::new(ChaCha8Rng::from_seed(seed)))))
    }

    /// A new stream, seeded from this one: what one connection draws does not shift what another draws.
    pub fn fork(&self) -> Randomness {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Randomness(Arc::new(Mutex::new(ChaCha8Rng::from_seed(seed))))
    }

    /// Fills a buffer.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }

    /// Some bytes.
    pub fn bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.fill(&mut bytes);
        bytes
    }

    /// A SCRAM nonce: printable, without commas (RFC 5802, section 7).
    pub fn nonce(&self) -> String {
        STANDARD_NO_PAD.encode(self.bytes(NONCE_BYTES))
    }

    /// Runs `work` with this stream as the thread's current one.
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _restored = Restored(CURRENT.with(|current| current.replace(Some(self.clone()))));
        work()
    }

    /// The stream whose scope the thread is in.
    pub(crate) fn current() -> Result<Randomness, RandomnessError> {
        CURRENT.with(|current| current.borrow().clone()).ok_or(RandomnessError::NoCurrentStream)
    }
}

impl fmt::Debug for Randomness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Randomness")
    }
}

impl TryRng for Randomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Randomness {}

/// Puts the stream of the surrounding scope back, also when the work panics.
struct Restored(Option<Randomness>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_stream_and_forks_do_not_shift_each_other() {
        let (one, two) = (Randomness::from_seed(7), Randomness::from_seed(7));
        assert_eq!(one.bytes(9), two.bytes(9));
        assert_ne!(Randomness::from_seed(8).bytes(9), Randomness::from_seed(7).bytes(9));
        let (first, second) = (one.fork(), one.fork());
        let first_again = two.fork();
        // What the first fork draws changes nothing for the second.
        assert_eq!(first.bytes(4), first_again.bytes(4));
        first_again.bytes(100);
        assert_eq!(second.bytes(4), two.fork().bytes(4));
    }

    #[test]
    fn the_current_stream_is_that_of_the_innermost_scope() {
        assert_eq!(Randomness::current().unwrap_err(), RandomnessError::NoCurrentStream);
        let (outer, inner) = (Randomness::from_seed(1), Randomness::from_seed(2));
        outer.scope(|| {
            inner.scope(|| {
                let drawn = Randomness::current().unwrap().bytes(4);
                assert_eq!(drawn, Randomness::from_seed(2).bytes(4));
            });
            assert_eq!(Randomness::current().unwrap().bytes(4), Randomness::from_seed(1).bytes(4));
        });
        let unwound = std::panic::catch_unwind(|| Randomness::from_seed(3).scope(|| panic!("on purpose")));
        assert!(unwound.is_err());
        assert!(Randomness::current().is_err());
    }

    #[test]
    fn nonces_are_printable_and_hold_no_comma() {
        let nonce = Randomness::from_seed(1).nonce();
        assert_eq!(nonce.len(), 32);
        assert!(nonce.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b','), "{nonce}");
    }
}
