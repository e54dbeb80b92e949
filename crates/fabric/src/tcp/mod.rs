//! TCP as a state machine: segments and time in, segments and the next timer out.
//!
//! [`TcpMachine`] is the seam: the stack knows connections only through it, so that another TCP can take the
//! place of the present one, which is smoltcp's. What the machine does not do, the stack does: telling
//! connections apart, listening, giving up, resets to unknown segments, TIME-WAIT.

mod retransmission;
mod segment;
mod smoltcp;
mod sockets;
mod timer_wheel;

pub(crate) use segment::{Segment, answer_with_acknowledgment, answer_with_reset};
pub(crate) use smoltcp::SmoltcpMachine as Machine;

use std::net::SocketAddr;

use hopwise_engine::{Span, Time};

/// What a connection is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// Size of the send buffer in bytes.
    pub send_buffer_bytes: usize,
    /// Size of the receive buffer in bytes; the window never grows beyond it.
    pub receive_buffer_bytes: usize,
    /// Largest packet that is sent, in bytes, IP header included.
    pub mtu: usize,
    /// How often a SYN is repeated with growing distance (Linux sysctl `tcp_syn_retries`).
    pub syn_retries: u32,
    /// How often a SYN is repeated one second apart before that (sysctl `tcp_syn_linear_timeouts`; 0 before
    /// kernel 6.5).
    pub syn_linear_timeouts: u32,
    /// How often a SYN-ACK is repeated (sysctl `tcp_synack_retries`).
    pub syn_ack_retries: u32,
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig {
            send_buffer_bytes: 65_536,
            receive_buffer_bytes: 65_536,
            mtu: 1500,
            syn_retries: 6,
            syn_linear_timeouts: 4,
            syn_ack_retries: 5,
        }
    }
}

/// The two ends of a connection, as this one sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// States of a connection (RFC 9293 section 3.3.2, without LISTEN, which is the stack's).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpState {
    SynSent,
    SynReceived,
    Established,
    FinWait1,
    FinWait2,
    CloseWait,
    Closing,
    LastAck,
    TimeWait,
    Closed,
}

/// Packets that a connection sends, from the IP header on, and the memory of packets that it has read.
#[derive(Default)]
pub(crate) struct Segments {
    packets: Vec<Vec<u8>>,
    spare: Vec<Vec<u8>>,
}

/// How many buffers wait for a packet.
const SPARE_MAX: usize = 4;

impl Segments {
    /// Room for a packet of `length` bytes, all zero, at the end.
    fn add(&mut self, length: usize) -> &mut [u8] {
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.resize(length, 0);
        self.packets.push_mut(bytes)
    }

    /// Takes back a packet that was read.
    fn give_back(&mut self, packet: Vec<u8>) {
        if self.spare.len() < SPARE_MAX {
            self.spare.push(packet);
        }
    }

    /// How many packets there are.
    fn len(&self) -> usize {
        self.packets.len()
    }

    /// The packets from number `first` on.
    fn since(&self, first: usize) -> &[Vec<u8>] {
        &self.packets[first..]
    }

    /// The packet that was added last.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.packets.last().map(Vec::as_slice)
    }

    /// Takes the packets to send.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Vec<u8>> {
        self.packets.drain(..)
    }
}

/// One TCP connection.
///
/// Packets that it sends are appended to `out`, from the IP header on. No method reads a clock.
pub(crate) trait TcpMachine: Sized {
    /// A connection that sends its SYN at the next [`TcpMachine::poll`]. `seed` fixes the sequence numbers.
    fn connect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self;

    /// A connection that expects the SYN of the peer in the next [`TcpMachine::segment`].
    fn expect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self;

    /// Takes a packet of the connection, whose TCP header reads `segment`, and answers it.
    fn segment(&mut self, packet: Vec<u8>, segment: &Segment, now: Time, out: &mut Segments);

    /// Sends what is due: data that was given, acknowledgments, retransmissions.
    fn poll(&mut self, now: Time, out: &mut Segments);

    /// When [`TcpMachine::poll`] is to be called next, if nothing happens before.
    fn next_timer(&mut self, now: Time) -> Option<Time>;

    /// A router on the way says that it cannot reach the peer.
    fn unreachable(&mut self, now: Time);

    /// When a connection that does not open is given up; `None` while its first segment is still repeated.
    fn gives_up_at(&self) -> Option<Time>;

    /// The state.
    fn state(&self) -> TcpState;

    /// Gives bytes to send; returns how many were taken.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// How many bytes [`TcpMachine::send`] would take.
    fn send_room(&self) -> usize;

    /// How many bytes were given and not yet acknowledged.
    fn unacknowledged(&self) -> usize;

    /// Takes received bytes; returns how many.
    fn receive(&mut self, buffer: &mut [u8]) -> usize;

    /// Copies received bytes and leaves them; returns how many.
    fn peek(&mut self, buffer: &mut [u8]) -> usize;

    /// How many received bytes wait to be taken.
    fn received(&self) -> usize;

    /// Whether the peer sends no more bytes than those that wait.
    fn peer_finished(&self) -> bool;

    /// Sends FIN after what was given.
    fn shut_down(&mut self);

    /// Closes at once; the next [`TcpMachine::poll`] sends RST.
    fn abort(&mut self);

    /// Turns Nagle's algorithm on or off.
    fn set_nagle(&mut self, on: bool);

    /// Sets the time to live of what is sent.
    fn set_time_to_live(&mut self, time_to_live: u8);

    /// Sets the largest packet to send, in bytes, IP header included.
    fn set_mtu(&mut self, mtu: usize, now: Time);

    /// Sends a keep-alive probe at the next [`TcpMachine::poll`] and then at every `interval`; `None` stops it.
    fn probe(&mut self, interval: Option<Span>);
}
