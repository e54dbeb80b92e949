//! The brokers under attack, and the records that they must not lose.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hopwise_broker::{
    BootstrapUser, Broker, BrokerStatus, Disk, Environment, NodeConfig, Phase, StartParameters,
};
use hopwise_client::behaviour::Patience;
use hopwise_client::{Acks, Client, FetchOptions, HostPort, Options, Record};
use hopwise_security::certificate::{CertificateRequest, KeyPair, self_signed};
use hopwise_security::sasl::Mechanism;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use turmoil_fs::Fs;

/// The topic whose records must stay.
const TOPIC: &str = "kept";
const PARTITIONS: i32 = 3;
const BROKERS: usize = 3;
/// Longest wait for a cluster that is being attacked.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames between brokers that are kept of each kind.
const FRAMES_OF_A_KIND_MAX: usize = 12;
const RPC_PORT: u16 = 33145;
/// A Kafka listener with TLS.
pub(crate) const TLS_PORT: u16 = 9095;
/// A Kafka listener that asks for SASL.
pub(crate) const SASL_PORT: u16 = 9096;
/// What the brokers' clock says, seconds since 1970.
const NOW_S: u64 = 1_700_000_000;
/// Where the first broker's RPC listener is said to be: there the frames are noted and passed on.
const TAP_PORT: u16 = 33146;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A broker does not run any more, or has not come up.
    #[error("broker {broker} is {phase:?}")]
    Down {
        /// Its place in the cluster.
        broker: usize,
        /// How far it came.
        phase: Phase,
    },
    /// Something panicked.
    #[error("{0} tasks panicked; see standard error")]
    Panicked(u64),
    /// Too much memory.
    #[error("{used} bytes are in use, {before} were before the attack, {most} more are allowed")]
    Memory {
        /// Resident now.
        used: u64,
        /// Resident at first.
        before: u64,
        /// Allowed growth.
        most: u64,
    },
    /// The brokers no longer serve a client.
    #[error("the brokers do not serve: {0}")]
    NotServing(String),
    /// An acknowledged record is not there, or is another.
    #[error("partition {partition} offset {offset}: {what}")]
    Lost {
        /// Of the topic `kept`.
        partition: i32,
        /// Where the record was.
        offset: i64,
        /// What is there instead.
        what: String,
    },
}

/// Frames that a broker sent to another.
type Frames = Arc<Mutex<BTreeMap<Vec<u8>, Vec<Vec<u8>>>>>;

/// Three brokers and what they have acknowledged.
pub struct Cluster {
    addresses: Vec<IpAddr>,
    statuses: Vec<BrokerStatus>,
    client: Client,
    acknowledged: BTreeMap<(i32, i64), Vec<u8>>,
    sent: u64,
    frames: Frames,
    tasks: JoinSet<()>,
}

impl Cluster {
    /// Starts the brokers and produces the first records. Each cluster of a process needs a `place` of its own.
    ///
    /// # Errors
    /// If the brokers do not come up.
    pub async fn start(place: u8) -> Result<Cluster, Failure> {
        let process = std::process::id();
        let (second, third) = ((process >> 8 & 0x7f) as u8 | 0x80, (process & 0xff) as u8);
        let ip = |index: usize| IpAddr::V4(Ipv4Addr::new(127, second, third, 4 * place + index as u8 + 1));
        let addresses: Vec<IpAddr> = (0..BROKERS).map(ip).collect();
        let (frames, mut tasks) = (Frames::default(), JoinSet::new());
        tasks.spawn(tap(addresses[0], Arc::clone(&frames)));
        let statuses = (0..BROKERS).map(|index| start_broker(&addresses, index, &mut tasks)).collect();
        let mut options = Options::new(vec![HostPort::new(addresses[0].to_string(), 9092)]);
        let behaviour = &mut options.behaviour;
        let patience = Patience::within(PATIENCE);
        (behaviour.produce, behaviour.fetch, behaviour.others) = (patience, patience, patience);
        behaviour.request_timeout = Duration::from_secs(5);
        let client = Client::new(options).map_err(not_serving)?;
        let (acknowledged, sent) = (BTreeMap::new(), 0);
        let mut cluster = Cluster { addresses, statuses, client, acknowledged, sent, frames, tasks };
        cluster.wait_ready().await?;
        for (topic, replicas) in [(TOPIC, BROKERS as i16), (crate::corpus::TOPIC, 1)] {
            cluster.client.create_topic(topic, PARTITIONS, replicas).await.map_err(not_serving)?;
        }
        for _ in 0..30 {
            cluster.produce().await?;
        }
        Ok(cluster)
    }

    async fn wait_ready(&self) -> Result<(), Failure> {
        for (broker, status) in self.statuses.iter().enumerate() {
            if tokio::time::timeout(PATIENCE, status.wait_ready()).await.is_err() {
                return Err(Failure::Down { broker, phase: status.phase() });
            }
        }
        Ok(())
    }

