//! Who a client is: what a connection may do before it has authenticated, and the two requests by which it
//! does.
//!
//! On a listener with `sasl` only ApiVersions, SaslHandshake and SaslAuthenticate are answered before a client
//! has authenticated; anything else ends the connection (redpanda.md 5, row 26). After SaslHandshake
//! version 0 the tokens come without Kafka's headers, each behind its length (clients.md; KIP-43); after version 1 in SaslAuthenticate (KIP-152).
//! A failed authentication is answered with SASL_AUTHENTICATION_FAILED, and whatever the client sends next ends the
//! connection, as in Redpanda. It is not closed behind the answer: clients that find the end together with the
//! answer throw the answer away (kafka-python 3.0) and would not learn why. A failed token without headers can only
//! be answered by the end. A client may authenticate again (KIP-368), as the same user. Where
//! `kafka_sasl_max_reauth_ms` is set it has to within that time, which it is told; a connection that is used for
//! anything else later ends.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hopwise_security::certificate::Facts;
use hopwise_security::sasl::{Mechanism, SaslError, ServerSession, ServerStep};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use tokio::time::Instant;

use super::principal::Principal;
use super::{ConnectionError, Session, decode, encode, guard, text, versions};
use crate::config::Authentication;
use crate::security::service_users;
use crate::security::users::{ClusterUsers, mechanisms};

/// Largest token without Kafka's headers; a longer one ends the connection.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// What a connection may do.
pub(super) struct Gate {
    state: State,
    /// When the client has to have authenticated again; `None` for never.
    ends: Option<Instant>,
}

enum State {
    /// Everything: nobody has to authenticate, or the client has.
    Open,
    /// To authenticate.
    Closed,
    /// To go on authenticating.
    Authenticating { session: ServerSession, raw: bool },
    /// Nothing more: it was told that it has failed.
    Failed,
}

/// What became of a frame.
pub(super) enum Passed {
    /// It is a request to answer.
    Through(Bytes),
    /// It was about authentication; this is the answer, framed.
    Answered(Bytes),
}

impl Gate {
    /// The gate of a new connection. With `mtls_identity` the certificate that was shown in the handshake tells
    /// who the client is.
    pub fn of(session: &Session, certificate: Option<&[u8]>) -> Result<Gate, ConnectionError> {
        let state = match session.listener.authentication {
            Authentication::None | Authentication::HttpBasic => State::Open,
            Authentication::Sasl => State::Closed,
            Authentication::MtlsIdentity => {
                let user = certified_user(session, certificate).map_err(ConnectionError::Unauthenticated)?;
                authenticated(session, user)?;
                State::Open
            }
        };
        Ok(Gate { state, ends: None })
    }

    /// Takes a frame.
    pub fn take(&mut self, session: &Session, frame: Bytes) -> Result<Passed, ConnectionError> {
        match &self.state {
            State::Authenticating { raw: true, .. } => {
                return self.take_raw(session, &frame).map(Passed::Answered);
            }
            State::Failed => return Err(ConnectionError::Refused),
            State::Open | State::Closed | State::Authenticating { .. } => {}
        }
        let [k0, k1, v0, v1, ..] = frame[..] else { return Ok(Passed::Through(frame)) };
        let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
        let api =
            versions::offered(key).filter(|offered| offered.answers(version)).map(|offered| offered.key);
        match api {
            Some(ApiKey::SaslHandshake) => self.handshake(session, frame, version).map(Passed::Answered),
            Some(ApiKey::SaslAuthenticate) => {
                self.authenticate(session, frame, version).map(Passed::Answered)
            }
            // Also in a version that is not offered, which is answered with the versions that are.
            _ if key == ApiKey::ApiVersions as i16 => Ok(Passed::Through(frame)),
            _ if self.ends.is_some_and(|ends| ends <= Instant::now()) => {
                session.node.metrics.sasl_sessions_expired.add(1);
                let why = "the session has ended, and the client did not authenticate again";
                Err(ConnectionError::Unauthenticated(why.to_owned()))
            }
            _ if matches!(self.state, State::Open) => Ok(Passed::Through(frame)),
            _ => Err(ConnectionError::Unauthenticated(format!("api key {key} without credentials"))),
        }
    }

    /// Whether the next frame is a token without Kafka's header.
    pub fn takes_tokens(&self) -> bool {
        matches!(self.state, State::Authenticating { raw: true, .. })
    }

    fn handshake(&mut self, session: &Session, frame: Bytes, version: i16) -> Result<Bytes, ConnectionError> {
        let api = ApiKey::SaslHandshake;
        let (correlation_id, request) = read::<SaslHandshakeRequest>(api, version, frame)?;
        let offered = mechanisms(&session.node);
        let wanted = request.mechanism.parse::<Mechanism>().ok().filter(|wanted| offered.contains(wanted));
        let error = match wanted {
            _ if session.listener.authentication != Authentication::Sasl => {
                Some(ResponseError::IllegalSaslState)
            }
            None => Some(ResponseError::UnsupportedSaslMechanism),
            Some(mechanism) => {
                if matches!(self.state, State::Open) {
                    session.node.metrics.sasl_reauthentications.add(1);
                }
                let session = ServerSession::new(mechanism, &session.node.randomness);
                self.state = State::Authenticating { session, raw: version == 0 };
                None
            }
        };
        let response = SaslHandshakeResponse::default()
            .with_error_code(error.map_or(0, |error| error.code()))
            .with_mechanisms(offered.into_iter().map(|mechanism| text(mechanism.name())).collect());
        encode(api, version, correlation_id, &response)
    }

