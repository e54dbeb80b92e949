//! Captures read back, from devices of a running fabric.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::clock::START_UNIX_MS;
use hopwise_engine::random::stream_of;
use hopwise_engine::{Simulation, Span, Time};
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{PcapNgReader, blocks::enhanced_packet::EnhancedPacketOption};

use super::CaptureBuffer;
use crate::device::{Device, DeviceId, PortIndex};
use crate::icmp::{self, Unreachable};
use crate::nat::rules::*;
use crate::packet::Packet;
use crate::packet_builder::{ACK, SYN, at, ip, tcp, udp};
use crate::{Fabric, FabricWorld, LinkConfig, LinuxNode, NodeConfig, Stack, checksum};

/// A captured packet: its time, the interface's name, whether it leaves, and its bytes.
struct Captured {
    since_start: Duration,
    interface: String,
    leaves: bool,
    packet: Packet,
}

fn read(bytes: &[u8]) -> Vec<Captured> {
    let mut reader = PcapNgReader::new(bytes).expect("a pcapng file");
    let (mut interfaces, mut captured) = (Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.expect("a whole block") {
            Block::InterfaceDescription(interface) => {
                assert_eq!(u32::from(interface.linktype), 101);
                let name = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                });
                interfaces.push(name.expect("the interface has a name"));
            }
            Block::EnhancedPacket(block) => captured.push(Captured {
                since_start: block.timestamp - Duration::from_millis(START_UNIX_MS as u64),
                interface: interfaces[block.interface_id as usize].clone(),
                leaves: block.options.contains(&EnhancedPacketOption::Flags(2)),
                packet: Packet::new(block.data.to_vec(), 0),
            }),
            other => panic!("{other:?}"),
        }
    }
    captured
}

/// Two hosts on a node; each link takes 10 µs, and the one to the server takes `mtu` bytes.
fn two_hosts(mtu: usize) -> (Fabric, [DeviceId; 3]) {
    let mut fabric = Fabric::new();
    let host = |address: IpAddr| Device::Host(Stack::new(vec![address]));
    let client = fabric.add("client", host(ip("203.0.113.10")));
    let pods = "10.244.1.0/24".parse().expect("a network");
    let config = NodeConfig::new(vec![ip("192.168.10.11")], vec![pods]);
    let mut node = LinuxNode::new(config, stream_of(1, "nat/node-0"));
    let translation = Translation {
        targets: [at("10.244.1.2:8080")].as_slice().into(),
        masquerade: true,
        choice: Choice::Random,
    };
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        node.set_rule(DestinationRule {
            destination: Destination::AnyLocal { loopback: false },
            protocol,
            port: 30_080,
            branches: vec![Branch {
                source: SourceMatch::Any,
                verdict: Verdict::Translate(translation.clone()),
            }],
            label: "Service test".into(),
        });
    }
    node.add_pod(&[ip("10.244.1.2")], PortIndex(1));
    let node = fabric.add("node-0", node.into());
    let server = fabric.add("pod redpanda/redpanda-0", host(ip("10.244.1.2")));
    let link = LinkConfig::constant(Span::from_micros(10));
    let uplink = fabric.connect(client, node, link.clone());
    fabric.connect(node, server, LinkConfig { mtu, ..link });
    fabric.route(node, "0.0.0.0/0".parse().expect("a network"), uplink.second, None);
    (fabric, [client, node, server])
}

/// Sends `packet` from the client at 1 ms and returns the captures of node and server.
fn run(mtu: usize, packet: fn() -> Packet, black_hole: bool) -> (Vec<Captured>, Vec<Captured>) {
    let buffers = Rc::new((CaptureBuffer::new(), CaptureBuffer::new()));
    let written = buffers.clone();
    let run = Simulation::new(1).run(FabricWorld, move || async move {
        let (mut fabric, [_, node, server]) = two_hosts(mtu);
        if black_hole {
            fabric.change_link(fabric.last_link(), false, |link| link.mtu_black_hole = true);
        }
        fabric.capture(node, Box::new(written.0.clone())).expect("memory");
        fabric.capture(server, Box::new(written.1.clone())).expect("memory");
        fabric.arrive(Time::ZERO + Span::from_millis(1), node, PortIndex(0), packet());
        crate::install(fabric);
        tokio::time::sleep(Duration::from_secs(1)).await;
        crate::with(|fabric| fabric.finish_captures()).expect("memory");
    });
    crate::uninstall();
    assert_eq!(run, Ok(()));
    (read(&buffers.0.bytes()), read(&buffers.1.bytes()))
}

