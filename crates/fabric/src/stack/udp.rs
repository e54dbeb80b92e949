//! The UDP sockets of a stack.
//!
//! Sources: RFC 768; Linux udp(7) for the errors. Fragmentation is not modelled: what does not fit in one packet is
//! refused with EMSGSIZE.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use hopwise_engine::HostId;
use hopwise_engine::log::EventId;
use rustc_hash::FxHashMap;

use super::errno::Errno;
use super::exit::Exit;
use super::slots::{Slots, SocketId};
use super::tcp::EPHEMERAL_PORTS;
use super::waiters::Waiters;
use crate::Action;
use crate::device::{Context, DELIVERED};
use crate::icmp::{self, Unreachable};
use crate::packet::{IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, Packet, protocol};
use crate::trace::TraceReport;

/// How many bytes of datagrams a socket keeps for its process (Linux `net.core.rmem_default`).
const RECEIVE_BUFFER_BYTES: usize = 212_992;
const HEADER_LENGTH: usize = 8;
const TIME_TO_LIVE: u8 = 64;

static CUT_OFF: LazyLock<Arc<str>> = LazyLock::new(|| "the UDP header is cut off".into());
static BUFFER_FULL: LazyLock<Arc<str>> = LazyLock::new(|| "the socket's receive buffer is full".into());
static NOT_HERE: LazyLock<Arc<str>> = LazyLock::new(|| "no device here has the destination address".into());

/// A UDP socket.
pub(crate) struct UdpSocket {
    pub(crate) local: SocketAddr,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) host: HostId,
    pub(crate) readers: Waiters,
    received: VecDeque<(SocketAddr, Vec<u8>)>,
    received_bytes: usize,
    error: Option<Errno>,
    /// Where the paths of the datagrams that it sends are reported, if its process asked for that.
    pub(crate) trace: Option<TraceReport>,
    /// The last peer whose datagram was traced, and where the path of an answer to it is reported.
    answers: Option<(SocketAddr, TraceReport)>,
}

/// A datagram that waits to be sent.
struct Outgoing {
    bytes: Vec<u8>,
    report: Option<TraceReport>,
}

/// The UDP sockets of a stack.
#[derive(Default)]
pub(crate) struct Udp {
    pub(crate) sockets: Slots<UdpSocket>,
    bound: FxHashMap<SocketAddr, SocketId>,
    outgoing: Vec<Outgoing>,
    next_port: u16,
}

impl UdpSocket {
    /// The next datagram, or the error that came back for one that was sent.
    pub(crate) fn take(&mut self) -> Option<Result<(SocketAddr, Vec<u8>), Errno>> {
        if let Some(errno) = self.error.take() {
            return Some(Err(errno));
        }
        let (from, bytes) = self.received.pop_front()?;
        self.received_bytes -= bytes.len();
        Some(Ok((from, bytes)))
    }

    /// The next datagram, which stays.
    pub(crate) fn peek(&self) -> Option<(SocketAddr, &[u8])> {
        self.received.front().map(|(from, bytes)| (*from, bytes.as_slice()))
    }

    /// Whether [`UdpSocket::take`] has something.
    pub(crate) fn readable(&self) -> bool {
        self.error.is_some() || !self.received.is_empty()
    }

    /// The error that came back for a datagram that was sent, once.
    pub(crate) fn take_error(&mut self) -> Option<Errno> {
        self.error.take()
    }
}

impl Udp {
    /// Binds a socket; port 0 chooses one.
    pub(crate) fn bind(&mut self, mut local: SocketAddr, host: HostId) -> Result<SocketId, Errno> {
        if local.port() == 0 {
            local.set_port(self.free_port(local.ip()).ok_or(Errno::EADDRINUSE)?);
        } else if self.conflicts(local) {
            return Err(Errno::EADDRINUSE);
        }
        let id = self.sockets.insert(UdpSocket {
            local,
            remote: None,
            host,
            readers: Waiters::default(),
            received: VecDeque::new(),
            received_bytes: 0,
            error: None,
            trace: None,
            answers: None,
        });
        self.bound.insert(local, id);
        Ok(id)
    }

