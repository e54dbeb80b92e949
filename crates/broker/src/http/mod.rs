//! The HTTP listeners: each an axum router over this crate's sockets. The Admin API is here, the others in
//! `http_proxy` and `schema_registry`.
//!
//! No `Date` header is sent, because it would read the machine's clock.

pub(crate) mod admin;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hopwise_fabric::net::{TcpListener, TcpStream};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::config::{Api, Listener};
use crate::node::Node;
use crate::security::http_basic;
use crate::status::Counter;

/// Bytes of a request's head that are kept.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Accepts connections for ever.
pub(crate) async fn serve(node: Arc<Node>, listener: Listener, router: Router, socket: TcpListener) {
    let listener = Arc::new(listener);
    loop {
        let stream = node.accept(&socket).await;
        node.tasks.spawn(connection(Arc::clone(&node), Arc::clone(&listener), router.clone(), stream));
    }
}

async fn connection(node: Arc<Node>, listener: Arc<Listener>, router: Router, stream: TcpStream) {
    let Some(stream) = node.secure(&listener, stream).await else { return };
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        node.status.add(Counter::HttpRequests, 1);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&listener));
        let admitted = http_basic::admit(&node, &listener, &mut request);
        if admitted.is_err() {
            node.status.add(Counter::FailedAuthentications, 1);
        }
        let (router, metrics, begun) = (router.clone(), &node.metrics, Instant::now());
        let metrics = match listener.api {
            Api::HttpProxy => &metrics.rest_proxy,
            Api::SchemaRegistry => &metrics.schema_registry,
            _ => &metrics.admin,
        };
        async move {
            let response = match admitted {
                Ok(()) => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
                Err(refused) => *refused,
            };
            metrics.answered(response.status().as_u16(), begun.elapsed());
            Ok::<_, Infallible>(response)
        }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).auto_date_header(false).max_buf_size(HEAD_BYTES_MAX);
    if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
        if error.is_parse() {
            node.status.add(Counter::MalformedFrames, 1);
        }
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

/// A JSON answer under a content type of its own.
pub(crate) fn json(status: StatusCode, content_type: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => (status, [(header::CONTENT_TYPE, content_type)], bytes).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Whether the client takes an answer of one of these types.
pub(crate) fn accepts(headers: &axum::http::HeaderMap, types: &[&str]) -> bool {
    let Some(accept) = headers.get(header::ACCEPT) else { return true };
    let Ok(accept) = accept.to_str() else { return false };
    let named = |entry: &str| entry.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    accept
        .split(',')
        .map(named)
        .any(|entry| matches!(entry.as_str(), "*/*" | "application/*") || types.contains(&entry.as_str()))
}
