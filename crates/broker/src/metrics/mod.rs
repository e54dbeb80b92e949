//! What a broker counts while it runs, for `/metrics` and `/public_metrics`.
//!
//! Numbers that are the state of something (leaders, replicas, members) are read from it when they are asked
//! for; here are only those that have to be counted when something happens. Source: redpanda.md 3.1.4.

pub(crate) mod histogram;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use histogram::Histogram;

use crate::node::PartitionKey;

/// API keys are below this (KIP-1071 has the highest known one, 92).
const API_KEYS: usize = 100;

/// A count that only rises.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one broker.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// The Kafka listeners.
    pub kafka: Server,
    /// The RPC listener.
    pub internal: Server,
    pub rest_proxy: Http,
    pub schema_registry: Http,
    pub admin: Http,
    pub produce_latency: Histogram,
    pub fetch_latency: Histogram,
    pub node_status: NodeStatus,
    /// Kafka connections that were used after their session had ended (KIP-368).
    pub sasl_sessions_expired: Count,
    /// Times that clients began to authenticate again.
    pub sasl_reauthentications: Count,
    /// Per API key, from the request's arrival to its answer.
    handlers: Vec<Histogram>,
    /// Per replica that was written or read here.
    traffic: Mutex<BTreeMap<PartitionKey, Arc<Traffic>>>,
}

/// One of the two servers that metrics tell apart.
#[derive(Debug, Default)]
pub(crate) struct Server {
    connections: AtomicI64,
    pub received_bytes: Count,
    pub sent_bytes: Count,
    pub errors: Count,
    pub latency: Histogram,
}

/// An HTTP service.
#[derive(Debug, Default)]
pub(crate) struct Http {
    pub latency: Histogram,
    /// Answers of class 3xx, 4xx and 5xx.
    pub errors: [Count; 3],
}

/// The pings between brokers (redpanda.md 3.5).
#[derive(Debug, Default)]
pub(crate) struct NodeStatus {
    pub sent: Count,
    pub received: Count,
    pub timed_out: Count,
}

/// What clients wrote to and read from one replica.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub produced_bytes: Count,
    pub produced_records: Count,
    pub fetched_bytes: Count,
    pub fetched_records: Count,
}

/// One open connection; it is counted until this is dropped.
pub(crate) struct OpenConnection<'a>(&'a Server);

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            kafka: Server::default(),
            internal: Server::default(),
            rest_proxy: Http::default(),
            schema_registry: Http::default(),
            admin: Http::default(),
            produce_latency: Histogram::default(),
            fetch_latency: Histogram::default(),
            node_status: NodeStatus::default(),
            sasl_sessions_expired: Count::default(),
            sasl_reauthentications: Count::default(),
            handlers: std::iter::repeat_with(Histogram::default).take(API_KEYS).collect(),
            traffic: Mutex::default(),
        }
    }
}

impl Metrics {
    /// A Kafka request was answered; bytes are those of the frames.
    pub fn kafka_answered(&self, api_key: i16, received: usize, sent: usize, took: Duration) {
        self.kafka.received_bytes.add(received as u64);
        self.kafka.sent_bytes.add(sent as u64);
        match api_key {
            0 => self.produce_latency.observe(took),
            1 => self.fetch_latency.observe(took),
            _ => {}
        }
        self.handled(api_key, took);
    }

    /// A request took its time at its handler.
    fn handled(&self, api_key: i16, took: Duration) {
        self.kafka.latency.observe(took);
        if let Some(handler) = usize::try_from(api_key).ok().and_then(|key| self.handlers.get(key)) {
            handler.observe(took);
        }
    }

    /// What clients wrote to and read from a replica.
    pub fn traffic(&self, partition: PartitionKey) -> Arc<Traffic> {
        let mut traffic = self.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(traffic.entry(partition).or_default())
    }

    /// Forgets a replica that is gone.
    pub fn forget_traffic(&self, partition: PartitionKey) {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner).remove(&partition);
    }

    /// The handlers that have answered something, by API key.
    pub fn handlers(&self) -> impl Iterator<Item = (i16, &Histogram)> {
        let used = self.handlers.iter().enumerate().filter(|(_, histogram)| !histogram.is_empty());
        used.map(|(key, histogram)| (key as i16, histogram))
    }
}

impl Server {
    /// Counts a connection as long as the result lives.
    pub fn open(&self) -> OpenConnection<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(self)
    }

    pub fn connections(&self) -> i64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Http {
    /// A request was answered.
    pub fn answered(&self, status: u16, took: Duration) {
        self.latency.observe(took);
        let class = usize::from(status / 100);
        if let Some(errors) = class.checked_sub(3).and_then(|index| self.errors.get(index)) {
            errors.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_while_they_are_open() {
        let metrics = Metrics::default();
        let first = metrics.kafka.open();
        let second = metrics.kafka.open();
        drop(first);
        assert_eq!((metrics.kafka.connections(), metrics.internal.connections()), (1, 0));
        drop(second);
        assert_eq!(metrics.kafka.connections(), 0);
    }

    #[test]
    fn answers_are_counted_by_class_and_handler() {
        let metrics = Metrics::default();
        metrics.rest_proxy.answered(204, Duration::from_millis(1));
        metrics.rest_proxy.answered(404, Duration::from_millis(1));
        metrics.rest_proxy.answered(500, Duration::from_millis(1));
        let errors: Vec<u64> = metrics.rest_proxy.errors.iter().map(Count::get).collect();
        assert_eq!(errors, [0, 1, 1]);
        metrics.handled(3, Duration::from_millis(2));
        metrics.handled(-1, Duration::from_millis(2));
        assert_eq!(metrics.handlers().map(|(key, _)| key).collect::<Vec<_>>(), [3]);
        assert_eq!(metrics.kafka.latency.seen().count, 2);
    }
}
