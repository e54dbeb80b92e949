//! Asking for metadata: from a broker that is known, and when none answers, from the bootstrap list again (KIP-899).

use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::attempt::{Exchange, Subject};
use crate::behaviour::MetadataTopics;
use crate::client::{Asked, Client, State, Target};
use crate::cluster::{Cluster, Freshness};
use crate::error::meaning;
use crate::{Failure, Operation, Outcome};

impl Client {
    /// Sees to it that the topic is among those asked for and the metadata fresh.
    pub(crate) async fn learn_about(&self, topic: &str, deadline: Option<Instant>) -> Result<(), Failure> {
        self.state().knowledge.use_topic(topic, Instant::now());
        self.keep_fresh(deadline).await
    }

    /// Asks for metadata unless what is known is fresh; callers at the same time share one answer.
    pub(crate) async fn keep_fresh(&self, deadline: Option<Instant>) -> Result<(), Failure> {
        if self.freshness() == Freshness::Fresh {
            return Ok(());
        }
        let due = async {
            let turn = self.inner.refreshing.lock().await;
            loop {
                match self.freshness() {
                    Freshness::Fresh => return None,
                    Freshness::Due => return Some(turn),
                    Freshness::DueAt(instant) => sleep_until(instant).await,
                }
            }
        };
        let late =
            || Failure::new(Outcome::Timeout, "the delivery timeout passed while waiting for metadata");
        let Some(_turn) = before(deadline, due).await.ok_or_else(late)? else { return Ok(()) };
        self.state().knowledge.missing_since.get_or_insert_with(Instant::now);
        let mut last = Failure::new(Outcome::NotExposed, "there is no broker to ask for metadata");
        for (number, asked) in (1..).zip(self.candidates(Operation::Metadata)) {
            match self.ask_metadata(number, &asked, deadline).await {
                Ok(()) => return Ok(()),
                Err(failure) => last = failure,
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        let explanation = format!("no broker gave metadata; last: {}", last.explanation);
        Err(Failure::new(last.outcome, explanation))
    }

    fn freshness(&self) -> Freshness {
        let inner = &self.inner;
        self.state().knowledge.freshness(Instant::now(), &inner.options.behaviour, inner.bugs)
    }

    async fn ask_metadata(
        &self,
        number: u32,
        asked: &Asked,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let behaviour = &self.inner.options.behaviour;
        let topics = match behaviour.metadata_topics {
            MetadataTopics::All => None,
            MetadataTopics::Used => {
                Some(self.state().knowledge.topics_in_use(Instant::now(), behaviour.topic_max_idle))
            }
        };
        let subject = Subject { operation: Operation::Metadata, topic: None, partition: None };
        let exchange = Exchange {
            build: &|version| metadata_request(topics.as_deref(), version),
            judge: &|response: &MetadataResponse| (response.error_code, None),
            newest: behaviour.metadata_version_max,
            answered: true,
            server_wait: Duration::ZERO,
            hint: None,
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
        (knowledge.doubted, knowledge.incomplete, knowledge.missing_since) = (false, false, None);
        drop_vanished(&mut state);
        Ok(newer)
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
    state.links.retain(|(target, _), _| match target {
        Target::Broker(id) => brokers.contains_key(id),
        Target::Bootstrap(_) => true,
    });
}

/// What `work` gives before `deadline`; `None` if that passes first. Without one it may take for ever.
pub(crate) async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}