#[test]
fn a_packet_is_seen_before_and_after_nat_with_its_checksums_and_exact_times() {
    let syn = || tcp(at("203.0.113.10:50000"), at("192.168.10.11:30080"), SYN);
    let (node, server) = run(1_500, syn, false);
    let [arrives, leaves, ..] = &node[..] else { panic!("{} packets", node.len()) };
    assert_eq!((&*arrives.interface, arrives.leaves), ("node-0 eth0", false));
    assert_eq!(arrives.packet.destination(), at("192.168.10.11:30080"));
    assert_eq!((&*leaves.interface, leaves.leaves), ("node-0 eth1", true));
    assert_eq!(leaves.packet.destination(), at("10.244.1.2:8080"));
    assert_eq!(leaves.packet.source_ip(), ip("10.244.1.1"));
    assert_eq!(leaves.since_start, Duration::from_millis(1));
    assert_eq!((&*server[0].interface, server[0].leaves), ("pod redpanda/redpanda-0", false));
    assert_eq!(server[0].since_start, Duration::from_micros(1_010));
    assert_eq!(server[0].packet.bytes, leaves.packet.bytes);
    for captured in [arrives, leaves] {
        assert!(checksum::is_right(&captured.packet));
        let mut broken = Packet::new(captured.packet.bytes.clone(), 0);
        broken.bytes[22] ^= 1;
        assert!(!checksum::is_right(&broken));
    }
}

#[test]
fn a_link_with_a_smaller_mtu_is_reported_to_the_sender_unless_it_is_a_black_hole() {
    let big = || udp(at("203.0.113.10:50000"), at("192.168.10.11:30080"), &[7; 500]);
    let (node, server) = run(400, big, false);
    assert!(server.is_empty());
    let answer = node.last().expect("an answer");
    assert!(answer.leaves && checksum::is_right(&answer.packet));
    assert_eq!((&*answer.interface, answer.packet.destination_ip()), ("node-0 eth0", ip("203.0.113.10")));
    let error = icmp::parse(&answer.packet).expect("an ICMP error");
    assert_eq!(error.why, Unreachable::TooBig { mtu: 400 });
    let about = Packet::new(error.about, 0);
    let ends = (about.source(), about.destination());
    assert_eq!(ends, (at("203.0.113.10:50000"), at("192.168.10.11:30080")));
    let (node, server) = run(400, big, true);
    assert!(server.is_empty());
    assert_eq!(node.len(), 2, "it arrives, and is lost on the way out");
}

#[test]
fn a_failing_writer_is_reported_at_the_end() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The file's header still fits.
            if bytes.len() < 64 && self.flush().is_ok() {
                Ok(bytes.len())
            } else {
                Err(std::io::Error::other("full"))
            }
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut capture = super::Capture::new(Box::new(Full)).expect("the header fits");
    let packet = udp(at("192.0.2.1:1"), at("192.0.2.2:2"), &[0; 100]);
    let name = || (String::from("eth0"), String::from("to nowhere"));
    capture.write(PortIndex(0), name, super::Way::In, &packet, Time::ZERO);
    assert_eq!(capture.finish().expect_err("it failed").to_string(), "full");
}

#[test]
fn what_stands_for_several_segments_is_written_as_these() {
    let run_of_three = || {
        let mut packet = tcp(at("203.0.113.10:50000"), at("192.168.10.11:30080"), ACK);
        packet.bytes.extend_from_slice(&[7; 250]);
        packet.bytes[2..4].copy_from_slice(&290_u16.to_be_bytes());
        packet.segment_size = std::num::NonZeroU16::new(100);
        packet
    };
    let (node, server) = run(1_500, run_of_three, false);
    let lengths = |captured: &[Captured]| captured.iter().map(|it| it.packet.bytes.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&server[..3]), [140, 140, 90]);
    assert_eq!(lengths(&node[..6]), [140, 140, 90, 140, 140, 90], "as it arrives, and as it leaves");
    assert!(node.iter().chain(&server).all(|captured| checksum::is_right(&captured.packet)));
}
