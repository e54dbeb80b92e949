//! Where the brokers' listeners are in real time: one address, and a port of its own for each.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hopwise_broker::{Api, HostPort, Listener, NodeConfig, Relocation};

use super::planned::PlannedBroker;

/// Where free ports are looked for: below those that the kernel gives to outgoing connections (from 32768 on by
/// default, ip(7)), so that no connection takes the port of a broker that is restarted.
const FREE_PORTS: std::ops::Range<u16> = 12_000..32_000;

/// Where ports come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The first free ones.
    Free,
    /// This one and those after it, in the order of brokers and listeners.
    From(u16),
    /// These, in the order of brokers and listeners; the first free ones if there are more listeners or fewer.
    These(Vec<u16>),
}

/// Why listeners have no ports.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The port cannot be opened.
    #[error("port {address} of {pod} cannot be opened: {error}; choose another --port-base or --host")]
    Taken {
        /// The address.
        address: SocketAddr,
        /// Whose port it was to be.
        pod: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The range of ports is used up.
    #[error("{wanted} ports do not fit after --port-base {base}; the last port is 65535")]
    Range {
        /// The first port.
        base: u16,
        /// How many are needed.
        wanted: usize,
    },
    /// Nothing is free.
    #[error("no {wanted} ports are free on {host} between {} and {}; use --port-base", FREE_PORTS.start, FREE_PORTS.end)]
    NoneFree {
        /// The address.
        host: IpAddr,
        /// How many are needed.
        wanted: usize,
    },
}

/// The brokers' configurations with every address replaced by one on `host`, and every certificate by the one of that
/// address, which is in the directory `certificates`.
///
/// # Errors
/// If ports are not to be had. Each port was open for a moment; another process may take it before its broker does.
pub fn relocate(
    brokers: &[PlannedBroker],
    host: IpAddr,
    ports: &Ports,
    certificates: &Path,
) -> Result<Vec<NodeConfig>, PortError> {
    let listeners: Vec<(&str, Listener)> = brokers
        .iter()
        .flat_map(|broker| {
            broker.config.listeners().into_iter().map(|listener| (broker.pod.as_str(), listener))
        })
        .collect();
    let addresses = match ports {
        Ports::From(base) => these(host, &range(*base, listeners.len())?, &listeners)?,
        Ports::These(ports) if ports.len() == listeners.len() => these(host, ports, &listeners)?,
        Ports::Free | Ports::These(_) => free_addresses(host, listeners.len())?,
    };
    let place = |((pod, listener), address): (&(&'_ str, Listener), _)| Place {
        pod: (*pod).to_owned(),
        listener: listener.clone(),
        address,
    };
    let places = Places(listeners.iter().zip(addresses).map(place).collect());
    Ok(brokers.iter().map(|broker| places.relocate(broker, brokers, certificates)).collect())
}

/// Every port of relocated brokers, in the order of brokers and listeners.
pub fn ports_of(configs: &[NodeConfig]) -> Vec<u16> {
    configs.iter().flat_map(NodeConfig::listeners).map(|listener| listener.bind.port()).collect()
}

/// Where one listener is now.
struct Place {
    pod: String,
    listener: Listener,
    address: SocketAddr,
}

struct Places(Vec<Place>);

impl Places {
    fn relocate(&self, broker: &PlannedBroker, all: &[PlannedBroker], certificates: &Path) -> NodeConfig {
        let seeds = seeds_of(broker, all).into_iter().filter_map(|seed| self.rpc(seed)).map(host_port);
        broker.config.relocated(Relocation {
            place: &|listener| self.find(&broker.pod, listener),
            seeds: seeds.collect(),
            kafka: &|address| self.kafka(address),
            certificates,
        })
    }

    fn find(&self, pod: &str, like: &Listener) -> SocketAddr {
        let is_it = |place: &&Place| {
            place.pod == pod && place.listener.api == like.api && place.listener.bind == like.bind
        };
        self.0.iter().find(is_it).map_or(like.bind, |place| place.address)
    }

    fn rpc(&self, broker: &PlannedBroker) -> Option<SocketAddr> {
        let own = broker.config.listeners().into_iter().find(|listener| listener.api == Api::Rpc)?;
        Some(self.find(&broker.pod, &own))
    }

    /// The Kafka listeners with this port, of every broker: a broker's own clients are given the internal listener of
    /// the cluster, by whatever names.
    fn kafka(&self, address: &HostPort) -> Vec<HostPort> {
        let kafka = self.0.iter().filter(|place| place.listener.api == Api::Kafka);
        kafka
            .filter(|place| place.listener.bind.port() == address.port)
            .map(|it| host_port(it.address))
            .collect()
    }
}

fn host_port(address: SocketAddr) -> HostPort {
    HostPort::new(address.ip().to_string(), address.port())
}

/// The brokers that are a broker's seeds: those whose own RPC addresses it names. Names that are nobody's own, such as
/// a Service's, stand for every broker, and so does an empty list of a broker that must not found a cluster.
fn seeds_of<'a>(broker: &PlannedBroker, all: &'a [PlannedBroker]) -> Vec<&'a PlannedBroker> {
    let named = &broker.config.seed_servers;
    if named.is_empty() && broker.config.empty_seed_starts_cluster {
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut seeds = Vec::new();
    for seed in named {
        match all.iter().find(|candidate| same_host(&candidate.config.advertised_rpc_api, seed)) {
            Some(found) if seen.insert(&found.pod) => seeds.push(found),
            Some(_) => {}
            None => return all.iter().collect(),
        }
    }
    if seeds.is_empty() { all.iter().collect() } else { seeds }
}

