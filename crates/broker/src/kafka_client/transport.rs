//! From an address to a stream that requests can be sent on: TCP, then TLS, then SASL, as configured.
//!
//! The name in a broker's certificate has to be the one that was dialled. Certificates are read at each
//! connection, so a changed file takes effect for the next one. Source: redpanda.md 2.1 (`broker_tls`,
//! `scram_*`, `sasl_mechanism`); Kafka protocol guide, "SaslAuthenticate".

use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use hopwise_fabric::net::TcpStream;
use hopwise_security::Randomness;
use hopwise_security::sasl::{ClientSession, ClientStep, Login};
use hopwise_security::tls::{ClientSettings, Stream, TlsConnector};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::AsyncWriteExt;

use super::connection::{decode, encode};
use super::error::KafkaError;
use crate::config::{BrokerTls, HostPort};
use crate::rpc::client::connect_any;
use crate::rpc::frame::read_block;
use crate::security::Files;
use crate::start::Clock;

const SASL_HANDSHAKE_VERSION: i16 = 1;
const SASL_AUTHENTICATE_VERSION: i16 = 2;
/// Largest answer during a login, bytes.
const LOGIN_BYTES_MAX: u32 = 64 << 10;
/// Rounds of the longest mechanism, and one to spare.
const LOGIN_ROUNDS_MAX: usize = 4;

/// How connections to brokers are opened.
#[derive(Clone)]
pub(crate) struct Transport {
    pub tls: Option<BrokerTls>,
    pub login: Option<Login>,
    pub files: Files,
    pub clock: Clock,
    pub randomness: Randomness,
}

impl Transport {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`], or SASL_AUTHENTICATION_FAILED.
    pub async fn open(
        &self,
        address: &HostPort,
        client_id: &StrBytes,
    ) -> Result<Stream<TcpStream>, KafkaError> {
        let unreachable = |problem: &dyn std::fmt::Display| KafkaError::Unreachable(problem.to_string());
        let stream = connect_any(address).await.map_err(|error| unreachable(&error))?;
        let mut stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(entry) => {
                let connector = self.connector(entry).map_err(|error| unreachable(&error))?;
                let secured = connector.connect(&address.host, stream).await;
                Stream::Tls(Box::new(secured.map_err(|error| unreachable(&error))?))
            }
        };
        if let Some(login) = &self.login {
            self.log_in(login, &mut stream, client_id).await?;
        }
        Ok(stream)
    }

    fn connector(&self, entry: &BrokerTls) -> Result<TlsConnector, String> {
        let file = |path: &Option<String>| match path {
            None => Ok(None),
            Some(path) => {
                let content = (self.files)(Path::new(path));
                content.map(|bytes| Some(bytes.to_vec())).ok_or_else(|| format!("{path} is missing"))
            }
        };
        let settings = ClientSettings {
            authorities: file(&entry.truststore_file)?,
            identity: file(&entry.cert_file)?.zip(file(&entry.key_file)?),
            ..ClientSettings::default()
        };
        let clock = Arc::clone(&self.clock);
        TlsConnector::new(&settings, clock, self.randomness.fork()).map_err(|error| error.to_string())
    }

    async fn log_in(
        &self,
        login: &Login,
        stream: &mut Stream<TcpStream>,
        client_id: &StrBytes,
    ) -> Result<(), KafkaError> {
        let mechanism = StrBytes::from_static_str(login.mechanism().name());
        let handshake = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let answer = exchange(stream, &handshake, SASL_HANDSHAKE_VERSION, client_id).await?;
        KafkaError::check(answer.error_code, None)?;
        let (mut session, mut token) = ClientSession::start(login.clone(), &self.randomness);
        for _ in 0..LOGIN_ROUNDS_MAX {
            let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
            let answer = exchange(stream, &request, SASL_AUTHENTICATE_VERSION, client_id).await?;
            KafkaError::check(answer.error_code, answer.error_message.as_deref())?;
            let refused = |error: &dyn std::fmt::Display| {
                KafkaError::refused(ResponseError::SaslAuthenticationFailed, error.to_string())
            };
            match session.step(&answer.auth_bytes).map_err(|error| refused(&error))? {
                ClientStep::Done => return Ok(()),
                ClientStep::Respond(next) => token = next,
            }
        }
        Err(KafkaError::Malformed("the login does not end".to_owned()))
    }
}

/// One request and its answer, before anything else is sent.
async fn exchange<R: Request>(
    stream: &mut Stream<TcpStream>,
    request: &R,
    version: i16,
    client_id: &StrBytes,
) -> Result<R::Response, KafkaError> {
    let frame: BytesMut = encode(request, version, client_id)?;
    let unreachable = |error: std::io::Error| KafkaError::Unreachable(error.to_string());
    stream.write_all(&frame).await.map_err(unreachable)?;
    let answer = read_block(stream, LOGIN_BYTES_MAX).await.map_err(unreachable)?;
    // A listener that wants something else, TLS or no SASL, hangs up.
    let closed = || KafkaError::Unreachable("the broker closed the connection during the login".to_owned());
    let answer = answer.filter(|answer| answer.has_remaining()).ok_or_else(closed)?;
    decode::<R>(answer, version)
}
