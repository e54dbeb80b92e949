//! What operators do to served brokers through their Admin API (redpanda.md 3.1).
//!
//! Brokers are asked in turn until one carries the request out, as those that do not lead the controller, are killed or
//! hang do not.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hopwise_broker::{Api, BootstrapUser, Listener};
use hopwise_security::Randomness;
use hopwise_security::tls::{ClientSettings, TlsConnector};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::process::{self, Process};

/// How long one broker may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two rounds through all brokers.
const RETRY: Duration = Duration::from_millis(500);
/// How long brokers are asked before it is given up: a new controller's leader is there by then.
const GIVE_UP: Duration = Duration::from_secs(30);
/// Bytes of an answer's head that are looked at.
const HEAD_BYTES: usize = 256;

/// A request about a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// It is removed from the cluster.
    Decommission,
    /// Its removal is taken back.
    Recommission,
    /// It goes into maintenance.
    StartMaintenance,
    /// It leaves maintenance.
    EndMaintenance,
}

impl fmt::Display for AdminRequest {
    /// What the broker is when it is carried out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AdminRequest::Decommission => "being decommissioned",
            AdminRequest::Recommission => "recommissioned",
            AdminRequest::StartMaintenance => "in maintenance",
            AdminRequest::EndMaintenance => "out of maintenance",
        })
    }
}

impl AdminRequest {
    fn method_and_path(self, id: i32) -> (&'static str, String) {
        let (method, what) = match self {
            AdminRequest::Decommission => ("PUT", "decommission"),
            AdminRequest::Recommission => ("PUT", "recommission"),
            AdminRequest::StartMaintenance => ("PUT", "maintenance"),
            AdminRequest::EndMaintenance => ("DELETE", "maintenance"),
        };
        (method, format!("/v1/brokers/{id}/{what}"))
    }
}

/// Sends a request about the broker with an id.
///
/// # Errors
/// In words: no broker carries it out in time, or one refuses it.
pub(super) async fn ask(processes: &[Process], id: i32, request: AdminRequest) -> Result<(), String> {
    let (method, path) = request.method_and_path(id);
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let mut why = "no broker has an Admin API".to_owned();
        for process in processes {
            let listeners = process.config.listeners();
            let Some(listener) = listeners.iter().find(|listener| listener.api == Api::Admin) else {
                continue;
            };
            let asked = timeout(PATIENCE, send(listener, process.users.first(), method, &path)).await;
            match asked {
                Ok(Ok(200 | 204)) => return Ok(()),
                Ok(Ok(307 | 503)) => why = "no broker leads the controller".to_owned(),
                Ok(Ok(status)) => return Err(format!("{method} {path} answers {status}")),
                Ok(Err(error)) => why = format!("{}: {error}", listener.bind),
                Err(_) => why = format!("{} does not answer", listener.bind),
            }
        }
        if Instant::now() + RETRY >= give_up {
            return Err(why);
        }
        sleep(RETRY).await;
    }
}

/// The status of the answer.
async fn send(
    listener: &Listener,
    user: Option<&BootstrapUser>,
    method: &str,
    path: &str,
) -> io::Result<u16> {
    let stream = TcpStream::connect(listener.bind).await?;
    let login = user.map(|user| STANDARD.encode(format!("{}:{}", user.name, user.password)));
    let login = login.map(|login| format!("authorization: Basic {login}\r\n")).unwrap_or_default();
    let message = format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\n{login}content-length: 0\r\nconnection: close\r\n\r\n",
        listener.bind
    );
    if !listener.tls {
        return exchange(stream, &message).await;
    }
    // It is this program's own broker, whoever signed its certificate.
    let settings = ClientSettings { any_server: true, ..ClientSettings::default() };
    let randomness = Randomness::from_seed(process::seed());
    let connector = TlsConnector::new(&settings, Arc::new(process::unix_ms), randomness);
    let connector = connector.map_err(io::Error::other)?;
    let stream = connector.connect(&listener.bind.ip().to_string(), stream).await;
    exchange(stream.map_err(|failure| io::Error::other(failure.to_string()))?, &message).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &str) -> io::Result<u16> {
    stream.write_all(message.as_bytes()).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.contains(&b'\n') && head.len() < HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&head);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP answer"))
}
