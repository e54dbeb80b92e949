//! Probes, performed: from the node to the pod over the fabric, or by a command in the container.
//!
//! Source: kubernetes.md 1.8. A redirect counts as success, and is not followed. An https probe
//! accepts every certificate. What cannot be performed is an assumption: the probe succeeds while the
//! container's program says that it serves its clients. So do probes of images that are not known, beyond the
//! connection itself.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hopwise_fabric::net::TcpStream;
use hopwise_security::tls::ClientSettings;
use hyper::Method;
use k8s_openapi::api::core::v1::{self as core, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::container_runtime;
use super::curl::{HttpRequest, ask};
use super::exec;
use super::pod_worker::PodContext;
use super::programs::Container;
use super::state::Assumption;
use crate::pod_life::probe::ProbeKind;

/// A container that is probed.
pub struct Probed {
    /// Its pod.
    pub pod: Rc<PodContext>,
    /// As the manifest has it.
    pub declared: core::Container,
    /// As it was started.
    pub container: Rc<Container>,
}

/// Performs a probe; it fails when `timeout` is over.
pub async fn perform(probed: &Probed, kind: ProbeKind, timeout: Duration) -> bool {
    let Some(probe) = kind.of(&probed.declared) else { return true };
    tokio::time::timeout(timeout, attempt(probed, kind, probe)).await.unwrap_or(false)
}

async fn attempt(probed: &Probed, kind: ProbeKind, probe: &Probe) -> bool {
    let known = probed.pod.knows(&probed.declared.name);
    if let Some(action) = &probe.exec {
        return command(probed, kind, action.command.clone().unwrap_or_default()).await;
    }
    if let Some(action) = &probe.http_get {
        let port = probed.port(&action.port);
        if !known {
            return echo(probed, kind, port).await;
        }
        return match port.and_then(|port| request(probed, action, port)) {
            Some(request) => matches!(ask(&request).await, Ok((200..=399, _))),
            None => false,
        };
    }
    if let Some(TCPSocketAction { port, .. }) = &probe.tcp_socket {
        let port = probed.port(port);
        return if known { probed.connects(port).await } else { echo(probed, kind, port).await };
    }
    let what = if probe.grpc.is_some() { "gRPC is not modelled" } else { "it names nothing to do" };
    probed.assume(kind, format!("{what}; it succeeds while the program serves"));
    probed.is_serving()
}

/// A probe of a program that is not known: the connection is made where the container declares the port.
async fn echo(probed: &Probed, kind: ProbeKind, port: Option<u16>) -> bool {
    let taken = "the image is not known; it succeeds while the port, if it is declared, accepts connections";
    probed.assume(kind, taken.into());
    let declared = port.filter(|port| probed.container.ports.iter().any(|it| it.number == *port && !it.udp));
    match declared {
        Some(port) => probed.connects(Some(port)).await,
        None => probed.is_serving(),
    }
}

async fn command(probed: &Probed, kind: ProbeKind, command: Vec<String>) -> bool {
    let interpreted = probed.pod.shared.programs.interprets(&probed.container.image);
    let device = probed.pod.device();
    let done = match device {
        Some(device) if interpreted => exec::run(device, probed.container.clone(), command).await,
        _ => Err(exec::NotUnderstood("the image is not known".into())),
    };
    match done {
        Ok(exit) => exit.status == 0,
        Err(why) => {
            probed.assume(kind, format!("{why}; it succeeds while the program serves"));
            probed.is_serving()
        }
    }
}

fn is_https(action: &HTTPGetAction) -> bool {
    action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// The request of an httpGet action; none if the pod has no address or the action makes no URL.
fn request(probed: &Probed, action: &HTTPGetAction, port: u16) -> Option<HttpRequest> {
    let pod_ip = || probed.container.addresses.first().map(|address| authority(*address));
    let host = action.host.clone().filter(|host| !host.is_empty()).or_else(pod_ip)?;
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let scheme = if is_https(action) { "https" } else { "http" };
    let uri = format!("{scheme}://{host}:{port}{slash}{path}").parse().ok()?;
    let headers = action.http_headers.iter().flatten().map(|it| (it.name.clone(), it.value.clone()));
    let trust = ClientSettings { any_server: true, ..ClientSettings::default() };
    // The kubelet names itself; nothing here looks at the version.
    let agent = ("User-Agent".to_owned(), "kube-probe".to_owned());
    Some(HttpRequest { method: Method::GET, uri, headers: headers.chain([agent]).collect(), trust })
}

fn authority(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// Performs an httpGet action of a hook; whether it got an answer that is no failure.
pub async fn get(probed: &Probed, action: &HTTPGetAction) -> bool {
    match probed.port(&action.port).and_then(|port| request(probed, action, port)) {
        Some(request) => matches!(ask(&request).await, Ok((200..=399, _))),
        None => false,
    }
}

impl Probed {
    fn port(&self, port: &IntOrString) -> Option<u16> {
        match port {
            IntOrString::Int(number) => u16::try_from(*number).ok(),
            IntOrString::String(name) => {
                let named = self.container.ports.iter().find(|it| it.name.as_ref() == Some(name));
                named.map(|it| it.number).or_else(|| name.parse().ok())
            }
        }
    }

    async fn connects(&self, port: Option<u16>) -> bool {
        match (self.container.addresses.first(), port) {
            (Some(address), Some(port)) => TcpStream::connect(SocketAddr::new(*address, port)).await.is_ok(),
            _ => false,
        }
    }

    fn is_serving(&self) -> bool {
        container_runtime::is_serving(&self.pod.shared, &self.pod.uid, &self.declared.name)
    }

    fn assume(&self, kind: ProbeKind, taken: String) {
        self.pod.shared.assume(Assumption::Probe {
            pod: self.pod.name.clone(),
            container: self.declared.name.clone(),
            image: self.container.image.clone(),
            probe: kind.as_str(),
            taken,
        });
    }
}
