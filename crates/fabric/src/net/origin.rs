//! Who in this process opened a connection of the machine's.
//!
//! Programs that share a process share its addresses, so that a peer cannot tell them apart by where a connection comes
//! from. Work inside [`as_origin`] opens its connections from ports that [`of_port`] tells the origin of; elsewhere, and
//! in the simulation, nothing is kept.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpSocket, TcpStream};

thread_local! {
    static CURRENT: Cell<Option<u32>> = const { Cell::new(None) };
}

static PORTS: Mutex<BTreeMap<u16, u32>> = Mutex::new(BTreeMap::new());

fn ports() -> MutexGuard<'static, BTreeMap<u16, u32>> {
    PORTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works as an origin: one poll of a future, for instance.
pub fn as_origin<R>(origin: Option<u32>, work: impl FnOnce() -> R) -> R {
    let before = CURRENT.replace(origin);
    let result = work();
    CURRENT.set(before);
    result
}

/// Who opened the connection that comes from a port of this machine.
pub fn of_port(port: u16) -> Option<u32> {
    ports().get(&port).copied()
}

/// The connection from a port has ended.
pub fn forget_port(port: u16) {
    ports().remove(&port);
}

/// Connects; the port is known before the peer sees the connection.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let Some(origin) = CURRENT.get() else { return TcpStream::connect(address).await };
    let (socket, any) = match address {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, SocketAddr::from(([0; 4], 0))),
        SocketAddr::V6(_) => (TcpSocket::new_v6()?, SocketAddr::from(([0_u16; 8], 0))),
    };
    socket.bind(any)?;
    let port = socket.local_addr()?.port();
    ports().insert(port, origin);
    socket.connect(address).await.inspect_err(|_| forget_port(port))
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_can_ask_who_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connecting = pin!(connect(address));
        let _named = poll_fn(|cx| as_origin(Some(7), || connecting.as_mut().poll(cx))).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(of_port(peer.port()), Some(7));
        forget_port(peer.port());
        assert_eq!(of_port(peer.port()), None);
        let _unnamed = connect(address).await.unwrap();
        assert_eq!(of_port(listener.accept().await.unwrap().1.port()), None);
    }
}
