//! The TCP machine made of smoltcp.
//!
//! smoltcp looks at every socket of an interface for each packet, so each connection has an interface and a
//! socket set of its own; the cost of a packet then does not depend on the number of connections. Checksums are
//! neither computed nor checked.
//!
//! smoltcp's clock is this file's to set. It counts microseconds, beginning when the connection is made. smoltcp
//! repeats segments after 1 s at least, Linux after 0.2 s: when Linux would repeat ([`Retransmission`]), the clock jumps to the
//! moment at which smoltcp does. While the connection opens, smoltcp's own timer is not listened to.
//!
//! smoltcp's ways that still differ from Linux's: the time between repetitions is at most 60 s (Linux: 120 s);
//! acknowledgments are delayed by 10 ms, or until more than one full segment waits (Linux: 40 ms, and none at the start of a
//! connection); there is no congestion window; timestamps are off.

use hopwise_engine::{Span, Time};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::retransmission::{Retransmission, Schedule};
use super::{Endpoints, Segment, Segments, TcpConfig, TcpMachine, TcpState, sockets};
use crate::packet::{IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH};

/// smoltcp's time at the connection's start, in µs: it takes time 0 for "at once".
const START_US: u64 = 1_000_000;

/// What smoltcp has to do at once it says to be due at this time.
const AT_ONCE: Instant = Instant::ZERO;

/// The clock jumps no further: smoltcp's timer waits no longer (`RTTE_MAX_RTO`).
const JUMP_MAX: Duration = Duration::from_secs(60);

/// A connection of smoltcp.
pub(crate) struct SmoltcpMachine {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    endpoints: Endpoints,
    seed: u64,
    start: Time,
    /// Whether the socket has left LISTEN: when it is back there, the connection is over.
    opened: bool,
    /// The acknowledgment number heard last.
    acknowledged: u32,
    retransmission: Retransmission,
    /// How far the clock has jumped ahead, in µs.
    ahead_us: u64,
    /// When something is due next; `None` if the socket was touched since that was asked.
    due: Option<Due>,
}

/// When a connection has to be polled, on smoltcp's clock; `None`: when something happens to it.
type Due = Option<Instant>;

impl SmoltcpMachine {
    fn new(endpoints: Endpoints, config: &TcpConfig, schedule: Schedule, seed: u64, now: Time) -> Self {
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(sockets::take(config.receive_buffer_bytes, config.send_buffer_bytes));
        SmoltcpMachine {
            interface: interface(endpoints, config.mtu, seed),
            sockets: set,
            handle,
            endpoints,
            seed,
            start: now,
            opened: false,
            acknowledged: 0,
            retransmission: Retransmission::new(schedule),
            ahead_us: 0,
            due: None,
        }
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.due = None;
        self.sockets.get_mut(self.handle)
    }

    /// Whether the segment is a duplicate acknowledgment while only FIN waits for one. smoltcp takes the third of these
    /// for a loss, finds no bytes to send again, and forgets the timer that would repeat FIN.
    fn stops_the_timer(&self, segment: &Segment) -> bool {
        let bare = segment.length == 0 && segment.flags.ack() && !segment.flags.rst();
        bare && segment.acknowledgment == self.acknowledged
            && self.socket().send_queue() == 0
            && matches!(self.state(), TcpState::FinWait1 | TcpState::Closing | TcpState::LastAck)
    }

    /// Sends what is due. To ask whether something is due costs less than to try.
    fn send_due(&mut self, now: Time, out: &mut Segments) {
        let instant = self.instant(now);
        let mut sent = PollResult::SocketStateChanged;
        loop {
            let due = self.interface.poll_at(instant, &self.sockets);
            self.due = Some(due);
            if sent == PollResult::None || self.heeded(due).is_none_or(|due| due > instant) {
                return;
            }
            (sent, _) = self.send(now, out);
        }
    }

    /// What smoltcp says to be due, unless it is the timer of a connection that opens.
    fn heeded(&self, due: Due) -> Due {
        due.filter(|due| *due == AT_ONCE || !self.retransmission.opens())
    }

