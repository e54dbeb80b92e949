//! Relays in front of a served broker's listeners, through which faults of links act.
//!
//! A relay listens where clients and other brokers are told that the listener is, for as long as the broker listens
//! behind it, so that a broker that is not there refuses connections here too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hopwise_fabric::net::origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::links::{End, Links, Pace};

/// Between two looks whether the broker listens.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that are on the way at a time; more wait with their sender.
const PIECES_MAX: usize = 64;

/// One listener's relay.
#[derive(Clone)]
pub(super) struct Relay {
    /// Where clients are told that the listener is.
    pub shown: SocketAddr,
    /// Where it is.
    pub behind: SocketAddr,
    /// Whose it is.
    pub broker: usize,
    /// The ways.
    pub links: Arc<Links>,
    /// Whether it listens.
    open: Arc<AtomicBool>,
}

/// A relay that listens, until it is dropped.
struct Open {
    /// None while it is dropped.
    listener: Option<TcpListener>,
    open: Arc<AtomicBool>,
}

impl Open {
    fn new(listener: TcpListener, open: Arc<AtomicBool>) -> Open {
        open.store(true, Ordering::Relaxed);
        Open { listener: Some(listener), open }
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.listener {
            Some(listener) => listener.accept().await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Relaxed);
        let listener = self.listener.take().map(TcpListener::into_std);
        // Whoever waits to be accepted is turned away, and its port is not another's to be taken for it.
        while let Some(Ok(listener)) = &listener
            && let Ok((_, peer)) = listener.accept()
        {
            origin::forget_port(peer.port());
        }
    }
}

impl Relay {
    /// A relay between these addresses of a broker's listener.
    pub fn new(shown: SocketAddr, behind: SocketAddr, broker: usize, links: &Arc<Links>) -> Relay {
        Relay { shown, behind, broker, links: Arc::clone(links), open: Arc::default() }
    }

    /// Whether clients can connect to it.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Relays connections for ever; its connections end when it is dropped.
    pub async fn run(self) {
        while TcpStream::connect(self.behind).await.is_err() {
            sleep(LOOK_EVERY).await;
        }
        let listener = loop {
            match TcpListener::bind(self.shown).await {
                Ok(listener) => break listener,
                // The connections of a broker that was killed may hold the address for a moment.
                Err(_) => sleep(LOOK_EVERY).await,
            }
        };
        let listener = Open::new(listener, Arc::clone(&self.open));
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((client, peer)) => {
                    let far = end_of(peer);
                    connections.spawn(self.clone().connection(client, far));
                }
                // Too many open files, for instance.
                Err(_) => sleep(LOOK_EVERY).await,
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(self, client: TcpStream, far: End) {
        let near = End::Broker(self.broker);
        // The first packet of a connection has to come through, too.
        self.links.passable((far, near), 0).await;
        let Ok(server) = TcpStream::connect(self.behind).await else { return };
        // Only latency depends on it.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::join!(
            carry(from_client, to_server, &self.links, (far, near)),
            carry(from_server, to_client, &self.links, (near, far)),
        );
    }
}

/// Whose a connection is that was accepted. Its port is forgotten here and now: when the connection has ended, the port may
/// soon be somebody else's.
fn end_of(peer: SocketAddr) -> End {
    let of_broker = origin::of_port(peer.port()).and_then(|broker| usize::try_from(broker).ok());
    origin::forget_port(peer.port());
    of_broker.map_or(End::Outside, End::Broker)
}

/// One direction, to its end.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, links: &Links, way: (End, End)) {
    let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    let read = async move {
        let mut pace = Pace::default();
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            match from.read_buf(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(bytes) => {
                    let at = links.arrives(way, bytes, &mut pace);
                    if sender.send((at, piece)).await.is_err() {
                        break;
                    }
                }
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = pieces.recv().await {
            sleep_until(at).await;
            links.passable(way, piece.len()).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        // The end takes the same way.
        links.passable(way, 0).await;
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::net::Ipv4Addr;
    use std::pin::pin;

    use super::*;

    /// A connection of a broker's.
    async fn connect(broker: u32, to: SocketAddr) -> hopwise_fabric::net::TcpStream {
        let mut connecting = pin!(hopwise_fabric::net::TcpStream::connect(to));
        let connected = poll_fn(|cx| origin::as_origin(Some(broker), || connecting.as_mut().poll(cx))).await;
        connected.expect("it listens")
    }

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("has one");
        (listener, address)
    }

    fn port(stream: &hopwise_fabric::net::TcpStream) -> u16 {
        stream.local_addr().expect("has one").port()
    }

    #[tokio::test]
    async fn a_port_is_forgotten_once_its_connection_is_known() {
        let (listener, address) = listener().await;
        let stream = connect(7, address).await;
        assert_eq!(origin::of_port(port(&stream)), Some(7));
        let (_accepted, peer) = listener.accept().await.expect("it connects");
        assert_eq!(end_of(peer), End::Broker(7));
        assert_eq!(end_of(peer), End::Outside, "the port is known no longer than needed");
    }

    #[tokio::test]
    async fn ports_of_connections_that_nobody_accepted_are_forgotten() {
        let (listener, address) = listener().await;
        let open = Arc::default();
        let relay = Open::new(listener, Arc::clone(&open));
        let streams = [connect(7, address).await, connect(8, address).await];
        assert!(open.load(Ordering::Relaxed) && origin::of_port(port(&streams[1])) == Some(8));
        drop(relay);
        assert!(!open.load(Ordering::Relaxed));
        assert!(streams.iter().all(|stream| origin::of_port(port(stream)).is_none()));
    }
}
