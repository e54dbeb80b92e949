//! Time, static members, other protocols, and coming back from the log.

use super::*;
use crate::coordinator::{Machine, WriteError};
use crate::groups::offsets::{Committed, TopicPartition};
use crate::groups::request::{Caller, CommitRequest, GroupKind, JoinRequest};
use std::collections::BTreeMap;

const MOMENT: Duration = Duration::from_millis(1);

fn classic(member: &str) -> JoinRequest {
    JoinRequest {
        group: "g".into(),
        member: member.into(),
        instance: None,
        client_id: "client".into(),
        client_host: "host".into(),
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(30),
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Default::default())],
        id_required_first: false,
        knows_skip_assignment: true,
        fresh: Uuid::nil(),
    }
}

impl Driver {
    fn commit(&mut self, caller: Caller, knows_member_epochs: bool) -> Result<(), ResponseError> {
        let committed = Committed {
            offset: 7,
            leader_epoch: -1,
            metadata: String::new(),
            committed_ms: self.now.unix_ms,
            expires_ms: None,
            position: -1,
        };
        let offsets = BTreeMap::from([(TopicPartition::new("orders", 0), committed)]);
        let request = CommitRequest { group: "g".into(), caller, knows_member_epochs, offsets };
        match self.ask(|machine, now, ticket| machine.commit(now, request, ticket)) {
            Some(Answer::Done(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    /// The offset of partition 0 of `orders`; -1 for none.
    fn committed(&self) -> i64 {
        let wanted = [TopicPartition::new("orders", 0)];
        let found = self.machine.fetch("g", Some(&wanted), false);
        found[0].1.as_ref().unwrap().as_ref().map_or(-1, |committed| committed.offset)
    }

    fn delete(&mut self) -> Result<(), ResponseError> {
        match self.ask(|machine, now, ticket| machine.delete(now, "g", ticket)) {
            Some(Answer::Done(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn listed(&self) -> Vec<(GroupKind, &'static str)> {
        self.machine.list().map(|group| (group.kind, group.state)).collect()
    }
}

fn caller(member: &str, epoch: i32) -> Caller {
    Caller { member: member.into(), instance: None, generation: epoch }
}

#[test]
fn a_silent_member_is_out_and_the_others_get_its_part() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("one"), client("two"));
    driver.join(&mut one);
    driver.join(&mut two);
    driver.settle_group(&mut [&mut one, &mut two]);
    driver.pass(SESSION - MOMENT);
    driver.beat(&mut one);
    driver.pass(MOMENT);
    assert_eq!(driver.group().members.keys().collect::<Vec<_>>(), ["one"]);
    driver.beat(&mut one);
    assert_eq!(count(&one.owned), 4);
    let late = driver.plain(&two);
    assert_eq!(driver.send(late), Err(ResponseError::UnknownMemberId));
    driver.pass(SESSION);
    assert_eq!(driver.group().state(), "Empty");
}

#[test]
fn a_member_that_gives_nothing_up_is_out_after_its_rebalance_time_out() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("one"), client("two"));
    driver.join(&mut one);
    driver.join(&mut two);
    let told = driver.plain(&one);
    assert!(driver.send(told.clone()).unwrap().assignment.is_some());
    for _ in 0..2 {
        driver.pass(REBALANCE / 2 - MOMENT);
        assert_eq!(driver.send(told.clone()).unwrap().epoch, 1);
        driver.beat(&mut two);
    }
    driver.pass(MOMENT * 2);
    assert_eq!(driver.send(told), Err(ResponseError::UnknownMemberId));
    driver.beat(&mut two);
    assert_eq!(count(&two.owned), 4);
}

#[test]
fn a_static_member_comes_back_to_its_partitions() {
    let (mut driver, mut one, mut two) = (Driver::new(), fixed("one", "pod-0"), fixed("two", "pod-1"));
    driver.join(&mut one);
    driver.join(&mut two);
    driver.settle_group(&mut [&mut one, &mut two]);
    let (epoch, had) = (driver.group().epoch, one.owned.clone());
    let mut back = fixed("one again", "pod-0");
    let request = driver.first(&back);
    assert_eq!(driver.send(request.clone()), Err(ResponseError::UnreleasedInstanceId), "one is there yet");
    assert_eq!(driver.leave(&one, -2).unwrap().epoch, -2);
    driver.beat(&mut two);
    assert_eq!(count(&two.owned), 2, "its part is kept for it");
    driver.join(&mut back);
    assert_eq!((back.owned, driver.group().epoch), (had, epoch), "nobody else notices");
    let old = HeartbeatRequest { epoch, ..driver.plain(&one) };
    assert_eq!(driver.send(old), Err(ResponseError::FencedInstanceId));
    assert_eq!(driver.leave(&one, -1), Err(ResponseError::FencedInstanceId));
    let mut same = fixed("one again", "pod-0");
    assert_eq!(driver.leave(&same, -2).unwrap().epoch, -2);
    driver.join(&mut same);
    assert_eq!((count(&same.owned), driver.group().epoch), (2, epoch), "it may be the same process");
    assert_eq!(driver.leave(&same, -2).unwrap().epoch, -2);
    driver.pass(SESSION - MOMENT);
    driver.beat(&mut two);
    driver.pass(MOMENT);
    driver.settle_group(&mut [&mut two]);
    assert_eq!(count(&two.owned), 4, "it stayed away for too long");
}

#[test]
fn another_coordinator_knows_it_all() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("one"), fixed("two", "pod-1"));
    driver.join(&mut one);
    driver.join(&mut two);
    driver.beat(&mut one);
    let before = driver.group().clone();
    driver.reload();
    let after = driver.group();
    assert_eq!((after.epoch, after.target_epoch), (before.epoch, before.target_epoch));
    assert_eq!((&after.members, &after.targets), (&before.members, &before.targets));
    assert_eq!((&after.owners, &after.static_members), (&before.owners, &before.static_members));
    driver.settle_group(&mut [&mut one, &mut two]);
    assert_eq!((count(&one.owned), driver.group().epoch), (2, 2), "the topics are as they were");
    driver.reload();
    driver.pass(SESSION);
    assert_eq!(driver.group().state(), "Empty", "nobody was heard by the new one");
}

#[test]
fn what_cannot_be_written_changes_nothing_and_the_next_one_has_its_turn() {
    let (mut driver, mut one, two) = (Driver::new(), client("one"), client("two"));
    driver.join(&mut one);
    let before = driver.group().members.clone();
    driver.writes = None;
    let (failing, waiting) = (driver.first(&two), driver.first(&client("three")));
    assert_eq!((driver.try_send(failing), driver.try_send(waiting)), (None, None));
    assert_eq!(driver.beat(&mut one).epoch, 1, "what changes nothing need not wait");
    driver.writes = Some(Err(WriteError::Storage));
    let batch = driver.machine.writes().next_batch();
    assert!(batch.is_some());
    for then in driver.machine.writes().take_done() {
        let now = driver.now;
        driver.machine.written(now, then, Err(WriteError::Storage));
    }
    driver.writes = Some(Ok(()));
    driver.settle();
    let answers: Vec<_> = std::mem::take(&mut driver.answers).into_values().map(heartbeat).collect();
    assert_eq!(answers[0], Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(answers[1].as_ref().unwrap().epoch, 2);
    let ids: Vec<&String> = driver.group().members.keys().collect();
    assert_eq!(ids, ["one", "three"]);
    assert_eq!(driver.group().members["one"], before["one"]);
    driver.writes = Some(Err(WriteError::Storage));
    driver.pass(SESSION * 2);
    assert_eq!(driver.group().members.len(), 2, "it cannot be written that they are gone");
    driver.writes = Some(Ok(()));
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.group().state(), "Empty");
}

#[test]
fn a_member_that_is_heard_before_its_removal_has_its_turn_stays_and_is_watched() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    driver.join(&mut one);
    driver.pass(SESSION - MOMENT);
    driver.writes = None;
    let joining = driver.first(&client("two"));
    assert_eq!(driver.try_send(joining), None);
    driver.pass(MOMENT);
    assert_eq!(driver.beat(&mut one).epoch, 1);
    driver.writes = Some(Ok(()));
    driver.settle();
    driver.answers.clear();
    let ids = |driver: &Driver| driver.group().members.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&driver), ["one", "two"]);
    driver.pass(SESSION - MOMENT);
    assert_eq!(ids(&driver), ["one", "two"]);
    driver.pass(MOMENT);
    assert_eq!(driver.group().state(), "Empty", "both are silent now");
}

