//! The registry of one broker: its store, kept up to date with the topic, and its writes.
//!
//! Before anything is read, the store catches up with the end of the topic, so that every broker answers with
//! what any broker has acknowledged. A write is decided for the next offset and sent; if it lands elsewhere,
//! another broker wrote in between: the store catches up and the decision is made again. Source: redpanda.md
//! 3.4, "Distribution".

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use super::changes::Decision;
use super::error::{ErrorCode, RegistryError};
use super::records::Sequence;
use super::store::Store;
use super::topic::SchemaTopic;

/// How often a write that lost a race is tried again (Redpanda's sequenced writer).
const RETRIES: usize = 4;

/// The registry of one broker.
pub(crate) struct Registry<T> {
    topic: T,
    store: Mutex<Store>,
    /// Who reads the topic, and who writes to it: one at a time each.
    reading: Semaphore,
    writing: Semaphore,
}

impl<T: SchemaTopic> Registry<T> {
    pub fn new(topic: T) -> Registry<T> {
        Registry { topic, store: Mutex::default(), reading: Semaphore::new(1), writing: Semaphore::new(1) }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers from the store, once it knows everything that was written before now.
    ///
    /// # Errors
    /// The question's own, and 50001 if the topic cannot be read.
    pub async fn ask<R>(
        &self,
        question: impl FnOnce(&Store) -> Result<R, RegistryError>,
    ) -> Result<R, RegistryError> {
        self.catch_up().await?;
        question(&self.store())
    }

    /// Writes what `decide` says. `node` is this broker.
    ///
    /// # Errors
    /// The decision's own, 50001, and 50301 if other brokers are faster each time.
    pub async fn change<R>(
        &self,
        node: i32,
        decide: impl Fn(&Store, Sequence) -> Result<Decision<R>, RegistryError>,
    ) -> Result<R, RegistryError> {
        let closed = |_| RegistryError::new(ErrorCode::Internal, "the registry is going down");
        let _turn = self.writing.acquire().await.map_err(closed)?;
        for _ in 0..=RETRIES {
            self.catch_up().await?;
            let (decision, next) = {
                let store = self.store();
                let next = store.next_offset();
                (decide(&store, Sequence { offset: Some(next), node: Some(node) })?, next)
            };
            let (records, sequenced, outcome) = match decision {
                Decision::Done(outcome) => return Ok(outcome),
                Decision::Write { records, sequenced, outcome } => (records, sequenced, outcome),
            };
            let count = records.len() as i64;
            let base = self.topic.append(records.iter().map(|record| record.write()).collect()).await?;
            self.read_to(base + count).await?;
            if !sequenced || base == next {
                return Ok(outcome);
            }
            tracing::debug!(expected = next, landed = base, "a write of the Schema Registry lost a race");
        }
        Err(RegistryError::write_collision())
    }

    async fn catch_up(&self) -> Result<(), RegistryError> {
        let (start, end) = self.topic.bounds().await?;
        {
            let mut store = self.store();
            if end < store.next_offset() {
                tracing::warn!("the topic of the Schema Registry was made anew");
                *store = Store::default();
            }
            store.skip_to(start);
        }
        self.read_to(end).await
    }

    /// Feeds the store everything before `end`.
    async fn read_to(&self, end: i64) -> Result<(), RegistryError> {
        if self.store().next_offset() >= end {
            return Ok(());
        }
        let closed = |_| RegistryError::new(ErrorCode::Internal, "the registry is going down");
        let _turn = self.reading.acquire().await.map_err(closed)?;
        loop {
            let from = self.store().next_offset();
            if from >= end {
                return Ok(());
            }
            let stretch = self.topic.read(from).await?;
            let mut store = self.store();
            for read in stretch.records {
                store.feed(read.offset, read.record.key.as_deref(), read.record.value.as_deref());
            }
            store.skip_to(stretch.next);
            if store.next_offset() == from {
                let message = format!("the topic has nothing at {from}, before its end {end}");
                return Err(RegistryError::new(ErrorCode::Store, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;

    use super::*;
    use crate::kafka_client::records::{FetchedRecord, Record};
    use crate::schema_registry::changes::{Registration, register};
    use crate::schema_registry::schema::{Definition, SchemaType};
    use crate::schema_registry::subject::Subject;
    use crate::schema_registry::topic::Stretch;

    type Written = (Vec<u8>, Option<Vec<u8>>);

    /// A topic in memory; `others` is how many of the next writes another broker gets in front of.
    #[derive(Clone, Default)]
    struct MemoryTopic {
        records: Arc<Mutex<Vec<Written>>>,
        others: Arc<AtomicUsize>,
        broken: bool,
    }

    const NOOP: &[u8] = br#"{"keytype":"NOOP","magic":0}"#;

    impl SchemaTopic for MemoryTopic {
        async fn bounds(&self) -> Result<(i64, i64), RegistryError> {
            if self.broken {
                return Err(RegistryError::new(ErrorCode::Store, "broken"));
            }
            Ok((0, self.records.lock().unwrap().len() as i64))
        }

        async fn read(&self, from: i64) -> Result<Stretch, RegistryError> {
            let records = self.records.lock().unwrap();
            let at = from as usize;
            let fetched = records[at..].iter().take(2).zip(at..).map(|((key, value), offset)| {
                let record =
                    Record { key: Some(Bytes::from(key.clone())), value: value.clone().map(Bytes::from) };
                FetchedRecord { offset: offset as i64, record }
            });
            let records: Vec<FetchedRecord> = fetched.collect();
            let next = from + records.len() as i64;
            Ok(Stretch { records, next })
        }

        async fn append(&self, new: Vec<Written>) -> Result<i64, RegistryError> {
            let mut records = self.records.lock().unwrap();
            let others = &self.others;
            if others.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                records.push((NOOP.to_vec(), Some(b"{}".to_vec())));
            }
            let base = records.len();
            records.extend(new);
            Ok(base as i64)
        }
    }

    fn posted(text: &str) -> Registration {
        let definition =
            Definition { schema_type: SchemaType::Avro, text: text.into(), references: Vec::new() };
        Registration { definition, id: None, version: None, normalize: false }
    }

    async fn post(registry: &Registry<MemoryTopic>, node: i32, text: &str) -> Result<i32, RegistryError> {
        let (subject, posted) = (Subject::parse("s"), posted(text));
        registry.change(node, |store, at| register(store, &subject, &posted, at)).await
    }

    async fn versions(registry: &Registry<MemoryTopic>) -> Vec<i32> {
        registry.ask(|store| store.versions(&Subject::parse("s"), false)).await.unwrap()
    }

    #[tokio::test]
    async fn what_one_writes_the_other_reads() {
        let topic = MemoryTopic::default();
        let (one, other) = (Registry::new(topic.clone()), Registry::new(topic));
        assert_eq!(post(&one, 0, "\"int\"").await, Ok(1));
        assert_eq!(versions(&other).await, [1]);
        assert_eq!(post(&other, 1, "\"long\"").await, Ok(2));
        assert_eq!(versions(&one).await, [1, 2]);
    }

    #[tokio::test]
    async fn a_lost_race_is_run_again() {
        let topic = MemoryTopic::default();
        let registry = Registry::new(topic.clone());
        topic.others.store(RETRIES, Ordering::Relaxed);
        assert_eq!(post(&registry, 0, "\"int\"").await, Ok(1));
        assert_eq!(versions(&registry).await, [1]);
        let fresh = Registry::new(topic.clone());
        assert_eq!(versions(&fresh).await, [1], "what lost its race counts for nobody");
    }

    #[tokio::test]
    async fn who_always_loses_is_told_so() {
        let topic = MemoryTopic::default();
        let registry = Registry::new(topic.clone());
        topic.others.store(RETRIES + 1, Ordering::Relaxed);
        assert_eq!(post(&registry, 0, "\"int\"").await.unwrap_err().code.number(), 50301);
        assert_eq!(post(&registry, 0, "\"int\"").await, Ok(1));
    }

    #[tokio::test]
    async fn a_topic_that_fails_is_a_store_error_and_one_made_anew_is_read_anew() {
        let broken = MemoryTopic { broken: true, ..MemoryTopic::default() };
        assert_eq!(post(&Registry::new(broken), 0, "\"int\"").await.unwrap_err().code.number(), 50001);
        let topic = MemoryTopic::default();
        let registry = Registry::new(topic.clone());
        post(&registry, 0, "\"int\"").await.unwrap();
        topic.records.lock().unwrap().clear();
        let none = registry.ask(|store| store.versions(&Subject::parse("s"), false)).await;
        assert_eq!(none.unwrap_err().code, ErrorCode::SubjectNotFound);
    }

    #[tokio::test]
    async fn concurrent_writers_agree() {
        let topic = MemoryTopic::default();
        let registries = [Registry::new(topic.clone()), Registry::new(topic.clone())];
        let (a, b) = tokio::join!(post(&registries[0], 0, "\"int\""), post(&registries[1], 1, "\"long\""));
        let mut ids = [a.unwrap(), b.unwrap()];
        ids.sort_unstable();
        assert_eq!(ids, [1, 2]);
        assert_eq!(versions(&registries[0]).await, versions(&registries[1]).await);
    }
}