/// A name with and without the dot of the root is one name.
fn same_host(a: &HostPort, b: &HostPort) -> bool {
    a.port == b.port && a.host.trim_end_matches('.').eq_ignore_ascii_case(b.host.trim_end_matches('.'))
}

fn range(base: u16, wanted: usize) -> Result<Vec<u16>, PortError> {
    let port = |index: usize| u16::try_from(index).ok().and_then(|index| base.checked_add(index));
    (0..wanted).map(|index| port(index).ok_or(PortError::Range { base, wanted })).collect()
}

/// These ports, which all have to be free.
fn these(host: IpAddr, ports: &[u16], listeners: &[(&str, Listener)]) -> Result<Vec<SocketAddr>, PortError> {
    let mut held = Vec::new();
    for (port, (pod, _)) in ports.iter().zip(listeners) {
        let address = SocketAddr::new(host, *port);
        let taken = |error| PortError::Taken { address, pod: (*pod).to_owned(), error };
        held.push((TcpListener::bind(address).map_err(taken)?, address));
    }
    Ok(held.into_iter().map(|(_, address)| address).collect())
}

/// Free ports, from a place that differs between processes that start at the same time; none is given twice, since it is
/// some time until somebody listens there.
pub(super) fn free_addresses(host: IpAddr, wanted: usize) -> Result<Vec<SocketAddr>, PortError> {
    /// How many candidates were looked at.
    static LOOKED_AT: Mutex<u32> = Mutex::new(0);
    let span = u32::from(FREE_PORTS.end - FREE_PORTS.start);
    // Processes with neighbouring ids begin far apart.
    let first = std::process::id().wrapping_mul(97) % span;
    let mut looked_at = LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut held = Vec::with_capacity(wanted);
    for _ in 0..span {
        if held.len() == wanted {
            break;
        }
        let port = FREE_PORTS.start + ((first + *looked_at) % span) as u16;
        *looked_at = (*looked_at + 1) % span;
        let address = SocketAddr::new(host, port);
        if let Ok(listener) = TcpListener::bind(address) {
            held.push((listener, address));
        }
    }
    if held.len() < wanted {
        return Err(PortError::NoneFree { host, wanted });
    }
    Ok(held.into_iter().map(|(_, address)| address).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::serve::planned::{PlainCluster, plain};

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn plain_brokers(count: u16) -> Vec<PlannedBroker> {
        plain(&PlainCluster { brokers: count, ..PlainCluster::default() }).unwrap()
    }

    fn moved(brokers: &[PlannedBroker], ports: &Ports) -> Result<Vec<NodeConfig>, PortError> {
        relocate(brokers, HOST, ports, Path::new("/serve"))
    }

    #[test]
    fn ports_that_are_remembered_are_taken_again() {
        let brokers = plain_brokers(2);
        let ports = ports_of(&moved(&brokers, &Ports::Free).unwrap());
        assert_eq!(ports_of(&moved(&brokers, &Ports::These(ports.clone())).unwrap()), ports);
        assert_eq!(moved(&plain_brokers(3), &Ports::These(ports)).unwrap().len(), 3);
    }

    fn with_seeds(broker: &mut PlannedBroker, own: &str, seeds: &[&str]) {
        broker.config.advertised_rpc_api = HostPort::parse(own).unwrap();
        broker.config.seed_servers = seeds.iter().map(|seed| HostPort::parse(seed).unwrap()).collect();
    }

    #[test]
    fn every_listener_has_a_port_of_its_own() {
        let configs = moved(&plain_brokers(3), &Ports::Free).unwrap();
        let ports: BTreeSet<SocketAddr> =
            configs.iter().flat_map(|config| config.listeners()).map(|listener| listener.bind).collect();
        assert_eq!(ports.len(), 3 * 6);
    }

    #[test]
    fn seeds_are_the_same_brokers_as_before() {
        let mut brokers = plain_brokers(3);
        let seeds = ["b.svc:33145", "c.svc:33145"];
        for (broker, own) in brokers.iter_mut().zip(["a.svc.:33145", "b.svc.:33145", "c.svc.:33145"]) {
            with_seeds(broker, own, &seeds);
        }
        let configs = moved(&brokers, &Ports::Free).unwrap();
        let expected = vec![configs[1].advertised_rpc_api.clone(), configs[2].advertised_rpc_api.clone()];
        assert!(configs.iter().all(|config| config.seed_servers == expected), "{configs:?}");
    }

    #[test]
    fn a_seed_that_is_nobodys_own_name_stands_for_all() {
        let mut brokers = plain_brokers(2);
        with_seeds(&mut brokers[0], "a:33145", &["redpanda.svc:33145"]);
        with_seeds(&mut brokers[1], "b:33145", &["redpanda.svc:33145"]);
        assert_eq!(seeds_of(&brokers[1], &brokers).len(), 2);
        brokers[0].config.seed_servers.clear();
        brokers[0].config.empty_seed_starts_cluster = true;
        assert!(seeds_of(&brokers[0], &brokers).is_empty());
    }

    #[test]
    fn a_taken_port_and_a_range_that_ends_are_told() {
        let holder = TcpListener::bind((HOST, 0)).unwrap();
        let port = holder.local_addr().unwrap().port();
        let brokers = plain_brokers(1);
        let error = moved(&brokers, &Ports::From(port)).unwrap_err();
        assert!(error.to_string().contains("plain/redpanda-0"), "{error}");
        let error = moved(&brokers, &Ports::From(65_535)).unwrap_err();
        assert!(matches!(error, PortError::Range { .. } | PortError::Taken { .. }), "{error}");
    }
}
