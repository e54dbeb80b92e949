//! One TCP connection of a stack: the machine, and what Linux adds to it: when to give up, keep-alive, errors.
//!
//! Sources: RFC 9293; Linux Documentation/networking/ip-sysctl.rst for the times; net/ipv4/tcp_timer.c and
//! tcp.c for what is reported; linux.md section 4 for what was measured.

use std::task::Context as TaskContext;

use hopwise_engine::log::EventId;
use hopwise_engine::{HostId, Span, Time};

use super::errno::Errno;
use super::flow::Flow;
use super::slots::SocketId;
use super::waiters::Waiters;
use crate::tcp::{Endpoints, Machine, Segment, Segments, TcpMachine, TcpState};
use crate::trace::TraceReport;

/// How long unacknowledged bytes are repeated (`tcp_retries2` 15: "a hypothetical timeout of 924.6 seconds").
const RETRANSMISSION_TIMEOUT: Span = Span::from_millis(924_600);
/// The same for a connection that no process holds any more: `tcp_orphan_retries` is 8, the first of them after 200 ms,
/// each of the others after twice the time.
const ORPHAN_TIMEOUT: Span = Span::from_millis(102_200);
/// How long a connection that no process holds waits for the peer's FIN (`tcp_fin_timeout`).
const FIN_TIMEOUT: Span = Span::from_secs(60);

/// Keep-alive of a connection. The default is Linux's (`tcp_keepalive_time`, `_intvl`, `_probes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe.
    pub idle: Span,
    /// Time between probes.
    pub interval: Span,
    /// Unanswered probes after which the connection is given up.
    pub probes: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { idle: Span::from_secs(7_200), interval: Span::from_secs(75), probes: 9 }
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This stack.
    Connect,
    /// The peer, through this listener; the peer has not answered yet.
    HalfOpen(SocketId),
    /// The peer; the connection is open and waits in its listener's queue.
    Queued,
    /// The peer, and a process has accepted the connection.
    Accepted,
}

/// One connection.
pub(crate) struct Connection {
    pub(crate) machine: Machine,
    pub(crate) endpoints: Endpoints,
    pub(crate) flow: Flow,
    pub(crate) host: HostId,
    pub(crate) origin: Origin,
    /// Whether a process holds it, or a listener keeps it for one. If not, it is an orphan.
    pub(crate) held: bool,
    /// Whether packets still reach it. If not, only unread bytes and the error are left of it.
    pub(crate) attached: bool,
    /// Whether its addresses are shown as IPv4 addresses mapped to IPv6: it came through an IPv6 listener.
    pub(crate) mapped: bool,
    pub(crate) zero_linger: bool,
    pub(crate) nodelay: bool,
    pub(crate) time_to_live: u8,
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) trace: Option<TraceReport>,
    /// The last event that concerned it.
    pub(crate) cause: EventId,
    /// When its timer event is due; [`Time::MAX`] if there is none.
    pub(crate) armed: Time,
    /// Whether it waits in the stack's list of connections to look after.
    pub(crate) dirty: bool,
    /// The last sequence and acknowledgment number sent, for TIME-WAIT.
    pub(crate) last_sent: (u32, u32),
    pub(crate) readers: Waiters,
    pub(crate) writers: Waiters,
    error: Option<Errno>,
    soft_error: Option<Errno>,
    last_heard: Time,
    /// Since when bytes wait for an acknowledgment without progress.
    unanswered_since: Option<Time>,
    acknowledged: u32,
    probing: bool,
    /// When it became an orphan in FIN-WAIT-2.
    waits_for_fin_since: Option<Time>,
}

/// What became of a connection in [`Connection::expire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expiry {
    /// Give up in silence.
    Silent,
    /// Give up and tell the peer.
    Reset,
}

