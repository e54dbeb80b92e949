//! A broker's start: the order in which its parts come up, and everything that can stop it.
//!
//! Source: redpanda.md 2.3, last paragraph: RPC server, cluster, Admin, HTTP Proxy, Schema Registry, Kafka,
//! ready. A port that is not open yet refuses connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use hopwise_fabric::net::TcpListener;
use hopwise_security::Randomness;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::time::Instant;

use crate::bugs::Bugs;
use crate::cluster::members::Members;
use crate::cluster::state::State;
use crate::cluster::{Cluster, controller, crash_tracking, discovery, identity, node_status};
use crate::config::{Api, HostPort, Listener, NodeConfig};
use crate::http::{self, admin};
use crate::http_proxy::HttpProxy;
use crate::node::{Node, Parts, new_uuid};
use crate::security::{Environment, bootstrap_users, listener_tls};
use crate::status::{BrokerStatus, Phase};
use crate::tasks::{Tasks, TasksGuard};
use crate::volume::{Disk, Volume};
use crate::{groups, housekeeping, kafka, operations, replication, rpc, schema_registry};

/// Tells the time of day, milliseconds since 1970, for timestamps that the broker makes.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Keeps what TLS and SASL draw apart from what the rest of the broker draws.
const SECURITY_STREAM: u64 = 0x5e_c0_4e;

/// What a broker is started with.
pub struct StartParameters {
    /// Its node configuration.
    pub config: NodeConfig,
    /// Its volume; what is synced to it survives the broker.
    pub volume: Disk,
    /// The time of day, for timestamps that the broker makes.
    pub clock: Clock,
    /// Where its randomness (uuids) comes from.
    pub seed: u64,
    /// Where its state can be seen; keep a clone.
    pub status: BrokerStatus,
    /// Its files and users.
    pub environment: Environment,
}

/// Why a broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A port cannot be opened.
    #[error("{api} listener \"{name}\" cannot listen on {address}: {error}")]
    Listen {
        /// What the listener speaks.
        api: Api,
        /// The listener's name.
        name: String,
        /// The address and port.
        address: SocketAddr,
        /// Why: in use, or not an address of this host.
        #[source]
        error: io::Error,
    },
    /// A certificate or a key is missing or wrong.
    #[error("{api} listener \"{name}\" cannot start TLS: {file}: {problem}")]
    Certificate {
        /// What the listener speaks.
        api: Api,
        /// The listener's name.
        name: String,
        /// The file's path.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The volume does not give or take what the start needs.
    #[error("the data directory cannot be used: {0}")]
    Volume(#[source] io::Error),
    /// The configured id is not the one on the volume.
    #[error("node_id is configured as {configured}, but the volume belongs to broker {persisted}")]
    NodeIdChanged {
        /// What redpanda.yaml says.
        configured: i32,
        /// What the volume says.
        persisted: i32,
    },
    /// Two founders do not have the same seed list.
    #[error("the seed list differs from that of seed {seed}; give every broker the same seed_servers")]
    SeedsDiffer {
        /// The other founder.
        seed: HostPort,
    },
    /// There is nobody to ask, and the broker must not found a cluster.
    #[error("seed_servers is empty and empty_seed_starts_cluster is false; name the seeds")]
    NoSeeds,
    /// Too many starts in a row came to nothing.
    #[error(
        "the broker failed to start {limit} times in a row (crash_loop_limit); mend the cause and change the \
         configuration, wait an hour, or remove startup_log.json from the data directory"
    )]
    CrashLoop {
        /// `crash_loop_limit`.
        limit: u32,
    },
    /// The cluster does not take the broker.
    #[error("the cluster refuses the broker: {reason}")]
    JoinRefused {
        /// What the controller says.
        reason: String,
    },
}

/// A broker.
#[derive(Debug, Clone, Copy)]
pub struct Broker;

impl Broker {
    /// Runs a broker until the future is dropped, which kills it: none of its tasks runs again, and what it
    /// had not synced is as the volume keeps it.
    ///
    /// # Errors
    /// What stops the start; see [`BrokerError`]. A started broker does not end by itself.
    pub async fn start(parameters: StartParameters) -> Result<Infallible, BrokerError> {
        Broker::run(parameters, Bugs::default()).await
    }

    /// As [`Broker::start`], with deliberate faults.
    ///
    /// # Errors
    /// As [`Broker::start`].
    #[cfg(feature = "bugs")]
    pub async fn start_with_bugs(parameters: StartParameters, bugs: Bugs) -> Result<Infallible, BrokerError> {
        Broker::run(parameters, bugs).await
    }

