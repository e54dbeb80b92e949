//! What tells flows apart: addresses, ports and protocol of one direction.

use std::net::SocketAddr;

use crate::packet::{Packet, is_ip, protocol};

/// One direction of a flow. For ICMP echo both ports hold the identifier; other protocols have ports 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// IP protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The direction that `packet` belongs to.
    pub fn of(packet: &Packet) -> Self {
        let protocol = packet.protocol();
        let (mut source, mut destination) = (packet.source(), packet.destination());
        if let Some(identifier) = echo_identifier(packet) {
            source.set_port(identifier);
            destination.set_port(identifier);
        }
        Tuple { source, destination, protocol }
    }

    /// The other direction, if nothing is translated.
    pub fn reversed(self) -> Self {
        Tuple { source: self.destination, destination: self.source, protocol: self.protocol }
    }

    /// A number that is the same for the same tuple and `salt` on every machine, evenly spread.
    pub(crate) fn hash_with(&self, salt: u64) -> u64 {
        let mut hash = salt ^ 0xcbf2_9ce4_8422_2325;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for end in [self.source, self.destination] {
            match end.ip() {
                std::net::IpAddr::V4(address) => mix(&address.octets()),
                std::net::IpAddr::V6(address) => mix(&address.octets()),
            }
            mix(&end.port().to_be_bytes());
        }
        mix(&[self.protocol]);
        // FNV-1a leaves the high bits to the first bytes and the low bits to the last: fold them together.
        hash ^= hash >> 32;
        hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ (hash >> 29)
    }
}

/// The packet that an ICMP error quotes, as far as it is quoted; `None` for anything but an ICMP error.
pub(crate) fn quoted(packet: &Packet) -> Option<Packet> {
    let body = packet.payload();
    let is_error = match packet.protocol() {
        protocol::ICMP => matches!(body.first()?, 3 | 4 | 5 | 11 | 12),
        protocol::ICMPV6 => *body.first()? < 128,
        _ => false,
    };
    if !is_error {
        return None;
    }
    let about = body.get(8..).filter(|about| is_ip(about))?;
    (about[0] >> 4 == packet.bytes[0] >> 4).then(|| Packet::new(about.to_vec(), packet.id))
}

/// Puts `about` in the place of the packet that the ICMP error `packet` quotes.
pub(crate) fn set_quoted(packet: &mut Packet, about: &Packet) {
    let at = packet.header_length() + 8;
    let length = about.bytes.len().min(packet.bytes.len().saturating_sub(at));
    packet.bytes[at..at + length].copy_from_slice(&about.bytes[..length]);
}

fn echo_identifier(packet: &Packet) -> Option<u16> {
    let body = packet.payload();
    let is_echo = match packet.protocol() {
        protocol::ICMP => matches!(body.first()?, 0 | 8),
        protocol::ICMPV6 => matches!(body.first()?, 128 | 129),
        _ => false,
    };
    (is_echo && body.len() >= 6).then(|| u16::from_be_bytes([body[4], body[5]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_spreads_flows_that_differ_in_one_port_evenly() {
        let mut counts = [0_u32; 3];
        for port in 0..3_000 {
            let source = SocketAddr::new([203, 0, 113, 10].into(), 40_000 + port);
            let destination = SocketAddr::new([192, 0, 2, 1].into(), 9_094);
            let tuple = Tuple { source, destination, protocol: protocol::TCP };
            counts[(tuple.hash_with(7) % 3) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