    /// Lets smoltcp send; says too whether something was repeated.
    fn send(&mut self, now: Time, out: &mut Segments) -> (PollResult, bool) {
        let (instant, before) = (self.instant(now), out.len());
        let mut wire = Wire { incoming: None, out: &mut *out };
        let result = self.interface.poll_egress(instant, &mut wire, &mut self.sockets);
        let mut repeated = false;
        for packet in out.since(before) {
            let header_length = if packet[0] >> 4 == 6 { IPV6_HEADER_LENGTH } else { IPV4_HEADER_LENGTH };
            let segment = packet.get(header_length..).and_then(Segment::parse);
            if let Some(segment) = segment.filter(|segment| segment.length > 0 && !segment.flags.rst()) {
                repeated |= self.retransmission.sent(segment.sequence, segment.length, now);
            }
        }
        (result, repeated)
    }

    /// Repeats what is in flight: lets the clock jump to the moment at which smoltcp does. An acknowledgment may be due
    /// before that.
    fn repeat(&mut self, now: Time, out: &mut Segments) {
        if !self.retransmission.expired(now) {
            return;
        }
        for _ in 0..2 {
            let instant = self.instant(now);
            let Some(due) = self.interface.poll_at(instant, &self.sockets) else { return };
            if due > instant + JUMP_MAX {
                return;
            }
            if due > instant {
                self.ahead_us += (due - instant).total_micros();
            }
            self.due = None;
            if self.send(now, out).1 {
                return;
            }
        }
    }

    fn instant(&self, now: Time) -> Instant {
        let elapsed_us = (now - self.start).as_nanos() / 1_000;
        Instant::from_micros(i64::try_from(elapsed_us + START_US + self.ahead_us).unwrap_or(i64::MAX))
    }
}

impl TcpMachine for SmoltcpMachine {
    fn connect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self {
        let schedule = Schedule { linear: config.syn_linear_timeouts, doubling: config.syn_retries };
        let mut machine = Self::new(endpoints, config, schedule, seed, now);
        machine.opened = true;
        let socket = machine.sockets.get_mut::<Socket<'_>>(machine.handle);
        socket
            .connect(machine.interface.context(), endpoints.remote, endpoints.local)
            .expect("the stack gives addresses of one family and ports that are not zero");
        machine
    }

    fn expect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self {
        let schedule = Schedule { linear: 0, doubling: config.syn_ack_retries };
        let mut machine = Self::new(endpoints, config, schedule, seed, now);
        machine.socket_mut().listen(endpoints.local).expect("the stack gives a port that is not zero");
        machine
    }

    fn segment(&mut self, packet: Vec<u8>, segment: &Segment, now: Time, out: &mut Segments) {
        if self.stops_the_timer(segment) {
            return;
        }
        self.acknowledged = segment.acknowledgment;
        if segment.flags.ack() && !segment.flags.rst() {
            self.retransmission.acknowledged(segment.acknowledgment, now);
        }
        let instant = self.instant(now);
        let mut wire = Wire { incoming: Some(&packet), out: &mut *out };
        self.interface.poll_ingress_single(instant, &mut wire, &mut self.sockets);
        self.opened = true;
        out.give_back(packet);
        self.send_due(now, out);
    }

    fn poll(&mut self, now: Time, out: &mut Segments) {
        if self.retransmission.due().is_some_and(|due| due <= now) {
            self.repeat(now, out);
        }
        self.send_due(now, out);
    }

    fn next_timer(&mut self, now: Time) -> Option<Time> {
        let instant = self.instant(now);
        let due = *self.due.get_or_insert_with(|| self.interface.poll_at(instant, &self.sockets));
        let of_machine = self.heeded(due).and_then(|due| {
            let at_us = u64::try_from(due.total_micros()).ok()?.saturating_sub(START_US + self.ahead_us);
            Some(self.start + Span::from_nanos(at_us.saturating_mul(1_000)))
        });
        let at = of_machine.into_iter().chain(self.retransmission.due()).min()?;
        Some(at.max(now + Span::from_micros(1)))
    }

    fn unreachable(&mut self, now: Time) {
        self.retransmission.unreachable(now);
    }

    fn gives_up_at(&self) -> Option<Time> {
        self.retransmission.gives_up_at()
    }

