//! TLS and SASL for both ends of a connection, whose randomness comes from a seed, and the certificates they
//! need. Nothing here knows of Kafka or Kubernetes.
//!
//! * [`Randomness`]: a seeded stream; every connection has one of its own.
//! * [`tls`]: acceptor and connector over any stream, and why a handshake failed.
//! * [`sasl`]: PLAIN and SCRAM as state machines, for both ends.
//! * [`certificate`]: authorities and certificates from a seed; what a certificate says.
//!
//! The same seed and the same bytes from the peer give the same bytes on the wire (see
//! `docs/decisions/008-deterministic-tls.md`). Left out: session resumption (a broker offers none by default),
//! revocation lists, OCSP, SCRAM channel binding, GSSAPI and OAUTHBEARER.

pub mod certificate;
mod randomness;
pub mod sasl;
pub mod tls;

pub use randomness::{Randomness, RandomnessError};
