//! turmoil's sockets.
//!
//! What differs from the fabric there, by turmoil 0.7: listeners stand on `0.0.0.0`, `::` or loopback only; a host has one
//! address, and its name is the one that the simulation gave it; a connection to a port where nobody listens is refused by
//! a reset, and one to a host that is held or cut off waits for ever.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use regex::Regex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use super::{Acceptor, Connection, Datagrams, Later, Network};

/// The network of the turmoil simulation that runs on this thread.
#[derive(Debug)]
pub(super) struct Turmoil;

/// A connection. Both directions are polled under one lock, which is never held while a task waits.
#[derive(Debug)]
struct Stream {
    local: SocketAddr,
    peer: SocketAddr,
    stream: Mutex<TcpStream>,
    shut_down: AtomicBool,
}

type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send>>;

/// A listener. turmoil only has an `async fn accept`, which is kept while it waits.
struct Listener {
    local: SocketAddr,
    listener: Arc<TcpListener>,
    accepting: Mutex<Option<Accepting>>,
}

struct Socket {
    local: SocketAddr,
    socket: UdpSocket,
}

impl Network for Turmoil {
    fn connect(&self, to: SocketAddr) -> Later<'static, Box<dyn Connection>> {
        Box::pin(async move { connection(TcpStream::connect(to).await?) })
    }

    fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Acceptor>> {
        let mut binding = Box::pin(TcpListener::bind(address));
        let Poll::Ready(bound) = binding.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::Error::other("turmoil's listener waits, which version 0.7 does not"));
        };
        let listener = Arc::new(bound?);
        let local = listener.local_addr()?;
        Ok(Box::new(Listener { local, listener, accepting: Mutex::new(None) }))
    }

    fn bind(&self, address: SocketAddr) -> Later<'static, Box<dyn Datagrams>> {
        Box::pin(async move {
            let socket = UdpSocket::bind(address).await?;
            let local = socket.local_addr()?;
            Ok(Box::new(Socket { local, socket }) as Box<dyn Datagrams>)
        })
    }

    /// `turmoil::lookup` would invent an address for a name that it does not know; by a pattern it only finds those that
    /// hosts were given.
    fn look_up(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let pattern = Regex::new(&format!("^{}$", regex::escape(host))).map_err(io::Error::other)?;
        let found = turmoil::lookup_many(pattern);
        if found.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no host of the turmoil simulation is named {host}"),
            ));
        }
        Ok(found)
    }
}

fn connection(stream: TcpStream) -> io::Result<Box<dyn Connection>> {
    let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
    Ok(Box::new(Stream { local, peer, stream: Mutex::new(stream), shut_down: AtomicBool::new(false) }))
}

/// The lock's content; a task that panicked has left a stream that can be read and written all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection for Stream {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_read(cx, buffer)
    }

    fn poll_peek(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        lock(&self.stream).poll_peek(cx, buffer)
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.stream)).poll_write(cx, bytes)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = lock(&self.stream);
        pin!(stream.writable()).poll(cx)
    }

    fn shut_down(&self) -> io::Result<()> {
        // A simulation that is being taken down has nobody to send it to.
        if self.shut_down.swap(true, Ordering::Relaxed) || !turmoil::in_simulation() {
            return Ok(());
        }
        let ended = Pin::new(&mut *lock(&self.stream)).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        match ended {
            // The peer has reset the connection: there is nothing left to end.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Poll::Ready(ended) => ended,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Acceptor for Listener {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Box<dyn Connection>>> {
        let mut accepting = lock(&self.accepting);
        let waits = accepting.get_or_insert_with(|| {
            let listener = self.listener.clone();
            Box::pin(async move { listener.accept().await })
        });
        let accepted = ready!(waits.as_mut().poll(cx));
        *accepting = None;
        Poll::Ready(accepted.and_then(|(stream, _)| connection(stream)))
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Datagrams for Socket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.socket.try_send_to(bytes, to)
    }

    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> Later<'a, (usize, SocketAddr)> {
        Box::pin(self.socket.recv_from(buffer))
    }

    fn readable(&self) -> Later<'_, ()> {
        Box::pin(self.socket.readable())
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.socket.try_recv_from(buffer)
    }
}
