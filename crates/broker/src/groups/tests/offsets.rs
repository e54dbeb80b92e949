//! Commits, transactions, expiry, deletion.

use super::*;

#[test]
fn who_may_commit_is_decided_by_state_and_generation() {
    let mut driver = Driver::new();
    let ghost = Caller { member: "ghost".into(), instance: None, generation: 3 };
    assert_eq!(driver.commit(ghost.clone(), 1), Err(ResponseError::IllegalGeneration), "there is no group");
    assert_eq!(driver.commit(nobody(), 1), Ok(()), "a client without a group");
    let joined = driver.stable(&[consumer(), consumer()]);
    assert_eq!(driver.commit(nobody(), 2), Err(ResponseError::UnknownMemberId));
    assert_eq!(driver.commit(ghost, 2), Err(ResponseError::UnknownMemberId));
    let old = Caller { generation: 0, ..caller(&joined[0]) };
    assert_eq!(driver.commit(old, 2), Err(ResponseError::IllegalGeneration));
    let fenced = Caller { instance: Some("i".into()), ..caller(&joined[0]) };
    assert_eq!(driver.commit(fenced, 2), Err(ResponseError::UnknownMemberId));
    assert_eq!(driver.commit(caller(&joined[0]), 3), Ok(()));
    assert_eq!(driver.committed(), 3);
    // Cooperative members go on while others join, and commit what they give up (KIP-429).
    driver.ask_join(consumer());
    assert_eq!(driver.commit(caller(&joined[0]), 4), Ok(()));
    let tickets = [driver.ask_join(again(&joined[0])), driver.ask_join(again(&joined[1]))];
    let [leader, _] = tickets.map(|ticket| driver.joined(ticket).unwrap());
    assert_eq!(driver.state(), "CompletingRebalance");
    assert_eq!(driver.commit(caller(&leader), 5), Err(ResponseError::RebalanceInProgress));
    assert_eq!(driver.committed(), 4);
}

#[test]
fn a_commit_keeps_a_member_alive() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer()]);
    for offset in 0..4 {
        driver.pass(SESSION / 2);
        assert_eq!(driver.commit(caller(&joined[0]), offset), Ok(()));
    }
    assert_eq!(driver.state(), "Stable");
}

#[test]
fn an_offset_counts_when_it_is_written_and_stays() {
    let mut driver = Driver::new();
    driver.commit(nobody(), 1).unwrap();
    driver.writes = None;
    let request = commit(&driver.played.now, nobody(), 2);
    assert_eq!(driver.done(|machine, now, ticket| machine.commit(now, request, ticket)), None);
    assert_eq!(driver.committed(), 1);
    driver.writes = Some(Ok(()));
    driver.settle();
    assert_eq!(driver.committed(), 2);
    driver.reload();
    assert_eq!(driver.committed(), 2);
    driver.writes = Some(Err(WriteError::Storage));
    assert_eq!(driver.commit(nobody(), 3), Err(ResponseError::CoordinatorNotAvailable));
    assert_eq!(driver.committed(), 2);
}

#[test]
fn offsets_of_a_transaction_count_when_it_is_committed() {
    for reload in [false, true] {
        let mut driver = Driver::new();
        driver.commit(nobody(), 1).unwrap();
        for (commit, expected) in [(false, 1), (true, 7)] {
            driver.commit_in_transaction(9, 7).unwrap();
            if reload {
                driver.reload();
            }
            assert_eq!(driver.committed(), 1);
            let unstable = driver.played.machine.fetch("g", Some(&[orders()]), true);
            assert_eq!(unstable[0].1, Err(ResponseError::UnstableOffsetCommit));
            let other = driver.played.machine.fetch("g", Some(&[TopicPartition::new("orders", 1)]), true);
            assert_eq!(other[0].1, Ok(None));
            driver.end_transaction(8, true);
            driver.end_transaction(9, commit);
            if reload {
                driver.reload();
            }
            assert_eq!(driver.committed(), expected);
            assert!(driver.played.machine.fetch("g", Some(&[orders()]), true)[0].1.is_ok());
        }
    }
}

#[test]
fn of_two_commits_the_later_one_counts_whenever_its_transaction_ends() {
    let mut driver = Driver::new();
    driver.commit_in_transaction(9, 5).unwrap();
    driver.commit(nobody(), 6).unwrap();
    driver.end_transaction(9, true);
    assert_eq!(driver.committed(), 6);
    driver.reload();
    assert_eq!(driver.committed(), 6);
}

#[test]
fn members_are_checked_in_transactions_where_they_are_named() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer()]);
    let mut try_commit = |caller: Caller| {
        let commit = commit(&driver.played.now, caller, 5);
        let request = TransactionalCommitRequest { commit, producer_id: 9, producer_epoch: 0, begins: None };
        driver.done(|machine, now, ticket| machine.commit_in_transaction(now, request, ticket)).unwrap()
    };
    assert_eq!(try_commit(nobody()), Ok(()), "a producer that does not name its member (before KIP-447)");
    assert_eq!(try_commit(caller(&joined[0])), Ok(()));
    let old = Caller { generation: 0, ..caller(&joined[0]) };
    assert_eq!(try_commit(old), Err(ResponseError::IllegalGeneration));
    let ghost = Caller { member: "ghost".into(), ..caller(&joined[0]) };
    assert_eq!(try_commit(ghost), Err(ResponseError::UnknownMemberId));
}

