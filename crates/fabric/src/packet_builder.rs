//! Packets for tests of devices, which need no sockets.

use std::net::{IpAddr, SocketAddr};

use crate::packet::{IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, Packet, protocol};
use crate::trace::{Trace, TraceReport};

/// TCP flags.
pub(crate) const SYN: u8 = 0x02;
pub(crate) const SYN_ACK: u8 = 0x12;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const FIN_ACK: u8 = 0x11;

/// A TCP segment with `flags` and without data.
pub(crate) fn tcp(source: SocketAddr, destination: SocketAddr, flags: u8) -> Packet {
    let mut segment = [0; 20];
    segment[4..8].copy_from_slice(&1_000_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&2_000_u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    with_headers(source, destination, protocol::TCP, &segment)
}

/// A UDP datagram with `data`.
pub(crate) fn udp(source: SocketAddr, destination: SocketAddr, data: &[u8]) -> Packet {
    let mut datagram = vec![0; 8];
    datagram[4..6].copy_from_slice(&(8 + data.len() as u16).to_be_bytes());
    datagram.extend_from_slice(data);
    with_headers(source, destination, protocol::UDP, &datagram)
}

/// Lets the packet be traced, and returns where its path will be found.
pub(crate) fn traced(packet: &mut Packet) -> TraceReport {
    let report = TraceReport::new();
    packet.trace = Some(Box::new(Trace { hops: Vec::new(), report: report.clone() }));
    report
}

/// An address from its text.
pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// An address from its text.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn with_headers(source: SocketAddr, destination: SocketAddr, protocol: u8, body: &[u8]) -> Packet {
    let mut bytes;
    if source.is_ipv4() {
        bytes = vec![0; IPV4_HEADER_LENGTH];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&((IPV4_HEADER_LENGTH + body.len()) as u16).to_be_bytes());
        bytes[6] = 0x40;
        bytes[9] = protocol;
    } else {
        bytes = vec![0; IPV6_HEADER_LENGTH];
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&(body.len() as u16).to_be_bytes());
        bytes[6] = protocol;
    }
    bytes.extend_from_slice(body);
    let mut packet = Packet::new(bytes, 0);
    packet.set_time_to_live(64);
    packet.set_source(source);
    packet.set_destination(destination);
    packet
}