    /// Kills the brokers.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// The address of the broker that is attacked.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses[0], port)
    }

    /// The RPC frames seen so far, made out to another cluster: what they ask is not meant for these brokers.
    /// Requests to be let into the cluster are left out, for they are meant for anybody.
    pub fn rpc_frames(&self) -> Vec<Vec<u8>> {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.values().flatten().filter_map(|frame| for_another_cluster(frame)).collect()
    }

    /// Checks that all brokers run and acknowledges one more record.
    ///
    /// # Errors
    /// A broker that is down, or a cluster that does not serve.
    pub async fn check_alive(&mut self) -> Result<(), Failure> {
        for (broker, status) in self.statuses.iter().enumerate() {
            if status.phase() != Phase::Ready {
                return Err(Failure::Down { broker, phase: status.phase() });
            }
        }
        self.produce().await
    }

    async fn produce(&mut self) -> Result<(), Failure> {
        let partition = (self.sent % PARTITIONS as u64) as i32;
        let value = format!("record {}", self.sent).into_bytes();
        self.sent += 1;
        let records = [Record::new("key", value.clone())];
        let offset = self.client.produce(TOPIC, partition, &records, Acks::All).await.map_err(not_serving)?;
        self.acknowledged.insert((partition, offset), value);
        Ok(())
    }

    /// Checks that every acknowledged record is where it was, and tells how many there are.
    ///
    /// # Errors
    /// The first one that is not, or a cluster that does not serve.
    pub async fn check_kept(&self) -> Result<usize, Failure> {
        for partition in 0..PARTITIONS {
            let mut there = BTreeMap::new();
            let mut next = 0;
            loop {
                let fetched = self.client.fetch(TOPIC, partition, next, FetchOptions::default());
                let fetched = fetched.await.map_err(not_serving)?;
                let records = fetched.records.into_iter();
                there.extend(records.map(|found| (found.offset, found.record.value.unwrap_or_default())));
                if fetched.next_offset == next || fetched.next_offset >= fetched.high_watermark {
                    break;
                }
                next = fetched.next_offset;
            }
            let acknowledged = self.acknowledged.range((partition, 0)..=(partition, i64::MAX));
            for ((_, offset), value) in acknowledged {
                let found = there.get(offset);
                if found.is_none_or(|found| found[..] != value[..]) {
                    let what = format!("{found:?} instead of \"{}\"", String::from_utf8_lossy(value));
                    return Err(Failure::Lost { partition, offset: *offset, what });
                }
            }
        }
        Ok(self.acknowledged.len())
    }
}

fn not_serving(error: impl std::fmt::Display) -> Failure {
    Failure::NotServing(error.to_string())
}

fn start_broker(addresses: &[IpAddr], index: usize, tasks: &mut JoinSet<()>) -> BrokerStatus {
    let status = BrokerStatus::new();
    let parameters = match NodeConfig::parse(&yaml(addresses, index), Some(BOOTSTRAP)) {
        Ok(config) => StartParameters {
            config,
            volume: Disk::Simulated(Fs::builder().seed(index as u64).build()),
            clock: Arc::new(|| NOW_S as i64 * 1000),
            seed: index as u64 + 1,
            status: status.clone(),
            environment: environment(),
        },
        Err(error) => {
            eprintln!("broker {index} is not configured right: {error}");
            return status;
        }
    };
    tasks.spawn(async move {
        match Broker::start(parameters).await {
            Ok(never) => match never {},
            Err(error) => eprintln!("broker {index} ended: {error}"),
        }
    });
    status
}

/// SASL is asked for by one listener alone, and nobody is kept from anything.
const BOOTSTRAP: &str = "sasl_mechanisms: [SCRAM, PLAIN]\nkafka_enable_authorization: false\n";

/// A user, and a certificate for the listener with TLS.
fn environment() -> Environment {
    let request = CertificateRequest {
        dns_names: vec!["broker".to_owned()],
        not_before_s: NOW_S - 3600,
        not_after_s: NOW_S + 3600,
        server: true,
        ..CertificateRequest::default()
    };
    let made = self_signed(&request, KeyPair::from_seed(1, "fuzz"));
    let files: BTreeMap<&str, Bytes> = match made.and_then(|made| Ok((made.key.to_pem()?, made.pem))) {
        Ok((key, pem)) => BTreeMap::from([("/tls.crt", pem.into()), ("/tls.key", key.into())]),
        Err(error) => {
            eprintln!("there is no certificate: {error}");
            BTreeMap::new()
        }
    };
    let users = BootstrapUser::parse("user:password", Mechanism::ScramSha256).into_iter().collect();
    Environment {
        files: Arc::new(move |path: &Path| files.get(path.to_str()?).cloned()),
        users: watch::channel(users).1,
        ..Environment::default()
    }
}

