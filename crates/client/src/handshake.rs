//! The first exchanges on a connection: ApiVersions (KIP-35, KIP-511), which tells what the broker speaks, and
//! for a client with credentials SASL (KIP-43, KIP-152).

use std::collections::BTreeMap;

use bytes::Bytes;
use hopwise_engine::Span;
use hopwise_security::Randomness;
use hopwise_security::sasl::{ClientSession, ClientStep, Login};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Request, StrBytes, VersionRange};

use crate::connection::{Connection, Unanswered};
use crate::{Failure, Outcome, Security, frame};

/// UNSUPPORTED_VERSION (Kafka protocol guide, error codes).
const UNSUPPORTED_VERSION: i16 = 35;

/// The newest version of ApiVersions that is asked. This and the newest versions of the other requests are those
/// that Wireshark 4.0 dissects, so that captures can be read; they hold everything that routing needs.
const API_VERSIONS_VERSION_MAX: i16 = 3;

/// The API versions a broker offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiVersions(BTreeMap<i16, (i16, i16)>);

impl ApiVersions {
    /// The least and greatest version offered of an API key.
    pub fn range(&self, api_key: i16) -> Option<(i16, i16)> {
        self.0.get(&api_key).copied()
    }

    /// Each API key with its least and greatest version.
    pub fn iter(&self) -> impl Iterator<Item = (i16, i16, i16)> + '_ {
        self.0.iter().map(|(&key, &(least, greatest))| (key, least, greatest))
    }

    /// The newest version of `R` that broker and client share, not above `newest`.
    pub(crate) fn pick<R: Request>(&self, newest: i16) -> Result<i16, Failure> {
        let ours = VersionRange { min: R::VERSIONS.min, max: R::VERSIONS.max.min(newest) };
        let offered = self.range(R::KEY);
        let shared = offered.map(|(min, max)| ours.intersect(&VersionRange { min, max }));
        match shared.filter(|range| !range.is_empty()) {
            Some(range) => Ok(range.max),
            None => Err(Failure::new(
                Outcome::ProtocolMismatch,
                format!(
                    "the client speaks API key {} in versions {ours}, the broker offers {}",
                    R::KEY,
                    offered.map_or("none".to_owned(), |(least, greatest)| format!("{least}..{greatest}"))
                ),
            )),
        }
    }
}

/// What the handshake gave.
pub(crate) struct Handshake {
    pub versions: ApiVersions,
    pub took: Span,
}

/// Asks for the versions in the newest form known, and in version 0 if the broker does not know that form.
///
/// A client with credentials then logs in.
pub(crate) async fn shake(connection: &Connection, security: &Security) -> Result<Handshake, Unanswered> {
    let mut shaken = ask_versions(connection).await?;
    if let Some((login, randomness)) = &security.login {
        shaken.took = shaken.took + log_in(connection, &shaken.versions, login, randomness).await?;
    }
    Ok(shaken)
}

async fn ask_versions(connection: &Connection) -> Result<Handshake, Unanswered> {
    let newest = API_VERSIONS_VERSION_MAX;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("hopwise"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let first = connection.exchange(&request, newest, true, connection.request_timeout()).await?;
    // The header of this response has version 0 in every version, so the error code is at a fixed place; an
    // unsupported version is answered in the form of version 0 (KIP-511).
    let unsupported = first.response.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes()[..]);
    let (response, route, took) = if unsupported {
        let second = connection.request(&ApiVersionsRequest::default(), 0).await?;
        (second.response, second.route, first.took + second.took)
    } else {
        let (route, took) = (first.route, first.took);
        match frame::decode::<ApiVersionsRequest>(first.response, newest) {
            Ok(response) => (response, route, took),
            Err(failure) => return Err(Unanswered { failure, route, took }),
        }
    };
    if response.error_code != 0 {
        let code = response.error_code;
        let outcome = match Outcome::of_code(code) {
            Outcome::Ok => Outcome::ProtocolMismatch,
            outcome => outcome,
        };
        let failure = Failure::new(outcome, format!("the broker answers ApiVersions with error {code}"));
        return Err(Unanswered { failure, route, took });
    }
    Ok(Handshake { versions: offered(&response), took })
}

/// The newest versions of the two requests that are used.
const SASL_HANDSHAKE_VERSION: i16 = 1;
const SASL_AUTHENTICATE_VERSION_MAX: i16 = 2;

async fn log_in(
    connection: &Connection,
    versions: &ApiVersions,
    login: &Login,
    randomness: &Randomness,
) -> Result<Span, Unanswered> {
    let failed = |failure, route, took| Unanswered { failure, route, took };
    let version = versions
        .pick::<SaslAuthenticateRequest>(SASL_AUTHENTICATE_VERSION_MAX)
        .map_err(|failure| failed(failure, None, Span::ZERO))?;
    let mechanism = StrBytes::from_static_str(login.mechanism().name());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    let shaken = connection.request(&request, SASL_HANDSHAKE_VERSION).await?;
    let mut took = shaken.took;
    if shaken.response.error_code != 0 {
        let offered: Vec<&str> = shaken.response.mechanisms.iter().map(|name| name.as_str()).collect();
        let (meaning, offered) = (crate::error::meaning(shaken.response.error_code), offered.join(", "));
        let explanation =
            format!("the broker does not take {}: {meaning}; it offers {offered}", login.mechanism());
        return Err(failed(Failure::new(Outcome::AuthenticationFailed, explanation), shaken.route, took));
    }
    let (mut session, mut token) = ClientSession::start(login.clone(), randomness);
    loop {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
        let answer = connection.request(&request, version).await?;
        took = took + answer.took;
        let refused = |why: String| {
            let explanation = format!("user {:?} is not let in: {why}", login.user());
            failed(Failure::new(Outcome::AuthenticationFailed, explanation), answer.route.clone(), took)
        };
        if answer.response.error_code != 0 {
            let message = answer.response.error_message.as_ref().map(|message| message.to_string());
            return Err(refused(
                message.unwrap_or_else(|| crate::error::meaning(answer.response.error_code)),
            ));
        }
        match session.step(&answer.response.auth_bytes).map_err(|error| refused(error.to_string()))? {
            ClientStep::Respond(next) => token = next,
            ClientStep::Done => return Ok(took),
        }
    }
}

fn offered(response: &ApiVersionsResponse) -> ApiVersions {
    ApiVersions(
        response.api_keys.iter().map(|key| (key.api_key, (key.min_version, key.max_version))).collect(),
    )
}
