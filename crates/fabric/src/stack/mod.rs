//! A network namespace: addresses, and the sockets of the tasks that run in it.
//!
//! A stack is a state machine like every device: packets, timers and the calls of sockets in, packets and timers
//! out. It tells connections apart itself, so the cost of a packet does not depend on how many there are. It answers
//! echo requests and follows ICMP errors. Left out: IP fragmentation, multicast, limits on the rate of ICMP
//! errors. Timers use tokens whose highest bit is clear; a device that holds a stack may use the others.

mod connection;
mod errno;
mod exit;
mod flow;
mod listener;
mod slots;
mod tap;
mod tcp;
mod time_wait;
mod udp;
mod waiters;

pub(crate) use connection::Connection;
pub use connection::KeepAlive;
pub(crate) use errno::Errno;
pub(crate) use slots::SocketId;
pub(crate) use tap::Tap;
pub(crate) use udp::UdpSocket;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use hopwise_engine::{HostId, Time};

use self::exit::{Exit, LOOPBACK_TOKEN};
use self::tcp::Tcp;
use self::udp::Udp;
use crate::Action;
use crate::device::{Context, DELIVERED};
use crate::icmp;
use crate::packet::{Packet, protocol};
use crate::tcp::{Endpoints, TcpConfig};
use crate::trace::TraceReport;

static NO_PROTOCOL: LazyLock<Arc<str>> = LazyLock::new(|| "no socket speaks the packet's protocol".into());

/// An IP stack with sockets.
pub struct Stack {
    exit: Exit,
    pub(crate) tcp: Tcp,
    pub(crate) udp: Udp,
    pub(crate) tap: Option<Box<Tap>>,
}

