//! Fetch: batches below the high watermark, waiting for them if there are not enough.
//!
//! A waiting request costs nothing: it is woken by its partitions. Sessions are in [`sessions`], what is read
//! from a partition in [`read`], reading in the client's rack in [`nearby`].

mod nearby;
pub(super) mod read;
pub(super) mod sessions;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse, ProducerId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use self::read::{Manner, Outcome, Wanted};
use self::sessions::{Asked, Context, Opening, TopicKey};
use super::authorization::Operation;
use super::{Session, leaders, lookup, quotas, text};
use crate::cluster::properties;
use crate::cluster::state::State;
use crate::cluster::topics::Topic;
use crate::log::batch;
use crate::producers::Aborted;
use crate::replication::partition::{Partition, Progress};
use crate::status::Counter;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS: i16 = 13;
/// First version that has sessions (KIP-227).
const SESSIONS: i16 = 7;
/// First version whose answers name leaders (KIP-951 puts their addresses beside them).
const CURRENT_LEADER: i16 = 12;
const NODE_ENDPOINTS: i16 = 16;
/// Isolation level of a reader of committed records.
const READ_COMMITTED: i8 = 1;

/// What one look at the partitions gave.
struct Look {
    outcomes: Vec<Outcome>,
    bytes: usize,
    urgent: bool,
}

pub(super) async fn answer(session: &Session, request: FetchRequest, version: i16) -> FetchResponse {
    let now = Instant::now();
    let deadline = now + Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let opening = opening(&request, version);
    let fresh_id = if opening.session_epoch == 0 && version >= SESSIONS { fresh_id(session) } else { 0 };
    let begun = session.node.kafka.fetch_sessions().begin(now, opening, fresh_id);
    let mut context = match begun {
        Ok(context) => context,
        Err(error) => return FetchResponse::default().with_error_code(error.code()),
    };
    let near = session
        .node
        .with_cluster(|cluster| properties::flag(&cluster.state.properties, "enable_rack_awareness"));
    let manner = Manner {
        session,
        committed_only: request.isolation_level == READ_COMMITTED,
        rack: Some(request.rack_id.as_str()).filter(|rack| near && !rack.is_empty()),
    };
    let wanted = find(session, std::mem::take(&mut context.partitions));
    let look = look_until_enough(&manner, &request, &wanted, deadline).await;
    for (wanted, outcome) in wanted.iter().zip(&look.outcomes) {
        if let (Ok(partition), Outcome::Records { records, .. }) = (&wanted.partition, outcome)
            && !records.is_empty()
        {
            let traffic = session.node.metrics.traffic(partition.key);
            traffic.fetched_bytes.add(records.len() as u64);
            traffic.fetched_records.add(batch::record_count(records));
        }
    }
    context.partitions = wanted.into_iter().map(|wanted| wanted.asked).collect();
    session.node.status.add(Counter::BytesFetched, look.bytes as u64);
    let answered: Vec<_> = look.outcomes.iter().map(Outcome::answered).collect();
    let told = session.node.kafka.fetch_sessions().finish(&context, &answered);
    let throttle_ms = quotas::charge(session, quotas::CONSUMER_BYTE_RATE, look.bytes);
    response(session, context, look.outcomes, &told, version).with_throttle_time_ms(throttle_ms)
}

/// A session id: positive, from the broker's randomness.
fn fresh_id(session: &Session) -> i32 {
    (session.node.new_uuid().as_u128() as u32 >> 1) as i32
}

fn opening(request: &FetchRequest, version: i16) -> Opening {
    let key = |name: &kafka_protocol::messages::TopicName, id: uuid::Uuid| {
        if version >= TOPIC_IDS { TopicKey::Id(id) } else { TopicKey::Name(name.clone()) }
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let topic_key = key(&topic.topic, topic.topic_id);
        partitions.extend(topic.partitions.iter().map(|asked| Asked {
            topic: topic_key.clone(),
            partition: asked.partition,
            fetch_offset: asked.fetch_offset,
            bytes_max: asked.partition_max_bytes,
            current_leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        }));
    }
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let topic_key = key(&topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| (topic_key.clone(), *partition))
    });
    Opening {
        session_id: request.session_id,
        session_epoch: request.session_epoch,
        partitions,
        forgotten: forgotten.collect(),
    }
}

/// Looks the partitions up; the topics of neighbours are looked up once.
fn find(session: &Session, partitions: Vec<Asked>) -> Vec<Wanted> {
    let mut last: Option<(TopicKey, Result<Arc<Topic>, ResponseError>)> = None;
    let mut find = |asked: Asked| {
        let topic = match &last {
            Some((key, topic)) if *key == asked.topic => topic.clone(),
            _ => {
                let topic =
                    session.node.with_cluster(|cluster| find_topic(session, &cluster.state, &asked.topic));
                last = Some((asked.topic.clone(), topic.clone()));
                topic
            }
        };
        let partition = topic.as_ref().map_err(|error| *error);
        let partition = partition.and_then(|topic| lookup::replica(session, topic, asked.partition));
        Wanted { asked, topic: topic.ok(), partition }
    };
    partitions.into_iter().map(&mut find).collect()
}

fn find_topic(session: &Session, state: &State, key: &TopicKey) -> Result<Arc<Topic>, ResponseError> {
    match key {
        TopicKey::Name(name) => lookup::topic(session, state, name, Operation::Read),
        TopicKey::Id(id) => lookup::topic_by_id(session, state, *id, Operation::Read),
    }
}

