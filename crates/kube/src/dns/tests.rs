//! The message layer (truncation, order, malformed queries) and the chain of plugins. What the cluster's names are
//! answered with is compared in `tests/conformance/dns.rs`.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::{Span, Time};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

fn server(brokers: u8) -> Server {
    with_corefile(brokers, &Corefile::kubeadm("cluster.local"))
}

fn with_corefile(brokers: u8, corefile: &Corefile) -> Server {
    let mut server = Server::new(corefile);
    fill(&mut server.zone, brokers);
    server
}

fn fill(zone: &mut Zone, brokers: u8) {
    zone.put_namespace("demo");
    let endpoint = |number: u8| Endpoint {
        ip: IpAddr::from([10, 1, number, 10]),
        hostname: Some(format!("redpanda-{number}")),
        pod: None,
        zone: None,
        ready: number != 9,
        terminating: false,
    };
    let ports = vec![Port { name: "kafka".to_owned(), protocol: "tcp".to_owned(), number: 9092 }];
    let slices = vec![Slice { ports: ports.clone(), endpoints: (0..brokers).map(endpoint).collect() }];
    zone.put_service(Service {
        namespace: "demo".to_owned(),
        name: "brokers".to_owned(),
        kind: ServiceKind::Headless,
        ports,
        slices,
        publishes_not_ready: false,
    });
    zone.put_service(Service {
        namespace: "demo".to_owned(),
        name: "alias".to_owned(),
        kind: ServiceKind::ExternalName("alias.demo.svc.cluster.local".to_owned()),
        ports: Vec::new(),
        slices: Vec::new(),
        publishes_not_ready: false,
    });
    let entry = UpstreamName { addresses: vec![IpAddr::from([203, 0, 113, 9])], ..UpstreamName::default() };
    zone.upstream.borrow_mut().put("*.example.com", entry);
}

fn query(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(bytes) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(bytes);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 10));

fn reply(server: &mut Server, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    server.reply(Time::ZERO, CLIENT, query, transport, &mut random)
}

fn ask(server: &mut Server, name: &str, kind: RecordType) -> Message {
    Message::from_vec(&reply(server, &query(name, kind, None), Transport::Tcp).unwrap()).unwrap()
}

fn why(server: &Server, name: &str, kind: RecordType) -> String {
    server.explain(Time::ZERO, CLIENT, &Name::from_ascii(name).unwrap(), kind).reason.to_string()
}

#[test]
fn a_long_reply_is_cut_for_udp_and_whole_for_tcp() {
    let mut server = server(100);
    let name = "brokers.demo.svc.cluster.local.";
    let bytes = reply(&mut server, &query(name, RecordType::A, None), Transport::Udp).unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert!(
        bytes.len() <= 512 && message.metadata.truncation && message.answers.len() > 20,
        "{}",
        bytes.len()
    );
    let bytes = reply(&mut server, &query(name, RecordType::A, Some(4096)), Transport::Udp).unwrap();
    let message = Message::from_vec(&bytes).unwrap();
    assert!(!message.metadata.truncation && message.answers.len() == 99 && message.edns.is_some());
    assert_eq!(ask(&mut server, name, RecordType::A).answers.len(), 99);
}

#[test]
fn the_order_follows_the_seed() {
    let mut server = server(9);
    let query = query("brokers.demo.svc.cluster.local.", RecordType::A, None);
    let mut shuffled = |seed| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        server.reply(Time::ZERO, CLIENT, &query, Transport::Udp, &mut random).unwrap()
    };
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
}

