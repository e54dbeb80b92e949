//! Reading redpanda.yaml and what stops a start.

use hopwise_broker::{HostPort, NodeConfig};

const FULL: &str = "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: false
  crash_loop_limit: 5
  rack: zone-b
  admin:
    - {name: internal, address: 0.0.0.0, port: 9644}
    - {name: default, address: 0.0.0.0, port: 9645}
  admin_api_tls:
    - {name: internal, enabled: true, require_client_auth: false, cert_file: /c/tls.crt, key_file: /c/tls.key}
  kafka_api:
    - {name: internal, address: 0.0.0.0, port: 9093}
    - {name: default, address: 0.0.0.0, port: 9094, authentication_method: none}
    - {name: unadvertised, address: '::', port: 9095}
  kafka_api_tls:
    - {name: default, enabled: true, cert_file: /etc/tls/certs/external/tls.crt, key_file: /etc/tls/certs/external/tls.key}
  advertised_kafka_api:
    - {name: internal, address: redpanda-1.redpanda.default.svc.cluster.local., port: 9093}
    - {name: default, address: redpanda-1.example.com, port: 31092}
  rpc_server: {address: 0.0.0.0, port: 33145}
  rpc_server_tls: {enabled: true, cert_file: /c/tls.crt, key_file: /c/tls.key, truststore_file: /c/ca.crt}
  seed_servers:
    - host: {address: redpanda-0.redpanda.default.svc.cluster.local., port: 33145}
    - host: {address: redpanda-1.redpanda.default.svc.cluster.local., port: 33145}
pandaproxy:
  pandaproxy_api:
    - {name: internal, address: 0.0.0.0, port: 8082}
  advertised_pandaproxy_api:
    - {name: internal, address: redpanda-1.redpanda.default.svc.cluster.local., port: 8082}
schema_registry: {}
rpk:
  tune_aio_events: true
";

#[test]
fn listeners_of_a_full_file() {
    let config = NodeConfig::parse(FULL, Some("enable_sasl: true\ndefault_topic_replications: 3\n")).unwrap();
    let lines: Vec<String> = config
        .listeners()
        .iter()
        .map(|listener| {
            let advertised = listener.advertised.as_ref().map_or("-".to_owned(), HostPort::to_string);
            format!(
                "{} {:?} on {} as {advertised} tls={} authentication={}",
                listener.api, listener.name, listener.bind, listener.tls, listener.authentication
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(config.rack.as_deref(), Some("zone-b"));
    assert_eq!(config.cluster.default_topic_replications, 3);
    assert_eq!(config.seed_servers[1].to_string(), "redpanda-1.redpanda.default.svc.cluster.local.:33145");
    let unknown: Vec<&str> = config.unknown.keys().map(String::as_str).collect();
    assert_eq!(unknown, ["rpk"]);
}

#[test]
fn the_command_line_replaces_the_advertised_rpc_address() {
    let mut config = NodeConfig::parse(FULL, None).unwrap();
    let given = "redpanda-1.redpanda.default.svc.cluster.local.:33145";
    config.advertised_rpc_api = HostPort::parse(given).unwrap();
    let rpc = config.listeners().pop().unwrap();
    assert_eq!(rpc.advertised.unwrap().to_string(), given);
    assert_eq!(HostPort::parse("[::1]:9092"), Some(HostPort::new("::1", 9092)));
    assert_eq!(HostPort::parse(":9092"), None);
}

#[test]
fn what_is_absent_has_its_default() {
    let config = NodeConfig::parse(
        "redpanda: {data_directory: /data, kafka_api: {address: 10.0.0.7, port: 9092}, rack: null}",
        None,
    )
    .unwrap();
    let lines: Vec<String> = config
        .listeners()
        .iter()
        .map(|listener| format!("{} {} {:?}", listener.api, listener.bind, listener.advertised))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert!(config.seed_servers.is_empty() && config.empty_seed_starts_cluster && config.rack.is_none());
}

#[test]
fn what_stops_a_start_is_told_with_its_place() {
    let replaced = |from: &str, to: &str| {
        assert!(FULL.contains(from), "{from}");
        FULL.replacen(from, to, 1)
    };
    let cases = [
        ("no root", "pandaproxy: {}".to_owned()),
        ("not YAML", "redpanda: [".to_owned()),
        ("wrong type", replaced("port: 9094", "port: ninety")),
        ("port too large", replaced("port: 9094", "port: 90940")),
        ("advertised 0.0.0.0", replaced("address: redpanda-1.example.com", "address: 0.0.0.0")),
        ("advertised empty", replaced("address: redpanda-1.example.com", "address: ''")),
        ("advertised missing", replaced("address: redpanda-1.example.com, ", "")),
        ("seed twice", replaced("address: redpanda-0.", "address: redpanda-1.")),
        ("bind is a name", replaced("internal, address: 0.0.0.0", "internal, address: redpanda-1")),
        ("method", replaced("authentication_method: none", "authentication_method: kerberos")),
        ("mtls without TLS", replaced("authentication_method: none", "authentication_method: mtls_identity")),
        ("TLS without a key", replaced(", key_file: /c/tls.key}", "}")),
        (
            "client certificates of nobody",
            replaced("require_client_auth: false", "require_client_auth: true"),
        ),
        ("TLS version", replaced("require_client_auth: false", "min_tls_version: v9")),
        ("relative data", replaced("/var/lib/redpanda/data", "data")),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(case, text)| format!("{case}: {}", NodeConfig::parse(text, None).unwrap_err()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}
