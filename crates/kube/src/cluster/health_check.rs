//! A load balancer's look at one target, over the network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;

use hopwise_engine::host;
use hopwise_fabric::net::TcpStream;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An HTTP request on this port; status 200 passes.
    Http(u16),
    /// A TCP connection to this port.
    Connect(u16),
    /// Any answer on this port: a refusal is one too.
    Alive(u16),
}

/// Whether the machine at `address` passes; without an answer in `limit` it does not.
pub async fn perform(check: Check, address: IpAddr, limit: Duration) -> bool {
    let attempt = async {
        match check {
            Check::Connect(port) => TcpStream::connect(SocketAddr::new(address, port)).await.is_ok(),
            Check::Alive(port) => match TcpStream::connect(SocketAddr::new(address, port)).await {
                Ok(_) => true,
                Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            },
            Check::Http(port) => get(SocketAddr::new(address, port)).await == Some(200),
        }
    };
    tokio::time::timeout(limit, attempt).await.unwrap_or(false)
}

async fn get(address: SocketAddr) -> Option<u16> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = host::spawn(connection);
    let request =
        hyper::Request::get("/healthz").header(HOST, address.to_string()).body(Empty::<Bytes>::new()).ok()?;
    let status = sender.send_request(request).await.ok()?.status().as_u16();
    connection.abort();
    Some(status)
}
