//! Sockets that mirror `tokio::net`.
//!
//! Inside a simulation (a fabric is installed on this thread) they are sockets of the current host's simulated
//! stack; inside a simulation of turmoil (feature `turmoil`) they are turmoil's; elsewhere they are the machine's own. The
//! same program therefore runs in virtual time on the fabric and in real time on loopback. Beyond tokio's API, [`TcpStream::route`] and [`connect_traced`] tell which way
//! the packets went; on other sockets that is unknown.

mod foreign;
mod lookup;
mod machine;
pub mod origin;
pub mod resolver;
mod simulated;
mod tcp;
mod udp;

pub use tcp::{
    ConnectError, OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpSocket, TcpStream,
    WriteHalf, connect_traced, connect_traced_within,
};
pub use udp::UdpSocket;

use std::io;
use std::net::{IpAddr, SocketAddr};

/// Addresses of `host`, as the current host's resolver finds them.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if the name does not exist, [`io::ErrorKind::TimedOut`] if no server answered.
pub async fn lookup_ip(host: &str) -> io::Result<Vec<IpAddr>> {
    lookup_explained(host).await.0
}

/// Like [`lookup_ip`], and tells every query that was made; none are known outside the fabric.
pub async fn lookup_explained(host: &str) -> (io::Result<Vec<IpAddr>>, Vec<resolver::QueryTrace>) {
    if crate::is_installed() {
        lookup::look_up(host, None).await
    } else if let Some(network) = foreign::current() {
        (network.look_up(host), Vec::new())
    } else {
        (machine::lookup_ip(host).await, Vec::new())
    }
}

/// Looks `host` up for records of these types as `dig +search` does: as the current host's resolver asks, past what
/// its application has kept. Of types other than A and AAAA only the queries tell what was found.
///
/// # Errors
/// As [`lookup_ip`]; [`io::ErrorKind::Unsupported`] outside the fabric.
pub async fn lookup_records(
    host: &str,
    kinds: &[hickory_proto::rr::RecordType],
) -> (io::Result<Vec<IpAddr>>, Vec<resolver::QueryTrace>) {
    if crate::is_installed() {
        lookup::look_up(host, Some(kinds)).await
    } else {
        (Err(io::ErrorKind::Unsupported.into()), Vec::new())
    }
}

/// Addresses of `host:port`, like `tokio::net::lookup_host`.
///
/// # Errors
/// As [`lookup_ip`].
pub async fn lookup_host(host: &str, port: u16) -> io::Result<impl Iterator<Item = SocketAddr> + use<>> {
    let addresses = lookup_ip(host).await?;
    Ok(addresses.into_iter().map(move |address| SocketAddr::new(address, port)))
}
