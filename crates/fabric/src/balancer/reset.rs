//! TCP resets made by a device in the middle.

use crate::device::Context;
use crate::packet::{Packet, protocol};

/// The reset that answers `packet`, as if from its destination (RFC 9293 section 3.10.7.1); `None` if there must
/// be no answer.
pub(super) fn answer(packet: &Packet, cx: &mut Context<'_>) -> Option<Packet> {
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;
    const SYN_FIN: [u8; 2] = [0x02, 0x01];
    let header = packet.payload();
    if packet.protocol() != protocol::TCP || header.len() < 20 || header[13] & RST != 0 {
        return None;
    }
    let number_at =
        |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let flags = header[13];
    let data = header.len().saturating_sub(usize::from(header[12] >> 4) * 4);
    let length = data as u32 + SYN_FIN.iter().filter(|flag| flags & **flag != 0).count() as u32;
    let (sequence, acknowledgement, flags) = if flags & ACK != 0 {
        (number_at(8), 0, RST)
    } else {
        (0, number_at(4).wrapping_add(length), RST | ACK)
    };
    let header_length = packet.header_length();
    let mut bytes = packet.bytes[..header_length].to_vec();
    bytes.extend_from_slice(&[0; 20]);
    let segment = &mut bytes[header_length..];
    segment[4..8].copy_from_slice(&sequence.to_be_bytes());
    segment[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    let total = (header_length + 20) as u16;
    if packet.is_ipv6() {
        bytes[4..6].copy_from_slice(&20_u16.to_be_bytes());
    } else {
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
    }
    let mut reset = Packet::new(bytes, cx.packet_id());
    reset.set_source(packet.destination());
    reset.set_destination(packet.source());
    reset.set_time_to_live(64);
    reset.cause = packet.cause;
    Some(reset)
}
