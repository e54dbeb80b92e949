//! Runs: the segments of one TCP connection, or the datagrams of one UDP flow, that travel as one packet.
//!
//! Linux hands a device up to 64 KiB at once and leaves it to the last one who can to cut that into packets (generic
//! segmentation offload, the kernel's Documentation/networking/segmentation-offloads.rst). Programs outside the simulation
//! send such runs, and the fabric carries them whole where that makes no difference: over a link that only delays. Every
//! other link gets the packets that the run stands for, and so does a capture.

use std::num::NonZeroU16;

use crate::packet::{Packet, protocol};

const TCP_HEADER_LENGTH: usize = 20;
const UDP_HEADER_LENGTH: usize = 8;

/// Control bits that only the last segment of a run has (FIN, PSH), and the one that only the first has (CWR, RFC 3168).
const LAST_ONLY: u8 = 0x01 | 0x08;
const FIRST_ONLY: u8 = 0x80;
/// Control bits of segments that stay alone: SYN, RST, URG, CWR.
const NEVER_JOINED: u8 = 0x02 | 0x04 | 0x20 | 0x80;

/// The longest IP packet in bytes, as the length in its header has it.
const PACKET_MAX: usize = 65_535;

/// The length in bytes of the headers that each packet of a run has: IP's and the transport's. `None` if the protocol has no
/// runs, or if a header is cut off.
pub(crate) fn headers_length(packet: &Packet) -> Option<usize> {
    let at = packet.header_length();
    let transport = match packet.protocol() {
        protocol::TCP => usize::from(packet.bytes.get(at + 12)? >> 4) * 4,
        protocol::UDP => UDP_HEADER_LENGTH,
        _ => return None,
    };
    let least = if packet.protocol() == protocol::TCP { TCP_HEADER_LENGTH } else { UDP_HEADER_LENGTH };
    (transport >= least && packet.bytes.len() >= at + transport).then_some(at + transport)
}

/// The segment size that makes `packet` a run: none for a packet that is no longer than one segment, and for protocols
/// without runs.
pub(crate) fn run_of(packet: &Packet, segment_size: Option<NonZeroU16>) -> Option<NonZeroU16> {
    let size = segment_size?;
    let payload = packet.bytes.len() - headers_length(packet)?;
    (payload > usize::from(size.get())).then_some(size)
}

/// The length in bytes of the longest packet that `packet` stands for: its own, if it is no run.
pub(crate) fn longest(packet: &Packet) -> usize {
    let segment = packet.segment_size.zip(headers_length(packet));
    segment.map_or(packet.bytes.len(), |(size, headers)| headers + usize::from(size.get()))
}

/// The packets that a run stands for, in order; the packet itself if it is no run. Checksums are not touched.
pub(crate) fn segments(packet: &Packet) -> Vec<Vec<u8>> {
    let Some((size, headers)) = packet.segment_size.zip(headers_length(packet)) else {
        return vec![packet.bytes.clone()];
    };
    let (header, payload) = packet.bytes.split_at(headers);
    let size = usize::from(size.get());
    let count = payload.len().div_ceil(size);
    let segment = |(index, piece): (usize, &[u8])| {
        let mut bytes = Vec::with_capacity(headers + piece.len());
        bytes.extend_from_slice(header);
        bytes.extend_from_slice(piece);
        adjust(&mut bytes, packet, index, index * size, index + 1 == count);
        bytes
    };
    payload.chunks(size).enumerate().map(segment).collect()
}

/// Joins `next` to the end of `run`, if it is the TCP segment that goes on where that ends and differs in nothing else; says
/// whether it did. It is what Linux does with what a device receives (generic receive offload, net/ipv4/tcp_offload.c), so
/// that a program is not asked to take 64 KiB in fifty pieces.
pub(crate) fn join(run: &mut Packet, next: &Packet) -> bool {
    let Some(headers) = joined_headers(run, next) else { return false };
    let (length, added) = (run.bytes.len() - headers, next.bytes.len() - headers);
    let size = run.segment_size.map_or(length, |size| usize::from(size.get()));
    let next_longest = next.segment_size.map_or(added, |size| usize::from(size.get()));
    let is_whole = length > 0 && length.is_multiple_of(size);
    let is_like = added > 0 && next_longest <= size && (next.segment_size.is_none() || next_longest == size);
    let Some(size) = u16::try_from(size).ok().and_then(NonZeroU16::new) else { return false };
    if !is_whole || !is_like || run.bytes.len() + added > PACKET_MAX {
        return false;
    }
    let at = run.header_length();
    run.bytes.extend_from_slice(&next.bytes[headers..]);
    run.bytes[at + 13] |= next.bytes[at + 13] & LAST_ONLY;
    run.segment_size = Some(size);
    let (length, v6) = (run.bytes.len(), run.is_ipv6());
    if v6 {
        set_u16(&mut run.bytes, 4, length - at)
    } else {
        set_u16(&mut run.bytes, 2, length)
    }
    true
}

