//! One attempt of one request at one broker, and its record.

use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Route;
use kafka_protocol::protocol::Request;
use tokio::time::Instant;

use crate::behaviour::ServerWait;
use crate::client::{Asked, Client};
use crate::connection::{Answer, Unanswered};
use crate::dial::since;
use crate::error::meaning;
use crate::hint::LeaderHint;
use crate::link::{Opening, Ready};
use crate::refresh::before;
use crate::suspicion::Claim;
use crate::{Failure, Operation, Outcome, RequestRecord};

/// NOT_LEADER_OR_FOLLOWER (Kafka protocol guide, error codes).
pub(crate) const NOT_LEADER: i16 = 6;

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub operation: Operation,
    pub topic: Option<String>,
    pub partition: Option<i32>,
}

/// Tells the error code of an answer, and the broker's words about it.
pub(crate) type Judge<'a, T> = dyn Fn(&T) -> (i16, Option<String>) + Send + Sync + 'a;

/// Tells the leader that an answer names (KIP-951).
pub(crate) type Hint<'a, T> = dyn Fn(&T) -> Option<LeaderHint> + Send + Sync + 'a;

/// How a request is made and judged.
pub(crate) struct Exchange<'a, R: Request> {
    /// The request in a version.
    pub build: &'a (dyn Fn(i16) -> R + Send + Sync),
    /// The error code of an answer and the broker's words about it.
    pub judge: &'a Judge<'a, R::Response>,
    /// The newest version the client understands in full.
    pub newest: i16,
    /// Whether the protocol has an answer.
    pub answered: bool,
    /// The time that the request itself gives the broker.
    pub server_wait: Duration,
    /// The leader that an answer with an error names, where it can.
    pub hint: Option<&'a Hint<'a, R::Response>>,
}

/// An answer, good or not.
pub(crate) struct Judged<T> {
    /// `None` where the protocol has no answer.
    pub response: Option<T>,
    pub code: i16,
    pub outcome: Outcome,
    pub explanation: String,
    /// The leader that it names.
    pub hint: Option<LeaderHint>,
}

/// No answer.
pub(crate) struct Missed {
    pub failure: Failure,
    /// The broker does not offer the request: asking again does not help.
    pub unsupported: bool,
}

impl Client {
    /// Sends one request to `asked` before `deadline`, and notes its record.
    pub(crate) async fn attempt<R>(
        &self,
        subject: &Subject,
        number: u32,
        asked: &Asked,
        exchange: &Exchange<'_, R>,
        deadline: Option<Instant>,
    ) -> Result<Judged<R::Response>, Missed>
    where
        R: Request + Send + Sync,
        R::Response: Send,
    {
        let started = Instant::now();
        let (opening, ready) = self.open(asked, deadline).await;
        let mut unsupported = false;
        let (ip, result) = match ready {
            Err(failure) => {
                (opening.ip, Err(Unanswered { failure, route: opening.route.clone(), took: Span::ZERO }))
            }
            Ok(ready) => {
                let result = match ready.versions.pick::<R>(exchange.newest) {
                    Ok(version) => {
                        let longest = self.longest_wait(subject.operation, exchange.server_wait);
                        send(&ready, exchange, version, longest, deadline).await
                    }
                    Err(failure) => {
                        unsupported = true;
                        Err(Unanswered { failure, route: None, took: Span::ZERO })
                    }
                };
                (Some(ready.ip), result)
            }
        };
        let (route, took) = match &result {
            Ok(answer) => (answer.route.clone(), answer.took),
            Err(unanswered) => (unanswered.route.clone(), unanswered.took),
        };
        let reached = self.reached(route.as_ref());
        let record = RequestRecord {
            operation: subject.operation,
            topic: subject.topic.clone(),
            partition: subject.partition,
            broker: asked.broker(),
            address: asked.link.address.clone(),
            ip,
            attempt: number,
            outcome: Outcome::Ok,
            error_code: None,
            explanation: String::new(),
            reached,
            route,
            started_at: self.time_of(started),
            resolve: opening.resolve,
            connect: opening.connect,
            handshake: opening.handshake,
            request: took,
            total: since(started),
        };
        self.conclude(subject, record, exchange, result, unsupported)
    }

