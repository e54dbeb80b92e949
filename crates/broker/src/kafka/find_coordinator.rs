//! FindCoordinator: which broker looks after a group or a transaction.
//!
//! Source: redpanda.md 4.1. The broker is chosen by a hash of the key over the alive brokers; it is named by
//! the address of the listener's name alone, so where it advertises none the answer is
//! COORDINATOR_NOT_AVAILABLE.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use tokio::time::Instant;

use super::{Session, address, text};

/// Key types: groups and transactions (KIP-98); share groups (2) are not known here.
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

pub(super) async fn answer(
    session: &Session,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    if version >= 4 {
        let keys = request.coordinator_keys.iter();
        let coordinators =
            keys.map(|key| find(session, key, request.key_type).with_key(key.clone())).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = find(session, &request.key, request.key_type);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn find(session: &Session, key: &str, key_type: i8) -> Coordinator {
    let none = |error: ResponseError, message: String| {
        Coordinator::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(message)))
            .with_node_id(BrokerId(-1))
            .with_port(-1)
    };
    if !KEY_TYPES.contains(&key_type) {
        return none(ResponseError::InvalidRequest, format!("key type {key_type} is not known"));
    }
    session.node.with_cluster(|cluster| {
        let named = cluster.members.named(Instant::now());
        let index = crc32c::crc32c(key.as_bytes()) as usize % named.len().max(1);
        let Some(member) = named.get(index) else {
            return none(ResponseError::CoordinatorNotAvailable, "no broker is known".to_owned());
        };
        match address::for_coordinator(member, &session.listener) {
            Some(address) => Coordinator::default()
                .with_node_id(BrokerId(member.id))
                .with_host(text(address.host))
                .with_port(address.port.into()),
            None => none(
                ResponseError::CoordinatorNotAvailable,
                format!("broker {} advertises nothing for listener \"{}\"", member.id, session.listener.name),
            ),
        }
    })
}
