//! What `hopwise serve` prints once its brokers are ready.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::Api;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeReport {
    /// The brokers, by id.
    pub brokers: Vec<Broker>,
    /// For each Kafka listener's name, the addresses of all brokers, separated by commas.
    pub bootstrap: BTreeMap<String, String>,
    /// The certificate of the authority that signed the brokers' certificates (PEM), if any listener has TLS.
    pub ca: Option<PathBuf>,
}

/// A broker that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Its node id in the cluster.
    pub id: i32,
    /// `namespace/name` of the pod that it would run in.
    pub pod: String,
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
    /// `ip:port` that it is bound to, which is what clients are told.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// How clients prove who they are: `none`, `sasl`, `http_basic`, `mtls_identity`.
    pub authentication: String,
}
