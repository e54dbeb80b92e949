//! From the files to a [`NodeConfig`]: defaults, then the checks of redpanda.md 2.2.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hopwise_security::tls::MinVersion;
use serde_saphyr::Spanned;

use super::file::{BootstrapYaml, Endpoint, Redpanda, RedpandaYaml, Seed, Tls, WriteCaching, unknown_keys};
use super::node_id;
use super::{
    AdvertisedListener, Api, Authentication, ClusterProperties, ConfigError, HostPort, HttpServices,
    Listener, NodeConfig, kafka_client, security,
};

/// redpanda.md 2.1.
const CRASH_LOOP_LIMIT: u32 = 5;
const REDPANDA: &str = "redpanda.yaml";
pub(super) const BOOTSTRAP: &str = ".bootstrap.yaml";

pub(super) fn node_config(text: &str, bootstrap_text: Option<&str>) -> Result<NodeConfig, ConfigError> {
    let mut file: RedpandaYaml = read(REDPANDA, text)?;
    let pandaproxy_client = kafka_client::client("pandaproxy_client", file.pandaproxy_client.take())?;
    let schema_registry_client =
        kafka_client::client("schema_registry_client", file.schema_registry_client.take())?;
    let services = http_services(&file)?;
    let redpanda = file.redpanda.as_ref().ok_or(ConfigError::MissingRoot)?;
    let bootstrap: BootstrapYaml = match bootstrap_text {
        Some(text) if !text.trim().is_empty() => read(BOOTSTRAP, text)?,
        _ => BootstrapYaml::default(),
    };
    let properties = match bootstrap_text {
        Some(text) if !text.trim().is_empty() => read(BOOTSTRAP, text)?,
        _ => BTreeMap::new(),
    };
    let rpc = rpc_bind(redpanda)?;
    let advertised_rpc_api = match &redpanda.advertised_rpc_api {
        Some(entry) => advertised("redpanda.advertised_rpc_api", entry, rpc.port())?,
        None => HostPort::new(rpc.ip().to_string(), rpc.port()),
    };
    let mut config = NodeConfig {
        listeners: Vec::new(),
        advertised_kafka_api: advertised_list(
            "redpanda.advertised_kafka_api",
            &redpanda.advertised_kafka_api.0,
            9092,
        )?,
        advertised_pandaproxy_api: match &file.pandaproxy {
            Some(proxy) => advertised_list(
                "pandaproxy.advertised_pandaproxy_api",
                &proxy.advertised_pandaproxy_api.0,
                8082,
            )?,
            None => Vec::new(),
        },
        advertised_rpc_api,
        seed_servers: seeds(redpanda)?,
        empty_seed_starts_cluster: redpanda.empty_seed_starts_cluster.unwrap_or(true),
        node_id: node_id::configured(redpanda)?,
        node_id_overrides: node_id::overrides(redpanda)?,
        rack: redpanda.rack.clone().filter(|rack| !rack.is_empty()),
        data_directory: data_directory(redpanda)?,
        crash_loop_limit: redpanda.crash_loop_limit.unwrap_or(Some(CRASH_LOOP_LIMIT)),
        recovery_mode_enabled: redpanda.recovery_mode_enabled.unwrap_or(false),
        fingerprint: crc32c::crc32c_append(
            crc32c::crc32c(text.as_bytes()),
            bootstrap_text.unwrap_or_default().as_bytes(),
        ),
        bootstrap: properties,
        pandaproxy_client,
        schema_registry_client,
        services,
        cluster: cluster_properties(&bootstrap)?,
        security: security::properties(&bootstrap)?,
        unknown: unknown_keys(text),
    };
    config.listeners = listeners(&file, redpanda, &bootstrap, rpc)?;
    fill_advertised(&mut config);
    Ok(config)
}

/// The settings of the HTTP Proxy and the Schema Registry that are not listeners.
fn http_services(file: &RedpandaYaml) -> Result<HttpServices, ConfigError> {
    let default = HttpServices::default();
    let proxy = file.pandaproxy.as_ref();
    let milliseconds = |value: Option<u64>, default| value.map_or(default, Duration::from_millis);
    let replication = file.schema_registry.as_ref().and_then(|own| own.schema_registry_replication_factor);
    if let Some(factor) = replication.filter(|factor| *factor < 1) {
        return Err(wrong(
            "schema_registry.schema_registry_replication_factor",
            None,
            format!("{factor} is too small"),
            "use 1 or more, or leave it out",
        ));
    }
    Ok(HttpServices {
        consumer_instance_timeout: milliseconds(
            proxy.and_then(|proxy| proxy.consumer_instance_timeout_ms),
            default.consumer_instance_timeout,
        ),
        client_cache_max_size: proxy
            .and_then(|proxy| proxy.client_cache_max_size)
            .unwrap_or(default.client_cache_max_size)
            .max(1),
        client_keep_alive: milliseconds(
            proxy.and_then(|proxy| proxy.client_keep_alive),
            default.client_keep_alive,
        ),
        schema_registry_replication_factor: replication,
    })
}

