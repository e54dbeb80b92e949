//! What became of an attempt, in the words that `hopwise check` reports, and how socket errors map onto them.
//!
//! An outcome tells how far the attempt came, not what the broker decided: a broker that answers with an error
//! code was reached, so its outcome is [`Outcome::Ok`] beside that code (authorisation errors apart).

use std::fmt;
use std::io;

use hopwise_security::tls::TlsFailure;
use kafka_protocol::ResponseError;

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The right peer answered in the right protocol.
    Ok,
    /// The name does not resolve.
    NameNotFound,
    /// Refused, reset, or closed by the peer before it answered.
    Refused,
    /// No answer within the time given.
    Timeout,
    /// No route, or an ICMP error said so.
    Unreachable,
    /// Another broker than the one that advertised the address answered.
    WrongBroker,
    /// The TLS handshake failed.
    TlsFailed,
    /// The broker wants credentials, or turned them down.
    AuthenticationFailed,
    /// Somebody answered, but not in the protocol spoken.
    ProtocolMismatch,
    /// There is no address to try.
    NotExposed,
}

impl Outcome {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::NameNotFound => "name-not-found",
            Outcome::Refused => "refused",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable => "unreachable",
            Outcome::WrongBroker => "wrong-broker",
            Outcome::TlsFailed => "tls-failed",
            Outcome::AuthenticationFailed => "authentication-failed",
            Outcome::ProtocolMismatch => "protocol-mismatch",
            Outcome::NotExposed => "not-exposed",
        }
    }

    /// The outcome a socket error means.
    ///
    /// A reset and an unexpected end count as refused: the peer, or a device that speaks for it, ended the
    /// connection. An error that fits nothing else counts as unreachable.
    pub fn of_io(error: &io::Error) -> Outcome {
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::WriteZero
            | io::ErrorKind::UnexpectedEof => Outcome::Refused,
            io::ErrorKind::TimedOut => Outcome::Timeout,
            _ => Outcome::Unreachable,
        }
    }

    /// The outcome a failed look-up means: only silence is a time-out, the rest is a name that does not resolve.
    pub fn of_lookup(error: &io::Error) -> Outcome {
        match error.kind() {
            io::ErrorKind::TimedOut => Outcome::Timeout,
            _ => Outcome::NameNotFound,
        }
    }

    /// The outcome that a Kafka error code in an answer means.
    ///
    /// Codes about credentials and permissions are [`Outcome::AuthenticationFailed`]; with any other code the
    /// broker was reached.
    pub fn of_code(code: i16) -> Outcome {
        use ResponseError as E;
        match E::try_from_code(code) {
            Some(
                E::TopicAuthorizationFailed
                | E::GroupAuthorizationFailed
                | E::ClusterAuthorizationFailed
                | E::UnsupportedSaslMechanism
                | E::IllegalSaslState
                | E::SaslAuthenticationFailed,
            ) => Outcome::AuthenticationFailed,
            _ => Outcome::Ok,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An attempt that got no usable answer: its outcome, and for people what exactly was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{outcome}: {explanation}")]
pub struct Failure {
    /// How far it came; never [`Outcome::Ok`].
    pub outcome: Outcome,
    /// What was seen, in a sentence.
    pub explanation: String,
    /// Why TLS failed, if it did.
    pub tls: Option<TlsFailure>,
}

impl Failure {
    /// A failure with its explanation.
    pub fn new(outcome: Outcome, explanation: impl Into<String>) -> Self {
        Failure { outcome, explanation: explanation.into(), tls: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_errors_map_onto_the_report_s_words() {
        let word = |kind| Outcome::of_io(&io::Error::from(kind)).as_str();
        assert_eq!(word(io::ErrorKind::ConnectionRefused), "refused");
        assert_eq!(word(io::ErrorKind::ConnectionReset), "refused");
        assert_eq!(word(io::ErrorKind::UnexpectedEof), "refused");
        assert_eq!(word(io::ErrorKind::TimedOut), "timeout");
        assert_eq!(word(io::ErrorKind::HostUnreachable), "unreachable");
        assert_eq!(word(io::ErrorKind::NetworkUnreachable), "unreachable");
    }

    #[test]
    fn only_codes_about_credentials_are_not_ok() {
        assert_eq!(Outcome::of_code(0), Outcome::Ok);
        assert_eq!(Outcome::of_code(6), Outcome::Ok);
        assert_eq!(Outcome::of_code(31), Outcome::AuthenticationFailed);
        assert_eq!(Outcome::of_code(58), Outcome::AuthenticationFailed);
    }
}
