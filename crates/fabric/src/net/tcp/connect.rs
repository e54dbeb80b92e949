//! Connecting and telling which way the packets went.

use std::io;
use std::net::SocketAddr;

use super::{Stream, TcpStream};
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
    if !crate::is_installed() {
        let connected = TcpStream::connect(address).await;
        return connected.map_err(|error| ConnectError { error, route: None });
    }
    let options = StreamOptions { traced: true, ..StreamOptions::default() };
    let connected = simulated::Stream::connect(address, options).await;
    connected
        .map(|stream| TcpStream(Stream::Simulated(stream)))
        .map_err(|(error, route)| ConnectError { error, route })
}
