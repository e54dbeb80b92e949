//! TCP sockets.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Route;

/// A TCP connection. Mirrors `tokio::net::TcpStream`; split it with `tokio::io::split`.
#[derive(Debug)]
pub struct TcpStream(Stream);

#[derive(Debug)]
enum Stream {
    Machine(tokio::net::TcpStream),
}

/// A TCP listener. Mirrors `tokio::net::TcpListener`.
#[derive(Debug)]
pub struct TcpListener(Listener);

#[derive(Debug)]
enum Listener {
    Machine(tokio::net::TcpListener),
}

/// A connection attempt that failed, with the way its packets went as far as that is known.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct ConnectError {
    /// What `connect` returned.
    #[source]
    pub error: io::Error,
    /// The way of the last packet sent, if the fabric saw it.
    pub route: Option<Route>,
}

/// Connects like [`TcpStream::connect`], and tells on failure too which way the packets went.
///
/// # Errors
/// The error of `connect` and, on the fabric, the path of the packet that failed.
pub async fn connect_traced(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    TcpStream::connect(address).await.map_err(|error| ConnectError { error, route: None })
}

impl TcpStream {
    /// Opens a connection to `address`.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::connect`: refused, timed out, unreachable.
    pub async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
        Ok(TcpStream(Stream::Machine(tokio::net::TcpStream::connect(address).await?)))
    }

    /// The way the connection's packets went last; `None` on the machine's sockets.
    pub fn route(&self) -> Option<Route> {
        match &self.0 {
            Stream::Machine(_) => None,
        }
    }

    /// The local address.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::local_addr`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Machine(stream) => stream.local_addr(),
        }
    }

    /// The peer's address, as this end sees it.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::peer_addr`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Stream::Machine(stream) => stream.peer_addr(),
        }
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::set_nodelay`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.set_nodelay(nodelay),
        }
    }
}

impl TcpStream {
    /// Makes dropping the stream reset the connection.
    ///
    /// # Errors
    /// As `tokio::net::TcpStream::set_zero_linger`.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        match &self.0 {
            Stream::Machine(stream) => stream.set_zero_linger(),
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
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Stream::Machine(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl TcpListener {
    /// Listens on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::bind`: address in use, address not available.
    pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        Ok(TcpListener(Listener::Machine(tokio::net::TcpListener::bind(address).await?)))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::accept`.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.0 {
            Listener::Machine(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((TcpStream(Stream::Machine(stream)), peer))
            }
        }
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::local_addr`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Listener::Machine(listener) => listener.local_addr(),
        }
    }
}
