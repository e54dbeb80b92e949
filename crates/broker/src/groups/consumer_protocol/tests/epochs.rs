//! Epochs: joining, moving on, being fenced.

use super::*;

#[test]
fn a_member_that_joins_gets_all_and_a_second_one_its_half_when_it_is_given_up() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("one"), client("two"));
    driver.join(&mut one);
    assert_eq!((one.epoch, one.owned.clone()), (1, of(ORDERS, &[0, 1, 2, 3])));
    assert_eq!(driver.group().state(), "Stable");
    assert_eq!(driver.beat(&mut one).assignment, None, "it knows");

    driver.join(&mut two);
    assert_eq!((two.epoch, count(&two.owned)), (2, 0), "one has it all yet");
    assert_eq!(driver.group().state(), "Reconciling");
    let told = driver.beat(&mut one);
    assert_eq!((told.epoch, told.assignment), (1, Some(of(ORDERS, &[0, 1]))));
    assert_eq!(driver.beat(&mut two).assignment, None, "one has not said that it gave up anything");
    assert_eq!(driver.beat(&mut one).epoch, 2);
    assert_eq!(driver.beat(&mut two).assignment, Some(of(ORDERS, &[2, 3])));
    assert_eq!(driver.group().state(), "Stable");
    assert_eq!(driver.leave(&two, -1).unwrap().epoch, -1);
    driver.settle_group(&mut [&mut one]);
    assert_eq!((one.epoch, one.owned), (3, of(ORDERS, &[0, 1, 2, 3])));
}

#[test]
fn epochs_that_are_not_the_members_are_fenced_but_for_a_lost_answer() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("one"), client("two"));
    driver.join(&mut one);
    driver.join(&mut two);
    driver.settle_group(&mut [&mut one, &mut two]);
    assert_eq!(one.epoch, 2);
    let with = |driver: &Driver, epoch, owned: Option<Assignment>| HeartbeatRequest {
        epoch,
        owned,
        ..driver.plain(&one)
    };
    let fenced = Err(ResponseError::FencedMemberEpoch);
    for (epoch, owned) in [(3, None), (1, None), (1, Some(of(ORDERS, &[0, 3]))), (0, None)] {
        let request = with(&driver, epoch, owned.clone());
        let first = HeartbeatRequest { owned: owned.or(Some(Assignment::new())), ..driver.first(&one) };
        let request = if epoch == 0 { first } else { request };
        assert_eq!(driver.send(request.clone()), fenced, "{request:?}");
    }
    let repeated = driver.send(with(&driver, 1, Some(of(ORDERS, &[0])))).unwrap();
    assert_eq!(repeated.epoch, 2, "it missed that it has come to epoch 2");
    let stranger = client("stranger");
    let request = HeartbeatRequest { epoch: 1, ..driver.plain(&stranger) };
    assert_eq!(driver.send(request), Err(ResponseError::UnknownMemberId));
    let elsewhere = HeartbeatRequest { group: "other".into(), epoch: 1, ..driver.plain(&one) };
    assert_eq!(driver.send(elsewhere), Err(ResponseError::GroupIdNotFound));
}

#[test]
fn a_join_whose_answer_is_lost_is_taken_again() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    driver.join(&mut one);
    driver.join(&mut one);
    assert_eq!((one.epoch, count(&one.owned)), (1, 4));
    assert_eq!(driver.group().members.len(), 1);
}

#[test]
fn requests_without_sense_are_refused() {
    let (mut driver, one) = (Driver::new(), client("one"));
    let first = driver.first(&one);
    let invalid = ResponseError::InvalidRequest;
    let cases = [
        (HeartbeatRequest { group: String::new(), ..first.clone() }, invalid),
        (HeartbeatRequest { member: String::new(), ..first.clone() }, invalid),
        (HeartbeatRequest { instance: Some(String::new()), ..first.clone() }, invalid),
        (HeartbeatRequest { rack: Some(String::new()), ..first.clone() }, invalid),
        (HeartbeatRequest { epoch: -3, ..first.clone() }, invalid),
        (HeartbeatRequest { epoch: -2, ..first.clone() }, invalid),
        (HeartbeatRequest { rebalance_timeout_ms: None, ..first.clone() }, invalid),
        (HeartbeatRequest { owned: None, ..first.clone() }, invalid),
        (HeartbeatRequest { owned: Some(of(ORDERS, &[0])), ..first.clone() }, invalid),
        (HeartbeatRequest { topics: None, ..first.clone() }, invalid),
        (HeartbeatRequest { topics: names(&[&"t".repeat(1 << 21)]), ..first.clone() }, invalid),
        (
            HeartbeatRequest { assignor: Some("sticky".into()), ..first.clone() },
            ResponseError::UnsupportedAssignor,
        ),
        (
            HeartbeatRequest { regex: Some("(".into()), ..first.clone() },
            ResponseError::InvalidRegularExpression,
        ),
    ];
    for (request, error) in cases {
        assert_eq!(driver.send(request.clone()), Err(error), "{request:?}");
    }
    assert_eq!(driver.played.machine.list().count(), 0, "none of them made a group");
}

