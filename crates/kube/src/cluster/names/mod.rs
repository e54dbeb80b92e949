//! Name service: CoreDNS inside the cluster, a resolver on the internet outside, and a cache on each node if wanted.
//!
//! CoreDNS pods are ordinary pods behind the kube-dns Service. Each has a zone and a cache of its own and follows the
//! API server from its start on, so a pod that starts while the API server is away knows nothing (kubernetes.md 9.10),
//! and one that is away from it goes on with what it knew. Names outside the cluster are known to all at once.

mod follow;
mod node_cache;
mod outside;
mod resolv_conf;
mod serve;
mod trouble;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::{Rc, Weak};

use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::{Span, host};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use super::api::Api;
use super::operations::DnsServers;
use super::programs::{Container, Process};
use super::state::{Assumption, Shared};
use super::timing;
use crate::cluster_file::ClusterFile;
use crate::dns::{Corefile, Explanation, Server, SharedUpstream};

pub use node_cache::NODE_CACHE_ADDRESS;
pub use resolv_conf::ResolvConf;
pub use serve::{Answering, serve};
pub use trouble::DnsTrouble;

/// The image of the cluster's own DNS servers.
pub const COREDNS_IMAGE: &str = "registry.k8s.io/coredns/coredns";

/// A DNS server that tasks share.
pub type SharedServer = Rc<RefCell<Server>>;

/// A CoreDNS pod's server and its way to the API server.
struct ClusterServer {
    server: Weak<RefCell<Server>>,
    api: Api,
}

/// What a server would answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The CoreDNS pod.
    pub server: String,
    /// The addresses of the answer.
    pub addresses: Vec<IpAddr>,
    /// For how long it may go on giving the same from its cache; zero if the answer is none of the cache's.
    pub cached: Span,
    /// Whether it hears of changes now.
    pub learns: bool,
}

/// The cluster's name servers.
pub struct Names {
    corefile: Corefile,
    upstream: SharedUpstream,
    internet: SharedServer,
    /// By the CoreDNS pod's name.
    servers: RefCell<BTreeMap<String, ClusterServer>>,
    node_caches: RefCell<BTreeMap<String, node_cache::SharedCache>>,
    /// Changes of names outside that are not published yet.
    unpublished: RefCell<bool>,
    cluster_trouble: DnsTrouble,
    cache_trouble: DnsTrouble,
    internet_trouble: DnsTrouble,
}

impl Names {
    /// The name servers of a cluster: configured by its ConfigMap `kube-system/coredns` if it has one.
    pub fn of(domain: &str, config: Option<&ConfigMap>) -> (Rc<Names>, Vec<Assumption>) {
        let (corefile, assumptions) = corefile_of(domain, config);
        let upstream = SharedUpstream::default();
        let mut internet = Server::new(&Corefile::internet());
        internet.zone.upstream = upstream.clone();
        let names = Names {
            corefile,
            upstream,
            internet: Rc::new(RefCell::new(internet)),
            servers: RefCell::default(),
            node_caches: RefCell::default(),
            unpublished: RefCell::new(true),
            cluster_trouble: DnsTrouble::default(),
            cache_trouble: DnsTrouble::default(),
            internet_trouble: DnsTrouble::default(),
        };
        (Rc::new(names), assumptions)
    }

    /// What is wrong with some servers.
    pub fn trouble(&self, servers: DnsServers) -> &DnsTrouble {
        match servers {
            DnsServers::Cluster => &self.cluster_trouble,
            DnsServers::NodeCaches => &self.cache_trouble,
            DnsServers::Internet => &self.internet_trouble,
        }
    }

    /// The internet's resolver.
    pub fn internet(&self) -> SharedServer {
        self.internet.clone()
    }

    /// The addresses that the internet's DNS has for a name.
    pub fn addresses_outside(&self, name: &str) -> Vec<IpAddr> {
        let upstream = self.upstream.borrow();
        let mut name = name.to_owned();
        // As many aliases as a resolver follows.
        for _ in 0..8 {
            match upstream.get(&name) {
                Some(entry) if entry.alias.is_none() => return entry.addresses.clone(),
                Some(entry) => name = entry.alias.clone().unwrap_or_default(),
                None => break,
            }
        }
        Vec::new()
    }

    /// The names that the internet's DNS has.
    pub fn names_outside(&self) -> Vec<String> {
        self.upstream.borrow().names().map(ToOwned::to_owned).collect()
    }

    /// Whether the internet's DNS knows of every Service that is to have a name there.
    pub fn all_published(&self) -> bool {
        !*self.unpublished.borrow()
    }

    /// Why the internet's resolver answers as it does.
    pub fn explain_outside(&self, name: &Name, kind: RecordType) -> Explanation {
        self.internet.borrow().explain(hopwise_engine::now(), IpAddr::from([0, 0, 0, 0]), name, kind)
    }

    /// Why CoreDNS answers a client as it does: the first of its pods that runs, by name. `None` if none runs.
    pub fn explain(&self, client: IpAddr, name: &Name, kind: RecordType) -> Option<Explanation> {
        let servers = self.servers.borrow();
        let server = servers.values().find_map(|it| it.server.upgrade())?;
        let explanation = server.borrow().explain(hopwise_engine::now(), client, name, kind);
        Some(explanation)
    }

