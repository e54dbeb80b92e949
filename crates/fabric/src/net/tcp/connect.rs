//! Connecting and telling which way the packets went.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::TcpStream;
use crate::Route;
use crate::net::simulated::{self, StreamOptions};

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

/// Connects like [`TcpStream::connect`] and traces the connection's packets on the fabric: a connection tells its way by
/// [`TcpStream::route`], a failure by [`ConnectError::route`].
///
/// # Errors
/// The error of `connect` and, on the fabric, the path of the packet that failed.
pub async fn connect_traced(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    connect(address, None).await
}

/// Like [`connect_traced`], and gives up when `longest` is over. A timeout around [`connect_traced`] would lose the way of
/// the packets.
///
/// # Errors
/// As [`connect_traced`]; [`io::ErrorKind::TimedOut`] when `longest` is over.
pub async fn connect_traced_within(
    address: SocketAddr,
    longest: Duration,
) -> Result<TcpStream, ConnectError> {
    connect(address, Some(longest)).await
}

async fn connect(address: SocketAddr, longest: Option<Duration>) -> Result<TcpStream, ConnectError> {
    if !crate::is_installed() {
        let connecting = TcpStream::connect(address);
        let connected = match longest {
            None => connecting.await,
            Some(longest) => timeout(longest, connecting).await.map_err(io::Error::from).flatten(),
        };
        return connected.map_err(|error| ConnectError { error, route: None });
    }
    let options = StreamOptions { traced: true, ..StreamOptions::default() };
    let connected = simulated::Stream::connect_within(address, options, longest).await;
    connected.map(TcpStream::of_simulated).map_err(|(error, route)| ConnectError { error, route })
}
