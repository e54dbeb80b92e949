//! Joining, syncing, leaving, time-outs, static members.

use super::*;

#[test]
fn a_new_group_waits_for_others_and_longer_as_they_come() {
    let mut driver = Driver::new();
    let first = driver.ask_join(consumer());
    driver.pass(DELAY - Duration::from_millis(1));
    let second = driver.ask_join(consumer());
    driver.pass(Duration::from_millis(1));
    assert_eq!(driver.joined(first), None, "somebody came, so it waits once more");
    driver.pass(DELAY);
    let (first, second) = (driver.joined(first).unwrap(), driver.joined(second).unwrap());
    assert_eq!((first.generation, second.generation), (1, 1));
    assert_eq!((&first.leader, &second.leader), (&first.member, &first.member));
    assert_eq!((first.members.len(), second.members.len()), (2, 0), "the leader alone is told of all");
    assert_eq!(driver.state(), "CompletingRebalance");
}

#[test]
fn the_first_wait_ends_with_the_rebalance_time_out() {
    let mut driver = Driver::with(Settings { members_max: 100, ..settings() });
    let first = driver.ask_join(consumer());
    for _ in 0..11 {
        driver.pass(DELAY - Duration::from_millis(1));
        driver.ask_join(consumer());
    }
    assert!(driver.joined(first).is_some(), "30 s are over, though members still come");
}

#[test]
fn an_id_is_given_first_and_forgotten_if_it_is_not_used() {
    let mut driver = Driver::new();
    let request = JoinRequest { id_required_first: true, ..consumer() };
    let refused = driver.join(request.clone());
    assert_eq!(refused.error, Some(ResponseError::MemberIdRequired));
    assert!(refused.member.starts_with("client-"));
    let ticket = driver.ask_join(JoinRequest { member: refused.member.clone(), ..request.clone() });
    driver.pass(DELAY);
    assert_eq!(driver.joined(ticket).unwrap().member, refused.member);
    let unused = driver.join(request.clone());
    driver.pass(SESSION);
    let late = driver.join(JoinRequest { member: unused.member, ..request });
    assert_eq!(late.error, Some(ResponseError::UnknownMemberId));
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let strange = |protocols: &[&str]| JoinRequest {
        protocols: protocols.iter().map(|name| (name.to_string(), Bytes::new())).collect(),
        ..consumer()
    };
    let short = Duration::from_millis(5999);
    let large = vec![("range".to_owned(), Bytes::from(vec![0; (1 << 20) + 1]))];
    let cases = [
        (JoinRequest { session_timeout: short, ..consumer() }, ResponseError::InvalidSessionTimeout),
        (
            JoinRequest { session_timeout: Duration::from_secs(301), ..consumer() },
            ResponseError::InvalidSessionTimeout,
        ),
        (JoinRequest { member: "ghost".into(), ..consumer() }, ResponseError::UnknownMemberId),
        (
            JoinRequest { protocol_type: "connect".into(), ..consumer() },
            ResponseError::InconsistentGroupProtocol,
        ),
        (strange(&["sticky"]), ResponseError::InconsistentGroupProtocol),
        (strange(&[]), ResponseError::InconsistentGroupProtocol),
        (JoinRequest { protocols: large, ..consumer() }, ResponseError::InvalidRequest),
    ];
    let mut driver = Driver::new();
    driver.stable(&[consumer()]);
    for (request, error) in cases {
        assert_eq!(driver.join(request.clone()).error, Some(error), "{request:?}");
    }
    let unknown = JoinRequest { group: "other".into(), member: "ghost".into(), ..consumer() };
    assert_eq!(driver.join(unknown).error, Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer(), consumer()]);
    assert_eq!(driver.join(consumer()).error, Some(ResponseError::GroupMaxSizeReached));
    assert_eq!(driver.join(again(&joined[1])).error, None, "a member is in it already");
}

#[test]
fn the_assignor_is_the_one_that_all_know_and_most_like() {
    let likes = |names: &[&str]| JoinRequest {
        protocols: names.iter().map(|name| (name.to_string(), subscription(&["orders"]))).collect(),
        ..consumer()
    };
    let cases: [(&[&[&str]], &str); 3] = [
        (&[&["a", "b", "c"], &["b", "c"], &["b", "a"]], "b"),
        (&[&["a", "b"], &["b", "a"], &["b", "a"]], "b"),
        (&[&["b", "a"], &["a", "b"]], "b"),
    ];
    for (members, expected) in cases {
        let mut driver = Driver::new();
        let requests: Vec<JoinRequest> = members.iter().map(|names| likes(names)).collect();
        let joined = driver.stable(&requests);
        assert_eq!(joined[0].protocol.as_deref(), Some(expected), "{members:?}");
    }
}

