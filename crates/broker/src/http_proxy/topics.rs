//! Brokers, topics, and records of a topic without a consumer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::error::{ErrorCode, ProxyError};
use super::format::Format;
use super::{Answer, Answered, partitioner};
use crate::kafka_client::records::Record;
use crate::kafka_client::{FetchLimits, KafkaClient};

/// Bytes that a fetch of a partition waits for.
const BYTES_MIN: i32 = 1;

#[derive(Default, Deserialize)]
struct PostedRecords {
    #[serde(default)]
    records: Vec<PostedRecord>,
}

#[derive(Deserialize)]
struct PostedRecord {
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    value: Option<Value>,
    #[serde(default)]
    partition: Option<i32>,
}

pub(super) async fn brokers(call: Call) -> Answered {
    let content_type = call.accepts_control()?;
    let metadata = call.proxy.client(&call.headers).metadata_with_retries(Some(&[])).await?;
    let mut ids: Vec<i32> = metadata.brokers.iter().map(|broker| broker.node_id.0).collect();
    ids.sort_unstable();
    Ok(Answer::json(content_type, json!({"brokers": ids})))
}

pub(super) async fn topics(call: Call) -> Answered {
    let content_type = call.accepts_control()?;
    let metadata = call.proxy.client(&call.headers).metadata_with_retries(None).await?;
    let mut names: Vec<String> =
        metadata.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect();
    names.sort_unstable();
    Ok(Answer::json(content_type, json!(names)))
}

/// The partitions of a topic.
async fn partitions_of(client: &KafkaClient, topic: &str) -> Result<Vec<i32>, ProxyError> {
    client.partitions(topic).await.map_err(|error| match error.code() {
        Some(ResponseError::UnknownTopicOrPartition | ResponseError::InvalidTopicException) => {
            ProxyError::new(ErrorCode::TopicNotFound, format!("there is no topic '{topic}'"))
        }
        _ => error.into(),
    })
}

pub(super) async fn produce(call: Call) -> Answered {
    let content_type = call.accepts_control()?;
    let topic = call.part("topic").to_owned();
    let (format, posted): (Format, PostedRecords) = call.records()?;
    let client = call.proxy.client(&call.headers);
    let partitions = partitions_of(&client, &topic).await?;
    // Per partition the records and where they are in the request.
    let mut batches: BTreeMap<i32, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
    let mut outcomes = vec![Value::Null; posted.records.len()];
    for (index, posted) in posted.records.iter().enumerate() {
        let record =
            Record { key: format.read(posted.key.as_ref())?, value: format.read(posted.value.as_ref())? };
        let turn = match (posted.partition, &record.key) {
            (None, None) => call.proxy.turn.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
        let partition =
            posted.partition.or_else(|| partitioner::partition(record.key.as_deref(), &partitions, turn));
        match partition.filter(|partition| partitions.contains(partition)) {
            Some(partition) => {
                let (places, records) = batches.entry(partition).or_default();
                places.push(index);
                records.push(record);
            }
            None => {
                let code = ErrorCode::PartitionNotFound.number();
                let partition = partition.unwrap_or(-1);
                outcomes[index] = json!({"partition": partition, "offset": -1, "error_code": code});
            }
        }
    }
    let writes = batches.into_iter().map(|(partition, (places, records))| {
        write(Arc::clone(&client), topic.clone(), partition, places, records)
    });
    for (index, outcome) in join_all(writes).await.into_iter().flatten() {
        outcomes[index] = outcome;
    }
    Ok(Answer::json(content_type, json!({"offsets": outcomes})))
}

/// Writes the records of one partition; the outcome of each by its place in the request.
async fn write(
    client: Arc<KafkaClient>,
    topic: String,
    partition: i32,
    places: Vec<usize>,
    records: Vec<Record>,
) -> Vec<(usize, Value)> {
    let written = client.produce_in_batches(&topic, partition, records).await;
    let outcome = |offset: i64| match &written {
        Ok(base) => json!({"partition": partition, "offset": base + offset}),
        Err(error) => {
            let refused = ProxyError::from(error.clone());
            tracing::debug!(topic, partition, %error, "records over HTTP were not written");
            json!({
                "partition": partition,
                "offset": -1,
                "error_code": refused.code.number(),
                "error": refused.message,
            })
        }
    };
    places.into_iter().zip(0..).map(|(place, offset)| (place, outcome(offset))).collect()
}

pub(super) async fn fetch(call: Call) -> Answered {
    let format = call.accepts_records(Format::default())?;
    let (topic, partition) = (call.part("topic").to_owned(), call.path_number::<i32>("partition")?);
    let offset: Option<i64> = call.number("offset")?;
    let offset = offset.ok_or_else(|| ProxyError::bad_request("offset is missing; say where to begin"))?;
    let client = call.proxy.client(&call.headers);
    let config = &client.config;
    let (wait, bytes_max) =
        call.limits(config.consumer_request_timeout, config.consumer_request_max_bytes)?;
    if !partitions_of(&client, &topic).await?.contains(&partition) {
        let message = format!("topic '{topic}' has no partition {partition}");
        return Err(ProxyError::new(ErrorCode::PartitionNotFound, message));
    }
    let limits = FetchLimits { wait, bytes_min: BYTES_MIN, bytes_max };
    let connections = client.own_connections();
    let fetched = client.fetch(Some(&connections), &topic, partition, offset, limits).await?;
    let key = (topic, partition);
    let records: Result<Vec<Value>, ProxyError> =
        fetched.records.iter().map(|record| format.record(&key, record)).collect();
    Ok(Answer::json(format.content_type(), Value::Array(records?)))
}
