//! NodeLocal DNSCache: a DaemonSet of caches, one on each node's own network, that pods ask instead of CoreDNS.
//!
//! Answers are kept 30 s, denials 5 s, by each node for itself (kubernetes.md 5.3). What it has not kept it asks CoreDNS
//! over TCP. Left out: names outside by another upstream than CoreDNS, prefetch, serve_stale.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::host;
use hopwise_engine::random::Stream;
use hopwise_fabric::DeviceId;
use hopwise_fabric::net::TcpStream;

use super::super::topology::linux_node;
use super::DnsTrouble;
use super::serve::{Answering, read_message, serve, write_message};
use crate::dns::{CacheOptions, Forwarder, Transport};

/// The address that it listens on at each node (Kubernetes, "Using NodeLocal DNSCache in Kubernetes Clusters").
pub const NODE_CACHE_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 20, 10);

/// How long it waits for CoreDNS (CoreDNS, plugin/forward: a read times out after 2 s) before it fails the query.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(2);

/// A node's cache as it is shared.
pub type SharedCache = Rc<RefCell<Forwarder>>;

/// The cache of one node.
pub struct NodeCache {
    cache: SharedCache,
    core_dns: SocketAddr,
    random: RefCell<Stream>,
    trouble: DnsTrouble,
}

impl NodeCache {
    /// What is wrong with it.
    pub fn trouble(&self) -> &DnsTrouble {
        &self.trouble
    }

    /// Replies from the cache, or asks CoreDNS first.
    pub async fn reply(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let now = self.trouble.cache_time(hopwise_engine::now());
        let kept = self.cache.borrow().reply(now, query, transport, &mut *self.random.borrow_mut());
        let question = match kept {
            Ok(reply) => return reply,
            Err(question) => question,
        };
        let asked = tokio::time::timeout(FORWARD_TIMEOUT, ask(self.core_dns, &question.message)).await;
        let reply = asked.ok().flatten();
        let mut random = self.random.borrow_mut();
        let now = self.trouble.cache_time(hopwise_engine::now());
        self.cache.borrow_mut().replied(now, &question, reply.as_deref(), transport, &mut *random)
    }
}

async fn ask(server: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.ok()?;
    write_message(&mut stream, query).await?;
    read_message(&mut stream).await
}

/// Starts the cache of a node.
pub fn start(node: &str, device: DeviceId, core_dns: IpAddr, trouble: &DnsTrouble) -> SharedCache {
    let cache: SharedCache = Rc::new(RefCell::new(Forwarder::new(CacheOptions::node_local())));
    let address = IpAddr::V4(NODE_CACHE_ADDRESS);
    let machine = host::create(&format!("node-local-dns on {node}"));
    hopwise_fabric::with(|fabric| {
        fabric.attach(machine, device);
        linux_node(fabric, device).add_address(address);
    });
    let server = NodeCache {
        cache: cache.clone(),
        core_dns: SocketAddr::new(core_dns, 53),
        random: RefCell::new(hopwise_engine::stream(&format!("dns/node/{node}"))),
        trouble: trouble.clone(),
    };
    host::spawn_on(machine, serve(vec![address], Answering::Cache(Rc::new(server))));
    cache
}
