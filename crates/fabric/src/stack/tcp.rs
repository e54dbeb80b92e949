//! The TCP connections of a stack: telling them apart, opening them, and carrying their packets and timers.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use hopwise_engine::log::{EventId, Kind};
use hopwise_engine::{HostId, Span, Time};
use rustc_hash::FxHashMap;

use super::connection::{Connection, Origin};
use super::errno::Errno;
use super::exit::Exit;
use super::flow::{Flow, endpoints_of};
use super::listener::{BACKLOG_MAX, Listener, Listeners};
use super::slots::{Slots, SocketId};
use super::time_wait::{Late, TimeWaits};
use super::waiters::Waiters;
use crate::device::{Context, DELIVERED};
use crate::icmp::{IcmpError, Unreachable};
use crate::packet::Packet;
use crate::tcp::{Endpoints, Machine, Segment, Segments, TcpConfig, TcpMachine, TcpState, answer_with_reset};
use crate::trace::TraceReport;
use crate::{Action, Answer};

/// A stack refused a packet and said so.
static REFUSED: Kind = Kind::new("packet.refused", ["packet", "length"]);

static CUT_OFF: LazyLock<Arc<str>> = LazyLock::new(|| "the TCP header is cut off".into());
static QUEUE_FULL: LazyLock<Arc<str>> = LazyLock::new(|| "the listener's queue is full".into());
static NOT_HERE: LazyLock<Arc<str>> = LazyLock::new(|| "no device here has the destination address".into());

/// First and last local port that `connect` chooses (Linux `net.ipv4.ip_local_port_range`).
pub(crate) const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 32_768..=60_999;

/// Smallest packet size that an ICMP error may ask for: Linux's `min_pmtu`, and RFC 8200's minimum for IPv6.
const MTU_MIN: (u16, u16) = (552, 1280);

/// Within this time a connection that has reached TIME-WAIT still sends its last acknowledgment.
const LAST_ACKNOWLEDGMENT_WITHIN: Span = Span::from_secs(1);

/// The connections and listeners of a stack.
pub(crate) struct Tcp {
    pub(crate) config: TcpConfig,
    pub(crate) connections: Slots<Connection>,
    pub(crate) listeners: Listeners,
    by_flow: FxHashMap<Flow, SocketId>,
    time_waits: TimeWaits,
    dirty: Vec<SocketId>,
    next_port: u16,
    opened: u64,
    segments: Segments,
}

impl Default for Tcp {
    fn default() -> Self {
        Tcp {
            config: TcpConfig::default(),
            connections: Slots::default(),
            listeners: Listeners::default(),
            by_flow: FxHashMap::default(),
            time_waits: TimeWaits::default(),
            dirty: Vec::new(),
            next_port: *EPHEMERAL_PORTS.start(),
            opened: 0,
            segments: Segments::default(),
        }
    }
}

impl Tcp {
    /// Takes a packet that arrived.
    pub(crate) fn receive(&mut self, packet: Packet, exit: &mut Exit, cx: &mut Context<'_>) {
        let Some(segment) = Segment::parse(packet.payload()) else {
            cx.drop_packet(packet, &CUT_OFF);
            return;
        };
        let flow = Flow::of(&packet, &segment);
        if let Some(id) = self.by_flow.get(&flow).copied() {
            self.deliver(id, packet, &segment, exit, cx);
            return;
        }
        if !exit.owns(packet.destination_ip()) {
            cx.drop_packet(packet, &NOT_HERE);
            return;
        }
        match self.time_waits.segment(&flow, &packet, &segment, cx.now) {
            Some(Late::Answer(bytes)) => {
                let cause = take(packet, cx);
                exit.send(bytes, cause, None, cx);
                return;
            }
            Some(Late::Ignore) => {
                take(packet, cx);
                return;
            }
            Some(Late::Reopen) | None => {}
        }
        let listener = if segment.flags.opens() { self.listener_for(&packet, &segment) } else { None };
        match listener {
            Some(listener) => self.open(listener, packet, &segment, exit, cx),
            None => refuse(packet, &segment, exit, cx),
        }
    }

