//! The sections `pandaproxy_client` and `schema_registry_client`: the Kafka client inside a broker.
//!
//! Source: redpanda.md 2.1; defaults from Redpanda's property reference ("HTTP Proxy Client"). Left out:
//! `produce_shutdown_delay_ms` (a broker that stops does so at once).

use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::build::{advertised, wrong};
use super::file::{Endpoint, OneOrMany};
use super::{ConfigError, HostPort};

/// How a broker's own Kafka client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaClientConfig {
    /// Whom it asks first; empty for the broker's own first Kafka listener.
    pub brokers: Vec<HostPort>,
    /// TLS towards the brokers, if the section asks for it.
    pub broker_tls: Option<BrokerTls>,
    /// `SCRAM-SHA-256`, `SCRAM-SHA-512` or `PLAIN`; `None` for no SASL.
    pub sasl_mechanism: Option<String>,
    /// The user to log in as.
    pub scram_username: String,
    /// The user's password.
    pub scram_password: String,
    /// How often a request is repeated.
    pub retries: u32,
    /// Before the first repetition; each further one waits twice as long.
    pub retry_base_backoff: Duration,
    /// What the client calls itself.
    pub client_identifier: String,
    /// -1, 0 or 1.
    pub produce_ack_level: i16,
    /// Records that end a batch.
    pub produce_batch_record_count: usize,
    /// Bytes that end a batch.
    pub produce_batch_size_bytes: usize,
    /// How long a batch waits for more records.
    pub produce_batch_delay: Duration,
    /// How long a fetch of a consumer waits for records, unless the request says otherwise.
    pub consumer_request_timeout: Duration,
    /// Bytes that a fetch waits for.
    pub consumer_request_min_bytes: i32,
    /// Bytes of one answer, unless the request says otherwise.
    pub consumer_request_max_bytes: i32,
    /// After which the group gives a silent consumer up.
    pub consumer_session_timeout: Duration,
    /// How long the group waits for its members to join again.
    pub consumer_rebalance_timeout: Duration,
    /// Between two signs of life.
    pub consumer_heartbeat_interval: Duration,
}

impl Default for KafkaClientConfig {
    fn default() -> Self {
        KafkaClientConfig {
            brokers: Vec::new(),
            broker_tls: None,
            sasl_mechanism: None,
            scram_username: String::new(),
            scram_password: String::new(),
            retries: 5,
            retry_base_backoff: Duration::from_millis(100),
            client_identifier: "redpanda-client".to_owned(),
            produce_ack_level: -1,
            produce_batch_record_count: 1000,
            produce_batch_size_bytes: 1 << 20,
            produce_batch_delay: Duration::from_millis(100),
            consumer_request_timeout: Duration::from_millis(100),
            consumer_request_min_bytes: 1,
            consumer_request_max_bytes: 1 << 20,
            consumer_session_timeout: Duration::from_millis(10_000),
            consumer_rebalance_timeout: Duration::from_millis(2000),
            consumer_heartbeat_interval: Duration::from_millis(500),
        }
    }
}

/// `broker_tls`: how the client's end of TLS is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BrokerTls {
    /// Whether the client speaks TLS.
    pub enabled: bool,
    /// Its certificate, PEM, if the brokers want one.
    pub cert_file: Option<String>,
    /// The certificate's key, PEM.
    pub key_file: Option<String>,
    /// The authorities that brokers' certificates have to come from, PEM.
    pub truststore_file: Option<String>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KafkaClientSection {
    brokers: OneOrMany<Endpoint>,
    broker_tls: Option<BrokerTls>,
    sasl_mechanism: Option<String>,
    scram_username: Option<String>,
    scram_password: Option<String>,
    retries: Option<u32>,
    retry_base_backoff_ms: Option<u64>,
    client_identifier: Option<String>,
    produce_ack_level: Option<Spanned<i16>>,
    produce_batch_record_count: Option<usize>,
    produce_batch_size_bytes: Option<usize>,
    produce_batch_delay_ms: Option<u64>,
    consumer_request_timeout_ms: Option<u64>,
    consumer_request_min_bytes: Option<i32>,
    consumer_request_max_bytes: Option<i32>,
    consumer_session_timeout_ms: Option<u64>,
    consumer_rebalance_timeout_ms: Option<u64>,
    consumer_heartbeat_interval_ms: Option<u64>,
}