fn read<T: serde::de::DeserializeOwned>(file: &'static str, text: &str) -> Result<T, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map(|location| location.line());
        let written = line.and_then(|line| text.lines().nth(usize::try_from(line).ok()?.checked_sub(1)?));
        let mut message = error.without_snippet().to_string();
        if let Some(written) = written {
            message.push_str(&format!(", in: {}", written.trim()));
        }
        ConfigError::Syntax { file, line, message }
    })
}

pub(super) fn wrong(
    field: impl Into<String>,
    line: Option<u64>,
    problem: impl Into<String>,
    expected: &str,
) -> ConfigError {
    let (field, problem) = (field.into(), problem.into());
    ConfigError::Field { file: REDPANDA, line, field, problem, expected: expected.to_owned() }
}

pub(super) fn line(value: &Spanned<String>) -> Option<u64> {
    Some(value.referenced.line()).filter(|line| *line > 0)
}

fn bind(field: &str, entry: &Endpoint, ip: IpAddr, port: u16) -> Result<SocketAddr, ConfigError> {
    let port = entry.port.unwrap_or(port);
    let Some(address) = &entry.address else { return Ok(SocketAddr::new(ip, port)) };
    match address.value.as_str() {
        "localhost" => Ok(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)),
        text => text.parse().map(|ip| SocketAddr::new(ip, port)).map_err(|_| {
            wrong(
                format!("{field}.address"),
                line(address),
                format!("\"{text}\" is not an IP address"),
                "a broker listens on an IP address of its pod, for instance 0.0.0.0",
            )
        }),
    }
}

pub(super) fn advertised(field: &str, entry: &Endpoint, port: u16) -> Result<HostPort, ConfigError> {
    let expected = "advertise a name or address that clients can reach";
    let field = format!("{field}.address");
    let address = match &entry.address {
        Some(address) if !address.value.trim().is_empty() => address,
        Some(address) => return Err(wrong(field, line(address), "the host is empty", expected)),
        None => return Err(wrong(field, None, "the host is missing", expected)),
    };
    if matches!(address.value.as_str(), "0.0.0.0" | "::") {
        let problem = format!("{} is not an address that anybody can connect to", address.value);
        return Err(wrong(field, line(address), problem, expected));
    }
    Ok(HostPort::new(address.value.trim(), entry.port.unwrap_or(port)))
}

fn advertised_list(
    field: &str,
    entries: &[Endpoint],
    port: u16,
) -> Result<Vec<AdvertisedListener>, ConfigError> {
    let named = |(index, entry): (usize, &Endpoint)| {
        let address = advertised(&format!("{field}[{index}]"), entry, port)?;
        Ok(AdvertisedListener { name: entry.name.clone().unwrap_or_default(), address })
    };
    entries.iter().enumerate().map(named).collect()
}

fn rpc_bind(redpanda: &Redpanda) -> Result<SocketAddr, ConfigError> {
    let default = Endpoint::default();
    let entry = redpanda.rpc_server.as_ref().unwrap_or(&default);
    bind("redpanda.rpc_server", entry, IpAddr::from([127, 0, 0, 1]), 33145)
}

fn seeds(redpanda: &Redpanda) -> Result<Vec<HostPort>, ConfigError> {
    let mut seeds = Vec::new();
    for (index, seed) in redpanda.seed_servers.iter().flatten().enumerate() {
        let address = seed_address(&format!("redpanda.seed_servers[{index}]"), seed)?;
        if seeds.contains(&address) {
            return Err(wrong(
                format!("redpanda.seed_servers[{index}]"),
                seed.host.as_ref().and_then(|host| host.address.as_ref()).and_then(line),
                format!("{address} is listed twice"),
                "name each seed once",
            ));
        }
        seeds.push(address);
    }
    Ok(seeds)
}

fn seed_address(field: &str, seed: &Seed) -> Result<HostPort, ConfigError> {
    match &seed.host {
        Some(host) => advertised(&format!("{field}.host"), host, 33145),
        None => {
            let entry = Endpoint { address: seed.address.clone(), port: seed.port, ..Endpoint::default() };
            advertised(field, &entry, 33145)
        }
    }
}

