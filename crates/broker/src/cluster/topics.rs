//! The topics of a cluster: their partitions' replicas and their properties.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
    /// Whether Kafka clients see the topic: those of other namespaces than `kafka` have a name with a slash
    /// (`kafka_internal/tx`), which no client can give.
    pub fn is_visible(&self) -> bool {
        !self.name.contains('/')
    }

    /// Whether the topic has a partition of this index.
    pub fn has_partition(&self, index: i32) -> bool {
        usize::try_from(index).is_ok_and(|index| index < self.partitions.len())
    }

    pub fn replication_factor(&self) -> i16 {
        self.partitions.first().map_or(0, |replicas| i16::try_from(replicas.len()).unwrap_or(i16::MAX))
    }
}

/// The topic table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Topic>", into = "Vec<Topic>")]
pub(crate) struct Topics {
    topics: BTreeMap<String, Arc<Topic>>,
    names: BTreeMap<Uuid, String>,
}

impl From<Vec<Topic>> for Topics {
    fn from(topics: Vec<Topic>) -> Topics {
        let mut table = Topics::default();
        topics.into_iter().for_each(|topic| table.insert(topic));
        table
    }
}

impl From<Topics> for Vec<Topic> {
    fn from(table: Topics) -> Vec<Topic> {
        table.topics.into_values().map(Arc::unwrap_or_clone).collect()
    }
}

impl Topics {
    /// Adds a topic, or replaces the one of its name.
    pub fn insert(&mut self, topic: Topic) {
        if let Some(known) = self.topics.get(&topic.name) {
            self.names.remove(&known.id);
        }
        self.names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), Arc::new(topic));
    }

    /// Removes a topic.
    pub fn remove(&mut self, name: &str) -> Option<Topic> {
        let topic = self.topics.remove(name)?;
        self.names.remove(&topic.id);
        Some(Arc::unwrap_or_clone(topic))
    }

    pub fn get(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name).map(Arc::as_ref)
    }

    pub fn by_id(&self, id: Uuid) -> Option<&Topic> {
        self.names.get(&id).and_then(|name| self.get(name))
    }

    /// As [`Topics::get`], to be kept for the time of a request without a copy.
    pub fn shared(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name).cloned()
    }

    /// As [`Topics::by_id`], to be kept for the time of a request without a copy.
    pub fn shared_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.names.get(&id).and_then(|name| self.shared(name))
    }

    /// Every topic, by name.
    pub fn all(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values().map(Arc::as_ref)
    }

    /// The topics that Kafka clients see, by name.
    pub fn visible(&self) -> impl Iterator<Item = &Topic> {
        self.all().filter(|topic| topic.is_visible())
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
