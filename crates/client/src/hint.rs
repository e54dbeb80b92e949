//! The leader that a broker names beside the error that it is not the leader itself (KIP-951).

use kafka_protocol::messages::{BrokerId, FetchResponse, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use crate::HostPort;
use crate::cluster::{AdvertisedBroker, Cluster};

/// A leader that an error answer names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaderHint {
    pub leader: i32,
    pub leader_epoch: i32,
    /// Where it is, if told.
    pub broker: Option<AdvertisedBroker>,
}

/// The hint in a Produce answer.
pub(crate) fn of_produce(response: &ProduceResponse, partition: i32) -> Option<LeaderHint> {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let named = &answers.find(|answer| answer.index == partition)?.current_leader;
    let nodes = response.node_endpoints.iter();
    let nodes = nodes.map(|node| (node.node_id, &node.host, node.port, node.rack.as_ref()));
    hint(named.leader_id, named.leader_epoch, nodes)
}

/// The hint in a Fetch answer.
pub(crate) fn of_fetch(response: &FetchResponse, partition: i32) -> Option<LeaderHint> {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partitions);
    let named = &answers.find(|answer| answer.partition_index == partition)?.current_leader;
    let nodes = response.node_endpoints.iter();
    let nodes = nodes.map(|node| (node.node_id, &node.host, node.port, node.rack.as_ref()));
    hint(named.leader_id, named.leader_epoch, nodes)
}

/// The leader with that id, if it is one (-1 stands for none), at its place among `nodes`.
fn hint<'a>(
    leader: BrokerId,
    leader_epoch: i32,
    mut nodes: impl Iterator<Item = (BrokerId, &'a StrBytes, i32, Option<&'a StrBytes>)>,
) -> Option<LeaderHint> {
    let id = Some(leader.0).filter(|&id| id >= 0)?;
    let broker = nodes.find(|(node, ..)| *node == leader).map(|(_, host, port, rack)| AdvertisedBroker {
        id,
        // As in metadata: a port that cannot be dialled becomes 0 and fails when it is tried.
        address: HostPort::new(host.as_str(), u16::try_from(port).unwrap_or(0)),
        rack: rack.map(|rack| rack.as_str().to_owned()),
    });
    Some(LeaderHint { leader: id, leader_epoch, broker })
}

impl Cluster {
    /// Takes a hint over; whether it was news: a leader of a later epoch at an address that is known.
    pub(crate) fn take_hint(&mut self, topic: &str, partition: i32, hint: LeaderHint) -> bool {
        let view = self.topics.get_mut(topic).and_then(|view| view.partitions.get_mut(&partition));
        let Some(view) = view.filter(|view| hint.leader_epoch > view.leader_epoch) else { return false };
        match hint.broker {
            Some(broker) => drop(self.brokers.insert(hint.leader, broker)),
            None if self.brokers.contains_key(&hint.leader) => {}
            None => return false,
        }
        (view.leader, view.leader_epoch, view.error_code) = (Some(hint.leader), hint.leader_epoch, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::produce_response::{
        LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
    };

    use super::*;
    use crate::{PartitionView, TopicView};

    fn answer(leader: i32, epoch: i32, endpoint: bool) -> ProduceResponse {
        let named = LeaderIdAndEpoch::default().with_leader_id(leader.into()).with_leader_epoch(epoch);
        let answer = PartitionProduceResponse::default().with_index(3).with_current_leader(named);
        let node = NodeEndpoint::default()
            .with_node_id(leader.into())
            .with_host(StrBytes::from_static_str("redpanda-1"))
            .with_port(9093);
        ProduceResponse::default()
            .with_responses(vec![TopicProduceResponse::default().with_partition_responses(vec![answer])])
            .with_node_endpoints(if endpoint { vec![node] } else { Vec::new() })
    }

    fn cluster() -> Cluster {
        let view = PartitionView { leader: Some(0), leader_epoch: 4, replicas: vec![0, 1], error_code: 0 };
        let topic = TopicView { partitions: [(3, view)].into(), ..TopicView::default() };
        Cluster { topics: [("t".to_owned(), topic)].into(), ..Cluster::default() }
    }

    #[test]
    fn a_later_leader_with_its_address_is_taken() {
        let mut cluster = cluster();
        let hint = of_produce(&answer(1, 5, true), 3).expect("it names one");
        assert!(cluster.take_hint("t", 3, hint));
        assert_eq!(cluster.topics["t"].partitions[&3].leader, Some(1));
        assert_eq!(cluster.brokers[&1].address, HostPort::new("redpanda-1", 9093));
    }

    #[test]
    fn old_news_and_leaders_without_an_address_are_left() {
        let mut cluster = cluster();
        for (epoch, endpoint) in [(4, true), (3, true), (5, false)] {
            let hint = of_produce(&answer(1, epoch, endpoint), 3).expect("it names one");
            assert!(!cluster.take_hint("t", 3, hint), "epoch {epoch}, address {endpoint}");
        }
        assert_eq!(cluster.topics["t"].partitions[&3].leader, Some(0));
    }

    #[test]
    fn an_answer_that_names_nobody_is_no_hint() {
        assert_eq!(of_produce(&answer(-1, -1, false), 3), None);
        assert_eq!(of_produce(&answer(1, 5, true), 2), None, "it is about another partition");
        assert_eq!(of_fetch(&FetchResponse::default(), 3), None);
    }
}
