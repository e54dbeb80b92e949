//! Sockets that mirror `tokio::net`.
//!
//! Inside a simulation (a fabric is installed on this thread) they are sockets of the current host's simulated
//! stack; elsewhere they are the machine's own. The same program therefore runs in virtual time on the fabric
//! and in real time on loopback. Beyond tokio's API, [`TcpStream::route`] and [`connect_traced`] tell which way
//! the packets went; on the machine's sockets that is unknown.

mod machine;
pub mod resolver;
mod tcp;

pub use tcp::{ConnectError, TcpListener, TcpStream, connect_traced};

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Addresses of `host`, as the current host's resolver finds them.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the name does not exist, [`io::ErrorKind::TimedOut`] if no server answered.
pub async fn lookup_ip(host: &str) -> io::Result<Vec<IpAddr>> {
    machine::lookup_ip(host).await
}

/// Addresses of `host:port`, like `tokio::net::lookup_host`.
///
/// # Errors
/// As [`lookup_ip`].
pub async fn lookup_host(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr> + use<>> {
    let addresses = lookup_ip(host).await?;
    Ok(addresses.into_iter().map(move |address| SocketAddr::new(address, port)))
}
