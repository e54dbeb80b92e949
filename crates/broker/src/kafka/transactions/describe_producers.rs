//! DescribeProducers (KIP-664): the producers that a partition's leader knows.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId, TopicName};

use crate::kafka::authorization::Operation;
use crate::kafka::groups::offset_commit::named;
use crate::kafka::groups::usable;
use crate::kafka::{Session, partition_error, text};
use crate::producers::ProducerView;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let indexes = topic.partition_indexes.iter();
        let partitions = indexes.map(|index| describe(session, &topic.name, *index)).collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn describe(session: &Session, topic: &TopicName, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    match views(session, topic, index) {
        Ok(views) => response.with_active_producers(views.into_iter().map(state).collect()),
        Err(error) => {
            response.with_error_code(error.code()).with_error_message(Some(text(error.to_string())))
        }
    }
}

fn views(session: &Session, topic: &TopicName, index: i32) -> Result<Vec<ProducerView>, ResponseError> {
    usable(session, Operation::Read, &named(topic, index))?;
    let id = session.node.with_cluster(|cluster| cluster.state.topics.get(topic).map(|topic| topic.id));
    let partition = id.and_then(|id| session.node.partition((id, index)));
    let partition = partition.filter(|partition| partition.leads());
    let partition = partition.ok_or(ResponseError::NotLeaderOrFollower)?;
    let views = partition.with_log(|log| Ok(log.producers().views().collect()));
    views.map_err(|error| partition_error(session, &error))
}

fn state(view: ProducerView) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(view.producer_id))
        .with_producer_epoch(view.epoch.into())
        .with_last_sequence(view.last_sequence)
        .with_last_timestamp(view.last_timestamp_ms)
        .with_coordinator_epoch(view.coordinator_epoch)
        .with_current_txn_start_offset(view.transaction_start)
}
