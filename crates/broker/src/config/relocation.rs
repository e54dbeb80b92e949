//! The same broker at other addresses: what `hopwise serve` makes of a pod's configuration.
//!
//! Everything that tells somebody where a broker is changes with its listeners: what clients are told (a listener
//! keeps its name, by which they are told apart, redpanda.md 0.4), what other brokers are told, and the seed servers.

use std::net::SocketAddr;

use super::{AdvertisedListener, Api, HostPort, Listener, NodeConfig};

impl NodeConfig {
    /// This configuration with each listener where `place` puts it, and with `seeds` for seed servers.
    ///
    /// Clients are told the listener's own new address, and so are other brokers.
    #[must_use]
    pub fn relocated(&self, place: impl Fn(&Listener) -> SocketAddr, seeds: Vec<HostPort>) -> NodeConfig {
        let mut config = NodeConfig { seed_servers: seeds, ..self.clone() };
        for listener in &mut config.listeners {
            listener.bind = place(listener);
            if matches!(listener.api, Api::Kafka | Api::HttpProxy) {
                listener.advertised = Some(host_port(listener.bind));
            }
        }
        config.advertised_kafka_api = advertised(&config, Api::Kafka);
        config.advertised_pandaproxy_api = advertised(&config, Api::HttpProxy);
        // Their own first Kafka listener: the names of pods mean nothing where the broker is now.
        config.pandaproxy_client.brokers.clear();
        config.schema_registry_client.brokers.clear();
        let rpc = config.listeners_of(Api::Rpc).next().map(|listener| listener.bind);
        if let Some(rpc) = rpc {
            config.advertised_rpc_api = host_port(rpc);
        }
        config
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
  advertised_kafka_api:
    - {name: internal, address: redpanda-0.redpanda.svc, port: 9093}
  rpc_server: {address: 0.0.0.0, port: 33145}
  advertised_rpc_api: {address: redpanda-0.redpanda.svc, port: 33145}
  seed_servers: [{host: {address: redpanda-0.redpanda.svc, port: 33145}}]
pandaproxy: {pandaproxy_api: [{name: internal, address: 0.0.0.0, port: 8082}]}
pandaproxy_client: {brokers: [{address: redpanda-0.redpanda.svc, port: 9093}]}
";

    #[test]
    fn whoever_is_told_an_address_is_told_the_new_one() {
        let config = NodeConfig::parse(YAML, None).unwrap();
        let place = |listener: &Listener| SocketAddr::from(([127, 0, 0, 1], listener.bind.port() + 1000));
        let moved = config.relocated(place, vec![HostPort::new("127.0.0.1", 34145)]);
        let told = |listeners: &[AdvertisedListener]| {
            listeners.iter().map(|entry| format!("{} {}", entry.name, entry.address)).collect::<Vec<_>>()
        };
        let kafka = ["internal 127.0.0.1:10093", "default 127.0.0.1:10094"];
        assert_eq!(told(&moved.advertised_kafka_api), kafka);
        assert_eq!(told(&moved.advertised_pandaproxy_api), ["internal 127.0.0.1:9082"]);
        assert_eq!(moved.advertised_rpc_api, HostPort::new("127.0.0.1", 34145));
        assert_eq!(config.pandaproxy_client.brokers, [HostPort::new("redpanda-0.redpanda.svc", 9093)]);
        assert_eq!(moved.pandaproxy_client.brokers, []);
        assert_eq!(moved.seed_servers, [HostPort::new("127.0.0.1", 34145)]);
        for listener in moved.listeners() {
            let expected = (listener.api != Api::Admin).then(|| host_port(listener.bind));
            assert_eq!(listener.advertised, expected, "{}", listener.api);
        }
    }
}
