//! Cases of `resolver.json`: a stub resolver asks, and for `autopath` a CoreDNS server answers it.

use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use hopwise_engine::Time;
use hopwise_fabric::net::resolver::{Lookup, LookupError, ResolverConfig, Step};
use hopwise_kube::dns::{Corefile, Server, Service, ServiceKind, Transport, UpstreamName};
use libtest_mimic::Trial;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Deserialize;

use crate::case::{self, Difference, equal};

/// The domain that kubelets and CoreDNS use unless told otherwise, and the port range's first.
const DOMAIN: &str = "cluster.local";
/// The pod that asks in the autopath cases.
const CLIENT: [u8; 4] = [10, 244, 0, 7];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    #[serde(rename = "about")]
    _about: String,
    #[serde(rename = "sources")]
    _sources: Option<serde_json::Value>,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    #[serde(rename = "title")]
    _title: String,
    pod_namespace: String,
    resolv_conf: Option<ResolvConf>,
    name: String,
    queries_if_all_fail: Vec<String>,
    queries_until_hit: Option<Vec<String>>,
    outcome: Option<String>,
    #[serde(default)]
    autopath: bool,
    /// Type, owner and data of the records that answer the first query.
    first_reply: Option<Vec<(String, String, String)>>,
    origin: String,
    #[serde(rename = "notes")]
    _notes: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolvConf {
    nameservers: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
}

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("resolver.json");
    assert_eq!(file.format, "k8s-resolver/1", "the format of resolver.json");
    let trial = |case: &Case| {
        let case = case.clone();
        case::trial("resolver", &case.id.clone(), case.origin.clone(), move || run(&case))
    };
    file.cases.iter().map(trial).collect()
}

fn run(case: &Case) -> Result<(), Difference> {
    let (names, outcome) = look_up(case, &mut |_| None);
    equal(&case.queries_if_all_fail, &names)?;
    let outcome = outcome.expect_err("nothing exists");
    equal(&LookupError::NotFound(case.name.clone()), &outcome)?;
    if let Some(expected) = &case.outcome {
        equal(expected, &"NXDOMAIN".to_owned())?;
    }
    if let Some(until_hit) = &case.queries_until_hit {
        let hit = until_hit.last().cloned().unwrap_or_default();
        let (names, outcome) = look_up(case, &mut |query| exists(query, &hit));
        equal(until_hit, &names)?;
        equal(&true, &outcome.is_ok())?;
    }
    match (&case.first_reply, case.autopath) {
        (Some(records), true) => autopath(case, records),
        (None, false) => Ok(()),
        _ => Err(Difference::new("first_reply with autopath, and not without", "one of the two")),
    }
}

/// Runs a look-up against `serve`, which makes the reply to a query or leaves it to be NXDOMAIN. Returns the names that
/// were asked, each once for both families.
fn look_up(
    case: &Case,
    serve: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> (Vec<String>, Result<Vec<IpAddr>, LookupError>) {
    let mut lookup = Lookup::new(config(case), &case.name, 1);
    let mut names: Vec<String> = Vec::new();
    loop {
        match lookup.next(Time::ZERO) {
            Step::Finished(result) => {
                assert_eq!(lookup.trace().len(), 2 * names.len(), "A and AAAA for each name");
                return (names, result);
            }
            Step::Wait { .. } => panic!("every query is answered at once"),
            Step::Send { server, transport, message } => {
                let query = Message::from_vec(&message).expect("a resolver sends DNS messages");
                let name = query.queries[0].name().to_ascii();
                if names.last() != Some(&name) {
                    names.push(name);
                }
                let reply = serve(&message).unwrap_or_else(|| {
                    let mut reply = empty_reply(&query);
                    reply.metadata.response_code = ResponseCode::NXDomain;
                    reply.to_vec().expect("a reply")
                });
                lookup.reply(server, transport, &reply);
            }
        }
    }
}

/// The file that the case gives, or else the one that the kubelet writes (kubernetes.md 5.4).
fn config(case: &Case) -> Arc<ResolverConfig> {
    let namespace = &case.pod_namespace;
    let conf = case.resolv_conf.clone().unwrap_or_else(|| ResolvConf {
        nameservers: vec![IpAddr::from([10, 96, 0, 10])],
        search: vec![format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()],
        ndots: 5,
    });
    let servers: String = conf.nameservers.iter().map(|server| format!("nameserver {server}\n")).collect();
    let text = format!("{servers}search {}\noptions ndots:{}\n", conf.search.join(" "), conf.ndots);
    Arc::new(ResolverConfig::parse(&text).expect("a resolv.conf"))
}

fn empty_reply(query: &Message) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.add_queries(query.queries.iter().cloned());
    reply
}

/// The reply of a world in which only `hit` exists, with an IPv4 address.
fn exists(query: &[u8], hit: &str) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?;
    if question.name().to_ascii() != hit {
        return None;
    }
    let mut reply = empty_reply(&query);
    if question.query_type() == RecordType::A {
        let data = RData::A(std::net::Ipv4Addr::new(10, 0, 0, 1).into());
        reply.add_answer(Record::from_rdata(question.name().clone(), 5, data));
    }
    reply.to_vec().ok()
}

/// A CoreDNS that has what the expected records name, `autopath` and `pods verified`, answers the first query.
fn autopath(case: &Case, records: &[(String, String, String)]) -> Result<(), Difference> {
    let mut server = server_with(case, records);
    let mut first: Option<Message> = None;
    let (names, outcome) = look_up(case, &mut |query| {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let reply = server.reply(Time::ZERO, CLIENT.into(), query, Transport::Udp, &mut random)?;
        first = first.take().or_else(|| Message::from_vec(&reply).ok());
        Some(reply)
    });
    let first = first.ok_or_else(|| Difference::new("a reply", "none"))?;
    let got = first
        .answers
        .iter()
        .map(|record| (record.record_type().to_string(), record.name.to_ascii(), record.data.to_string()));
    equal(&records.to_vec(), &got.collect())?;
    equal(&1, &names.len())?;
    let addresses: Vec<IpAddr> = records.iter().filter_map(|(_, _, data)| data.parse().ok()).collect();
    equal(&Ok(addresses), &outcome)
}

fn server_with(case: &Case, records: &[(String, String, String)]) -> Server {
    let text = format!(
        "{DOMAIN} in-addr.arpa ip6.arpa . {{\n autopath @kubernetes\n kubernetes {DOMAIN} {{\n pods verified\n }}\n \
         forward . /etc/resolv.conf\n}}"
    );
    let mut server = Server::new(&Corefile::parse(&text).expect("a Corefile"));
    let zone = &mut server.zone;
    zone.put_namespace(&case.pod_namespace);
    zone.put_pod(&case.pod_namespace, "client", &[CLIENT.into()]);
    for (_, owner, data) in records {
        let Ok(address) = data.parse::<IpAddr>() else { continue };
        let service = owner.strip_suffix(&format!(".svc.{DOMAIN}.")).and_then(|name| name.split_once('.'));
        let Some((name, namespace)) = service else {
            zone.upstream
                .borrow_mut()
                .put(owner, UpstreamName { addresses: vec![address], ..UpstreamName::default() });
            continue;
        };
        zone.put_namespace(namespace);
        let port = hopwise_kube::dns::Port { name: "http".into(), protocol: "tcp".into(), number: 80 };
        zone.put_service(Service {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            kind: ServiceKind::ClusterIp(vec![address]),
            ports: vec![port],
            slices: Vec::new(),
            publishes_not_ready: false,
        });
    }
    server
}
