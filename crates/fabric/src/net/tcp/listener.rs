//! TCP listeners.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use super::{Stream, TcpStream};
use crate::net::foreign::{self, Acceptor};
use crate::net::simulated;

/// The backlog of [`TcpListener::bind`]: Linux's limit.
const BACKLOG: u32 = 4096;

/// A TCP listener. Mirrors `tokio::net::TcpListener`.
#[derive(Debug)]
pub struct TcpListener(pub(super) Listener);

#[derive(Debug)]
pub(super) enum Listener {
    Machine(tokio::net::TcpListener),
    Simulated(simulated::Listener),
    Foreign(Box<dyn Acceptor>),
}

impl TcpListener {
    /// Listens on `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::bind`: address in use, address not available.
    pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        Ok(TcpListener(if crate::is_installed() {
            Listener::Simulated(simulated::Listener::bind(address, BACKLOG).await?)
        } else if let Some(network) = foreign::current() {
            Listener::Foreign(network.listen(address)?)
        } else {
            Listener::Machine(tokio::net::TcpListener::bind(address).await?)
        }))
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::accept`.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection; one task at a time may wait in it.
    ///
    /// # Errors
    /// As `tokio::net::TcpListener::poll_accept`.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match &self.0 {
            Listener::Machine(listener) => {
                let (stream, peer) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((TcpStream(Stream::Machine(stream)), peer)))
            }
            Listener::Simulated(listener) => {
                let stream = ready!(listener.poll_accept(cx))?;
                let peer = stream.peer_addr();
                Poll::Ready(Ok((TcpStream(Stream::Simulated(stream)), peer)))
            }
            Listener::Foreign(listener) => {
                let stream = ready!(listener.poll_accept(cx))?;
                let peer = stream.peer_addr();
                Poll::Ready(Ok((TcpStream(Stream::Foreign(stream)), peer)))
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
            Listener::Simulated(listener) => Ok(listener.local_addr()),
            Listener::Foreign(listener) => Ok(listener.local_addr()),
        }
    }
}
