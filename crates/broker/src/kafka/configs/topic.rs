//! Altering a topic's properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{Change, Refused, changed, refused};
use crate::cluster::command::Command;
use crate::cluster::submit::submit;
use crate::cluster::topics::Topic;
use crate::kafka::authorization::Operation;
use crate::kafka::{Session, lookup};
use crate::topic_creation::kafka_error;
use crate::topic_properties;

/// The topic, if the client may do this to it.
pub(super) fn find(session: &Session, name: &str, operation: Operation) -> Result<Arc<Topic>, Refused> {
    let found = session.node.with_cluster(|cluster| lookup::topic(session, &cluster.state, name, operation));
    found.or_else(|error| refused(error, format!("topic {name:?} is not there, or not for this client")))
}

/// Carries out changes, or only checks them.
pub(super) async fn alter(
    session: &Session,
    name: &str,
    changes: &[(String, Change)],
    validate_only: bool,
    deadline: Instant,
) -> Result<(), Refused> {
    let topic = find(session, name, Operation::AlterConfigs)?;
    let configs = session
        .node
        .with_cluster(|cluster| {
            let current = |name: &str| {
                topic_properties::effective(&cluster.state.properties, &topic.configs, name)
                    .unwrap_or_default()
            };
            new_values(changes, current)
        })
        .or_else(|problem| refused(ResponseError::InvalidConfig, problem))?;
    if validate_only || configs.is_empty() {
        return Ok(());
    }
    let command = Command::AlterTopicConfigs { name: topic.name.clone(), configs };
    submit(&session.node, command, deadline).await.map(drop).map_err(kafka_error)
}

fn new_values(
    changes: &[(String, Change)],
    current: impl Fn(&str) -> String,
) -> Result<BTreeMap<String, Option<String>>, String> {
    let mut configs = BTreeMap::new();
    for (name, change) in changes {
        let property = topic_properties::find(name)
            .ok_or_else(|| format!("the topic property \"{name}\" is not known"))?;
        let value = changed(change, property.is_list(), &current(name))
            .map_err(|problem| format!("{name}: {problem}"))?;
        if let Some(value) = &value {
            property.check(value)?;
        }
        if configs.insert(name.clone(), value).is_some() {
            return Err(format!("{name} is changed twice"));
        }
    }
    Ok(configs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(changes: &[(&str, Change)]) -> Result<BTreeMap<String, Option<String>>, String> {
        let changes: Vec<(String, Change)> =
            changes.iter().map(|(name, change)| (name.to_string(), change.clone())).collect();
        new_values(&changes, |_| "delete".to_owned())
    }

    #[test]
    fn changes_are_checked_against_the_table() {
        let set = |value: &str| Change::Set(value.to_owned());
        let good = values(&[
            ("retention.ms", set("5")),
            ("segment.ms", Change::Delete),
            ("cleanup.policy", Change::Append("compact".to_owned())),
        ]);
        let good = good.unwrap();
        assert_eq!(good["retention.ms"].as_deref(), Some("5"));
        assert_eq!(good["segment.ms"], None);
        assert_eq!(good["cleanup.policy"].as_deref(), Some("delete,compact"));
        assert!(values(&[("retention.ms", set("x"))]).is_err());
        assert!(values(&[("no.such", Change::Delete)]).is_err());
        assert!(values(&[("retention.ms", Change::Append("5".to_owned()))]).is_err());
        assert!(values(&[("retention.ms", set("5")), ("retention.ms", set("6"))]).is_err());
        assert!(values(&[("cleanup.policy", Change::Subtract("delete".to_owned()))]).is_err());
    }
}
