//! A Kafka listener: ApiVersions, then Metadata, as every client begins.

use kafka_protocol::messages::MetadataRequest;

use super::{Answer, Exchanged, Trial, TrialOptions, attempt};
use crate::Profile;
use crate::cluster::Cluster;
use crate::connection::{Connection, ConnectionOptions};
use crate::handshake::{self, ApiVersions};
use crate::refresh::metadata_request;
use crate::security::Stream;
use crate::{Failure, HostPort, Outcome};

/// librdkafka's `receive.message.max.bytes`.
const RECEIVE_BYTES_MAX: u32 = 100_000_000;

/// What a Kafka listener answered.
#[derive(Clone, Debug)]
pub struct KafkaAnswer {
    /// The API versions it offers.
    pub versions: ApiVersions,
    /// The brokers it advertises to clients that enter by it, and all topics.
    pub cluster: Cluster,
}

/// Tries a Kafka listener.
///
/// A listener that answers ApiVersions and then ends the connection wants credentials: brokers close a connection
/// whose first other request comes without them (redpanda.md 5, row 26).
pub async fn try_kafka(address: &HostPort, options: &TrialOptions) -> Trial {
    attempt(address, options, async |stream| exchange(stream, options).await).await
}

async fn exchange(stream: Stream, options: &TrialOptions) -> Exchanged {
    let connection = Connection::new(
        stream,
        ConnectionOptions {
            client_id: options.client_id.clone(),
            request_timeout: options.request_timeout,
            max_in_flight: 1,
            receive_bytes_max: RECEIVE_BYTES_MAX,
        },
    );
    let versions = match handshake::shake(&connection, &options.security).await {
        Ok(shaken) => shaken.versions,
        Err(unanswered) => return Exchanged::failed(before_handshake(unanswered.failure), unanswered.route),
    };
    let version = match versions.pick::<MetadataRequest>(Profile::default().behaviour().metadata_version_max)
    {
        Ok(version) => version,
        Err(failure) => return Exchanged::failed(failure, None),
    };
    match connection.request(&metadata_request(None, version), version).await {
        Ok(answer) => match Outcome::of_code(answer.response.error_code) {
            Outcome::Ok => {
                let cluster = Cluster::of(&answer.response);
                Exchanged::ok(Answer::Kafka(KafkaAnswer { versions, cluster }), answer.route)
            }
            outcome => {
                let explanation = crate::error::meaning(answer.response.error_code);
                Exchanged::failed(Failure::new(outcome, explanation), answer.route)
            }
        },
        Err(unanswered) => Exchanged::failed(after_handshake(unanswered.failure), unanswered.route),
    }
}

fn before_handshake(failure: Failure) -> Failure {
    if failure.outcome != Outcome::Refused {
        return failure;
    }
    let Failure { outcome, explanation, .. } = failure;
    Failure::new(
        outcome,
        format!(
            "{explanation}, before it answered ApiVersions: is the listener a Kafka listener, and one without TLS?"
        ),
    )
}

fn after_handshake(failure: Failure) -> Failure {
    if failure.outcome != Outcome::Refused {
        return failure;
    }
    let explanation = format!(
        "{}, after it answered ApiVersions: does the listener want SASL credentials?",
        failure.explanation
    );
    Failure::new(Outcome::AuthenticationFailed, explanation)
}
