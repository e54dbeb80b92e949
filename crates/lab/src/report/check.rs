//! What `hopwise check` reports, field by field as the command line promises.

use std::collections::BTreeMap;

use hopwise_fabric::Hop as FabricHop;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::findings::{Finding, Severity};
use crate::place::Place;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckReport {
    /// Whether every route that should work does, and no finding is an error.
    pub verdict: Verdict,
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
    /// What was tried.
    pub routes: Vec<Route>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// The pods.
    pub pods: Vec<Pod>,
    /// The Services.
    pub services: Vec<Service>,
}

/// Whether the thing examined is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Fail,
}

/// A broker as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Its node id in the cluster.
    pub id: i32,
    /// `namespace/name` of its pod.
    pub pod: String,
    /// The Kubernetes node that it runs on.
    pub node: Option<String>,
    /// That node's address.
    pub node_address: Option<String>,
    /// The claims that its pod mounts.
    pub volumes: Vec<String>,
    /// Its rack, if it has one.
    pub rack: Option<String>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
}

/// One listener of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// What it speaks.
    pub api: Api,
    /// Its name in redpanda.yaml.
    pub name: String,
    /// `ip:port` that it is bound to.
    pub bind: String,
    /// `host:port` that clients are told, where the API tells one.
    pub advertised: Option<String>,
    /// Whether TLS is configured.
    pub tls: bool,
    /// How clients prove who they are: `none`, `sasl`, `http_basic`, `mtls_identity`.
    pub authentication: String,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// The Kafka protocol.
    Kafka,
    /// The Admin API.
    Admin,
    /// The HTTP Proxy.
    HttpProxy,
    /// The Schema Registry.
    SchemaRegistry,
    /// The RPC between brokers.
    Rpc,
}

/// One attempt of a client at one listener of one broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Where the client stands.
    pub from: Place,
    /// What it speaks.
    pub api: Api,
    /// The listener's name.
    pub listener: String,
    /// The broker's id.
    pub broker: i32,
    /// `host:port` as the client was told it.
    pub address: String,
    /// How it ended.
    pub outcome: Outcome,
    /// `namespace/name` of the pod that answered.
    pub reached: Option<String>,
    /// The client's address as the pod saw it.
    pub source_seen: Option<String>,
    /// Every device on the way there.
    pub hops: Vec<Hop>,
    /// From the first packet until the connection stood.
    pub connect_ns: Option<u64>,
    /// From the first request until its answer.
    pub request_ns: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The request was answered by the broker that advertises the address.
    Ok,
    /// The name has no address where the client stands.
    NameNotFound,
    /// The connection was refused.
    Refused,
    /// Nothing came back.
    Timeout,
    /// The network said that there is no way.
    Unreachable,
    /// Another broker answered.
    WrongBroker,
    /// The TLS handshake failed.
    TlsFailed,
    /// The broker did not accept who the client is.
    AuthenticationFailed,
    /// The other side speaks another protocol.
    ProtocolMismatch,
    /// Nothing carries this listener out of the cluster, and nothing says that it should.
    NotExposed,
}

/// One device's part in a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hop {
    /// The device's name.
    pub device: String,
    /// What it did: the words of `hopwise_fabric::Action`.
    pub action: String,
    /// `ip:port` of the packet's source as it leaves the device.
    pub src: String,
    /// `ip:port` of the packet's destination as it leaves the device.
    pub dst: String,
    /// When, in nanoseconds since the simulation's start.
    pub at_ns: u64,
    /// Why, for an action that needs it. Absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// `namespace/name`.
    pub pod: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// Why it is not running or not ready.
    pub reason: Option<String>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// `namespace/name`.
    pub service: String,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    pub r#type: String,
    /// Its cluster IP; `None` (the word) for a headless Service.
    pub cluster_ip: Option<String>,
    /// Node ports by port name.
    pub node_ports: BTreeMap<String, u16>,
    /// What load balancers published.
    pub ingress: Vec<String>,
}

impl CheckReport {
    /// Puts the parts together; the verdict is `fail` if a finding is an error or a route failed. A listener that is
    /// not exposed is no failure in itself: where it should have been, a finding says so.
    pub fn new(
        brokers: Vec<Broker>,
        routes: Vec<Route>,
        findings: Vec<Finding>,
        pods: Vec<Pod>,
        services: Vec<Service>,
    ) -> CheckReport {
        let sound = routes.iter().all(|route| !route.outcome.is_failure())
            && findings.iter().all(|finding| finding.severity != Severity::Error);
        let verdict = if sound { Verdict::Pass } else { Verdict::Fail };
        CheckReport { verdict, brokers, routes, findings, pods, services }
    }
}

impl Outcome {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::NameNotFound => "name-not-found",
            Outcome::Refused => "refused",
            Outcome::Timeout => "timeout",
            Outcome::Unreachable => "unreachable",
            Outcome::WrongBroker => "wrong-broker",
            Outcome::TlsFailed => "tls-failed",
            Outcome::AuthenticationFailed => "authentication-failed",
            Outcome::ProtocolMismatch => "protocol-mismatch",
            Outcome::NotExposed => "not-exposed",
        }
    }

    /// Whether a client that was told the address fails with it.
    pub fn is_failure(self) -> bool {
        !matches!(self, Outcome::Ok | Outcome::NotExposed)
    }
}

impl Api {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Api::Kafka => "kafka",
            Api::Admin => "admin",
            Api::HttpProxy => "http-proxy",
            Api::SchemaRegistry => "schema-registry",
            Api::Rpc => "rpc",
        }
    }
}

impl Hop {
    /// Whether the device is on the way, neither the sender nor the receiver.
    pub fn is_between(&self) -> bool {
        !matches!(self.action.as_str(), "sent" | "delivered" | "lost")
    }
}

impl From<&FabricHop> for Hop {
    fn from(hop: &FabricHop) -> Self {
        Hop {
            device: hop.device.to_string(),
            action: hop.action.as_str().to_owned(),
            src: hop.source.to_string(),
            dst: hop.destination.to_string(),
            at_ns: hop.at.as_nanos(),
            detail: hop.detail.as_ref().map(|detail| detail.to_string()),
        }
    }
}
