//! ICMP errors: what a device answers instead of forwarding, and what an error is about.
//!
//! Sources: RFC 792 and RFC 4443 (formats), RFC 1122 section 3.2.2 (no error about an error).

use std::net::IpAddr;

use crate::device::Context;
use crate::packet::{IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, Packet, is_ip, protocol};

/// Why a packet could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// No route.
    Network,
    /// The last router cannot reach the host.
    Host,
    /// Nothing listens on the UDP port, or a rule rejects.
    Port,
    /// A filter forbids it.
    Prohibited,
    /// The packet is longer than the next link takes, in bytes.
    TooBig {
        /// What the link takes.
        mtu: u16,
    },
    /// The time to live ran out.
    TimeExceeded,
}

impl Unreachable {
    /// Type and code of the ICMP message, in IPv6 or IPv4.
    pub fn type_and_code(self, v6: bool) -> (u8, u8) {
        match (self, v6) {
            (Unreachable::Network, false) => (3, 0),
            (Unreachable::Host, false) => (3, 1),
            (Unreachable::Port, false) => (3, 3),
            (Unreachable::TooBig { .. }, false) => (3, 4),
            (Unreachable::Prohibited, false) => (3, 13),
            (Unreachable::TimeExceeded, false) => (11, 0),
            (Unreachable::Network, true) => (1, 0),
            (Unreachable::Prohibited, true) => (1, 1),
            (Unreachable::Host, true) => (1, 3),
            (Unreachable::Port, true) => (1, 4),
            (Unreachable::TooBig { .. }, true) => (2, 0),
            (Unreachable::TimeExceeded, true) => (3, 0),
        }
    }

    fn from_type_and_code(kind: u8, code: u8, v6: bool, mtu: u16) -> Option<Self> {
        let all = [
            Unreachable::Network,
            Unreachable::Host,
            Unreachable::Port,
            Unreachable::Prohibited,
            Unreachable::TooBig { mtu },
            Unreachable::TimeExceeded,
        ];
        all.into_iter().find(|error| error.type_and_code(v6) == (kind, code))
    }
}

/// An ICMP error, as its receiver reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Why the packet was not delivered.
    pub why: Unreachable,
    /// The beginning of the packet that it is about, from the IP header on.
    pub about: Vec<u8>,
}

/// The error about `packet`, sent by the device with the address `from`; `None` where there must be no answer.
pub fn error(from: IpAddr, packet: &Packet, why: Unreachable, cx: &mut Context<'_>) -> Option<Packet> {
    if is_error(packet) || from.is_ipv6() != packet.is_ipv6() {
        return None;
    }
    let v6 = packet.is_ipv6();
    let quoted_length = packet.bytes.len().min(packet.header_length() + if v6 { 1000 } else { 64 });
    let (kind, code) = why.type_and_code(v6);
    let mut body = vec![kind, code, 0, 0, 0, 0, 0, 0];
    if let Unreachable::TooBig { mtu } = why {
        body[6..8].copy_from_slice(&mtu.to_be_bytes());
    }
    body.extend_from_slice(&packet.bytes[..quoted_length]);
    let bytes = with_ip_header(from, packet.source_ip(), &body);
    let id = cx.packet_id();
    let mut answer = Packet::new(bytes, id);
    answer.cause = packet.cause;
    Some(answer)
}

/// Reads `packet` as an ICMP error.
pub fn parse(packet: &Packet) -> Option<IcmpError> {
    let v6 = packet.is_ipv6();
    let body = packet.payload();
    let expected = if v6 { protocol::ICMPV6 } else { protocol::ICMP };
    if packet.protocol() != expected || body.len() < 8 || !is_ip(&body[8..]) {
        return None;
    }
    let why = Unreachable::from_type_and_code(body[0], body[1], v6, u16::from_be_bytes([body[6], body[7]]))?;
    Some(IcmpError { why, about: body[8..].to_vec() })
}

/// The answer to an echo request (RFC 792, RFC 4443 section 4.2); `None` if the packet is not one.
pub(crate) fn echo_reply(packet: &Packet) -> Option<Vec<u8>> {
    let (request, reply) = if packet.is_ipv6() { (128, 129) } else { (8, 0) };
    if packet.payload().len() < 8 || packet.payload()[0] != request {
        return None;
    }
    let mut body = packet.payload().to_vec();
    body[0] = reply;
    Some(with_ip_header(packet.destination_ip(), packet.source_ip(), &body))
}

fn is_error(packet: &Packet) -> bool {
    let kind = packet.payload().first().copied().unwrap_or(0);
    match packet.protocol() {
        protocol::ICMP => !matches!(kind, 0 | 8),
        protocol::ICMPV6 => kind < 128,
        _ => false,
    }
}

fn with_ip_header(source: IpAddr, destination: IpAddr, body: &[u8]) -> Vec<u8> {
    let body_length = u16::try_from(body.len()).expect("an ICMP message fits in a packet");
    let mut bytes;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes = vec![0; IPV4_HEADER_LENGTH];
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&(body_length + IPV4_HEADER_LENGTH as u16).to_be_bytes());
            bytes[8] = 64;
            bytes[9] = protocol::ICMP;
            bytes[12..16].copy_from_slice(&source.octets());
            bytes[16..20].copy_from_slice(&destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes = vec![0; IPV6_HEADER_LENGTH];
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&body_length.to_be_bytes());
            bytes[6] = protocol::ICMPV6;
            bytes[7] = 64;
            bytes[8..24].copy_from_slice(&source.octets());
            bytes[24..40].copy_from_slice(&destination.octets());
        }
        _ => panic!("{source} and {destination} are of different address families"),
    }
    bytes.extend_from_slice(body);
    bytes
}
