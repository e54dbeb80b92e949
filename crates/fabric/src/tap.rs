//! Taps: IP packets of a real network namespace, or of anything else outside, at a place of the fabric.

use std::future::poll_fn;
use std::task::Poll;

use crate::device::DeviceId;
use crate::fabric;
use crate::packet::is_carried;
use crate::stack;

/// The end of a tap: packets for the place come out of it, packets that are put into it leave from the place. While it
/// lives, packets for the place that no socket of the simulation claims come here instead of being refused.
#[derive(Debug)]
pub struct Tap {
    device: DeviceId,
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

    /// Sends an IP packet from the place. Its checksums are not looked at.
    ///
    /// # Errors
    /// [`NotAPacket`], and nothing is sent.
    pub fn send(&self, packet: &[u8]) -> Result<(), NotAPacket> {
        if !is_carried(packet) {
            return Err(NotAPacket);
        }
        // A place that is gone takes packets like an interface that is down.
        with(self.device, |tap| tap.as_mut().map(|tap| tap.send(packet.to_vec())));
        Ok(())
    }

    /// Waits for the next packet to the place, with right checksums; for ever once the place is gone.
    pub async fn receive(&self) -> Vec<u8> {
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
