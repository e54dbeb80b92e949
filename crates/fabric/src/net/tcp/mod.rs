//! TCP sockets.

mod connect;
mod listener;
mod socket;
mod split;

pub use connect::{ConnectError, connect_traced, connect_traced_within};
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::foreign::{self, Connection};
use super::simulated::{self, StreamOptions};
use crate::{KeepAlive, Route};

/// A TCP connection. Mirrors `tokio::net::TcpStream`.
#[derive(Debug)]
pub struct TcpStream(Stream);

#[derive(Debug)]
enum Stream {
    Machine(tokio::net::TcpStream),
    Simulated(simulated::Stream),
    Foreign(Box<dyn Connection>),
}

impl TcpStream {
    /// Opens a connection to `address`.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::connect`: refused, timed out, unreachable.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        if crate::is_installed() {
            let connected = simulated::Stream::connect(address, StreamOptions::default()).await;
            return connected.map(Self::of_simulated).map_err(|(error, _)| error);
        }
        Ok(TcpStream(match foreign::current() {
            Some(network) => Stream::Foreign(network.connect(address).await?),
            None => Stream::Machine(super::origin::connect(address).await?),
        }))
    }

    /// Like [`TcpStream::connect`], on behalf of `client`, whose peer this end is: the route that the client sees leads
    /// on along the new connection. A proxy connects so.
    ///
    /// # Errors
    /// As [`TcpStream::connect`].
    pub async fn connect_onward(address: SocketAddr, client: &TcpStream) -> io::Result<TcpStream> {
        let on_behalf_of = match &client.0 {
            Stream::Simulated(stream) if crate::is_installed() => Some(stream.handle()),
            _ => return Self::connect(address).await,
        };
        let options = StreamOptions { on_behalf_of, ..StreamOptions::default() };
        let connected = simulated::Stream::connect(address, options).await;
        connected.map(Self::of_simulated).map_err(|(error, _)| error)
    }

    /// The way the connection's packets went last, through proxies to the server behind them;
    /// `None` on the machine's sockets, and where connections are not traced.
    pub fn route(&self) -> Option<Route> {
        match &self.0 {
            Stream::Machine(_) | Stream::Foreign(_) => None,
            Stream::Simulated(stream) => stream.route(),
        }
    }

    /// The local address.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::local_addr`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Machine(stream) => stream.local_addr(),
            Stream::Simulated(stream) => Ok(stream.local_addr()),
            Stream::Foreign(stream) => Ok(stream.local_addr()),
        }
    }

    /// The peer's address, as this end sees it.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::peer_addr`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Machine(stream) => stream.peer_addr(),
            Stream::Simulated(stream) => Ok(stream.peer_addr()),
            Stream::Foreign(stream) => Ok(stream.peer_addr()),
        }
    }

    /// Takes the error that a call would report next.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::take_error`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        match &self.0 {
            Stream::Machine(stream) => stream.take_error(),
            Stream::Simulated(stream) => Ok(stream.take_error()),
            Stream::Foreign(_) => Ok(None),
        }
    }

    /// Whether Nagle's algorithm is off.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::nodelay`.
    pub fn nodelay(&self) -> io::Result<bool> {
        match &self.0 {
            Stream::Machine(stream) => stream.nodelay(),
            Stream::Simulated(stream) => Ok(stream.nodelay()),
            // Nothing is held back there.
            Stream::Foreign(_) => Ok(true),
        }
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::set_nodelay`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.set_nodelay(nodelay),
            Stream::Simulated(stream) => {
                stream.set_nodelay(nodelay);
                Ok(())
            }
            Stream::Foreign(_) => Ok(()),
        }
    }

    /// The time to live of what is sent.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::ttl`.
    pub fn ttl(&self) -> io::Result<u32> {
        match &self.0 {
            Stream::Machine(stream) => stream.ttl(),
            Stream::Simulated(stream) => Ok(stream.time_to_live().into()),
            Stream::Foreign(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Sets the time to live of what is sent, 1 to 255.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for another value.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.set_ttl(ttl),
            Stream::Simulated(stream) => {
                let ttl = u8::try_from(ttl).ok().filter(|ttl| *ttl > 0);
                stream.set_time_to_live(ttl.ok_or(io::ErrorKind::InvalidInput)?);
                Ok(())
            }
            Stream::Foreign(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Turns keep-alive on with these times, or off. tokio leaves this to the `socket2` crate.
    ///
    /// # Errors
    /// On the machine's sockets as `socket2::Socket::set_tcp_keepalive`.
    pub fn set_keepalive(&self, keep_alive: Option<KeepAlive>) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => set_machine_keepalive(&SockRef::from(stream), keep_alive),
            Stream::Simulated(stream) => {
                stream.set_keep_alive(keep_alive);
                Ok(())
            }
            Stream::Foreign(_) => Ok(()),
        }
    }

    /// Whether dropping the stream resets the connection: the linger time is zero.
    ///
    /// # Errors
    /// On the machine's sockets as `tokio::net::TcpStream::linger`.
    pub fn zero_linger(&self) -> io::Result<bool> {
        match &self.0 {
            Stream::Machine(stream) => Ok(stream.linger()?.is_some_and(|linger| linger.is_zero())),
            Stream::Simulated(stream) => Ok(stream.zero_linger()),
            Stream::Foreign(_) => Ok(false),
        }
    }

    /// Makes dropping the stream reset the connection.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::set_zero_linger`.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.set_zero_linger(),
            Stream::Simulated(stream) => {
                stream.set_zero_linger(true);
                Ok(())
            }
            Stream::Foreign(_) => Ok(()),
        }
    }

    /// Waits until a read does not wait.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::readable`.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.readable().await,
            Stream::Simulated(stream) => poll_fn(|cx| stream.poll_read_ready(cx)).await,
            Stream::Foreign(stream) => {
                let mut byte = [0];
                poll_fn(|cx| stream.poll_peek(cx, &mut ReadBuf::new(&mut byte))).await.map(|_| ())
            }
        }
    }

    /// Waits until a write does not wait.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::writable`.
    pub async fn writable(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.writable().await,
            Stream::Simulated(stream) => poll_fn(|cx| stream.poll_write_ready(cx)).await,
            Stream::Foreign(stream) => poll_fn(|cx| stream.poll_write_ready(cx)).await,
        }
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived; else as a read.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Stream::Machine(stream) => stream.try_read(buffer),
            Stream::Simulated(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                at_once(|cx| stream.poll_read(cx, &mut buffer))?;
                Ok(buffer.filled().len())
            }
            Stream::Foreign(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                at_once(|cx| stream.poll_read(cx, &mut buffer))?;
                Ok(buffer.filled().len())
            }
        }
    }

    /// Writes without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if the send buffer is full; else as a write.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Stream::Machine(stream) => stream.try_write(bytes),
            Stream::Simulated(stream) => at_once(|cx| stream.poll_write(cx, bytes)),
            Stream::Foreign(stream) => at_once(|cx| stream.poll_write(cx, bytes)),
        }
    }

    /// Waits for bytes and copies them without taking them.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::peek`.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Stream::Machine(stream) => stream.peek(buffer).await,
            Stream::Simulated(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                poll_fn(|cx| stream.poll_peek(cx, &mut buffer)).await
            }
            Stream::Foreign(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                poll_fn(|cx| stream.poll_peek(cx, &mut buffer)).await
            }
        }
    }

    /// Splits the stream into halves that borrow it.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Splits the stream into halves of their own.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    /// A stream of the fabric.
    pub(super) fn of_simulated(stream: simulated::Stream) -> TcpStream {
        TcpStream(Stream::Simulated(stream))
    }

    /// Reads; one task at a time may wait in it.
    fn poll_read_shared(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &self.0 {
            Stream::Machine(stream) => loop {
                ready!(stream.poll_read_ready(cx))?;
                match stream.try_read(buffer.initialize_unfilled()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => {
                        buffer.advance(read?);
                        return Poll::Ready(Ok(()));
                    }
                }
            },
            Stream::Simulated(stream) => stream.poll_read(cx, buffer),
            Stream::Foreign(stream) => stream.poll_read(cx, buffer),
        }
    }

    /// Writes; one task at a time may wait in it.
    fn poll_write_shared(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &self.0 {
            Stream::Machine(stream) => loop {
                ready!(stream.poll_write_ready(cx))?;
                match stream.try_write(bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    written => return Poll::Ready(written),
                }
            },
            Stream::Simulated(stream) => stream.poll_write(cx, bytes),
            Stream::Foreign(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn shut_down_shared(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => match SockRef::from(stream).shutdown(std::net::Shutdown::Write) {
                Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(error),
                _ => Ok(()),
            },
            Stream::Simulated(stream) => {
                stream.shut_down();
                Ok(())
            }
            Stream::Foreign(stream) => stream.shut_down(),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Simulated(stream) => stream.poll_read(cx, buffer),
            Stream::Foreign(stream) => stream.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Simulated(stream) => stream.poll_write(cx, bytes),
            Stream::Foreign(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Stream::Simulated(_) | Stream::Foreign(_) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                self.poll_write(cx, first.map_or(&[], |slice| slice))
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.0, Stream::Machine(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Simulated(_) | Stream::Foreign(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Simulated(stream) => {
                stream.shut_down();
                Poll::Ready(Ok(()))
            }
            Stream::Foreign(stream) => Poll::Ready(stream.shut_down()),
        }
    }
}

/// Polls once; what is not ready is [`io::ErrorKind::WouldBlock`].
pub(super) fn at_once<R>(f: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<R>>) -> io::Result<R> {
    match f(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Sets keep-alive of a socket of the machine.
fn set_machine_keepalive(socket: &SockRef<'_>, keep_alive: Option<KeepAlive>) -> io::Result<()> {
    let Some(keep_alive) = keep_alive else { return socket.set_keepalive(false) };
    let times = TcpKeepalive::new().with_time(keep_alive.idle.into());
    socket.set_tcp_keepalive(&times.with_interval(keep_alive.interval.into()).with_retries(keep_alive.probes))
}
