//! Consumers over HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::error::ProxyError;
use super::format::Format;
use super::instances::Instance;
use super::{Answer, Answered};
use crate::kafka_client::group::Consumer;
use crate::kafka_client::{FetchLimits, TopicPartition};

/// Characters of a group or instance that are taken.
const NAME_LENGTH_MAX: usize = 255;

/// Numbers may come as strings, as Kafka's own properties are.
#[derive(Deserialize)]
#[serde(untagged)]
enum Setting {
    Number(i64),
    Flag(bool),
    Text(String),
}

impl Setting {
    fn text(&self) -> String {
        match self {
            Setting::Number(number) => number.to_string(),
            Setting::Flag(flag) => flag.to_string(),
            Setting::Text(text) => text.clone(),
        }
    }
}

#[derive(Default, Deserialize)]
struct PostedConsumer {
    name: Option<String>,
    format: Option<String>,
    #[serde(rename = "auto.offset.reset")]
    auto_offset_reset: Option<String>,
    #[serde(rename = "auto.commit.enable")]
    auto_commit_enable: Option<Setting>,
    #[serde(rename = "fetch.min.bytes")]
    fetch_min_bytes: Option<Setting>,
    #[serde(rename = "consumer.request.timeout.ms")]
    consumer_request_timeout_ms: Option<Setting>,
}

#[derive(Default, Deserialize)]
struct PostedTopics {
    #[serde(default)]
    topics: Vec<String>,
}

#[derive(Deserialize)]
struct PostedPartition {
    topic: String,
    partition: i32,
    #[serde(default)]
    offset: Option<i64>,
}

#[derive(Default, Deserialize)]
struct PostedPartitions {
    #[serde(default)]
    partitions: Vec<PostedPartition>,
}

fn positive(name: &str, setting: Option<&Setting>, default: i64) -> Result<i64, ProxyError> {
    let Some(setting) = setting else { return Ok(default) };
    let text = setting.text();
    text.parse().ok().filter(|number| *number >= 0).ok_or_else(|| {
        ProxyError::bad_request(format!("{name} is {text:?}; use a number that is not negative"))
    })
}

fn check_name(what: &str, name: &str) -> Result<(), ProxyError> {
    if name.is_empty() || name.len() > NAME_LENGTH_MAX {
        let message = format!("{what} has {} characters, 1 to {NAME_LENGTH_MAX} are taken", name.len());
        return Err(ProxyError::bad_request(message));
    }
    Ok(())
}

pub(super) async fn create(call: Call) -> Answered {
    let content_type = call.accepts_control()?;
    let posted: PostedConsumer = call.control()?;
    let format = posted.format.as_deref().map_or(Some(Format::default()), Format::parse);
    let format = format.ok_or_else(|| ProxyError::bad_request("format must be 'binary' or 'json'"))?;
    if posted.auto_offset_reset.as_deref().is_some_and(|reset| reset != "earliest") {
        return Err(ProxyError::bad_request("auto.offset.reset must be earliest"));
    }
    if posted.auto_commit_enable.is_some_and(|enable| enable.text() != "false") {
        return Err(ProxyError::bad_request("auto.commit.enable must be false"));
    }
    let proxy = &call.proxy;
    let client = proxy.client(&call.headers);
    let (bytes, wait) = (posted.fetch_min_bytes, posted.consumer_request_timeout_ms);
    let bytes_min =
        positive("fetch.min.bytes", bytes.as_ref(), client.config.consumer_request_min_bytes.into())?;
    let bytes_min = i32::try_from(bytes_min).unwrap_or(i32::MAX);
    let default_wait = client.config.consumer_request_timeout.as_millis() as i64;
    let wait = positive("consumer.request.timeout.ms", wait.as_ref(), default_wait)?;
    let wait = Duration::from_millis(wait as u64);
    let group = call.part("group");
    let name = posted.name.unwrap_or_else(|| format!("rest-consumer-{}", proxy.node.new_uuid()));
    check_name("the group", group)?;
    check_name("the instance's name", &name)?;
    proxy
        .instances
        .add(group, &name, || Instance::new(Consumer::start(client, group), format, bytes_min, wait))?;
    let base_uri = format!("{}/consumers/{group}/instances/{name}", proxy.base_uri);
    Ok(Answer::json(content_type, json!({"instance_id": name, "base_uri": base_uri})))
}

pub(super) async fn delete(call: Call) -> Answered {
    call.accepts_control()?;
    call.proxy.instances.remove(call.part("group"), call.part("instance"))?;
    Ok(Answer::nothing())
}

pub(super) async fn subscribe(call: Call) -> Answered {
    call.accepts_control()?;
    let posted: PostedTopics = call.control()?;
    let instance = call.proxy.instances.get(call.part("group"), call.part("instance"))?;
    instance.consumer.subscribe(posted.topics).await?;
    Ok(Answer::nothing())
}

pub(super) async fn records(call: Call) -> Answered {
    let instance = call.proxy.instances.get(call.part("group"), call.part("instance"))?;
    let format = call.accepts_records(instance.format)?;
    let bytes_max = call.proxy.node.config.pandaproxy_client.consumer_request_max_bytes;
    let (wait, bytes_max) = call.limits(instance.timeout, bytes_max)?;
    let limits = FetchLimits { wait, bytes_min: instance.bytes_min, bytes_max };
    let records = instance.consumer.read(limits).await?;
    let written: Result<Vec<Value>, ProxyError> =
        records.iter().map(|(key, record)| format.record(key, record)).collect();
    Ok(Answer::json(format.content_type(), Value::Array(written?)))
}

pub(super) async fn offsets(call: Call) -> Answered {
    let content_type = call.accepts_control()?;
    let posted: PostedPartitions = call.control()?;
    let instance = call.proxy.instances.get(call.part("group"), call.part("instance"))?;
    let wanted: Vec<TopicPartition> =
        posted.partitions.into_iter().map(|wanted| (wanted.topic, wanted.partition)).collect();
    let committed = instance.consumer.committed(&wanted).await?;
    let entry = |((topic, partition), offset): (&TopicPartition, &i64)| json!({"topic": topic, "partition": partition, "offset": offset, "metadata": ""});
    let offsets: Vec<Value> = committed.iter().map(entry).collect();
    Ok(Answer::json(content_type, json!({"offsets": offsets})))
}

pub(super) async fn commit(call: Call) -> Answered {
    call.accepts_control()?;
    let posted: PostedPartitions = call.control()?;
    let instance = call.proxy.instances.get(call.part("group"), call.part("instance"))?;
    let mut offsets = BTreeMap::new();
    for PostedPartition { topic, partition, offset } in posted.partitions {
        let missing = || ProxyError::bad_request(format!("{topic}/{partition} has no offset"));
        let offset = offset.filter(|offset| *offset >= 0).ok_or_else(missing)?;
        offsets.insert((topic, partition), offset);
    }
    instance.consumer.commit(Some(offsets).filter(|offsets| !offsets.is_empty())).await?;
    Ok(Answer::nothing())
}
