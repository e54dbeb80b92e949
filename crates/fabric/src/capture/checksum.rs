//! Checksums, for packets that are seen from outside the fabric.
//!
//! Source: RFC 1071 (the sum), RFC 9293 and RFC 768 (TCP, UDP over IPv4), RFC 8200 section 8.1 and RFC 4443
//! section 2.3 (IPv6).

use crate::packet::{Packet, protocol};

/// Fills in the checksums of the IP header and of TCP, UDP or ICMP. A quoted or cut-off packet keeps what it has.
pub fn fill(packet: &mut Packet) {
    let header_length = packet.header_length();
    if !packet.is_ipv6() {
        packet.bytes[10..12].fill(0);
        let sum = complement(add(0, &packet.bytes[..header_length]));
        packet.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let number = packet.protocol();
    let (place, with_pseudo_header) = match number {
        protocol::TCP => (16, true),
        protocol::UDP => (6, true),
        protocol::ICMP => (2, false),
        protocol::ICMPV6 => (2, true),
        _ => return,
    };
    let at = header_length + place;
    if packet.bytes.len() < at + 2 {
        return;
    }
    packet.bytes[at..at + 2].fill(0);
    let mut sum = transport_sum(packet, header_length, with_pseudo_header);
    // A UDP checksum of zero means "none" (RFC 768).
    if number == protocol::UDP && sum == 0 {
        sum = 0xffff;
    }
    packet.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Whether the checksums of the IP header and of the transport part are right.
#[cfg(test)]
pub(super) fn is_right(packet: &Packet) -> bool {
    let header_length = packet.header_length();
    let header_is_right = packet.is_ipv6() || complement(add(0, &packet.bytes[..header_length])) == 0;
    let with_pseudo_header = packet.protocol() != protocol::ICMP;
    header_is_right && transport_sum(packet, header_length, with_pseudo_header) == 0
}

/// The complemented sum over the transport part as it is; zero if the checksum in it is right.
fn transport_sum(packet: &Packet, header_length: usize, with_pseudo_header: bool) -> u16 {
    let body = &packet.bytes[header_length..];
    let mut sum = add(0, body);
    if with_pseudo_header {
        let addresses = if packet.is_ipv6() { 8..40 } else { 12..20 };
        sum = add(sum, &packet.bytes[addresses]);
        let length = body.len() as u32;
        sum += u64::from(length >> 16) + u64::from(length & 0xffff) + u64::from(packet.protocol());
    }
    complement(sum)
}

fn add(sum: u64, bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let whole: u64 = words.by_ref().map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let last = words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
    sum + whole + last
}

fn complement(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_sum_is_right() {
        // Worked by hand: 4500 + 001c + 4011 + c000 + 0201 + c000 + 0202 = 2_0930, folded 0932, complement f6cd.
        let mut bytes = vec![0x45, 0, 0, 0x1c, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
        bytes.extend_from_slice(&[0x12, 0x34, 0, 53, 0, 8, 0, 0]);
        let mut packet = Packet::new(bytes, 1);
        fill(&mut packet);
        assert_eq!(packet.bytes[10..12], [0xf6, 0xcd]);
        assert_eq!(transport_sum(&packet, 20, true), 0);
    }
}
