//! Networks of other simulators, on which the same sockets can stand: turmoil's (feature `turmoil`).
//!
//! Such a network chooses itself: whoever runs inside one of its simulations opens sockets there. Only what brokers and
//! clients need is asked of it: streams, listeners, datagrams and names. Options that it does not know (keep-alive, time
//! to live) are accepted and have no effect; routes are not traced there.

#[cfg(feature = "turmoil")]
mod turmoil;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

/// What a network gives when it is waited for.
pub(super) type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A network of another simulator, as the current host sees it.
pub(super) trait Network: Debug + Sync {
    fn connect(&self, to: SocketAddr) -> Later<'static, Box<dyn Connection>>;

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>>;

    fn bind(&self, address: SocketAddr) -> Later<'static, Box<dyn Datagrams>>;

    /// The addresses of a name or of a numeric address; [`io::ErrorKind::NotFound`] if there is no such name.
    fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// A connection; of each direction one task at a time may wait.
pub(super) trait Connection: Debug + Send + Sync {
    fn local_addr(&self) -> SocketAddr;

    fn peer_addr(&self) -> SocketAddr;

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;

    /// Copies what has arrived without taking it and tells its length in bytes, 0 at the end of the stream.
    fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>>;

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Sends FIN, once.
    fn shut_down(&self) -> io::Result<()>;
}

/// A listener; one task at a time may wait in it.
pub(super) trait Acceptor: Debug + Send + Sync {
    fn local_addr(&self) -> SocketAddr;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Connection>>>;
}

/// A UDP socket.
pub(super) trait Datagrams: Debug + Send + Sync {
    fn local_addr(&self) -> SocketAddr;

    /// Sends without waiting: other simulators' sockets have room.
    fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;

    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> Later<'a, (usize, SocketAddr)>;

    fn readable(&self) -> Later<'_, ()>;

    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
}

/// The network of the simulation that the current thread is in, if another simulator's it is.
pub(super) fn current() -> Option<&'static dyn Network> {
    #[cfg(feature = "turmoil")]
    if ::turmoil::in_simulation() {
        return Some(&turmoil::Turmoil);
    }
    None
}
