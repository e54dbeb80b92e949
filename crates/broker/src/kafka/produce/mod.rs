//! Produce: a batch per partition, written at its leader.
//!
//! Source: redpanda.md 4.3. acks -1 waits for a majority, 1 for the leader, 0 for nobody and gets no answer.
//! What a batch must be is in [`check`]; sequences are the partition's affair, and so are transactions, once their
//! coordinator has said that they are open ([`transaction`]).

mod check;
pub(crate) mod content;
pub(super) mod old;
pub(super) mod transaction;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, poll_immediate};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use tokio::time::Instant;

use self::check::{Refused, Rules};
use super::authorization::{Operation, Resource, allowed};
use super::{Session, leaders, lookup, partition_error, quotas, text};
use crate::cluster::properties;
use crate::cluster::state::State;
use crate::cluster::topics::Topic;
use crate::node::PartitionKey;
use crate::producers::Standing;
use crate::replication::partition::Acks;
use crate::space_alert;
use crate::status::Counter;
use crate::topic_properties;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;
/// First version whose answers name leaders (KIP-951).
const LEADERS: i16 = 10;
/// The topic of the groups' offsets: brokers write it, clients do not (Redpanda: `is_noproduce_topic`).
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a request is the same for all its partitions.
struct Manner<'a> {
    session: &'a Session,
    acks: Option<Acks>,
    version: i16,
    transactional: bool,
    deadline: Instant,
}

/// A topic that may be written to, and how.
struct Target {
    topic: Arc<Topic>,
    bytes_max: usize,
    needs_keys: bool,
    append_time: bool,
}

/// Where a batch went.
struct Written {
    base_offset: i64,
    append_time_ms: i64,
    start_offset: i64,
}

/// The answer, or `None` if none is wanted.
pub(super) async fn answer(
    session: &Session,
    request: ProduceRequest,
    version: i16,
) -> Option<ProduceResponse> {
    let manner = Manner {
        session,
        acks: acks(request.acks),
        version,
        transactional: request.transactional_id.is_some(),
        deadline: Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64),
    };
    let mut turn = manner.transactional.then(|| session.connection.turns.take());
    let targets = targets(session, &request, version);
    let bytes = bytes_of(&request);
    let acks = request.acks;
    let responses = match space_alert::refuses(&session.node) {
        true => write_all(&manner, request, targets, |_| Err(short_of_space())).await,
        false => {
            if let Some(turn) = &mut turn {
                turn.comes().await;
            }
            let asked = transaction::ask(session, &request, &targets, version).await;
            let mut writes = pin!(write_all(&manner, request, targets, |key| asked.standing(key)));
            // What can be appended is appended when it is first polled; the next request may come then.
            let written = poll_immediate(writes.as_mut()).await;
            drop(turn);
            match written {
                Some(written) => written,
                None => writes.await,
            }
        }
    };
    let throttle_ms = quotas::charge(session, quotas::PRODUCER_BYTE_RATE, bytes);
    (acks != 0).then(|| {
        let endpoints = if version >= LEADERS { endpoints(session, &responses) } else { Vec::new() };
        ProduceResponse::default()
            .with_responses(responses)
            .with_throttle_time_ms(throttle_ms)
            .with_node_endpoints(endpoints)
    })
}

/// Where the topics of a request are written to.
fn targets(session: &Session, request: &ProduceRequest, version: i16) -> Vec<Result<Target, Refused>> {
    session.node.with_cluster(|cluster| {
        let transaction = request.transactional_id.as_deref();
        let may = transaction.is_none_or(|id| {
            allowed(session, &cluster.state, Operation::Write, Resource::TransactionalId(id))
        });
        let target = |data: &TopicProduceData| match may {
            true => target(session, &cluster.state, data, version),
            false => Err(refused(ResponseError::TransactionalIdAuthorizationFailed)),
        };
        request.topic_data.iter().map(target).collect()
    })
}

/// Writes to every partition; each is appended to before any is waited for.
async fn write_all(
    manner: &Manner<'_>,
    request: ProduceRequest,
    targets: Vec<Result<Target, Refused>>,
    standing: impl Fn(PartitionKey) -> Result<Standing, Refused>,
) -> Vec<TopicProduceResponse> {
    let standing = &standing;
    let answers = request.topic_data.into_iter().zip(targets).map(|(data, target)| async move {
        let target = target.as_ref();
        let partitions = data.partition_data.iter().map(|data| async move {
            let written = match target {
                Ok(target) => match standing((target.topic.id, data.index)) {
                    Ok(standing) => write(manner, target, data, standing).await,
                    Err(refused) => Err(refused),
                },
                Err(refused) => Err(refused.clone()),
            };
            response(manner, target.ok(), data.index, written)
        });
        let answers = join_all(partitions).await;
        TopicProduceResponse::default()
            .with_name(data.name)
            .with_topic_id(data.topic_id)
            .with_partition_responses(answers)
    });
    join_all(answers).await
}

/// What Redpanda answers while a disk has less free space than `storage_min_free_bytes`: BROKER_NOT_AVAILABLE, which clients
/// try again (its `kafka/server/handlers/produce.cc`, `should_reject_writes`).
fn short_of_space() -> Refused {
    let message = "the broker's disk has less free space than storage_min_free_bytes".to_owned();
    (ResponseError::BrokerNotAvailable, message)
}