    /// What each running CoreDNS pod would answer a client with, without being asked.
    pub fn addresses_inside(&self, client: IpAddr, name: &Name, kind: RecordType) -> Vec<Addresses> {
        let (servers, now) = (self.servers.borrow(), hopwise_engine::now());
        let answers = servers.iter().filter_map(|(pod, entry)| {
            let server = entry.server.upgrade()?;
            let server = server.borrow();
            let (addresses, cached) = server.addresses(now, client, name, kind);
            let learns =
                entry.api.is_reachable() && server.zone.options.synced && self.cluster_trouble.may_learn();
            Some(Addresses { server: pod.clone(), addresses, cached, learns })
        });
        answers.collect()
    }

    /// Whether the cache of a node has kept the answer.
    pub fn is_kept_on(&self, node: &str, name: &Name, kind: RecordType) -> bool {
        let caches = self.node_caches.borrow();
        caches.get(node).is_some_and(|cache| cache.borrow().has_kept(hopwise_engine::now(), name, kind))
    }

    /// Follows what changes the names outside, until the end.
    pub async fn follow_outside(self: Rc<Self>, api: Api, cluster: Rc<ClusterFile>) {
        outside::follow(api, cluster, self).await;
    }

    /// Starts the cache of each node.
    pub fn start_node_caches(self: &Rc<Self>, shared: &Shared) {
        for machine in shared.machines.values() {
            let cache =
                node_cache::start(machine.name(), machine.device, shared.dns_address, &self.cache_trouble);
            self.node_caches.borrow_mut().insert(machine.name().to_owned(), cache);
        }
    }
}

/// The Corefile that CoreDNS starts with, and what of it is taken for granted. One that cannot be read is left for
/// kubeadm's: CoreDNS would go on with the last that could.
fn corefile_of(domain: &str, config: Option<&ConfigMap>) -> (Corefile, Vec<Assumption>) {
    let text = config.and_then(|config| config.data.as_ref()?.get("Corefile"));
    let Some(text) = text else { return (Corefile::kubeadm(domain), Vec::new()) };
    match Corefile::parse(text) {
        Ok(corefile) => {
            let ignored = corefile.ignored.iter().map(|ignored| Assumption::CorefileIgnored {
                line: ignored.line,
                what: ignored.what.clone(),
            });
            let ignored = ignored.collect();
            (corefile, ignored)
        }
        Err(error) => {
            let assumption = Assumption::CorefileIgnored { line: error.line, what: error.what };
            (Corefile::kubeadm(domain), vec![assumption])
        }
    }
}

/// The program of a CoreDNS container.
///
/// It waits up to 5 s for the API server's objects and then serves whatever it knows; it is ready once it has them
/// (kubernetes.md 5.2).
pub fn core_dns(names: &Rc<Names>, api: Api, container: &Container) -> Process {
    let (ready, is_ready) = watch::channel(false);
    let mut server = Server::new(&names.corefile);
    server.zone.upstream = names.upstream.clone();
    server.zone.options.synced = false;
    let needs_pods = server.needs_pods();
    let server = Rc::new(RefCell::new(server));
    let entry = ClusterServer { server: Rc::downgrade(&server), api: api.clone() };
    names.servers.borrow_mut().insert(container.pod.clone(), entry);
    let addresses = container.addresses.clone();
    let random = hopwise_engine::stream(&format!("dns/{}", container.pod));
    let trouble = names.cluster_trouble.clone();
    let run = async move {
        let follow = follow::follow(api, server.clone(), needs_pods, ready.clone(), trouble.clone());
        host::spawn(follow);
        let mut synced = ready.subscribe();
        let _ = tokio::time::timeout(timing::DNS_SYNC_WAIT, synced.wait_for(|ready| *ready)).await;
        serve(addresses, Answering::server(server, random, trouble)).await
    };
    Process { run: Box::pin(run), ready: is_ready }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hopwise_engine::Simulation;

    use super::*;
    use crate::dns::Reason;
    use crate::store::Store;

    /// A CoreDNS container without addresses: nothing asks it over the network.
    fn container() -> Container {
        Container {
            namespace: "kube-system".into(),
            pod: "coredns-0".into(),
            pod_uid: String::new(),
            name: "coredns".into(),
            image: COREDNS_IMAGE.into(),
            command: Vec::new(),
            environment: BTreeMap::new(),
            files: BTreeMap::new(),
            disks: BTreeMap::new(),
            ports: Vec::new(),
            addresses: Vec::new(),
            node: "node-0".into(),
            clock: Default::default(),
        }
    }

    #[test]
    fn a_coredns_that_starts_while_the_api_server_is_away_fails_names_of_the_cluster_alone() {
        let ran = Simulation::new(1).run((), || async {
            let api = Api::new(Store::default());
            api.write(|store, now| {
                let mut namespace = k8s_openapi::api::core::v1::Namespace::default();
                namespace.metadata.name = Some("demo".into());
                store.create(namespace, now)
            })
            .expect("a namespace");
            api.set_up(false);
            let (names, _) = Names::of("cluster.local", None);
            let process = core_dns(&names, api.clone(), &container());
            host::spawn(process.run);
            tokio::time::sleep(Duration::from_secs(6)).await;
            let reason = |name: &str| {
                let name = Name::from_ascii(name).expect("a name");
                let explained = names.explain(IpAddr::from([10, 0, 0, 1]), &name, RecordType::A);
                explained.expect("CoreDNS runs").reason
            };
            let away =
                (reason("rp.demo.svc.cluster.local."), reason("example.com."), *process.ready.borrow());
            api.set_up(true);
            tokio::time::sleep(Duration::from_secs(1)).await;
            (away, reason("rp.demo.svc.cluster.local."), *process.ready.borrow())
        });
        let missing = Reason::NoService { service: "demo/rp".into() };
        let away = (Reason::NotSynced, Reason::UnknownOutside, false);
        assert_eq!(ran.expect("it ends"), (away, missing, true));
    }
}
