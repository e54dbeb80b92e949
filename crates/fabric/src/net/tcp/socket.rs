//! TCP sockets that are neither connected nor listening yet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::listener::Listener;
use super::{Stream, TcpListener, TcpStream, set_machine_keepalive};
use crate::KeepAlive;
use crate::net::foreign::{self, Network};
use crate::net::simulated::{self, StreamOptions};

/// A TCP socket to be configured before it connects or listens. Mirrors `tokio::net::TcpSocket`.
#[derive(Debug)]
pub struct TcpSocket(Socket);

#[derive(Debug)]
enum Socket {
    Machine(tokio::net::TcpSocket),
    Simulated {
        v6: bool,
        options: StreamOptions,
    },
    /// The other simulator's sockets have no options.
    Foreign {
        network: &'static dyn Network,
        local: SocketAddr,
    },
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::new_v4`.
    pub fn new_v4() -> io::Result<TcpSocket> {
        Self::new(false)
    }

    /// A socket for IPv6.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::new_v6`.
    pub fn new_v6() -> io::Result<TcpSocket> {
        Self::new(true)
    }

    fn new(v6: bool) -> io::Result<TcpSocket> {
        if crate::is_installed() {
            return Ok(TcpSocket(Socket::Simulated { v6, options: StreamOptions::default() }));
        }
        if let Some(network) = foreign::current() {
            return Ok(TcpSocket(Socket::Foreign { network, local: SocketAddr::new(anywhere(v6), 0) }));
        }
        let socket = if v6 { tokio::net::TcpSocket::new_v6() } else { tokio::net::TcpSocket::new_v4() };
        Ok(TcpSocket(Socket::Machine(socket?)))
    }

    /// Turns keep-alive on, with the system's times, or off.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::set_keepalive`.
    pub fn set_keepalive(&mut self, keepalive: bool) -> io::Result<()> {
        self.set_keepalive_times(keepalive.then(KeepAlive::default))
    }

    /// Turns keep-alive on with these times, or off.
    ///
    /// # Errors
    /// On the machine's sockets as `socket2::Socket::set_tcp_keepalive`.
    pub fn set_keepalive_times(&mut self, keep_alive: Option<KeepAlive>) -> io::Result<()> {
        match &mut self.0 {
            Socket::Machine(socket) => set_machine_keepalive(&socket2::SockRef::from(&*socket), keep_alive),
            Socket::Simulated { options, .. } => {
                options.keep_alive = keep_alive;
                Ok(())
            }
            Socket::Foreign { .. } => Ok(()),
        }
    }

    /// Turns Nagle's algorithm off (`true`) or on.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::set_nodelay`.
    pub fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        match &mut self.0 {
            Socket::Machine(socket) => socket.set_nodelay(nodelay),
            Socket::Simulated { options, .. } => {
                options.nodelay = nodelay;
                Ok(())
            }
            Socket::Foreign { .. } => Ok(()),
        }
    }

    /// Makes dropping the connection reset it.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::set_zero_linger`.
    pub fn set_zero_linger(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Socket::Machine(socket) => socket.set_zero_linger(),
            Socket::Simulated { options, .. } => {
                options.zero_linger = true;
                Ok(())
            }
            Socket::Foreign { .. } => Ok(()),
        }
    }

    /// Allows the address to be used again while connections of it wait in TIME-WAIT. On the fabric it always may.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::set_reuseaddr`.
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        match &self.0 {
            Socket::Machine(socket) => socket.set_reuseaddr(reuseaddr),
            Socket::Simulated { .. } | Socket::Foreign { .. } => Ok(()),
        }
    }

    /// Sets the local address. On the fabric it is checked when the socket connects or listens.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::bind`; [`io::ErrorKind::InvalidInput`] for an address of the other family.
    pub fn bind(&mut self, address: SocketAddr) -> io::Result<()> {
        match &mut self.0 {
            Socket::Machine(socket) => socket.bind(address),
            Socket::Simulated { v6, .. } if *v6 != address.is_ipv6() => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            Socket::Simulated { options, .. } => {
                options.local = Some(address);
                Ok(())
            }
            Socket::Foreign { local, .. } if local.is_ipv6() != address.is_ipv6() => {
                Err(io::ErrorKind::InvalidInput.into())
            }
            Socket::Foreign { local, .. } => {
                *local = address;
                Ok(())
            }
        }
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::connect`.
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        match self.0 {
            Socket::Machine(socket) => Ok(TcpStream(Stream::Machine(socket.connect(address).await?))),
            Socket::Simulated { options, .. } => {
                let connected = simulated::Stream::connect(address, options).await;
                connected.map(|stream| TcpStream(Stream::Simulated(stream))).map_err(|(error, _)| error)
            }
            Socket::Foreign { network, .. } => {
                Ok(TcpStream(Stream::Foreign(network.connect(address).await?)))
            }
        }
    }

    /// Listens; up to `backlog` connections wait to be accepted.
    ///
    /// # Errors
    /// As `tokio::net::TcpSocket::listen`.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        match self.0 {
            Socket::Machine(socket) => Ok(TcpListener(Listener::Machine(socket.listen(backlog)?))),
            Socket::Simulated { v6, options } => {
                let local = options.local.unwrap_or(SocketAddr::new(anywhere(v6), 0));
                Ok(TcpListener(Listener::Simulated(simulated::Listener::bind_now(local, backlog)?)))
            }
            Socket::Foreign { network, local } => Ok(TcpListener(Listener::Foreign(network.listen(local)?))),
        }
    }
}

/// All addresses of a family.
fn anywhere(v6: bool) -> IpAddr {
    if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }
}
