//! Asking for metadata: from a broker that is known, and when none answers, from the bootstrap list again (KIP-899).

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use rand::RngExt;
use tokio::time::{Instant, timeout_at};

use crate::attempt::{Exchange, Subject};
use crate::client::{Asked, Client, State, Target};
use crate::cluster::Cluster;
use crate::error::meaning;
use crate::{Failure, Operation, Outcome};

/// The newest Metadata version used, with leader epochs (KIP-320); see `handshake` for why no newer one.
pub(crate) const METADATA_VERSION_MAX: i16 = 9;

impl Client {
    /// Sees to it that the topic is among those asked for and the metadata fresh.
    pub(crate) async fn learn_about(&self, topic: &str, deadline: Instant) -> Result<(), Failure> {
        {
            let knowledge = &mut self.state().knowledge;
            if !knowledge.topics.contains(topic) {
                knowledge.topics.insert(topic.to_owned());
                knowledge.doubted = true;
            }
        }
        self.keep_fresh(deadline).await
    }

    /// Asks for metadata unless what is known is fresh; callers at the same time share one answer.
    pub(crate) async fn keep_fresh(&self, deadline: Instant) -> Result<(), Failure> {
        if self.is_fresh() {
            return Ok(());
        }
        let late =
            || Failure::new(Outcome::Timeout, "the delivery timeout passed while waiting for metadata");
        let _turn = timeout_at(deadline, self.inner.refreshing.lock()).await.map_err(|_| late())?;
        if self.is_fresh() {
            return Ok(());
        }
        let mut last = Failure::new(Outcome::NotExposed, "there is no broker to ask for metadata");
        for (number, asked) in (1..).zip(self.candidates()) {
            match self.ask_metadata(number, &asked, deadline).await {
                Ok(()) => return Ok(()),
                Err(failure) => last = failure,
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        let explanation = format!("no broker gave metadata; last: {}", last.explanation);
        Err(Failure::new(last.outcome, explanation))
    }

    fn is_fresh(&self) -> bool {
        self.state().knowledge.is_fresh(self.inner.options.metadata_max_age)
    }

    async fn ask_metadata(&self, number: u32, asked: &Asked, deadline: Instant) -> Result<(), Failure> {
        let topics: Vec<String> = self.state().knowledge.topics.iter().cloned().collect();
        let subject = Subject { operation: Operation::Metadata, topic: None, partition: None };
        let exchange = Exchange {
            build: &|version| metadata_request(Some(&topics), version),
            judge: &|response: &MetadataResponse| (response.error_code, None),
            newest: METADATA_VERSION_MAX,
            answered: true,
        };
        let judged = self
            .attempt(&subject, number, asked, &exchange, deadline)
            .await
            .map_err(|missed| missed.failure)?;
        match judged.response {
            Some(response) if judged.code == 0 => self.take_metadata(&response).map(|_| ()),
            _ => Err(Failure::new(judged.outcome, meaning(judged.code))),
        }
    }

    /// Takes an answer over into what is known.
    ///
    /// An answer without brokers is passed over, as the Java client does: it would leave nobody to ask.
    pub(crate) fn take_metadata(&self, response: &MetadataResponse) -> Result<Cluster, Failure> {
        let newer = Cluster::of(response);
        if newer.brokers.is_empty() {
            return Err(Failure::new(Outcome::NotExposed, "the metadata answer lists no broker"));
        }
        let mut state = self.state();
        state.counters.metadata_refreshes += 1;
        let knowledge = &mut state.knowledge;
        knowledge.cluster.update(newer.clone());
        knowledge.fetched = Some(Instant::now());
        knowledge.generation += 1;
        knowledge.doubted = false;
        drop_vanished(&mut state);
        Ok(newer)
    }

    /// Whom to ask when any broker will do: connected brokers with the fewest requests in flight, the others
    /// beginning at a random one (as the Java client's `leastLoadedNode`), then the bootstrap list in its order.
    pub(crate) fn candidates(&self) -> Vec<Asked> {
        let mut state = self.state();
        let ids: Vec<i32> = state.knowledge.cluster.brokers.keys().copied().collect();
        let (mut connected, mut others) = (Vec::new(), Vec::new());
        for asked in ids.into_iter().filter_map(|id| state.broker_link(id)) {
            match asked.link.load() {
                Some(load) => connected.push((load, asked)),
                None => others.push(asked),
            }
        }
        connected.sort_by_key(|(load, asked)| (*load, asked.target));
        if others.len() > 1 {
            let first = state.random.random_range(0..others.len());
            others.rotate_left(first);
        }
        let mut candidates: Vec<Asked> = connected.into_iter().map(|(_, asked)| asked).collect();
        candidates.append(&mut others);
        let bootstrap = self.inner.options.bootstrap.iter().enumerate();
        candidates.extend(bootstrap.map(|(place, address)| state.bootstrap_link(place, address)));
        candidates
    }
}

/// A Metadata request for these topics, or for all of them.
pub(crate) fn metadata_request(topics: Option<&[String]>, version: i16) -> MetadataRequest {
    let topic = |name: &String| {
        let name = TopicName(StrBytes::from_string(name.clone()));
        MetadataRequestTopic::default().with_name(Some(name))
    };
    // Version 0 has no null list: there an empty one means all topics.
    let topics = match topics {
        Some(topics) => Some(topics.iter().map(topic).collect()),
        None => (version == 0).then(Vec::new),
    };
    // librdkafka's default, and Redpanda's side of it: topics are made by those who mean to (redpanda.md 4.2).
    MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(version < 4)
}

/// Forgets the links to brokers that are no longer listed.
fn drop_vanished(state: &mut State) {
    let brokers = &state.knowledge.cluster.brokers;
    state.links.retain(|target, _| match target {
        Target::Broker(id) => brokers.contains_key(id),
        Target::Bootstrap(_) => true,
    });
}
