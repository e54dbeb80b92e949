//! What the client knows of the cluster: brokers' addresses and partitions' leaders, as Metadata told.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataResponse;

use crate::config::HostPort;

/// Topics that are remembered; beyond that the memory is cleared, and filled by what is asked for.
const TOPICS_MAX: usize = 10_000;

/// The picture.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    brokers: BTreeMap<i32, HostPort>,
    /// Per partition its leader, -1 for none.
    topics: BTreeMap<String, BTreeMap<i32, i32>>,
}

impl Routes {
    /// Takes over an answer.
    pub fn learn(&mut self, response: &MetadataResponse) {
        if self.topics.len() > TOPICS_MAX {
            self.topics.clear();
        }
        let address = |host: &str, port: i32| {
            Some(HostPort::new(host, u16::try_from(port).ok().filter(|port| *port > 0)?))
        };
        self.brokers = response
            .brokers
            .iter()
            .filter_map(|broker| Some((broker.node_id.0, address(&broker.host, broker.port)?)))
            .collect();
        for topic in &response.topics {
            let Some(name) = topic.name.as_ref().map(|name| name.to_string()) else { continue };
            if topic.error_code != 0 {
                self.topics.remove(&name);
                continue;
            }
            let leaders = topic
                .partitions
                .iter()
                .map(|partition| (partition.partition_index, partition.leader_id.0))
                .collect();
            self.topics.insert(name, leaders);
        }
    }

    /// The brokers by id.
    pub fn brokers(&self) -> &BTreeMap<i32, HostPort> {
        &self.brokers
    }

    /// The partitions of a topic, in order; `None` if the topic is not known.
    pub fn partitions(&self, topic: &str) -> Option<Vec<i32>> {
        self.topics.get(topic).map(|partitions| partitions.keys().copied().collect())
    }

    /// The leader's address.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, or LEADER_NOT_AVAILABLE if there is no leader or no address of it.
    pub fn leader(&self, topic: &str, partition: i32) -> Result<HostPort, ResponseError> {
        let leader = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
        let leader = leader.ok_or(ResponseError::UnknownTopicOrPartition)?;
        self.brokers.get(leader).cloned().ok_or(ResponseError::LeaderNotAvailable)
    }

    /// Forgets a topic's leaders, so that they are asked for.
    pub fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{BrokerId, TopicName};
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn response(leader: i32, error_code: i16) -> MetadataResponse {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(1))
            .with_host(StrBytes::from_static_str("b1"))
            .with_port(9093);
        let partition = MetadataResponsePartition::default().with_leader_id(BrokerId(leader));
        let topic = MetadataResponseTopic::default()
            .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
            .with_error_code(error_code)
            .with_partitions(vec![partition]);
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
    }

    #[test]
    fn leaders_are_learnt_and_forgotten() {
        let mut routes = Routes::default();
        assert_eq!(routes.leader("t", 0), Err(ResponseError::UnknownTopicOrPartition));
        routes.learn(&response(1, 0));
        assert_eq!(routes.leader("t", 0), Ok(HostPort::new("b1", 9093)));
        assert_eq!(routes.leader("t", 1), Err(ResponseError::UnknownTopicOrPartition));
        assert_eq!(routes.partitions("t"), Some(vec![0]));
        routes.learn(&response(2, 0));
        assert_eq!(routes.leader("t", 0), Err(ResponseError::LeaderNotAvailable));
        routes.learn(&response(1, ResponseError::UnknownTopicOrPartition.code()));
        assert_eq!(routes.partitions("t"), None);
    }
}
