//! ConsumerGroupHeartbeat (KIP-848).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::{answered, member_shard, now, owned};
use crate::groups::consumer_protocol;
use crate::groups::consumer_protocol::heartbeat::{HeartbeatAnswer, HeartbeatRequest, Refused};
use crate::groups::consumer_protocol::membership::JOINS;
use crate::groups::consumer_protocol::subscription::Visible;
use crate::groups::request::Answer;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    match heartbeat(session, request, version).await {
        Err(refused) => response
            .with_error_code(refused.error.code())
            .with_error_message((!refused.message.is_empty()).then(|| text(refused.message))),
        Ok((answer, interval_ms)) => response
            .with_member_id(Some(text(answer.member)))
            .with_member_epoch(answer.epoch)
            .with_heartbeat_interval_ms(interval_ms)
            .with_assignment(answer.assignment.map(assignment)),
    }
}

fn assignment(assignment: consumer_protocol::Assignment) -> Assignment {
    let topics = assignment.into_iter().map(|(topic, indexes)| {
        TopicPartitions::default().with_topic_id(topic).with_partitions(indexes.into_iter().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

fn plain(error: ResponseError) -> Refused {
    Refused { error, message: String::new() }
}

/// The answer, and how often the member is to send a heartbeat, milliseconds.
async fn heartbeat(
    session: &Session,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> Result<(HeartbeatAnswer, i32), Refused> {
    let shard = member_shard(session, &request.group_id).map_err(|error| match error {
        // As the protocol of KIP-848 has it.
        ResponseError::InvalidGroupId => {
            Refused { error: ResponseError::InvalidRequest, message: "GroupId can't be empty.".into() }
        }
        error => plain(error),
    })?;
    for topic in request.subscribed_topic_names.iter().flatten() {
        authorize(session, Operation::Describe, Resource::Topic(topic)).map_err(plain)?;
    }
    let request = translated(session, request, version);
    let mut interval_ms = 0;
    let waiting = shard.ask(now(session), |machine, now, ticket| {
        let interval = machine.settings().consumer_heartbeat_interval;
        interval_ms = i32::try_from(interval.as_millis()).unwrap_or(i32::MAX);
        machine.consumer_heartbeat(now, request, ticket);
    });
    match answered(waiting.map_err(plain)?).await.map_err(plain)? {
        Answer::Heartbeat(answer) => answer.map(|answer| (answer, interval_ms)),
        _ => Err(plain(ResponseError::UnknownServerError)),
    }
}

fn translated(session: &Session, request: ConsumerGroupHeartbeatRequest, version: i16) -> HeartbeatRequest {
    let names = request.subscribed_topic_names;
    let seer = session.clone();
    let may_see = move |topic: &str| authorize(&seer, Operation::Describe, Resource::Topic(topic)).is_ok();
    // Only clients of version 0 may leave their id to the broker.
    let nameless = version == 0 && request.member_epoch == JOINS && request.member_id.is_empty();
    HeartbeatRequest {
        group: request.group_id.to_string(),
        member: match nameless {
            true => session.node.new_uuid().to_string(),
            false => request.member_id.to_string(),
        },
        epoch: request.member_epoch,
        instance: owned(&request.instance_id),
        rack: owned(&request.rack_id),
        client_id: session.client_id.to_string(),
        client_host: session.connection.peer.map(|peer| peer.ip().to_string()).unwrap_or_default(),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|ms| *ms >= 0),
        topics: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        regex: owned(&request.subscribed_topic_regex),
        assignor: owned(&request.server_assignor),
        owned: request.topic_partitions.map(assigned),
        image: session.node.kafka.topic_image(&session.node),
        visible: Visible(Arc::new(may_see)),
    }
}

fn assigned(owned: Vec<Owned>) -> consumer_protocol::Assignment {
    let mut assignment = consumer_protocol::Assignment::new();
    for topic in owned {
        let indexes: &mut BTreeSet<i32> = assignment.entry(topic.topic_id).or_default();
        indexes.extend(topic.partitions);
    }
    assignment
}
