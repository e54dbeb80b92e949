//! The transaction coordinator: producer ids, which transaction of a producer is open, and its end.
//!
//! A transactional id belongs to a partition of `kafka_internal/tx`; the broker that leads it coordinates the
//! id's transactions. The rules are a state machine ([`machine`]); [`crate::coordinator`] runs it. That a
//! transaction is to be committed or aborted is durable in the topic before markers are written to its
//! partitions ([`markers`]); once all have one it is complete. Before a partition's leader appends the first record
//! of a transaction it asks whether the partition belongs to it ([`verification`]). Sources: KIP-98, KIP-360
//! (producers go on after an error), KIP-664 (Describe and List), KIP-890 (verification, an epoch per transaction).

pub(crate) mod machine;
pub(crate) mod markers;
pub(crate) mod producer_ids;
mod records;
pub(crate) mod request;
#[cfg(test)]
mod tests;
mod transaction;
pub(crate) mod verification;

use std::sync::Arc;
use std::time::Duration;

use self::machine::TransactionMachine;
use self::transaction::TransactionState;
use crate::cluster::properties;
use crate::cluster::topics::Topic;
use crate::coordinator::Now;
use crate::node::Node;
use crate::rpc::Refusal;
use crate::topic_creation;

/// The topic that transactions are kept in.
pub(crate) const TOPIC: &str = "kafka_internal/tx";

/// The level of the feature `transaction.version` from which on each transaction has an epoch of its own and partitions
/// join it with their first record (KIP-890, KIP-1022).
pub(crate) const EPOCH_PER_TRANSACTION: i16 = 2;

/// What the coordinator goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `transaction_max_timeout_ms`.
    pub timeout_max: Duration,
    /// `tx_timeout_delay_ms`: how much longer than its time-out a transaction may be open.
    pub timeout_delay: Duration,
    /// `transactional_id_expiration_ms`.
    pub expiration: Duration,
    /// Kafka's `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiration_check: Duration,
    /// Most transactional ids of one partition of the topic, so that a client cannot fill the memory. Redpanda's
    /// `max_transactions_per_coordinator` has no limit that matters unless one is set.
    pub ids_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            timeout_max: Duration::from_millis(900_000),
            timeout_delay: Duration::from_millis(1000),
            expiration: Duration::from_millis(604_800_000),
            expiration_check: Duration::from_secs(3600),
            ids_max: 100_000,
        }
    }
}

impl Settings {
    fn of(node: &Node) -> Settings {
        let set = node.with_cluster(|cluster| cluster.state.properties.clone());
        let default = Settings::default();
        let millis = |name: &str, default: Duration| {
            let value = properties::integer(&set, name).and_then(|value| u64::try_from(value).ok());
            value.map_or(default, Duration::from_millis)
        };
        Settings {
            timeout_max: millis("transaction_max_timeout_ms", default.timeout_max),
            timeout_delay: millis("tx_timeout_delay_ms", default.timeout_delay),
            expiration: millis("transactional_id_expiration_ms", default.expiration),
            ..default
        }
    }
}

/// The names of all states.
pub(crate) fn state_names() -> impl Iterator<Item = &'static str> {
    TransactionState::ALL.into_iter().map(TransactionState::name)
}

/// An empty machine, with the settings of this moment.
pub(crate) fn machine_of(node: &Node, _now: Now) -> TransactionMachine {
    TransactionMachine::new(Settings::of(node))
}

/// The topic, which is made when the first transactional id asks for its coordinator.
///
/// # Errors
/// Why it could not be made.
pub(crate) async fn ensure_topic(node: &Arc<Node>) -> Result<Topic, Refusal> {
    let partitions = node.properties().transaction_coordinator_partitions;
    topic_creation::ensure_internal(node, TOPIC, partitions, &[("cleanup.policy", "compact")]).await
}
