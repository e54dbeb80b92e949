//! How an operation fails.

use kafka_protocol::ResponseError;

use crate::{Operation, Outcome};

/// An operation that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Tried until the delivery timeout or the last retry; trying later may help.
    #[error("{operation} was given up after {attempts} attempts; last: {explanation}")]
    GaveUp {
        /// What was asked.
        operation: Operation,
        /// Attempts that were made.
        attempts: u32,
        /// How far the last one came.
        outcome: Outcome,
        /// The last Kafka error code, if a broker answered.
        error_code: Option<i16>,
        /// What was seen last.
        explanation: String,
    },
    /// A broker turned it down for a reason that another attempt does not change.
    #[error("{operation} was rejected: {explanation}")]
    Rejected {
        /// What was asked.
        operation: Operation,
        /// The Kafka error code; `None` if the broker does not offer the request at all.
        error_code: Option<i16>,
        /// How far it came.
        outcome: Outcome,
        /// The broker's words, or the code's meaning.
        explanation: String,
    },
    /// Records that cannot be written as a batch, or a batch that cannot be read.
    #[error("records cannot be {doing}: {problem}")]
    Records {
        /// `encoded` or `decoded`.
        doing: &'static str,
        /// Why.
        problem: String,
    },
    /// The broker's answer lacks what was asked for.
    #[error("the answer to {operation} says nothing about {about}")]
    Incomplete {
        /// What was asked.
        operation: Operation,
        /// What is missing.
        about: String,
    },
    /// The client has no address to begin with.
    #[error("the list of bootstrap addresses is empty: give at least one host:port")]
    NoBootstrap,
}

impl ClientError {
    /// The Kafka error code, if a broker gave one.
    pub fn error_code(&self) -> Option<i16> {
        match self {
            ClientError::GaveUp { error_code, .. } | ClientError::Rejected { error_code, .. } => *error_code,
            _ => None,
        }
    }

    /// How far the last attempt came; `None` if nothing was attempted.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            ClientError::GaveUp { outcome, .. } | ClientError::Rejected { outcome, .. } => Some(*outcome),
            ClientError::Incomplete { .. } => Some(Outcome::ProtocolMismatch),
            _ => None,
        }
    }
}

/// A Kafka error code in words: `error 6 (NotLeaderOrFollower)`.
pub fn meaning(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        None => "no error".to_owned(),
        Some(ResponseError::Unknown(code)) => {
            format!("error {code}, which is not in the Kafka protocol guide")
        }
        Some(error) => format!("error {code} ({error:?})"),
    }
}

/// Whether another attempt may succeed (Kafka protocol guide, error codes, column "retriable").
pub(crate) fn is_retriable(code: i16) -> bool {
    ResponseError::try_from_code(code).is_some_and(|error| error.is_retriable())
}

/// Whether the code says that the client's picture of the cluster is out of date.
pub(crate) fn doubts_metadata(code: i16) -> bool {
    use ResponseError as E;
    // The subclasses of InvalidMetadataException in the Java client, and NOT_CONTROLLER.
    matches!(
        ResponseError::try_from_code(code),
        Some(
            E::UnknownTopicOrPartition
                | E::LeaderNotAvailable
                | E::NotLeaderOrFollower
                | E::NetworkException
                | E::ReplicaNotAvailable
                | E::NotController
                | E::KafkaStorageError
                | E::ListenerNotFound
                | E::FencedLeaderEpoch
                | E::UnknownTopicId
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_leader_is_retried_with_new_metadata_and_a_full_record_is_not() {
        assert!(is_retriable(6) && doubts_metadata(6));
        assert!(is_retriable(7) && !doubts_metadata(7));
        assert!(!is_retriable(10));
        assert!(!is_retriable(0) && !is_retriable(4242));
    }

    #[test]
    fn codes_are_named() {
        assert_eq!(meaning(6), "error 6 (NotLeaderOrFollower)");
        assert_eq!(meaning(4242), "error 4242, which is not in the Kafka protocol guide");
    }
}