#[test]
fn a_member_that_joins_again_with_the_same_subscription_gets_the_same_answer() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    let repeated = driver.join(again(&joined[1]));
    assert_eq!((repeated.error, repeated.generation), (None, 1));
    assert_eq!(driver.state(), "Stable");
    let changed =
        JoinRequest { protocols: vec![("range".into(), subscription(&["other"]))], ..again(&joined[1]) };
    let ticket = driver.ask_join(changed);
    assert_eq!(driver.state(), "PreparingRebalance");
    let leader = driver.join(again(&joined[0]));
    assert_eq!((leader.generation, driver.joined(ticket).unwrap().generation), (2, 2));
}

#[test]
fn the_leader_can_ask_for_another_rebalance() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    let leader = driver.ask_join(again(&joined[0]));
    assert_eq!(driver.heartbeat(&joined[1]), Some(ResponseError::RebalanceInProgress));
    let other = driver.join(again(&joined[1]));
    assert_eq!((driver.joined(leader).unwrap().generation, other.generation), (2, 2));
}

#[test]
fn syncs_wait_for_the_leader_and_are_refused_by_state() {
    let mut driver = Driver::new();
    let tickets = [driver.ask_join(consumer()), driver.ask_join(consumer())];
    driver.pass(DELAY * 2);
    let [leader, other] = tickets.map(|ticket| driver.joined(ticket).unwrap());
    let waiting = driver.ask_sync(&other, &[]);
    assert_eq!(driver.synced(waiting), None);
    let wrong = JoinAnswer { generation: 7, ..other.clone() };
    assert_eq!(driver.sync(&wrong, &[]).error, Some(ResponseError::IllegalGeneration));
    let ghost = JoinAnswer { member: "ghost".into(), ..other.clone() };
    assert_eq!(driver.sync(&ghost, &[]).error, Some(ResponseError::UnknownMemberId));
    let own = driver.sync(&leader, &[(&leader.member, "mine"), ("ghost", "nobody's")]);
    assert_eq!(&own.assignment[..], b"mine");
    let answer = driver.synced(waiting).unwrap();
    assert_eq!((answer.error, answer.assignment.len()), (None, 0), "the leader gave it nothing");
    assert_eq!(driver.sync(&other, &[]).error, None, "a stable group answers at once");
    driver.ask_join(consumer());
    assert_eq!(driver.sync(&other, &[]).error, Some(ResponseError::RebalanceInProgress));
}

#[test]
fn a_sync_of_another_assignor_is_refused() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer()]);
    for (protocol_type, protocol) in [(Some("connect"), None), (Some("consumer"), Some("sticky"))] {
        let ticket = driver.ticket();
        let request = SyncRequest {
            group: "g".into(),
            caller: caller(&joined[0]),
            protocol_type: protocol_type.map(str::to_owned),
            protocol: protocol.map(str::to_owned),
            assignments: BTreeMap::new(),
        };
        driver.played.machine.sync(driver.played.now, request, ticket);
        driver.settle();
        assert_eq!(driver.synced(ticket).unwrap().error, Some(ResponseError::InconsistentGroupProtocol));
    }
}

#[test]
fn an_assignment_that_is_not_written_is_not_given_out() {
    for (error, code) in [
        (WriteError::Storage, ResponseError::CoordinatorNotAvailable),
        (WriteError::TooLarge, ResponseError::InvalidCommitOffsetSize),
    ] {
        let mut driver = Driver::new();
        let ticket = driver.ask_join(consumer());
        driver.pass(DELAY);
        let joined = driver.joined(ticket).unwrap();
        driver.writes = Some(Err(error));
        assert_eq!(driver.sync(&joined, &[(&joined.member, "a")]).error, Some(code));
        assert_eq!(driver.state(), "PreparingRebalance");
        driver.writes = Some(Ok(()));
        let joined = driver.join(again(&joined));
        assert_eq!(&driver.sync(&joined, &[(&joined.member, "a")]).assignment[..], b"a");
    }
}

#[test]
fn a_rebalance_while_the_assignment_is_being_written_wins() {
    let mut driver = Driver::new();
    let ticket = driver.ask_join(consumer());
    driver.pass(DELAY);
    let joined = driver.joined(ticket).unwrap();
    driver.writes = None;
    let sync = driver.ask_sync(&joined, &[(&joined.member, "a")]);
    driver.ask_join(consumer());
    assert_eq!(driver.synced(sync).unwrap().error, Some(ResponseError::RebalanceInProgress));
    driver.writes = Some(Ok(()));
    driver.settle();
    assert_eq!(driver.state(), "PreparingRebalance", "the late write changes nothing");
}

