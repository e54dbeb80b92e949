//! The Kafka client inside a broker, which the HTTP Proxy and the Schema Registry reach partitions by.
//!
//! It bootstraps at the brokers that its section of `redpanda.yaml` names (the broker's own first Kafka listener
//! if none) and follows the Metadata of that listener, so it needs what any client needs: names that resolve,
//! and a way to every leader. Retriable errors are repeated after a wait that doubles. Versions are not
//! negotiated: every broker of the cluster is this program. Source: redpanda.md 2.1, 3.3, 3.4.
//!
//! [`KafkaClient`] is the client without a group, [`group`] a consumer in one.

pub(crate) mod connection;
mod error;
pub(crate) mod fetch;
pub(crate) mod group;

mod produce;
pub(crate) mod records;
mod routes;
mod topics;
pub(crate) mod transport;

pub(crate) use error::KafkaError;
pub(crate) use fetch::FetchLimits;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hopwise_security::sasl::Login;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::sleep;

use self::connection::Connections;
use self::produce::Batches;
use self::routes::Routes;
use self::transport::Transport;
use crate::config::{Api, Authentication, HostPort, KafkaClientConfig, Listener};
use crate::node::Node;
use crate::security::service_users::Service;
use crate::start::Clock;
use crate::tasks::Tasks;

/// How long a broker may take to answer, besides what a request itself asks to wait.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait before a repetition.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const METADATA_VERSION: i16 = 12;

/// A topic and the index of one of its partitions.
pub(crate) type TopicPartition = (String, i32);

/// One client. Cheap to share; its connections close when nobody holds it any more.
pub(crate) struct KafkaClient {
    pub(crate) config: KafkaClientConfig,
    bootstrap: Vec<HostPort>,
    clock: Clock,
    pub(crate) tasks: Tasks,
    transport: Transport,
    shared: Connections,
    routes: Mutex<Routes>,
    batches: Mutex<Batches>,
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

impl KafkaClient {
    /// A client with the settings of a section; `login` goes before the section's own user, and that before the
    /// user of the service.
    pub fn new(
        config: &KafkaClientConfig,
        node: &Node,
        service: Service,
        login: Option<Login>,
    ) -> Arc<KafkaClient> {
        let bootstrap = match config.brokers.as_slice() {
            [] => {
                let own = node.config.listeners_of(Api::Kafka).next();
                own.map(|own| own_address(own.bind)).into_iter().collect()
            }
            brokers => brokers.to_vec(),
        };
        let transport = Transport {
            tls: config.broker_tls.clone(),
            login: match listener_at(node, &bootstrap) {
                Some(own) if own.authentication != Authentication::Sasl => None,
                // Only brokers of this cluster know the service.
                Some(_) => login.or_else(|| own_login(config)).or_else(|| service.login(node)),
                None => login.or_else(|| own_login(config)),
            },
            files: Arc::clone(&node.files),
            clock: Arc::clone(&node.clock),
            randomness: node.randomness.fork(),
        };
        Arc::new(KafkaClient {
            shared: Connections::new(&config.client_identifier, transport.clone(), node.tasks.clone()),
            transport,
            config: config.clone(),
            bootstrap,
            clock: Arc::clone(&node.clock),
            tasks: node.tasks.clone(),
            routes: Mutex::default(),
            batches: Mutex::default(),
        })
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections besides those that everybody shares.
    pub fn own_connections(&self) -> Connections {
        Connections::new(&self.config.client_identifier, self.transport.clone(), self.tasks.clone())
    }

    /// Asks any broker for the cluster and these topics, all of them with `None`.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] if no broker answers.
    pub async fn metadata(&self, topics: Option<&[&str]>) -> Result<MetadataResponse, KafkaError> {
        let topics = topics.map(|topics| {
            let topic = |topic: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
            topics.iter().map(topic).collect()
        });
        let request = MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false);
        let response = self.ask_any(&request, METADATA_VERSION).await?;
        self.routes().learn(&response);
        Ok(response)
    }

