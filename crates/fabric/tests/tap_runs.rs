//! What stands for several TCP segments passes links as one where that makes no difference, and as its segments elsewhere.

mod network;

use std::num::NonZeroU16;
use std::time::Duration;

use hopwise_fabric::{Addresses, LinkConfig, Tap, Tapped, Traffic, with};
use network::{CLIENT, Network, SERVER, ip, link, network, now_ns, run};
use tokio::time::timeout;

const HEADERS: usize = 40;
const SIZE: u16 = 1_000;

/// The headers of a TCP segment from the client to the server, and a payload that counts.
fn packet(payload_length: usize) -> Vec<u8> {
    let mut bytes = vec![0; HEADERS];
    (bytes[0], bytes[8], bytes[9]) = (0x45, 64, 6);
    bytes[2..4].copy_from_slice(&((HEADERS + payload_length) as u16).to_be_bytes());
    for (at, address) in [(12, CLIENT), (16, SERVER)] {
        let std::net::IpAddr::V4(address) = ip(address) else { panic!("{address} is IPv4") };
        bytes[at..at + 4].copy_from_slice(&address.octets());
    }
    (bytes[20], bytes[22], bytes[32], bytes[33]) = (0x80, 0x23, 0x50, 0x10);
    bytes.extend((0..payload_length).map(|index| index as u8));
    bytes
}

fn taps(network: &Network) -> (Tap, Tap) {
    let open = |device| Tap::open(device).expect("it has a stack");
    (open(network.client_device), open(network.server_device))
}

/// What comes out of the tap within a second, each with its time.
async fn all(tap: &Tap) -> Vec<(u64, Tapped)> {
    let mut heard = Vec::new();
    while let Ok(tapped) = timeout(Duration::from_secs(1), tap.receive()).await {
        heard.push((now_ns(), tapped));
    }
    heard
}

/// What comes out at the server of a run of `segments` over these links, each with its time since it was sent.
fn heard(links: Vec<LinkConfig>, segments: usize) -> Vec<(u64, Tapped)> {
    run(1, move || async move {
        let network = network(links);
        let (client, server) = taps(&network);
        let began = now_ns();
        client.send(&packet(segments * usize::from(SIZE)), NonZeroU16::new(SIZE)).expect("a packet");
        let heard = all(&server).await;
        heard.into_iter().map(|(at, tapped)| (at - began, tapped)).collect()
    })
}

#[test]
fn links_that_only_delay_take_it_whole() {
    let heard = heard(vec![link(1_000), link(2_000)], 60);
    let [(at, tapped)] = &heard[..] else { panic!("{} packets", heard.len()) };
    assert_eq!((*at, tapped.segment_size), (3_000, NonZeroU16::new(SIZE)));
    assert_eq!(tapped.bytes[HEADERS..], packet(60_000)[HEADERS..]);
    let unfinished = tapped.unfinished.expect("its checksum is left to the program's kernel");
    assert_eq!((unfinished.start, unfinished.offset), (20, 16));
}

#[test]
fn a_link_with_a_bandwidth_takes_each_segment_with_its_headers() {
    // A byte per microsecond.
    let slow = LinkConfig { bandwidth_bps: Some(8_000_000), ..link(500) };
    let heard = heard(vec![link(1_000), slow], 3);
    let times: Vec<_> = heard.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1, 2, 3].map(|count| 1_500 + count * 1_040_000));
    for (index, (_, tapped)) in (0_u32..).zip(&heard) {
        assert_eq!((tapped.bytes.len(), tapped.segment_size), (1_040, None));
        assert_eq!(tapped.bytes[24..28], (index * 1_000).to_be_bytes(), "sequence");
    }
    let payload: Vec<u8> = heard.iter().flat_map(|(_, tapped)| &tapped.bytes[HEADERS..]).copied().collect();
    assert_eq!(payload, packet(3_000)[HEADERS..]);
}

#[test]
fn segments_are_lost_one_by_one() {
    let heard = heard(vec![LinkConfig { loss: 0.5, ..link(1_000) }], 60);
    assert!((10..50).contains(&heard.len()), "{} of 60", heard.len());
    let impaired = run(1, || async {
        let network = network(vec![link(1_000)]);
        let (client, server) = taps(&network);
        let lossy = LinkConfig { loss: 0.5, ..link(0) };
        let ways = [(network.links[0], false)];
        with(|fabric| {
            fabric.impair(
                "lossy",
                &ways,
                Traffic { source: Addresses::Any, destination: Addresses::Any },
                lossy,
            )
        });
        client.send(&packet(60_000), NonZeroU16::new(SIZE)).expect("a packet");
        all(&server).await.len()
    });
    assert!((10..50).contains(&impaired), "{impaired} of 60");
}

#[test]
fn an_mtu_is_one_of_its_segments() {
    let narrow = |mtu| LinkConfig { mtu, ..link(1_000) };
    assert_eq!(heard(vec![link(1_000), narrow(1_040)], 10).len(), 1);
    let (told, passed) = run(1, move || async move {
        let network = network(vec![link(1_000), narrow(1_039)]);
        let (client, server) = taps(&network);
        client.send(&packet(10_000), NonZeroU16::new(SIZE)).expect("a packet");
        (all(&client).await, all(&server).await)
    });
    assert_eq!(passed, []);
    let [(_, told)] = &told[..] else { panic!("told {} times", told.len()) };
    // ICMP, destination unreachable, fragmentation needed (RFC 792); the MTU that RFC 1191 adds.
    assert_eq!(
        (told.bytes[9], &told.bytes[20..22], &told.bytes[26..28]),
        (1, &[3, 4][..], &1_039_u16.to_be_bytes()[..])
    );
}

#[test]
fn datagrams_go_one_by_one() {
    let lengths = run(1, || async {
        let network = network(vec![link(1_000)]);
        let (client, server) = taps(&network);
        let mut datagrams = packet(0);
        datagrams.truncate(20);
        datagrams.extend_from_slice(&[0x80, 0, 0x23, 0, 0, 0, 0, 0]);
        datagrams.extend_from_slice(&[7; 250]);
        datagrams[9] = 17;
        let length = datagrams.len() as u16;
        datagrams[2..4].copy_from_slice(&length.to_be_bytes());
        client.send(&datagrams, NonZeroU16::new(100)).expect("a packet");
        all(&server).await.into_iter().map(|(_, tapped)| tapped.bytes.len()).collect::<Vec<_>>()
    });
    assert_eq!(lengths, [128, 128, 78]);
}
