//! Clusters of pods that echo, and clients that dial them over the simulated network.
//!
//! An echo greets with one line that names the pod and the peer that it sees.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::{TcpStream, UdpSocket};
use hopwise_kube::cluster::{Cluster, Place, Settled};
use hopwise_lab::simulate::{Start, Started, simulate};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::Given;

/// How long a dial may take: longer than a few SYNs, shorter than the kernel's patience.
const PATIENCE: Duration = Duration::from_secs(5);
/// The port that every pod of [`pod`] listens on.
pub const POD_PORT: u16 = 9000;

/// How a dial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A pod answered.
    Pod {
        /// Its name, without the namespace.
        name: String,
        /// The peer's address as the pod sees it.
        sees: IpAddr,
    },
    /// Connection refused.
    Refused,
    /// Nothing came.
    TimedOut,
    /// Another error, by its words.
    Failed(String),
}

impl Answer {
    /// The pod that answered.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Answer::Pod { name, .. } => Some(name),
            Answer::Refused | Answer::TimedOut | Answer::Failed(_) => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Pod { name, sees } => write!(f, "{name} sees {sees}"),
            Answer::Refused => f.write_str("refused"),
            Answer::TimedOut => f.write_str("timed out"),
            Answer::Failed(why) => f.write_str(why),
        }
    }
}

/// A cluster file of three nodes, node-0 to node-2 at 10.0.0.10 and on, each in a zone of its own, with these further
/// lines.
pub fn three_nodes(further: &str) -> String {
    let node = |index: u8| {
        format!("  - {{name: node-{index}, zone: zone-{index}, address: 10.0.0.{}}}\n", 10 + index)
    };
    let nodes: String = (0..3).map(node).collect();
    format!("nodes:\n{nodes}{further}\n")
}

/// A pod of namespace `default` on a node, with the label `app`, that echoes on [`POD_PORT`] over TCP and UDP.
pub fn pod(name: &str, node: &str, app: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {app}}}}}\nspec:\n  nodeName: {node}\n  \
         containers:\n    - name: echo\n      image: example/echo\n      ports:\n        - {{name: tcp, containerPort: \
         {POD_PORT}}}\n        - {{name: udp, containerPort: {POD_PORT}, protocol: UDP}}\n"
    )
}

/// A Service `echo` of namespace `default` with port 80 to [`POD_PORT`], for the pods with the label `app: echo` and
/// with this further line in its spec.
pub fn service(further: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: echo}}\nspec:\n  selector: {{app: echo}}\n  ports: \
         [{{name: tcp, port: 80, targetPort: {POD_PORT}}}]\n  {further}\n"
    )
}

/// The cluster IP that [`service`]s get when they ask for this line.
pub const CLUSTER_IP: &str = "clusterIP: 10.96.77.1";

/// Runs `main` on the cluster of these manifests once everything is ready.
pub fn on_cluster<F>(manifests: &str, cluster: &str, main: impl FnOnce(Cluster) -> F + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let given = Given::default().with("manifests.yaml", manifests).cluster(cluster);
    let run = |Started { cluster, settled, .. }: Started| {
        assert_eq!(settled, Settled::Ready);
        main(cluster)
    };
    simulate(given.inputs(), Start::default(), run).expect("the simulation ends")
}

/// Dials `address` once over TCP from a place such as `external`, `node/node-0` or `pod/default/a`.
pub async fn dial(cluster: &Cluster, from: &str, address: &str) -> Answer {
    let place: Place = from.parse().unwrap_or_else(|error| panic!("{error}"));
    let site = cluster.place(&place, "client").await.unwrap_or_else(|error| panic!("{error}"));
    let address: SocketAddr = address.parse().expect("an address and a port");
    let attempt = async move {
        let stream = TcpStream::connect(address).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        Ok::<String, std::io::Error>(line)
    };
    let dialled = host::spawn_on(site.host, tokio::time::timeout(PATIENCE, attempt));
    match dialled.await.expect("a dial does not panic") {
        Err(_) => Answer::TimedOut,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Answer::Refused,
        Ok(Err(error)) => Answer::Failed(error.to_string()),
        Ok(Ok(line)) => greeting(&line),
    }
}

/// The pods that answer `dials` dials, in order of the dials.
pub async fn dial_often(cluster: &Cluster, from: &str, address: &str, dials: usize) -> Vec<String> {
    let mut pods = Vec::new();
    for _ in 0..dials {
        pods.push(dial(cluster, from, address).await.pod().unwrap_or("-").to_owned());
    }
    pods
}

/// Sends one datagram by `socket` and reads the answer; `None` if none comes.
pub async fn ask(socket: &UdpSocket, address: SocketAddr) -> Option<Answer> {
    let mut buffer = [0; 512];
    socket.send_to(b"hello", address).await.ok()?;
    let answer = tokio::time::timeout(Duration::from_secs(1), socket.recv_from(&mut buffer)).await;
    let (length, _) = answer.ok()?.ok()?;
    Some(greeting(&String::from_utf8_lossy(&buffer[..length])))
}

/// An open connection to an echo.
pub struct Echoing {
    stream: BufReader<TcpStream>,
    /// What it was greeted with.
    pub greeting: Answer,
}

impl Echoing {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> std::io::Result<Echoing> {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(Echoing { stream, greeting: greeting(&line) })
    }

    /// Whether a line comes back within some seconds.
    pub async fn echoes(&mut self) -> bool {
        let attempt = async {
            self.stream.write_all(b"again\n").await?;
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            Ok::<bool, std::io::Error>(line == "again\n")
        };
        tokio::time::timeout(PATIENCE, attempt).await.is_ok_and(|result| result.unwrap_or(false))
    }
}

fn greeting(line: &str) -> Answer {
    let parts = line.trim_end().strip_prefix("default/").and_then(|line| line.split_once(" sees "));
    let peer = parts.and_then(|(name, peer)| Some((name, peer.parse::<SocketAddr>().ok()?)));
    match peer {
        Some((name, peer)) => Answer::Pod { name: name.to_owned(), sees: peer.ip() },
        None => Answer::Failed(format!("no greeting: {line:?}")),
    }
}
