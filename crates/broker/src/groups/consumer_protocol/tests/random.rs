//! Members that come, go, forget and are slow, in every order: no partition is ever had by two.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Join(usize),
    /// A heartbeat that says what the member has.
    Beat(usize),
    /// A heartbeat that says nothing.
    Silent(usize),
    Leave(usize),
    Partitions(i32),
    Pass(u64),
    Reload,
}

fn act() -> impl Strategy<Value = Act> {
    let who = 0usize..4;
    prop_oneof![
        3 => who.clone().prop_map(Act::Join),
        8 => who.clone().prop_map(Act::Beat),
        2 => who.clone().prop_map(Act::Silent),
        1 => who.prop_map(Act::Leave),
        1 => (1..9).prop_map(Act::Partitions),
        1 => (1u64..30).prop_map(Act::Pass),
        1 => Just(Act::Reload),
    ]
}

/// What a client that was taken out has: nothing, once it hears of it.
fn step(driver: &mut Driver, clients: &mut [Client], act: &Act) {
    match act {
        Act::Join(who) if clients[*who].epoch == 0 => driver.join(&mut clients[*who]),
        Act::Beat(who) | Act::Silent(who) if clients[*who].epoch > 0 => {
            let client = &mut clients[*who];
            let owned = matches!(act, Act::Beat(_)).then(|| client.owned.clone());
            let request = HeartbeatRequest { owned, ..driver.plain(client) };
            match driver.send(request) {
                Ok(answer) => {
                    client.epoch = answer.epoch;
                    client.owned = answer.assignment.unwrap_or_else(|| std::mem::take(&mut client.owned));
                }
                Err(error) => {
                    assert_eq!(error, ResponseError::UnknownMemberId, "{act:?}");
                    (client.epoch, client.owned) = (0, Assignment::new());
                }
            }
        }
        Act::Leave(who) if clients[*who].epoch > 0 => {
            let client = &mut clients[*who];
            let left = driver.leave(client, -1).err();
            assert!(left.is_none_or(|error| error == ResponseError::UnknownMemberId));
            (client.epoch, client.owned) = (0, Assignment::new());
        }
        Act::Partitions(count) => driver.topic("orders", ORDERS, *count),
        Act::Pass(seconds) => driver.pass(Duration::from_secs(*seconds)),
        Act::Reload => driver.reload(),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_partition_has_two_members_and_all_have_one_in_the_end(acts in prop::collection::vec(act(), 1..80)) {
        let mut driver = Driver::new();
        let mut clients: Vec<Client> = (0..4).map(|number| client(&format!("m{number}"))).collect();
        for act in &acts {
            step(&mut driver, &mut clients, act);
            let Some(group) = driver.machine.consumer_group("g") else { continue };
            // A member that the group has taken out without its knowledge does not count: it is to stop by itself.
            let known = clients.iter().filter(|client| group.members.contains_key(&client.id));
            let mut had = BTreeSet::new();
            for client in known {
                for partition in super::super::reconciliation::partitions(&client.owned) {
                    prop_assert!(had.insert(partition), "{partition:?} is had by two after {act:?}");
                }
            }
        }
        for _ in 0..8 {
            for who in 0..clients.len() {
                step(&mut driver, &mut clients, &Act::Join(who));
                step(&mut driver, &mut clients, &Act::Beat(who));
            }
        }
        let group = driver.group();
        prop_assert_eq!(group.state(), "Stable");
        let partitions = driver.image.topics["orders"].partitions;
        let all: usize = clients.iter().map(|client| count(&client.owned)).sum();
        prop_assert_eq!(all, partitions as usize);
        for client in &clients {
            prop_assert_eq!(&client.owned, &group.members[&client.id].current.assigned);
        }
    }
}
