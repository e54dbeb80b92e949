//! A client of a JSON API over HTTP/1.1, on hyper.

use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

/// Asks for `path` of the server called `host` at the other end of `stream`.
///
/// # Errors
/// If the connection breaks, or the answer is no JSON.
pub async fn get<S>(stream: S, host: &str, path: &str) -> Result<(StatusCode, Value), Box<dyn Error>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path).header("host", host).body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        drop(sender);
        Ok::<_, Box<dyn Error>>((status, serde_json::from_slice(&body)?))
    };
    // The connection has to be polled for the exchange to move on, and ends with it.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}
