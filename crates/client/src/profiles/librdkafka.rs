//! librdkafka (2.12: CONFIGURATION.md, and where named its source files).

use std::time::Duration;

use super::table;
use crate::behaviour::*;

#[rustfmt::skip]
table! {
    metadata_max_age = Some(Duration::from_secs(300)), "topic.metadata.refresh.interval.ms";
    metadata_min_interval = Duration::from_millis(100), "topic.metadata.refresh.fast.interval.ms";
    metadata_topics = MetadataTopics::Used, "topic.metadata.refresh.sparse = true";
    topic_max_idle = None, "rdkafka_topic.c: known as long as it is referenced";
    refresh_on = RefreshOn::AnyFailure, "rdkafka_broker.c: a broker that goes down";
    ask_anyone = AskAnyone::RandomConnected, "rdkafka_broker.c, rd_kafka_broker_any_up";
    bootstrap_order = BootstrapOrder::Shuffled, "rdkafka_broker.c, rd_kafka_connect_any";
    rebootstrap = Rebootstrap::NoneAnswersOrAfter(Duration::from_secs(300)), "metadata.recovery.strategy, metadata.recovery.rebootstrap.trigger.ms";
    bootstrap_connection = BootstrapConnection::BecomesBrokers, "rdkafka_broker.c, rd_kafka_broker_update";
    resolve = Resolve::After(Duration::from_secs(1)), "broker.address.ttl";
    families = Families::All, "broker.address.family = any";
    address_order = AddressOrder::Shuffled, "rdaddr.c: shuffled for round robin";
    addresses_tried = AddressesTried::Next, "rdaddr.h, rd_sockaddr_list_next; client.dns.lookup=use_all_dns_ips";
    connect_timeout = Wait::fixed(Duration::from_secs(30)), "socket.connection.setup.timeout.ms";
    reconnect_backoff = Wait { first: Duration::from_millis(100), most: Duration::from_secs(10), less_percent: 25, more_percent: 50 }, "reconnect.backoff.ms, .max.ms: −25 % to +50 %";
    connections = Connections::One, "INTRODUCTION.md: one per broker";
    connections_max_idle = None, "connections.max.idle.ms = 0";
    address_change = AddressChange::Close, "rdkafka_broker.c: node update";
    max_in_flight = 1_000_000, "max.in.flight.requests.per.connection";
    request_timeout = Duration::from_secs(60), "socket.timeout.ms";
    server_wait = ServerWait::AddedToFetch, "socket.timeout.ms: Fetch adds fetch.wait.max.ms";
    ack_timeout = Duration::from_secs(30), "request.timeout.ms (topic)";
    retry_backoff = Wait::doubling(Duration::from_millis(100), Duration::from_secs(1)), "retry.backoff.ms, .max.ms";
    produce = Patience::within(Duration::from_secs(300)), "message.timeout.ms; retries = 2147483647";
    fetch = Patience::ENDLESS, "rdkafka_fetcher.c: goes on by itself";
    others = Patience::within(Duration::from_secs(60)), "socket.timeout.ms (Admin requests)";
    leader_hints = LeaderHints::Taken, "KIP-951 (INTRODUCTION.md, supported KIPs)";
    receive_bytes_max = 100_000_000, "receive.message.max.bytes";
    produce_version_max = 10, "clients.md, version table";
    fetch_version_max = 16, "clients.md, version table";
    metadata_version_max = 13, "clients.md, version table";
}
