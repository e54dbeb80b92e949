//! The TUN device of a namespace: the packets of its program.
//!
//! The device is one to which the kernel leaves what network cards do (`IFF_VNET_HDR` and `TUNSETOFFLOAD`, the kernel's
//! drivers/net/tun.c): before each packet stands a `virtio_net_hdr`, which says of a packet of up to 64 KiB how long the
//! segments are that it stands for, and where a checksum is still to be finished. So a bulk transfer costs one call for
//! 64 KiB and no sums. Source of the header: the virtio specification 1.2, section 5.1.6, in the machine's byte order.

use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The header's length in bytes.
const HEADER_LENGTH: usize = 10;
/// The longest packet that is read at once, with its header, in bytes.
const READ_MAX: usize = HEADER_LENGTH + 65_536;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: a checksum is to be finished.
const NEEDS_CHECKSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_TCPV4` and `VIRTIO_NET_HDR_GSO_TCPV6`: the packet stands for several TCP segments.
const RUN_OF_TCP: (u8, u8) = (1, 4);

/// What a device tells, and is told, of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// If the packet stands for several TCP segments or UDP datagrams: how many bytes of payload each has.
    pub segment_size: Option<NonZeroU16>,
    /// If a checksum is still to be finished: where the bytes begin that it is over, and where it stands from there.
    pub checksum: Option<(u16, u16)>,
}

/// The TUN device of a namespace: the packets of its program.
#[derive(Debug)]
pub struct Device(AsyncFd<OwnedFd>);

/// Where packets are read to.
pub struct Buffer(Box<[u8]>);

impl Default for Buffer {
    fn default() -> Self {
        Buffer(vec![0; READ_MAX].into())
    }
}

impl Device {
    /// Uses the descriptor of a device with headers.
    ///
    /// # Errors
    /// If the runtime, which must have I/O, cannot wait for it.
    pub(crate) fn new(device: OwnedFd) -> io::Result<Device> {
        rustix::io::ioctl_fionbio(&device, true)?;
        Ok(Device(registered(device)?))
    }

    /// Waits for the next packet that the program sends.
    ///
    /// # Errors
    /// If the device is gone.
    pub async fn receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<(&'a [u8], Offload)> {
        let length = self.0.async_io(Interest::READABLE, |device| read(device, buffer)).await?;
        Ok(packet_in(&buffer.0[..length]))
    }

    /// The next packet that the program sends, if it has sent one.
    ///
    /// # Errors
    /// If the device is gone.
    pub fn try_receive<'a>(&self, buffer: &'a mut Buffer) -> io::Result<Option<(&'a [u8], Offload)>> {
        match self.0.try_io(Interest::READABLE, |device| read(device, buffer)) {
            Ok(length) => Ok(Some(packet_in(&buffer.0[..length]))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the program a packet. One that it has no room for is lost, as on every link.
    ///
    /// # Errors
    /// If the device is gone.
    pub fn send(&self, packet: &[u8], offload: Offload) -> io::Result<()> {
        let header = header_of(packet, offload);
        match rustix::io::writev(self.0.get_ref(), &[IoSlice::new(&header), IoSlice::new(packet)]) {
            // The kernel refuses what is no packet.
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn read(device: &OwnedFd, buffer: &mut Buffer) -> io::Result<usize> {
    Ok(rustix::io::read(device, &mut buffer.0[..])?)
}

/// The packet behind its header, and what the header says. What is too short for a header is an empty packet.
fn packet_in(bytes: &[u8]) -> (&[u8], Offload) {
    let Some((header, packet)) = bytes.split_at_checked(HEADER_LENGTH) else {
        return (&[], Offload::default());
    };
    let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    // The highest bit is about ECN (`VIRTIO_NET_HDR_GSO_ECN`).
    let is_run = header[1] & 0x7f != 0;
    let segment_size = NonZeroU16::new(word(4)).filter(|_| is_run);
    let checksum = (header[0] & NEEDS_CHECKSUM != 0).then(|| (word(6), word(8)));
    (packet, Offload { segment_size, checksum })
}

/// The header for a packet.
fn header_of(packet: &[u8], offload: Offload) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    let mut set = |at: usize, word: u16| header[at..at + 2].copy_from_slice(&word.to_ne_bytes());
    if let Some((start, offset)) = offload.checksum {
        set(6, start);
        set(8, offset);
        // The transport header's length is in its thirteenth byte.
        let transport = packet.get(usize::from(start) + 12).map_or(0, |byte| u16::from(byte >> 4) * 4);
        if let Some(size) = offload.segment_size {
            set(2, start + transport);
            set(4, size.get());
        }
        header[0] = NEEDS_CHECKSUM;
    }
    if offload.segment_size.is_some() {
        let is_ipv6 = packet.first().is_some_and(|byte| byte >> 4 == 6);
        header[1] = if is_ipv6 { RUN_OF_TCP.1 } else { RUN_OF_TCP.0 };
    }
    header
}

/// Registers the descriptor with the runtime.
#[expect(
    deprecated,
    reason = "what may go wrong cannot with an OwnedFd, whose descriptor stays open while it is registered"
)]
fn registered(device: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment's headers, IPv4 or IPv6, with options of 12 bytes.
    fn headers(version: u8) -> (Vec<u8>, u16) {
        let start = if version == 4 { 20 } else { 40 };
        let mut packet = vec![0; start + 32];
        packet[0] = version << 4 | 5;
        packet[start + 12] = 8 << 4;
        (packet, start as u16)
    }

    #[test]
    fn what_is_told_of_a_packet_is_what_is_heard_of_it() {
        for (version, kind) in [(4, 1), (6, 4)] {
            let (packet, start) = headers(version);
            let offload = Offload { segment_size: NonZeroU16::new(1448), checksum: Some((start, 16)) };
            let header = header_of(&packet, offload);
            assert_eq!((header[0], header[1]), (1, kind));
            assert_eq!(header[2..4], (start + 32).to_ne_bytes(), "the headers' length");
            let sent = [&header[..], &packet].concat();
            assert_eq!(packet_in(&sent), (&packet[..], offload));
        }
        let (packet, _) = headers(4);
        assert_eq!(header_of(&packet, Offload::default()), [0; HEADER_LENGTH]);
    }

    #[test]
    fn headers_of_the_kernel_are_read() {
        // A run of UDP (5) with its checksum left; a packet without anything; less than a header.
        let mut bytes = vec![1, 5];
        for word in [28_u16, 1200, 20, 6] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.push(0x45);
        let offload = Offload { segment_size: NonZeroU16::new(1200), checksum: Some((20, 6)) };
        assert_eq!(packet_in(&bytes), (&[0x45][..], offload));
        assert_eq!(packet_in(&[0; 11]), (&[0][..], Offload::default()));
        assert_eq!(packet_in(&[0; 3]), (&[][..], Offload::default()));
    }
}
