//! Relays in front of a served broker's listeners, through which faults of links act.
//!
//! A relay listens where clients and other brokers are told that the listener is, for as long as the broker listens
//! behind it, so that a broker that is not there refuses connections here too.

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
struct Open(Arc<AtomicBool>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
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
        self.open.store(true, Ordering::Relaxed);
        let _open = Open(Arc::clone(&self.open));
        let mut connections = JoinSet::new();
        loop {
            match listener.accept().await {
                Ok((client, peer)) => {
                    connections.spawn(self.clone().connection(client, peer));
                }
                // Too many open files, for instance.
                Err(_) => sleep(LOOK_EVERY).await,
            }
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(self, client: TcpStream, peer: SocketAddr) {
        let _known = Known(peer.port());
        let of_broker = origin::of_port(peer.port()).and_then(|broker| usize::try_from(broker).ok());
        let (far, near) = (of_broker.map_or(End::Outside, End::Broker), End::Broker(self.broker));
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

/// A port whose origin is known until the connection ends.
struct Known(u16);

impl Drop for Known {
    fn drop(&mut self) {
        origin::forget_port(self.0);
    }
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
