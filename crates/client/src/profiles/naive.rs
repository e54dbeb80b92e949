//! A program that speaks the protocol and knows nothing of what can go wrong.
//!
//! It sets no time-outs, so the operating system's hold; it resolves once; it asks for metadata only when a broker tells it
//! to; it sleeps a second and tries again. It is nobody's client: what is marked "by definition" is what makes it naive.

use std::time::Duration;

use super::table;
use crate::behaviour::*;

#[rustfmt::skip]
table! {
    metadata_max_age = None, "by definition: nothing is renewed unasked";
    metadata_min_interval = Duration::ZERO, "by definition: no limit";
    metadata_topics = MetadataTopics::All, "by definition: the shortest request";
    topic_max_idle = None, "by definition: nothing is forgotten";
    refresh_on = RefreshOn::BrokersWord, "by definition: errors of the network are not errors of routing";
    ask_anyone = AskAnyone::LowestId, "by definition: the first of the list";
    bootstrap_order = BootstrapOrder::Written, "by definition: the first of the list";
    rebootstrap = Rebootstrap::Never, "KIP-899: what clients did before";
    bootstrap_connection = BootstrapConnection::Apart, "by definition: a connection per address";
    resolve = Resolve::Once, "redpanda.md 5, row 31";
    families = Families::OfFirst, "by definition: the first address";
    address_order = AddressOrder::Answered, "by definition: no order of its own";
    addresses_tried = AddressesTried::First, "by definition: the first address";
    connect_timeout = Wait::fixed(Duration::from_secs(127)), "Linux, tcp_syn_retries = 6";
    reconnect_backoff = Wait::fixed(Duration::ZERO), "by definition: none";
    connections = Connections::One, "by definition: a connection per broker";
    connections_max_idle = None, "by definition: nothing is closed unasked";
    address_change = AddressChange::Keep, "by definition: a connection that works stays";
    max_in_flight = 1, "by definition: an answer is waited for";
    request_timeout = Duration::from_millis(924_600), "Linux, tcp_retries2 = 15";
    server_wait = ServerWait::NotAdded, "by definition: TCP does not know of it";
    ack_timeout = Duration::from_secs(30), "as Java";
    retry_backoff = Wait::fixed(Duration::from_secs(1)), "by definition: sleep(1), then again";
    produce = Patience::ENDLESS, "by definition: a loop without an end";
    fetch = Patience::ENDLESS, "by definition: a loop without an end";
    others = Patience::ENDLESS, "by definition: a loop without an end";
    leader_hints = LeaderHints::Ignored, "clients.md: samsa's versions have none";
    receive_bytes_max = i32::MAX as u32, "by definition: no limit but the field's";
    produce_version_max = 3, "clients.md, version table: samsa";
    fetch_version_max = 4, "clients.md, version table: samsa";
    metadata_version_max = 1, "clients.md, version table: samsa";
}
