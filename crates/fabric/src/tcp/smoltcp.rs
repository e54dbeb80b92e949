//! The TCP machine made of smoltcp.
//!
//! smoltcp looks at every socket of an interface for each packet, so each connection has an interface and a
//! socket set of its own; the cost of a packet then does not depend on the number of connections. Checksums are
//! neither computed nor checked.
//!
//! smoltcp's ways that differ from Linux's: the retransmission timeout is at least 1 s (Linux: 0.2 s) and at most
//! 60 s (Linux: 120 s); acknowledgments are delayed by 10 ms, or until more than one full segment waits (Linux:
//! 40 ms, and none at the start of a connection); there is no congestion window; timestamps are off. Its clock counts microseconds:
//! time zero is when the connection was made, so that timers are exact relative to that.

use hopwise_engine::{Span, Time};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::{Endpoints, Segment, Segments, TcpConfig, TcpMachine, TcpState, sockets};

/// smoltcp's time at the connection's start, in µs: it takes time 0 for "at once".
const START_US: u64 = 1_000_000;

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
    /// When something is due next; `None` if the socket was touched since that was asked.
    due: Option<Due>,
}

/// When a connection has to be polled, on smoltcp's clock; `None`: when something happens to it.
type Due = Option<Instant>;

impl SmoltcpMachine {
    fn new(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self {
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
    fn send_due(&mut self, instant: Instant, out: &mut Segments) {
        let mut wire = Wire { incoming: None, out };
        let mut sent = PollResult::SocketStateChanged;
        loop {
            let due = self.interface.poll_at(instant, &self.sockets);
            self.due = Some(due);
            if sent == PollResult::None || due.is_none_or(|due| due > instant) {
                return;
            }
            sent = self.interface.poll_egress(instant, &mut wire, &mut self.sockets);
        }
    }

    fn instant(&self, now: Time) -> Instant {
        let elapsed_us = (now - self.start).as_nanos() / 1_000;
        Instant::from_micros(i64::try_from(elapsed_us + START_US).unwrap_or(i64::MAX))
    }
}

impl TcpMachine for SmoltcpMachine {
    fn connect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self {
        let mut machine = Self::new(endpoints, config, seed, now);
        machine.opened = true;
        let socket = machine.sockets.get_mut::<Socket<'_>>(machine.handle);
        socket
            .connect(machine.interface.context(), endpoints.remote, endpoints.local)
            .expect("the stack gives addresses of one family and ports that are not zero");
        machine
    }

    fn expect(endpoints: Endpoints, config: &TcpConfig, seed: u64, now: Time) -> Self {
        let mut machine = Self::new(endpoints, config, seed, now);
        machine.socket_mut().listen(endpoints.local).expect("the stack gives a port that is not zero");
        machine
    }

    fn segment(&mut self, packet: Vec<u8>, segment: &Segment, now: Time, out: &mut Segments) {
        if self.stops_the_timer(segment) {
            return;
        }
        self.acknowledged = segment.acknowledgment;
        let instant = self.instant(now);
        let mut wire = Wire { incoming: Some(&packet), out: &mut *out };
        self.interface.poll_ingress_single(instant, &mut wire, &mut self.sockets);
        self.opened = true;
        out.give_back(packet);
        self.send_due(instant, out);
    }

    fn poll(&mut self, now: Time, out: &mut Segments) {
        self.send_due(self.instant(now), out);
    }

    fn next_timer(&mut self, now: Time) -> Option<Time> {
        let instant = self.instant(now);
        let due = *self.due.get_or_insert_with(|| self.interface.poll_at(instant, &self.sockets));
        let at_us = u64::try_from(due?.total_micros()).ok()?;
        let at = self.start + Span::from_nanos(at_us.saturating_sub(START_US).saturating_mul(1_000));
        Some(at.max(now + Span::from_micros(1)))
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
