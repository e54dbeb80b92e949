//! What every part of one broker shares.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hopwise_fabric::net::{TcpListener, TcpStream};
use hopwise_security::Randomness;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use tokio::time::Instant;
use uuid::Uuid;

use crate::bugs::Bugs;
use crate::cluster::Cluster;
use crate::cluster::controller::{CONTROLLER, Controller};
use crate::cluster::identity::{self, Identity, Membership, Tables};
use crate::cluster::members::Member;
use crate::cluster::properties;
use crate::config::{Api, ClusterProperties, HostPort, Listener, NodeConfig};
use crate::coordinator::Coordinator;
use crate::groups;
use crate::groups::machine::GroupMachine;
use crate::metrics::Metrics;
use crate::operations::Control;
use crate::replication::driver::Driver;
use crate::replication::leaders::Leadership;
use crate::replication::partition::Partition;
use crate::rpc::client::{CallError, Peers};
use crate::rpc::{Reply, Request, RequestHead};
use crate::security::Files;
use crate::security::Stream;
use crate::security::listener_tls::TlsTable;
use crate::security::service_users::ServiceCredentials;
use crate::security::users::Passwords;
use crate::start::Clock;
use crate::status::{BrokerStatus, Counter};
use crate::tasks::Tasks;
use crate::transactions;
use crate::transactions::machine::TransactionMachine;
use crate::transactions::producer_ids::ProducerIds;
use crate::volume::Volume;

/// Between two attempts to accept after one failed (too many open files, for instance).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A partition, by topic id and index.
pub(crate) type PartitionKey = (Uuid, i32);

/// One broker.
pub(crate) struct Node {
    pub config: NodeConfig,
    pub volume: Volume,
    pub clock: Clock,
    pub status: BrokerStatus,
    pub tasks: Tasks,
    pub peers: Peers,
    pub groups: Arc<Coordinator<GroupMachine>>,
    pub transactions: Arc<Coordinator<TransactionMachine>>,
    pub producer_ids: ProducerIds,
    /// TLS of the listeners that speak it.
    pub tls: TlsTable,
    /// Files of certificates and keys.
    pub files: Files,
    /// What SASL and TLS draw from.
    pub randomness: Randomness,
    /// Passwords of HTTP clients.
    pub passwords: Passwords,
    /// Users of the broker's own services.
    pub services: ServiceCredentials,
    /// What keeps the replicas going.
    pub raft: Arc<Driver>,
    pub controller: Controller,
    /// Read where a promise is kept.
    pub bugs: Bugs,
    pub metrics: Metrics,
    pub control: Control,
    /// When the broker was started.
    pub started: Instant,
    properties: Mutex<Arc<ClusterProperties>>,
    pub kafka: crate::kafka::Shared,
    random: Mutex<ChaCha8Rng>,
    identity: Mutex<Identity>,
    cluster: Mutex<Cluster>,
    partitions: Mutex<BTreeMap<PartitionKey, Arc<Partition>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parts that [`Node::new`] puts together.
pub(crate) struct Parts {
    pub config: NodeConfig,
    pub volume: Volume,
    pub clock: Clock,
    pub status: BrokerStatus,
    pub tasks: Tasks,
    pub random: ChaCha8Rng,
    pub identity: Identity,
    pub cluster: Cluster,
    pub bugs: Bugs,
    pub tls: TlsTable,
    pub files: Files,
    pub randomness: Randomness,
}

impl Node {
    pub fn new(parts: Parts) -> Node {
        let rpc_tls = parts.tls.get(&(Api::Rpc, String::new())).cloned();
        Node {
            groups: Arc::new(Coordinator::new(groups::TOPIC, groups::machine_of)),
            transactions: Arc::new(Coordinator::new(transactions::TOPIC, transactions::machine_of)),
            producer_ids: ProducerIds::default(),
            raft: Arc::new(Driver::new(
                &parts.config.cluster,
                parts.tasks.clone(),
                rpc_tls.clone(),
                parts.status.clone(),
            )),
            controller: Controller::default(),
            properties: Mutex::new(Arc::new(parts.config.cluster.clone())),
            config: parts.config,
            volume: parts.volume,
            clock: parts.clock,
            bugs: parts.bugs,
            kafka: crate::kafka::Shared::new(),
            status: parts.status,
            peers: Peers::new(parts.tasks.clone(), rpc_tls),
            tls: parts.tls,
            files: parts.files,
            randomness: parts.randomness,
            passwords: Passwords::default(),
            services: ServiceCredentials::default(),
            metrics: Metrics::default(),
            control: Control::default(),
            started: Instant::now(),
            tasks: parts.tasks,
            random: Mutex::new(parts.random),
            identity: Mutex::new(parts.identity),
            cluster: Mutex::new(parts.cluster),
            partitions: Mutex::new(BTreeMap::new()),
        }
    }

    /// Works on the cluster's tables.
    pub fn with_cluster<R>(&self, work: impl FnOnce(&mut Cluster) -> R) -> R {
        work(&mut lock(&self.cluster))
    }

    /// Works on the table of this broker's replicas.
    pub fn with_partitions<R>(
        &self,
        work: impl FnOnce(&mut BTreeMap<PartitionKey, Arc<Partition>>) -> R,
    ) -> R {
        work(&mut lock(&self.partitions))
    }

    /// This broker's replica of a partition.
    pub fn partition(&self, key: PartitionKey) -> Option<Arc<Partition>> {
        lock(&self.partitions).get(&key).cloned()
    }

