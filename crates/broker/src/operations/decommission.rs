//! Removing brokers: the replicas of a broker that leaves move to others, then it is removed.
//!
//! Moves are begun 50 at a time; the partitions' leaders carry them out. A replica for which there is no place is
//! an allocation failure, and the broker stays until there is one. The plan is made anew from the replicated state
//! each time, so it goes on wherever the controller is. Source: redpanda.md 4.5 (decommission).

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::{SUBMIT_TIMEOUT, is_controller, milliseconds, placeable};
use crate::cluster::command::Command;
use crate::cluster::membership::MembershipStatus;
use crate::cluster::placement::{Loads, Placeable};
use crate::cluster::reassignment::Reason;
use crate::cluster::state::State;
use crate::cluster::submit::submit;
use crate::node::Node;

/// Moves under way at a time (redpanda.md 4.5).
const BATCH: usize = 50;

/// What to ask of the controller now.
fn plan(state: &State, places: &Placeable) -> Vec<Command> {
    let leaving: BTreeSet<i32> = leaving(state).collect();
    let under_way =
        state.all_reassignments().filter(|(_, _, change)| change.reason == Reason::Decommission).count();
    let moves = moves(state, &leaving, places);
    let room = BATCH.saturating_sub(under_way);
    let mut commands: Vec<Command> = moves.moves.into_iter().take(room).collect();
    let empty = leaving.iter().filter(|id| state.replicas_of(**id) == 0);
    commands.extend(empty.map(|id| Command::RemoveMember { id: *id }));
    commands
}

/// The partitions of a leaving broker for which there is no place: `namespace/topic/partition`.
pub(crate) fn allocation_failures(state: &State, id: i32, places: &Placeable) -> Vec<String> {
    moves(state, &BTreeSet::from([id]), places).failures
}

fn leaving(state: &State) -> impl Iterator<Item = i32> {
    let leaving = |(id, member): (&i32, &_)| {
        let member: &crate::cluster::membership::Registered = member;
        (member.status == MembershipStatus::Draining).then_some(*id)
    };
    state.members.iter().filter_map(leaving)
}

#[derive(Default)]
struct Moves {
    moves: Vec<Command>,
    failures: Vec<String>,
}

fn moves(state: &State, leaving: &BTreeSet<i32>, places: &Placeable) -> Moves {
    let mut found = Moves::default();
    if leaving.is_empty() {
        return found;
    }
    let mut loads = Loads::of(state);
    for topic in state.topics.all() {
        for (index, replicas) in topic.partitions.iter().enumerate() {
            let partition = index as i32;
            let affected = replicas.iter().any(|id| leaving.contains(id));
            if !affected || state.reassignment(&topic.name, partition).is_some() {
                continue;
            }
            match places.replace(replicas, leaving, &mut loads) {
                Some(replicas) => found.moves.push(Command::Reassign {
                    topic: topic.name.clone(),
                    partition,
                    replicas,
                    reason: Reason::Decommission,
                }),
                None if topic.is_visible() => found.failures.push(format!("kafka/{}/{index}", topic.name)),
                None => found.failures.push(format!("{}/{index}", topic.name)),
            }
        }
    }
    found
}

/// Works on removals as long as this broker is the controller's leader, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        sleep(milliseconds(&node, "members_backend_retry_ms")).await;
        if !is_controller(&node) {
            continue;
        }
        let any = node.with_cluster(|cluster| leaving(&cluster.state).next().is_some());
        if !any {
            continue;
        }
        let state = node.with_cluster(|cluster| cluster.state.clone());
        for command in plan(&state, &placeable(&node)) {
            if let Err(refusal) = submit(&node, command, Instant::now() + SUBMIT_TIMEOUT).await {
                tracing::info!(%refusal, "a step of a removal is refused; it is planned anew");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::placement::tests::{cluster, places};

    #[test]
    fn replicas_move_then_the_broker_is_removed() {
        let mut state = cluster(4, &[&[0, 1, 2], &[1, 2, 3]]);
        state.apply(&Command::Decommission { id: 1 }).unwrap();
        let places = places(&state);
        let commands = plan(&state, &places);
        let targets: Vec<&[i32]> = commands
            .iter()
            .map(|command| match command {
                Command::Reassign { replicas, reason: Reason::Decommission, .. } => replicas.as_slice(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(targets, [[0, 3, 2], [0, 2, 3]]);
        for command in commands {
            state.apply(&command).unwrap();
        }
        assert_eq!(plan(&state, &places), []);
        for (topic, partition, replicas) in [("t0", 0, [0, 2, 3]), ("t1", 0, [0, 2, 3])] {
            let (topic, replicas) = (topic.to_owned(), replicas.to_vec());
            state.apply(&Command::FinishReassignment { topic, partition, replicas }).unwrap();
        }
        assert_eq!(plan(&state, &places), [Command::RemoveMember { id: 1 }]);
    }

    #[test]
    fn without_a_place_a_removal_waits_and_says_so() {
        let mut state = cluster(3, &[&[0, 1, 2]]);
        state.apply(&Command::Decommission { id: 2 }).unwrap();
        let places = places(&state);
        assert_eq!(plan(&state, &places), []);
        assert_eq!(allocation_failures(&state, 2, &places), ["kafka/t0/0"]);
    }

    #[test]
    fn fifty_moves_are_under_way_at_a_time() {
        let topics: Vec<&[i32]> = vec![&[0]; 70];
        let mut state = cluster(2, &topics);
        state.apply(&Command::Decommission { id: 0 }).unwrap();
        let places = places(&state);
        let commands = plan(&state, &places);
        assert_eq!(commands.len(), 50);
        for command in commands.iter().take(10) {
            state.apply(command).unwrap();
        }
        assert_eq!(plan(&state, &places).len(), 40);
    }
}
