//! SASL for both ends, as state machines that take and give tokens: PLAIN (RFC 4616), SCRAM-SHA-256 (RFC 7677)
//! and SCRAM-SHA-512 on the messages of RFC 5802.
//!
//! User names and passwords are taken as they are, without SASLprep, as Kafka's own implementation does. No
//! channel binding. Extensions of SCRAM messages are ignored, except mandatory ones, which are refused.

mod client;
mod plain;
mod scram;
mod server;

use std::fmt;
use std::str::FromStr;

pub use client::{ClientSession, ClientStep, Login};
pub use scram::credential::{ITERATIONS_DEFAULT, ITERATIONS_MAX, ScramCredential};
pub use server::{ServerSession, ServerStep, Users};

/// How a user proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// The password as it is.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = SaslError;

    fn from_str(name: &str) -> Result<Mechanism, SaslError> {
        [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512]
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
            .ok_or_else(|| SaslError::UnknownMechanism(name.to_owned()))
    }
}

/// Why an authentication ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// No user of that name, or not that password. A server does not say which.
    #[error("the user or the password is wrong")]
    WrongCredentials,
    /// The server does not know the password either: it is not who it says.
    #[error("the server does not prove that it knows the password")]
    ServerUnproven,
    /// A message that the mechanism does not have.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// A mechanism that is not spoken here.
    #[error("unknown mechanism {0:?}")]
    UnknownMechanism(String),
    /// The other end's own words.
    #[error("refused: {0}")]
    Refused(String),
}