    /// Whether a connection or a listener takes the packet.
    pub(crate) fn claims(&self, packet: &Packet) -> bool {
        Segment::parse(packet.payload()).is_some_and(|segment| {
            self.by_flow.contains_key(&Flow::of(packet, &segment))
                || segment.flags.opens() && self.listener_for(packet, &segment).is_some()
        })
    }

    /// Whether one of the connections has sent the packet.
    pub(crate) fn has_sent(&self, packet: &Packet) -> bool {
        self.by_flow
            .contains_key(&Flow::new(Endpoints { local: packet.source(), remote: packet.destination() }))
    }

    /// Takes an ICMP error about a packet of one of the connections.
    pub(crate) fn icmp_error(
        &mut self,
        error: &IcmpError,
        about: &Packet,
        exit: &mut Exit,
        cx: &mut Context<'_>,
    ) {
        let flow = Flow::new(Endpoints { local: about.source(), remote: about.destination() });
        let Some(id) = self.by_flow.get(&flow).copied() else { return };
        let Some(connection) = self.connections.get_mut(id) else { return };
        let v6 = about.is_ipv6();
        match (error.why, Errno::of_icmp(error.why, v6)) {
            (Unreachable::TooBig { mtu }, _) => {
                let mtu = mtu.max(if v6 { MTU_MIN.1 } else { MTU_MIN.0 });
                if usize::from(mtu) < self.config.mtu {
                    connection.machine.set_mtu(mtu.into(), cx.now);
                }
            }
            (_, Some(errno)) => connection.icmp_error(errno, cx.now),
            (_, None) => {}
        }
        self.finish(id, exit, cx);
    }

