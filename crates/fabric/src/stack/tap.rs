//! A tap: a network namespace outside the simulation stands where the stack does.
//!
//! Packets that no socket of the stack claims go to the tap instead of being refused, and what the tap sends leaves as if
//! a socket had sent it. The real namespace behind it answers echo requests, refuses connections and keeps state; the
//! stack's own sockets (a kubelet's on a node, a pod's own program) work beside it. Segments of one connection that wait
//! are joined, as a network device's receiver does it.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::{Arc, LazyLock};

use super::exit::Exit;
use super::waiters::Waiters;
use crate::Action;
use crate::checksum;
use crate::device::{Context, DELIVERED};
use crate::packet::Packet;
use crate::segmentation;
use crate::tap::Tapped;

/// The longest queue to the namespace, in packets: Linux's default for a TUN device (`txqueuelen`, drivers/net/tun.c).
const QUEUE_PACKETS: usize = 500;

static QUEUE_FULL: LazyLock<Arc<str>> =
    LazyLock::new(|| "the program behind the tap takes packets too slowly (500 wait)".into());

/// The packets between a stack and the namespace that stands in its place.
#[derive(Default)]
pub(crate) struct Tap {
    arrived: VecDeque<Packet>,
    sent: Vec<(Vec<u8>, Option<NonZeroU16>)>,
    pub(super) readers: Waiters,
}

impl Tap {
    /// Takes a packet of the simulation for the namespace.
    pub(super) fn arrive(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        if self.arrived.len() == QUEUE_PACKETS {
            cx.drop_packet(packet, &QUEUE_FULL);
            return;
        }
        cx.record(&mut packet, &DELIVERED);
        cx.hop(&mut packet, Action::Delivered);
        if !self.arrived.back_mut().is_some_and(|last| segmentation::join(last, &packet)) {
            self.arrived.push_back(packet);
        }
        cx.outputs.woke |= self.readers.wake();
    }

    /// The next packet for the namespace.
    pub(crate) fn next(&mut self) -> Option<Tapped> {
        let mut packet = self.arrived.pop_front()?;
        let unfinished = checksum::begin(&mut packet);
        Some(Tapped { bytes: packet.bytes, unfinished, segment_size: packet.segment_size })
    }

    /// The current task waits for a packet.
    pub(crate) fn wait(&mut self, cx: &std::task::Context<'_>) {
        self.readers.add(cx);
    }

    /// Takes a packet or a run that the namespace sends; it leaves when the stack is settled.
    pub(crate) fn send(&mut self, bytes: Vec<u8>, segment_size: Option<NonZeroU16>) {
        self.sent.push((bytes, segment_size));
    }

    pub(super) fn needs_settling(&self) -> bool {
        !self.sent.is_empty()
    }

    pub(super) fn settle(&mut self, exit: &mut Exit, cx: &mut Context<'_>) {
        for (bytes, segment_size) in self.sent.drain(..) {
            exit.send_run(bytes, segment_size, cx);
        }
    }
}
