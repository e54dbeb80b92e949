//! Which of a client's connections to a broker carries a request.

use crate::Operation;
use crate::behaviour::Connections;

/// One of the connections to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Whatever has none of its own.
    Common,
    /// Produce.
    Produce,
    /// Fetch.
    Fetch,
    /// Requests that give the broker a time of their own.
    Slow,
}

impl Lane {
    /// The connection for `operation`.
    pub fn of(connections: Connections, operation: Operation) -> Lane {
        match (connections, operation) {
            (Connections::One, _) => Lane::Common,
            (Connections::ByKind, Operation::Produce) => Lane::Produce,
            (Connections::ByKind, Operation::Fetch) => Lane::Fetch,
            (Connections::ByKind, Operation::CreateTopic) => Lane::Slow,
            (Connections::ByKind, _) => Lane::Common,
        }
    }
}
