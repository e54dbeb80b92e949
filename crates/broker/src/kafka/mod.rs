//! The Kafka listeners: requests in, responses out, in order, one connection a task.
//!
//! Frames are read and written with `kafka-protocol`. Bytes that are no request end their connection and
//! nothing else. A key is answered by the module of its name: one line in [`versions`], one in
//! [`answered_by!`], and an outline in [`guard`].

mod acls;
mod address;
mod api_versions;
pub(crate) mod authorization;
mod configs;
mod connection;
mod delete_records;
mod describe_cluster;
mod describe_log_dirs;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod groups;
mod guard;
mod leaders;
mod list_offsets;
mod lookup;
mod metadata;
mod offset_for_leader_epoch;
pub(crate) mod principal;
pub(crate) mod produce;
mod quotas;
mod reassignments;
mod replica;
mod sasl;
mod shared;
mod telemetry;
mod topics;
mod transactions;
mod users;
mod versions;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hopwise_fabric::net::{TcpListener, TcpStream};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use serde_json::Value;

pub(crate) use self::leaders::is_isolated;
use self::principal::Principal;
use self::produce::transaction::Turns;
pub(crate) use self::shared::Shared;
use crate::cluster::properties;
use crate::config::Listener;
use crate::node::Node;
use crate::replication::partition::PartitionError;
use crate::status::Counter;

/// redpanda.md 4.4: `wait_for_leader_timeout_ms`.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);

/// A response's length, correlation id and empty tagged fields.
const HEAD_BYTES_MAX: usize = 16;

/// One request's view of the broker: answers depend on the listener its connection entered by. Cheap to clone.
#[derive(Clone)]
struct Session {
    node: Arc<Node>,
    listener: Arc<Listener>,
    connection: Arc<Connection>,
    /// As the request's header has it; empty if there is none.
    client_id: StrBytes,
}

/// What the requests of one connection share.
struct Connection {
    /// The client's address, if the socket knows it.
    peer: Option<SocketAddr>,
    /// Set once the client has proved who it is.
    principal: OnceLock<Principal>,
    /// Milliseconds that the connection is to be muted after the answer under way.
    throttle_ms: AtomicU32,
    turns: Turns,
}

impl Session {
    fn new(node: Arc<Node>, listener: Arc<Listener>, peer: Option<SocketAddr>) -> Session {
        let connection = Connection {
            peer,
            principal: OnceLock::new(),
            throttle_ms: AtomicU32::new(0),
            turns: Turns::default(),
        };
        Session { node, listener, connection: Arc::new(connection), client_id: StrBytes::new() }
    }

    /// Who the client is.
    fn principal(&self) -> Principal {
        self.connection.principal.get().cloned().unwrap_or(Principal::Anonymous)
    }

    /// A cluster property that is a number: what is set, or what the broker was started with.
    fn number<T: TryFrom<i64>>(&self, name: &str, started_with: T) -> T {
        let set =
            self.node.with_cluster(|cluster| cluster.state.properties.get(name).and_then(Value::as_i64));
        set.and_then(|value| T::try_from(value).ok()).unwrap_or(started_with)
    }

    /// A cluster property that is on or off: what is set, or what the broker was started with.
    fn flag(&self, name: &str, started_with: bool) -> bool {
        let set =
            self.node.with_cluster(|cluster| cluster.state.properties.get(name).and_then(Value::as_bool));
        set.unwrap_or(started_with)
    }

    /// The client has not proved who it is.
    fn count_unauthenticated(&self, why: &str) {
        self.node.status.add(Counter::FailedAuthentications, 1);
        let (peer, listener) = (self.connection.peer, &self.listener.name);
        tracing::warn!(?peer, listener, why, "a Kafka client is not let in");
    }

    /// Whether requests of the consumer group protocol (KIP-848) are answered.
    fn offers_consumer_protocol(&self) -> bool {
        let offered = self.node.with_cluster(|cluster| {
            properties::value_of(&cluster.state.properties, "group_coordinator_rebalance_protocols")
        });
        offered.as_array().is_some_and(|offered| offered.iter().any(|name| name == "consumer"))
    }

    /// Mutes the connection once the answer is sent; the milliseconds are for the answer.
    fn throttle(&self, wait: Duration) -> i32 {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.connection.throttle_ms.fetch_max(wait_ms, Ordering::Relaxed);
        i32::try_from(wait_ms).unwrap_or(i32::MAX)
    }

    /// How long the connection is to be muted, once.
    fn take_throttle(&self) -> Duration {
        Duration::from_millis(self.connection.throttle_ms.swap(0, Ordering::Relaxed).into())
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("api key {key} version {version} is not offered")]
    NotOffered { key: i16, version: i16 },
    #[error("a response could not be encoded: {0}")]
    Encode(String),
    #[error("the client did not authenticate: {0}")]
    Unauthenticated(String),
    #[error("the client goes on although its authentication has failed")]
    Refused,
}

