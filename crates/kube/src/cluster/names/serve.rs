//! A name server's sockets: UDP and TCP on port 53.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hopwise_engine::host;
use hopwise_engine::random::Stream;
use hopwise_fabric::net::{TcpListener, TcpStream, UdpSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::node_cache::NodeCache;
use super::{DnsTrouble, SharedServer};
use crate::dns::Transport;

/// The longest datagram that a client may ask with, in bytes (EDNS, as CoreDNS reads).
const QUERY_MAX: usize = 4096;

/// What answers.
#[derive(Clone)]
pub enum Answering {
    /// A server that answers from what it knows.
    Server(SharedServer, Rc<RefCell<Stream>>, DnsTrouble),
    /// A node's cache, which may have to ask first.
    Cache(Rc<NodeCache>),
}

impl Answering {
    /// A server; the order of addresses is drawn from `random`.
    pub fn server(server: SharedServer, random: Stream, trouble: DnsTrouble) -> Answering {
        Answering::Server(server, Rc::new(RefCell::new(random)), trouble)
    }

    async fn reply(&self, client: IpAddr, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let trouble = self.trouble();
        if trouble.is_down() {
            // A datagram is lost on a silent server; a connection waits for it.
            match transport {
                Transport::Udp => return None,
                Transport::Tcp => trouble.up().await,
            }
        }
        trouble.wait().await;
        match self {
            Answering::Server(server, random, trouble) => {
                let now = trouble.cache_time(hopwise_engine::now());
                let mut random = random.borrow_mut();
                server.borrow_mut().reply(now, client, query, transport, &mut *random)
            }
            Answering::Cache(cache) => cache.reply(query, transport).await,
        }
    }

    /// What is wrong with whoever answers.
    fn trouble(&self) -> &DnsTrouble {
        match self {
            Answering::Server(_, _, trouble) => trouble,
            Answering::Cache(cache) => cache.trouble(),
        }
    }

    /// Whether a reply can take time, in which other queries are not to wait.
    fn waits(&self) -> bool {
        matches!(self, Answering::Cache(_)) || self.trouble().delays()
    }
}

/// Answers DNS queries on port 53 of `addresses`, by UDP and TCP.
pub async fn serve(addresses: Vec<IpAddr>, answering: Answering) -> String {
    for address in addresses {
        let address = SocketAddr::new(address, 53);
        host::spawn(serve_udp(address, answering.clone()));
        host::spawn(serve_tcp(address, answering.clone()));
    }
    std::future::pending().await
}

async fn serve_udp(address: SocketAddr, answering: Answering) {
    let Ok(socket) = UdpSocket::bind(address).await else { return };
    let socket = Rc::new(socket);
    let mut buffer = vec![0; QUERY_MAX];
    // An ICMP error about an earlier reply is of no concern to a server.
    loop {
        let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let answer = reply_to(socket.clone(), answering.clone(), buffer[..length].to_vec(), peer);
        if answering.waits() {
            host::spawn(answer);
        } else {
            answer.await;
        }
    }
}

async fn reply_to(socket: Rc<UdpSocket>, answering: Answering, query: Vec<u8>, peer: SocketAddr) {
    if let Some(reply) = answering.reply(peer.ip(), &query, Transport::Udp).await {
        let _ = socket.send_to(&reply, peer).await;
    }
}

async fn serve_tcp(address: SocketAddr, answering: Answering) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((stream, peer)) = listener.accept().await {
        host::spawn(serve_connection(stream, peer.ip(), answering.clone()));
    }
}

async fn serve_connection(mut stream: TcpStream, client: IpAddr, answering: Answering) {
    while let Some(query) = read_message(&mut stream).await {
        let Some(reply) = answering.reply(client, &query, Transport::Tcp).await else { return };
        if write_message(&mut stream, &reply).await.is_none() {
            return;
        }
    }
}

/// A message from a connection; each has two bytes of length before it (RFC 1035 4.2.2).
pub(super) async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

pub(super) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> Option<()> {
    let mut framed = u16::try_from(message.len()).ok()?.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await.ok()
}