#[test]
fn a_full_group_takes_nobody_else() {
    let mut driver = Driver::new();
    for number in 0..4 {
        driver.join(&mut client(&format!("m{number}")));
    }
    let request = driver.first(&client("late"));
    assert_eq!(driver.send(request), Err(ResponseError::GroupMaxSizeReached));
}

#[test]
fn the_groups_epoch_follows_subscriptions_and_topics() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    driver.join(&mut one);
    driver.topic("payments", PAYMENTS, 2);
    assert_eq!((driver.beat(&mut one).epoch, one.epoch), (1, 1), "nobody wants payments");
    let request = HeartbeatRequest { topics: names(&["orders", "payments"]), ..driver.plain(&one) };
    let answer = driver.send(request).unwrap();
    assert_eq!((answer.epoch, count(&answer.assignment.unwrap())), (2, 6));
    one.epoch = 2;
    driver.topic("orders", ORDERS, 5);
    assert_eq!((driver.beat(&mut one).epoch, count(&one.owned)), (3, 7), "orders has got a partition");
    driver.image.version += 1;
    driver.image.topics.remove("payments");
    driver.settle_group(&mut [&mut one]);
    assert_eq!((one.epoch, one.owned.clone()), (4, of(ORDERS, &[0, 1, 2, 3, 4])));
}

#[test]
fn a_regular_expression_follows_the_topics() {
    let (mut driver, mut one) = (Driver::new(), client("one"));
    let request =
        HeartbeatRequest { topics: None, regex: Some("(orders|payments)".into()), ..driver.first(&one) };
    driver.join_with(&mut one, request);
    assert_eq!(one.owned, of(ORDERS, &[0, 1, 2, 3]));
    driver.topic("payments", PAYMENTS, 2);
    driver.settle_group(&mut [&mut one]);
    assert_eq!(count(&one.owned), 6);
    assert_eq!(Some(driver.group().subscribed_topics()), names(&["orders", "payments"]));
    let hidden = Visible(Arc::new(|name| name != "payments"));
    let mut two = client("two");
    let request =
        HeartbeatRequest { topics: None, regex: Some("pay.*".into()), visible: hidden, ..driver.first(&two) };
    driver.join_with(&mut two, request);
    driver.settle_group(&mut [&mut one, &mut two]);
    assert_eq!((count(&one.owned), count(&two.owned)), (6, 0), "it may not see what it names");
    let request =
        HeartbeatRequest { topics: names(&["orders"]), regex: Some(String::new()), ..driver.plain(&one) };
    let answer = driver.send(request).unwrap();
    (one.epoch, one.owned) = (answer.epoch, answer.assignment.unwrap());
    driver.settle_group(&mut [&mut one, &mut two]);
    assert_eq!(Some(driver.group().subscribed_topics()), names(&["orders"]));
}

#[test]
fn the_assignor_that_most_members_prefer_is_used() {
    let (mut driver, mut one, mut two) = (Driver::new(), client("a"), client("b"));
    driver.topic("payments", PAYMENTS, 1);
    for client in [&mut one, &mut two] {
        let both = names(&["orders", "payments"]);
        let request =
            HeartbeatRequest { topics: both, assignor: Some("range".into()), ..driver.first(client) };
        driver.join_with(client, request);
    }
    driver.settle_group(&mut [&mut one, &mut two]);
    assert_eq!(driver.group().assignor(), "range");
    assert_eq!((count(&one.owned), two.owned.clone()), (3, of(ORDERS, &[2, 3])), "the first has the odd one");
}
