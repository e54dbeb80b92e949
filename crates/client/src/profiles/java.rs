//! The Java client (Apache Kafka 4.0: producer and consumer configuration, and where named its classes).
//!
//! `request.timeout.ms` and the like are names of its documented settings; the values are their documented defaults.

use std::time::Duration;

use super::table;
use crate::behaviour::*;

#[rustfmt::skip]
table! {
    metadata_max_age = Some(Duration::from_secs(300)), "metadata.max.age.ms";
    metadata_min_interval = Duration::from_millis(100), "retry.backoff.ms (Metadata, refreshBackoff)";
    metadata_topics = MetadataTopics::Used, "ProducerMetadata: topics in use";
    topic_max_idle = Some(Duration::from_secs(300)), "metadata.max.idle.ms";
    refresh_on = RefreshOn::AnyFailure, "NetworkClient, handleServerDisconnect; InvalidMetadataException";
    ask_anyone = AskAnyone::LeastLoaded, "NetworkClient, leastLoadedNode";
    bootstrap_order = BootstrapOrder::RandomStart, "NetworkClient, leastLoadedNode: random offset";
    rebootstrap = Rebootstrap::NoneAnswersOrAfter(Duration::from_secs(300)), "metadata.recovery.strategy, metadata.recovery.rebootstrap.trigger.ms";
    bootstrap_connection = BootstrapConnection::Apart, "Cluster.bootstrap: nodes with ids below 0";
    resolve = Resolve::AfterLoss, "ClusterConnectionStates, clearAddresses";
    families = Families::OfFirst, "ClientUtils, filterPreferredAddresses";
    address_order = AddressOrder::Answered, "ClientUtils, resolve";
    addresses_tried = AddressesTried::Next, "client.dns.lookup=use_all_dns_ips (KIP-602)";
    connect_timeout = Wait::doubling(Duration::from_secs(10), Duration::from_secs(30)), "socket.connection.setup.timeout.ms, .max.ms (KIP-601)";
    reconnect_backoff = Wait::doubling(Duration::from_millis(50), Duration::from_secs(1)), "reconnect.backoff.ms, .max.ms";
    connections = Connections::One, "NetworkClient: one per node";
    connections_max_idle = Some(Duration::from_secs(540)), "connections.max.idle.ms";
    address_change = AddressChange::Keep, "ClusterConnectionStates: the host counts when connecting";
    max_in_flight = 5, "max.in.flight.requests.per.connection";
    request_timeout = Duration::from_secs(30), "request.timeout.ms";
    server_wait = ServerWait::NotAdded, "request.timeout.ms: the whole wait";
    ack_timeout = Duration::from_secs(30), "request.timeout.ms (Sender)";
    retry_backoff = Wait::doubling(Duration::from_millis(100), Duration::from_secs(1)), "retry.backoff.ms, .max.ms (KIP-580)";
    produce = Patience::within(Duration::from_secs(120)), "delivery.timeout.ms; retries = 2147483647";
    fetch = Patience::ENDLESS, "KafkaConsumer, poll: goes on by itself";
    others = Patience::within(Duration::from_secs(60)), "default.api.timeout.ms";
    leader_hints = LeaderHints::TakenAtOnce, "KIP-951 (Apache Kafka 3.7)";
    receive_bytes_max = i32::MAX as u32, "NetworkReceive: UNLIMITED";
    produce_version_max = 13, "clients.md, version table";
    fetch_version_max = 18, "clients.md, version table";
    metadata_version_max = 13, "clients.md, version table";
}
