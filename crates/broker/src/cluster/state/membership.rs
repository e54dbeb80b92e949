//! Commands about members. Source: redpanda.md 2.3, 3.1.1 and 4.5.

use super::super::command::Applied;
use super::super::members::Member;
use super::super::membership::{ConfigStatus, MembershipStatus, Registered};
use super::State;
use crate::rpc::Refusal;

fn unknown(id: i32) -> Refusal {
    Refusal::NotFound(format!("broker {id} is not a member of the cluster"))
}

impl State {
    pub(super) fn register_member(&mut self, member: &Member) -> Result<Applied, Refusal> {
        if let Some((id, _)) = self.removed.iter().find(|(_, uuid)| **uuid == member.uuid) {
            return Err(Refusal::Invalid(format!(
                "this volume belonged to broker {id}, which was removed; empty the volume to join as another broker"
            )));
        }
        let known = self.members.values_mut().find(|known| known.member.uuid == member.uuid);
        if let Some(known) = known {
            let id = known.member.id;
            if member.id >= 0 && member.id != id {
                return Err(Refusal::Invalid(format!(
                    "this volume belongs to broker {id}, not {}",
                    member.id
                )));
            }
            if member.revision >= known.member.revision {
                known.member = Member { id, ..member.clone() };
            }
            return Ok(Applied::Member(known.member.clone()));
        }
        let id = if member.id >= 0 { member.id } else { self.next_member_id };
        if self.members.contains_key(&id) || self.removed.contains_key(&id) {
            return Err(Refusal::Invalid(format!(
                "id {id} belongs to another volume; ids are never given twice"
            )));
        }
        let next = id.checked_add(1).ok_or_else(|| Refusal::Invalid(format!("id {id} is too large")))?;
        let member = Member { id, ..member.clone() };
        self.next_member_id = self.next_member_id.max(next);
        let registered = Registered {
            member: member.clone(),
            status: MembershipStatus::Active,
            maintenance: false,
            config: None,
        };
        self.members.insert(id, registered);
        Ok(Applied::Member(member))
    }

    pub(super) fn decommission(&mut self, id: i32) -> Result<Applied, Refusal> {
        let others = self.members.values().any(|other| other.member.id != id && other.takes_replicas());
        let member = self.members.get_mut(&id).ok_or_else(|| unknown(id))?;
        if member.status == MembershipStatus::Draining {
            return Err(Refusal::Invalid(format!("broker {id} is being decommissioned already")));
        }
        if !others {
            return Err(Refusal::Invalid(format!("broker {id} is the last one that takes replicas")));
        }
        member.status = MembershipStatus::Draining;
        Ok(Applied::Done)
    }

    /// Moves away from the member are given up; what has arrived elsewhere stays there.
    pub(super) fn recommission(&mut self, id: i32) -> Result<Applied, Refusal> {
        let member = self.members.get_mut(&id).ok_or_else(|| unknown(id))?;
        if member.status != MembershipStatus::Draining {
            return Err(Refusal::Invalid(format!("broker {id} is not being decommissioned")));
        }
        member.status = MembershipStatus::Active;
        for (topic, partition) in self.moves_away_from(id) {
            self.cancel(&topic, partition);
        }
        Ok(Applied::Done)
    }

    pub(super) fn remove_member(&mut self, id: i32) -> Result<Applied, Refusal> {
        let member = self.members.get(&id).ok_or_else(|| unknown(id))?;
        if member.status != MembershipStatus::Draining {
            return Err(Refusal::Invalid(format!("broker {id} is not being decommissioned")));
        }
        let left = self.replicas_of(id);
        if left > 0 {
            return Err(Refusal::Invalid(format!("broker {id} still has {left} replicas")));
        }
        let uuid = member.member.uuid;
        self.members.remove(&id);
        self.removed.insert(id, uuid);
        Ok(Applied::Done)
    }

    pub(super) fn set_maintenance(&mut self, id: i32, on: bool) -> Result<Applied, Refusal> {
        let alone = self.members.len() == 1;
        let other = self.members.values().find(|other| other.maintenance && other.member.id != id);
        let other = other.map(|other| other.member.id);
        let member = self.members.get_mut(&id).ok_or_else(|| unknown(id))?;
        if on && alone {
            return Err(Refusal::Invalid("a cluster of one broker cannot be drained".to_owned()));
        }
        if on && let Some(other) = other {
            return Err(Refusal::Invalid(format!("broker {other} is in maintenance; one at a time")));
        }
        member.maintenance = on;
        Ok(Applied::Done)
    }

