//! Answers of the Admin API, and the statuses of what is refused. Source: redpanda.md 3.1.2.

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use kafka_protocol::ResponseError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rpc::Refusal;

const JSON: &str = "application/json";

/// What a handler gives back.
pub(super) type Answer = Result<Response, AdminError>;

/// An error: `{"message", "code"}` under its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminError {
    pub status: StatusCode,
    pub message: String,
}

impl AdminError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> AdminError {
        AdminError { status, message: message.into() }
    }

    pub fn bad_request(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn not_found(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::NOT_FOUND, message)
    }

    pub fn unavailable(message: impl Into<String>) -> AdminError {
        AdminError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let body = json!({"message": self.message, "code": self.status.as_u16()});
        crate::http::json(self.status, JSON, &body)
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> AdminError {
        let status = match &refusal {
            Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            Refusal::NotFound(_) | Refusal::UnknownPartition => StatusCode::NOT_FOUND,
            Refusal::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Kafka(code, _) => of_kafka(*code),
            // No controller leader, an update in progress, leadership changed, a replication error, shutting down.
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        AdminError::new(status, refusal.to_string())
    }
}

fn of_kafka(code: i16) -> StatusCode {
    match ResponseError::try_from_code(code) {
        Some(
            ResponseError::UnknownTopicOrPartition
            | ResponseError::UnknownTopicId
            | ResponseError::ResourceNotFound,
        ) => StatusCode::NOT_FOUND,
        Some(ResponseError::ThrottlingQuotaExceeded) => StatusCode::TOO_MANY_REQUESTS,
        Some(ResponseError::RequestTimedOut) => StatusCode::GATEWAY_TIMEOUT,
        Some(
            ResponseError::NotController
            | ResponseError::LeaderNotAvailable
            | ResponseError::NotLeaderOrFollower
            | ResponseError::KafkaStorageError,
        ) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// 200 with a JSON body.
pub(super) fn ok(body: impl Serialize) -> Answer {
    Ok(crate::http::json(StatusCode::OK, JSON, &body))
}

/// A JSON body under another status.
pub(super) fn json_of(status: StatusCode, body: &Value) -> Answer {
    Ok(crate::http::json(status, JSON, body))
}

/// 200 with an empty body.
pub(super) fn empty() -> Answer {
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, JSON)]).into_response())
}

/// The JSON of a request's body, whatever its content type says.
///
/// # Errors
/// 400, with what is wrong.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, AdminError> {
    serde_json::from_slice(body)
        .map_err(|error| AdminError::bad_request(format!("the body is not understood: {error}")))
}

/// A number in a path or a query.
///
/// # Errors
/// 400, with what is wrong.
pub(super) fn number<T: std::str::FromStr>(what: &str, text: &str) -> Result<T, AdminError> {
    text.parse().map_err(|_| AdminError::bad_request(format!("{what} must be an integer, not \"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_statuses_of_the_table() {
        let status = |refusal: Refusal| AdminError::from(refusal).status.as_u16();
        let kafka = |error: ResponseError| Refusal::Kafka(error.code(), "x".to_owned());
        assert_eq!(status(Refusal::Invalid("x".into())), 400);
        assert_eq!(status(Refusal::NotFound("x".into())), 404);
        assert_eq!(status(Refusal::TimedOut), 504);
        assert_eq!(status(Refusal::UpdateInProgress("x".into())), 503);
        assert_eq!(status(Refusal::NotController), 503);
        assert_eq!(status(Refusal::Storage("x".into())), 503);
        assert_eq!(status(kafka(ResponseError::ThrottlingQuotaExceeded)), 429);
        assert_eq!(status(kafka(ResponseError::UnknownTopicOrPartition)), 404);
        assert_eq!(status(kafka(ResponseError::InvalidReplicaAssignment)), 400);
        assert_eq!(status(kafka(ResponseError::RequestTimedOut)), 504);
    }
}