/// Accepts connections for ever. Those beyond `kafka_connections_max` are closed at once.
pub(crate) async fn serve(node: Arc<Node>, listener: Listener, socket: TcpListener) {
    let listener = Arc::new(listener);
    loop {
        let stream = node.accept(&socket).await;
        let max = node.with_cluster(|cluster| {
            cluster.state.properties.get("kafka_connections_max").and_then(Value::as_u64)
        });
        let Some(counted) = node.kafka.admit(max) else {
            tracing::warn!(?max, listener = listener.name, "a Kafka connection too many is closed");
            continue;
        };
        let session = Session::new(Arc::clone(&node), Arc::clone(&listener), stream.peer_addr().ok());
        node.tasks.spawn(async move {
            let _counted = counted;
            serve_connection(session, stream).await;
        });
    }
}

async fn serve_connection(session: Session, stream: TcpStream) {
    let Some(mut stream) = session.node.secure(&session.listener, stream).await else { return };
    let _open = session.node.metrics.kafka.open();
    let gate = sasl::Gate::of(&session, stream.peer_certificate());
    let answered = match gate {
        Ok(gate) => connection::answer_all(&session, &mut stream, gate).await,
        Err(error) => Err(error),
    };
    let error = match answered {
        Ok(()) => return,
        Err(error) => error,
    };
    let (peer, listener) = (session.connection.peer, &session.listener.name);
    match error {
        ConnectionError::Unauthenticated(why) => session.count_unauthenticated(&why),
        // It was counted when it failed.
        ConnectionError::Refused => tracing::debug!(?peer, listener, %error, "closing a Kafka connection"),
        ConnectionError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
            tracing::debug!(?peer, listener, %error, "a Kafka connection ended");
        }
        error => {
            session.node.status.add(Counter::MalformedFrames, 1);
            session.node.metrics.kafka.errors.add(1);
            tracing::warn!(?peer, listener, %error, "closing a Kafka connection");
        }
    }
}

/// Answers a request by the module that is listed with its key. A module has
/// `async fn answer(&Session, Request, version: i16) -> Response`.
macro_rules! answered_by {
    ($call:ident: $($key:ident => $($module:ident)::+,)+) => {
        match $call.api {
            $(ApiKey::$key => {
                let request = decode(&mut $call.bytes, $call.version)?;
                let response = $($module)::+::answer(&$call.session, request, $call.version).await;
                $call.encode(&response)
            })+
            key => Err(ConnectionError::NotOffered { key: key as i16, version: $call.version }),
        }
    };
}

/// Answers one request; `None` for a Produce that wants no answer.
async fn answer(mut session: Session, frame: Bytes) -> Result<Option<Bytes>, ConnectionError> {
    let [k0, k1, v0, v1, c0, c1, c2, c3, ..] = frame[..] else {
        return Err(ConnectionError::Malformed("shorter than a request header".to_owned()));
    };
    let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
    let switched_off = |api| versions::is_of_consumer_protocol(api) && !session.offers_consumer_protocol();
    let Some(offered) = versions::offered(key).filter(|offered| !switched_off(offered.key)) else {
        return Err(ConnectionError::NotOffered { key, version });
    };
    let api = offered.key;
    if !offered.answers(version) {
        if api == ApiKey::ApiVersions {
            // The header's other fields depend on the version, the correlation id does not.
            let body = api_versions::response(&session, Some(ResponseError::UnsupportedVersion));
            return encode(api, 0, correlation_id, &body).map(Some);
        }
        if api == ApiKey::Produce && (0..offered.read.min).contains(&version) {
            return answer_old_produce(frame, version, correlation_id);
        }
        return Err(ConnectionError::NotOffered { key, version });
    }
    let mut bytes = frame;
    guard::check(api, version, &bytes).map_err(|error| ConnectionError::Malformed(error.to_string()))?;
    let header: RequestHeader = decode(&mut bytes, api.request_header_version(version))?;
    session.client_id = header.client_id.unwrap_or_default();
    tracing::trace!(?api, version, correlation_id, client = session.client_id.as_str(), principal = %session.principal(), "request");
    Call { session, api, version, correlation_id, bytes }.answer().await
}

