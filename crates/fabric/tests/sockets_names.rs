//! Name look-ups over the fabric: real DNS messages to the device's servers.

mod network;

use std::io::ErrorKind;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType, rdata::A};
use hopwise_engine::host;
use hopwise_fabric::net::resolver::ResolverConfig;
use hopwise_fabric::net::{UdpSocket, lookup_explained, lookup_host, lookup_ip};
use hopwise_fabric::with;
use network::{address, ip, link, network, run};

/// A server that knows one name.
async fn serve() {
    let socket = UdpSocket::bind(address("0.0.0.0:53")).await.expect("binds");
    let mut buffer = [0; 1500];
    loop {
        let (count, from) = socket.recv_from(&mut buffer).await.expect("receives");
        let query = Message::from_vec(&buffer[..count]).expect("a DNS message");
        let asked = query.queries[0].clone();
        let mut reply = Message::response(query.metadata.id, query.metadata.op_code);
        reply.add_query(asked.clone());
        if asked.name().to_ascii() != "broker.internal." {
            reply.metadata.response_code = ResponseCode::NXDomain;
        } else if asked.query_type() == RecordType::A {
            let data = RData::A(A::new(10, 1, 2, 3));
            reply.add_answer(Record::from_rdata(asked.name().clone(), 30, data));
        }
        socket.send_to(&reply.to_vec().expect("encodes"), from).await.expect("sends");
    }
}

#[test]
fn names_are_asked_of_the_devices_server() {
    run(1, || async {
        let net = network(vec![link(1_000_000); 2]);
        let resolv_conf = "nameserver 10.9.0.1\nsearch internal\n";
        let config = ResolverConfig::parse(resolv_conf).expect("parses");
        with(|fabric| fabric.set_resolver(net.client_device, config));
        host::spawn_on(net.server, serve());
        let client = host::spawn_on(net.client, async {
            tokio::task::yield_now().await;
            let (found, queries) = lookup_explained("broker").await;
            assert_eq!(found.expect("found"), [ip("10.1.2.3")]);
            assert_eq!((queries.len(), hopwise_engine::now().as_nanos()), (2, 4_000_000));
            let found: Vec<_> = lookup_host("192.0.2.7", 80).await.expect("numeric").collect();
            assert_eq!(found, [address("192.0.2.7:80")]);
            let error = lookup_ip("nobody").await.expect_err("unknown");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        });
        client.await.expect("runs");
    });
}

#[test]
fn a_silent_server_times_out() {
    run(1, || async {
        let net = network(vec![link(1_000_000); 2]);
        let config = ResolverConfig::parse("nameserver 192.0.2.1\n").expect("parses");
        with(|fabric| fabric.set_resolver(net.client_device, config));
        let client =
            host::spawn_on(net.client, async { lookup_ip("broker").await.map_err(|error| error.kind()) });
        assert_eq!(client.await.expect("runs"), Err(ErrorKind::TimedOut));
    });
}