    /// Connects a socket: it sends to and hears from `remote` only.
    pub(crate) fn connect(&mut self, id: SocketId, remote: SocketAddr, exit: &Exit) -> Result<(), Errno> {
        let source = exit.source_for(remote.ip()).ok_or(Errno::ENETUNREACH)?;
        let Some(socket) = self.sockets.get_mut(id) else { return Ok(()) };
        socket.remote = Some(remote);
        if socket.local.ip().is_unspecified() {
            self.bound.remove(&socket.local);
            socket.local.set_ip(source);
            self.bound.insert(socket.local, id);
        }
        Ok(())
    }

    /// Sends a datagram.
    pub(crate) fn send(
        &mut self,
        id: SocketId,
        remote: Option<SocketAddr>,
        payload: &[u8],
        mtu: usize,
        exit: &Exit,
    ) -> Result<(), Errno> {
        let Some(socket) = self.sockets.get_mut(id) else { return Ok(()) };
        if let Some(errno) = socket.error.take() {
            return Err(errno);
        }
        let remote = remote.or(socket.remote).ok_or(Errno::EDESTADDRREQ)?;
        let remote = SocketAddr::new(Exit::resolve_unspecified(remote.ip().to_canonical()), remote.port());
        let source = match socket.local.ip() {
            ip if ip.is_unspecified() => exit.source_for(remote.ip()).ok_or(Errno::ENETUNREACH)?,
            ip => ip,
        };
        let local = SocketAddr::new(source, socket.local.port());
        let bytes = datagram(local, remote, payload).ok_or(Errno::EMSGSIZE)?;
        if bytes.len() > mtu && !exit.owns(remote.ip()) {
            return Err(Errno::EMSGSIZE);
        }
        let answer = socket.answers.as_ref().filter(|(peer, _)| *peer == remote).map(|(_, report)| report);
        let report = socket.trace.as_ref().or(answer).cloned();
        self.outgoing.push(Outgoing { bytes, report });
        Ok(())
    }

    /// Closes a socket.
    pub(crate) fn close(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.remove(id) {
            self.bound.remove(&socket.local);
        }
    }

    /// The processes of `host` have ended: closes their sockets.
    pub(crate) fn close_host(&mut self, host: HostId) {
        for id in self.sockets.ids_where(|socket| socket.host == host) {
            self.close(id);
        }
    }

    /// Sends what the sockets were given.
    pub(crate) fn settle(&mut self, exit: &mut Exit, cx: &mut Context<'_>) {
        for Outgoing { bytes, report } in self.outgoing.drain(..) {
            exit.send(bytes, EventId::NONE, report.as_ref(), cx);
        }
    }

