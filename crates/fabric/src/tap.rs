//! Taps: IP packets of a real network namespace, or of anything else outside, at a place of the fabric.

use std::future::poll_fn;
use std::num::NonZeroU16;
use std::task::Poll;

use crate::checksum::Unfinished;
use crate::device::DeviceId;
use crate::packet::{Packet, is_carried, protocol};
use crate::{fabric, segmentation, stack};

/// The end of a tap: packets for the place come out of it, packets that are put into it leave from the place. While it
/// lives, packets for the place that no socket of the simulation claims come here instead of being refused.
#[derive(Debug)]
pub struct Tap {
    device: DeviceId,
}

/// What comes out of a tap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tapped {
    /// An IP packet whose checksums are right, but for the one that is `unfinished`.
    pub bytes: Vec<u8>,
    /// The checksum that whoever takes the packet finishes, if he looks at it.
    pub unfinished: Option<Unfinished>,
    /// If it stands for several TCP segments: how many bytes of payload each has; the last may have fewer.
    pub segment_size: Option<NonZeroU16>,
}

/// The device has no addresses of its own, is gone, or has a tap already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no tap can stand there: the place is gone, or has one already")]
pub struct NoTap;

/// What is put into a tap must be one whole IP packet, and no fragment of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a whole IP packet of the length that its header says, or a fragment, which the fabric does not carry"
)]
pub struct NotAPacket;

impl Tap {
    /// Opens the tap of `device`.
    ///
    /// # Errors
    /// [`NoTap`] for a device that is no host or node, or that has one.
    pub fn open(device: DeviceId) -> Result<Tap, NoTap> {
        let opened = with(device, |tap| {
            let free = tap.is_none();
            if free {
                *tap = Some(Box::default());
            }
            free
        });
        opened.filter(|free| *free).map(|_| Tap { device }).ok_or(NoTap)
    }

    /// Sends an IP packet from the place. Its checksums are not looked at. With a segment size it may stand for several
    /// TCP segments or UDP datagrams, each with that many bytes of payload, the last with what is left.
    ///
    /// # Errors
    /// [`NotAPacket`], and nothing is sent.
    pub fn send(&self, packet: &[u8], segment_size: Option<NonZeroU16>) -> Result<(), NotAPacket> {
        if !is_carried(packet) {
            return Err(NotAPacket);
        }
        let mut packet = Packet::new(packet.to_vec(), 0);
        packet.segment_size = segmentation::run_of(&packet, segment_size);
        // A place that is gone takes packets like an interface that is down.
        with(self.device, |tap| {
            let Some(tap) = tap else { return };
            // Sockets take datagrams one by one.
            if packet.segment_size.is_some() && packet.protocol() == protocol::UDP {
                segmentation::segments(&packet).into_iter().for_each(|bytes| tap.send(bytes, None));
            } else {
                tap.send(packet.bytes, packet.segment_size);
            }
        });
        Ok(())
    }

    /// Waits for the next packet to the place; for ever once the place is gone.
    pub async fn receive(&self) -> Tapped {
        poll_fn(|cx| {
            let next = with(self.device, |tap| {
                let tap = tap.as_mut()?;
                let next = tap.next();
                if next.is_none() {
                    tap.wait(cx);
                }
                next
            });
            next.flatten().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next packet to the place, if one is there already.
    pub fn try_receive(&self) -> Option<Tapped> {
        with(self.device, |tap| tap.as_mut()?.next()).flatten()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if fabric::is_installed() {
            with(self.device, |tap| *tap = None);
        }
    }
}

fn with<R>(device: DeviceId, f: impl FnOnce(&mut Option<Box<stack::Tap>>) -> R) -> Option<R> {
    fabric::with(|fabric| fabric.with_stack(device, |stack| f(&mut stack.tap)))
}
