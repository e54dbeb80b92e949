//! Altering cluster properties by way of a broker's configuration.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use serde_json::Value;
use tokio::time::Instant;

use super::{Change, Refused, changed, refused};
use crate::cluster::command::Command;
use crate::cluster::properties::{self, Kind, Property};
use crate::cluster::submit::submit;
use crate::kafka::Session;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::topic_creation::kafka_error;

/// Names that Kafka has for cluster properties.
pub(super) const KAFKA_NAMES: &[(&str, &str)] = &[
    ("auto.create.topics.enable", "auto_create_topics_enabled"),
    ("compression.type", "log_compression_type"),
    ("default.replication.factor", "default_topic_replications"),
    ("fetch.max.bytes", "fetch_max_bytes"),
    ("group.initial.rebalance.delay.ms", "group_initial_rebalance_delay"),
    ("group.max.session.timeout.ms", "group_max_session_timeout_ms"),
    ("group.min.session.timeout.ms", "group_min_session_timeout_ms"),
    ("log.cleanup.policy", "log_cleanup_policy"),
    ("log.message.timestamp.type", "log_message_timestamp_type"),
    ("log.retention.bytes", "retention_bytes"),
    ("log.retention.ms", "log_retention_ms"),
    ("log.roll.ms", "log_segment_ms"),
    ("log.segment.bytes", "log_segment_size"),
    ("max.connections", "kafka_connections_max"),
    ("message.max.bytes", "kafka_batch_max_bytes"),
    ("num.partitions", "default_topic_partitions"),
    ("offsets.topic.num.partitions", "group_topic_partitions"),
    ("socket.request.max.bytes", "kafka_request_max_bytes"),
    ("transaction.max.timeout.ms", "transaction_max_timeout_ms"),
];

/// A cluster property by its own name or by Kafka's.
pub(super) fn find(name: &str) -> Option<&'static Property> {
    let own = KAFKA_NAMES.iter().find(|(kafka, _)| *kafka == name).map_or(name, |(_, own)| own);
    properties::find(own)
}

pub(super) fn is_list(property: &Property) -> bool {
    matches!(property.kind, Kind::List | Kind::Choices(_))
}

/// A value as Kafka's requests and answers have it.
pub(super) fn to_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => Some(items.iter().filter_map(to_text).collect::<Vec<String>>().join(",")),
        other => Some(other.to_string()),
    }
}

fn from_text(property: &Property, text: &str) -> Result<Value, String> {
    let value = match is_list(property) {
        true => {
            Value::Array(super::items(text).into_iter().map(|item| Value::String(item.to_owned())).collect())
        }
        false => Value::String(text.to_owned()),
    };
    property.read(&value)
}

/// Carries out changes, or only checks them.
pub(super) async fn alter(
    session: &Session,
    changes: &[(String, Change)],
    validate_only: bool,
    deadline: Instant,
) -> Result<(), Refused> {
    authorize(session, Operation::AlterConfigs, Resource::Cluster)
        .or_else(|error| refused(error, "the client may not alter the cluster's configuration"))?;
    let properties = session
        .node
        .with_cluster(|cluster| new_values(changes, &cluster.state.properties))
        .or_else(|problem| refused(ResponseError::InvalidConfig, problem))?;
    if validate_only || properties.is_empty() {
        return Ok(());
    }
    let command = Command::AlterClusterConfig { properties };
    submit(&session.node, command, deadline).await.map(drop).map_err(kafka_error)
}

fn new_values(
    changes: &[(String, Change)],
    set: &BTreeMap<String, Value>,
) -> Result<BTreeMap<String, Option<Value>>, String> {
    let mut values = BTreeMap::new();
    let mut after = set.clone();
    for (name, change) in changes {
        let property = find(name).ok_or_else(|| format!("the cluster property \"{name}\" is not known"))?;
        let current = to_text(&properties::value_of(set, property.name)).unwrap_or_default();
        let told = |problem| format!("{name}: {problem}");
        let value = changed(change, is_list(property), &current).map_err(told)?;
        let value = value.map(|text| from_text(property, &text)).transpose().map_err(told)?;
        match &value {
            Some(value) => after.insert(property.name.to_owned(), value.clone()),
            None => after.remove(property.name),
        };
        if values.insert(property.name.to_owned(), value).is_some() {
            return Err(format!("{name} is changed twice"));
        }
    }
    match properties::problems(&after).into_iter().next() {
        Some((name, problem)) if values.contains_key(&name) => Err(format!("{name}: {problem}")),
        _ => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(name: &str, change: Change) -> Result<BTreeMap<String, Option<Value>>, String> {
        new_values(&[(name.to_owned(), change)], &BTreeMap::from([("superusers".to_owned(), json!(["ann"]))]))
    }

    #[test]
    fn kafka_names_mean_cluster_properties() {
        for (kafka, own) in KAFKA_NAMES {
            assert_eq!(find(kafka).map(|property| property.name), Some(*own));
        }
        let set = values("num.partitions", Change::Set("3".to_owned())).unwrap();
        assert_eq!(set["default_topic_partitions"], Some(json!(3)));
        assert_eq!(values("log_retention_ms", Change::Delete).unwrap()["log_retention_ms"], None);
    }

    #[test]
    fn lists_and_types_are_as_the_property_wants_them() {
        let set = values("superusers", Change::Append("bob".to_owned())).unwrap();
        assert_eq!(set["superusers"], Some(json!(["ann", "bob"])));
        assert!(values("num.partitions", Change::Set("many".to_owned())).is_err());
        assert!(values("num.partitions", Change::Append("1".to_owned())).is_err());
        assert!(values("no.such", Change::Delete).is_err());
        assert_eq!(to_text(&json!(["a", "b"])).as_deref(), Some("a,b"));
        assert_eq!(to_text(&Value::Null), None);
    }
}