#[test]
fn a_producer_that_is_fenced_is_told() {
    let mut driver = Driver::new();
    driver.writes = Some(Err(WriteError::Producer(ResponseError::InvalidProducerEpoch)));
    assert_eq!(driver.commit_in_transaction(9, 5), Err(ResponseError::InvalidProducerEpoch));
}

#[test]
fn offsets_expire_a_week_after_the_group_has_emptied() {
    let retention = settings().offset_retention.unwrap();
    let check = settings().offset_retention_check;
    let mut driver = Driver::new();
    let joined = driver.stable(&[JoinRequest { session_timeout: Duration::from_secs(300), ..consumer() }]);
    driver.commit(caller(&joined[0]), 5).unwrap();
    for _ in 0..(retention.as_secs() / 250 + 10) {
        driver.pass(Duration::from_secs(250));
        assert_eq!(driver.heartbeat(&joined[0]), None);
    }
    assert_eq!(driver.committed(), 5, "a member is subscribed to the topic");
    driver.leave(&joined[0].member);
    driver.pass(retention - check);
    assert_eq!(driver.committed(), 5);
    driver.pass(check * 2);
    assert_eq!(driver.committed(), -1);
    driver.pass(check);
    assert_eq!(driver.state(), "none", "neither members nor offsets");
    driver.reload();
    assert_eq!((driver.state(), driver.committed()), ("none", -1));
}

#[test]
fn offsets_of_clients_without_a_group_expire_by_their_own_age() {
    let mut driver = Driver::new();
    driver.commit(nobody(), 5).unwrap();
    let mut request = commit(&driver.played.now, nobody(), 6);
    let committed = request.offsets.remove(&orders()).unwrap();
    let expires_ms = Some(driver.played.now.unix_ms + 1000);
    request.offsets.insert(TopicPartition::new("short", 0), Committed { expires_ms, ..committed });
    driver.done(|machine, now, ticket| machine.commit(now, request, ticket)).unwrap().unwrap();
    driver.pass(settings().offset_retention_check);
    assert_eq!(
        driver.played.machine.fetch("g", None, false).len(),
        1,
        "the one with a retention of its own is gone"
    );
    driver.pass(settings().offset_retention.unwrap());
    assert_eq!(driver.committed(), -1);
}

#[test]
fn offsets_are_deleted_where_nobody_is_subscribed() {
    let mut driver = Driver::new();
    let try_delete = |driver: &mut Driver, partitions: &[TopicPartition]| {
        let mut result = Err(ResponseError::UnknownServerError);
        driver.done(|machine, _, ticket| result = machine.delete_offsets("g", partitions, ticket));
        result
    };
    assert_eq!(try_delete(&mut driver, &[orders()]), Err(ResponseError::GroupIdNotFound));
    driver.commit(nobody(), 5).unwrap();
    assert_eq!(try_delete(&mut driver, &[orders()]), Ok(vec![Ok(())]));
    assert_eq!(driver.committed(), -1);
    let joined = driver.stable(&[consumer()]);
    driver.commit(caller(&joined[0]), 6).unwrap();
    let other = TopicPartition::new("other", 0);
    let subscribed = Err(ResponseError::GroupSubscribedToTopic);
    assert_eq!(try_delete(&mut driver, &[orders(), other]), Ok(vec![subscribed, Ok(())]));
    assert_eq!(driver.committed(), 6);
    let mut driver = Driver::new();
    driver.stable(&[JoinRequest { protocol_type: "connect".into(), ..consumer() }]);
    assert_eq!(try_delete(&mut driver, &[orders()]), Err(ResponseError::NonEmptyGroup));
}

#[test]
fn offsets_of_deleted_topics_are_forgotten() {
    let mut driver = Driver::new();
    driver.commit(nobody(), 5).unwrap();
    driver.played.machine.forget_topics(|topic| topic == "other");
    driver.settle();
    assert_eq!(driver.committed(), 5);
    driver.played.machine.forget_topics(|topic| topic == "orders");
    driver.settle();
    assert_eq!(driver.committed(), -1);
    driver.reload();
    assert_eq!(driver.committed(), -1);
}

#[test]
fn a_commit_under_way_when_its_group_is_deleted_leaves_nothing() {
    let mut driver = Driver::new();
    driver.commit(nobody(), 5).unwrap();
    driver.writes = None;
    let mut request = commit(&driver.played.now, nobody(), 6);
    let committed = request.offsets.remove(&orders()).unwrap();
    request.offsets.insert(TopicPartition::new("late", 0), committed);
    driver.done(|machine, now, ticket| machine.commit(now, request, ticket));
    driver.done(|machine, now, ticket| machine.delete(now, "g", ticket));
    driver.writes = Some(Ok(()));
    driver.settle();
    let last = driver.log.last().unwrap();
    assert!(last.records.iter().all(|record| record.value.is_none()), "a tombstone for the late one, too");
    driver.reload();
    assert_eq!(driver.played.machine.fetch("g", None, false), []);
}
