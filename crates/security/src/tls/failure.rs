//! Why a handshake did not succeed, told apart as far as an end can tell.
//!
//! In TLS 1.3 a client has finished its handshake before the server judges the client's certificate; the
//! refusal then arrives with the first read, which [`TlsFailure::in_error`] recognizes.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// How a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The peer's certificate is for other names.
    #[error("the certificate is not valid for {expected:?}, only for: {}", presented.join(", "))]
    WrongName {
        /// The name that was dialled.
        expected: String,
        /// The names of the certificate.
        presented: Vec<String>,
    },
    /// No authority that this end trusts has signed the peer's certificate.
    #[error("the certificate is signed by an unknown authority")]
    UnknownAuthority,
    /// The peer's certificate is no longer valid.
    #[error("the certificate has expired")]
    Expired,
    /// The peer's certificate is not valid yet.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// The peer's certificate cannot be used for another reason.
    #[error("the certificate cannot be used: {0}")]
    BadCertificate(String),
    /// What the peer sent is not TLS.
    #[error("the peer does not speak TLS")]
    NotTls,
    /// The peer closed the connection in the middle of the handshake without a word, as one that takes a
    /// hello for garbage does.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The server wants a certificate and the client has shown none.
    #[error("the server wants a client certificate and got none")]
    ClientCertificateMissing,
    /// The peer does not accept this end's certificate.
    #[error("the peer refuses the certificate: {0}")]
    CertificateRefused(String),
    /// No version of the protocol that both ends speak.
    #[error("the two ends have no protocol version in common")]
    ProtocolVersion,
    /// The connection failed underneath.
    #[error("the connection failed: {0}")]
    Connection(io::ErrorKind),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl TlsFailure {
    /// The failure in an error of a TLS stream; `None` if the error is of another kind.
    pub fn in_error(error: &io::Error) -> Option<TlsFailure> {
        let inner = error.get_ref()?.downcast_ref::<Error>()?;
        Some(TlsFailure::of(inner))
    }

    pub(super) fn of_handshake(error: &io::Error) -> TlsFailure {
        TlsFailure::in_error(error).unwrap_or(match error.kind() {
            io::ErrorKind::UnexpectedEof => TlsFailure::Closed,
            kind => TlsFailure::Connection(kind),
        })
    }

    fn of(error: &Error) -> TlsFailure {
        match error {
            Error::InvalidCertificate(error) => TlsFailure::of_certificate(error),
            Error::NoCertificatesPresented => TlsFailure::ClientCertificateMissing,
            // What begins a record is checked before anything else.
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => TlsFailure::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => TlsFailure::ProtocolVersion,
            Error::AlertReceived(alert) => TlsFailure::of_alert(*alert),
            other => TlsFailure::Other(other.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> TlsFailure {
        match error {
            CertificateError::NotValidForNameContext { expected, presented } => TlsFailure::WrongName {
                expected: expected.to_str().into_owned(),
                presented: presented.iter().map(|name| plain_name(name)).collect(),
            },
            CertificateError::UnknownIssuer => TlsFailure::UnknownAuthority,
            // A certificate of the right name signed by another key: the authority was replaced.
            CertificateError::BadSignature => TlsFailure::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFailure::NotYetValid
            }
            other => TlsFailure::BadCertificate(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription) -> TlsFailure {
        match alert {
            AlertDescription::ProtocolVersion => TlsFailure::ProtocolVersion,
            AlertDescription::CertificateRequired => TlsFailure::ClientCertificateMissing,
            AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => TlsFailure::CertificateRefused(format!("{alert:?}")),
            other => TlsFailure::Other(format!("the peer sent the alert {other:?}")),
        }
    }
}

/// webpki writes names as its own debug output.
fn plain_name(name: &str) -> String {
    match name.split_once('(') {
        Some((_, inner)) => inner.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.to_owned(),
    }
}