fn answer_old_produce(
    mut frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> Result<Option<Bytes>, ConnectionError> {
    let api = ApiKey::Produce;
    guard::check(api, version, &frame).map_err(|error| ConnectionError::Malformed(error.to_string()))?;
    let _: RequestHeader = decode(&mut frame, api.request_header_version(version))?;
    let body = produce::old::answer(&frame, version).map_err(ConnectionError::Malformed)?;
    Ok(body.map(|body| {
        let mut answer = BytesMut::with_capacity(body.len() + 8);
        answer.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
        answer.put_i32(correlation_id);
        answer.put_slice(&body);
        answer.freeze()
    }))
}

/// A request whose header is read.
struct Call {
    session: Session,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    /// The body.
    bytes: Bytes,
}

impl Call {
    async fn answer(mut self) -> Result<Option<Bytes>, ConnectionError> {
        if self.api == ApiKey::Produce {
            let request = decode(&mut self.bytes, self.version)?;
            return match produce::answer(&self.session, request, self.version).await {
                Some(response) => self.encode(&response),
                None => Ok(None),
            };
        }
        answered_by! { self:
            AddOffsetsToTxn => transactions::add_offsets_to_txn,
            AddPartitionsToTxn => transactions::add_partitions_to_txn,
            AlterClientQuotas => quotas::alter,
            AlterConfigs => configs::alter,
            AlterPartitionReassignments => reassignments::alter,
            AlterUserScramCredentials => users::alter,
            ApiVersions => api_versions,
            ConsumerGroupDescribe => groups::consumer_group_describe,
            ConsumerGroupHeartbeat => groups::consumer_group_heartbeat,
            CreateAcls => acls::create,
            CreatePartitions => topics::partitions,
            CreateTopics => topics::create,
            DeleteAcls => acls::delete,
            DeleteGroups => groups::delete_groups,
            DeleteRecords => delete_records,
            DeleteTopics => topics::delete,
            DescribeAcls => acls::describe,
            DescribeClientQuotas => quotas::describe,
            DescribeCluster => describe_cluster,
            DescribeConfigs => configs::describe,
            DescribeGroups => groups::describe_groups,
            DescribeLogDirs => describe_log_dirs,
            DescribeProducers => transactions::describe_producers,
            DescribeTopicPartitions => describe_topic_partitions,
            DescribeTransactions => transactions::describe_transactions,
            DescribeUserScramCredentials => users::describe,
            ElectLeaders => elect_leaders,
            EndTxn => transactions::end_txn,
            Fetch => fetch,
            FindCoordinator => find_coordinator,
            GetTelemetrySubscriptions => telemetry::get_subscriptions,
            Heartbeat => groups::heartbeat,
            IncrementalAlterConfigs => configs::incremental,
            InitProducerId => transactions::init_producer_id,
            JoinGroup => groups::join_group,
            LeaveGroup => groups::leave_group,
            ListGroups => groups::list_groups,
            ListOffsets => list_offsets,
            ListPartitionReassignments => reassignments::list,
            ListTransactions => transactions::list_transactions,
            Metadata => metadata,
            OffsetCommit => groups::offset_commit,
            OffsetDelete => groups::offset_delete,
            OffsetFetch => groups::offset_fetch,
            OffsetForLeaderEpoch => offset_for_leader_epoch,
            PushTelemetry => telemetry::push,
            SyncGroup => groups::sync_group,
            TxnOffsetCommit => transactions::txn_offset_commit,
        }
    }

    fn encode(&self, body: &impl Encodable) -> Result<Option<Bytes>, ConnectionError> {
        encode(self.api, self.version, self.correlation_id, body).map(Some)
    }
}

fn decode<T: Decodable>(bytes: &mut Bytes, version: i16) -> Result<T, ConnectionError> {
    T::decode(bytes, version).map_err(|error| ConnectionError::Malformed(error.to_string()))
}

fn encode(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &impl Encodable,
) -> Result<Bytes, ConnectionError> {
    let failed = |error: &dyn std::fmt::Display| ConnectionError::Encode(error.to_string());
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let header_version = api.response_header_version(version);
    // Room for all of it at once: records are copied into the frame once and not again while it grows.
    let size = body.compute_size(version).map_err(|error| failed(&error))?;
    let mut frame = BytesMut::with_capacity(size + HEAD_BYTES_MAX);
    frame.put_u32(0);
    header.encode(&mut frame, header_version).map_err(|error| failed(&error))?;
    body.encode(&mut frame, version).map_err(|error| failed(&error))?;
    let length = u32::try_from(frame.len() - 4).map_err(|error| failed(&error))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The code that a client gets where a replica cannot serve.
fn partition_error(session: &Session, error: &PartitionError) -> ResponseError {
    match error {
        PartitionError::NotLeader => {
            session.node.status.add(Counter::NotLeader, 1);
            ResponseError::NotLeaderOrFollower
        }
        PartitionError::NotLeadingYet => ResponseError::LeaderNotAvailable,
        PartitionError::TimedOut => ResponseError::RequestTimedOut,
        PartitionError::Producer(error, _) => *error,
        PartitionError::Storage(reason) => {
            session.node.status.add(Counter::StorageErrors, 1);
            tracing::error!(reason, "the volume cannot serve a request");
            ResponseError::KafkaStorageError
        }
    }
}