impl Connection {
    /// A connection of `host`.
    pub(crate) fn new(
        machine: Machine,
        endpoints: Endpoints,
        host: HostId,
        origin: Origin,
        now: Time,
    ) -> Self {
        Connection {
            machine,
            endpoints,
            flow: Flow::new(endpoints),
            host,
            origin,
            held: true,
            attached: true,
            mapped: false,
            zero_linger: false,
            nodelay: false,
            time_to_live: 64,
            keep_alive: None,
            trace: None,
            cause: EventId::NONE,
            armed: Time::MAX,
            dirty: false,
            last_sent: (0, 0),
            readers: Waiters::default(),
            writers: Waiters::default(),
            error: None,
            soft_error: None,
            last_heard: now,
            unanswered_since: None,
            acknowledged: 0,
            probing: false,
            waits_for_fin_since: None,
        }
    }

    /// Takes a packet of the connection.
    pub(crate) fn segment(&mut self, bytes: Vec<u8>, segment: &Segment, now: Time, out: &mut Segments) {
        let before = self.machine.state();
        self.last_heard = now;
        if self.probing {
            self.probing = false;
            self.machine.probe(None);
        }
        if segment.flags.ack() && (segment.acknowledgment != self.acknowledged || segment.window == 0) {
            self.acknowledged = segment.acknowledgment;
            self.unanswered_since = None;
        }
        self.machine.segment(bytes, segment, now, out);
        if segment.flags.rst() && before != TcpState::Closed && self.machine.state() == TcpState::Closed {
            self.fail(match before {
                TcpState::SynSent => Errno::ECONNREFUSED,
                TcpState::CloseWait => Errno::EPIPE,
                _ => Errno::ECONNRESET,
            });
        }
        self.after(now);
        self.reset_if_nobody_reads(now, out);
    }

    /// Does what is due now: sends what was given, repeats, gives up.
    pub(crate) fn poll(&mut self, now: Time, out: &mut Segments) {
        if !self.attached {
            return;
        }
        if let Some((at, expiry)) = self.deadline()
            && at <= now
        {
            self.expire(expiry, now, out);
            return;
        }
        if let Some(keep_alive) = self.active_keep_alive()
            && !self.probing
            && self.last_heard + keep_alive.idle <= now
        {
            self.probing = true;
            self.machine.probe(Some(keep_alive.interval));
        }
        self.machine.poll(now, out);
        self.after(now);
    }

    /// When [`Connection::poll`] is to be called next.
    pub(crate) fn next_timer(&mut self, now: Time) -> Option<Time> {
        if !self.attached {
            return None;
        }
        let machine = self.machine.next_timer(now);
        let probe = self.active_keep_alive().filter(|_| !self.probing);
        let probe = probe.map(|keep_alive| self.last_heard + keep_alive.idle);
        let deadline = self.deadline().map(|(at, _)| at);
        [machine, probe, deadline].into_iter().flatten().min()
    }

    /// An ICMP error about one of its packets. Only a connection that is not open yet fails of it (RFC 1122
    /// section 4.2.3.9; Linux `tcp_v4_err`).
    pub(crate) fn icmp_error(&mut self, errno: Errno, now: Time) {
        if self.machine.state() == TcpState::SynSent {
            self.fail(errno);
            return;
        }
        self.soft_error = Some(errno);
        if matches!(errno, Errno::EHOSTUNREACH | Errno::ENETUNREACH) {
            self.machine.unreachable(now);
        }
    }

    /// Ends the connection with an error for its process; it sends nothing any more.
    pub(crate) fn fail(&mut self, errno: Errno) {
        if self.attached {
            self.error = Some(errno);
            self.attached = false;
        }
    }

    /// The process is gone, or closed its socket. Like Linux `tcp_close`: RST if bytes were not read or if the
    /// linger time is zero, FIN otherwise.
    pub(crate) fn close(&mut self, now: Time) {
        self.held = false;
        self.readers = Waiters::default();
        self.writers = Waiters::default();
        match self.machine.state() {
            TcpState::SynSent => self.attached = false,
            _ if self.machine.received() > 0 || self.zero_linger => self.machine.abort(),
            _ => self.machine.shut_down(),
        }
        self.after(now);
    }

    /// Closes with a RST.
    pub(crate) fn reset(&mut self) {
        self.held = false;
        self.machine.abort();
    }