    /// How long a request of this kind may wait for its answer.
    fn longest_wait(&self, operation: Operation, server_wait: Duration) -> Duration {
        let behaviour = &self.inner.options.behaviour;
        let added = match behaviour.server_wait {
            ServerWait::NotAdded => false,
            ServerWait::AddedToFetch => operation == Operation::Fetch,
            ServerWait::Added => true,
        };
        behaviour.request_timeout + if added { server_wait } else { Duration::ZERO }
    }

    async fn open(&self, asked: &Asked, deadline: Option<Instant>) -> (Opening, Result<Ready, Failure>) {
        let opened = before(deadline, asked.link.ready(self)).await;
        let (opening, ready) = opened.unwrap_or_else(|| {
            let explanation = "the delivery timeout passed before a connection was open";
            (Opening::default(), Err(Failure::new(Outcome::Timeout, explanation)))
        });
        self.state().counters.connections_opened += u64::from(opening.connected);
        (opening, ready)
    }

    fn reached(&self, route: Option<&Route>) -> Option<i32> {
        let whois = self.inner.options.whois.as_ref()?;
        whois(route?)
    }

    /// Judges what came of it and notes the record.
    fn conclude<R: Request>(
        &self,
        subject: &Subject,
        mut record: RequestRecord,
        exchange: &Exchange<'_, R>,
        result: Result<Answer<Option<R::Response>>, Unanswered>,
        unsupported: bool,
    ) -> Result<Judged<R::Response>, Missed> {
        let answer = match result {
            Ok(answer) => answer,
            Err(unanswered) => {
                record.outcome = unanswered.failure.outcome;
                record.explanation = unanswered.failure.explanation.clone();
                self.note(&record);
                return Err(Missed { failure: unanswered.failure, unsupported });
            }
        };
        let judged = answer.response.as_ref().map(exchange.judge);
        let (code, words) = judged.clone().unwrap_or((0, None));
        record.error_code = judged.map(|(code, _)| code);
        if exchange.answered && code != 0 {
            record.explanation = words.unwrap_or_else(|| format!("the broker answered {}", meaning(code)));
        }
        record.outcome = Outcome::of_code(code);
        if let Some(explanation) = self.wrong_broker(subject, &record, code) {
            (record.outcome, record.explanation) = (Outcome::WrongBroker, explanation);
        }
        self.note(&record);
        let RequestRecord { outcome, explanation, .. } = record;
        let hint = if code == 0 { None } else { exchange.hint.zip(answer.response.as_ref()) };
        let hint = hint.and_then(|(hint, response)| hint(response));
        Ok(Judged { response: answer.response, code, outcome, explanation, hint })
    }

    /// Why the broker behind the address must be another than the one asked, if it must.
    fn wrong_broker(&self, subject: &Subject, record: &RequestRecord, code: i16) -> Option<String> {
        let asked = record.broker?;
        if let Some(reached) = record.reached {
            return (reached != asked).then(|| {
                format!("broker {asked} advertises {}, but broker {reached} answers there", record.address)
            });
        }
        let (topic, partition) = (subject.topic.as_deref()?, subject.partition?);
        let mut state = self.state();
        if code != NOT_LEADER {
            state.suspicions.cleared(topic, partition);
            return None;
        }
        let view = state.knowledge.cluster.topics.get(topic)?.partitions.get(&partition)?;
        let claim =
            Claim { leader: asked, leader_epoch: view.leader_epoch, generation: state.knowledge.generation };
        state.suspicions.denied(topic, partition, claim).then(|| {
            format!(
                "fresh metadata keeps naming broker {asked} as leader of {topic}/{partition}, but whoever answers at \
                 {} keeps denying it: the address seems to lead to another broker",
                record.address
            )
        })
    }
}