/// The length of the headers of both, if `next` is the segment after `run` and its headers say nothing else.
fn joined_headers(run: &Packet, next: &Packet) -> Option<usize> {
    if run.protocol() != protocol::TCP || run.bytes[0] != next.bytes[0] {
        return None;
    }
    let (at, headers) = (run.header_length(), headers_length(run)?);
    if next.protocol() != protocol::TCP || headers_length(next)? != headers {
        return None;
    }
    let sequence =
        |packet: &Packet| u32::from_be_bytes(packet.bytes[at + 4..at + 8].try_into().expect("four bytes"));
    let (flags, next_flags) = (run.bytes[at + 13], next.bytes[at + 13]);
    let goes_on = sequence(next) == sequence(run).wrapping_add((run.bytes.len() - headers) as u32)
        && flags & LAST_ONLY == 0
        && (flags | next_flags) & NEVER_JOINED == 0;
    // Lengths, identification, checksums, sequence and the flags above may differ.
    let ip_kept: &[std::ops::Range<usize>] =
        if run.is_ipv6() { &[0..4, 6..40] } else { &[0..2, 6..10, 12..at] };
    let tcp_kept = [at..at + 4, at + 8..at + 13, at + 14..at + 16, at + 18..headers];
    let same =
        ip_kept.iter().chain(&tcp_kept).all(|part| run.bytes[part.clone()] == next.bytes[part.clone()]);
    (goes_on && same).then_some(headers)
}

