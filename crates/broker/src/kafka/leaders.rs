//! Who leads a partition and where that broker is, as clients are told.
//!
//! Source: redpanda.md 4.1, 4.2; KIP-951: with the error of the wrong broker comes the right one.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{Session, address};
use crate::cluster::members::{Member, Members};
use crate::cluster::topics::Topic;
use crate::config::HostPort;

/// redpanda.md 4.4: `node_isolation_heartbeat_timeout`.
const ISOLATION_TIMEOUT: Duration = Duration::from_secs(3);

/// A broker that a client may be told to turn to.
pub(super) struct Endpoint {
    pub id: i32,
    pub address: HostPort,
    pub rack: Option<String>,
}

/// What Metadata says of a partition's leader.
pub(super) struct Leadership {
    pub leader: i32,
    pub epoch: i32,
    /// Set where the leader is a guess, or the partition is out of service.
    pub error: Option<ResponseError>,
}

/// The leader of a partition and its epoch; `None` if nobody is known to lead it.
pub(super) fn leader(session: &Session, topic: &Topic, partition: i32) -> Option<(i32, i32)> {
    session.node.leader_of((topic.id, partition))
}

/// The leader of a partition, or a guess: a client that is told nobody would not come back as soon.
pub(super) fn leadership(session: &Session, topic: &Topic, partition: i32, isolated: bool) -> Leadership {
    let node = &session.node;
    let disabled = node.with_cluster(|cluster| cluster.state.is_disabled(&topic.name, partition));
    if disabled {
        return Leadership { leader: -1, epoch: -1, error: Some(ResponseError::ReplicaNotAvailable) };
    }
    if let Some((leader, epoch)) = leader(session, topic, partition).filter(|_| !isolated) {
        return Leadership { leader, epoch, error: None };
    }
    let replicas = usize::try_from(partition).ok().and_then(|index| topic.partitions.get(index));
    let replicas = replicas.map(Vec::as_slice).unwrap_or_default();
    let former = node.leadership_of((topic.id, partition)).former;
    let leader = guess(replicas, node.id(), isolated, former, || node.new_uuid().as_u128());
    Leadership { leader, epoch: 0, error: Some(ResponseError::LeaderNotAvailable) }
}

/// Whether this broker is cut off from the others.
pub(super) fn isolated(session: &Session) -> bool {
    let own = session.node.id();
    session.node.with_cluster(|cluster| is_isolated(&cluster.members, own, Instant::now()))
}

/// The former leader, unless that is this broker or it is cut off: then a random other replica; the first replica
/// if nothing is known.
fn guess(
    replicas: &[i32],
    own: i32,
    isolated: bool,
    known: Option<i32>,
    random: impl FnOnce() -> u128,
) -> i32 {
    let others: Vec<i32> = replicas.iter().copied().filter(|id| *id != own).collect();
    match known {
        Some(leader) if leader != own => leader,
        None if !isolated || others.is_empty() => replicas.first().copied().unwrap_or(-1),
        _ if others.is_empty() => own,
        _ => others[(random() % others.len() as u128) as usize],
    }
}

/// Whether a broker hears none of the others, and is not led by any (redpanda.md 4.2).
pub(crate) fn is_isolated(members: &Members, own: i32, now: Instant) -> bool {
    let mut others = members.all().map(|member| member.id).filter(|id| *id != own).peekable();
    others.peek().is_some()
        && others.all(|id| !members.heard_within(id, ISOLATION_TIMEOUT, now))
        && members.controller(now).is_none_or(|controller| controller == own)
}

/// Where a member is, on the listener that the client entered by.
pub(super) fn endpoint(member: &Member, own: i32, session: &Session) -> Option<Endpoint> {
    let address = address::for_metadata(member, own, &session.listener)?;
    Some(Endpoint { id: member.id, address, rack: member.rack.clone() })
}

/// The addresses of brokers, on the listener that the client entered by.
pub(super) fn endpoints(session: &Session, ids: &BTreeSet<i32>) -> Vec<Endpoint> {
    if ids.is_empty() {
        return Vec::new();
    }
    let own = session.node.id();
    session.node.with_cluster(|cluster| {
        let known = ids.iter().filter_map(|id| cluster.members.get(*id));
        known.filter_map(|member| endpoint(member, own, session)).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members::member;

    #[test]
    fn a_guess_names_somebody_else() {
        assert_eq!(guess(&[0, 1, 2], 0, false, Some(2), || 0), 2);
        assert_eq!(guess(&[0, 1, 2], 0, false, Some(0), || 1), 2);
        assert_eq!(guess(&[0, 1, 2], 0, false, None, || 1), 0);
        assert_eq!(guess(&[0, 1, 2], 0, true, None, || 0), 1);
        assert_eq!(guess(&[0], 0, true, Some(0), || 0), 0);
        assert_eq!(guess(&[], 0, false, None, || 0), -1);
    }

    #[test]
    fn a_broker_is_isolated_when_it_hears_nobody() {
        let start = Instant::now();
        let timeout = Duration::from_secs(1);
        let alone = Members::new(0, vec![member(0, None)], timeout, start);
        assert!(!is_isolated(&alone, 0, start + Duration::from_secs(60)));
        let mut members = Members::new(0, vec![member(0, None), member(1, None)], timeout, start);
        assert!(!is_isolated(&members, 0, start));
        assert!(is_isolated(&members, 0, start + Duration::from_secs(4)));
        members.heard(1, start + Duration::from_secs(3));
        assert!(!is_isolated(&members, 0, start + Duration::from_secs(4)));
    }
}