    pub(super) fn report_config(&mut self, id: i32, status: &ConfigStatus) -> Result<Applied, Refusal> {
        let member = self.members.get_mut(&id).ok_or_else(|| unknown(id))?;
        member.config = Some(status.clone());
        Ok(Applied::Done)
    }

    /// The member, if it may be given replicas.
    pub fn takes_replicas(&self, id: i32) -> bool {
        self.members.get(&id).is_some_and(Registered::takes_replicas)
    }

    /// Whether leaderships may be given to the member. One that is not registered yet gets them, because nothing
    /// was decided about it.
    pub fn takes_leaderships(&self, id: i32) -> bool {
        self.members.get(&id).is_none_or(Registered::takes_leaderships)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::cluster::command::Command;
    use crate::cluster::members::member;
    use crate::config::HostPort;

    fn state(members: i32) -> State {
        let mut state = State::default();
        for id in 0..members {
            state.apply(&Command::RegisterMember { member: member(id, None) }).unwrap();
        }
        state
    }

    fn register(state: &mut State, id: i32, uuid: u128, revision: u64) -> Result<Applied, Refusal> {
        let member = Member { id, uuid: Uuid::from_u128(uuid), revision, ..member(0, None) };
        state.apply(&Command::RegisterMember { member })
    }

    #[test]
    fn a_volume_keeps_its_id_and_a_new_one_gets_the_next() {
        let mut state = state(2);
        let Ok(Applied::Member(third)) = register(&mut state, -1, 77, 1) else { panic!("not registered") };
        assert_eq!(third.id, 2);
        let Ok(Applied::Member(again)) = register(&mut state, -1, 77, 2) else { panic!("not registered") };
        assert_eq!((again.id, again.revision), (2, 2));
        assert!(register(&mut state, 1, 99, 1).is_err(), "the id belongs to another volume");
        assert!(register(&mut state, 4, 77, 3).is_err(), "the volume belongs to another id");
    }

    #[test]
    fn an_older_revision_does_not_replace_a_newer_one() {
        let mut state = state(1);
        let mut newer = member(0, None);
        (newer.revision, newer.rpc) = (5, HostPort::new("new", 1));
        state.apply(&Command::RegisterMember { member: newer }).unwrap();
        state.apply(&Command::RegisterMember { member: member(0, None) }).unwrap();
        assert_eq!(state.members[&0].member.rpc.host, "new");
    }

    #[test]
    fn a_removed_member_never_comes_back() {
        let mut state = state(3);
        assert!(state.apply(&Command::RemoveMember { id: 2 }).is_err(), "it was not decommissioned");
        state.apply(&Command::Decommission { id: 2 }).unwrap();
        assert!(state.apply(&Command::Decommission { id: 2 }).is_err());
        state.apply(&Command::RemoveMember { id: 2 }).unwrap();
        let uuid = member(2, None).uuid.as_u128();
        assert!(matches!(register(&mut state, -1, uuid, 9), Err(Refusal::Invalid(_))));
        assert!(matches!(register(&mut state, 2, 1234, 1), Err(Refusal::Invalid(_))));
        let Ok(Applied::Member(new)) = register(&mut state, -1, 1234, 1) else { panic!("not registered") };
        assert_eq!(new.id, 3);
    }

    #[test]
    fn recommission_is_only_for_draining_members() {
        let mut state = state(3);
        assert!(matches!(state.apply(&Command::Recommission { id: 1 }), Err(Refusal::Invalid(_))));
        assert!(matches!(state.apply(&Command::Recommission { id: 9 }), Err(Refusal::NotFound(_))));
        state.apply(&Command::Decommission { id: 1 }).unwrap();
        assert!(!state.takes_replicas(1));
        state.apply(&Command::Recommission { id: 1 }).unwrap();
        assert!(state.takes_replicas(1));
    }

    #[test]
    fn one_member_is_in_maintenance_at_a_time() {
        let mut state = state(3);
        let set = |state: &mut State, id, on| state.apply(&Command::SetMaintenance { id, on });
        set(&mut state, 0, true).unwrap();
        set(&mut state, 0, true).unwrap();
        assert!(matches!(set(&mut state, 1, true), Err(Refusal::Invalid(_))));
        assert!(!state.takes_leaderships(0) && state.takes_leaderships(1));
        set(&mut state, 1, false).unwrap();
        set(&mut state, 0, false).unwrap();
        set(&mut state, 1, true).unwrap();
        assert!(matches!(set(&mut state, 7, false), Err(Refusal::NotFound(_))));
        let mut alone = super::tests::state(1);
        assert!(matches!(set(&mut alone, 0, true), Err(Refusal::Invalid(_))));
    }
}