/// Where `rpk redpanda start` keeps data unless the file says otherwise.
const DATA_DIRECTORY_DEFAULT: &str = "/var/lib/redpanda/data";

fn data_directory(redpanda: &Redpanda) -> Result<PathBuf, ConfigError> {
    let expected = "an absolute path on the broker's volume, for instance /var/lib/redpanda/data";
    match redpanda.data_directory.as_deref() {
        Some(path) if path.starts_with('/') => Ok(PathBuf::from(path)),
        Some(path) => {
            Err(wrong("redpanda.data_directory", None, format!("\"{path}\" is not absolute"), expected))
        }
        // The core requires it; `rpk redpanda start`, which starts the core, fills in its own default.
        None => Ok(PathBuf::from(DATA_DIRECTORY_DEFAULT)),
    }
}

fn millis(value: Option<u64>, default: Duration) -> Duration {
    value.map_or(default, Duration::from_millis)
}

/// The properties that a set of values comes to; `None` if a value has another type than is wanted.
pub(super) fn properties_of(set: &BTreeMap<String, serde_json::Value>) -> Option<ClusterProperties> {
    let values = set.iter().map(|(name, value)| (name.clone(), value.clone()));
    let file = serde_json::from_value(serde_json::Value::Object(values.collect())).ok()?;
    cluster_properties(&file).ok()
}

fn cluster_properties(file: &BootstrapYaml) -> Result<ClusterProperties, ConfigError> {
    let default = ClusterProperties::default();
    let positive = |field: &str, value: i64| {
        if value > 0 {
            return Ok(());
        }
        Err(ConfigError::Field {
            file: BOOTSTRAP,
            line: None,
            field: field.to_owned(),
            problem: format!("{value} is too small"),
            expected: "use 1 or more".to_owned(),
        })
    };
    let properties = ClusterProperties {
        alive_timeout: file.alive_timeout_ms.map_or(default.alive_timeout, Duration::from_millis),
        node_status_interval: file
            .node_status_interval
            .map_or(default.node_status_interval, Duration::from_millis),
        auto_create_topics_enabled: file.auto_create_topics_enabled.unwrap_or(false),
        default_topic_partitions: file.default_topic_partitions.unwrap_or(default.default_topic_partitions),
        group_initial_rebalance_delay: file
            .group_initial_rebalance_delay
            .map_or(default.group_initial_rebalance_delay, Duration::from_millis),
        group_max_session_timeout: file
            .group_max_session_timeout_ms
            .map_or(default.group_max_session_timeout, Duration::from_millis),
        group_min_session_timeout: file
            .group_min_session_timeout_ms
            .map_or(default.group_min_session_timeout, Duration::from_millis),
        group_topic_partitions: file.group_topic_partitions.unwrap_or(default.group_topic_partitions),
        internal_topic_replication_factor: file
            .internal_topic_replication_factor
            .unwrap_or(default.internal_topic_replication_factor),
        default_topic_replications: file
            .default_topic_replications
            .unwrap_or(default.default_topic_replications),
        kafka_batch_max_bytes: file.kafka_batch_max_bytes.unwrap_or(default.kafka_batch_max_bytes),
        kafka_request_max_bytes: file.kafka_request_max_bytes.unwrap_or(default.kafka_request_max_bytes),
        fetch_max_bytes: file.fetch_max_bytes.unwrap_or(default.fetch_max_bytes),
        log_segment_size: file.log_segment_size.unwrap_or(default.log_segment_size),
        topic_partitions_per_shard: file
            .topic_partitions_per_shard
            .unwrap_or(default.topic_partitions_per_shard),
        transaction_coordinator_partitions: file
            .transaction_coordinator_partitions
            .unwrap_or(default.transaction_coordinator_partitions),
        metadata_dissemination_interval: millis(
            file.metadata_dissemination_interval_ms,
            default.metadata_dissemination_interval,
        ),
        raft_heartbeat_interval: millis(file.raft_heartbeat_interval_ms, default.raft_heartbeat_interval),
        raft_heartbeat_timeout: millis(file.raft_heartbeat_timeout_ms, default.raft_heartbeat_timeout),
        raft_election_timeout: millis(file.raft_election_timeout_ms, default.raft_election_timeout),
        raft_transfer_leader_recovery_timeout: millis(
            file.raft_transfer_leader_recovery_timeout_ms,
            default.raft_transfer_leader_recovery_timeout,
        ),
        raft_timeout_now_timeout: millis(file.raft_timeout_now_timeout_ms, default.raft_timeout_now_timeout),
        raft_replica_max_flush_delay: millis(
            file.raft_replica_max_flush_delay_ms,
            default.raft_replica_max_flush_delay,
        ),
        raft_replica_max_pending_flush_bytes: file
            .raft_replica_max_pending_flush_bytes
            .unwrap_or(default.raft_replica_max_pending_flush_bytes),
        raft_learner_recovery_rate: file
            .raft_learner_recovery_rate
            .unwrap_or(default.raft_learner_recovery_rate),
        storage_min_free_bytes: file.storage_min_free_bytes.unwrap_or(default.storage_min_free_bytes),
        storage_space_alert_free_threshold_bytes: file
            .storage_space_alert_free_threshold_bytes
            .unwrap_or(default.storage_space_alert_free_threshold_bytes),
        storage_space_alert_free_threshold_percent: file
            .storage_space_alert_free_threshold_percent
            .unwrap_or(default.storage_space_alert_free_threshold_percent),
        write_caching_default: file.write_caching_default.is_some_and(WriteCaching::is_on),
    };
    for (field, duration) in [
        ("metadata_dissemination_interval_ms", properties.metadata_dissemination_interval),
        ("raft_heartbeat_interval_ms", properties.raft_heartbeat_interval),
        ("raft_heartbeat_timeout_ms", properties.raft_heartbeat_timeout),
        ("raft_election_timeout_ms", properties.raft_election_timeout),
    ] {
        positive(field, duration.as_millis().min(1) as i64)?;
    }
    positive("group_topic_partitions", properties.group_topic_partitions.into())?;
    positive("transaction_coordinator_partitions", properties.transaction_coordinator_partitions.into())?;
    positive("default_topic_partitions", properties.default_topic_partitions.into())?;
    positive("default_topic_replications", properties.default_topic_replications.into())?;
    positive("node_status_interval", properties.node_status_interval.as_millis().min(1) as i64)?;
    positive("log_segment_size", properties.log_segment_size.min(1) as i64)?;
    Ok(properties)
}

