//! How a client protects its connections and says who it is.

use std::io;

use hopwise_fabric::Route;
use hopwise_fabric::net::TcpStream;
use hopwise_security::Randomness;
use hopwise_security::sasl::Login;
use hopwise_security::tls::{TlsConnector, TlsFailure};

use crate::{Failure, Outcome};

/// A connection, with or without TLS.
pub(crate) type Stream = hopwise_security::tls::Stream<TcpStream>;

/// What a client does beyond connecting. The default is plain text without credentials.
#[derive(Clone, Default)]
pub struct Security {
    /// Speaks TLS by this.
    pub tls: Option<TlsConnector>,
    /// The name that certificates must be valid for, if it is another than the host that is dialled.
    pub server_name: Option<String>,
    /// Logs in as this user: by SASL to Kafka listeners, by HTTP basic authentication to the others; nonces come
    /// from the stream beside it.
    pub login: Option<(Login, Randomness)>,
}

/// The route that a connection has taken, if the fabric tells.
pub(crate) fn route(stream: &Stream) -> Option<Route> {
    stream.get_ref().route()
}

impl Security {
    /// Shakes hands, if the client speaks TLS.
    pub(crate) async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Stream, (Failure, Option<Route>)> {
        let Some(connector) = &self.tls else { return Ok(Stream::Plain(stream)) };
        let route = stream.route();
        let name = self.server_name.as_deref().unwrap_or(host);
        match connector.connect(name, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(failure) => Err((Failure::of_tls(failure), route)),
        }
    }
}

impl Failure {
    /// A handshake that failed.
    pub(crate) fn of_tls(failure: TlsFailure) -> Failure {
        let outcome = match &failure {
            TlsFailure::NotTls | TlsFailure::Closed => Outcome::ProtocolMismatch,
            TlsFailure::Connection(kind) => Outcome::of_io(&io::Error::from(*kind)),
            _ => Outcome::TlsFailed,
        };
        Failure { outcome, explanation: format!("the TLS handshake failed: {failure}"), tls: Some(failure) }
    }

    /// A connection that broke; the peer may have said by TLS why.
    pub(crate) fn of_io(error: &io::Error, explanation: impl Into<String>) -> Failure {
        match TlsFailure::in_error(error) {
            Some(failure) => Failure::of_tls(failure),
            None => Failure::new(Outcome::of_io(error), explanation),
        }
    }
}
