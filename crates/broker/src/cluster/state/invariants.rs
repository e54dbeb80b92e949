//! What holds in every state, whatever commands led to it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::features::FeatureState;
use super::super::members::{Member, member};
use super::super::reassignment::Reason;
use super::*;
use crate::cluster::command::NewTopic;

/// What is wrong with a state.
fn problems(state: &State) -> Vec<String> {
    let mut problems = Vec::new();
    let mut expect = |holds: bool, text: String| {
        if !holds {
            problems.push(text);
        }
    };
    let known = |id: &i32| state.members.contains_key(id);
    let distinct = |ids: &[i32]| ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
    for topic in state.topics.all() {
        for (index, replicas) in topic.partitions.iter().enumerate() {
            let place = format!("{}/{index}", topic.name);
            expect(!replicas.is_empty() && distinct(replicas), format!("{place} has replicas {replicas:?}"));
            expect(replicas.iter().all(known), format!("{place} is on strangers: {replicas:?}"));
        }
        let groups = state.groups.get(&topic.name).map_or(0, Vec::len);
        expect(groups == topic.partitions.len(), format!("{} has {groups} groups", topic.name));
    }
    for (topic, partition, change) in state.all_reassignments() {
        let place = format!("{topic}/{partition}");
        let there =
            state.topics.get(topic).is_some_and(|topic| (partition as usize) < topic.partitions.len());
        expect(there, format!("{place} is changing and not there"));
        expect(distinct(&change.target), format!("{place} goes to {:?}", change.target));
        expect(change.target.iter().all(known), format!("{place} goes to strangers: {:?}", change.target));
    }
    for (topic, indices) in &state.disabled {
        let count = state.topics.get(topic).map_or(0, |topic| topic.partitions.len());
        let there = indices.iter().all(|index| (*index as usize) < count);
        expect(there && !indices.is_empty(), format!("{topic}: {indices:?} are disabled"));
    }
    let groups: Vec<u64> = state.groups.values().flatten().copied().collect();
    let distinct_groups: BTreeSet<&u64> = groups.iter().collect();
    expect(distinct_groups.len() == groups.len(), "two groups have one number".to_owned());
    expect(
        groups.iter().all(|group| (1..=state.last_group).contains(group)),
        "a group from nowhere".to_owned(),
    );
    for (id, registered) in &state.members {
        expect(registered.member.id == *id, format!("member {id} says it is {}", registered.member.id));
        expect(*id < state.next_member_id, format!("id {id} may be given again"));
        expect(!state.removed.contains_key(id), format!("member {id} was removed"));
    }
    let volumes: BTreeSet<Uuid> = state.members.values().map(|it| it.member.uuid).collect();
    expect(volumes.len() == state.members.len(), "two members on one volume".to_owned());
    let back = state.removed.values().any(|uuid| volumes.contains(uuid));
    expect(!back, "a removed volume is back".to_owned());
    let resting = state.members.values().filter(|it| it.maintenance).count();
    expect(resting <= 1, format!("{resting} members are in maintenance"));
    problems
}

fn topic_name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "kafka_internal/tx", "bad name"]).prop_map(str::to_owned)
}

fn replicas() -> impl Strategy<Value = Vec<i32>> {
    prop::collection::vec(0..6, 0..4)
}

fn commands() -> impl Strategy<Value = Command> {
    let id = 0..6;
    prop_oneof![
        4 => (-1..6, 0..8_u128, 0..3_u64).prop_map(|(id, uuid, revision)| {
            let member = Member { id, uuid: Uuid::from_u128(uuid), revision, ..member(0, None) };
            Command::RegisterMember { member }
        }),
        2 => id.clone().prop_map(|id| Command::Decommission { id }),
        1 => id.clone().prop_map(|id| Command::Recommission { id }),
        2 => id.clone().prop_map(|id| Command::RemoveMember { id }),
        2 => (id, any::<bool>()).prop_map(|(id, on)| Command::SetMaintenance { id, on }),
        3 => (topic_name(), 0..4_u128, prop::collection::vec(replicas(), 0..3)).prop_map(
            |(name, id, assignments)| Command::CreateTopic(NewTopic {
                name,
                id: Some(Uuid::from_u128(id)),
                partitions: assignments.len() as i32,
                replication_factor: 1,
                assignments: Some(assignments),
                configs: BTreeMap::new(),
                validate_only: false,
            })
        ),
        1 => topic_name().prop_map(|name| Command::DeleteTopic { name }),
        1 => (topic_name(), 0..4, prop::collection::vec(replicas(), 0..2)).prop_map(
            |(name, count, added)| Command::CreatePartitions {
                name,
                count,
                assignments: Some(added),
                validate_only: false,
            }
        ),
        4 => (topic_name(), -1..3, replicas()).prop_map(|(topic, partition, replicas)| Command::Reassign {
            topic,
            partition,
            replicas,
            reason: Reason::Request,
        }),
        1 => (topic_name(), 0..3)
            .prop_map(|(topic, partition)| Command::CancelReassignment { topic, partition }),
        4 => (topic_name(), 0..3, replicas()).prop_map(|(topic, partition, replicas)| {
            Command::FinishReassignment { topic, partition, replicas }
        }),
        1 => (topic_name(), prop::option::of(-1..3), any::<bool>()).prop_map(
            |(topic, partition, disabled)| Command::DisablePartitions { topic, partition, disabled }
        ),
        1 => topic_name().prop_map(|name| Command::SetFeature { name, state: FeatureState::Disabled }),
        1 => any::<u32>().prop_map(|count| Command::AllocateProducerIds { count }),
    ]
}

proptest! {
    #[test]
    fn any_sequence_of_commands_keeps_the_state_sound(commands in prop::collection::vec(commands(), 0..60)) {
        let mut state = State::default();
        let mut again = State::default();
        let mut given: BTreeSet<i32> = BTreeSet::new();
        for command in &commands {
            let before = state.clone();
            let result = state.apply(command);
            prop_assert_eq!(&again.apply(command), &result);
            if result.is_err() {
                prop_assert_eq!(&state, &before, "a refused command changed the state");
            } else {
                prop_assert_eq!(state.version, before.version + 1);
            }
            let new = state.members.keys().filter(|id| !before.members.contains_key(id));
            for id in new {
                prop_assert!(given.insert(*id), "id {} was given twice", id);
            }
            prop_assert_eq!(problems(&state), Vec::<String>::new(), "after {:?}", command);
            // What is read back from a snapshot goes on in the same way.
            again = serde_json::from_str(&serde_json::to_string(&again).unwrap()).unwrap();
        }
    }
}
