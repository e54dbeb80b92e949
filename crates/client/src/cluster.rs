//! The client's picture of the cluster, as Metadata answers drew it: brokers, their advertised addresses, leaders.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::MetadataResponse;
use tokio::time::Instant;

use crate::HostPort;
use crate::behaviour::Behaviour;
use crate::bugs::Bugs;

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
    /// A topic is new among those that the client works with.
    pub incomplete: bool,
    /// The topics the client works with and when each was used last; every refresh asks for them.
    pub topics: BTreeMap<String, Instant>,
    /// Since when metadata is asked for and does not come.
    pub missing_since: Option<Instant>,
}

/// Whether a request may rely on what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It may.
    Fresh,
    /// Metadata is to be asked for first.
    Due,
    /// Metadata is to be asked for first, but not before this.
    DueAt(Instant),
}

impl Knowledge {
    /// Whether a request may rely on it now.
    pub fn freshness(&self, now: Instant, behaviour: &Behaviour, bugs: Bugs) -> Freshness {
        let Some(fetched) = self.fetched.filter(|_| !self.incomplete) else { return Freshness::Due };
        let old = behaviour.metadata_max_age.is_some_and(|age| now.duration_since(fetched) >= age);
        if bugs.keep_metadata || !(self.doubted || old) {
            return Freshness::Fresh;
        }
        let earliest = fetched + behaviour.metadata_min_interval;
        if now < earliest { Freshness::DueAt(earliest) } else { Freshness::Due }
    }

    /// Notes that a topic is used.
    pub fn use_topic(&mut self, topic: &str, now: Instant) {
        match self.topics.get_mut(topic) {
            Some(used) => *used = now,
            None => {
                self.topics.insert(topic.to_owned(), now);
                self.incomplete = true;
            }
        }
    }

    /// The topics to ask for; those that were not used for `most` are forgotten.
    pub fn topics_in_use(&mut self, now: Instant, most: Option<Duration>) -> Vec<String> {
        if let Some(most) = most {
            self.topics.retain(|_, used| now.duration_since(*used) < most);
        }
        self.topics.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

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

    fn freshness(profile: Profile, age: Duration, doubted: bool, incomplete: bool) -> Freshness {
        let now = Instant::now();
        let knowledge = Knowledge { fetched: Some(now), doubted, incomplete, ..Knowledge::default() };
        knowledge.freshness(now + age, &profile.behaviour(), Bugs::default())
    }

    #[tokio::test]
    async fn metadata_is_due_at_its_age_or_when_it_is_doubted() {
        let (second, age) = (Duration::from_secs(1), Duration::from_secs(300));
        for profile in [Profile::Java, Profile::Librdkafka, Profile::FranzGo, Profile::Hopwise] {
            assert_eq!(freshness(profile, age - second, false, false), Freshness::Fresh, "{profile}");
            assert_eq!(freshness(profile, age, false, false), Freshness::Due, "{profile}");
            assert_eq!(freshness(profile, second * 6, true, false), Freshness::Due, "{profile}");
        }
        assert_eq!(freshness(Profile::Naive, age * 100, false, false), Freshness::Fresh);
    }

    #[tokio::test(start_paused = true)]
    async fn franz_go_waits_five_seconds_between_answers_unless_a_topic_is_new() {
        let second = Duration::from_secs(1);
        let due = Freshness::DueAt(Instant::now() + second * 5);
        assert_eq!(freshness(Profile::FranzGo, second, true, false), due);
        assert_eq!(freshness(Profile::FranzGo, second, true, true), Freshness::Due);
        assert_eq!(freshness(Profile::Java, second, true, false), Freshness::Due);
    }

    #[tokio::test]
    async fn a_topic_that_is_no_longer_used_is_forgotten_by_java_alone() {
        let (now, age) = (Instant::now(), Duration::from_secs(300));
        for (profile, left) in [(Profile::Java, 1), (Profile::Librdkafka, 2)] {
            let mut knowledge = Knowledge::default();
            knowledge.use_topic("old", now);
            knowledge.use_topic("new", now + age);
            let most = profile.behaviour().topic_max_idle;
            assert_eq!(knowledge.topics_in_use(now + age, most).len(), left, "{profile}");
        }
    }
}