/// Bytes of the batches of a request.
fn bytes_of(request: &ProduceRequest) -> usize {
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    partitions.filter_map(|partition| partition.records.as_ref()).map(|records| records.len()).sum()
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        -1 => Some(Acks::All),
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        _ => None,
    }
}

fn refused(error: ResponseError) -> Refused {
    let reason = match error {
        ResponseError::UnknownTopicId | ResponseError::UnknownTopicOrPartition => {
            "there is no such topic or partition"
        }
        ResponseError::NotLeaderOrFollower => "another broker leads the partition",
        ResponseError::TopicAuthorizationFailed => "the client may not write to the topic",
        ResponseError::TransactionalIdAuthorizationFailed => "the client may not use the transactional id",
        _ => "the partition cannot be written to",
    };
    (error, reason.to_owned())
}

fn target(
    session: &Session,
    state: &State,
    data: &TopicProduceData,
    version: i16,
) -> Result<Target, Refused> {
    let topic = match version {
        TOPIC_IDS.. => lookup::topic_by_id(session, state, data.topic_id, Operation::Write),
        _ => lookup::topic(session, state, &data.name, Operation::Write),
    };
    let topic = topic.map_err(refused)?;
    let forbidden = properties::value_of(&state.properties, "kafka_noproduce_topics");
    let is_forbidden = |name: &str| {
        forbidden.as_array().is_some_and(|names| names.iter().any(|forbidden| forbidden == name))
    };
    if topic.name == OFFSETS_TOPIC || is_forbidden(&topic.name) {
        return Err(refused(ResponseError::TopicAuthorizationFailed));
    }
    Ok(Target {
        bytes_max: bytes_max(session, state, &topic),
        needs_keys: topic_properties::compacts(&state.properties, &topic.configs),
        append_time: topic_properties::log_append_time(&state.properties, &topic.configs),
        topic,
    })
}

fn bytes_max(session: &Session, state: &State, topic: &Topic) -> usize {
    let own = topic.configs.get("max.message.bytes").and_then(|value| value.parse().ok());
    let cluster = || state.properties.get("kafka_batch_max_bytes").and_then(|value| value.as_u64());
    let bytes = own.or_else(cluster).unwrap_or(session.node.properties().kafka_batch_max_bytes.into());
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

async fn write(
    manner: &Manner<'_>,
    target: &Target,
    data: &PartitionProduceData,
    standing: Standing,
) -> Result<Written, Refused> {
    let Some(acks) = manner.acks else {
        return Err((ResponseError::InvalidRequiredAcks, "acks is none of -1, 0 and 1".to_owned()));
    };
    let session = manner.session;
    let rules = Rules {
        version: manner.version,
        bytes_max: target.bytes_max,
        needs_keys: target.needs_keys,
        transactional: manner.transactional,
    };
    let partition = lookup::leader(session, &target.topic, data.index, -1).await.map_err(refused)?;
    let batch = check::batch(data.records.as_ref(), rules)?;
    let bytes = batch.len() as u64;
    let append_time_ms = target.append_time.then(|| (session.node.clock)());
    let produced = partition.produce(Vec::from(batch), standing, append_time_ms, acks, manner.deadline).await;
    let produced = produced.map_err(|error| (partition_error(session, &error), error.to_string()))?;
    session.node.status.add(Counter::BatchesProduced, 1);
    let traffic = session.node.metrics.traffic(partition.key);
    traffic.produced_bytes.add(bytes);
    traffic.produced_records.add(u64::try_from(produced.last_offset - produced.base_offset + 1).unwrap_or(0));
    Ok(Written {
        base_offset: produced.base_offset,
        append_time_ms: append_time_ms.unwrap_or(-1),
        start_offset: produced.start_offset,
    })
}

fn response(
    manner: &Manner,
    target: Option<&Target>,
    index: i32,
    written: Result<Written, Refused>,
) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default().with_index(index);
    let (error, reason) = match written {
        Ok(written) => {
            return answer
                .with_base_offset(written.base_offset)
                .with_log_append_time_ms(written.append_time_ms)
                .with_log_start_offset(written.start_offset);
        }
        Err(refused) => refused,
    };
    let answer = answer
        .with_error_code(error.code())
        .with_error_message(Some(text(reason)))
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1);
    let elsewhere = error == ResponseError::NotLeaderOrFollower && manner.version >= LEADERS;
    match target
        .filter(|_| elsewhere)
        .and_then(|target| leaders::leader(manner.session, &target.topic, index))
    {
        Some((leader, epoch)) => answer.with_current_leader(
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch),
        ),
        None => answer,
    }
}

/// The addresses of the leaders that the answers name.
fn endpoints(session: &Session, responses: &[TopicProduceResponse]) -> Vec<NodeEndpoint> {
    let answers = responses.iter().flat_map(|topic| &topic.partition_responses);
    let named = answers.map(|answer| answer.current_leader.leader_id.0).filter(|id| *id >= 0);
    let leaders: BTreeSet<i32> = named.collect();
    let endpoint = |endpoint: leaders::Endpoint| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(endpoint.id))
            .with_host(text(endpoint.address.host))
            .with_port(endpoint.address.port.into())
            .with_rack(endpoint.rack.map(text))
    };
    leaders::endpoints(session, &leaders).into_iter().map(endpoint).collect()
}
