//! kube-proxy's health endpoints, over HTTP on the node.
//!
//! Source: kubernetes.md 6.5 (status codes, body and header of `healthCheckNodePort`).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use hopwise_engine::host;
use hopwise_fabric::net::TcpListener;

use crate::proxy::health::{Answer, Health};

/// Port of kube-proxy's own health endpoint (kubernetes.md 6.5).
pub const HEALTHZ_PORT: u16 = 10256;

/// The health endpoints of one node: kube-proxy's own, and one per Service that has a health check port. They are
/// served by the host that calls [`HealthServers::start`].
pub struct HealthServers {
    health: Rc<RefCell<Health>>,
    /// The unspecified address of each family that the node has.
    addresses: Vec<IpAddr>,
    running: BTreeMap<u16, tokio::task::JoinHandle<()>>,
}

impl HealthServers {
    /// Starts kube-proxy's own endpoint on a node with these addresses. What it says is changed through
    /// [`HealthServers::health`].
    pub fn start(addresses: &[IpAddr]) -> HealthServers {
        let any: [(bool, IpAddr); 2] =
            [(true, Ipv4Addr::UNSPECIFIED.into()), (false, Ipv6Addr::UNSPECIFIED.into())];
        let has = |ipv4| addresses.iter().any(|address| address.is_ipv4() == ipv4);
        let addresses = any.into_iter().filter(|(ipv4, _)| has(*ipv4)).map(|(_, address)| address).collect();
        let mut servers = HealthServers { health: Rc::default(), addresses, running: BTreeMap::new() };
        servers.open(HEALTHZ_PORT);
        servers
    }

    /// What the endpoints answer from.
    pub fn health(&self) -> std::cell::RefMut<'_, Health> {
        self.health.borrow_mut()
    }

    /// Opens and closes the ports of Services after [`Health::sync_services`].
    pub fn follow(&mut self) {
        let ports = self.health.borrow().ports();
        self.running.retain(|port, task| {
            let keep = *port == HEALTHZ_PORT || ports.contains(port);
            if !keep {
                task.abort();
            }
            keep
        });
        for port in ports {
            if !self.running.contains_key(&port) {
                self.open(port);
            }
        }
    }

    /// The addresses of open endpoints, in order of their ports.
    pub fn listening(&self) -> Vec<SocketAddr> {
        let at = |port: &u16| {
            self.addresses.iter().map(|address| SocketAddr::new(*address, *port)).collect::<Vec<_>>()
        };
        self.running.keys().flat_map(at).collect()
    }

    fn open(&mut self, port: u16) {
        let addresses = self.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        self.running.insert(port, host::spawn(serve(addresses, self.health.clone())));
    }
}

/// Serves one port on all of `addresses` until dropped.
async fn serve(addresses: Vec<SocketAddr>, health: Rc<RefCell<Health>>) {
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
            let service = service_fn(move |request: Request<Incoming>| {
                let response = respond(&health.borrow(), address.port(), request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            // A checker that goes away ends its connection, which concerns nobody else.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn respond(health: &Health, port: u16, path: &str) -> Response<Full<Bytes>> {
    let now = hopwise_engine::now();
    let of_service = || health.of_service(health.service_at(port)?, now);
    let answer = if port == HEALTHZ_PORT { Some(health.of_proxy(path, now)) } else { of_service() };
    // A request that was on its way when the port was closed.
    let Answer { status, body, weight } =
        answer.unwrap_or(Answer { status: 503, body: serde_json::json!({}), weight: None });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    if let Some(weight) = weight {
        headers.insert("x-load-balancing-endpoint-weight", weight.into());
    }
    response
}
