//! One real node with kube-proxy's rules, and raw packets that pass it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::random::stream_of;
use hopwise_engine::{Span, Time};
use hopwise_fabric::nat::rules::Protocol;
use hopwise_fabric::{
    Action, Context, LinuxNode, NextHop, NodeConfig, Outputs, Packet, PodLinks, PortIndex, Trace,
    TraceReport, protocol,
};

/// The node's way out.
const UPLINK: PortIndex = PortIndex(0);
/// The port of its pod.
const POD: PortIndex = PortIndex(1);

/// The number of the packets that are sent to the node.
const FIRST_PACKET_ID: u64 = 0;

/// A node without pods of its own but the sender; every other address is behind its way out.
pub struct Bench {
    /// The node.
    pub node: LinuxNode,
    name: Arc<str>,
    now: Time,
    last_packet_id: u64,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Somebody beyond the node's way out.
    Outside,
    /// A pod of the node.
    Pod,
    /// The node itself.
    Node,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It left the node, from and to these.
    Left(SocketAddr, SocketAddr),
    /// It came to the node's own sockets, addressed to this.
    Local(SocketAddr),
    /// It was refused with an ICMP port unreachable, for this reason.
    Rejected(String),
    /// It was dropped without an answer, for this reason.
    Dropped(String),
}

impl Bench {
    /// A node with these addresses. `seed` decides what it draws.
    pub fn new(addresses: Vec<IpAddr>, seed: u64) -> Bench {
        let mut config = NodeConfig::new(addresses, Vec::new());
        config.pod_links = PodLinks::PointToPoint;
        let mut node = LinuxNode::new(config, stream_of(seed, "conformance/node"));
        for everything in ["0.0.0.0/0", "::/0"] {
            node.routes_mut()
                .insert(everything.parse().expect("a network"), NextHop { port: UPLINK, via: None });
        }
        Bench { node, name: "node".into(), now: Time::ZERO + Span::from_secs(1), last_packet_id: 0 }
    }

    /// Lets the sender of `packet`, the first of a flow, send it.
    pub fn send(&mut self, sender: Sender, mut packet: Packet) -> Fate {
        let (source, destination) = (packet.source(), packet.destination());
        let report = TraceReport::new();
        packet.trace = Some(Box::new(Trace { hops: Vec::new(), report: report.clone() }));
        if sender == Sender::Pod {
            self.node.add_pod(&[source.ip()], POD);
        }
        let mut outputs = Outputs::default();
        let mut context = Context {
            now: self.now,
            name: &self.name,
            outputs: &mut outputs,
            next_packet_id: &mut self.last_packet_id,
        };
        match sender {
            Sender::Outside => self.node.receive(UPLINK, packet, &mut context),
            Sender::Pod => self.node.receive(POD, packet, &mut context),
            Sender::Node => self.node.send_raw(packet, &mut context),
        }
        // What the node sends of itself has numbers of its own.
        let mut left = outputs.packets.iter().filter(|(_, packet)| packet.id == FIRST_PACKET_ID);
        if let Some((_, packet)) = left.next() {
            return Fate::Left(packet.source(), packet.destination());
        }
        let end = report
            .route()
            .forward
            .pop()
            .unwrap_or_else(|| panic!("{source} to {destination}: no trace of it"));
        let reason = end.detail.as_deref().unwrap_or_default().to_owned();
        match end.action {
            Action::Delivered => Fate::Local(end.destination),
            // The stack's words for a packet that came to it and found no socket.
            Action::Dropped | Action::Rejected if reason.starts_with("nothing listens") => {
                Fate::Local(end.destination)
            }
            Action::Dropped => {
                assert!(outputs.packets.is_empty(), "an answer to a packet that was dropped: {reason}");
                Fate::Dropped(reason)
            }
            Action::Rejected => {
                let answer = outputs.packets.first().map(|(_, answer)| answer);
                assert!(
                    sender == Sender::Node || answer.is_some_and(is_port_unreachable),
                    "no ICMP: {reason}"
                );
                Fate::Rejected(reason)
            }
            other => panic!("{source} to {destination}: ends with {other:?}"),
        }
    }
}

fn is_port_unreachable(packet: &Packet) -> bool {
    let body = packet.payload();
    match packet.protocol() {
        protocol::ICMP => body.starts_with(&[3, 3]),
        protocol::ICMPV6 => body.starts_with(&[1, 4]),
        _ => false,
    }
}

/// The first packet of a flow: a TCP SYN, a UDP datagram, or an SCTP INIT.
pub fn first_packet(source: SocketAddr, destination: SocketAddr, of: Protocol) -> Packet {
    let mut body = match of {
        // A SYN whose header is five words long (RFC 9293).
        Protocol::Tcp => [&[0; 12][..], &[5 << 4, 0x02, 0xff, 0xff, 0, 0, 0, 0]].concat(),
        Protocol::Udp => vec![0, 0, 0, 0, 0, 8, 0, 0],
        // An INIT chunk of 20 bytes behind the common header (RFC 9260 section 3.3.2).
        Protocol::Sctp => [&[0; 12][..], &[1, 0, 0, 20], &[0; 16]].concat(),
    };
    body[..2].copy_from_slice(&source.port().to_be_bytes());
    body[2..4].copy_from_slice(&destination.port().to_be_bytes());
    let length = u16::try_from(body.len()).expect("a short body");
    let mut bytes;
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, of.number(), 0, 0];
            bytes[2..4].copy_from_slice(&(length + 20).to_be_bytes());
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes = vec![0x60, 0, 0, 0, 0, 0, of.number(), 64];
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&from.octets());
            bytes.extend_from_slice(&to.octets());
        }
        _ => panic!("{source} and {destination} are of different families"),
    }
    bytes.extend_from_slice(&body);
    Packet::new(bytes, FIRST_PACKET_ID)
}