#[test]
fn offsets_are_committed_by_members_in_their_epoch() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    assert_eq!(driver.commit(caller("one", 1), true), Err(ResponseError::GroupIdNotFound));
    assert_eq!(driver.commit(caller("one", 1), false), Err(ResponseError::IllegalGeneration));
    driver.join(&mut one);
    assert_eq!(driver.commit(caller("one", 1), true), Ok(()));
    let cases = [
        (caller("one", 1), false, ResponseError::UnsupportedVersion),
        (caller("one", 0), true, ResponseError::StaleMemberEpoch),
        (caller("two", 1), true, ResponseError::UnknownMemberId),
        (caller("", -1), true, ResponseError::UnknownMemberId),
    ];
    for (caller, knows, error) in cases {
        assert_eq!(driver.commit(caller.clone(), knows), Err(error), "{caller:?}");
    }
    let check = |member, epoch| driver.machine.check_fetch("g", member, epoch);
    assert_eq!((check(None, -1), check(Some("one"), 1)), (Ok(()), Ok(())));
    assert_eq!(check(Some("one"), 2), Err(ResponseError::StaleMemberEpoch));
    assert_eq!(check(Some("two"), 1), Err(ResponseError::UnknownMemberId));
    driver.leave(&one, -1).unwrap();
    assert_eq!(driver.commit(caller("", -1), false), Ok(()), "the group has no members");
}

