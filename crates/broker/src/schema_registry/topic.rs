//! The `_schemas` topic, as the registry uses it: one partition, compacted, read from its beginning.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::error::{ErrorCode, RegistryError};
use crate::kafka_client::records::{FetchedRecord, Record};
use crate::kafka_client::{FetchLimits, KafkaClient, KafkaError};

/// redpanda.md 3.4, "Distribution".
pub(super) const TOPIC: &str = "_schemas";
const PARTITION: i32 = 0;
const CONFIGS: &[(&str, &str)] = &[("cleanup.policy", "compact")];
/// There are records up to the end that was asked for, so nothing has to be waited for.
const LIMITS: FetchLimits =
    FetchLimits { wait: Duration::from_millis(100), bytes_min: 1, bytes_max: 8 << 20 };

/// A stretch of the topic.
pub(crate) struct Stretch {
    pub records: Vec<FetchedRecord>,
    /// The offset after it.
    pub next: i64,
}

/// A log that the registry's records are in.
pub(crate) trait SchemaTopic: Send + Sync {
    /// The first offset and the one after the last record that everybody will see.
    fn bounds(&self) -> impl Future<Output = Result<(i64, i64), RegistryError>> + Send;
    /// Some records from an offset on.
    fn read(&self, from: i64) -> impl Future<Output = Result<Stretch, RegistryError>> + Send;
    /// Writes a batch; the answer is where it begins.
    fn append(
        &self,
        records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> impl Future<Output = Result<i64, RegistryError>> + Send;
}

/// The topic behind the broker's own Kafka client.
pub(crate) struct KafkaTopic {
    client: Arc<KafkaClient>,
    /// Wanted replicas; `None` for as many as `default` or, with fewer brokers, one.
    replication_factor: Option<i16>,
    default_replication_factor: i16,
    there: AtomicBool,
}

impl KafkaTopic {
    pub fn new(client: Arc<KafkaClient>, replication_factor: Option<i16>, default: i16) -> KafkaTopic {
        KafkaTopic {
            client,
            replication_factor,
            default_replication_factor: default,
            there: AtomicBool::new(false),
        }
    }

    async fn create(&self) -> Result<(), KafkaError> {
        if self.there.load(Ordering::Relaxed) {
            return Ok(());
        }
        let metadata = self.client.metadata_with_retries(Some(&[TOPIC])).await?;
        let missing = ResponseError::UnknownTopicOrPartition.code();
        if metadata.topics.iter().any(|topic| topic.error_code == missing) {
            let brokers = metadata.brokers.len();
            let fitting = match self.default_replication_factor {
                wanted if usize::try_from(wanted).is_ok_and(|wanted| wanted <= brokers) => wanted,
                _ => 1,
            };
            let replicas = self.replication_factor.unwrap_or(fitting);
            self.client.ensure_topic(TOPIC, 1, replicas, CONFIGS).await?;
        }
        self.there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What an error means to whoever asked the registry.
    fn error(&self, doing: &str, error: KafkaError) -> RegistryError {
        if error.code() == Some(ResponseError::UnknownTopicOrPartition) {
            // Somebody deleted it; the next request makes it again.
            self.there.store(false, Ordering::Relaxed);
        }
        if error.code() == Some(ResponseError::MessageTooLarge) {
            return RegistryError::invalid_schema("it has more bytes than a record of the topic may have");
        }
        tracing::warn!(%error, doing, "the topic of the Schema Registry");
        RegistryError::new(ErrorCode::Store, format!("{TOPIC} cannot be {doing}: {error}"))
    }
}

impl SchemaTopic for KafkaTopic {
    async fn bounds(&self) -> Result<(i64, i64), RegistryError> {
        self.create().await.map_err(|error| self.error("created", error))?;
        let read = |error| self.error("read", error);
        let end = self.client.high_watermark(TOPIC, PARTITION).await.map_err(read)?;
        let start = self.client.start_offset(TOPIC, PARTITION).await.map_err(read)?;
        Ok((start, end))
    }

    async fn read(&self, from: i64) -> Result<Stretch, RegistryError> {
        let fetched = self.client.fetch(None, TOPIC, PARTITION, from, LIMITS).await;
        let fetched = fetched.map_err(|error| self.error("read", error))?;
        Ok(Stretch { records: fetched.records, next: fetched.next })
    }

    async fn append(&self, records: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Result<i64, RegistryError> {
        let record = |(key, value): (Vec<u8>, Option<Vec<u8>>)| Record {
            key: Some(Bytes::from(key)),
            value: value.map(Bytes::from),
        };
        let records: Vec<Record> = records.into_iter().map(record).collect();
        let written = self.client.produce(TOPIC, PARTITION, &records).await;
        written.map_err(|error| self.error("written", error))
    }
}
