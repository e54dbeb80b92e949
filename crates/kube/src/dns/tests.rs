//! The message layer: truncation, order, malformed queries. What is answered is compared in `tests/dns_cases.rs`.

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::*;

fn zone(brokers: u8) -> Zone {
    let mut zone = Zone::new(Options::default(), Upstream::default());
    zone.put_namespace("demo");
    let endpoint = |number: u8| Endpoint {
        ip: IpAddr::from([10, 1, number, 10]),
        hostname: Some(format!("redpanda-{number}")),
        pod: None,
        zone: None,
        ready: true,
    };
    let ports = vec![Port { name: "kafka".to_owned(), protocol: "tcp".to_owned(), number: 9092 }];
    let slices = vec![Slice { ports: ports.clone(), endpoints: (0..brokers).map(endpoint).collect() }];
    zone.put_service(Service {
        namespace: "demo".to_owned(),
        name: "brokers".to_owned(),
        kind: ServiceKind::Headless,
        ports,
        slices,
    });
    zone.put_service(Service {
        namespace: "demo".to_owned(),
        name: "alias".to_owned(),
        kind: ServiceKind::ExternalName("alias.demo.svc.cluster.local".to_owned()),
        ports: Vec::new(),
        slices: Vec::new(),
    });
    zone.upstream.put(
        "*.example.com",
        UpstreamName { addresses: vec![IpAddr::from([203, 0, 113, 9])], truncated: false },
    );
    zone
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

fn ask(zone: &Zone, name: &str, kind: RecordType) -> Message {
    let reply = answer(zone, &query(name, kind, None), Transport::Tcp, None).unwrap();
    Message::from_vec(&reply).unwrap()
}

#[test]
fn a_long_reply_is_cut_for_udp_and_whole_for_tcp() {
    let zone = zone(100);
    let name = "brokers.demo.svc.cluster.local.";
    let reply = answer(&zone, &query(name, RecordType::A, None), Transport::Udp, None).unwrap();
    let message = Message::from_vec(&reply).unwrap();
    assert!(
        reply.len() <= 512 && message.metadata.truncation && message.answers.len() > 20,
        "{}",
        reply.len()
    );
    let reply = answer(&zone, &query(name, RecordType::A, Some(4096)), Transport::Udp, None).unwrap();
    let message = Message::from_vec(&reply).unwrap();
    assert!(!message.metadata.truncation && message.answers.len() == 100 && message.edns.is_some());
    assert_eq!(ask(&zone, name, RecordType::A).answers.len(), 100);
}

#[test]
fn the_order_follows_the_seed() {
    let zone = zone(10);
    let query = query("brokers.demo.svc.cluster.local.", RecordType::A, None);
    let shuffled = |seed| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        answer(&zone, &query, Transport::Udp, Some(&mut random)).unwrap()
    };
    assert_eq!(shuffled(1), shuffled(1));
    assert_ne!(shuffled(1), shuffled(2));
}

#[test]
fn an_update_moves_every_index() {
    let mut zone = zone(3);
    assert_eq!(ask(&zone, "10.1.1.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
    let mut service = zone.service("demo", "brokers").unwrap().clone();
    service.slices[0].endpoints[1].ip = IpAddr::from([10, 1, 9, 9]);
    zone.put_service(service);
    let gone = ask(&zone, "10.1.1.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(gone.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(ask(&zone, "9.9.1.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
    zone.remove_service("demo", "brokers");
    assert!(ask(&zone, "9.9.1.10.in-addr.arpa.", RecordType::PTR).answers.is_empty());
}

#[test]
fn names_outside_come_from_upstream() {
    let zone = zone(1);
    assert_eq!(ask(&zone, "a.b.example.com.", RecordType::A).answers.len(), 1);
    let none = ask(&zone, "b.example.com.", RecordType::AAAA);
    assert_eq!((none.metadata.response_code, none.answers.len()), (ResponseCode::NoError, 0));
    assert_eq!(ask(&zone, "example.org.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn an_alias_of_itself_ends() {
    let reply = ask(&zone(1), "alias.demo.svc.cluster.local.", RecordType::A);
    assert_eq!(reply.answers.len(), 1);
}

#[test]
fn what_is_not_a_query_gets_an_error_or_nothing() {
    let zone = zone(1);
    assert_eq!(answer(&zone, b"short", Transport::Udp, None), None);
    let mut bytes = query("x.", RecordType::A, None);
    bytes.truncate(14);
    let reply = Message::from_vec(&answer(&zone, &bytes, Transport::Udp, None).unwrap()).unwrap();
    assert_eq!((reply.metadata.id, reply.metadata.response_code), (7, ResponseCode::FormErr));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_message_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = answer(&zone(1), &bytes, Transport::Udp, None);
    }

    #[test]
    fn no_name_panics(name in "[a-z0-9_][a-z0-9]{0,9}(-{1,2}[0-9a-f]){0,6}(\\.[a-z0-9_][a-z0-9]{0,8}){0,3}", domain in "(\\.svc|\\.pod)?\\.cluster\\.local\\.|\\.ip6\\.arpa\\.|\\.in-addr\\.arpa\\.") {
        let reply = ask(&zone(2), &format!("{name}{domain}"), RecordType::A);
        prop_assert_eq!(reply.queries.len(), 1);
    }
}
