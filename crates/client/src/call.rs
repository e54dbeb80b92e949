//! An operation from its first attempt to its end: find whom to ask, ask, and after a failure wait, doubt the
//! metadata and ask again until the delivery timeout (Kafka protocol guide, "Partitioning and bootstrapping").

use std::time::Duration;

use kafka_protocol::protocol::Request;
use tokio::time::{Instant, sleep};

use crate::attempt::{Exchange, Judged, Missed, NOT_LEADER, Subject};
use crate::behaviour::{LeaderHints, Patience, RefreshOn};
use crate::client::{Asked, Client};
use crate::error::{doubts_metadata, is_retriable, meaning};
use crate::hint::LeaderHint;
use crate::lane::Lane;
use crate::{ClientError, Failure, Operation, Outcome};

/// LEADER_NOT_AVAILABLE and UNKNOWN_TOPIC_OR_PARTITION (Kafka protocol guide, error codes).
const LEADER_NOT_AVAILABLE: i16 = 5;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

/// Who has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// The leader of the request's partition.
    Leader { topic: String, partition: i32 },
    /// The controller if it is known, else any broker (Redpanda's brokers forward such requests, redpanda.md 4.3).
    Controller,
    /// This broker.
    Broker(i32),
    /// Any broker, or a bootstrap address before one is known.
    Any,
}

/// When a request is tried again.
enum Next {
    AtOnce,
    AfterBackoff,
}

/// What an attempt, or the search for a broker, ended with.
struct Setback {
    outcome: Outcome,
    code: Option<i16>,
    explanation: String,
    /// Whether another attempt may help.
    passing: bool,
    /// Whether the metadata is to be asked for again first.
    doubt: bool,
    /// The leader that the answer names.
    hint: Option<LeaderHint>,
}