/// Makes the headers of a run those of its packet number `index`, whose payload begins at `offset`.
fn adjust(bytes: &mut [u8], run: &Packet, index: usize, offset: usize, is_last: bool) {
    let (length, at) = (bytes.len(), run.header_length());
    if run.is_ipv6() {
        set_u16(bytes, 4, length - at);
    } else {
        set_u16(bytes, 2, length);
        let identification = u16::from_be_bytes([bytes[4], bytes[5]]);
        bytes[4..6].copy_from_slice(&identification.wrapping_add(index as u16).to_be_bytes());
    }
    if run.protocol() == protocol::UDP {
        set_u16(bytes, at + 4, length - at);
        return;
    }
    let sequence: [u8; 4] = bytes[at + 4..at + 8].try_into().expect("four bytes");
    let sequence = u32::from_be_bytes(sequence).wrapping_add(offset as u32);
    bytes[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
    let flags = &mut bytes[at + 13];
    if !is_last {
        *flags &= !LAST_ONLY;
    }
    if index > 0 {
        *flags &= !FIRST_ONLY;
    }
}

/// Writes a length, which fits: an IP packet is no longer than 65,535 bytes.
fn set_u16(bytes: &mut [u8], at: usize, length: usize) {
    bytes[at..at + 2].copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_builder::{at, tcp, udp};

    fn run(mut bytes: Vec<u8>, payload: usize, size: u16) -> Packet {
        bytes.extend((0..payload).map(|index| index as u8));
        let v6 = bytes[0] >> 4 == 6;
        let length = bytes.len();
        if v6 {
            set_u16(&mut bytes, 4, length - 40);
        } else {
            set_u16(&mut bytes, 2, length);
        }
        let mut packet = Packet::new(bytes, 1);
        packet.segment_size = run_of(&packet, NonZeroU16::new(size));
        packet
    }

    /// FIN, PSH, ACK and CWR.
    const ALL_FLAGS: u8 = 0x01 | 0x08 | 0x10 | 0x80;

    fn tcp_run(source: &str, destination: &str) -> Packet {
        let mut bytes = tcp(at(source), at(destination), ALL_FLAGS).bytes;
        let transport = bytes.len() - TCP_HEADER_LENGTH;
        bytes[transport + 4..transport + 8].copy_from_slice(&(u32::MAX - 5).to_be_bytes());
        if bytes[0] >> 4 == 4 {
            bytes[4..6].copy_from_slice(&u16::MAX.to_be_bytes());
        }
        run(bytes, 2_500, 1_000)
    }

    #[test]
    fn a_run_of_tcp_is_cut_into_the_segments_that_it_stands_for() {
        for (source, destination, headers) in
            [("10.0.0.1:1", "10.0.0.2:2", 40), ("[fd00::1]:1", "[fd00::2]:2", 60)]
        {
            let packet = tcp_run(source, destination);
            assert_eq!(longest(&packet), headers + 1_000);
            let cut = segments(&packet);
            assert_eq!(
                cut.iter().map(Vec::len).collect::<Vec<_>>(),
                [1_000, 1_000, 500].map(|it| it + headers)
            );
            let payload: Vec<u8> = cut.iter().flat_map(|bytes| &bytes[headers..]).copied().collect();
            assert_eq!(payload, packet.bytes[headers..]);
            for (index, bytes) in (0_u32..).zip(&cut) {
                let segment = Packet::new(bytes.clone(), 2);
                assert!(crate::packet::is_carried(bytes), "its lengths agree");
                assert_eq!(segment.source(), packet.source());
                let transport = segment.payload();
                let sequence = u32::from_be_bytes(transport[4..8].try_into().expect("four bytes"));
                assert_eq!(sequence, (u32::MAX - 5).wrapping_add(index * 1_000));
                assert_eq!(transport[13], [0x90, 0x10, 0x19][index as usize], "flags of segment {index}");
                if !segment.is_ipv6() {
                    assert_eq!(bytes[4..6], u16::MAX.wrapping_add(index as u16).to_be_bytes());
                }
            }
        }
    }

    #[test]
    fn the_segments_of_a_run_can_be_joined_again() {
        for (source, destination) in [("10.0.0.1:1", "10.0.0.2:2"), ("[fd00::1]:1", "[fd00::2]:2")] {
            let mut packet = tcp_run(source, destination);
            // CWR would keep the first one alone.
            let flags = packet.header_length() + 13;
            packet.bytes[flags] &= !FIRST_ONLY;
            let mut cut = segments(&packet).into_iter().map(|bytes| Packet::new(bytes, 2));
            let mut joined = cut.next().expect("a first one");
            for next in cut {
                assert!(join(&mut joined, &next));
            }
            assert_eq!(joined.bytes, packet.bytes);
            assert_eq!(joined.segment_size, packet.segment_size);
            assert!(!join(&mut joined, &packet), "FIN has ended it");
        }
    }

    #[test]
    fn what_does_not_go_on_where_the_other_ends_is_not_joined() {
        let segment = |length: usize| run(tcp(at("10.0.0.1:1"), at("10.0.0.2:2"), 0x10).bytes, length, 1_000);
        let after = |first: &Packet, change: &dyn Fn(&mut Packet)| {
            let mut next = segment(first.bytes.len() - 40);
            let sequence = 1_000 + (first.bytes.len() as u32 - 40);
            next.bytes[24..28].copy_from_slice(&sequence.to_be_bytes());
            change(&mut next);
            next
        };
        let first = segment(500);
        let joins = |change: &dyn Fn(&mut Packet)| join(&mut segment(500), &after(&first, change));
        assert!(joins(&|_| ()));
        assert!(joins(&|next| next.bytes[5] ^= 1), "the identification may differ");
        for (what, at, bit) in [
            ("another gap", 27, 1),
            ("another source", 15, 1),
            ("another port", 23, 1),
            ("another acknowledgment", 31, 1),
            ("another window", 35, 1),
            ("another time to live", 8, 1),
            ("SYN", 33, 0x02),
            ("RST", 33, 0x04),
        ] {
            assert!(!joins(&|next| next.bytes[at] ^= bit), "{what}");
        }
        // Only the last may be shorter, and none longer.
        let mut short = segment(500);
        assert!(!join(&mut short, &after(&segment(500), &|next| next.bytes.extend_from_slice(&[0; 10]))));
        let mut bare = segment(0);
        assert!(!join(&mut bare, &after(&segment(0), &|_| ())));
        let mut full = segment(65_000);
        full.segment_size = NonZeroU16::new(1_000);
        assert!(!join(&mut full, &after(&segment(65_000), &|next| next.bytes.truncate(1_040))), "it is full");
    }

    #[test]
    fn a_run_of_udp_is_cut_into_datagrams() {
        let packet = run(udp(at("10.0.0.1:1"), at("10.0.0.2:2"), &[]).bytes, 250, 100);
        let cut = segments(&packet);
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 78]);
        for bytes in &cut {
            assert_eq!(usize::from(u16::from_be_bytes([bytes[24], bytes[25]])), bytes.len() - 20);
        }
    }

    #[test]
    fn what_is_no_longer_than_a_segment_or_has_none_is_no_run() {
        let short = run(tcp(at("10.0.0.1:1"), at("10.0.0.2:2"), ALL_FLAGS).bytes, 100, 100);
        assert_eq!((short.segment_size, longest(&short)), (None, 140));
        assert_eq!(segments(&short), std::slice::from_ref(&short.bytes));
        let mut other = run(tcp(at("10.0.0.1:1"), at("10.0.0.2:2"), ALL_FLAGS).bytes, 300, 100);
        other.bytes[9] = protocol::SCTP;
        assert_eq!(run_of(&other, NonZeroU16::new(100)), None);
        // A data offset that leads out of the packet.
        let mut broken = tcp(at("10.0.0.1:1"), at("10.0.0.2:2"), ALL_FLAGS);
        broken.bytes[32] = 0xf0;
        assert_eq!(run_of(&broken, NonZeroU16::new(1)), None);
    }
}