    /// The broker that leads a partition and its epoch, as far as this broker knows.
    pub fn leader_of(&self, key: PartitionKey) -> Option<(i32, i32)> {
        let known = self.raft.leaders.get(key);
        known.leader.map(|leader| (leader, known.epoch))
    }

    /// What this broker knows of a partition's leader, also of the former one.
    pub fn leadership_of(&self, key: PartitionKey) -> Leadership {
        self.raft.leaders.get(key)
    }

    /// This broker's replica of a partition, or of the controller.
    pub fn replica(&self, key: PartitionKey) -> Option<Arc<Partition>> {
        if key == CONTROLLER {
            return self.controller.replica().cloned();
        }
        self.partition(key)
    }

    /// The cluster properties that this broker has taken over; those of its files before the cluster has decided.
    pub fn properties(&self) -> Arc<ClusterProperties> {
        Arc::clone(&lock(&self.properties))
    }

    /// Takes over a set of cluster properties; one with a value that cannot be taken changes nothing.
    pub fn take_over_properties(&self, set: &BTreeMap<String, serde_json::Value>) {
        match ClusterProperties::of(set) {
            Some(properties) => *lock(&self.properties) = Arc::new(properties),
            None => tracing::warn!("the cluster's configuration has values that cannot be taken"),
        }
    }

    /// A cluster property: what the cluster has decided, or before it has, what `.bootstrap.yaml` says.
    pub fn property(&self, name: &str) -> serde_json::Value {
        self.with_cluster(|cluster| match cluster.state.config_version {
            0 => properties::value_of(&self.config.bootstrap, name),
            _ => properties::value_of(&cluster.state.properties, name),
        })
    }

    pub fn identity(&self) -> Identity {
        lock(&self.identity).clone()
    }

    pub fn membership(&self) -> Option<Membership> {
        lock(&self.identity).membership.clone()
    }

    /// The broker's id; -1 before it has one.
    pub fn id(&self) -> i32 {
        lock(&self.identity).membership.as_ref().map_or(-1, |membership| membership.id)
    }

    /// The broker's id and its cluster, once it has them.
    pub fn place(&self) -> Option<(i32, Uuid)> {
        lock(&self.identity).membership.as_ref().map(|membership| (membership.id, membership.cluster))
    }

    /// Remembers on the volume which cluster the broker belongs to.
    pub fn become_member(&self, membership: Membership) -> std::io::Result<()> {
        let mut identity = lock(&self.identity);
        let next = Identity { membership: Some(membership), ..identity.clone() };
        identity::save(&self.volume, &next)?;
        *identity = next;
        Ok(())
    }

    /// This broker's entry in the members table.
    pub fn as_member(&self) -> Member {
        let identity = self.identity();
        Member {
            id: identity.membership.map_or(-1, |membership| membership.id),
            uuid: identity.uuid,
            revision: identity.revision,
            rack: self.config.rack.clone(),
            rpc: self.config.advertised_rpc_api.clone(),
            kafka: self.config.advertised_kafka_api.clone(),
        }
    }

    /// Writes the members table to the volume if it changed.
    pub fn save_members(&self) -> std::io::Result<()> {
        let mut cluster = lock(&self.cluster);
        if !cluster.unsaved {
            return Ok(());
        }
        let tables = Tables { members: cluster.members.to_vec() };
        identity::save_tables(&self.volume, &tables)?;
        cluster.unsaved = false;
        Ok(())
    }

    /// A seed for something that draws its own randomness, from the broker's seed.
    pub fn new_seed(&self) -> u64 {
        lock(&self.random).next_u64()
    }

    /// A random uuid (version 4) from the broker's seed.
    pub fn new_uuid(&self) -> Uuid {
        new_uuid(&mut lock(&self.random))
    }

    /// Asks a member.
    ///
    /// # Errors
    /// As [`Peers::call`].
    pub async fn call(
        &self,
        member: &Member,
        request: Request,
        body: &[u8],
        patience: Duration,
    ) -> Result<(Reply, Bytes), CallError> {
        self.call_address(&member.rpc, Some(member.id), request, body, patience).await
    }

    /// Asks whoever listens at an address, or `to` alone.
    ///
    /// # Errors
    /// As [`Peers::call`].
    pub async fn call_address(
        &self,
        address: &HostPort,
        to: Option<i32>,
        request: Request,
        body: &[u8],
        patience: Duration,
    ) -> Result<(Reply, Bytes), CallError> {
        let (from, cluster) = self.place().unzip();
        let head = RequestHead { call: 0, from, to, cluster, request };
        self.peers.call(address, head, body, patience).await
    }

    /// The next connection of a listener. A failure to accept is told and tried again.
    pub async fn accept(&self, listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    self.status.add(Counter::Connections, 1);
                    // Only latency depends on it.
                    let _ = stream.set_nodelay(true);
                    return stream;
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

impl Node {
    /// The handshake of a connection that came in by a listener, if it speaks TLS. A failure is told in the log.
    pub async fn secure(&self, listener: &Listener, stream: TcpStream) -> Option<Stream> {
        let Some(tls) = self.tls.get(&(listener.api, listener.name.clone())) else {
            return Some(Stream::Plain(stream));
        };
        let peer = stream.peer_addr().ok();
        match tls.accept(stream).await {
            Ok(stream) => Some(stream),
            Err(failure) => {
                self.status.add(Counter::FailedHandshakes, 1);
                let (api, name) = (listener.api, &listener.name);
                tracing::warn!(?peer, %api, name, %failure, "a TLS handshake failed");
                None
            }
        }
    }
}

/// A random uuid (version 4).
pub(crate) fn new_uuid(random: &mut ChaCha8Rng) -> Uuid {
    let mut bytes = [0; 16];
    random.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
