//! Checksums, for packets that are seen from outside the fabric.
//!
//! Source: RFC 1071 (the sum), RFC 9293 and RFC 768 (TCP, UDP over IPv4), RFC 8200 section 8.1 and RFC 4443
//! section 2.3 (IPv6).

use crate::packet::{Packet, protocol};

/// A checksum that whoever takes the packet has still to finish, as Linux's network devices do (the kernel's
/// Documentation/networking/checksum-offloads.rst, `CHECKSUM_PARTIAL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Where the bytes begin that it is over, from the packet's beginning; they reach to its end.
    pub start: u16,
    /// Where it stands, from `start`. What stands there already, the pseudo header's part, belongs to the sum.
    pub offset: u16,
}

/// Fills in the checksums of the IP header and of TCP, UDP or ICMP. A quoted or cut-off packet keeps what it has.
pub(crate) fn fill(packet: &mut Packet) {
    fill_header(packet);
    let Some(place) = Place::of(packet) else { return };
    packet.bytes[place.at..place.at + 2].fill(0);
    let mut sum = transport_sum(packet, packet.header_length(), place.with_pseudo_header);
    // A UDP checksum of zero means "none" (RFC 768).
    if packet.protocol() == protocol::UDP && sum == 0 {
        sum = 0xffff;
    }
    packet.bytes[place.at..place.at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// As [`fill`], but of TCP's and UDP's checksums only the pseudo header's part; says what is left to do.
pub(crate) fn begin(packet: &mut Packet) -> Option<Unfinished> {
    let place = Place::of(packet);
    let Some(Place { at, .. }) = place.filter(|_| matches!(packet.protocol(), protocol::TCP | protocol::UDP))
    else {
        fill(packet);
        return None;
    };
    fill_header(packet);
    let start = packet.header_length();
    let sum = !complement(pseudo_header(packet, packet.bytes.len() - start));
    packet.bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let short = |offset: usize| u16::try_from(offset).unwrap_or(u16::MAX);
    Some(Unfinished { start: short(start), offset: short(at - start) })
}

/// Where a transport checksum stands.
struct Place {
    at: usize,
    with_pseudo_header: bool,
}

impl Place {
    /// The place in `packet`; `None` if its protocol has none, or if it is cut off.
    fn of(packet: &Packet) -> Option<Place> {
        let (offset, with_pseudo_header) = match packet.protocol() {
            protocol::TCP => (16, true),
            protocol::UDP => (6, true),
            protocol::ICMP => (2, false),
            protocol::ICMPV6 => (2, true),
            _ => return None,
        };
        let at = packet.header_length() + offset;
        (packet.bytes.len() >= at + 2).then_some(Place { at, with_pseudo_header })
    }
}

fn fill_header(packet: &mut Packet) {
    if !packet.is_ipv6() {
        let header_length = packet.header_length();
        packet.bytes[10..12].fill(0);
        let sum = complement(add(0, &packet.bytes[..header_length]));
        packet.bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Whether the checksums of the IP header and of the transport part are right.
#[cfg(test)]
pub(crate) fn is_right(packet: &Packet) -> bool {
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
        sum += pseudo_header(packet, body.len());
    }
    complement(sum)
}

/// The sum over the pseudo header of a transport part of `length` bytes.
fn pseudo_header(packet: &Packet, length: usize) -> u64 {
    let addresses = if packet.is_ipv6() { 8..40 } else { 12..20 };
    let length = length as u64;
    add(0, &packet.bytes[addresses]) + (length >> 16) + (length & 0xffff) + u64::from(packet.protocol())
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
    use crate::packet_builder::{SYN, at, tcp, udp};

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

    /// What a network device does with a checksum that is left to it.
    fn finish(bytes: &mut [u8], unfinished: Unfinished) {
        let (start, at) =
            (usize::from(unfinished.start), usize::from(unfinished.start) + usize::from(unfinished.offset));
        let sum = complement(add(0, &bytes[start..]));
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }

    #[test]
    fn a_checksum_that_was_begun_is_right_once_the_rest_is_summed() {
        for (from, to) in [("192.0.2.1:40000", "192.0.2.2:53"), ("[2001:db8::1]:40000", "[2001:db8::2]:53")] {
            for mut packet in [udp(at(from), at(to), b"odd"), tcp(at(from), at(to), SYN)] {
                let unfinished = begin(&mut packet).expect("something is left");
                assert!(!is_right(&packet));
                finish(&mut packet.bytes, unfinished);
                assert!(is_right(&packet), "{from}");
            }
        }
        // Nobody finishes that of ICMP.
        let mut echo = Packet::new([&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1][..], &[7; 18]].concat(), 1);
        assert_eq!(begin(&mut echo), None);
        assert!(is_right(&echo));
    }
}