    /// Whether [`Udp::settle`] has anything to do.
    pub(crate) fn needs_settling(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes a packet that arrived.
    pub(crate) fn receive(&mut self, mut packet: Packet, exit: &mut Exit, cx: &mut Context<'_>) {
        if !exit.owns(packet.destination_ip()) {
            cx.drop_packet(packet, &NOT_HERE);
            return;
        }
        let Some(length) = payload_length(packet.payload()) else {
            cx.drop_packet(packet, &CUT_OFF);
            return;
        };
        let (source, destination) = (packet.source(), packet.destination());
        let hears = |socket: &UdpSocket| socket.remote.is_none_or(|remote| remote == source);
        let id = self.find(destination).filter(|id| self.sockets.get(*id).is_some_and(hears));
        let Some(socket) = id.and_then(|id| self.sockets.get_mut(id)) else {
            self.refuse(packet, exit, cx);
            return;
        };
        if socket.received_bytes + length > RECEIVE_BUFFER_BYTES {
            cx.drop_packet(packet, &BUFFER_FULL);
            return;
        }
        if let Some(trace) = &packet.trace {
            socket.answers = Some((source, trace.report.reply()));
        }
        cx.record(&mut packet, &DELIVERED);
        cx.hop(&mut packet, Action::Delivered);
        let payload = packet.payload()[HEADER_LENGTH..HEADER_LENGTH + length].to_vec();
        socket.received_bytes += length;
        socket.received.push_back((source, payload));
        cx.outputs.woke |= socket.readers.wake();
    }

    /// Whether a socket hears the datagram.
    pub(crate) fn claims(&self, packet: &Packet) -> bool {
        let socket = self.find(packet.destination()).and_then(|id| self.sockets.get(id));
        socket.is_some_and(|socket| socket.remote.is_none_or(|remote| remote == packet.source()))
    }

    /// Whether one of the sockets has sent the datagram.
    pub(crate) fn has_sent(&self, packet: &Packet) -> bool {
        self.find(packet.source()).is_some()
    }

    /// An ICMP error about a datagram that was sent. Only connected sockets hear of it.
    pub(crate) fn icmp_error(&mut self, errno: Errno, about: &Packet, cx: &mut Context<'_>) {
        let Some(id) = self.find(about.source()) else { return };
        let Some(socket) = self.sockets.get_mut(id) else { return };
        if socket.remote == Some(about.destination()) {
            socket.error = Some(errno);
            cx.outputs.woke |= socket.readers.wake();
        }
    }

    fn refuse(&mut self, packet: Packet, exit: &mut Exit, cx: &mut Context<'_>) {
        let from = packet.destination_ip();
        let why: Arc<str> = format!("nothing listens on UDP port {}", packet.ports().1).into();
        match icmp::error(from, &packet, Unreachable::Port, cx) {
            Some(answer) => {
                exit.send(answer.bytes, packet.cause, None, cx);
                cx.reject_packet(packet, &why, crate::Answer::Icmp(Unreachable::Port));
            }
            None => cx.drop_packet(packet, &why),
        }
    }

    fn find(&self, local: SocketAddr) -> Option<SocketId> {
        let everywhere: IpAddr =
            if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let found = self.bound.get(&local);
        found.or_else(|| self.bound.get(&SocketAddr::new(everywhere, local.port()))).copied()
    }

    fn conflicts(&self, local: SocketAddr) -> bool {
        let clashes = |socket: &UdpSocket| {
            socket.local.port() == local.port()
                && socket.local.is_ipv4() == local.is_ipv4()
                && (local.ip().is_unspecified()
                    || socket.local.ip().is_unspecified()
                    || socket.local.ip() == local.ip())
        };
        !self.sockets.ids_where(clashes).is_empty()
    }

    fn free_port(&mut self, address: IpAddr) -> Option<u16> {
        for _ in EPHEMERAL_PORTS {
            let port = self.next_port.max(*EPHEMERAL_PORTS.start());
            self.next_port = if port == *EPHEMERAL_PORTS.end() { 0 } else { port + 1 };
            if !self.conflicts(SocketAddr::new(address, port)) {
                return Some(port);
            }
        }
        None
    }
}

fn payload_length(datagram: &[u8]) -> Option<usize> {
    let header: &[u8; HEADER_LENGTH] = datagram.first_chunk()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    (HEADER_LENGTH..=datagram.len()).contains(&length).then(|| length - HEADER_LENGTH)
}

/// A UDP packet; `None` if it is too long for one, or if the addresses are of different families.
fn datagram(local: SocketAddr, remote: SocketAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(HEADER_LENGTH + payload.len()).ok()?;
    let mut bytes;
    match (local.ip(), remote.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            bytes = vec![0; IPV4_HEADER_LENGTH];
            bytes[0] = 0x45;
            let total = length.checked_add(IPV4_HEADER_LENGTH as u16)?;
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            bytes[8] = TIME_TO_LIVE;
            bytes[9] = protocol::UDP;
            bytes[12..16].copy_from_slice(&from.octets());
            bytes[16..20].copy_from_slice(&to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            bytes = vec![0; IPV6_HEADER_LENGTH];
            bytes[0] = 0x60;
            bytes[4..6].copy_from_slice(&length.to_be_bytes());
            bytes[6] = protocol::UDP;
            bytes[7] = TIME_TO_LIVE;
            bytes[8..24].copy_from_slice(&from.octets());
            bytes[24..40].copy_from_slice(&to.octets());
        }
        _ => return None,
    }
    bytes.extend_from_slice(&local.port().to_be_bytes());
    bytes.extend_from_slice(&remote.port().to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(payload);
    Some(bytes)
}
