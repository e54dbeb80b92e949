//! franz-go (kgo's documentation of its options, the defaults there, and where named its source files).

use std::time::Duration;

use super::table;
use crate::behaviour::*;

#[rustfmt::skip]
table! {
    metadata_max_age = Some(Duration::from_secs(300)), "kgo.MetadataMaxAge";
    metadata_min_interval = Duration::from_secs(5), "kgo.MetadataMinAge";
    metadata_topics = MetadataTopics::Used, "metadata.go: topics in use";
    topic_max_idle = None, "metadata.go: known as long as it is used";
    refresh_on = RefreshOn::AnyFailure, "sink.go, source.go: an update is triggered";
    ask_anyone = AskAnyone::InTurn, "client.go: any broker, in a shuffled order";
    bootstrap_order = BootstrapOrder::Shuffled, "client.go: any seed, in a shuffled order";
    rebootstrap = Rebootstrap::NoneAnswers, "KIP-899: seeds after the known brokers";
    bootstrap_connection = BootstrapConnection::Apart, "client.go: seeds are brokers of their own";
    resolve = Resolve::EveryConnection, "net.Dialer: each dial resolves";
    families = Families::All, "net.Dialer: network tcp";
    address_order = AddressOrder::Answered, "net.Dialer: as the resolver sorts them";
    addresses_tried = AddressesTried::Racing, "net.Dialer: RFC 6555";
    connect_timeout = Wait::fixed(Duration::from_secs(10)), "kgo.DialTimeout";
    reconnect_backoff = Wait::fixed(Duration::ZERO), "broker.go: requests wait, connections do not";
    connections = Connections::ByKind, "broker.go: cxnProduce, cxnFetch, cxnSlow, cxnNormal";
    connections_max_idle = Some(Duration::from_secs(20)), "kgo.ConnIdleTimeout";
    address_change = AddressChange::Close, "client.go, updateBrokers";
    max_in_flight = 5, "kgo.MaxProduceRequestsInflightPerBroker: 5 by default";
    request_timeout = Duration::from_secs(10), "kgo.RequestTimeoutOverhead";
    server_wait = ServerWait::Added, "kgo.RequestTimeoutOverhead: on top of TimeoutMillis";
    ack_timeout = Duration::from_secs(10), "kgo.ProduceRequestTimeout";
    retry_backoff = Wait::doubling(Duration::from_millis(250), Duration::from_millis(2500)), "kgo.RetryBackoffFn";
    produce = Patience::ENDLESS, "kgo.RecordRetries, kgo.RecordDeliveryTimeout: no limit";
    fetch = Patience::ENDLESS, "source.go: goes on by itself";
    others = Patience { retries: Some(20), within: Some(Duration::from_secs(30)) }, "kgo.RequestRetries, kgo.RetryTimeout";
    leader_hints = LeaderHints::TakenAtOnce, "KIP-951 (README, supported KIPs)";
    receive_bytes_max = 100 << 20, "kgo.BrokerMaxReadBytes";
    produce_version_max = 13, "clients.md, version table";
    fetch_version_max = 18, "clients.md, version table";
    metadata_version_max = 13, "clients.md, version table";
}
