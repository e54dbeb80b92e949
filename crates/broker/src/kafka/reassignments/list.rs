//! ListPartitionReassignments: the changes of replicas that are under way.

use std::collections::BTreeMap;

use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{
    BrokerId, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
};

use crate::cluster::state::State;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: ListPartitionReassignmentsRequest,
    _version: i16,
) -> ListPartitionReassignmentsResponse {
    let response = ListPartitionReassignmentsResponse::default();
    if let Err(error) = authorize(session, Operation::Describe, Resource::Cluster) {
        return response
            .with_error_code(error.code())
            .with_error_message(Some(text("the client may not describe the cluster")));
    }
    response.with_topics(session.node.with_cluster(|cluster| list(&request, &cluster.state)))
}

fn list(request: &ListPartitionReassignmentsRequest, state: &State) -> Vec<OngoingTopicReassignment> {
    let wanted = |topic: &str, partition: i32| match &request.topics {
        None => true,
        Some(topics) => topics
            .iter()
            .any(|asked| asked.name.as_str() == topic && asked.partition_indexes.contains(&partition)),
    };
    let mut topics: BTreeMap<&str, Vec<OngoingPartitionReassignment>> = BTreeMap::new();
    for (topic, partition, change) in state.all_reassignments() {
        let Some(known) = state.topics.get(topic).filter(|topic| topic.is_visible()) else { continue };
        let now = usize::try_from(partition).ok().and_then(|index| known.partitions.get(index));
        if let Some(now) = now.filter(|_| wanted(topic, partition)) {
            topics.entry(topic).or_default().push(ongoing(partition, now, &change.target));
        }
    }
    let topic = |(name, partitions): (&str, Vec<OngoingPartitionReassignment>)| {
        OngoingTopicReassignment::default().with_name(TopicName(text(name))).with_partitions(partitions)
    };
    topics.into_iter().map(topic).collect()
}

/// `replicas` are those that there are during the change (KIP-455).
fn ongoing(partition: i32, now: &[i32], target: &[i32]) -> OngoingPartitionReassignment {
    let without = |ids: &[i32], others: &[i32]| -> Vec<BrokerId> {
        ids.iter().copied().filter(|id| !others.contains(id)).map(BrokerId).collect()
    };
    let adding = without(target, now);
    let replicas = now.iter().copied().map(BrokerId).chain(adding.iter().copied()).collect();
    OngoingPartitionReassignment::default()
        .with_partition_index(partition)
        .with_replicas(replicas)
        .with_adding_replicas(adding)
        .with_removing_replicas(without(now, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_what_goes() {
        let change = ongoing(4, &[0, 1, 2], &[3, 1, 2]);
        let ids = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect::<Vec<i32>>();
        assert_eq!(ids(&change.replicas), [0, 1, 2, 3]);
        assert_eq!((ids(&change.adding_replicas), ids(&change.removing_replicas)), (vec![3], vec![0]));
    }
}
