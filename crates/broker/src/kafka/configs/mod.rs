//! Requests about configuration: the properties of topics, and of the cluster as if each broker had them.
//!
//! Topics have the properties of [`topic_properties`]. Brokers have the cluster properties, under the names that
//! Redpanda gives them and, for the common ones, under those of Kafka as well.

pub(super) mod alter;
pub(super) mod broker;
pub(super) mod describe;
pub(super) mod incremental;
pub(super) mod topic;

use kafka_protocol::ResponseError;

use super::Session;

/// Config sources (Kafka: `ConfigSource`).
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_CLUSTER: i8 = 3;
pub(super) const SOURCE_STATIC: i8 = 4;
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// Resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Why a request about a resource is refused: the code and the reason.
type Refused = (i16, String);

fn refused<T>(error: ResponseError, reason: impl Into<String>) -> Result<T, Refused> {
    Err((error.code(), reason.into()))
}

/// What a request is about.
enum ResourceKind {
    Topic,
    Broker,
}

/// Reads the resource's type, and checks that a broker's name is that of a broker, or empty for all.
fn resource_kind(session: &Session, resource_type: i8, name: &str) -> Result<ResourceKind, Refused> {
    match resource_type {
        TOPIC => Ok(ResourceKind::Topic),
        BROKER => {
            let known = name.is_empty()
                || name
                    .parse()
                    .is_ok_and(|id| session.node.with_cluster(|cluster| cluster.members.get(id).is_some()));
            match known {
                true => Ok(ResourceKind::Broker),
                false => refused(ResponseError::InvalidRequest, format!("there is no broker {name:?}")),
            }
        }
        other => refused(
            ResponseError::InvalidRequest,
            format!("resource type {other}; use {TOPIC} (topic) or {BROKER} (broker)"),
        ),
    }
}

/// One change of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(String),
    Delete,
    Append(String),
    Subtract(String),
}

/// A list with commas between its items.
fn items(list: &str) -> Vec<&str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// A list after a change; `None` takes the property back to its default.
fn changed(change: &Change, is_list: bool, current: &str) -> Result<Option<String>, String> {
    match change {
        Change::Set(value) => Ok(Some(value.clone())),
        Change::Delete => Ok(None),
        Change::Append(_) | Change::Subtract(_) if !is_list => {
            Err("the property is no list; it can be set or deleted".to_owned())
        }
        Change::Append(value) => {
            let mut list = items(current);
            for item in items(value) {
                if !list.contains(&item) {
                    list.push(item);
                }
            }
            Ok(Some(list.join(",")))
        }
        Change::Subtract(value) => {
            let gone = items(value);
            let left: Vec<&str> = items(current).into_iter().filter(|item| !gone.contains(item)).collect();
            Ok(Some(left.join(",")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_appended_to_and_subtracted_from() {
        let append = Change::Append("compact,delete".to_owned());
        assert_eq!(changed(&append, true, "delete"), Ok(Some("delete,compact".to_owned())));
        let subtract = Change::Subtract("delete".to_owned());
        assert_eq!(changed(&subtract, true, "delete, compact"), Ok(Some("compact".to_owned())));
        assert_eq!(changed(&Change::Delete, true, "x"), Ok(None));
        assert!(changed(&append, false, "1").is_err());
        assert_eq!(changed(&Change::Set("2".to_owned()), false, "1"), Ok(Some("2".to_owned())));
    }
}
