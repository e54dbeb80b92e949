//! A listener: one port of a broker, with the name that advertised addresses are matched by.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use hopwise_security::tls::MinVersion;
use serde::{Deserialize, Serialize};

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// The Kafka protocol.
    Kafka,
    /// The Admin API over HTTP.
    Admin,
    /// The HTTP Proxy (Pandaproxy).
    HttpProxy,
    /// The Schema Registry over HTTP.
    SchemaRegistry,
    /// The brokers' own RPC.
    Rpc,
}

impl Api {
    /// The word used in output: `kafka`, `admin`, `http-proxy`, `schema-registry`, `rpc`.
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

impl fmt::Display for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a listener wants its clients to prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Anybody may connect.
    None,
    /// SASL over the Kafka protocol.
    Sasl,
    /// The client certificate's name.
    MtlsIdentity,
    /// HTTP basic authentication.
    HttpBasic,
}

impl Authentication {
    /// The word of the configuration file: `none`, `sasl`, `mtls_identity`, `http_basic`.
    pub fn as_str(self) -> &'static str {
        match self {
            Authentication::None => "none",
            Authentication::Sasl => "sasl",
            Authentication::MtlsIdentity => "mtls_identity",
            Authentication::HttpBasic => "http_basic",
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A host (name or address) and a port, as they are written; nothing is resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostPort {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// A host and a port.
    pub fn new(host: impl Into<String>, port: u16) -> HostPort {
        HostPort { host: host.into(), port }
    }

    /// Reads `host:port`, with brackets around an IPv6 address. `None` if there is no port or no host.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        Some(HostPort::new(host, port.parse().ok()?))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// An address that a broker tells its clients, under the name of the listener it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvertisedListener {
    /// The listener's name.
    pub name: String,
    /// What clients are told.
    pub address: HostPort,
}

/// One port that a broker opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What it speaks.
    pub api: Api,
    /// Its name; empty if the file gives none.
    pub name: String,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What clients that entered by it are told; `None` where nothing is advertised (Admin, Schema Registry,
    /// or no advertised entry of this name).
    pub advertised: Option<HostPort>,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The files of its TLS; there if it speaks TLS.
    pub tls_files: Option<TlsFiles>,
    /// How its clients prove who they are.
    pub authentication: Authentication,
}

/// The TLS entry of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and the authority, PEM.
    pub certificate: PathBuf,
    /// The certificate's key, PEM.
    pub key: PathBuf,
    /// The authorities of client certificates and, for RPC, of the other brokers, PEM.
    pub truststore: Option<PathBuf>,
    /// Whether a client must show a certificate.
    pub require_client_certificate: bool,
    /// The least protocol version.
    pub min_version: MinVersion,
}
