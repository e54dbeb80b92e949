//! Name look-ups over the fabric: the resolver's state machine, with sockets.
//!
//! Queries leave the host as DNS messages by UDP (and by TCP after a reply that was cut), so a look-up takes the
//! time and meets the failures that the network has for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hopwise_engine::Time;
use hopwise_engine::host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::resolver::{Lookup, QueryTrace, Step, Transport};
use super::{TcpStream, UdpSocket};
use crate::fabric;

/// What a look-up found, and every query it sent.
#[derive(Debug)]
pub struct Resolved {
    /// The addresses, or why there are none.
    pub result: io::Result<Vec<IpAddr>>,
    /// The queries, in order.
    pub queries: Vec<QueryTrace>,
}

/// Looks `name` up as the current host's resolver does, and tells every query.
pub async fn lookup_traced(name: &str) -> Resolved {
    let config = fabric::with(|fabric| {
        let device = fabric.device_of(host::current())?;
        Some(fabric.resolver_of(device))
    });
    let Some((config, first_id)) = config else {
        let error = io::Error::new(io::ErrorKind::NetworkUnreachable, "the host has no network");
        return Resolved { result: Err(error), queries: Vec::new() };
    };
    let mut lookup = Lookup::new(config, name, first_id);
    let mut socket = None;
    let result = loop {
        match lookup.next(hopwise_engine::now()) {
            Step::Finished(result) => break result.map_err(io::Error::from),
            Step::Send { server, transport: Transport::Udp, message } => {
                if send(&mut socket, server, &message).await.is_err() {
                    lookup.unreachable(Transport::Udp);
                }
            }
            Step::Send { server, transport: Transport::Tcp, message } => {
                match ask_by_tcp(SocketAddr::new(server, 53), &message).await {
                    Ok(reply) => lookup.reply(Transport::Tcp, &reply),
                    Err(_) => lookup.unreachable(Transport::Tcp),
                }
            }
            Step::Wait { until } => wait(&mut lookup, socket.as_ref(), until).await,
        }
    };
    Resolved { result, queries: lookup.trace().to_vec() }
}

/// Sends a query from a socket that is connected to the server, so that ICMP errors are heard.
async fn send(socket: &mut Option<(IpAddr, UdpSocket)>, server: IpAddr, message: &[u8]) -> io::Result<()> {
    if socket.as_ref().is_none_or(|(to, _)| *to != server) {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let fresh = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
        fresh.connect(SocketAddr::new(server, 53)).await?;
        *socket = Some((server, fresh));
    }
    if let Some((_, socket)) = socket {
        socket.send(message).await?;
    }
    Ok(())
}

/// Waits for one reply or error, at most until `until`.
async fn wait(lookup: &mut Lookup, socket: Option<&(IpAddr, UdpSocket)>, until: Time) {
    let left = Duration::from(until - hopwise_engine::now());
    let Some((_, socket)) = socket else {
        tokio::time::sleep(left).await;
        return;
    };
    let mut buffer = vec![0; 4096];
    match timeout(left, socket.recv(&mut buffer)).await {
        Ok(Ok(length)) => lookup.reply(Transport::Udp, &buffer[..length]),
        Ok(Err(_)) => lookup.unreachable(Transport::Udp),
        Err(_) => {}
    }
}

async fn ask_by_tcp(server: SocketAddr, message: &[u8]) -> io::Result<Vec<u8>> {
    // glibc waits as long for a stream as for a datagram.
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
        let mut reply = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut reply).await?;
        Ok(reply)
    };
    timeout(Duration::from_secs(5), exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
