//! TCP headers: what the stack must read of a segment, and the bare answers that belong to no connection.
//!
//! Source: RFC 9293 sections 3.1 and 3.5.2.

use std::net::IpAddr;

use crate::packet::{IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, Packet, protocol};

const HEADER_LENGTH: usize = 20;
const TIME_TO_LIVE: u8 = 64;

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    /// Whether it is the first segment of a connection.
    pub(crate) fn opens(self) -> bool {
        self.0 & (Self::SYN | Self::ACK | Self::RST) == Self::SYN
    }
    pub(crate) fn fin(self) -> bool {
        self.0 & Self::FIN != 0
    }
    pub(crate) fn syn(self) -> bool {
        self.0 & Self::SYN != 0
    }
    pub(crate) fn rst(self) -> bool {
        self.0 & Self::RST != 0
    }
    pub(crate) fn ack(self) -> bool {
        self.0 & Self::ACK != 0
    }
}

/// The fields of a segment that the stack reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    /// Sequence numbers it occupies: payload bytes, SYN and FIN.
    pub(crate) length: u32,
}

impl Segment {
    /// Reads the TCP header in `payload`, the bytes after the IP header; `None` if it is cut off.
    pub(crate) fn parse(payload: &[u8]) -> Option<Segment> {
        let header: &[u8; HEADER_LENGTH] = payload.first_chunk()?;
        let flags = Flags(header[13]);
        let header_length = usize::from(header[12] >> 4) * 4;
        let data = payload.len().checked_sub(header_length)?;
        Some(Segment {
            source_port: u16::from_be_bytes([header[0], header[1]]),
            destination_port: u16::from_be_bytes([header[2], header[3]]),
            sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            acknowledgment: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            flags,
            window: u16::from_be_bytes([header[14], header[15]]),
            length: u32::try_from(data).ok()? + u32::from(flags.syn()) + u32::from(flags.fin()),
        })
    }
}

/// The RST that answers a segment of no connection (RFC 9293 section 3.5.2, group 1); `None` for a RST.
pub(crate) fn answer_with_reset(packet: &Packet, segment: &Segment) -> Option<Vec<u8>> {
    if segment.flags.rst() {
        return None;
    }
    let (sequence, acknowledgment, flags) = if segment.flags.ack() {
        (segment.acknowledgment, 0, Flags::RST)
    } else {
        (0, segment.sequence.wrapping_add(segment.length), Flags::RST | Flags::ACK)
    };
    Some(answer(packet, segment, sequence, acknowledgment, flags, 0))
}

/// The bare acknowledgment that a connection in TIME-WAIT answers with.
pub(crate) fn answer_with_acknowledgment(
    packet: &Packet,
    segment: &Segment,
    sequence: u32,
    acknowledgment: u32,
) -> Vec<u8> {
    answer(packet, segment, sequence, acknowledgment, Flags::ACK, u16::MAX)
}

fn answer(
    packet: &Packet,
    segment: &Segment,
    sequence: u32,
    acknowledgment: u32,
    flags: u8,
    window: u16,
) -> Vec<u8> {
    let mut bytes = match (packet.destination_ip(), packet.source_ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut bytes = vec![0; IPV4_HEADER_LENGTH + HEADER_LENGTH];
            bytes[0] = 0x45;
            bytes[2..4].copy_from_slice(&((IPV4_HEADER_LENGTH + HEADER_LENGTH) as u16).to_be_bytes());
            bytes[6] = 0x40;
            bytes[8] = TIME_TO_LIVE;
            bytes[9] = protocol::TCP;
            bytes[12..16].copy_from_slice(&from.octets());
            bytes[16..20].copy_from_slice(&to.octets());
            bytes
        }
        (from, to) => {
            let (IpAddr::V6(from), IpAddr::V6(to)) = (from, to) else {
                unreachable!("a packet's addresses are of one family");
            };
            let mut bytes = vec![0; IPV6_HEADER_LENGTH + HEADER_LENGTH];
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&(HEADER_LENGTH as u16).to_be_bytes());
            bytes[6] = protocol::TCP;
            bytes[7] = TIME_TO_LIVE;
            bytes[8..24].copy_from_slice(&from.octets());
            bytes[24..40].copy_from_slice(&to.octets());
            bytes
        }
    };
    let header_at = bytes.len() - HEADER_LENGTH;
    let header = &mut bytes[header_at..];
    header[0..2].copy_from_slice(&segment.destination_port.to_be_bytes());
    header[2..4].copy_from_slice(&segment.source_port.to_be_bytes());
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[8..12].copy_from_slice(&acknowledgment.to_be_bytes());
    header[12] = (HEADER_LENGTH as u8 / 4) << 4;
    header[13] = flags;
    header[14..16].copy_from_slice(&window.to_be_bytes());
    bytes
}