#[test]
fn a_silent_member_is_removed_after_its_session() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    driver.pass(SESSION - Duration::from_millis(1));
    assert_eq!(driver.heartbeat(&joined[0]), None);
    driver.pass(Duration::from_millis(1));
    assert_eq!(driver.heartbeat(&joined[1]), Some(ResponseError::UnknownMemberId));
    assert_eq!(driver.heartbeat(&joined[0]), Some(ResponseError::RebalanceInProgress));
    assert_eq!(driver.join(again(&joined[0])).generation, 2);
    driver.pass(SESSION);
    assert_eq!(driver.state(), "Empty");
}

#[test]
fn who_does_not_join_in_time_is_left_behind() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    let ticket = driver.ask_join(again(&joined[0]));
    for _ in 0..5 {
        driver.pass(REBALANCE / 6);
        assert_eq!(driver.heartbeat(&joined[1]), Some(ResponseError::RebalanceInProgress));
    }
    assert_eq!(driver.joined(ticket), None);
    driver.pass(REBALANCE / 6);
    assert_eq!(driver.joined(ticket).unwrap().members.len(), 1);
    assert_eq!(driver.heartbeat(&joined[1]), Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_leader_that_does_not_join_again_is_followed_by_another() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    driver.leave(&joined[0].member);
    let other = driver.join(again(&joined[1]));
    assert_eq!((other.leader.as_str(), other.members.len()), (other.member.as_str(), 1));
}

#[test]
fn who_does_not_sync_is_removed() {
    let mut driver = Driver::new();
    let long = JoinRequest { session_timeout: Duration::from_secs(100), ..consumer() };
    let tickets = [driver.ask_join(long.clone()), driver.ask_join(long.clone())];
    driver.pass(DELAY * 2);
    let [leader, other] = tickets.map(|ticket| driver.joined(ticket).unwrap());
    driver.sync(&leader, &[]);
    assert_eq!(driver.state(), "Stable");
    driver.pass(REBALANCE);
    assert_eq!(driver.heartbeat(&other), Some(ResponseError::UnknownMemberId));
    assert_eq!(driver.heartbeat(&leader), Some(ResponseError::RebalanceInProgress));
}

#[test]
fn members_leave_one_by_one_or_together() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), fixed("i")]);
    assert_eq!(driver.leave("ghost"), Some(ResponseError::UnknownMemberId));
    let wrong = Leaving { member: joined[0].member.clone(), instance: Some("i".into()) };
    let gone = Leaving { member: joined[0].member.clone(), instance: None };
    let by_instance = Leaving { member: String::new(), instance: Some("i".into()) };
    let unknown = Leaving { member: String::new(), instance: Some("none".into()) };
    let results =
        driver.played.machine.leave(driver.played.now, "g", &[wrong, gone, by_instance, unknown]).unwrap();
    driver.settle();
    let (fenced, unknown) = (ResponseError::FencedInstanceId, ResponseError::UnknownMemberId);
    assert_eq!(results, [Err(fenced), Ok(()), Ok(()), Err(unknown)]);
    assert_eq!(driver.state(), "Empty");
    let nobody = driver.played.machine.leave(
        driver.played.now,
        "none",
        &[Leaving { member: "m".into(), instance: None }],
    );
    assert_eq!(nobody, Ok(vec![Err(unknown)]));
}