#[test]
fn an_update_moves_every_index() {
    let mut server = server(3);
    assert_eq!(ask(&mut server, "10.1.1.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
    let mut service = server.zone.service("demo", "brokers").unwrap().clone();
    service.slices[0].endpoints[1].ip = IpAddr::from([10, 1, 9, 9]);
    server.zone.put_service(service);
    // The address may be known outside; what the reverse zone does not know is kept there for up to 30 s.
    assert_eq!(ask(&mut server, "9.9.1.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
    server.zone.remove_service("demo", "brokers");
    let reason = server.explain(
        Time::ZERO,
        CLIENT,
        &Name::from_ascii("9.9.1.10.in-addr.arpa.").unwrap(),
        RecordType::A,
    );
    assert_eq!(reason, Explanation { reason: Reason::UnknownOutside, from_cache: false });
}

#[test]
fn names_outside_come_from_upstream_and_are_kept_for_thirty_seconds() {
    let mut server = server(1);
    assert_eq!(ask(&mut server, "a.b.example.com.", RecordType::A).answers[0].ttl, 30);
    let none = ask(&mut server, "b.example.com.", RecordType::AAAA);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(
        ask(&mut server, "example.org.", RecordType::A).metadata.response_code,
        ResponseCode::NXDomain
    );
    let name = Name::from_ascii("a.b.example.com.").unwrap();
    let kept = |server: &Server, seconds| {
        let at = Time::ZERO + Span::from_secs(seconds);
        server.explain(at, CLIENT, &name, RecordType::A).from_cache
    };
    assert_eq!([kept(&server, 29), kept(&server, 30)], [true, false]);
    // The cluster's own names are never kept by kubeadm's CoreDNS, although their time to live is 30 s.
    ask(&mut server, "brokers.demo.svc.cluster.local.", RecordType::A);
    let own = Name::from_ascii("brokers.demo.svc.cluster.local.").unwrap();
    assert!(!server.explain(Time::ZERO, CLIENT, &own, RecordType::A).from_cache);
}

#[test]
fn an_alias_of_itself_ends() {
    let reply = ask(&mut server(1), "alias.demo.svc.cluster.local.", RecordType::A);
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn what_is_not_a_query_gets_an_error_or_nothing() {
    let mut server = server(1);
    assert_eq!(reply(&mut server, b"short", Transport::Udp), None);
    let mut bytes = query("x.", RecordType::A, None);
    bytes.truncate(14);
    let message = Message::from_vec(&reply(&mut server, &bytes, Transport::Udp).unwrap()).unwrap();
    assert_eq!((message.metadata.id, message.metadata.response_code), (7, ResponseCode::FormErr));
}

#[test]
fn plugins_come_in_the_order_of_coredns() {
    let corefile = Corefile::parse(
        "example.com {\n hosts {\n 192.0.2.1 a.example.com\n fallthrough\n }\n forward . /etc/resolv.conf\n}\n
         . {\n rewrite name suffix .old.example .demo.svc.cluster.local answer auto\n
         rewrite name suffix .older.example .demo.svc.cluster.local\n kubernetes\n cluster.local\n }",
    )
    .unwrap();
    let mut server = with_corefile(1, &corefile);
    server.zone.options.domain = "cluster.local.".to_owned();
    assert_eq!(ask(&mut server, "a.example.com.", RecordType::A).answers[0].data.to_string(), "192.0.2.1");
    assert_eq!(ask(&mut server, "b.example.com.", RecordType::A).answers[0].data.to_string(), "203.0.113.9");
    let mut owner = |name: &str| ask(&mut server, name, RecordType::A).answers[0].name.to_ascii();
    assert_eq!(owner("brokers.old.example."), "brokers.old.example.");
    assert_eq!(owner("brokers.older.example."), "brokers.demo.svc.cluster.local.");
    let refused = ask(&mut server, "c.example.org.", RecordType::A);
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
}

#[test]
fn the_rule_that_decided_is_told() {
    let server = server(10);
    let told = [
        ("brokers.demo.svc.cluster.local.", RecordType::A),
        ("brokers.demo.svc.cluster.local.", RecordType::AAAA),
        ("redpanda-9.brokers.demo.svc.cluster.local.", RecordType::A),
        ("redpanda-10.brokers.demo.svc.cluster.local.", RecordType::A),
        ("_http._tcp.brokers.demo.svc.cluster.local.", RecordType::SRV),
        ("broker.demo.svc.cluster.local.", RecordType::A),
        ("brokers.prod.svc.cluster.local.", RecordType::A),
        ("brokers.demo.service.cluster.local.", RecordType::A),
        ("demo.svc.cluster.local.", RecordType::A),
        ("x.alias.demo.svc.cluster.local.", RecordType::A),
        ("10-0-0-1.demo.pod.cluster.local.", RecordType::A),
        ("example.org.", RecordType::A),
    ];
    let text: Vec<String> =
        told.iter().map(|(name, kind)| format!("{name} {kind}: {}", why(&server, name, *kind))).collect();
    insta::assert_snapshot!(text.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = reply(&mut server(1), &bytes, Transport::Udp);
    }

    #[test]
    fn no_name_panics(name in "[a-z0-9_][a-z0-9]{0,9}(-{1,2}[0-9a-f]){0,6}(\\.[a-z0-9_][a-z0-9]{0,8}){0,3}", domain in "(\\.svc|\\.pod)?\\.cluster\\.local\\.|\\.ip6\\.arpa\\.|\\.in-addr\\.arpa\\.") {
        let reply = ask(&mut server(2), &format!("{name}{domain}"), RecordType::A);
        prop_assert_eq!(reply.queries.len(), 1);
    }
}