/// One kind of listener in the file.
struct Kind<'a> {
    api: Api,
    field: &'static str,
    entries: &'a [Endpoint],
    tls: &'a [Tls],
    default: SocketAddr,
    authentication: Authentication,
    min_version: MinVersion,
}

impl Kind<'_> {
    fn listeners(&self) -> Result<Vec<Listener>, ConfigError> {
        let default = [Endpoint::default()];
        let entries = if self.entries.is_empty() { &default[..] } else { self.entries };
        entries.iter().enumerate().map(|(index, entry)| self.listener(index, entry)).collect()
    }

    /// The path of the TLS entry that belongs to a listener.
    fn tls_field(&self, index: usize) -> String {
        let name = self.entries.get(index).and_then(|entry| entry.name.as_deref()).unwrap_or_default();
        let place = self.tls.iter().position(|tls| tls.name.as_deref().unwrap_or_default() == name);
        format!("{}_tls[{}]", self.field.replace("redpanda.admin", "redpanda.admin_api"), place.unwrap_or(0))
    }

    fn listener(&self, index: usize, entry: &Endpoint) -> Result<Listener, ConfigError> {
        let field = format!("{}[{index}]", self.field);
        let name = entry.name.clone().unwrap_or_default();
        let tls = self.tls.iter().find(|tls| tls.name.as_deref().unwrap_or_default() == name);
        let authentication = match &entry.authentication_method {
            Some(method) => authentication(&field, method)?,
            None => self.authentication,
        };
        // redpanda.md 2.2: mtls_identity needs TLS with require_client_auth under the same name.
        let certificate = |tls: &Tls| tls.enabled == Some(true) && tls.require_client_auth == Some(true);
        if authentication == Authentication::MtlsIdentity && !tls.is_some_and(certificate) {
            return Err(wrong(
                format!("{field}.authentication_method"),
                entry.authentication_method.as_ref().and_then(line),
                format!("mtls_identity without client certificates on listener \"{name}\""),
                "add a TLS entry of the same name with enabled and require_client_auth true",
            ));
        }
        Ok(Listener {
            api: self.api,
            bind: bind(&field, entry, self.default.ip(), self.default.port())?,
            advertised: None,
            tls: tls.is_some_and(|tls| tls.enabled == Some(true)),
            tls_files: security::tls_files(&self.tls_field(index), tls, self.min_version)?,
            authentication,
            name,
        })
    }
}