    /// The error to report next, once.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }

    /// Whether the connection is open or was.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.machine.state(), TcpState::SynSent | TcpState::SynReceived)
    }

    /// Whether a read returns at once.
    pub(crate) fn readable(&self) -> bool {
        self.machine.received() > 0 || self.machine.peer_finished() || !self.attached
    }

    /// Whether a write, or `connect`, returns at once.
    pub(crate) fn writable(&self) -> bool {
        !self.attached || (self.is_open() && (self.machine.send_room() > 0 || self.writing_ended()))
    }

    /// Whether nothing can be written any more.
    pub(crate) fn writing_ended(&self) -> bool {
        let state = self.machine.state();
        !self.attached
            || !matches!(
                state,
                TcpState::SynSent | TcpState::SynReceived | TcpState::Established | TcpState::CloseWait
            )
    }

    /// Wakes the tasks for which something has changed; returns whether there was one.
    pub(crate) fn wake(&mut self) -> bool {
        let mut woke = false;
        if !self.readers.is_empty() && self.readable() {
            woke |= self.readers.wake();
        }
        if !self.writers.is_empty() && self.writable() {
            woke |= self.writers.wake();
        }
        woke
    }

    /// The polling task waits until it can read.
    pub(crate) fn wait_to_read(&mut self, cx: &TaskContext<'_>) {
        self.readers.add(cx);
    }

    /// The polling task waits until it can write, or is connected.
    pub(crate) fn wait_to_write(&mut self, cx: &TaskContext<'_>) {
        self.writers.add(cx);
    }

    fn active_keep_alive(&self) -> Option<KeepAlive> {
        self.keep_alive.filter(|_| self.is_open() && self.unanswered_since.is_none())
    }

    /// When the connection is given up if nothing is heard until then.
    fn deadline(&self) -> Option<(Time, Expiry)> {
        match self.machine.state() {
            TcpState::SynSent | TcpState::SynReceived => {
                return self.machine.gives_up_at().map(|at| (at, Expiry::Silent));
            }
            TcpState::Closed | TcpState::TimeWait => return None,
            _ => {}
        }
        let retransmission = self.unanswered_since.map(|since| {
            let patience = if self.held { RETRANSMISSION_TIMEOUT } else { ORPHAN_TIMEOUT };
            (since + patience, Expiry::Silent)
        });
        let silence = self.active_keep_alive().map(|keep_alive| {
            let probing_ns = keep_alive.interval.as_nanos().saturating_mul(u64::from(keep_alive.probes));
            (self.last_heard + keep_alive.idle + Span::from_nanos(probing_ns), Expiry::Reset)
        });
        let fin = self.waits_for_fin_since.map(|since| (since + FIN_TIMEOUT, Expiry::Silent));
        [retransmission, silence, fin].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn expire(&mut self, expiry: Expiry, now: Time, out: &mut Segments) {
        if expiry == Expiry::Reset {
            self.machine.abort();
            self.machine.poll(now, out);
        }
        let errno = self.soft_error.unwrap_or(Errno::ETIMEDOUT);
        self.fail(errno);
    }

    /// Linux answers data to a closed socket with RST (`tcp_rcv_state_process`).
    fn reset_if_nobody_reads(&mut self, now: Time, out: &mut Segments) {
        if !self.held && self.machine.received() > 0 && self.machine.state() != TcpState::Closed {
            self.machine.abort();
            self.machine.poll(now, out);
        }
    }

    /// Brings what is watched beside the machine up to date.
    fn after(&mut self, now: Time) {
        let state = self.machine.state();
        let waits = self.machine.unacknowledged() > 0
            || matches!(state, TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck);
        if !waits {
            self.unanswered_since = None;
        } else if self.unanswered_since.is_none() {
            self.unanswered_since = Some(now);
        }
        if self.held {
            return;
        }
        if state == TcpState::FinWait2 && self.waits_for_fin_since.is_none() {
            self.waits_for_fin_since = Some(now);
        }
    }
}
