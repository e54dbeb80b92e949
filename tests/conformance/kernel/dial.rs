//! One case on the fabric: dialling, and what is seen of it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hopwise_engine::{Simulation, host};
use hopwise_fabric::nat::rules::RuleSet;
use hopwise_fabric::net::{TcpStream, connect_traced_within};
use hopwise_fabric::{Action, Answer, FabricWorld, Hop, Route};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::file::{Case, File, Outcome, Path};
use super::topology;

/// After this long without an answer the kernel's cases were given up.
const PATIENCE: Duration = Duration::from_millis(4_300);

/// Time to live of what stacks send.
const INITIAL_TIME_TO_LIVE: u8 = 64;

/// What one try showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    pub outcome: Outcome,
    /// The way, if a pod was reached.
    pub path: Option<Path>,
    /// Who answered what, if none was.
    pub answered_by: Option<String>,
}

/// Dials `tries` times, one after the other, in a network made anew with `seed`.
pub fn observe(
    file: &Arc<File>,
    rules: &Arc<BTreeMap<String, RuleSet>>,
    case: &Case,
    seed: u64,
    tries: usize,
) -> Vec<Observation> {
    let (file, rules, case) = (file.clone(), rules.clone(), case.clone());
    let run = Simulation::new(seed).run(FabricWorld, move || async move {
        let (environment, service) = (&file.environments[&case.env], &file.services[&case.service]);
        let network = topology::build(&file, environment, &rules, service);
        let source = *network.hosts.get(&case.source).expect("the source is someone of the topology");
        // The servers listen before anyone dials.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut observations = Vec::new();
        for _ in 0..tries {
            let (file, case) = (file.clone(), case.clone());
            let dialled = host::spawn_on(source, async move { dial(&file, &case).await });
            observations.push(dialled.await.expect("dialling ends"));
        }
        observations
    });
    hopwise_fabric::uninstall();
    run.expect("the simulation ends")
}

async fn dial(file: &File, case: &Case) -> Observation {
    let failed = |outcome, route: Option<Route>| {
        let answered_by = route.and_then(|route| answered_by(file, &route));
        Observation { outcome, path: None, answered_by }
    };
    match connect_traced_within(case.dst, PATIENCE).await {
        Err(error) => {
            let outcome = match error.error.kind() {
                ErrorKind::ConnectionRefused => Outcome::Refused,
                ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Outcome::Unreachable,
                ErrorKind::TimedOut => Outcome::Timeout,
                other => panic!("connect fails of {other}"),
            };
            failed(outcome, error.route)
        }
        Ok(mut stream) => {
            let line = greeting(&mut stream).await;
            let route = stream.route().expect("the connection is traced");
            match line {
                Ok(line) => {
                    let path = Some(path(file, &line, &route));
                    Observation { outcome: Outcome::Connected, path, answered_by: None }
                }
                Err(outcome) => failed(outcome, Some(route)),
            }
        }
    }
}

/// The line that the pod says, or how the connection ended without one.
async fn greeting(stream: &mut TcpStream) -> Result<String, Outcome> {
    let mut line = Vec::new();
    let mut buffer = [0; 64];
    while line.last() != Some(&b'\n') {
        match timeout(PATIENCE, stream.read(&mut buffer)).await {
            Err(_) => return Err(Outcome::AcceptedThenSilent),
            Ok(Err(_)) => return Err(Outcome::AcceptedThenReset),
            Ok(Ok(0)) => return Err(Outcome::AcceptedThenClosed),
            Ok(Ok(count)) => line.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8(line).expect("pods speak ASCII"))
}

/// Who was reached, from where, over how many hops.
fn path(file: &File, line: &str, route: &Route) -> Path {
    let (pod, peer) = line.trim_end().split_once(' ').expect("a name and an address");
    let peer: SocketAddr = peer.parse().expect("an address");
    // linux.md 3, I06.
    assert_eq!(route.source_seen(), Some(peer), "the pod sees another source than the packet has");
    let arrived = route.forward.last().expect("a packet arrived");
    // The leg between a proxy and the pod is the first of the way back.
    let proxied = route.reply.iter().find(|hop| hop.action == Action::Proxied);
    let returned = proxied.or(route.reply.last()).expect("an answer arrived");
    Path {
        pod: pod.into(),
        source_seen: source_name(file, peer.ip()),
        forward_hops: hops(arrived),
        reply_hops: hops(returned),
    }
}

/// How many times the packet was forwarded, read from its time to live as it arrived.
fn hops(arrived: &Hop) -> u8 {
    INITIAL_TIME_TO_LIVE - arrived.time_to_live
}

fn source_name(file: &File, address: IpAddr) -> String {
    let topology = &file.topology;
    let named = |prefix: &str, addresses: &BTreeMap<String, IpAddr>| {
        let found = addresses.iter().find(|(_, known)| **known == address);
        found.map(|(name, _)| format!("{prefix}:{name}"))
    };
    if topology.client.contains(&address) {
        return "client".into();
    }
    if topology.lb == address {
        return "lb".into();
    }
    let pod = || topology.pods.iter().find(|(_, pod)| pod.ip == address);
    named("node", &topology.nodes)
        .or_else(|| named("bridge", &topology.pod_bridges))
        .or_else(|| pod().map(|(name, _)| format!("pod:{name}")))
        .unwrap_or_else(|| address.to_string())
}

/// Who answered the last packet of a connection that no pod served, in the file's words.
fn answered_by(file: &File, route: &Route) -> Option<String> {
    let end = route.forward.last()?;
    match end.answer {
        Some(Answer::Reset) => return Some(format!("RST from {}", end.device)),
        Some(Answer::Icmp(why)) => {
            let address = end.destination.ip();
            let local = address.is_loopback() || file.topology.nodes.values().any(|node| *node == address);
            let own = route.forward.first().is_some_and(|first| first.device == end.device);
            // A rule of the OUTPUT chain fails the call of `connect` itself; no packet is seen.
            if own && !local {
                return Some(format!("local-error from {}", end.device));
            }
            let (kind, code) = why.type_and_code(address.is_ipv6());
            return Some(format!("ICMP{kind}/{code} from {}", end.device));
        }
        None => {}
    }
    // An answer that did not reach the client, or that the client did not take.
    let sender = &route.reply.first()?.device;
    file.topology.pods.contains_key(&**sender).then(|| format!("SYN-ACK from {sender}"))
}