    /// Asks the known brokers and those of the configuration in turn, until one answers.
    pub(crate) async fn ask_any<R: Request>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, KafkaError> {
        let mut candidates = self.bootstrap.clone();
        let known: Vec<HostPort> = self.routes().brokers().values().cloned().collect();
        candidates.extend(known.into_iter().filter(|known| !self.bootstrap.contains(known)));
        let mut last = KafkaError::Unreachable("no broker is configured".to_owned());
        for address in &candidates {
            match self.shared.request(address, request, version, REQUEST_TIMEOUT).await {
                Ok(response) => return Ok(response),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As [`KafkaClient::metadata`], repeated where that helps.
    ///
    /// # Errors
    /// As [`KafkaClient::metadata`].
    pub async fn metadata_with_retries(
        &self,
        topics: Option<&[&str]>,
    ) -> Result<MetadataResponse, KafkaError> {
        let mut retry = self.retry();
        loop {
            match self.metadata(topics).await {
                Ok(response) => return Ok(response),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// The partitions of a topic, in order.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION among others.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        if let Some(partitions) = self.routes().partitions(topic) {
            return Ok(partitions);
        }
        check_topic(&self.metadata_with_retries(Some(&[topic])).await?, topic)?;
        let partitions = self.routes().partitions(topic);
        let missing =
            || KafkaError::refused(ResponseError::UnknownTopicOrPartition, "there is no such topic");
        partitions.ok_or_else(missing)
    }

    /// The address of a partition's leader; asks for it if it is not known.
    pub(crate) async fn leader(&self, topic: &str, partition: i32) -> Result<HostPort, KafkaError> {
        if let Ok(leader) = self.routes().leader(topic, partition) {
            return Ok(leader);
        }
        let response = self.metadata(Some(&[topic])).await?;
        check_topic(&response, topic)?;
        let leader = self.routes().leader(topic, partition);
        leader.map_err(|code| KafkaError::refused(code, format!("{topic}/{partition}: {code}")))
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry { left: self.config.retries, backoff: self.config.retry_base_backoff }
    }

    /// Asks a partition's leader, which is looked for anew after an error; `read` judges the answer.
    async fn ask_leader<R: Request, T>(
        &self,
        connections: &Connections,
        (topic, partition): (&str, i32),
        (request, version, patience): (&R, i16, Duration),
        read: impl Fn(R::Response) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let mut retry = self.retry();
        let mut fresh = false;
        loop {
            let known = self.routes().leader(topic, partition).is_ok();
            let result = match self.leader(topic, partition).await {
                Ok(leader) => connections.request(&leader, request, version, patience).await.and_then(&read),
                Err(error) => Err(error),
            };
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.routes().forget(topic);
            // What was known may be stale: a topic made again has other leaders.
            if known && !fresh && error.code() == Some(ResponseError::UnknownTopicOrPartition) {
                fresh = true;
                continue;
            }
            retry.again(error).await?;
        }
    }
}

/// How often something is tried again, and when.
pub(crate) struct Retry {
    left: u32,
    backoff: Duration,
}

impl Retry {
    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error itself, if there is no other attempt.
    pub(crate) async fn again(&mut self, error: KafkaError) -> Result<(), KafkaError> {
        if self.left == 0 || !error.is_retriable() {
            return Err(error);
        }
        tracing::debug!(%error, "a request is repeated");
        self.left -= 1;
        sleep(self.backoff.min(BACKOFF_MAX)).await;
        self.backoff = self.backoff.saturating_mul(2);
        Ok(())
    }
}

fn check_topic(response: &MetadataResponse, topic: &str) -> Result<(), KafkaError> {
    let found =
        response.topics.iter().find(|found| found.name.as_ref().is_some_and(|name| name.as_str() == topic));
    found.map_or(Ok(()), |found| KafkaError::check(found.error_code, None))
}

/// The user of the section, if it names one.
fn own_login(config: &KafkaClientConfig) -> Option<Login> {
    let mechanism = config.sasl_mechanism.as_deref()?.parse().ok()?;
    Some(Login::new(mechanism, config.scram_username.clone(), config.scram_password.clone()))
}

/// The listener that the brokers at these addresses are entered by, one with SASL first. All have the same
/// listeners, so the port tells which it is; a port that is no listener's belongs to something in front of one.
fn listener_at<'a>(node: &'a Node, bootstrap: &[HostPort]) -> Option<&'a Listener> {
    let reached = node
        .config
        .listeners_of(Api::Kafka)
        .filter(|own| bootstrap.iter().any(|address| address.port == own.bind.port()));
    reached.max_by_key(|own| own.authentication == Authentication::Sasl)
}

/// Where a listener is reached from its own host.
fn own_address(bind: std::net::SocketAddr) -> HostPort {
    let ip = match bind.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    HostPort::new(ip.to_string(), bind.port())
}
