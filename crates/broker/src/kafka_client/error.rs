//! Why a request of the broker's own Kafka client came to nothing.

use kafka_protocol::ResponseError;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KafkaError {
    /// A broker refuses.
    #[error("{message}")]
    Refused { code: ResponseError, message: String },
    /// No broker, or not the one that has to be asked, could be reached.
    #[error("no broker is available: {0}")]
    Unreachable(String),
    /// An answer that is none.
    #[error("a broker's answer makes no sense: {0}")]
    Malformed(String),
}

impl KafkaError {
    /// The refusal of this code; `None` for code 0.
    pub fn of_code(code: i16, message: Option<&str>) -> Option<KafkaError> {
        let code = ResponseError::try_from_code(code)?;
        let message = message.filter(|message| !message.is_empty());
        let message = message.map_or_else(|| code.to_string(), str::to_owned);
        Some(KafkaError::Refused { code, message })
    }

    pub fn refused(code: ResponseError, message: impl Into<String>) -> KafkaError {
        KafkaError::Refused { code, message: message.into() }
    }

    /// `Err` unless the code is 0.
    pub fn check(code: i16, message: Option<&str>) -> Result<(), KafkaError> {
        KafkaError::of_code(code, message).map_or(Ok(()), Err)
    }

    pub fn code(&self) -> Option<ResponseError> {
        match self {
            KafkaError::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later, perhaps at another broker (Kafka protocol guide,
    /// "Error codes"). A topic that the freshest metadata lacks will not come by waiting.
    pub fn is_retriable(&self) -> bool {
        match self {
            KafkaError::Refused { code, .. } => {
                code.is_retriable() && *code != ResponseError::UnknownTopicOrPartition
            }
            KafkaError::Unreachable(_) => true,
            KafkaError::Malformed(_) => false,
        }
    }
}
