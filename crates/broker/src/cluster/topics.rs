//! The topics of a cluster: their partitions' replicas and their properties.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Topic property: whose time the records carry.
const TIMESTAMP_TYPE: &str = "message.timestamp.type";

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topic {
    pub name: String,
    pub id: Uuid,
    /// Per partition its replicas; the first one leads.
    pub partitions: Vec<Vec<i32>>,
    /// Properties given when the topic was created. Only `message.timestamp.type` is obeyed.
    pub configs: BTreeMap<String, String>,
}

impl Topic {
    /// Whether records get the time of their append.
    pub fn log_append_time(&self) -> bool {
        self.configs.get(TIMESTAMP_TYPE).is_some_and(|value| value == "LogAppendTime")
    }

    pub fn replication_factor(&self) -> i16 {
        self.partitions.first().map_or(0, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX))
    }
}

/// The topic table.
#[derive(Default)]
pub(crate) struct Topics {
    topics: BTreeMap<String, Topic>,
    names: BTreeMap<Uuid, String>,
}

impl Topics {
    pub fn new(topics: Vec<Topic>) -> Topics {
        let mut table = Topics::default();
        table.merge(topics);
        table
    }

    /// Takes over the topics that are new here; tells whether any was.
    pub fn merge(&mut self, others: Vec<Topic>) -> bool {
        let mut changed = false;
        for other in others {
            if let Some(known) = self.topics.get(&other.name) {
                if known.id <= other.id {
                    continue;
                }
                tracing::error!(topic = other.name, "two topics of one name; the later one is given up");
                self.names.remove(&known.id);
            }
            self.names.insert(other.id, other.name.clone());
            self.topics.insert(other.name.clone(), other);
            changed = true;
        }
        changed
    }

    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.names.get(&id).and_then(|name| self.topics.get(name))
    }

    /// Every topic, by name.
    pub fn all(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values()
    }

    pub fn to_vec(&self) -> Vec<Topic> {
        self.topics.values().cloned().collect()
    }

    /// Equal for equal tables.
    pub fn fingerprint(&self) -> u32 {
        self.names.keys().fold(0, |sum, id| crc32c::crc32c_append(sum, id.as_bytes()))
    }
}

/// Why a name cannot be a topic's (Kafka: `Topic.validate`); `None` if it can.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match name {
        "" => Some("the topic name is empty".to_owned()),
        "." | ".." => Some(format!("the topic name cannot be \"{name}\"")),
        _ if name.len() > 249 => Some(format!("the topic name has {} characters, at most 249", name.len())),
        _ if !name.bytes().all(legal) => Some(format!(
            "the topic name {name:?} has characters other than letters, digits, '.', '_' and '-'"
        )),
        _ => None,
    }
}