fn authentication(field: &str, method: &Spanned<String>) -> Result<Authentication, ConfigError> {
    match method.value.as_str() {
        "none" => Ok(Authentication::None),
        "sasl" => Ok(Authentication::Sasl),
        "mtls_identity" => Ok(Authentication::MtlsIdentity),
        "http_basic" => Ok(Authentication::HttpBasic),
        other => Err(wrong(
            format!("{field}.authentication_method"),
            line(method),
            format!("\"{other}\" is not a method"),
            "use none, sasl or mtls_identity (Kafka), none or http_basic (HTTP)",
        )),
    }
}

fn listeners(
    file: &RedpandaYaml,
    redpanda: &Redpanda,
    bootstrap: &BootstrapYaml,
    rpc: SocketAddr,
) -> Result<Vec<Listener>, ConfigError> {
    let chosen = |on: Option<bool>, method| if on == Some(true) { method } else { Authentication::None };
    let min_version = security::min_version(bootstrap)?;
    let mut listeners = Kind {
        api: Api::Kafka,
        field: "redpanda.kafka_api",
        entries: &redpanda.kafka_api.0,
        tls: &redpanda.kafka_api_tls.0,
        default: SocketAddr::from(([127, 0, 0, 1], 9092)),
        authentication: chosen(bootstrap.enable_sasl, Authentication::Sasl),
        min_version,
    }
    .listeners()?;
    let admin = Kind {
        api: Api::Admin,
        field: "redpanda.admin",
        entries: &redpanda.admin.0,
        tls: &redpanda.admin_api_tls.0,
        default: SocketAddr::from(([127, 0, 0, 1], 9644)),
        authentication: chosen(bootstrap.admin_api_require_auth, Authentication::HttpBasic),
        min_version,
    };
    listeners.extend(admin.listeners()?);
    if let Some(proxy) = &file.pandaproxy {
        let proxy = Kind {
            api: Api::HttpProxy,
            field: "pandaproxy.pandaproxy_api",
            entries: &proxy.pandaproxy_api.0,
            tls: &proxy.pandaproxy_api_tls.0,
            default: SocketAddr::from(([0, 0, 0, 0], 8082)),
            authentication: Authentication::None,
            min_version,
        };
        listeners.extend(proxy.listeners()?);
    }
    if let Some(registry) = &file.schema_registry {
        let registry = Kind {
            api: Api::SchemaRegistry,
            field: "schema_registry.schema_registry_api",
            entries: &registry.schema_registry_api.0,
            tls: &registry.schema_registry_api_tls.0,
            default: SocketAddr::from(([0, 0, 0, 0], 8081)),
            authentication: Authentication::None,
            min_version,
        };
        listeners.extend(registry.listeners()?);
    }
    let tls = redpanda.rpc_server_tls.as_ref();
    let tls_files = security::tls_files("redpanda.rpc_server_tls", tls, min_version)?;
    let tls = tls_files.is_some();
    let (name, authentication) = (String::new(), Authentication::None);
    listeners.push(Listener {
        api: Api::Rpc,
        name,
        bind: rpc,
        advertised: None,
        tls,
        tls_files,
        authentication,
    });
    Ok(listeners)
}

/// redpanda.md 2.1: an empty advertised list means the listeners' own addresses.
fn fill_advertised(config: &mut NodeConfig) {
    let own = |listeners: &[Listener], api: Api| -> Vec<AdvertisedListener> {
        let of_kind = listeners.iter().filter(|listener| listener.api == api);
        let address =
            |listener: &Listener| HostPort::new(listener.bind.ip().to_string(), listener.bind.port());
        of_kind
            .map(|listener| AdvertisedListener { name: listener.name.clone(), address: address(listener) })
            .collect()
    };
    if config.advertised_kafka_api.is_empty() {
        config.advertised_kafka_api = own(&config.listeners, Api::Kafka);
    }
    if config.advertised_pandaproxy_api.is_empty() {
        config.advertised_pandaproxy_api = own(&config.listeners, Api::HttpProxy);
    }
    for listener in &mut config.listeners {
        let entries = match listener.api {
            Api::Kafka => &config.advertised_kafka_api,
            Api::HttpProxy => &config.advertised_pandaproxy_api,
            Api::Admin | Api::SchemaRegistry | Api::Rpc => continue,
        };
        let entry = entries.iter().find(|entry| entry.name == listener.name);
        listener.advertised = entry.map(|entry| entry.address.clone());
    }
}
