//! Which replica a consumer had better read from: one in its own rack (KIP-392; redpanda.md 4.3).

use tokio::time::Instant;

use crate::cluster::members::Members;

/// The replicas in a rack that are alive, unless the broker itself is one.
pub(super) fn candidates(
    members: &Members,
    own: i32,
    replicas: &[i32],
    rack: &str,
    now: Instant,
) -> Vec<i32> {
    let in_rack = |id: i32| members.get(id).is_some_and(|member| member.rack.as_deref() == Some(rack));
    if in_rack(own) {
        return Vec::new();
    }
    replicas.iter().copied().filter(|id| in_rack(*id) && members.alive(*id, now)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cluster::members::member;

    #[test]
    fn alive_replicas_of_the_rack_are_named_unless_the_leader_is_there() {
        let racks = [Some("a"), Some("b"), Some("b"), None];
        let all = racks.iter().zip(0..).map(|(rack, id)| member(id, *rack)).collect();
        let start = Instant::now();
        let mut members = Members::new(0, all, Duration::from_secs(5), start);
        assert_eq!(candidates(&members, 0, &[0, 1, 2, 3], "b", start), [1, 2]);
        assert_eq!(candidates(&members, 0, &[0, 1], "b", start), [1]);
        assert!(candidates(&members, 0, &[0, 1, 2], "a", start).is_empty());
        assert!(candidates(&members, 0, &[0, 1, 2], "c", start).is_empty());
        members.heard(1, start);
        let later = start + Duration::from_secs(6);
        assert_eq!(candidates(&members, 0, &[0, 1, 2], "b", later), [2]);
    }
}