#[test]
fn a_group_changes_its_protocol_while_it_is_empty_and_keeps_its_offsets() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    let join = driver.ask(|machine, now, ticket| machine.join(now, classic(""), ticket));
    assert_eq!(join, None, "it waits for others");
    let request = driver.first(&one);
    assert_eq!(
        driver.send(request),
        Err(ResponseError::GroupIdNotFound),
        "it has a member of the other protocol"
    );
    driver.pass(Duration::from_secs(60));
    driver.answers.clear();
    assert_eq!(driver.commit(caller("", -1), false), Ok(()));
    assert_eq!(driver.listed(), [(GroupKind::Classic, "Empty")]);
    driver.join(&mut one);
    assert_eq!(driver.listed(), [(GroupKind::Consumer, "Stable")]);
    driver.reload();
    assert_eq!((driver.listed(), driver.committed()), (vec![(GroupKind::Consumer, "Stable")], 7));
    assert_eq!(driver.machine.describe("g"), None, "DescribeGroups knows nothing of it");

    let join = driver.ask(|machine, now, ticket| machine.join(now, classic(""), ticket));
    let Some(Answer::Join(refused)) = join else { panic!("{join:?}") };
    assert_eq!(refused.error, Some(ResponseError::InconsistentGroupProtocol));
    driver.leave(&one, -1).unwrap();
    let join = driver.ask(|machine, now, ticket| machine.join(now, classic(""), ticket));
    assert_eq!(join, None, "it waits for others");
    driver.pass(Duration::from_secs(3));
    driver.reload();
    assert_eq!(driver.listed(), [(GroupKind::Classic, "Empty")]);
    assert_eq!(driver.committed(), 7);
}

#[test]
fn a_group_is_deleted_once_its_members_are_gone() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    driver.join(&mut one);
    driver.commit(caller("one", 1), true).unwrap();
    assert_eq!(driver.delete(), Err(ResponseError::NonEmptyGroup));
    driver.leave(&one, -1).unwrap();
    assert_eq!(driver.delete(), Ok(()));
    assert_eq!((driver.listed(), driver.committed()), (vec![], -1));
    driver.reload();
    assert_eq!((driver.listed(), driver.committed()), (vec![], -1));
    assert_eq!(driver.delete(), Err(ResponseError::GroupIdNotFound));
}