impl Client {
    /// Carries a request out, as long as `patience` lasts; the response has no error code that `exchange` can see.
    ///
    /// Returns the response (`None` where the protocol has none) and the number of attempts.
    pub(crate) async fn call<R>(
        &self,
        subject: &Subject,
        destination: &Destination,
        exchange: &Exchange<'_, R>,
        patience: Patience,
    ) -> Result<(Option<R::Response>, u32), ClientError>
    where
        R: Request + Send + Sync,
        R::Response: Send,
    {
        self.state().counters.operations += 1;
        let deadline = patience.within.map(|time| Instant::now() + time);
        let (mut attempts, mut tries) = (0, 0);
        loop {
            let mut setback = match self.locate(subject.operation, destination, tries, deadline).await {
                Err(setback) => setback,
                Ok(asked) => {
                    attempts += 1;
                    match self.attempt(subject, attempts, &asked, exchange, deadline).await {
                        Ok(judged) if judged.code == 0 => return Ok((judged.response, attempts)),
                        Ok(judged) => Setback::of_answer(judged),
                        Err(missed) => Setback::of_miss(missed),
                    }
                }
            };
            tries += 1;
            let wait = match self.reconsider(subject, &mut setback) {
                Next::AtOnce => Duration::ZERO,
                Next::AfterBackoff => self.wait(self.inner.options.behaviour.retry_backoff, tries),
            };
            let late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline)
                || patience.retries.is_some_and(|retries| tries > retries);
            if !setback.passing || late {
                self.state().counters.failed += 1;
                return Err(setback.into_error(subject, attempts));
            }
            tracing::debug!(operation = %subject.operation, attempts, why = %setback.explanation, "trying again");
            sleep(wait).await;
        }
    }

    /// Takes over what a setback tells of the cluster: the leader that it names, or that the metadata is to be doubted.
    fn reconsider(&self, subject: &Subject, setback: &mut Setback) -> Next {
        let (behaviour, bugs) = (&self.inner.options.behaviour, self.inner.bugs);
        let not_leader = setback.code == Some(NOT_LEADER);
        let deaf = bugs.keep_metadata || bugs.ignore_not_leader && not_leader;
        let told = setback.code.is_some() || behaviour.refresh_on == RefreshOn::AnyFailure;
        let hint = setback.hint.take().filter(|_| !deaf && behaviour.leader_hints != LeaderHints::Ignored);
        let mut state = self.state();
        let place = subject.topic.as_deref().zip(subject.partition);
        let taken = hint.zip(place).is_some_and(|(hint, (topic, partition))| {
            state.knowledge.cluster.take_hint(topic, partition, hint)
        });
        state.knowledge.doubted |= setback.doubt && !deaf && told && !taken;
        match behaviour.leader_hints {
            LeaderHints::TakenAtOnce if taken => Next::AtOnce,
            _ => Next::AfterBackoff,
        }
    }

    /// Finds whom to ask, with fresh metadata where the answer depends on it.
    async fn locate(
        &self,
        operation: Operation,
        destination: &Destination,
        tries: u32,
        deadline: Option<Instant>,
    ) -> Result<Asked, Setback> {
        let lane = Lane::of(self.inner.options.behaviour.connections, operation);
        match destination {
            Destination::Leader { topic, partition } => {
                self.learn_about(topic, deadline).await.map_err(Setback::of_refresh)?;
                self.leader_of(topic, *partition, lane)
            }
            Destination::Controller => {
                self.keep_fresh(deadline).await.map_err(Setback::of_refresh)?;
                let controller = {
                    let state = &mut *self.state();
                    state.knowledge.cluster.controller.and_then(|id| self.broker_link(state, id, lane))
                };
                match controller {
                    Some(asked) => Ok(asked),
                    None => self.any(operation, tries),
                }
            }
            Destination::Broker(id) => {
                self.keep_fresh(deadline).await.map_err(Setback::of_refresh)?;
                let link = self.broker_link(&mut self.state(), *id, lane);
                link.ok_or_else(|| {
                    let explanation = format!("metadata names no broker {id}");
                    Setback::of_refresh(Failure::new(Outcome::NotExposed, explanation))
                })
            }
            Destination::Any => self.any(operation, tries),
        }
    }

    /// The candidates in turn, one per try.
    fn any(&self, operation: Operation, tries: u32) -> Result<Asked, Setback> {
        let candidates = self.candidates(operation);
        let turn = tries as usize % candidates.len().max(1);
        let none = || Setback::of_refresh(Failure::new(Outcome::NotExposed, "there is no broker to ask"));
        candidates.into_iter().nth(turn).ok_or_else(none)
    }

    fn leader_of(&self, topic: &str, partition: i32, lane: Lane) -> Result<Asked, Setback> {
        let state = &mut *self.state();
        let unknown = |code, explanation| Setback {
            outcome: Outcome::Ok,
            code: Some(code),
            explanation,
            passing: true,
            doubt: true,
            hint: None,
        };
        let view = state.knowledge.cluster.topics.get(topic);
        let error = view.map_or(UNKNOWN_TOPIC_OR_PARTITION, |view| view.error_code);
        let found = view.and_then(|view| view.partitions.get(&partition));
        let Some(found) = found else {
            let code = if error == 0 { UNKNOWN_TOPIC_OR_PARTITION } else { error };
            let passing = is_retriable(code);
            let explanation = format!("metadata has no partition {topic}/{partition}: {}", meaning(code));
            return Err(Setback { passing, outcome: Outcome::of_code(code), ..unknown(code, explanation) });
        };
        let Some(leader) = found.leader else {
            let code = if found.error_code == 0 { LEADER_NOT_AVAILABLE } else { found.error_code };
            return Err(unknown(code, format!("{topic}/{partition} has no leader: {}", meaning(code))));
        };
        self.broker_link(state, leader, lane).ok_or_else(|| {
            let explanation =
                format!("metadata names broker {leader} as leader of {topic}/{partition} without an address");
            unknown(LEADER_NOT_AVAILABLE, explanation)
        })
    }
}

impl Setback {
    fn of_refresh(failure: Failure) -> Setback {
        Setback {
            outcome: failure.outcome,
            code: None,
            explanation: failure.explanation,
            passing: true,
            doubt: true,
            hint: None,
        }
    }

    fn of_miss(missed: Missed) -> Setback {
        let Failure { outcome, explanation, .. } = missed.failure;
        let passing = !missed.unsupported;
        Setback { outcome, code: None, explanation, passing, doubt: passing, hint: None }
    }

    fn of_answer<T>(judged: Judged<T>) -> Setback {
        Setback {
            outcome: judged.outcome,
            code: Some(judged.code),
            explanation: judged.explanation,
            passing: is_retriable(judged.code),
            doubt: doubts_metadata(judged.code),
            hint: judged.hint,
        }
    }

    fn into_error(self, subject: &Subject, attempts: u32) -> ClientError {
        let Setback { outcome, code, explanation, passing, .. } = self;
        let operation = subject.operation;
        if passing {
            ClientError::GaveUp { operation, attempts, outcome, error_code: code, explanation }
        } else {
            ClientError::Rejected { operation, error_code: code, outcome, explanation }
        }
    }
}