    async fn run(parameters: StartParameters, bugs: Bugs) -> Result<Infallible, BrokerError> {
        let tasks = Tasks::new(parameters.environment.processor.clone());
        let _running = Running { _tasks: tasks.guard(), status: parameters.status.clone() };
        let rpc = parameters.config.listeners_of(Api::Rpc).next().cloned();
        let users = parameters.environment.users.clone();
        let node = prepare(parameters, tasks, bugs)?;
        node.status.set_phase(Phase::Joining);
        if let Some(listener) = rpc {
            let socket = open(&listener).await?;
            node.tasks.spawn(rpc::server::serve(Arc::clone(&node), listener, socket));
        }
        discovery::find_cluster(&node).await?;
        become_member(&node)?;
        discovery::register(&node).await?;
        node.tasks.spawn(bootstrap_users::keep(Arc::clone(&node), users));
        open_listeners(&node).await?;
        crash_tracking::reset(&node.volume).map_err(BrokerError::Volume)?;
        node.status.set_phase(Phase::Ready);
        tracing::info!(broker = node.id(), "the broker is ready");
        std::future::pending().await
    }
}

/// Ends with the broker's future.
struct Running {
    _tasks: TasksGuard,
    status: BrokerStatus,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.status.set_phase(Phase::Stopped);
    }
}

fn prepare(parameters: StartParameters, tasks: Tasks, bugs: Bugs) -> Result<Arc<Node>, BrokerError> {
    let StartParameters { mut config, volume, clock, seed, status, environment } = parameters;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let randomness = Randomness::from_seed(seed ^ SECURITY_STREAM);
    let tls = listener_tls::load(&config.listeners, &environment.files, &clock, &randomness)?;
    let volume = Volume::new(volume, &config.data_directory).map_err(BrokerError::Volume)?;
    let limit = config.crash_loop_limit;
    if !crash_tracking::begin(&volume, clock(), config.fingerprint, limit).map_err(BrokerError::Volume)? {
        return Err(BrokerError::CrashLoop { limit: limit.unwrap_or_default() });
    }
    let mut identity = identity::start(&volume, new_uuid(&mut random)).map_err(BrokerError::Volume)?;
    let taken = identity::take_over(&volume, &mut identity, &config.node_id_overrides);
    config.node_id = taken.map_err(BrokerError::Volume)?.or(config.node_id);
    let tables = identity::load_tables(&volume).map_err(BrokerError::Volume)?;
    let own_id = identity.membership.as_ref().map_or(-1, |membership| membership.id);
    let members = Members::new(own_id, tables.members, config.cluster.alive_timeout, Instant::now());
    let cluster = Cluster { members, state: State::default(), unsaved: false };
    Ok(Arc::new(Node::new(Parts {
        config,
        volume,
        clock,
        status,
        tasks,
        random,
        identity,
        cluster,
        bugs,
        tls,
        files: environment.files,
        randomness,
    })))
}

/// The broker has an id: it enters its own table, opens its replicas and greets the others.
fn become_member(node: &Arc<Node>) -> Result<(), BrokerError> {
    let own = node.as_member();
    node.status.set_broker_id(own.id);
    node.status.set_phase(Phase::Booting);
    node.with_cluster(|cluster| cluster.members.set_own(own.id));
    discovery::remember(node, vec![own]);
    replication::driver::start(node);
    controller::open(node).map_err(BrokerError::Volume)?;
    node.tasks.spawn(node_status::run(Arc::clone(node)));
    node.tasks.spawn(replication::leaders::run(Arc::clone(node)));
    node.tasks.spawn(replication::membership::run(Arc::clone(node)));
    node.tasks.spawn(housekeeping::run(Arc::clone(node)));
    node.tasks.spawn(Arc::clone(&node.groups).run(Arc::clone(node)));
    node.tasks.spawn(Arc::clone(&node.transactions).run(Arc::clone(node)));
    node.tasks.spawn(groups::topics::run(Arc::clone(node)));
    operations::start(node);
    Ok(())
}

async fn open(listener: &Listener) -> Result<TcpListener, BrokerError> {
    TcpListener::bind(listener.bind).await.map_err(|error| BrokerError::Listen {
        api: listener.api,
        name: listener.name.clone(),
        address: listener.bind,
        error,
    })
}

async fn open_listeners(node: &Arc<Node>) -> Result<(), BrokerError> {
    // One for all listeners: what they share is the same.
    let registry = schema_registry::router(node);
    let http_proxy = HttpProxy::new(node);
    for api in [Api::Admin, Api::HttpProxy, Api::SchemaRegistry, Api::Kafka] {
        // In recovery mode these two are not started (redpanda.md 2.3).
        if node.config.recovery_mode_enabled && matches!(api, Api::HttpProxy | Api::SchemaRegistry) {
            continue;
        }
        for listener in node.config.listeners_of(api) {
            let socket = open(listener).await?;
            let owned = Arc::clone(node);
            match api {
                Api::Admin => {
                    let router = admin::router(Arc::clone(node));
                    node.tasks.spawn(http::serve(owned, listener.clone(), router, socket));
                }
                Api::HttpProxy => {
                    let router = http_proxy.router(listener);
                    node.tasks.spawn(http::serve(owned, listener.clone(), router, socket));
                }
                Api::SchemaRegistry => {
                    node.tasks.spawn(http::serve(owned, listener.clone(), registry.clone(), socket));
                }
                Api::Kafka | Api::Rpc => {
                    node.tasks.spawn(kafka::serve(owned, listener.clone(), socket));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod served;
