//! Attacking one listener for a while.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::cluster::{Cluster, Failure, SASL_PORT, TLS_PORT};
use crate::mutation::Mutator;
use crate::{corpus, memory};

/// How much more memory the attack may cost than there was before it, bytes. The largest frames that are taken are
/// 100 MiB; a claim of one costs nothing, and no input here has more than 1 MiB.
const GROWTH_BYTES_MAX: u64 = 512 << 20;
/// Between two looks at the brokers.
const INPUTS_PER_CHECK: u64 = 100;
/// Connections that are left open with half a request.
const HELD_MAX: usize = 200;
/// How long an answer is waited for. Some requests rightly wait longer for theirs.
const ANSWER_WAIT: Duration = Duration::from_millis(50);

/// A listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Target {
    /// The Kafka API.
    Kafka,
    /// The brokers' own RPC.
    Rpc,
    /// The Admin API.
    Admin,
    /// The HTTP Proxy.
    Proxy,
    /// The Schema Registry.
    Registry,
    /// A Kafka listener's TLS handshake.
    Tls,
    /// A Kafka listener's SASL handshake.
    Sasl,
}

/// What an attack came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// What was attacked.
    pub target: Target,
    /// Good requests that were damaged.
    pub corpus: usize,
    /// Inputs sent.
    pub inputs: u64,
    /// Inputs that something was answered to.
    pub answered: u64,
    /// Records that were acknowledged before and during the attack, all of them still there.
    pub acknowledged: usize,
    /// Memory beyond what there was before, bytes.
    pub growth_bytes: u64,
}

/// An attack that found something, and the inputs before it.
#[derive(Debug, thiserror::Error)]
#[error("{failure}; the last inputs are in {}", inputs.display())]
pub struct Found {
    /// What went wrong.
    #[source]
    pub failure: Failure,
    /// A file with the inputs, each behind its length (u32, big-endian).
    pub inputs: PathBuf,
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Counts panics from now on; a task that panics does not end the process.
pub fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(panic);
        }));
    });
}

impl Target {
    /// Every one.
    pub const ALL: [Target; 7] = [
        Target::Kafka,
        Target::Rpc,
        Target::Admin,
        Target::Proxy,
        Target::Registry,
        Target::Tls,
        Target::Sasl,
    ];

    fn port(self) -> u16 {
        match self {
            Target::Kafka => 9092,
            Target::Rpc => 33145,
            Target::Admin => 9644,
            Target::Proxy => 8082,
            Target::Registry => 8081,
            Target::Tls => TLS_PORT,
            Target::Sasl => SASL_PORT,
        }
    }

    fn framed(self) -> bool {
        matches!(self, Target::Kafka | Target::Rpc | Target::Sasl)
    }

    async fn corpus(self, cluster: &Cluster) -> Vec<Vec<u8>> {
        match self {
            Target::Kafka => corpus::kafka(),
            Target::Rpc => cluster.rpc_frames(),
            Target::Admin => corpus::admin(),
            Target::Proxy => corpus::proxy(),
            Target::Registry => corpus::registry(),
            Target::Tls => corpus::tls().await,
            Target::Sasl => corpus::sasl(),
        }
    }
}

/// Attacks a listener for some time with what a seed draws.
///
/// # Errors
/// What did not hold.
pub async fn attack(
    cluster: &mut Cluster,
    target: Target,
    seed: u64,
    time: Duration,
) -> Result<Report, Found> {
    let mut attack = Attack {
        target,
        corpus: target.corpus(cluster).await,
        mutator: Mutator::new(seed),
        before: memory::resident_bytes().unwrap_or(0),
        panics: PANICS.load(Ordering::Relaxed),
        held: VecDeque::new(),
        recent: VecDeque::new(),
        inputs: 0,
        answered: 0,
    };
    match attack.run(cluster, time).await {
        Ok(report) => Ok(report),
        Err(failure) => Err(Found { failure, inputs: attack.keep_inputs(seed) }),
    }
}

struct Attack {
    target: Target,
    corpus: Vec<Vec<u8>>,
    mutator: Mutator,
    before: u64,
    panics: u64,
    held: VecDeque<TcpStream>,
    recent: VecDeque<Vec<u8>>,
    inputs: u64,
    answered: u64,
}

impl Attack {
    async fn run(&mut self, cluster: &mut Cluster, time: Duration) -> Result<Report, Failure> {
        if self.corpus.is_empty() {
            return Err(Failure::NotServing("no frame was seen between the brokers".to_owned()));
        }
        let end = Instant::now() + time;
        while Instant::now() < end {
            let input = self.mutator.draw(&self.corpus, self.target.framed());
            self.send(cluster, &input).await?;
            self.inputs += 1;
            self.recent.push_back(input);
            if self.recent.len() as u64 > 2 * INPUTS_PER_CHECK {
                self.recent.pop_front();
            }
            if self.inputs.is_multiple_of(INPUTS_PER_CHECK) {
                self.check(cluster).await?;
            }
        }
        self.held.clear();
        self.check(cluster).await?;
        let acknowledged = cluster.check_kept().await?;
        Ok(Report {
            target: self.target,
            corpus: self.corpus.len(),
            inputs: self.inputs,
            answered: self.answered,
            acknowledged,
            growth_bytes: memory::resident_bytes().unwrap_or(0).saturating_sub(self.before),
        })
    }

    async fn send(&mut self, cluster: &Cluster, input: &[u8]) -> Result<(), Failure> {
        let connecting = TcpStream::connect(cluster.address(self.target.port()));
        let mut stream = match timeout(Duration::from_secs(10), connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure::NotServing(error.to_string())),
            Err(_) => return Err(Failure::NotServing("no connection within 10 s".to_owned())),
        };
        // The broker may close while it is being written to; that is an answer.
        let _ = timeout(ANSWER_WAIT, stream.write_all(input)).await;
        if self.mutator.one_in(50) {
            // Half a request that is never finished.
            self.held.push_back(stream);
            if self.held.len() > HELD_MAX {
                self.held.pop_front();
            }
            return Ok(());
        }
        if self.mutator.one_in(10) {
            return Ok(());
        }
        let _ = stream.shutdown().await;
        let mut answer = vec![0; 64 << 10];
        let mut read = 0;
        let all = async {
            while let Ok(count @ 1..) = stream.read(&mut answer).await {
                read += count;
            }
        };
        let _ = timeout(ANSWER_WAIT, all).await;
        self.answered += u64::from(read > 0);
        Ok(())
    }

    async fn check(&self, cluster: &mut Cluster) -> Result<(), Failure> {
        let panics = PANICS.load(Ordering::Relaxed) - self.panics;
        if panics > 0 {
            return Err(Failure::Panicked(panics));
        }
        let used = memory::resident_bytes().unwrap_or(0);
        if used > self.before + GROWTH_BYTES_MAX {
            return Err(Failure::Memory { used, before: self.before, most: GROWTH_BYTES_MAX });
        }
        cluster.check_alive().await
    }

    /// Writes the last inputs to a file.
    fn keep_inputs(&self, seed: u64) -> PathBuf {
        let name = format!("hopwise-fuzz-{:?}-{seed}.bin", self.target).to_lowercase();
        let path = std::env::temp_dir().join(name);
        let mut bytes = Vec::new();
        for input in &self.recent {
            bytes.extend_from_slice(&(input.len() as u32).to_be_bytes());
            bytes.extend_from_slice(input);
        }
        if let Err(error) = std::fs::write(&path, bytes) {
            eprintln!("{}: {error}", path.display());
        }
        path
    }
}
