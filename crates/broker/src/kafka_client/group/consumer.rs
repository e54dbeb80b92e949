//! A consumer: a task keeps its place in the group, and whoever holds it reads and commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::assignment::{share, subscribed};
use super::membership::{Membership, Next};
use super::requests::Coordinator;
use crate::config::HostPort;
use crate::kafka_client::connection::Connections;
use crate::kafka_client::records::FetchedRecord;
use crate::kafka_client::{FetchLimits, KafkaClient, KafkaError, TopicPartition};

/// A fetch at all leaders ends when the slowest answers, so each round waits no longer than this for records.
const ROUND: Duration = Duration::from_millis(100);
/// How long a subscription may take to come into force.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(30);

/// One member of a group.
pub(crate) struct Consumer {
    client: Arc<KafkaClient>,
    coordinator: Coordinator,
    fetching: Connections,
    state: Mutex<State>,
    /// Which subscription is in force, or why none is.
    settled: watch::Sender<Settled>,
    changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct Settled {
    /// The number of the subscription that has come into force.
    subscription: u64,
    failure: Option<KafkaError>,
}

#[derive(Default)]
struct State {
    topics: Vec<String>,
    /// Counts subscriptions.
    subscription: u64,
    membership: Membership,
    /// The offset to read next of each partition that this member was given.
    positions: BTreeMap<TopicPartition, i64>,
    closed: bool,
}

impl Consumer {
    /// A consumer, which joins its group when it is subscribed.
    pub fn start(client: Arc<KafkaClient>, group: &str) -> Arc<Consumer> {
        let consumer = Arc::new(Consumer {
            coordinator: Coordinator::new(Arc::clone(&client), group.to_owned()),
            fetching: client.own_connections(),
            state: Mutex::default(),
            settled: watch::Sender::default(),
            changed: Notify::new(),
            client,
        });
        consumer.client.tasks.spawn(Arc::clone(&consumer).keep_membership());
        consumer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for topics instead of those before, and waits until the group has shared them out.
    ///
    /// # Errors
    /// Why the member is not in the group.
    pub async fn subscribe(&self, topics: Vec<String>) -> Result<(), KafkaError> {
        let number = {
            let mut state = self.state();
            state.topics = topics;
            state.subscription += 1;
            state.subscription
        };
        let mut settled = self.settled.subscribe();
        settled.mark_unchanged();
        self.changed.notify_one();
        let done = settled.wait_for(|settled| settled.subscription >= number);
        let late =
            || KafkaError::refused(ResponseError::RequestTimedOut, "the group has not settled in time");
        let outcome = timeout(SUBSCRIBE_TIMEOUT, done).await.map_err(|_| late())?;
        let failure = outcome.map_err(|_| late())?.failure.clone();
        failure.map_or(Ok(()), Err)
    }

    /// Leaves the group.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// Reads what the member's partitions have, and moves on behind it.
    ///
    /// # Errors
    /// Why nothing could be read; what one partition lacks is nobody else's error.
    pub async fn read(
        &self,
        limits: FetchLimits,
    ) -> Result<Vec<(TopicPartition, FetchedRecord)>, KafkaError> {
        let deadline = Instant::now() + limits.wait;
        loop {
            let (generation, positions) = {
                let state = self.state();
                (state.membership.generation, state.positions.clone())
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let round = FetchLimits { wait: left.min(ROUND), ..limits };
            let mut records = Vec::new();
            let mut bytes = 0;
            let limit = usize::try_from(limits.bytes_max).unwrap_or(usize::MAX);
            let outcomes = self.fetch_round(&positions, round).await?;
            {
                let mut state = self.state();
                // Partitions may have been given to others meanwhile.
                let same = state.membership.generation == generation;
                for (key, fetched) in outcomes.into_iter().filter(|_| same) {
                    let Some(position) = state.positions.get_mut(&key) else { continue };
                    let mut whole = true;
                    for record in fetched.records {
                        let size = record.record.size();
                        if bytes + size > limit && !records.is_empty() {
                            whole = false;
                            break;
                        }
                        bytes += size;
                        *position = record.offset + 1;
                        records.push((key.clone(), record));
                    }
                    if whole {
                        *position = fetched.next.max(*position);
                    }
                }
            }
            if !records.is_empty() || Instant::now() >= deadline {
                return Ok(records);
            }
            if positions.is_empty() {
                // Nothing to wait for but a share.
                let _ = timeout_at(deadline, self.settled.subscribe().changed()).await;
            }
        }
    }

    async fn fetch_round(
        &self,
        positions: &BTreeMap<TopicPartition, i64>,
        limits: FetchLimits,
    ) -> Result<Vec<(TopicPartition, crate::kafka_client::fetch::Fetched)>, KafkaError> {
        let mut leaders: BTreeMap<HostPort, Vec<(TopicPartition, i64)>> = BTreeMap::new();
        let mut failure = None;
        for (key, offset) in positions {
            match self.client.leader(&key.0, key.1).await {
                Ok(leader) => leaders.entry(leader).or_default().push((key.clone(), *offset)),
                Err(error) => failure = Some(error),
            }
        }
        if let Some(error) = failure {
            if leaders.is_empty() {
                return Err(error);
            }
            tracing::debug!(%error, "a partition of a consumer has no leader");
        }
        let fetches = leaders.iter().map(|(leader, wanted)| async move {
            let fetched = self.client.fetch_at(&self.fetching, leader, wanted, limits).await;
            fetched.unwrap_or_else(|error| {
                wanted.iter().map(|(key, _)| (key.clone(), Err(error.clone()))).collect()
            })
        });
        let mut read = Vec::new();
        for (key, outcome) in join_all(fetches).await.into_iter().flatten() {
            match outcome {
                Ok(fetched) => read.push((key, fetched)),
                Err(error) if error.code() == Some(ResponseError::OffsetOutOfRange) => {
                    // `auto.offset.reset` is always earliest.
                    let start = self.client.start_offset(&key.0, key.1).await?;
                    self.state().positions.entry(key).and_modify(|position| *position = start);
                }
                Err(error) if error.is_retriable() => self.client.routes().forget(&key.0),
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// The offsets that the group has committed; -1 for none.
    ///
    /// # Errors
    /// Why they are not known.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let mut retry = self.client.retry();
        loop {
            match self.coordinator.committed(partitions).await {
                Err(error) => {
                    self.coordinator.forget();
                    retry.again(error).await?;
                }
                result => return result,
            }
        }
    }

    /// Commits offsets, or with `None` what was read so far.
    ///
    /// # Errors
    /// Why they are not committed.
    pub async fn commit(&self, offsets: Option<BTreeMap<TopicPartition, i64>>) -> Result<(), KafkaError> {
        let (membership, positions) = {
            let state = self.state();
            (state.membership.clone(), state.positions.clone())
        };
        let offsets = offsets.unwrap_or(positions);
        if offsets.is_empty() {
            return Ok(());
        }
        let mut retry = self.client.retry();
        loop {
            match self.coordinator.commit(&membership, &offsets).await {
                // The member has to join again before it can commit.
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => return Err(error),
                Err(error) => {
                    self.coordinator.forget();
                    retry.again(error).await?;
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// The task: in the group while there is a subscription, out of it when closed.
    async fn keep_membership(self: Arc<Self>) {
        loop {
            let (closed, number, topics) = {
                let state = self.state();
                (state.closed, state.subscription, state.topics.clone())
            };
            if closed {
                break;
            }
            if topics.is_empty() {
                self.leave().await;
                self.settle(number, None);
                self.changed.notified().await;
                continue;
            }
            match self.join(&topics).await {
                Ok(()) => {
                    self.settle(number, None);
                    self.stay(number).await;
                }
                Err(error) => self.recover(number, error).await,
            }
        }
        self.leave().await;
    }

    async fn leave(&self) {
        let membership = {
            let mut state = self.state();
            state.positions.clear();
            std::mem::take(&mut state.membership)
        };
        if !membership.member_id.is_empty()
            && let Err(error) = self.coordinator.leave(&membership).await
        {
            tracing::debug!(group = self.coordinator.group, %error, "a consumer left without a word");
        }
    }

    fn settle(&self, subscription: u64, failure: Option<KafkaError>) {
        self.settled.send_replace(Settled { subscription, failure });
    }

    /// Joins, shares out if this member leads, and finds its positions.
    async fn join(&self, topics: &[String]) -> Result<(), KafkaError> {
        let mut membership = self.state().membership.clone();
        let joined = self.coordinator.join(&mut membership, topics).await;
        // Also with an error the coordinator may have given an id (KIP-394).
        self.state().membership = membership.clone();
        let joined = joined?;
        let mut shares = BTreeMap::new();
        if joined.leader == joined.member_id {
            let mut wishes = BTreeMap::new();
            for member in joined.members {
                wishes.insert(member.member_id.to_string(), subscribed(member.metadata)?);
            }
            shares = share(&wishes, &self.partitions_of(wishes.values().flatten()).await?);
        }
        let partitions = self.coordinator.sync(&membership, &shares).await?;
        let committed = match partitions.as_slice() {
            [] => BTreeMap::new(),
            partitions => self.coordinator.committed(partitions).await?,
        };
        let mut positions = BTreeMap::new();
        for key in partitions {
            let offset = match committed.get(&key) {
                Some(offset) if *offset >= 0 => *offset,
                _ => self.client.start_offset(&key.0, key.1).await?,
            };
            positions.insert(key, offset);
        }
        self.state().positions = positions;
        Ok(())
    }

    /// The partitions of these topics; a topic that is not there has none.
    async fn partitions_of(
        &self,
        topics: impl Iterator<Item = &String>,
    ) -> Result<BTreeMap<String, Vec<i32>>, KafkaError> {
        let mut partitions = BTreeMap::new();
        for topic in topics {
            if partitions.contains_key(topic) {
                continue;
            }
            // What was known may be of a topic that has more partitions now.
            self.client.routes().forget(topic);
            match self.client.partitions(topic).await {
                Ok(found) => partitions.insert(topic.clone(), found),
                Err(error) if error.code() == Some(ResponseError::UnknownTopicOrPartition) => {
                    partitions.insert(topic.clone(), Vec::new())
                }
                Err(error) => return Err(error),
            };
        }
        Ok(partitions)
    }

    /// Gives signs of life until the group, or the subscription, changes.
    async fn stay(&self, number: u64) {
        loop {
            let wait = self.client.config.consumer_heartbeat_interval;
            let _ = timeout(wait, self.changed.notified()).await;
            let membership = {
                let state = self.state();
                if state.closed || state.subscription != number {
                    return;
                }
                state.membership.clone()
            };
            if let Err(error) = self.coordinator.heartbeat(&membership).await {
                let next = self.state().membership.after(&error);
                match next {
                    Next::Join => return,
                    Next::FindCoordinator => self.coordinator.forget(),
                    Next::Wait => {}
                    Next::Fail => {
                        self.recover(number, error).await;
                        return;
                    }
                }
            }
        }
    }

    /// After an error that kept the member out of the group.
    async fn recover(&self, number: u64, error: KafkaError) {
        let next = self.state().membership.after(&error);
        let wait = match next {
            Next::Join => return,
            Next::FindCoordinator => {
                self.coordinator.forget();
                self.client.config.retry_base_backoff
            }
            Next::Wait => self.client.config.retry_base_backoff,
            Next::Fail => {
                tracing::warn!(group = self.coordinator.group, %error, "a consumer is kept out of its group");
                self.state().positions.clear();
                self.settle(number, Some(error));
                // Nothing gets better before somebody asks again.
                self.changed.notified().await;
                return;
            }
        };
        sleep(wait).await;
    }
}