async fn send<R: Request>(
    ready: &Ready,
    exchange: &Exchange<'_, R>,
    version: i16,
    longest: Duration,
    deadline: Option<Instant>,
) -> Result<Answer<Option<R::Response>>, Unanswered> {
    let started = Instant::now();
    let request = (exchange.build)(version);
    let connection = &ready.connection;
    let sent = before(deadline, async {
        if exchange.answered {
            let Answer { response, route, took } =
                connection.request_within(&request, version, longest).await?;
            Ok(Answer { response: Some(response), route, took })
        } else {
            let Answer { route, took, .. } = connection.send(&request, version, longest).await?;
            Ok(Answer { response: None, route, took })
        }
    });
    sent.await.unwrap_or_else(|| {
        let failure =
            Failure::new(Outcome::Timeout, "the delivery timeout passed before the broker answered");
        Err(Unanswered { failure, route: None, took: since(started) })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hopwise_engine::Time;
    use hopwise_fabric::{Action, Hop};

    use super::*;
    use crate::{HostPort, Options, Profile};

    fn route_to(device: &str) -> Route {
        let (source, destination) = (([10, 0, 0, 9], 40_000).into(), ([10, 0, 0, 1], 9093).into());
        let hop = Hop {
            device: device.into(),
            action: Action::Delivered,
            source,
            destination,
            at: Time::ZERO,
            time_to_live: 64,
            detail: None,
            answer: None,
        };
        Route { forward: vec![hop], reply: Vec::new() }
    }

    /// A client that is told who stands behind a route by the ordinal at the end of the device's name.
    fn client() -> Client {
        let ordinal = |route: &Route| route.reached()?.rsplit('-').next()?.parse().ok();
        let options = Options::new(vec![HostPort::new("seed", 9093)]);
        Client::new(Options { whois: Some(Arc::new(ordinal)), ..options }).expect("has a bootstrap address")
    }

    fn record(client: &Client, broker: Option<i32>, device: &str) -> RequestRecord {
        let route = route_to(device);
        RequestRecord {
            operation: Operation::Produce,
            topic: Some("t".to_owned()),
            partition: Some(0),
            broker,
            address: HostPort::new("redpanda-0", 9093),
            ip: None,
            attempt: 1,
            outcome: Outcome::Ok,
            error_code: Some(0),
            explanation: String::new(),
            reached: client.reached(Some(&route)),
            route: Some(route),
            started_at: Time::ZERO,
            resolve: Span::ZERO,
            connect: None,
            handshake: None,
            request: Span::ZERO,
            total: Span::ZERO,
        }
    }

    #[tokio::test]
    async fn the_simulation_tells_a_wrong_broker_at_once() {
        let client = client();
        let subject =
            Subject { operation: Operation::Produce, topic: Some("t".to_owned()), partition: Some(0) };
        let verdict = |broker, device| client.wrong_broker(&subject, &record(&client, broker, device), 0);
        assert_eq!(verdict(Some(0), "redpanda/redpanda-0"), None);
        let wrong = verdict(Some(0), "redpanda/redpanda-2").expect("another broker answers");
        assert_eq!(wrong, "broker 0 advertises redpanda-0:9093, but broker 2 answers there");
        assert_eq!(verdict(None, "redpanda/redpanda-2"), None, "a bootstrap address promises no broker");
    }

    #[tokio::test]
    async fn an_answer_is_waited_for_as_long_as_the_profile_has_it() {
        let seconds = |profile: Profile, operation, server_wait| {
            let options = Options::new(vec![HostPort::new("seed", 9093)]);
            let behaviour = profile.behaviour();
            let client = Client::new(Options { behaviour, ..options }).expect("has a bootstrap address");
            client.longest_wait(operation, Duration::from_secs(server_wait)).as_secs()
        };
        assert_eq!(seconds(Profile::FranzGo, Operation::Produce, 10), 20);
        assert_eq!(seconds(Profile::FranzGo, Operation::Metadata, 0), 10);
        assert_eq!(seconds(Profile::Librdkafka, Operation::Fetch, 5), 65);
        assert_eq!(seconds(Profile::Librdkafka, Operation::Produce, 30), 60);
        assert_eq!(seconds(Profile::Java, Operation::Fetch, 5), 30);
    }
}
