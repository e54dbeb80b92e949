//! An HTTP listener: the Admin API, the HTTP Proxy or the Schema Registry, by one GET.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hopwise_fabric::Route;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, LOCATION};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use super::{Answer, Exchanged, Trial, TrialOptions, attempt};
use crate::security::{Stream, route};
use crate::{Failure, HostPort, Outcome, frame};

/// No answer tried for is longer.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The first bytes of an answer that are kept for an explanation.
const SEEN_BYTES_MAX: usize = 32;

/// Judges a JSON body; an error says what is wrong with it.
pub type JsonCheck = Arc<dyn Fn(&serde_json::Value) -> Result<(), String> + Send + Sync>;

/// What a good answer is.
#[derive(Clone)]
pub struct Expect {
    /// Its status.
    pub status: u16,
    /// Judges its body, which then has to be JSON; `None` takes any body.
    pub json: Option<JsonCheck>,
}

/// A GET request.
#[derive(Clone)]
pub struct HttpRequest {
    /// The Host header; `None` sends the address (a broker may redirect by it, redpanda.md 3.1.3).
    pub host: Option<String>,
    /// The path, with its leading slash.
    pub path: String,
    /// What a good answer is.
    pub expect: Expect,
}

/// What an HTTP listener answered.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: u16,
    /// Where it redirects to, if it does.
    pub location: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Tries an HTTP listener.
pub async fn try_http(address: &HostPort, request: &HttpRequest, options: &TrialOptions) -> Trial {
    attempt(address, options, async |stream| {
        let tap = Tap::new(stream);
        let asked = timeout(options.request_timeout, ask(&tap, address, request, options)).await;
        let answer = asked.unwrap_or_else(|_| {
            let waited = options.request_timeout;
            let explanation = format!("the peer took the connection and did not answer within {waited:?}");
            Err(Failure::new(Outcome::Timeout, explanation))
        });
        let route = tap.route();
        match answer {
            Err(failure) => Exchanged::failed(failure, route),
            Ok(answer) => match judge(&answer, &request.expect) {
                Ok(()) => Exchanged::ok(Answer::Http(answer), route),
                Err(failure) => Exchanged { result: Err(failure), seen: Some(Answer::Http(answer)), route },
            },
        }
    })
    .await
}

async fn ask(
    tap: &Tap,
    address: &HostPort,
    request: &HttpRequest,
    options: &TrialOptions,
) -> Result<HttpAnswer, Failure> {
    let host = request.host.clone().unwrap_or_else(|| address.to_string());
    let mut message = Request::get(&request.path);
    if let Some((login, _)) = &options.security.login {
        let credentials = STANDARD.encode(format!("{}:{}", login.user(), login.password()));
        message = message.header(AUTHORIZATION, format!("Basic {credentials}"));
    }
    let message = message
        .header(HOST, host)
        .header(ACCEPT, "application/json, */*")
        .body(Empty::<Bytes>::new())
        .map_err(|error| {
            let explanation =
                format!("no request can be made of path `{}` and this Host: {error}", request.path);
            Failure::new(Outcome::ProtocolMismatch, explanation)
        })?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tap.clone())).await;
    let (mut sender, connection) = handshake.map_err(|error| tap.explain(&error))?;
    let exchange = async {
        let response: Response<_> = sender.send_request(message).await?;
        let (head, body) = response.into_parts();
        Ok::<_, hyper::Error>((head, Limited::new(body, BODY_BYTES_MAX).collect().await))
    };
    // The connection is driven beside the exchange; its own error reaches the exchange too.
    let (mut exchange, mut connection) = (std::pin::pin!(exchange), std::pin::pin!(connection));
    let exchanged = tokio::select! {
        biased;
        exchanged = &mut exchange => exchanged,
        _ = &mut connection => exchange.await,
    };
    let (head, body) = exchanged.map_err(|error| tap.explain(&error))?;
    let body = body.map_err(|error| {
        let explanation = format!("the body of the answer broke off: {error}");
        Failure::new(Outcome::ProtocolMismatch, explanation)
    })?;
    let location =
        head.headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(HttpAnswer { status: head.status.as_u16(), location, body: body.to_bytes() })
}

fn judge(answer: &HttpAnswer, expect: &Expect) -> Result<(), Failure> {
    let mismatch = |explanation: String| Err(Failure::new(Outcome::ProtocolMismatch, explanation));
    if answer.status != expect.status {
        let status = answer.status;
        if matches!(status, 401 | 403) {
            let explanation = format!("the listener answered {status}: it wants credentials");
            return Err(Failure::new(Outcome::AuthenticationFailed, explanation));
        }
        let to = answer.location.as_ref().map_or(String::new(), |location| format!(" to {location}"));
        return mismatch(format!("the listener answered {status}{to}; {} was expected", expect.status));
    }
    let Some(check) = &expect.json else { return Ok(()) };
    match serde_json::from_slice(&answer.body) {
        Err(error) => mismatch(format!("the body of the answer is not JSON: {error}")),
        Ok(body) => check(&body)
            .or_else(|why| mismatch(format!("the body of the answer is another than expected: {why}"))),
    }
}

/// The stream as hyper holds it, while the trial keeps an eye on its route and its first bytes.
#[derive(Clone)]
struct Tap(Arc<Mutex<Tapped>>);

struct Tapped {
    stream: Stream,
    seen: Vec<u8>,
}

impl Tap {
    fn new(stream: Stream) -> Tap {
        Tap(Arc::new(Mutex::new(Tapped { stream, seen: Vec::new() })))
    }

    fn locked(&self) -> MutexGuard<'_, Tapped> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self) -> Option<Route> {
        route(&self.locked().stream)
    }

    /// What an error of hyper's means: an answer that is not HTTP, or the socket's error below it.
    fn explain(&self, error: &hyper::Error) -> Failure {
        let tapped = self.locked();
        if !tapped.seen.is_empty() && !tapped.seen.starts_with(b"HTTP/") {
            let bytes = frame::read_as_text(&tapped.seen);
            return Failure::new(
                Outcome::ProtocolMismatch,
                format!("the answer is not HTTP ({error}): {bytes}"),
            );
        }
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Failure::of_io(error, format!("the connection broke: {error}"));
            }
            cause = error.source();
        }
        if tapped.seen.is_empty() {
            return Failure::new(Outcome::Refused, "the peer closed the connection without an answer");
        }
        Failure::new(Outcome::ProtocolMismatch, format!("the answer breaks the rules of HTTP: {error}"))
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut tapped = self.locked();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut tapped.stream).poll_read(cx, buffer);
        let room = SEEN_BYTES_MAX.saturating_sub(tapped.seen.len());
        tapped.seen.extend(buffer.filled()[before..].iter().take(room));
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.locked().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.locked().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.locked().stream).poll_shutdown(cx)
    }
}