async fn look_until_enough(
    manner: &Manner<'_>,
    request: &FetchRequest,
    wanted: &[Wanted],
    deadline: Instant,
) -> Look {
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let bytes_max = bytes_max(manner.session, request.max_bytes);
    wait_for_leaders(wanted, deadline).await;
    loop {
        let partitions = wanted.iter().filter_map(|wanted| wanted.partition.as_ref().ok());
        // Watched before the look, so that nothing between the two is missed.
        let mut changes: Vec<watch::Receiver<Progress>> = if deadline > Instant::now() {
            partitions.map(|partition| partition.watch()).collect()
        } else {
            Vec::new()
        };
        let look = look(manner, wanted, bytes_max);
        if look.bytes >= bytes_min || look.urgent || changes.is_empty() {
            return look;
        }
        let changed = select_all(changes.iter_mut().map(|change| change.changed().boxed()));
        if timeout_at(deadline, changed).await.is_err() {
            return look;
        }
    }
}

fn bytes_max(session: &Session, asked: i32) -> usize {
    let limit = session.node.properties().fetch_max_bytes as usize;
    usize::try_from(asked).unwrap_or(0).min(limit)
}

/// A leader that has just started may not have heard its followers yet.
async fn wait_for_leaders(wanted: &[Wanted], deadline: Instant) {
    let waits = |partition: &&Arc<Partition>| partition.leads() && !partition.progress().leading;
    for partition in wanted.iter().filter_map(|wanted| wanted.partition.as_ref().ok()).filter(waits) {
        // What it comes to is seen when the partition is read.
        let _ = partition.wait_leading(deadline).await;
    }
}

fn look(manner: &Manner, wanted: &[Wanted], bytes_max: usize) -> Look {
    let mut look = Look { outcomes: Vec::with_capacity(wanted.len()), bytes: 0, urgent: false };
    for wanted in wanted {
        let outcome = read::read(manner, wanted, bytes_max.saturating_sub(look.bytes), look.bytes == 0);
        look.bytes += outcome.bytes();
        look.urgent |= outcome.is_urgent();
        look.outcomes.push(outcome);
    }
    look
}

fn response(
    session: &Session,
    context: Context,
    outcomes: Vec<Outcome>,
    told: &[bool],
    version: i16,
) -> FetchResponse {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut leaders = BTreeSet::new();
    let mut last: Option<TopicKey> = None;
    let answers = context.partitions.into_iter().zip(outcomes).zip(told);
    for ((asked, outcome), _) in answers.filter(|(_, told)| **told) {
        if let Outcome::Failed { leader: Some((leader, _)), .. } = &outcome {
            leaders.insert(*leader);
        }
        let data = partition_data(asked.partition, outcome, version);
        if last.as_ref() == Some(&asked.topic)
            && let Some(topic) = responses.last_mut()
        {
            topic.partitions.push(data);
            continue;
        }
        let topic = FetchableTopicResponse::default().with_partitions(vec![data]);
        responses.push(match &asked.topic {
            TopicKey::Name(name) => topic.with_topic(name.clone()),
            TopicKey::Id(id) => topic.with_topic_id(*id),
        });
        last = Some(asked.topic);
    }
    let endpoints = if version >= NODE_ENDPOINTS { endpoints(session, &leaders) } else { Vec::new() };
    FetchResponse::default()
        .with_session_id(context.session_id)
        .with_responses(responses)
        .with_node_endpoints(endpoints)
}

fn endpoints(session: &Session, leaders: &BTreeSet<i32>) -> Vec<NodeEndpoint> {
    let endpoint = |endpoint: leaders::Endpoint| {
        NodeEndpoint::default()
            .with_node_id(BrokerId(endpoint.id))
            .with_host(text(endpoint.address.host))
            .with_port(endpoint.address.port.into())
            .with_rack(endpoint.rack.map(text))
    };
    leaders::endpoints(session, leaders).into_iter().map(endpoint).collect()
}

fn partition_data(partition: i32, outcome: Outcome, version: i16) -> PartitionData {
    // Records are never null: some clients take null for damage.
    let data =
        PartitionData::default().with_partition_index(partition).with_records(Some(bytes::Bytes::new()));
    let reached = |data: PartitionData, progress: Progress, start_offset: i64| {
        data.with_high_watermark(progress.high_watermark)
            .with_last_stable_offset(progress.last_stable_offset)
            .with_log_start_offset(start_offset)
    };
    match outcome {
        Outcome::Records { progress, start_offset, records, aborted } => {
            let aborted = aborted.map(|aborted| aborted.into_iter().map(aborted_transaction).collect());
            reached(data, progress, start_offset)
                .with_records(Some(records))
                .with_aborted_transactions(aborted)
        }
        Outcome::Nearer { progress, start_offset, broker } => {
            reached(data, progress, start_offset).with_preferred_read_replica(BrokerId(broker))
        }
        Outcome::Diverging { progress, start_offset, epoch, end_offset } => {
            reached(data, progress, start_offset)
                .with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset))
        }
        Outcome::Failed { error, leader } => {
            let data = data
                .with_error_code(error.code())
                .with_high_watermark(-1)
                .with_last_stable_offset(-1)
                .with_log_start_offset(-1);
            match leader.filter(|_| version >= CURRENT_LEADER) {
                Some((leader, epoch)) => data.with_current_leader(
                    LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch),
                ),
                None => data,
            }
        }
    }
}

fn aborted_transaction(aborted: Aborted) -> AbortedTransaction {
    AbortedTransaction::default()
        .with_producer_id(ProducerId(aborted.producer_id))
        .with_first_offset(aborted.first_offset)
}
