//! Name service: CoreDNS inside the cluster, a resolver on the internet outside.
//!
//! CoreDNS pods are ordinary pods behind the kube-dns Service; they answer from one zone that follows the API
//! server's Services, EndpointSlices and Pods. Names outside the cluster are known to both resolvers.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use hopwise_engine::host;
use hopwise_engine::random::Stream;
use hopwise_fabric::net::{TcpListener, TcpStream, UdpSocket};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::api::Api;
use super::programs::{Container, Process};
use super::timing;
use crate::cluster_file::{ClusterFile, OutsideTarget};
use crate::dns::{self, Endpoint, Port, ServiceKind, Slice, Transport, Upstream, UpstreamName, Zone};
use crate::proxy::ServiceName;
use crate::store::{Kind, Store, pod_state};

const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::Pod];

/// The image of the cluster's own DNS servers.
pub const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns";

/// A zone that DNS servers answer from.
pub type SharedZone = Rc<RefCell<Zone>>;

/// Keeps `zone` as the API server's objects are.
pub async fn follow(api: Api, zone: SharedZone) {
    let mut watch = api.watch(KINDS);
    let (mut services, mut pods, mut namespaces) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    loop {
        watch.next(timing::DNS_LAG).await;
        api.read(|store| {
            let mut zone = zone.borrow_mut();
            namespaces = follow_namespaces(store, &mut zone, &namespaces);
            services = follow_services(store, &mut zone, &services);
            pods = follow_pods(store, &mut zone, &pods);
        });
    }
}

fn follow_namespaces(store: &Store, zone: &mut Zone, before: &BTreeSet<String>) -> BTreeSet<String> {
    let now: BTreeSet<String> =
        store.list::<Namespace>().filter_map(|namespace| namespace.metadata.name.clone()).collect();
    before.difference(&now).for_each(|gone| zone.remove_namespace(gone));
    now.iter().for_each(|name| zone.put_namespace(name));
    now
}

fn follow_services(store: &Store, zone: &mut Zone, before: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    let mut now = BTreeSet::new();
    for service in store.list::<Service>() {
        let name = ServiceName::of(service);
        let entry = service_entry(store, service, &name);
        if zone.service(&name.namespace, &name.name) != Some(&entry) {
            zone.put_service(entry);
        }
        now.insert(name);
    }
    before.difference(&now).for_each(|gone| zone.remove_service(&gone.namespace, &gone.name));
    now
}

fn follow_pods(
    store: &Store,
    zone: &mut Zone,
    before: &BTreeSet<(String, String)>,
) -> BTreeSet<(String, String)> {
    let mut now = BTreeSet::new();
    for pod in store.list::<Pod>() {
        let name = (
            pod.metadata.namespace.clone().unwrap_or_default(),
            pod.metadata.name.clone().unwrap_or_default(),
        );
        let ips: Vec<IpAddr> = pod_state::addresses(pod).iter().filter_map(|ip| ip.parse().ok()).collect();
        if ips.is_empty() {
            zone.remove_pod(&name.0, &name.1);
        } else {
            zone.put_pod(&name.0, &name.1, &ips);
        }
        now.insert(name);
    }
    before.difference(&now).for_each(|gone| zone.remove_pod(&gone.0, &gone.1));
    now
}

fn service_entry(store: &Store, service: &Service, name: &ServiceName) -> dns::Service {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some(Port { name: port.name.clone().unwrap_or_default(), protocol, number })
    });
    let slices = store.list_in::<EndpointSlice>(&name.namespace);
    let slices = slices.filter(|slice| ServiceName::of_slice(slice).as_ref() == Some(name));
    dns::Service {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        kind: kind_of(&spec),
        ports: ports.collect(),
        slices: slices.map(slice_entry).collect(),
    }
}

fn kind_of(spec: &k8s_openapi::api::core::v1::ServiceSpec) -> ServiceKind {
    if spec.type_.as_deref() == Some("ExternalName") {
        return ServiceKind::ExternalName(spec.external_name.clone().unwrap_or_default());
    }
    let all =
        spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip])).unwrap_or_default();
    if all.iter().any(|ip| ip == "None") {
        return ServiceKind::Headless;
    }
    ServiceKind::ClusterIp(all.iter().filter_map(|ip| ip.parse().ok()).collect())
}

