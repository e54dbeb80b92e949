//! The client's picture of the cluster, as Metadata answers drew it: brokers, their advertised addresses, leaders.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::MetadataResponse;
use tokio::time::Instant;

use crate::HostPort;

/// A broker as advertised to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedBroker {
    /// Its id.
    pub id: i32,
    /// The address it wants this client to use.
    pub address: HostPort,
    /// Its rack, where set.
    pub rack: Option<String>,
}

/// A partition as the last Metadata answer tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The leader's id; `None` while there is none.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 if the broker does not tell.
    pub leader_epoch: i32,
    /// The ids of the replicas.
    pub replicas: Vec<i32>,
    /// The error code of the partition; 0 for none.
    pub error_code: i16,
}

/// A topic as the last Metadata answer tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicView {
    /// The topic's id, all zero if the broker does not tell.
    pub id: [u8; 16],
    /// The error code of the topic; 0 for none.
    pub error_code: i16,
    /// The partitions by index.
    pub partitions: BTreeMap<i32, PartitionView>,
}

/// The cluster as this client knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's id, if told.
    pub id: Option<String>,
    /// The controller's id, if there is one.
    pub controller: Option<i32>,
    /// The brokers by id.
    pub brokers: BTreeMap<i32, AdvertisedBroker>,
    /// The topics by name.
    pub topics: BTreeMap<String, TopicView>,
}

impl Cluster {
    /// The picture that an answer draws.
    pub fn of(response: &MetadataResponse) -> Cluster {
        let broker =
            |broker: &kafka_protocol::messages::metadata_response::MetadataResponseBroker| AdvertisedBroker {
                id: broker.node_id.0,
                // A port outside 0..65535 cannot be dialled; 0 cannot either and fails as refused or unreachable.
                address: HostPort::new(broker.host.as_str(), u16::try_from(broker.port).unwrap_or(0)),
                rack: broker.rack.as_ref().map(|rack| rack.as_str().to_owned()),
            };
        Cluster {
            id: response.cluster_id.as_ref().map(|id| id.as_str().to_owned()),
            controller: Some(response.controller_id.0).filter(|&id| id >= 0),
            brokers: response.brokers.iter().map(|entry| (entry.node_id.0, broker(entry))).collect(),
            topics: response
                .topics
                .iter()
                .filter_map(|topic| Some((topic.name.as_ref()?.0.as_str().to_owned(), topic_view(topic))))
                .collect(),
        }
    }

    /// Takes over a newer picture, which may tell of fewer topics.
    ///
    /// A leader of an older epoch than the one known is stale news and is passed over (KIP-320), unless the topic
    /// was made anew.
    pub(crate) fn update(&mut self, mut newer: Cluster) {
        for (name, topic) in &mut newer.topics {
            let Some(known) = self.topics.get(name).filter(|known| known.id == topic.id) else { continue };
            for (index, partition) in &mut topic.partitions {
                if let Some(before) = known.partitions.get(index)
                    && partition.leader_epoch >= 0
                    && partition.leader_epoch < before.leader_epoch
                {
                    *partition = before.clone();
                }
            }
        }
        self.id = newer.id.or(self.id.take());
        self.controller = newer.controller;
        self.brokers = newer.brokers;
        self.topics.extend(newer.topics);
    }
}

fn topic_view(topic: &kafka_protocol::messages::metadata_response::MetadataResponseTopic) -> TopicView {
    let view =
        |partition: &kafka_protocol::messages::metadata_response::MetadataResponsePartition| PartitionView {
            leader: Some(partition.leader_id.0).filter(|&id| id >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.iter().map(|id| id.0).collect(),
            error_code: partition.error_code,
        };
    TopicView {
        id: *topic.topic_id.as_bytes(),
        error_code: topic.error_code,
        partitions: topic.partitions.iter().map(|entry| (entry.partition_index, view(entry))).collect(),
    }
}

/// The picture with its age and what it has to cover.
#[derive(Debug, Default)]
pub(crate) struct Knowledge {
    pub cluster: Cluster,
    /// When the last answer came; `None` before the first.
    pub fetched: Option<Instant>,
    /// Counts the answers.
    pub generation: u64,
    /// Something contradicted it: ask before the next request.
    pub doubted: bool,
    /// The topics the client works with, which every refresh asks for.
    pub topics: BTreeSet<String>,
}

impl Knowledge {
    /// Whether a request may rely on it.
    pub fn is_fresh(&self, max_age: std::time::Duration) -> bool {
        let age = self.fetched.map(|fetched| Instant::now().duration_since(fetched));
        !self.doubted && age.is_some_and(|age| age < max_age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_leader(leader: i32, leader_epoch: i32, id: u8) -> Cluster {
        let partition =
            PartitionView { leader: Some(leader), leader_epoch, replicas: vec![0, 1], error_code: 0 };
        let topic = TopicView { id: [id; 16], error_code: 0, partitions: [(0, partition)].into() };
        Cluster { topics: [("t".to_owned(), topic)].into(), ..Cluster::default() }
    }

    fn leader(cluster: &Cluster) -> Option<i32> {
        cluster.topics["t"].partitions[&0].leader
    }

    #[test]
    fn an_older_epoch_is_stale_news() {
        let mut cluster = with_leader(1, 5, 1);
        cluster.update(with_leader(0, 4, 1));
        assert_eq!(leader(&cluster), Some(1));
        cluster.update(with_leader(0, 6, 1));
        assert_eq!(leader(&cluster), Some(0));
        cluster.update(with_leader(1, -1, 1));
        assert_eq!(leader(&cluster), Some(1), "a broker that tells no epoch is believed");
    }

    #[test]
    fn a_topic_made_anew_starts_its_epochs_anew() {
        let mut cluster = with_leader(1, 5, 1);
        cluster.update(with_leader(0, 0, 2));
        assert_eq!(leader(&cluster), Some(0));
    }

    #[test]
    fn topics_not_asked_for_are_kept() {
        let mut cluster = with_leader(1, 5, 1);
        cluster.update(Cluster { id: Some("c".to_owned()), ..Cluster::default() });
        assert_eq!((leader(&cluster), cluster.id.as_deref()), (Some(1), Some("c")));
    }
}
