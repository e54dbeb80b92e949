//! What a client does that no scenario says otherwise of: the Java client's times, and at every choice the way that tells
//! most about the network: each address, each broker and the bootstrap list are tried before anything is called broken.

use std::time::Duration;

use super::table;
use crate::behaviour::*;

#[rustfmt::skip]
table! {
    metadata_max_age = Some(Duration::from_secs(300)), "Java, metadata.max.age.ms";
    metadata_min_interval = Duration::ZERO, "own choice: no limit";
    metadata_topics = MetadataTopics::Used, "as Java";
    topic_max_idle = None, "own choice: a run is short";
    refresh_on = RefreshOn::AnyFailure, "as Java";
    ask_anyone = AskAnyone::LeastLoaded, "as Java";
    bootstrap_order = BootstrapOrder::Written, "own choice: a reader can foresee it";
    rebootstrap = Rebootstrap::NoneAnswers, "KIP-899";
    bootstrap_connection = BootstrapConnection::Apart, "as Java";
    resolve = Resolve::EveryConnection, "as franz-go";
    families = Families::All, "as librdkafka";
    address_order = AddressOrder::Answered, "as Java";
    addresses_tried = AddressesTried::EachInTurn, "client.dns.lookup=use_all_dns_ips (KIP-602)";
    connect_timeout = Wait::fixed(Duration::from_secs(10)), "Java, socket.connection.setup.timeout.ms";
    reconnect_backoff = Wait::doubling(Duration::from_millis(50), Duration::from_secs(1)), "Java, reconnect.backoff.ms, .max.ms";
    connections = Connections::One, "as Java";
    connections_max_idle = Some(Duration::from_secs(540)), "Java, connections.max.idle.ms";
    address_change = AddressChange::Drain, "own choice: nothing in flight is lost";
    max_in_flight = 5, "Java, max.in.flight.requests.per.connection";
    request_timeout = Duration::from_secs(30), "Java, request.timeout.ms";
    server_wait = ServerWait::NotAdded, "as Java";
    ack_timeout = Duration::from_secs(30), "Java, request.timeout.ms";
    retry_backoff = Wait::doubling(Duration::from_millis(100), Duration::from_secs(1)), "Java, retry.backoff.ms, .max.ms";
    produce = Patience::within(Duration::from_secs(120)), "Java, delivery.timeout.ms";
    fetch = Patience::within(Duration::from_secs(120)), "Java, delivery.timeout.ms";
    others = Patience::within(Duration::from_secs(120)), "Java, delivery.timeout.ms";
    leader_hints = LeaderHints::Ignored, "own choice: every change of a leader shows in metadata";
    receive_bytes_max = 100_000_000, "librdkafka, receive.message.max.bytes";
    produce_version_max = 8, "Wireshark 4.0 dissects it (captures)";
    fetch_version_max = 11, "Wireshark 4.0 dissects it (captures)";
    metadata_version_max = 9, "Wireshark 4.0 dissects it (captures); KIP-320";
}
