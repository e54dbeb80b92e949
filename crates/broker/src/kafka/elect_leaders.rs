//! ElectLeaders: partitions are led by their preferred replica again (KIP-183, KIP-460).
//!
//! An unclean election, which would lose records, is not to be had from Raft groups.

use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

use super::authorization::{Operation, Resource, authorize};
use super::{Session, leaders, text};
use crate::cluster::topics::Topic;
use crate::operations::leadership;

/// The kind of election that moves leadership to the preferred replica.
const PREFERRED: i8 = 0;

type Refused = (ResponseError, String);

pub(super) async fn answer(
    session: &Session,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let allowed = authorize(session, Operation::Alter, Resource::Cluster)
        .map_err(|error| (error, "the client may not alter the cluster".to_owned()));
    if let (Err((error, _)), 1..) = (&allowed, version) {
        return ElectLeadersResponse::default().with_error_code(error.code());
    }
    let kind = match version {
        0 => PREFERRED,
        _ => request.election_type,
    };
    let allowed = allowed.and_then(|()| match kind {
        PREFERRED => Ok(()),
        _ => Err((ResponseError::InvalidRequest, "only the preferred replica can be elected".to_owned())),
    });
    let every = request.topic_partitions.is_none();
    let results = wanted(session, &request).into_iter().map(|(name, topic, partitions)| {
        let allowed = &allowed;
        async move {
            let topic = topic.as_deref();
            let elections = partitions.into_iter().map(|index| async move {
                let elected = match allowed {
                    Ok(()) => elect(session, topic, index).await,
                    Err(refused) => Err(refused.clone()),
                };
                (index, elected)
            });
            let told = join_all(elections).await.into_iter().filter(|(_, elected)| {
                // Asked about all partitions, one does not want to hear of those where nothing was to do.
                !(every && matches!(elected, Err((ResponseError::ElectionNotNeeded, _))))
            });
            let results: Vec<PartitionResult> = told.map(|(index, elected)| result(index, elected)).collect();
            ReplicaElectionResult::default().with_topic(name).with_partition_result(results)
        }
    });
    let results = join_all(results).await.into_iter().filter(|topic| !topic.partition_result.is_empty());
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

fn result(index: i32, elected: Result<(), Refused>) -> PartitionResult {
    let result = PartitionResult::default().with_partition_id(index);
    match elected {
        Ok(()) => result,
        Err((error, reason)) => result.with_error_code(error.code()).with_error_message(Some(text(reason))),
    }
}

/// The topics and partitions that are asked for; `None` for all.
fn wanted(
    session: &Session,
    request: &ElectLeadersRequest,
) -> Vec<(TopicName, Option<Arc<Topic>>, Vec<i32>)> {
    session.node.with_cluster(|cluster| {
        let topics = &cluster.state.topics;
        match &request.topic_partitions {
            Some(asked) => asked
                .iter()
                .map(|asked| {
                    let topic = topics.shared(&asked.topic).filter(|topic| topic.is_visible());
                    (asked.topic.clone(), topic, asked.partitions.clone())
                })
                .collect(),
            None => {
                let all = topics.visible().filter_map(|topic| topics.shared(&topic.name));
                let named = all.map(|topic| {
                    let partitions = (0..).zip(&topic.partitions).map(|(index, _)| index).collect();
                    (TopicName(text(topic.name.clone())), Some(topic), partitions)
                });
                named.collect()
            }
        }
    })
}

async fn elect(session: &Session, topic: Option<&Topic>, index: i32) -> Result<(), Refused> {
    let unknown = || (ResponseError::UnknownTopicOrPartition, "there is no such partition".to_owned());
    let topic = topic.filter(|topic| topic.has_partition(index)).ok_or_else(unknown)?;
    let preferred = topic.partitions[index as usize].first().copied().ok_or_else(unknown)?;
    let Some((leader, _)) = leaders::leader(session, topic, index) else {
        return Err((ResponseError::LeaderNotAvailable, "nobody leads the partition now".to_owned()));
    };
    if leader == preferred {
        let reason = format!("broker {preferred} leads the partition already");
        return Err((ResponseError::ElectionNotNeeded, reason));
    }
    if !leadership::able_to_lead(&session.node).contains(&preferred) {
        let reason = format!("broker {preferred} is down, leaving, or in maintenance");
        return Err((ResponseError::PreferredLeaderNotAvailable, reason));
    }
    leadership::transfer_at(&session.node, leader, (topic.id, index), preferred)
        .await
        .map_err(|refusal| (ResponseError::PreferredLeaderNotAvailable, refusal.to_string()))
}