    /// Handles the timer of a connection.
    pub(crate) fn timer(&mut self, id: SocketId, exit: &mut Exit, cx: &mut Context<'_>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.armed != cx.now {
            return;
        }
        connection.armed = Time::MAX;
        connection.poll(cx.now, &mut self.segments);
        self.finish(id, exit, cx);
    }

    /// Sends what the connections were given.
    pub(crate) fn settle(&mut self, exit: &mut Exit, cx: &mut Context<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.dirty = false;
            connection.poll(cx.now, &mut self.segments);
            self.finish(id, exit, cx);
        }
        self.dirty = dirty;
    }

    /// Whether [`Tcp::settle`] has anything to do.
    pub(crate) fn needs_settling(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The connection is looked after when every task waits.
    pub(crate) fn mark(&mut self, id: SocketId) {
        if let Some(connection) = self.connections.get_mut(id)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Opens a connection between two endpoints; a local port 0 chooses one.
    pub(crate) fn connect(
        &mut self,
        mut endpoints: Endpoints,
        host: HostId,
        report: Option<TraceReport>,
        now: Time,
    ) -> Result<SocketId, Errno> {
        if endpoints.local.port() == 0 {
            endpoints.local.set_port(self.free_port(endpoints, now).ok_or(Errno::EADDRNOTAVAIL)?);
        }
        let flow = Flow::new(endpoints);
        if self.is_taken(&flow, now) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let seed = self.next_seed();
        let machine = Machine::connect(endpoints, &self.config, seed, now);
        let mut connection = Connection::new(machine, endpoints, host, Origin::Connect, now);
        connection.trace = report;
        let id = self.connections.insert(connection);
        self.by_flow.insert(flow, id);
        self.mark(id);
        Ok(id)
    }

    /// Listens on `local`; port 0 chooses one.
    pub(crate) fn listen(
        &mut self,
        mut local: SocketAddr,
        backlog: u32,
        host: HostId,
    ) -> Result<SocketId, Errno> {
        if local.port() == 0 {
            let free = |port: &u16| !self.listeners.conflicts(SocketAddr::new(local.ip(), *port));
            local.set_port(EPHEMERAL_PORTS.rev().find(free).ok_or(Errno::EADDRINUSE)?);
        } else if self.listeners.conflicts(local) {
            return Err(Errno::EADDRINUSE);
        }
        let backlog = backlog.min(BACKLOG_MAX);
        let (queue, waiters) = (Default::default(), Waiters::default());
        Ok(self.listeners.insert(Listener { local, host, backlog, queue, waiters }))
    }

    /// Closes a listener; what nobody has accepted is reset (Linux `inet_csk_listen_stop`).
    pub(crate) fn close_listener(&mut self, id: SocketId) {
        let Some(listener) = self.listeners.remove(id) else { return };
        for pending in listener.queue {
            if let Some(connection) = self.connections.get_mut(pending) {
                connection.reset();
                self.mark(pending);
            }
        }
    }

    /// Closes a connection for its process.
    pub(crate) fn close(&mut self, id: SocketId, now: Time) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.close(now);
            self.mark(id);
        }
    }

    /// The processes of `host` have ended: closes what they had open, as Linux does.
    pub(crate) fn close_host(&mut self, host: HostId, now: Time) {
        for id in self.listeners.slots.ids_where(|listener| listener.host == host) {
            self.close_listener(id);
        }
        for id in self.connections.ids_where(|connection| connection.host == host && connection.held) {
            self.close(id, now);
        }
    }

    /// The next connection that waits at a listener.
    pub(crate) fn accept(&mut self, listener: SocketId) -> Option<SocketId> {
        let id = self.listeners.slots.get_mut(listener)?.queue.pop_front()?;
        self.connections.get_mut(id)?.origin = Origin::Accepted;
        Some(id)
    }

    fn listener_for(&self, packet: &Packet, segment: &Segment) -> Option<SocketId> {
        self.listeners.find(SocketAddr::new(packet.destination_ip(), segment.destination_port))
    }

    /// A SYN for a listener.
    fn open(
        &mut self,
        listener: SocketId,
        packet: Packet,
        segment: &Segment,
        exit: &mut Exit,
        cx: &mut Context<'_>,
    ) {
        let seed = self.next_seed();
        let Some(listening) = self.listeners.slots.get(listener) else { return };
        if listening.is_full() {
            cx.drop_packet(packet, &QUEUE_FULL);
            return;
        }
        let endpoints = endpoints_of(&packet, segment);
        let machine = Machine::expect(endpoints, &self.config, seed, cx.now);
        let origin = Origin::HalfOpen(listener);
        let mut connection = Connection::new(machine, endpoints, listening.host, origin, cx.now);
        connection.mapped = endpoints.local.is_ipv4() && listening.local.is_ipv6();
        connection.trace = packet.trace.as_ref().map(|trace| trace.report.reply());
        let flow = connection.flow;
        let id = self.connections.insert(connection);
        self.by_flow.insert(flow, id);
        self.deliver(id, packet, segment, exit, cx);
    }

    /// Gives a packet to its connection.
    fn deliver(
        &mut self,
        id: SocketId,
        mut packet: Packet,
        segment: &Segment,
        exit: &mut Exit,
        cx: &mut Context<'_>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let pending_at = match connection.origin {
            Origin::HalfOpen(listener) => Some(listener),
            Origin::Connect | Origin::Queued | Origin::Accepted => None,
        };
        if let Some(listener) = pending_at
            && segment.flags.ack()
            && self.listeners.slots.get(listener).is_some_and(Listener::is_full)
        {
            // Linux leaves the connection half open and waits for the next acknowledgment.
            cx.drop_packet(packet, &QUEUE_FULL);
            return;
        }
        connection.cause = cx.record(&mut packet, &DELIVERED);
        if packet.trace.is_some() {
            cx.hop(&mut packet, Action::Delivered);
        }
        connection.segment(packet.bytes, segment, cx.now, &mut self.segments);
        if let Some(listener) = pending_at
            && connection.is_open()
        {
            self.enqueue(id, listener, cx);
        }
        self.finish(id, exit, cx);
    }

    /// A half-open connection has opened (or failed): hands it to its listener.
    fn enqueue(&mut self, id: SocketId, listener: SocketId, cx: &mut Context<'_>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        match self.listeners.slots.get_mut(listener) {
            Some(listener) if connection.machine.state() != TcpState::Closed => {
                connection.origin = Origin::Queued;
                listener.queue.push_back(id);
                cx.outputs.woke |= listener.waiters.wake();
            }
            _ => {
                connection.reset();
                connection.poll(cx.now, &mut self.segments);
            }
        }
    }

    /// After anything that a connection did: sends its packets, wakes its tasks, sets its timer, or ends it.
    fn finish(&mut self, id: SocketId, exit: &mut Exit, cx: &mut Context<'_>) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let state = connection.machine.state();
        if state != TcpState::Established
            && let Some(last) = self.segments.last()
        {
            connection.last_sent = sequence_after(last);
        }
        for bytes in self.segments.drain() {
            exit.send(bytes, connection.cause, connection.trace.as_ref(), cx);
        }
        let timer = connection.next_timer(cx.now);
        let last_acknowledgment = timer.is_some_and(|at| at < cx.now + LAST_ACKNOWLEDGMENT_WITHIN);
        if connection.attached
            && (state == TcpState::Closed || state == TcpState::TimeWait && !last_acknowledgment)
        {
            if state == TcpState::TimeWait {
                let (next_to_send, next_expected) = connection.last_sent;
                self.time_waits.insert(connection.flow, next_to_send, next_expected, cx.now);
            }
            connection.attached = false;
        }
        cx.outputs.woke |= connection.wake();
        if connection.attached {
            if let Some(at) = timer.map(|at| at.max(cx.now))
                && at < connection.armed
            {
                connection.armed = at;
                cx.outputs.timers.push((at, id.token()));
            }
            return;
        }
        if self.by_flow.get(&connection.flow) == Some(&id) {
            self.by_flow.remove(&connection.flow);
        }
        if !connection.held || matches!(connection.origin, Origin::HalfOpen(_)) {
            self.connections.remove(id);
        }
    }

    fn is_taken(&self, flow: &Flow, now: Time) -> bool {
        self.by_flow.contains_key(flow) || self.time_waits.contains(flow, now)
    }

    /// A local port for a connection to `endpoints.remote`: the next one in turn that is free for it.
    fn free_port(&mut self, mut endpoints: Endpoints, now: Time) -> Option<u16> {
        for _ in EPHEMERAL_PORTS {
            let port = self.next_port;
            self.next_port = if port == *EPHEMERAL_PORTS.end() { *EPHEMERAL_PORTS.start() } else { port + 1 };
            endpoints.local.set_port(port);
            let free = !self.is_taken(&Flow::new(endpoints), now) && endpoints.local != endpoints.remote;
            if free && !self.listeners.conflicts(endpoints.local) {
                return Some(port);
            }
        }
        None
    }

    /// A number that fixes the sequence numbers of the next connection (splitmix64 of a counter and the seed).
    fn next_seed(&mut self) -> u64 {
        self.opened += 1;
        let seed = if hopwise_engine::is_running() { hopwise_engine::seed() } else { 0 };
        let mut mixed = seed.wrapping_add(self.opened.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Records that the stack took the packet.
fn take(mut packet: Packet, cx: &mut Context<'_>) -> EventId {
    let cause = cx.record(&mut packet, &DELIVERED);
    cx.hop(&mut packet, Action::Delivered);
    cause
}

/// Answers a segment of no connection with RST.
fn refuse(mut packet: Packet, segment: &Segment, exit: &mut Exit, cx: &mut Context<'_>) {
    let cause = cx.record(&mut packet, &REFUSED);
    let answer = answer_with_reset(&packet, segment);
    let report = packet.trace.as_ref().map(|trace| trace.report.reply());
    if report.is_some() {
        let why = if segment.flags.opens() {
            format!("nothing listens on port {}", segment.destination_port)
        } else {
            "no such connection".to_owned()
        };
        packet.rejected(cx.name, cx.now, why.into(), Answer::Reset);
    }
    if let Some(bytes) = answer {
        exit.send(bytes, cause, report.as_ref(), cx);
    }
}

/// The sequence number after a packet that was sent, and the number it acknowledges.
fn sequence_after(bytes: &[u8]) -> (u32, u32) {
    let header_length = if bytes[0] >> 4 == 6 {
        crate::packet::IPV6_HEADER_LENGTH
    } else {
        crate::packet::IPV4_HEADER_LENGTH
    };
    match Segment::parse(&bytes[header_length..]) {
        Some(segment) => (segment.sequence.wrapping_add(segment.length), segment.acknowledgment),
        None => (0, 0),
    }
}
