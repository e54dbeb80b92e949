//! kube-proxy's health endpoints, over HTTP on the node.
//!
//! Source: kubernetes.md 6.5 (status codes, body and header of `healthCheckNodePort`).

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;

use hopwise_engine::host;
use hopwise_fabric::net::TcpListener;

use crate::proxy::ServiceName;

/// What a health endpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The Service it speaks for; `None` for kube-proxy itself.
    pub service: Option<ServiceName>,
    /// How many ready endpoints are on the node.
    pub local_endpoints: usize,
}

/// Serves `health` on all of `addresses` until dropped.
pub async fn serve(addresses: Vec<SocketAddr>, health: Rc<RefCell<Health>>) {
    let listening: Vec<_> =
        addresses.into_iter().map(|address| host::spawn(serve_on(address, health.clone()))).collect();
    let _stop = AbortOnDrop(listening.iter().map(tokio::task::JoinHandle::abort_handle).collect());
    for listener in listening {
        let _ = listener.await;
    }
}

struct AbortOnDrop(Vec<tokio::task::AbortHandle>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::AbortHandle::abort);
    }
}

async fn serve_on(address: SocketAddr, health: Rc<RefCell<Health>>) {
    let Ok(listener) = TcpListener::bind(address).await else { return };
    while let Ok((stream, _)) = listener.accept().await {
        let health = health.clone();
        host::spawn(async move {
            let service = service_fn(move |_: Request<Incoming>| {
                let response = respond(&health.borrow());
                async move { Ok::<_, Infallible>(response) }
            });
            // A checker that goes away ends its connection, which concerns nobody else.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn respond(health: &Health) -> Response<Full<Bytes>> {
    let status = if health.local_endpoints > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match &health.service {
        Some(service) => json!({
            "service": {"namespace": service.namespace, "name": service.name},
            "localEndpoints": health.local_endpoints,
            "serviceProxyHealthy": true,
        }),
        None => json!({"nodeEligible": true}),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    headers.insert("x-load-balancing-endpoint-weight", health.local_endpoints.into());
    response
}
