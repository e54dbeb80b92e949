//! Creating a topic.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::CreateTopicsRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::protocol::StrBytes;

use super::{KafkaClient, KafkaError, topic_name};

const CREATE_TOPICS_VERSION: i16 = 7;
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);

impl KafkaClient {
    /// Creates a topic; one that is there already is as good.
    ///
    /// # Errors
    /// Why there is no such topic.
    pub async fn ensure_topic(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i16,
        configs: &[(&'static str, &'static str)],
    ) -> Result<(), KafkaError> {
        let config = |(name, value): &(&'static str, &'static str)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_static_str(value)))
        };
        let creatable = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default()
            .with_topics(vec![creatable])
            .with_timeout_ms(CREATE_TIMEOUT.as_millis() as i32);
        let mut retry = self.retry();
        loop {
            let answer = self.ask_any(&request, CREATE_TOPICS_VERSION).await.and_then(|response| {
                let created = response.topics.first();
                let created = created.ok_or_else(|| KafkaError::Malformed("no answer".to_owned()))?;
                KafkaError::check(created.error_code, created.error_message.as_deref())
            });
            match answer {
                Err(error) if error.code() == Some(ResponseError::TopicAlreadyExists) => return Ok(()),
                Err(error) => retry.again(error).await?,
                Ok(()) => return Ok(()),
            }
        }
    }
}
