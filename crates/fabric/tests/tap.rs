//! A tap carries what no socket of its place claims, both ways.

mod network;

use std::time::Duration;

use hopwise_engine::{Simulation, host};
use hopwise_fabric::net::{TcpStream, UdpSocket};
use hopwise_fabric::{FabricWorld, NoTap, NotAPacket, Tap, uninstall};
use network::{ADDRESS, CLIENT, SERVER, address, link, network_of};
use tokio::time::timeout;

/// An IPv4 packet with source and destination exchanged, and the ports of its datagram.
fn turned_around(packet: &[u8]) -> Vec<u8> {
    let mut back = packet.to_vec();
    back[12..16].copy_from_slice(&packet[16..20]);
    back[16..20].copy_from_slice(&packet[12..16]);
    back[20..22].copy_from_slice(&packet[22..24]);
    back[22..24].copy_from_slice(&packet[20..22]);
    back
}

/// The sum of 16-bit words in ones' complement (RFC 1071); 0xffff over a header with its right checksum.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)) as u16
}

#[test]
fn datagrams_without_a_socket_come_out_of_the_tap_and_its_answers_arrive() {
    let run = Simulation::new(1).run(FabricWorld, || async {
        let network = network_of([CLIENT, SERVER], vec![link(1_000_000); 2]);
        let tap = Tap::open(network.server_device).expect("the server has a stack");
        assert_eq!(Tap::open(network.server_device).expect_err("there is one"), NoTap);
        let client = host::spawn_on(network.client, async {
            let socket = UdpSocket::bind(address("0.0.0.0:0")).await.expect("binds");
            socket.send_to(b"ping", address("10.9.0.1:7")).await.expect("sends");
            let mut buffer = [0; 16];
            let (length, from) = socket.recv_from(&mut buffer).await.expect("an answer");
            (buffer[..length].to_vec(), from)
        });
        let packet = tap.receive().await.bytes;
        assert_eq!(sum(&packet[..20]), 0xffff, "the IP header has its checksum");
        assert_eq!(&packet[28..], b"ping");
        tap.send(&turned_around(&packet), None).expect("a packet");
        assert_eq!(client.await.expect("ends"), (b"ping".to_vec(), address("10.9.0.1:7")));
    });
    uninstall();
    run.expect("ends");
}

#[test]
fn what_a_socket_claims_does_not_come_out_of_the_tap() {
    let run = Simulation::new(1).run(FabricWorld, || async {
        let network = network_of([CLIENT, SERVER], vec![link(1_000_000); 2]);
        let tap = Tap::open(network.server_device).expect("the server has a stack");
        host::spawn_on(network.server, async {
            let listener = hopwise_fabric::net::TcpListener::bind(address(ADDRESS)).await.expect("binds");
            listener.accept().await.map(drop)
        });
        let connected = host::spawn_on(network.client, TcpStream::connect(address(ADDRESS))).await;
        drop(connected.expect("runs").expect("the listener takes it"));
        assert!(timeout(Duration::from_secs(1), tap.receive()).await.is_err(), "nothing is left over");
        // A port without a listener is the namespace's to refuse: here nobody does.
        let other = host::spawn_on(network.client, TcpStream::connect(address("10.9.0.1:9")));
        let syn = tap.receive().await.bytes;
        assert_eq!((syn[9], &syn[22..24]), (6, &9_u16.to_be_bytes()[..]));
        drop(tap);
        // Once the tap is gone the stack refuses again.
        let refused = other.await.expect("runs").expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
    uninstall();
    run.expect("ends");
}

#[test]
fn what_is_no_packet_is_not_sent() {
    let run = Simulation::new(1).run(FabricWorld, || async {
        let network = network_of([CLIENT, SERVER], vec![link(1_000_000)]);
        let tap = Tap::open(network.server_device).expect("the server has a stack");
        let mut fragment = vec![0; 28];
        (fragment[0], fragment[3], fragment[6], fragment[9]) = (0x45, 28, 0x20, 17);
        let mut short = vec![0; 24];
        (short[0], short[3], short[9]) = (0x45, 24, 6);
        for bytes in [&[][..], &[0x45; 19], &[0x60; 40], &fragment, &short] {
            assert_eq!(tap.send(bytes, None), Err(NotAPacket), "{bytes:?}");
        }
    });
    uninstall();
    run.expect("ends");
}