/// The keys of the section.
pub(super) const KEYS: &[&str] = &[
    "brokers",
    "broker_tls",
    "sasl_mechanism",
    "scram_username",
    "scram_password",
    "retries",
    "retry_base_backoff_ms",
    "client_identifier",
    "produce_ack_level",
    "produce_batch_record_count",
    "produce_batch_size_bytes",
    "produce_batch_delay_ms",
    "consumer_request_timeout_ms",
    "consumer_request_min_bytes",
    "consumer_request_max_bytes",
    "consumer_session_timeout_ms",
    "consumer_rebalance_timeout_ms",
    "consumer_heartbeat_interval_ms",
];

const MECHANISMS: [&str; 3] = ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"];
/// Redpanda's default port for clients.
const KAFKA_PORT: u16 = 9092;

/// # Errors
/// The first value that no client can work with.
pub(super) fn client(
    name: &str,
    section: Option<KafkaClientSection>,
) -> Result<KafkaClientConfig, ConfigError> {
    let default = KafkaClientConfig::default();
    let Some(section) = section else { return Ok(default) };
    let acks = match section.produce_ack_level {
        Some(level) if !(-1..=1).contains(&level.value) => {
            let line = Some(level.referenced.line()).filter(|line| *line > 0);
            let problem = format!("{} is not an acknowledgement level", level.value);
            return Err(wrong(format!("{name}.produce_ack_level"), line, problem, "use -1, 0 or 1"));
        }
        level => level.map_or(default.produce_ack_level, |level| level.value),
    };
    let mechanism = section.sasl_mechanism.filter(|mechanism| !mechanism.is_empty());
    if let Some(mechanism) = mechanism.as_ref().filter(|name| !MECHANISMS.contains(&name.as_str())) {
        let field = format!("{name}.sasl_mechanism");
        return Err(wrong(
            field,
            None,
            format!("\"{mechanism}\" is not a mechanism"),
            "use SCRAM-SHA-256, SCRAM-SHA-512 or PLAIN",
        ));
    }
    let named = |(index, entry): (usize, &Endpoint)| {
        advertised(&format!("{name}.brokers[{index}]"), entry, KAFKA_PORT)
    };
    let milliseconds = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
    Ok(KafkaClientConfig {
        brokers: section.brokers.0.iter().enumerate().map(named).collect::<Result<_, _>>()?,
        broker_tls: section.broker_tls.filter(|tls| tls.enabled),
        sasl_mechanism: mechanism,
        scram_username: section.scram_username.unwrap_or_default(),
        scram_password: section.scram_password.unwrap_or_default(),
        retries: section.retries.unwrap_or(default.retries),
        retry_base_backoff: milliseconds(section.retry_base_backoff_ms, default.retry_base_backoff),
        client_identifier: section.client_identifier.unwrap_or(default.client_identifier),
        produce_ack_level: acks,
        produce_batch_record_count: section
            .produce_batch_record_count
            .unwrap_or(default.produce_batch_record_count),
        produce_batch_size_bytes: section
            .produce_batch_size_bytes
            .unwrap_or(default.produce_batch_size_bytes),
        produce_batch_delay: milliseconds(section.produce_batch_delay_ms, default.produce_batch_delay),
        consumer_request_timeout: milliseconds(
            section.consumer_request_timeout_ms,
            default.consumer_request_timeout,
        ),
        consumer_request_min_bytes: section
            .consumer_request_min_bytes
            .unwrap_or(default.consumer_request_min_bytes),
        consumer_request_max_bytes: section
            .consumer_request_max_bytes
            .unwrap_or(default.consumer_request_max_bytes),
        consumer_session_timeout: milliseconds(
            section.consumer_session_timeout_ms,
            default.consumer_session_timeout,
        ),
        consumer_rebalance_timeout: milliseconds(
            section.consumer_rebalance_timeout_ms,
            default.consumer_rebalance_timeout,
        ),
        consumer_heartbeat_interval: milliseconds(
            section.consumer_heartbeat_interval_ms,
            default.consumer_heartbeat_interval,
        ),
    })
}