#[test]
fn a_member_that_waits_learns_that_it_was_removed() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), consumer()]);
    let ticket = driver.ask_join(again(&joined[0]));
    driver.leave(&joined[0].member);
    assert_eq!(driver.joined(ticket).unwrap().error, Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_static_member_is_replaced_without_a_rebalance() {
    for knows_skip_assignment in [true, false] {
        let mut driver = Driver::new();
        let joined = driver.stable(&[fixed("a"), fixed("b")]);
        let replaced = driver.join(JoinRequest { knows_skip_assignment, ..fixed("a") });
        assert_eq!((replaced.error, replaced.generation, driver.state()), (None, 1, "Stable"));
        assert_ne!(replaced.member, joined[0].member);
        if knows_skip_assignment {
            assert_eq!((replaced.skip_assignment, replaced.members.len()), (true, 2));
            assert_eq!(replaced.leader, replaced.member);
        } else {
            assert_eq!((replaced.skip_assignment, replaced.members.len()), (false, 0));
            assert_eq!(replaced.leader, joined[0].member, "it must not take itself for the leader");
        }
        let synced = driver.sync(&replaced, &[]);
        assert_eq!(&synced.assignment[..], joined[0].member.as_bytes(), "the old one's assignment");
        let old = Caller { instance: Some("a".into()), ..caller(&joined[0]) };
        let fenced = driver.played.machine.heartbeat(driver.played.now, "g", &old);
        assert_eq!(fenced, Err(ResponseError::FencedInstanceId));
        let unknown = Caller { instance: Some("c".into()), ..caller(&joined[0]) };
        let unknown = driver.played.machine.heartbeat(driver.played.now, "g", &unknown);
        assert_eq!(unknown, Err(ResponseError::UnknownMemberId));
    }
}

#[test]
fn a_static_member_with_another_assignor_makes_a_rebalance() {
    let mut driver = Driver::new();
    let both = |first: &str, second: &str| JoinRequest {
        protocols: [first, second].map(|name| (name.to_owned(), subscription(&["orders"]))).into(),
        ..fixed("a")
    };
    driver.stable(&[both("range", "sticky")]);
    let joined = driver.join(both("sticky", "range"));
    assert_eq!((joined.error, joined.generation, joined.protocol.as_deref()), (None, 2, Some("sticky")));
}

#[test]
fn a_static_member_that_is_replaced_while_it_waits_is_fenced() {
    let mut driver = Driver::new();
    let old = driver.ask_join(fixed("a"));
    let new = driver.ask_join(fixed("a"));
    assert_eq!(driver.joined(old).unwrap().error, Some(ResponseError::FencedInstanceId));
    driver.pass(DELAY);
    assert_eq!(driver.joined(new).unwrap().members.len(), 1);
}

#[test]
fn static_members_that_are_away_stay_in_the_generation_until_their_session_ends() {
    let mut driver = Driver::new();
    let long = |instance| JoinRequest { session_timeout: Duration::from_secs(100), ..fixed(instance) };
    let joined = driver.stable(&[long("a"), long("b")]);
    let ticket = driver.ask_join(JoinRequest { instance: Some("a".into()), ..again(&joined[0]) });
    driver.pass(REBALANCE);
    let answer = driver.joined(ticket).unwrap();
    assert_eq!((answer.generation, answer.members.len()), (2, 2));
}

#[test]
fn members_survive_a_new_coordinator_and_die_there_of_silence() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer(), fixed("b")]);
    driver.pass(SESSION / 2);
    driver.reload();
    assert_eq!(driver.state(), "Stable");
    let synced = driver.sync(&joined[0], &[]);
    assert_eq!(&synced.assignment[..], joined[0].member.as_bytes());
    let by_instance = Caller { instance: Some("b".into()), ..caller(&joined[1]) };
    assert_eq!(driver.played.machine.heartbeat(driver.played.now, "g", &by_instance), Ok(()));
    driver.pass(SESSION);
    assert_eq!(driver.state(), "Empty");
    driver.reload();
    assert_eq!(driver.state(), "Empty");
    assert_eq!(driver.join(again(&joined[0])).error, Some(ResponseError::UnknownMemberId));
}

#[test]
fn a_new_member_whose_client_is_gone_expires_though_it_waits() {
    let mut driver = Driver::new();
    let long = JoinRequest { rebalance_timeout: Duration::from_secs(600), ..consumer() };
    let joined = driver.stable(std::slice::from_ref(&long));
    let ticket = driver.ask_join(long);
    for _ in 0..60 {
        driver.heartbeat(&joined[0]);
        driver.pass(Duration::from_secs(5));
    }
    assert_eq!(driver.joined(ticket).unwrap().error, Some(ResponseError::UnknownMemberId));
}

#[test]
fn heartbeats_cost_no_timers() {
    let mut driver = Driver::new();
    let joined = driver.stable(&[consumer()]);
    let timers = driver.played.machine.timer_count();
    for _ in 0..100 {
        driver.heartbeat(&joined[0]);
    }
    assert_eq!(driver.played.machine.timer_count(), timers);
}

#[test]
fn a_group_that_is_deleted_is_gone_for_good() {
    let mut driver = Driver::new();
    let delete = |driver: &mut Driver| driver.done(|machine, now, ticket| machine.delete(now, "g", ticket));
    assert_eq!(delete(&mut driver), Some(Err(ResponseError::GroupIdNotFound)));
    let joined = driver.stable(&[consumer()]);
    assert_eq!(driver.commit(caller(&joined[0]), 5), Ok(()));
    assert_eq!(delete(&mut driver), Some(Err(ResponseError::NonEmptyGroup)));
    driver.leave(&joined[0].member);
    driver.writes = None;
    assert_eq!(delete(&mut driver), None, "not before it is written");
    let ticket = driver.ask_join(consumer());
    assert_eq!(driver.joined(ticket).unwrap().error, Some(ResponseError::CoordinatorNotAvailable));
    driver.writes = Some(Ok(()));
    driver.settle();
    assert_eq!((driver.state(), driver.committed()), ("none", -1));
    driver.reload();
    assert_eq!((driver.state(), driver.committed()), ("none", -1));
}

#[test]
fn groups_are_counted() {
    let mut driver = Driver::with(Settings { groups_max: 1, ..settings() });
    driver.ask_join(consumer());
    let other = driver.join(JoinRequest { group: "other".into(), ..consumer() });
    assert_eq!(other.error, Some(ResponseError::GroupMaxSizeReached));
}
