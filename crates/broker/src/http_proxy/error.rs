//! What the HTTP Proxy answers when it refuses: the codes of redpanda.md 3.3.

use axum::http::StatusCode;
use kafka_protocol::ResponseError;

use crate::kafka_client::KafkaError;

/// The number in the body's `error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    BadRequest,
    Authentication,
    Authorization,
    TopicNotFound,
    PartitionNotFound,
    ConsumerNotFound,
    Serialization,
    ConsumerExists,
    Internal,
    Kafka,
    KafkaRetriable,
    NotImplemented,
    BrokerNotAvailable,
    /// A code that is the HTTP status itself.
    Http(StatusCode),
}

impl ErrorCode {
    pub fn number(self) -> u32 {
        match self {
            ErrorCode::BadRequest => 40002,
            ErrorCode::Authentication => 40101,
            ErrorCode::Authorization => 40301,
            ErrorCode::TopicNotFound => 40401,
            ErrorCode::PartitionNotFound => 40402,
            ErrorCode::ConsumerNotFound => 40403,
            ErrorCode::Serialization => 40801,
            ErrorCode::ConsumerExists => 40902,
            ErrorCode::Internal => 50001,
            ErrorCode::Kafka => 50002,
            ErrorCode::KafkaRetriable => 50003,
            ErrorCode::NotImplemented => 50101,
            ErrorCode::BrokerNotAvailable => 50302,
            ErrorCode::Http(status) => u32::from(status.as_u16()),
        }
    }

    /// The first three digits of the number.
    pub fn status(self) -> StatusCode {
        match self {
            ErrorCode::Http(status) => status,
            code => u16::try_from(code.number() / 100)
                .ok()
                .and_then(|status| StatusCode::from_u16(status).ok())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// What a Kafka error code becomes (Redpanda, `pandaproxy/error.cc`).
    pub fn of_kafka(code: ResponseError) -> ErrorCode {
        use ResponseError as Kafka;
        match code {
            Kafka::UnknownTopicOrPartition => ErrorCode::PartitionNotFound,
            Kafka::UnknownMemberId => ErrorCode::ConsumerNotFound,
            Kafka::NetworkException
            | Kafka::CoordinatorLoadInProgress
            | Kafka::RequestTimedOut
            | Kafka::RebalanceInProgress
            | Kafka::ReassignmentInProgress => ErrorCode::KafkaRetriable,
            Kafka::LeaderNotAvailable
            | Kafka::BrokerNotAvailable
            | Kafka::ReplicaNotAvailable
            | Kafka::PreferredLeaderNotAvailable => ErrorCode::BrokerNotAvailable,
            Kafka::TopicAuthorizationFailed
            | Kafka::GroupAuthorizationFailed
            | Kafka::TransactionalIdAuthorizationFailed
            | Kafka::DelegationTokenAuthorizationFailed
            | Kafka::ClusterAuthorizationFailed => ErrorCode::Authorization,
            Kafka::SaslAuthenticationFailed
            | Kafka::UnsupportedSaslMechanism
            | Kafka::IllegalSaslState
            | Kafka::DelegationTokenAuthDisabled => ErrorCode::Authentication,
            Kafka::NotEnoughReplicas
            | Kafka::CoordinatorNotAvailable
            | Kafka::NotCoordinator
            | Kafka::NotEnoughReplicasAfterAppend
            | Kafka::OutOfOrderSequenceNumber
            | Kafka::DuplicateSequenceNumber
            | Kafka::OperationNotAttempted
            | Kafka::KafkaStorageError
            | Kafka::UnknownServerError => ErrorCode::Kafka,
            _ => ErrorCode::BadRequest,
        }
    }
}

/// A refusal: a code for programs and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (error code {})", code.number())]
pub(crate) struct ProxyError {
    pub code: ErrorCode,
    pub message: String,
}

impl ProxyError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> ProxyError {
        ProxyError { code, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> ProxyError {
        ProxyError::new(ErrorCode::BadRequest, message)
    }

    pub fn http(status: StatusCode, message: impl Into<String>) -> ProxyError {
        ProxyError::new(ErrorCode::Http(status), message)
    }
}

impl From<KafkaError> for ProxyError {
    fn from(error: KafkaError) -> ProxyError {
        let code = match &error {
            KafkaError::Refused { code, .. } => ErrorCode::of_kafka(*code),
            KafkaError::Unreachable(_) => ErrorCode::BrokerNotAvailable,
            KafkaError::Malformed(_) => ErrorCode::Internal,
        };
        ProxyError::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_carry_their_status() {
        assert_eq!(ErrorCode::ConsumerExists.status(), StatusCode::CONFLICT);
        assert_eq!(ErrorCode::Serialization.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(ErrorCode::BrokerNotAvailable.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ErrorCode::Http(StatusCode::NOT_ACCEPTABLE).number(), 406);
    }

    #[test]
    fn kafka_errors_have_their_place() {
        let of = |code| ProxyError::from(KafkaError::refused(code, "")).code.number();
        assert_eq!(of(ResponseError::NotLeaderOrFollower), 40002);
        assert_eq!(of(ResponseError::UnknownTopicOrPartition), 40402);
        assert_eq!(of(ResponseError::RebalanceInProgress), 50003);
        assert_eq!(of(ResponseError::LeaderNotAvailable), 50302);
        assert_eq!(ProxyError::from(KafkaError::Unreachable(String::new())).code.number(), 50302);
        assert_eq!(ProxyError::from(KafkaError::Malformed(String::new())).code.number(), 50001);
    }
}
