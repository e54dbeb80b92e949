//! The same broker at other addresses: what `hopwise serve` makes of a pod's configuration.
//!
//! Everything that tells somebody where a broker is changes with its listeners: what clients are told (a listener
//! keeps its name, by which they are told apart, redpanda.md 0.4), what other brokers are told, and the seed servers.

use std::net::SocketAddr;
use std::path::Path;

use super::{
    AdvertisedListener, Api, BrokerTls, HostPort, KafkaClientConfig, Listener, NodeConfig, TlsFiles,
};

/// Where a broker and its peers are instead.
pub struct Relocation<'a> {
    /// The new address of a listener.
    pub place: &'a dyn Fn(&Listener) -> SocketAddr,
    /// The new seed servers.
    pub seeds: Vec<HostPort>,
    /// The new addresses of a Kafka listener that the broker's own clients are given; none if it is nobody's.
    pub kafka: &'a dyn Fn(&HostPort) -> Vec<HostPort>,
    /// The directory of the certificate `tls.crt`, its key `tls.key` and the authority `ca.crt`, which are for the new
    /// addresses, as the old ones were for the old.
    pub certificates: &'a Path,
}

impl NodeConfig {
    /// This configuration at other addresses.
    ///
    /// Clients are told the listener's own new address, and so are other brokers.
    #[must_use]
    pub fn relocated(&self, relocation: Relocation<'_>) -> NodeConfig {
        let Relocation { place, seeds, kafka, certificates } = relocation;
        let mut config = NodeConfig { seed_servers: seeds, ..self.clone() };
        for listener in &mut config.listeners {
            listener.bind = place(listener);
            if matches!(listener.api, Api::Kafka | Api::HttpProxy) {
                listener.advertised = Some(host_port(listener.bind));
            }
            if let Some(files) = &mut listener.tls_files {
                replace_files(files, certificates);
            }
        }
        for client in [&mut config.pandaproxy_client, &mut config.schema_registry_client] {
            replace_peers(client, kafka, certificates);
        }
        config.advertised_kafka_api = advertised(&config, Api::Kafka);
        config.advertised_pandaproxy_api = advertised(&config, Api::HttpProxy);
        let rpc = config.listeners_of(Api::Rpc).next().map(|listener| listener.bind);
        if let Some(rpc) = rpc {
            config.advertised_rpc_api = host_port(rpc);
        }
        config
    }
}

impl NodeConfig {
    /// This configuration with its listeners bound elsewhere, while clients and other brokers are told the same
    /// addresses as before: a broker behind something that forwards.
    #[must_use]
    pub fn behind(&self, place: &dyn Fn(&Listener) -> SocketAddr) -> NodeConfig {
        let mut config = self.clone();
        for listener in &mut config.listeners {
            listener.bind = place(listener);
        }
        config
    }
}

fn replace_files(files: &mut TlsFiles, certificates: &Path) {
    files.certificate = certificates.join("tls.crt");
    files.key = certificates.join("tls.key");
    files.truststore = files.truststore.as_ref().map(|_| certificates.join("ca.crt"));
}

/// A client without brokers takes the broker's own first Kafka listener, wherever that is.
fn replace_peers(
    client: &mut KafkaClientConfig,
    kafka: &dyn Fn(&HostPort) -> Vec<HostPort>,
    certificates: &Path,
) {
    let mut brokers: Vec<HostPort> = Vec::new();
    for address in client.brokers.iter().flat_map(kafka) {
        if !brokers.contains(&address) {
            brokers.push(address);
        }
    }
    client.brokers = brokers;
    let file = |name: &str| Some(certificates.join(name).display().to_string());
    if let Some(tls) = client.broker_tls.as_mut().filter(|tls| tls.enabled) {
        let own = tls.cert_file.is_some();
        *tls = BrokerTls {
            enabled: true,
            cert_file: file("tls.crt").filter(|_| own),
            key_file: file("tls.key").filter(|_| own),
            truststore_file: file("ca.crt"),
        };
    }
}

fn advertised(config: &NodeConfig, api: Api) -> Vec<AdvertisedListener> {
    let entry = |listener: &Listener| AdvertisedListener {
        name: listener.name.clone(),
        address: host_port(listener.bind),
    };
    config.listeners_of(api).map(entry).collect()
}

fn host_port(address: SocketAddr) -> HostPort {
    HostPort::new(address.ip().to_string(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "redpanda:
  kafka_api:
    - {name: internal, address: 0.0.0.0, port: 9093}
    - {name: default, address: 0.0.0.0, port: 9094}
  kafka_api_tls:
    - {name: default, enabled: true, cert_file: /etc/tls/a.crt, key_file: /etc/tls/a.key}
  advertised_kafka_api:
    - {name: internal, address: redpanda-0.redpanda.svc, port: 9093}
  rpc_server: {address: 0.0.0.0, port: 33145}
  advertised_rpc_api: {address: redpanda-0.redpanda.svc, port: 33145}
  seed_servers: [{host: {address: redpanda-0.redpanda.svc, port: 33145}}]
pandaproxy: {pandaproxy_api: [{name: internal, address: 0.0.0.0, port: 8082}]}
pandaproxy_client: {brokers: [{address: redpanda-0.redpanda.svc, port: 9093}, {address: elsewhere, port: 1}]}
";

    fn moved() -> NodeConfig {
        let config = NodeConfig::parse(YAML, None).unwrap();
        config.relocated(Relocation {
            place: &|listener| SocketAddr::from(([127, 0, 0, 1], listener.bind.port() + 1000)),
            seeds: vec![HostPort::new("127.0.0.1", 34145)],
            kafka: &|address| match address.port {
                9093 => vec![HostPort::new("127.0.0.1", 10093)],
                _ => Vec::new(),
            },
            certificates: Path::new("/serve"),
        })
    }

    #[test]
    fn whoever_is_told_an_address_is_told_the_new_one() {
        let moved = moved();
        let told = |listeners: &[AdvertisedListener]| {
            listeners.iter().map(|entry| format!("{} {}", entry.name, entry.address)).collect::<Vec<_>>()
        };
        let kafka = ["internal 127.0.0.1:10093", "default 127.0.0.1:10094"];
        assert_eq!(told(&moved.advertised_kafka_api), kafka);
        assert_eq!(told(&moved.advertised_pandaproxy_api), ["internal 127.0.0.1:9082"]);
        assert_eq!(moved.advertised_rpc_api, HostPort::new("127.0.0.1", 34145));
        assert_eq!(moved.seed_servers, [HostPort::new("127.0.0.1", 34145)]);
        assert_eq!(moved.pandaproxy_client.brokers, [HostPort::new("127.0.0.1", 10093)]);
        for listener in moved.listeners() {
            let expected = (listener.api != Api::Admin).then(|| host_port(listener.bind));
            assert_eq!(listener.advertised, expected, "{}", listener.api);
        }
    }

    #[test]
    fn listeners_with_tls_get_other_certificates_and_the_others_none() {
        let moved = moved();
        let files: Vec<Option<String>> = moved
            .listeners_of(Api::Kafka)
            .map(|listener| listener.tls_files.as_ref().map(|files| files.key.display().to_string()))
            .collect();
        assert_eq!(files, [None, Some("/serve/tls.key".to_owned())]);
    }
}
