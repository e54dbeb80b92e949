//! Cases of `dns.json`: each query goes as a DNS message to a CoreDNS server with the case's objects and options.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use hopwise_engine::Time;
use hopwise_kube::dns::{
    Corefile, Endpoint, PodMode, Port, Server, ServerBlock, Service, ServiceKind, Slice, Transport,
    UpstreamName, Zone,
};
use ipnet::IpNet;
use libtest_mimic::Trial;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;
use serde_json::Value;

use crate::case::{self, Difference, equal};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    defaults: CaseOptions,
    #[serde(rename = "sources")]
    _sources: Value,
    fixtures: BTreeMap<String, Fixture>,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    zone: String,
    #[serde(default)]
    reverse_zones: Vec<String>,
    #[serde(default)]
    namespaces_missing: Vec<String>,
    #[serde(default)]
    pods: Vec<PodEntry>,
    services: Vec<ServiceEntry>,
    #[serde(default)]
    endpoints: Vec<SliceEntry>,
    /// `NAME TYPE` to an address, followed by remarks.
    #[serde(default)]
    upstream: BTreeMap<String, String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PodEntry {
    namespace: String,
    name: String,
    ip: IpAddr,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceEntry {
    ns: String,
    name: String,
    r#type: ServiceType,
    #[serde(default)]
    ips: Vec<IpAddr>,
    #[serde(default)]
    ports: Vec<(String, String, u16)>,
    #[serde(default)]
    publish_not_ready: bool,
    target: Option<String>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
enum ServiceType {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    Headless,
    ExternalName,
    /// The server has its endpoints, but not the Service.
    #[serde(rename = "(not in the index)")]
    NotThere,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceEntry {
    svc: String,
    #[serde(rename = "slice")]
    _slice: Option<Value>,
    addr: Vec<AddressEntry>,
    #[serde(default)]
    ports: Vec<(String, String, u16)>,
    #[serde(rename = "notes")]
    _notes: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressEntry {
    ip: IpAddr,
    hostname: Option<String>,
    ready: Option<bool>,
    /// Not consulted by DNS (kubernetes.md 5.1), but part of the format.
    #[serde(rename = "serving")]
    _serving: Option<bool>,
    zone: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseOptions {
    zone: Option<String>,
    ttl: Option<u32>,
    pods: Option<Pods>,
    ignore_empty_service: Option<bool>,
    endpoint_pod_names: Option<bool>,
    zonal: Option<bool>,
    multicluster: Option<Vec<String>>,
    cluster_id: Option<String>,
    synced: Option<bool>,
    namespaces: Option<Vec<String>>,
    server_ips: Option<Vec<IpAddr>>,
    zones: Option<Vec<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pods {
    Disabled,
    Insecure,
    Verified,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    #[serde(rename = "title")]
    _title: String,
    fixture: String,
    #[serde(default)]
    options: CaseOptions,
    query: CaseQuery,
    expect: Expect,
    origin: Origin,
    #[serde(rename = "derived")]
    _derived: Option<bool>,
    notes: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    path: String,
    test: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseQuery {
    name: String,
    r#type: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    rcode: String,
    kind: Kind,
    #[serde(default)]
    answer: Vec<ExpectedRecord>,
    #[serde(default)]
    additional: Vec<ExpectedRecord>,
    authority: Option<Authority>,
    #[serde(default)]
    truncated: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
enum Kind {
    #[serde(rename = "answer")]
    Answer,
    #[serde(rename = "NODATA")]
    NoData,
    #[serde(rename = "NXDOMAIN")]
    NxDomain,
    #[serde(rename = "SERVFAIL")]
    ServFail,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedRecord {
    name: String,
    r#type: String,
    ttl: Option<u32>,
    data: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Authority {
    r#type: String,
    owner: String,
    ttl: Option<u32>,
}

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("dns.json");
    assert_eq!(file.format, "k8s-dns/1", "the format of dns.json");
    let trial = |case: &Case| {
        let fixture = file.fixtures.get(&case.fixture);
        let fixture = fixture.unwrap_or_else(|| panic!("{}: no fixture {}", case.id, case.fixture)).clone();
        let (case, options) = (case.clone(), case.options.over(&file.defaults));
        let origin = format!("{} {}", case.origin.path, case.origin.test);
        case::trial("dns", &case.id.clone(), origin, move || run(&case, &fixture, &options))
    };
    file.cases.iter().map(trial).collect()
}

impl CaseOptions {
    fn over(&self, defaults: &CaseOptions) -> CaseOptions {
        let (own, defaults) = (self.clone(), defaults.clone());
        CaseOptions {
            zone: own.zone.or(defaults.zone),
            ttl: own.ttl.or(defaults.ttl),
            pods: own.pods.or(defaults.pods),
            ignore_empty_service: own.ignore_empty_service.or(defaults.ignore_empty_service),
            endpoint_pod_names: own.endpoint_pod_names.or(defaults.endpoint_pod_names),
            zonal: own.zonal.or(defaults.zonal),
            multicluster: own.multicluster.or(defaults.multicluster),
            cluster_id: own.cluster_id.or(defaults.cluster_id),
            synced: own.synced.or(defaults.synced),
            namespaces: own.namespaces.or(defaults.namespaces),
            server_ips: own.server_ips.or(defaults.server_ips),
            zones: own.zones.or(defaults.zones),
        }
    }
}

fn run(case: &Case, fixture: &Fixture, options: &CaseOptions) -> Result<(), Difference> {
    let mut server = server(case, fixture, options);
    let name = Name::from_ascii(&case.query.name).map_err(|error| mistaken(&case.query.name, error))?;
    let kind =
        RecordType::from_str(&case.query.r#type).map_err(|error| mistaken(&case.query.r#type, error))?;
    let mut query = Message::new(7, MessageType::Query, OpCode::Query);
    query.add_query(Query::query(name, kind));
    let bytes = query.to_vec().map_err(|error| mistaken(&case.query.name, error))?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let client = IpAddr::from([10, 240, 0, 1]);
    let reply = server.reply(Time::ZERO, client, &bytes, Transport::Tcp, &mut random);
    let reply = reply.and_then(|bytes| Message::from_vec(&bytes).ok());
    compare(&reply.ok_or_else(|| Difference::new("a reply", "none"))?, &case.expect)
}

fn mistaken(what: &str, error: impl std::fmt::Display) -> Difference {
    Difference::new("a case that can be asked", format!("{what}: {error}"))
}

/// A server with the case's options and nothing else: no cache, so that times to live are those of the plugin.
fn server(case: &Case, fixture: &Fixture, options: &CaseOptions) -> Server {
    let mut corefile = Corefile::kubeadm("cluster.local");
    corefile.blocks.iter_mut().for_each(|block: &mut ServerBlock| block.cache = None);
    let plugin = &mut corefile.kubernetes;
    let zones = options.zones.clone().unwrap_or_default();
    let (reverse, forward): (Vec<String>, Vec<String>) =
        zones.iter().map(|zone| zone_of(zone)).partition(|zone| zone.ends_with("arpa."));
    plugin.domain = forward.first().cloned().unwrap_or_else(|| fixture.zone.clone());
    plugin.reverse_zones = fixture.reverse_zones.iter().cloned().chain(reverse).collect();
    plugin.fallthrough = Vec::new();
    plugin.ttl_s = options.ttl.unwrap_or(plugin.ttl_s);
    plugin.pods = match options.pods {
        Some(Pods::Insecure) => PodMode::Insecure,
        Some(Pods::Verified) => PodMode::Verified,
        Some(Pods::Disabled) | None => PodMode::Disabled,
    };
    plugin.namespaces = options.namespaces.iter().flatten().cloned().collect();
    plugin.ignore_empty_service = options.ignore_empty_service == Some(true);
    plugin.endpoint_pod_names = options.endpoint_pod_names == Some(true);
    plugin.zonal = options.zonal == Some(true);
    let is_multicluster = options.multicluster.as_ref().is_some_and(|zones| !zones.is_empty());
    plugin.multicluster = options.cluster_id.clone().filter(|_| is_multicluster);
    plugin.synced = options.synced != Some(false);
    plugin.server_ips = options.server_ips.clone().unwrap_or_default();
    let ttl_s = plugin.ttl_s;
    let mut server = Server::new(&corefile);
    fill(&mut server.zone, case, fixture, ttl_s);
    server
}

/// A zone's name, or the reverse zone of a network, written `NETWORK reverse`.
fn zone_of(text: &str) -> String {
    let Some(network) = text.strip_suffix(" reverse") else { return text.to_owned() };
    let network: IpNet = network.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let length = usize::from(network.prefix_len());
    match network {
        IpNet::V4(network) => {
            let octets = &network.network().octets()[..length / 8];
            let labels: Vec<String> = octets.iter().rev().map(ToString::to_string).collect();
            format!("{}.in-addr.arpa.", labels.join("."))
        }
        IpNet::V6(network) => {
            let digits = format!("{:032x}", network.network().to_bits());
            let labels: Vec<String> = digits[..length / 4].chars().rev().map(String::from).collect();
            format!("{}.ip6.arpa.", labels.join("."))
        }
    }
}

fn fill(zone: &mut Zone, case: &Case, fixture: &Fixture, ttl_s: u32) {
    for (key, value) in &fixture.upstream {
        let name = key.split(' ').next().unwrap_or(key);
        let (address, remark) = value.split_once(' ').unwrap_or((value, ""));
        let addresses = vec![address.parse().unwrap_or_else(|error| panic!("{value}: {error}"))];
        let in_one_case = remark.contains("in one case");
        let is_that_case = case.notes.as_ref().is_some_and(|notes| notes.contains("truncated"));
        let truncated = remark.contains("truncated") && (!in_one_case || is_that_case);
        zone.upstream.borrow_mut().put(name, UpstreamName { addresses, ttl_s, truncated, alias: None });
    }
    // A namespace that is not listed as missing exists; which ones the query can mean is in its labels.
    let missing: BTreeSet<&str> =
        fixture.namespaces_missing.iter().filter_map(|it| it.split(' ').next()).collect();
    let asked = case.query.name.split('.').map(str::to_ascii_lowercase);
    let used = fixture.services.iter().map(|it| it.ns.clone());
    let used = used.chain(fixture.pods.iter().map(|it| it.namespace.clone()));
    for namespace in asked.chain(used).filter(|name| !name.is_empty() && !missing.contains(name.as_str())) {
        zone.put_namespace(&namespace);
    }
    for pod in &fixture.pods {
        zone.put_pod(&pod.namespace, &pod.name, &[pod.ip]);
    }
    for service in &fixture.services {
        zone.put_service(service_of(service, fixture));
    }
}

fn service_of(service: &ServiceEntry, fixture: &Fixture) -> Service {
    let name = format!("{}/{}", service.ns, service.name);
    let slices = fixture.endpoints.iter().filter(|slice| slice.svc == name);
    Service {
        namespace: service.ns.clone(),
        name: service.name.clone(),
        kind: match service.r#type {
            ServiceType::ClusterIp => ServiceKind::ClusterIp(service.ips.clone()),
            ServiceType::ExternalName => {
                ServiceKind::ExternalName(service.target.clone().unwrap_or_default())
            }
            ServiceType::Headless | ServiceType::NotThere => ServiceKind::Headless,
        },
        ports: ports(&service.ports),
        slices: slices
            .map(|slice| Slice {
                ports: ports(&slice.ports),
                endpoints: slice.addr.iter().map(endpoint).collect(),
            })
            .collect(),
        publishes_not_ready: service.publish_not_ready,
    }
}

fn ports(ports: &[(String, String, u16)]) -> Vec<Port> {
    let port = |(name, protocol, number): &(String, String, u16)| Port {
        name: name.clone(),
        protocol: protocol.clone(),
        number: *number,
    };
    ports.iter().map(port).collect()
}

fn endpoint(entry: &AddressEntry) -> Endpoint {
    Endpoint {
        ip: entry.ip,
        hostname: entry.hostname.clone(),
        pod: None,
        zone: entry.zone.clone(),
        ready: entry.ready != Some(false),
        terminating: false,
    }
}

fn compare(reply: &Message, expect: &Expect) -> Result<(), Difference> {
    let code = format!("{:?}", reply.metadata.response_code).to_uppercase();
    equal(&expect.rcode, &code)?;
    equal(&expect.kind, &kind_of(reply))?;
    records("answer", &expect.answer, &reply.answers)?;
    records("additional", &expect.additional, &reply.additionals)?;
    let alias = reply.answers.iter().position(|record| record.record_type() == RecordType::CNAME);
    if alias.is_some_and(|alias| alias != 0) {
        return Err(Difference::new("an alias before its target", "an alias after it"));
    }
    let wanted = expect.authority.iter().map(|soa| {
        let ttl = soa.ttl.or_else(|| reply.authorities.first().map(|record| record.ttl));
        format!("{} {} {}", soa.owner, ttl.unwrap_or_default(), soa.r#type)
    });
    let got = reply.authorities.iter();
    let got = got.map(|record| format!("{} {} {}", record.name.to_ascii(), record.ttl, record.record_type()));
    equal(&wanted.collect::<Vec<_>>(), &got.collect())?;
    equal(&expect.truncated, &reply.metadata.truncation)
}

fn kind_of(reply: &Message) -> Kind {
    match reply.metadata.response_code {
        ResponseCode::NXDomain => Kind::NxDomain,
        ResponseCode::ServFail => Kind::ServFail,
        _ if reply.answers.is_empty() => Kind::NoData,
        _ => Kind::Answer,
    }
}

/// The records of a section, in any order. A time to live that is not stated is not compared, nor are the serial and the
/// timers of SOA records.
fn records(section: &str, expected: &[ExpectedRecord], got: &[Record]) -> Result<(), Difference> {
    let asserted = |kind: &str, data: &str| match kind {
        "SOA" => data.split(' ').take(2).collect::<Vec<_>>().join(" "),
        _ => data.to_owned(),
    };
    let key = |record: &Record| {
        let kind = record.record_type().to_string();
        let data = asserted(&kind, &record.data.to_string());
        (record.name.to_ascii(), kind, data)
    };
    let mut wanted: Vec<String> = Vec::new();
    for record in expected {
        let data = asserted(&record.r#type, &record.data);
        let same = |it: &&Record| key(it) == (record.name.clone(), record.r#type.clone(), data.clone());
        let ttl = record.ttl.or_else(|| got.iter().find(same).map(|it| it.ttl)).unwrap_or_default();
        wanted.push(format!("{section}: {} {ttl} {} {data}", record.name, record.r#type));
    }
    let line = |record: &Record| {
        let (name, kind, data) = key(record);
        format!("{section}: {name} {} {kind} {data}", record.ttl)
    };
    let mut got: Vec<String> = got.iter().map(line).collect();
    wanted.sort();
    got.sort();
    equal(&wanted, &got)
}