    fn state(&self) -> TcpState {
        match self.socket().state() {
            State::Closed => TcpState::Closed,
            State::Listen if self.opened => TcpState::Closed,
            State::Listen | State::SynReceived => TcpState::SynReceived,
            State::SynSent => TcpState::SynSent,
            State::Established => TcpState::Established,
            State::FinWait1 => TcpState::FinWait1,
            State::FinWait2 => TcpState::FinWait2,
            State::CloseWait => TcpState::CloseWait,
            State::Closing => TcpState::Closing,
            State::LastAck => TcpState::LastAck,
            State::TimeWait => TcpState::TimeWait,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket_mut().send_slice(bytes).unwrap_or(0)
    }

    fn send_room(&self) -> usize {
        let socket = self.socket();
        if socket.may_send() { socket.send_capacity() - socket.send_queue() } else { 0 }
    }

    fn unacknowledged(&self) -> usize {
        self.socket().send_queue()
    }

    fn receive(&mut self, buffer: &mut [u8]) -> usize {
        self.socket_mut().recv_slice(buffer).unwrap_or(0)
    }

    fn peek(&mut self, buffer: &mut [u8]) -> usize {
        self.socket_mut().peek_slice(buffer).unwrap_or(0)
    }

    fn received(&self) -> usize {
        self.socket().recv_queue()
    }

    fn peer_finished(&self) -> bool {
        match self.socket().state() {
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait | State::Closed => true,
            State::Listen => self.opened,
            State::SynSent | State::SynReceived => false,
            State::Established | State::FinWait1 | State::FinWait2 => false,
        }
    }

    fn shut_down(&mut self) {
        self.socket_mut().close();
    }

    fn abort(&mut self) {
        self.socket_mut().abort();
    }

    fn set_nagle(&mut self, on: bool) {
        self.socket_mut().set_nagle_enabled(on);
    }

    fn set_time_to_live(&mut self, time_to_live: u8) {
        self.socket_mut().set_hop_limit(Some(time_to_live.max(1)));
    }

    fn set_mtu(&mut self, mtu: usize, now: Time) {
        self.interface = interface(self.endpoints, mtu, self.seed);
        let instant = self.instant(now);
        self.interface.poll_maintenance(instant);
        self.due = None;
    }

    fn probe(&mut self, interval: Option<Span>) {
        let interval = interval.map(|interval| Duration::from_micros(interval.as_nanos() / 1_000));
        self.socket_mut().set_keep_alive(interval);
    }
}

impl Drop for SmoltcpMachine {
    fn drop(&mut self) {
        let smoltcp::socket::Socket::Tcp(socket) = self.sockets.remove(self.handle);
        sockets::give_back(socket);
    }
}

/// An interface with the connection's own address. Its network is all there is: every peer is a neighbour.
fn interface(endpoints: Endpoints, mtu: usize, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut Mtu(mtu), Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        let address = IpCidr::new(endpoints.local.ip().into(), 0);
        addresses.push(address).expect("an interface has room for one address");
    });
    interface
}

fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut capabilities = DeviceCapabilities::default();
    capabilities.medium = Medium::Ip;
    capabilities.max_transmission_unit = mtu;
    capabilities.checksum = ChecksumCapabilities::ignored();
    capabilities
}

/// Tells an interface its MTU; nothing passes through it.
struct Mtu(usize);

impl Device for Mtu {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _at: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        None
    }
    fn transmit(&mut self, _at: Instant) -> Option<Outgoing<'_>> {
        None
    }
    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.0)
    }
}

/// What an interface receives from and sends to during one call.
struct Wire<'a> {
    incoming: Option<&'a [u8]>,
    out: &'a mut Segments,
}

struct Incoming<'a>(&'a [u8]);

struct Outgoing<'a>(&'a mut Segments);

impl Device for Wire<'_> {
    type RxToken<'a>
        = Incoming<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        Self: 'a;

    fn receive(&mut self, _at: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        Some((Incoming(self.incoming.take()?), Outgoing(self.out)))
    }
    fn transmit(&mut self, _at: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self.out))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        // The interface keeps the capabilities it was made with.
        capabilities(0)
    }
}

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        f(self.0.add(length))
    }
}