impl Stack {
    /// A stack with these addresses; the first of a family is the source of what it sends.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Stack { exit: Exit::new(addresses), tcp: Tcp::default(), udp: Udp::default(), tap: None }
    }

    /// Sets what new connections are made with.
    pub fn set_tcp_config(&mut self, config: TcpConfig) {
        self.tcp.config = config;
    }

    /// Says who delivers packets that the stack sends to its own addresses, loopback included: the stack itself
    /// (`false`, the default), or the device around it (`true`), which gets them by port 0 like all others.
    pub fn set_own_traffic_leaves(&mut self, leaves: bool) {
        self.exit.own_traffic_leaves = leaves;
    }

    /// Its addresses, without loopback.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.exit.addresses
    }

    /// Adds an address, unless it is there.
    pub fn add_address(&mut self, address: IpAddr) {
        if !self.exit.addresses.contains(&address) {
            self.exit.addresses.push(address);
        }
    }

    /// Removes an address; connections that use it stay.
    pub fn remove_address(&mut self, address: IpAddr) {
        self.exit.addresses.retain(|own| *own != address);
    }

    /// How many TCP connections there are, TIME-WAIT not counted.
    pub fn connection_count(&self) -> usize {
        self.tcp.connections.len()
    }

    /// Takes a packet that is for this stack.
    pub fn receive(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let for_tap = self.tap.is_some() && !self.claims(&packet);
        if let Some(tap) = self.tap.as_mut().filter(|_| for_tap) {
            tap.arrive(packet, cx);
            return;
        }
        match packet.protocol() {
            protocol::TCP => self.tcp.receive(packet, &mut self.exit, cx),
            protocol::UDP => self.udp.receive(packet, &mut self.exit, cx),
            protocol::ICMP | protocol::ICMPV6 => self.receive_icmp(packet, cx),
            _ => cx.drop_packet(packet, &NO_PROTOCOL),
        }
    }

    /// Handles a timer.
    pub fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        if token == LOOPBACK_TOKEN {
            for packet in self.exit.take_looped() {
                self.receive(packet, cx);
            }
        } else {
            self.tcp.timer(SocketId::of_token(token), &mut self.exit, cx);
        }
    }

    /// Sends what the sockets were given since the last call. What it sends leaves by port 0.
    pub fn settle(&mut self, cx: &mut Context<'_>) {
        self.tcp.settle(&mut self.exit, cx);
        self.udp.settle(&mut self.exit, cx);
        if let Some(tap) = &mut self.tap {
            tap.settle(&mut self.exit, cx);
        }
    }

    /// Whether [`Stack::settle`] has anything to do.
    pub(crate) fn needs_settling(&self) -> bool {
        let tap = self.tap.as_ref().is_some_and(|tap| tap.needs_settling());
        tap || self.tcp.needs_settling() || self.udp.needs_settling()
    }

    /// Whether the packet is for one of the stack's own sockets, or about what one of them sent.
    fn claims(&self, packet: &Packet) -> bool {
        match packet.protocol() {
            protocol::TCP => self.tcp.claims(packet),
            protocol::UDP => self.udp.claims(packet),
            protocol::ICMP | protocol::ICMPV6 => icmp::parse(packet).is_some_and(|error| {
                let about = Packet::new(error.about, packet.id);
                match about.protocol() {
                    protocol::TCP => self.tcp.has_sent(&about),
                    protocol::UDP => self.udp.has_sent(&about),
                    _ => false,
                }
            }),
            _ => false,
        }
    }

    /// The processes of `host` have ended: closes their sockets as Linux does.
    pub(crate) fn close_host(&mut self, host: HostId, now: Time) {
        self.tcp.close_host(host, now);
        self.udp.close_host(host);
    }

    /// Opens a TCP connection for `host`, from `local` or from an address and a port that are chosen.
    pub(crate) fn connect_tcp(
        &mut self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        host: HostId,
        report: Option<TraceReport>,
        now: Time,
    ) -> Result<SocketId, Errno> {
        let remote = SocketAddr::new(Exit::resolve_unspecified(remote.ip().to_canonical()), remote.port());
        if remote.ip().is_multicast() || remote.ip() == IpAddr::V4(std::net::Ipv4Addr::BROADCAST) {
            return Err(Errno::ENETUNREACH);
        }
        if remote.port() == 0 {
            return Err(Errno::ECONNREFUSED);
        }
        let source = self.exit.source_for(remote.ip()).ok_or(Errno::ENETUNREACH)?;
        let local = match local {
            None => SocketAddr::new(source, 0),
            Some(local) if local.ip().is_unspecified() => SocketAddr::new(source, local.port()),
            Some(local) if local.is_ipv4() != remote.is_ipv4() => return Err(Errno::EAFNOSUPPORT),
            Some(local) => local,
        };
        self.tcp.connect(Endpoints { local, remote }, host, report, now)
    }

    /// Listens for TCP connections for `host`.
    pub(crate) fn listen_tcp(
        &mut self,
        local: SocketAddr,
        backlog: u32,
        host: HostId,
    ) -> Result<SocketId, Errno> {
        self.check_own(local.ip())?;
        self.tcp.listen(local, backlog, host)
    }

    /// Whether a socket may be bound to `address`.
    pub(crate) fn check_own(&self, address: IpAddr) -> Result<(), Errno> {
        let own = address.is_unspecified() || self.exit.owns(address);
        if own { Ok(()) } else { Err(Errno::EADDRNOTAVAIL) }
    }

    /// Binds a UDP socket for `host`.
    pub(crate) fn bind_udp(&mut self, local: SocketAddr, host: HostId) -> Result<SocketId, Errno> {
        self.check_own(local.ip())?;
        self.udp.bind(local, host)
    }

    /// Connects a UDP socket.
    pub(crate) fn connect_udp(&mut self, id: SocketId, remote: SocketAddr) -> Result<(), Errno> {
        let remote = SocketAddr::new(Exit::resolve_unspecified(remote.ip().to_canonical()), remote.port());
        self.udp.connect(id, remote, &self.exit)
    }

    /// Sends a datagram.
    pub(crate) fn send_udp(
        &mut self,
        id: SocketId,
        remote: Option<SocketAddr>,
        payload: &[u8],
    ) -> Result<(), Errno> {
        self.udp.send(id, remote, payload, self.tcp.config.mtu, &self.exit)
    }

    fn receive_icmp(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        let cause = cx.record(&mut packet, &DELIVERED);
        cx.hop(&mut packet, Action::Delivered);
        if let Some(error) = icmp::parse(&packet) {
            let about = Packet::new(error.about.clone(), packet.id);
            match about.protocol() {
                protocol::TCP => self.tcp.icmp_error(&error, &about, &mut self.exit, cx),
                protocol::UDP => {
                    if let Some(errno) = Errno::of_icmp(error.why, about.is_ipv6()) {
                        self.udp.icmp_error(errno, &about, cx);
                    }
                }
                _ => {}
            }
        } else if let Some(bytes) = icmp::echo_reply(&packet) {
            self.exit.send(bytes, cause, None, cx);
        }
    }
}
