//! How a client behaves: where it starts, how long it waits, how it retries.
//!
//! The defaults are the Java client's (Apache Kafka documentation, producer and consumer configuration), which
//! are named beside each; where librdkafka differs its default (CONFIGURATION.md) is named too.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hopwise_engine::Time;
use hopwise_fabric::Route;

use crate::{HostPort, Observer, Security};

/// Tells which broker id stands behind a route; `None` where the route reached no broker.
pub type Whois = Arc<dyn Fn(&Route) -> Option<i32> + Send + Sync>;

/// Names known without DNS, as in a hosts file: `None` leaves the name to DNS.
pub type Names = Arc<dyn Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync>;

/// When an advertised name is resolved again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolve {
    /// For each new connection (Java, franz-go, sarama).
    EveryConnection,
    /// When the last answer is older than this (librdkafka's `broker.address.ttl`, 1 s).
    After(Duration),
    /// Once for the client's life, as programs do that resolve at start (redpanda.md 5, row 31).
    Once,
}

/// What is done with a name's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsPolicy {
    /// When a name is looked up again.
    pub resolve: Resolve,
    /// Whether each address is tried in turn (`client.dns.lookup=use_all_dns_ips`, the default of Java since
    /// KIP-602), or the first only.
    pub all_addresses: bool,
}

impl Default for DnsPolicy {
    fn default() -> Self {
        DnsPolicy { resolve: Resolve::EveryConnection, all_addresses: true }
    }
}

/// How to make a client. Start from [`Options::new`] and change what differs.
#[derive(Clone)]
pub struct Options {
    /// Where to begin, tried in this order.
    pub bootstrap: Vec<HostPort>,
    /// The name sent in each request header.
    pub client_id: String,
    /// Metadata older than this is asked for again (`metadata.max.age.ms`, 5 min).
    pub metadata_max_age: Duration,
    /// Longest wait for an answer (`request.timeout.ms`, 30 s; librdkafka's `socket.timeout.ms` is 60 s).
    pub request_timeout: Duration,
    /// Longest wait for a connection to one address (`socket.connection.setup.timeout.ms`: Java 10 s, librdkafka
    /// 30 s).
    pub connect_timeout: Duration,
    /// How long an operation is tried in all (`delivery.timeout.ms`, 2 min).
    pub delivery_timeout: Duration,
    /// How many times an operation is tried again within the delivery timeout (`retries`, no limit).
    pub retries: u32,
    /// First wait before trying again (`retry.backoff.ms`, 100 ms).
    pub retry_backoff: Duration,
    /// Longest wait before trying again (`retry.backoff.max.ms`, 1 s, KIP-580).
    pub retry_backoff_max: Duration,
    /// First wait before connecting again to a broker that failed (`reconnect.backoff.ms`, 50 ms).
    pub reconnect_backoff: Duration,
    /// Longest wait before connecting again (`reconnect.backoff.max.ms`, 1 s).
    pub reconnect_backoff_max: Duration,
    /// An idle connection is given up after this (`connections.max.idle.ms`, 9 min).
    pub connections_max_idle: Duration,
    /// Requests in flight on one connection (`max.in.flight.requests.per.connection`, 5).
    pub max_in_flight: usize,
    /// Largest answer accepted, in bytes (librdkafka's `receive.message.max.bytes`, 100,000,000). A length
    /// above it is how a client notices that the peer does not speak Kafka.
    pub receive_bytes_max: u32,
    /// Name look-ups.
    pub dns: DnsPolicy,
    /// Names that need no DNS.
    pub names: Option<Names>,
    /// TLS and credentials.
    pub security: Security,
    /// Seed of the jitter.
    pub seed: u64,
    /// The instant of the simulation at which the client is made; records count from here.
    pub base: Time,
    /// Which broker stands behind a route, where somebody knows.
    pub whois: Option<Whois>,
    /// Who gets each request's record.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Options {
    /// The defaults, starting at `bootstrap`.
    pub fn new(bootstrap: Vec<HostPort>) -> Self {
        Options {
            bootstrap,
            client_id: "hopwise".to_owned(),
            metadata_max_age: Duration::from_secs(300),
            request_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(120),
            retries: u32::MAX,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            connections_max_idle: Duration::from_secs(540),
            max_in_flight: 5,
            receive_bytes_max: 100_000_000,
            dns: DnsPolicy::default(),
            names: None,
            security: Security::default(),
            seed: 0,
            base: Time::ZERO,
            whois: None,
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("dns", &self.dns)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
