//! UDP sockets.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;

use tokio::io::ReadBuf;

use super::foreign::{self, Datagrams};
use super::simulated;
use super::tcp::at_once;
use crate::Route;

/// A UDP socket. Mirrors `tokio::net::UdpSocket`.
#[derive(Debug)]
pub struct UdpSocket(Socket);

#[derive(Debug)]
enum Socket {
    Machine(tokio::net::UdpSocket),
    Simulated(simulated::Socket),
    Foreign { socket: Box<dyn Datagrams>, peer: OnceLock<SocketAddr> },
}

impl UdpSocket {
    /// Binds a socket to `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::bind`: address in use, address not available.
    pub async fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
        Ok(UdpSocket(if crate::is_installed() {
            Socket::Simulated(simulated::Socket::bind(address).await?)
        } else if let Some(network) = foreign::current() {
            Socket::Foreign { socket: network.bind(address).await?, peer: OnceLock::new() }
        } else {
            Socket::Machine(tokio::net::UdpSocket::bind(address).await?)
        }))
    }

    /// Connects the socket: it sends to and hears from `address` only, and hears of its errors.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::connect`.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<()> {
        match &self.0 {
            Socket::Machine(socket) => socket.connect(address).await,
            Socket::Simulated(socket) => socket.connect(address),
            Socket::Foreign { peer, .. } => {
                peer.set(address).map_err(|_| io::Error::new(io::ErrorKind::Unsupported, "connected already"))
            }
        }
    }

    /// Traces the datagrams that the socket sends from now on: [`UdpSocket::route`] tells their way. Does nothing on the
    /// machine's sockets.
    pub fn trace(&self) {
        if let Socket::Simulated(socket) = &self.0 {
            socket.trace();
        }
    }

    /// The way of the last datagram that was sent and of the last answer; `None` where they are not traced.
    pub fn route(&self) -> Option<Route> {
        match &self.0 {
            Socket::Machine(_) | Socket::Foreign { .. } => None,
            Socket::Simulated(socket) => socket.route(),
        }
    }

    /// The local address.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::local_addr`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Socket::Machine(socket) => socket.local_addr(),
            Socket::Simulated(socket) => socket.local_addr().ok_or(io::ErrorKind::NotConnected.into()),
            Socket::Foreign { socket, .. } => Ok(socket.local_addr()),
        }
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] if it is not connected.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            Socket::Machine(socket) => socket.peer_addr(),
            Socket::Simulated(socket) => socket.peer_addr().ok_or(io::ErrorKind::NotConnected.into()),
            Socket::Foreign { peer, .. } => peer.get().copied().ok_or(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::send`; [`io::ErrorKind::ConnectionRefused`] if an earlier one was refused.
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Socket::Machine(socket) => socket.send(bytes).await,
            Socket::Simulated(socket) => poll_fn(|_| socket.poll_send(None, bytes)).await,
            Socket::Foreign { socket, peer } => {
                socket.send_to(bytes, *peer.get().ok_or(io::ErrorKind::NotConnected)?)
            }
        }
    }

    /// Sends a datagram to `address`.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::send_to`.
    pub async fn send_to(&self, bytes: &[u8], address: SocketAddr) -> io::Result<usize> {
        match &self.0 {
            Socket::Machine(socket) => socket.send_to(bytes, address).await,
            Socket::Simulated(socket) => poll_fn(|_| socket.poll_send(Some(address), bytes)).await,
            Socket::Foreign { socket, .. } => socket.send_to(bytes, address),
        }
    }

    /// Receives a datagram; what does not fit in `buffer` is lost.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::recv`.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.recv_from(buffer).await?.0)
    }

    /// Receives a datagram and tells its sender; what does not fit in `buffer` is lost.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::recv_from`.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.0 {
            Socket::Machine(socket) => socket.recv_from(buffer).await,
            Socket::Simulated(socket) => {
                let mut buffer = ReadBuf::new(buffer);
                let from = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).await?;
                Ok((buffer.filled().len(), from))
            }
            Socket::Foreign { socket, peer } => loop {
                let received = socket.receive(buffer).await?;
                if heard(peer, received.1) {
                    break Ok(received);
                }
            },
        }
    }

    /// Waits for a datagram and copies it without taking it.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::peek_from`; [`io::ErrorKind::Unsupported`] on another simulator's sockets.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.0 {
            Socket::Machine(socket) => socket.peek_from(buffer).await,
            Socket::Simulated(socket) => {
                let mut buffer = ReadBuf::new(buffer);
                let from = poll_fn(|cx| socket.poll_peek(cx, &mut buffer)).await?;
                Ok((buffer.filled().len(), from))
            }
            Socket::Foreign { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits until a receive does not wait.
    ///
    /// # Errors
    /// As `tokio::net::UdpSocket::readable`.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            Socket::Machine(socket) => socket.readable().await,
            Socket::Simulated(socket) => poll_fn(|cx| socket.poll_readable(cx)).await,
            Socket::Foreign { socket, .. } => socket.readable().await,
        }
    }

    /// Receives without waiting.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if nothing has arrived; else as [`UdpSocket::recv_from`].
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match &self.0 {
            Socket::Machine(socket) => socket.try_recv_from(buffer),
            Socket::Simulated(socket) => {
                let mut buffer = ReadBuf::new(buffer);
                let from = at_once(|cx| socket.poll_receive(cx, &mut buffer))?;
                Ok((buffer.filled().len(), from))
            }
            Socket::Foreign { socket, peer } => loop {
                let received = socket.try_receive(buffer)?;
                if heard(peer, received.1) {
                    break Ok(received);
                }
            },
        }
    }
}

/// Whether a socket that is connected to `peer`, if it is to one, hears what `from` sends.
fn heard(peer: &OnceLock<SocketAddr>, from: SocketAddr) -> bool {
    peer.get().is_none_or(|peer| *peer == from)
}