fn slice_entry(slice: &Arc<EndpointSlice>) -> Slice {
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol,
            number: u16::try_from(port.port?).ok()?,
        })
    });
    let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
        Some(Endpoint {
            ip: endpoint.addresses.first()?.parse().ok()?,
            hostname: endpoint.hostname.clone(),
            pod: endpoint.target_ref.as_ref().and_then(|target| target.name.clone()),
            zone: endpoint.zone.clone(),
            ready: endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true),
        })
    });
    Slice { ports: ports.collect(), endpoints: endpoints.collect() }
}

/// The names that the internet knows: those of the cluster file, and those that load balancers publish.
pub fn upstream(cluster: &ClusterFile, store: &Store) -> Upstream {
    let mut upstream = Upstream::default();
    for service in store.list::<Service>() {
        for (name, addresses) in super::cloud::published_names(service) {
            upstream.put(&name, UpstreamName { addresses, truncated: false });
        }
    }
    for (pattern, targets) in &cluster.external_names {
        let addresses =
            targets.0.iter().flat_map(|target| outside_addresses(target, cluster, store)).collect();
        upstream.put(&pattern.to_string(), UpstreamName { addresses, truncated: false });
    }
    upstream
}

fn outside_addresses(target: &OutsideTarget, cluster: &ClusterFile, store: &Store) -> Vec<IpAddr> {
    match target {
        OutsideTarget::Address(address) => vec![*address],
        OutsideTarget::Node(name) => {
            let named = cluster.nodes.iter().filter(|node| node.name == *name);
            named.flat_map(|node| node.addresses.iter().copied()).collect()
        }
        OutsideTarget::Service(service) => {
            let service = store.get::<Service>(&service.namespace, &service.name);
            service.map(|service| super::cloud::addresses_of(service)).unwrap_or_default()
        }
    }
}

/// Keeps the names that the internet knows up to date in both resolvers.
pub async fn follow_internet(api: Api, cluster: Rc<ClusterFile>, zones: Vec<SharedZone>) {
    let mut watch = api.watch(&[Kind::Service]);
    loop {
        watch.next(timing::DNS_LAG).await;
        let names = api.read(|store| upstream(&cluster, store));
        for zone in &zones {
            if zone.borrow().upstream != names {
                zone.borrow_mut().upstream = names.clone();
            }
        }
    }
}

/// The program of a CoreDNS container.
pub fn core_dns(container: &Container, zone: SharedZone) -> Process {
    let (ready, is_ready) = watch::channel(false);
    let addresses = container.addresses.clone();
    let random = hopwise_engine::stream(&format!("dns/{}", container.pod));
    let run = async move {
        ready.send_replace(true);
        serve(addresses, zone, random).await
    };
    Process { run: Box::pin(run), ready: is_ready }
}

/// Answers DNS queries on port 53 of `addresses`, by UDP and TCP.
pub async fn serve(addresses: Vec<IpAddr>, zone: SharedZone, random: Stream) -> String {
    let random = Rc::new(RefCell::new(random));
    for address in addresses {
        let address = SocketAddr::new(address, 53);
        host::spawn(serve_udp(address, zone.clone(), random.clone()));
        host::spawn(serve_tcp(address, zone.clone(), random.clone()));
    }
    std::future::pending().await
}

fn reply(
    zone: &SharedZone,
    random: &Rc<RefCell<Stream>>,
    query: &[u8],
    transport: Transport,
) -> Option<Vec<u8>> {
    dns::answer(&zone.borrow(), query, transport, Some(&mut *random.borrow_mut()))
}

async fn serve_udp(address: SocketAddr, zone: SharedZone, random: Rc<RefCell<Stream>>) {
    let Ok(socket) = UdpSocket::bind(address).await else { return };
    let mut buffer = vec![0; 4096];
    // An ICMP error about an earlier reply is of no concern to a server.
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(reply) = reply(&zone, &random, &buffer[..length], Transport::Udp) {
            let _ = socket.send_to(&reply, peer).await;
        }
    }
}

async fn serve_tcp(address: SocketAddr, zone: SharedZone, random: Rc<RefCell<Stream>>) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        host::spawn(serve_connection(stream, zone.clone(), random.clone()));
    }
}

/// One connection; each message has two bytes of length before it (RFC 1035 4.2.2).
async fn serve_connection(mut stream: TcpStream, zone: SharedZone, random: Rc<RefCell<Stream>>) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        if stream.read_exact(&mut query).await.is_err() {
            return;
        }
        let Some(reply) = reply(&zone, &random, &query, Transport::Tcp) else { return };
        let Ok(length) = u16::try_from(reply.len()) else { return };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(reply);
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}
