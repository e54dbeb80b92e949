//! Bytes that are no requests.

use std::net::IpAddr;
use std::sync::OnceLock;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Duration, timeout};

use crate::support::{Client, start_cluster};

/// The address of a broker for all cases, which runs on a thread of its own.
fn target() -> IpAddr {
    static TARGET: OnceLock<IpAddr> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let (sender, address) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            runtime().block_on(async {
                let broker = start_cluster(1).await.remove(0);
                sender.send(broker.ip).unwrap();
                std::future::pending::<()>().await;
            });
        });
        address.recv().unwrap()
    })
}

/// Every key that is offered, and one that is not.
const KEYS: &[i16] = &[
    0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31, 32,
    33, 35, 36, 37, 42, 44, 45, 46, 47, 48, 49, 50, 51, 60, 61, 65, 66, 75,
];

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn check(port: u16, bytes: &[u8]) -> bool {
    runtime().block_on(survives(target(), port, bytes))
}

/// Sends bytes, reads whatever comes, and asks for metadata on another connection.
async fn survives(ip: IpAddr, port: u16, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect((ip, port)).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    if timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.is_err() {
        return false;
    }
    !Client::connect(ip, 9093).await.metadata(Some(&[])).await.brokers.is_empty()
}

fn frame(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let api = ApiKey::try_from(key).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    let header = RequestHeader::default().with_request_api_key(key).with_request_api_version(version);
    let header = header.with_client_id(Some(StrBytes::from_static_str("hostile")));
    header.encode(&mut frame, api.request_header_version(version)).unwrap();
    frame.put_slice(body);
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_not_kill_the_broker(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for port in [9093, 33145, 9644] {
            prop_assert!(check(port, &bytes));
        }
    }

    #[test]
    fn random_bodies_behind_a_good_header_do_not_kill_the_broker(
        key in prop::sample::select(KEYS),
        version in 0i16..14,
        // Many 0xff and 0x7f make long lengths.
        body in proptest::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0x7f), Just(0)], 0..200),
    ) {
        prop_assert!(check(9093, &frame(key, version, &body)));
    }
}

#[test]
fn a_claim_of_two_billion_elements_costs_nothing() {
    let claim = i32::MAX.to_be_bytes();
    assert!(check(9093, &frame(3, 1, &claim)));
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let body = [&[0][..], &compact].concat();
    assert!(check(9093, &frame(3, 9, &body)));
    // A frame that claims 99 MiB and ends at once, and one that claims more than is taken.
    assert!(check(9093, &[0x06, 0x30, 0, 0, 1]));
    assert!(check(9093, &[0x7f, 0xff, 0xff, 0xff, 1]));
}