fn yaml(addresses: &[IpAddr], index: usize) -> String {
    let rpc = |index: usize| if index == 0 { TAP_PORT } else { RPC_PORT };
    let seed =
        |(index, ip): (usize, &IpAddr)| format!("    - host: {{address: {ip}, port: {}}}\n", rpc(index));
    let seeds: String = addresses.iter().enumerate().map(seed).collect();
    let (ip, advertised) = (addresses[index], rpc(index));
    format!(
        "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: true
  admin:
    - {{name: internal, address: {ip}, port: 9644}}
  kafka_api:
    - {{name: internal, address: {ip}, port: 9092, authentication_method: none}}
    - {{name: tls, address: {ip}, port: {TLS_PORT}, authentication_method: none}}
    - {{name: sasl, address: {ip}, port: {SASL_PORT}, authentication_method: sasl}}
  kafka_api_tls:
    - {{name: tls, enabled: true, cert_file: /tls.crt, key_file: /tls.key}}
  advertised_kafka_api:
    - {{name: internal, address: {ip}, port: 9092}}
  rpc_server: {{address: {ip}, port: {RPC_PORT}}}
  advertised_rpc_api: {{address: {ip}, port: {advertised}}}
  seed_servers:
{seeds}
pandaproxy:
  pandaproxy_api:
    - {{name: internal, address: {ip}, port: 8082}}
schema_registry:
  schema_registry_api:
    - {{name: internal, address: {ip}, port: 8081}}
"
    )
}

/// Stands before the first broker's RPC listener, passes on what comes and notes the frames.
async fn tap(ip: IpAddr, frames: Frames) {
    let Ok(listener) = TcpListener::bind((ip, TAP_PORT)).await else { return };
    let mut connections = JoinSet::new();
    while let Ok((inbound, _)) = listener.accept().await {
        let frames = Arc::clone(&frames);
        connections.spawn(async move {
            // The broker may not listen yet; then its peer tries again.
            let Ok(outbound) = TcpStream::connect((ip, RPC_PORT)).await else { return };
            let (mut from_peer, mut to_peer) = inbound.into_split();
            let (mut from_broker, mut to_broker) = outbound.into_split();
            let answers = tokio::io::copy(&mut from_broker, &mut to_peer);
            let requests = async {
                let mut pending = Vec::new();
                let mut chunk = vec![0; 64 << 10];
                while let Ok(count @ 1..) = from_peer.read(&mut chunk).await {
                    pending.extend_from_slice(&chunk[..count]);
                    note(&mut pending, &frames);
                    if to_broker.write_all(&chunk[..count]).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! { _ = answers => {}, () = requests => {} }
        });
    }
}

/// Takes whole frames (each behind its length) out of `pending` and keeps a few of each kind.
fn note(pending: &mut Vec<u8>, frames: &Frames) {
    while let Some((length, _)) = pending.split_first_chunk::<4>() {
        let size = 4 + u32::from_be_bytes(*length) as usize;
        if pending.len() < size {
            break;
        }
        let frame: Vec<u8> = pending.drain(..size).collect();
        let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        let of_kind = frames.entry(kind(&frame)).or_default();
        if of_kind.len() < FRAMES_OF_A_KIND_MAX {
            of_kind.push(frame);
        }
    }
}

/// The name of what a frame asks, from its JSON head.
fn kind(frame: &[u8]) -> Vec<u8> {
    let Some(at) = find(frame, b"\"request\":") else { return Vec::new() };
    let name = frame[at + 10..].iter().skip_while(|byte| !byte.is_ascii_alphabetic());
    name.take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').copied().collect()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn for_another_cluster(frame: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"\"cluster\":\"";
    const UUID_CHARACTERS: usize = 36;
    let at = find(frame, NAME)? + NAME.len();
    let mut frame = frame.to_vec();
    frame.get_mut(at..at + UUID_CHARACTERS)?.copy_from_slice(b"12345678-1234-4234-8234-123456789abc");
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_and_made_out_to_another_cluster() {
        let head = r#"{"call":1,"cluster":"aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa","request":{"ping":[1]}}"#;
        let mut frame = ((head.len() + 4) as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(&(head.len() as u32).to_be_bytes());
        frame.extend_from_slice(head.as_bytes());
        assert_eq!(kind(&frame), b"ping");
        let other = for_another_cluster(&frame).unwrap();
        assert_eq!(other.len(), frame.len());
        assert!(find(&other, b"12345678-1234").is_some() && find(&other, b"aaaaaaaa").is_none());
        assert_eq!(for_another_cluster(b"{\"cluster\":null}"), None);
        let frames = Frames::default();
        let mut pending = [&frame[..], &frame, &frame[..10]].concat();
        note(&mut pending, &frames);
        assert_eq!(pending, frame[..10]);
        assert_eq!(frames.lock().unwrap()[&b"ping"[..]].len(), 2);
    }
}