    fn authenticate(
        &mut self,
        session: &Session,
        frame: Bytes,
        version: i16,
    ) -> Result<Bytes, ConnectionError> {
        let api = ApiKey::SaslAuthenticate;
        let (correlation_id, request) = read::<SaslAuthenticateRequest>(api, version, frame)?;
        let response = match &self.state {
            State::Authenticating { .. } => match self.step(session, &request.auth_bytes) {
                Ok(token) => {
                    let left = self.ends.filter(|_| matches!(self.state, State::Open));
                    let left = left.map_or(Duration::ZERO, |ends| ends - Instant::now());
                    SaslAuthenticateResponse::default()
                        .with_auth_bytes(token)
                        .with_session_lifetime_ms(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
                }
                Err(why) => self.fail(session, ResponseError::SaslAuthenticationFailed, &why),
            },
            State::Open | State::Closed | State::Failed => {
                let why = "SaslHandshake comes before SaslAuthenticate";
                self.fail(session, ResponseError::IllegalSaslState, why)
            }
        };
        encode(api, version, correlation_id, &response)
    }

    fn take_raw(&mut self, session: &Session, token: &[u8]) -> Result<Bytes, ConnectionError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(ConnectionError::Malformed(format!("a SASL token of {} bytes", token.len())));
        }
        let answer = self.step(session, token).map_err(ConnectionError::Unauthenticated)?;
        let length =
            u32::try_from(answer.len()).map_err(|error| ConnectionError::Encode(error.to_string()))?;
        let mut framed = BytesMut::with_capacity(answer.len() + 4);
        framed.put_u32(length);
        framed.put_slice(&answer);
        Ok(framed.freeze())
    }

    /// One message of the mechanism.
    fn step(&mut self, session: &Session, token: &[u8]) -> Result<Bytes, String> {
        let State::Authenticating { session: mut exchange, raw } =
            std::mem::replace(&mut self.state, State::Closed)
        else {
            return Err("there is no handshake to go on with".to_owned());
        };
        match exchange.step(token, &ClusterUsers(&session.node)).map_err(|error| told(&error))? {
            ServerStep::Challenge(challenge) => {
                self.state = State::Authenticating { session: exchange, raw };
                Ok(challenge.into())
            }
            ServerStep::Done { token, user } => {
                authenticated(session, user).map_err(|error| error.to_string())?;
                self.state = State::Open;
                self.ends = lifetime(session).map(|lifetime| Instant::now() + lifetime);
                Ok(token.into())
            }
        }
    }

    /// The answer that tells the client that it has failed.
    fn fail(&mut self, session: &Session, error: ResponseError, why: &str) -> SaslAuthenticateResponse {
        self.state = State::Failed;
        session.count_unauthenticated(why);
        SaslAuthenticateResponse::default().with_error_code(error.code()).with_error_message(Some(text(why)))
    }
}

/// How long a client's authentication lasts; `None` for ever.
fn lifetime(session: &Session) -> Option<Duration> {
    let max_ms: u64 = session.number("kafka_sasl_max_reauth_ms", 0);
    (max_ms > 0).then(|| Duration::from_millis(max_ms))
}

/// What a client is told: nothing about which users there are.
fn told(error: &SaslError) -> String {
    match error {
        SaslError::WrongCredentials => "SASL authentication failed: invalid credentials".to_owned(),
        other => format!("SASL authentication failed: {other}"),
    }
}

/// The connection belongs to a user from now on; it cannot change hands (KIP-368).
fn authenticated(session: &Session, user: String) -> Result<(), ConnectionError> {
    let principal = Principal::User(user);
    if *session.connection.principal.get_or_init(|| principal.clone()) == principal {
        return Ok(());
    }
    Err(ConnectionError::Unauthenticated("the connection belongs to another user".to_owned()))
}

fn certified_user(session: &Session, certificate: Option<&[u8]>) -> Result<String, String> {
    let certificate = certificate.ok_or("the client has shown no certificate")?;
    let subject = Facts::of_der(certificate).map_err(|error| error.to_string())?.subject;
    let rules = &session.node.config.security.principal_rules;
    let user = rules.user(&subject);
    let user = user.ok_or_else(|| format!("no mapping rule matches the subject {subject:?}"))?;
    service_users::unless_service(user)
}

fn read<T: kafka_protocol::protocol::Decodable>(
    api: ApiKey,
    version: i16,
    mut frame: Bytes,
) -> Result<(i32, T), ConnectionError> {
    guard::check(api, version, &frame).map_err(|error| ConnectionError::Malformed(error.to_string()))?;
    let header: RequestHeader = decode(&mut frame, api.request_header_version(version))?;
    Ok((header.correlation_id, decode(&mut frame, version)?))
}
