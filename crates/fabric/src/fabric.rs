//! The fabric: devices joined by links, and the events between them.
//!
//! One fabric is installed per thread; sockets find it there. It is the engine's [`World`]: every arrival of a
//! packet at a device and every timer of a device is one event.

use std::cell::RefCell;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::log::Kind;
use hopwise_engine::{Clock, HostId, Queue, Time, World};
use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use crate::capture::{Capture, Way};
use crate::device::{Context, Device, DeviceId, Outputs, PortIndex};
use crate::impairment::{Impaired, Impairment, ImpairmentId, Traffic};
use crate::link::{Direction, Fate, LinkConfig};
use crate::net::resolver::{ApplicationCache, ResolverConfig, ResolverKind};
use crate::packet::Packet;
use crate::routing::NextHop;
use crate::stack::Stack;
use crate::{Action, segmentation};

static HOP: Kind = Kind::new("packet.hop", ["packet", "device"]);
static LOST: Kind = Kind::new("packet.lost", ["packet", "link"]);

/// A link between two devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u32);

/// The two ends of a new link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The link.
    pub link: LinkId,
    /// The port it has at the first device.
    pub first: PortIndex,
    /// The port it has at the second device.
    pub second: PortIndex,
}

/// Devices joined by links.
#[derive(Default)]
pub struct Fabric {
    queue: Queue<Event>,
    devices: Vec<Slot>,
    links: Vec<Link>,
    /// By their ids; none where one was lifted.
    impairments: Vec<Option<Impairment>>,
    stack_of: FxHashMap<HostId, DeviceId>,
    dirty: Vec<DeviceId>,
    traced: FxHashSet<HostId>,
    resolvers: FxHashMap<DeviceId, Arc<ResolverConfig>>,
    resolver_kinds: FxHashMap<HostId, ResolverKind>,
    application_caches: FxHashMap<HostId, ApplicationCache>,
    last_query_id: u16,
    outputs: Outputs,
    last_packet_id: u64,
    /// Whether a device is being told that what it sent is too big.
    telling_too_big: bool,
}

struct Slot {
    name: Arc<str>,
    device: Option<Device>,
    /// Most devices are hosts with one port.
    ports: SmallVec<[Port; 1]>,
    dirty: bool,
    capture: Option<Box<Capture>>,
}

#[derive(Clone, Copy)]
struct Port {
    link: LinkId,
    /// Which end of the link this is.
    second: bool,
    peer: DeviceId,
    peer_port: PortIndex,
}

struct Link {
    /// From the first device to the second, and back.
    directions: [Direction; 2],
    /// What else is wrong with it; most links have nothing.
    impaired: Option<Box<Impaired>>,
}

enum Event {
    Arrival { device: DeviceId, port: PortIndex, packet: Packet },
    Timer { device: DeviceId, token: u64 },
}

thread_local! {
    static INSTALLED: RefCell<Option<Fabric>> = const { RefCell::new(None) };
}

impl Fabric {
    /// A fabric without devices.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a device called `name`.
    pub fn add(&mut self, name: impl Into<Arc<str>>, device: Device) -> DeviceId {
        let id = DeviceId(u32::try_from(self.devices.len()).expect("fewer than 2^32 devices"));
        let (name, device) = (name.into(), Some(device));
        self.devices.push(Slot { name, device, ports: SmallVec::new(), dirty: false, capture: None });
        id
    }

    /// Removes a device at once: its packets, sockets and timers are gone, its links lead nowhere.
    pub fn remove(&mut self, device: DeviceId) {
        self.devices[device.0 as usize].device = None;
        self.stack_of.retain(|_, of| *of != device);
    }

    /// Joins two devices by a link with the same configuration both ways.
    pub fn connect(&mut self, first: DeviceId, second: DeviceId, config: LinkConfig) -> Connection {
        let link = LinkId(u32::try_from(self.links.len()).expect("fewer than 2^32 links"));
        let (a, b) = (self.name(first), self.name(second));
        let direction = |from: &str, to: &str| {
            Direction::new(config.clone(), hopwise_engine::stream(&format!("link/{}/{from}/{to}", link.0)))
        };
        self.links.push(Link { directions: [direction(&a, &b), direction(&b, &a)], impaired: None });
        let first_port = PortIndex(self.devices[first.0 as usize].ports.len() as u32);
        let second_port =
            PortIndex(self.devices[second.0 as usize].ports.len() as u32 + u32::from(first == second));
        let ports = [
            (first, Port { link, second: false, peer: second, peer_port: second_port }),
            (second, Port { link, second: true, peer: first, peer_port: first_port }),
        ];
        for (device, port) in ports {
            self.devices[device.0 as usize].ports.push(port);
        }
        Connection { link, first: first_port, second: second_port }
    }

    /// Adds or replaces a route of `device`.
    ///
    /// # Panics
    /// If the device does not route.
    pub fn route(&mut self, device: DeviceId, network: IpNet, port: PortIndex, via: Option<IpAddr>) {
        let routes = self.device_mut(device).and_then(Device::routes_mut).expect("the device routes");
        routes.insert(network, NextHop { port, via });
    }

    /// Cuts all links of `device`, or mends them.
    pub fn cut_off(&mut self, device: DeviceId, cut: bool) {
        let links: Vec<LinkId> = self.devices[device.0 as usize].ports.iter().map(|port| port.link).collect();
        for link in links {
            for reverse in [false, true] {
                self.change_link(link, reverse, |config| config.cut = cut);
            }
        }
    }

    /// Changes one direction of a link: from its first device (`reverse` false) or from its second.
    pub fn change_link(&mut self, link: LinkId, reverse: bool, change: impl FnOnce(&mut LinkConfig)) {
        self.links[link.0 as usize].directions[usize::from(reverse)].change(change);
    }

    /// Impairs `traffic` on some directions of links, each the one from the link's first device (`false`) or from its second:
    /// together they are one more link of this configuration. What is too big for it vanishes without an answer if
    /// the configuration says so, and is lost in any case. `name` is what its random stream is named after.
    pub fn impair(
        &mut self,
        name: &str,
        ways: &[(LinkId, bool)],
        traffic: Traffic,
        config: LinkConfig,
    ) -> ImpairmentId {
        let id = ImpairmentId(u32::try_from(self.impairments.len()).expect("fewer than 2^32 impairments"));
        self.impairments.push(Some(Impairment::new(name, traffic, config)));
        for (link, reverse) in ways {
            let impaired = self.links[link.0 as usize].impaired.get_or_insert_default();
            impaired.0[usize::from(*reverse)].push(id);
        }
        id
    }

    /// Lifts an impairment: packets that it holds back arrive when they would have.
    pub fn lift(&mut self, id: ImpairmentId) {
        self.impairments[id.0 as usize] = None;
        for link in &mut self.links {
            let Some(impaired) = &mut link.impaired else { continue };
            impaired.0.iter_mut().for_each(|ids| ids.retain(|other| *other != id));
            if impaired.0.iter().all(Vec::is_empty) {
                link.impaired = None;
            }
        }
    }

    /// Writes what `device` receives and sends from now on to `writer`, as pcapng. A capture that there is ends.
    ///
    /// # Errors
    /// When `writer` fails. Later failures are kept for [`Fabric::finish_captures`].
    pub fn capture(&mut self, device: DeviceId, writer: Box<dyn Write>) -> io::Result<()> {
        let capture = Some(Box::new(Capture::new(writer)?));
        let before = std::mem::replace(&mut self.devices[device.0 as usize].capture, capture);
        before.map_or(Ok(()), |capture| capture.finish())
    }

    /// Ends all captures.
    ///
    /// # Errors
    /// The first failure of a writer, if there was one.
    pub fn finish_captures(&mut self) -> io::Result<()> {
        let captures = self.devices.iter_mut().filter_map(|slot| slot.capture.take());
        captures.map(|capture| capture.finish()).fold(Ok(()), io::Result::and)
    }

    /// Says that the tasks of `host` use the sockets of `device`.
    pub fn attach(&mut self, host: HostId, device: DeviceId) {
        self.stack_of.insert(host, device);
    }

    /// The device whose sockets the tasks of `host` use.
    pub fn device_of(&self, host: HostId) -> Option<DeviceId> {
        self.stack_of.get(&host).copied()
    }

    /// The device, unless it was removed.
    pub fn device_mut(&mut self, device: DeviceId) -> Option<&mut Device> {
        self.devices[device.0 as usize].device.as_mut()
    }

    /// The devices that are there, with their names, in order of creation.
    pub fn device_names(&self) -> Vec<(DeviceId, Arc<str>)> {
        let present = self.devices.iter().zip(0..).filter(|(slot, _)| slot.device.is_some());
        present.map(|(slot, id)| (DeviceId(id), slot.name.clone())).collect()
    }

    /// The device's name.
    pub fn name(&self, device: DeviceId) -> Arc<str> {
        self.devices[device.0 as usize].name.clone()
    }

    /// Sets what the sockets of `device` look names up with (its /etc/resolv.conf and /etc/hosts). Without it there are
    /// only numeric addresses.
    pub fn set_resolver(&mut self, device: DeviceId, config: ResolverConfig) {
        self.resolvers.insert(device, Arc::new(config));
    }

    /// Sets whose resolver the tasks of `host` use, whatever the configuration of its device says.
    pub fn set_resolver_kind(&mut self, host: HostId, kind: ResolverKind) {
        self.resolver_kinds.insert(host, kind);
    }

    /// What `device` looks names up with.
    pub fn resolver(&self, device: DeviceId) -> Arc<ResolverConfig> {
        self.resolvers.get(&device).cloned().unwrap_or_default()
    }

    /// What `host` on `device` looks names up with, and the id of the first message.
    pub(crate) fn resolver_of(&mut self, host: HostId, device: DeviceId) -> (Arc<ResolverConfig>, u16) {
        // A look-up uses a few ids at most; no two look-ups at a time share one.
        self.last_query_id = self.last_query_id.wrapping_add(64);
        let mut config = self.resolver(device);
        if let Some(kind) = self.resolver_kinds.get(&host).filter(|kind| **kind != config.kind) {
            Arc::make_mut(&mut config).kind = *kind;
        }
        (config, self.last_query_id)
    }

    /// What the processes of `host` have kept of their look-ups.
    pub(crate) fn application_cache(&mut self, host: HostId) -> &mut ApplicationCache {
        self.application_caches.entry(host).or_default()
    }

    /// Traces the packets of all connections that the tasks of `host` open from now on, or stops doing so.
    pub fn trace_connections(&mut self, host: HostId, traced: bool) {
        if traced {
            self.traced.insert(host);
        } else {
            self.traced.remove(&host);
        }
    }

    /// Kills the processes of `host`; its network namespace stays. Its listeners close and its connections end as
    /// Linux ends them: with FIN, or with RST where bytes were not read. Nothing that its tasks do later has any
    /// effect.
    pub fn kill_host(&mut self, host: HostId) {
        if host == HostId::ROOT || !hopwise_engine::host::is_alive(host) {
            return;
        }
        hopwise_engine::host::kill(host);
        self.traced.remove(&host);
        if let Some(device) = self.stack_of.remove(&host) {
            self.with_stack(device, |stack| stack.close_host(host, hopwise_engine::now()));
        }
    }

    /// Kills every host whose sockets are those of `device`, and says nothing of it on the network: the machine has lost
    /// power. Connections stay where they are until the device itself forgets them.
    pub fn kill_hosts_silently(&mut self, device: DeviceId) {
        let hosts = self.stack_of.iter().filter(|(_, of)| **of == device).map(|(host, _)| *host);
        let mut hosts: Vec<HostId> = hosts.collect();
        hosts.sort_unstable();
        for host in hosts {
            hopwise_engine::host::kill(host);
            self.traced.remove(&host);
            self.stack_of.remove(&host);
        }
    }

    /// Whether connections of `host` are traced.
    pub(crate) fn is_traced(&self, host: HostId) -> bool {
        !self.traced.is_empty() && self.traced.contains(&host)
    }

    /// Uses the device's sockets; what they are given is sent when every task waits. `None` if the device is gone.
    pub(crate) fn with_stack<R>(&mut self, device: DeviceId, f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
        let slot = self.devices.get_mut(device.0 as usize)?;
        let stack = slot.device.as_mut()?.stack_mut()?;
        let result = f(stack);
        if !slot.dirty && stack.needs_settling() {
            slot.dirty = true;
            self.dirty.push(device);
        }
        Some(result)
    }

    /// Lets `packet` arrive at a device, as if by the link of `port`.
    #[cfg(test)]
    pub(crate) fn arrive(&mut self, at: Time, device: DeviceId, port: PortIndex, packet: Packet) {
        self.queue.push(at, Event::Arrival { device, port, packet });
    }

    /// The link that was made last.
    #[cfg(test)]
    pub(crate) fn last_link(&self) -> LinkId {
        LinkId(self.links.len() as u32 - 1)
    }

    fn handle(&mut self, now: Time, event: Event) {
        match event {
            Event::Arrival { device, port, mut packet } => {
                packet.cause = hopwise_engine::record(packet.cause, &HOP, packet.id, u64::from(device.0));
                if self.devices[device.0 as usize].capture.is_some() {
                    self.write_capture(device, port, Way::In, &packet, now);
                }
                self.with_device(now, device, |target, cx| target.receive(port, packet, cx));
            }
            Event::Timer { device, token } => {
                self.with_device(now, device, |target, cx| target.timer(token, cx));
            }
        }
    }

    /// Lets a device act, then does what it wants done.
    fn with_device(&mut self, now: Time, device: DeviceId, act: impl FnOnce(&mut Device, &mut Context<'_>)) {
        let slot = &mut self.devices[device.0 as usize];
        let Some(target) = &mut slot.device else { return };
        let (outputs, next_packet_id) = (&mut self.outputs, &mut self.last_packet_id);
        act(target, &mut Context { now, name: &slot.name, outputs, next_packet_id });
        for (at, token) in self.outputs.timers.drain(..) {
            self.queue.push(at.max(now), Event::Timer { device, token });
        }
        // Most often there is one packet.
        if self.outputs.packets.len() <= 1 {
            if let Some((port, packet)) = self.outputs.packets.pop() {
                self.transmit(now, device, port, packet);
            }
            return;
        }
        let mut packets = std::mem::take(&mut self.outputs.packets);
        for (port, packet) in packets.drain(..) {
            self.transmit(now, device, port, packet);
        }
        self.outputs.packets = packets;
    }

    fn transmit(&mut self, now: Time, sender: DeviceId, index: PortIndex, packet: Packet) {
        if self.devices[sender.0 as usize].capture.is_some() {
            self.write_capture(sender, index, Way::Out, &packet, now);
        }
        if packet.segment_size.is_none() || self.takes_whole(sender, index, &packet) {
            return self.put_on_link(now, sender, index, packet);
        }
        for bytes in segmentation::segments(&packet) {
            let segment = self.like(&packet, bytes);
            self.put_on_link(now, sender, index, segment);
        }
    }

    /// Whether the link of a port takes a run as it is.
    fn takes_whole(&self, sender: DeviceId, index: PortIndex, run: &Packet) -> bool {
        let Some(port) = self.devices[sender.0 as usize].ports.get(index.0 as usize) else { return true };
        let (link, way) = (&self.links[port.link.0 as usize], usize::from(port.second));
        let is_impaired = link.impaired.as_ref().is_some_and(|impaired| !impaired.0[way].is_empty());
        !is_impaired && link.directions[way].takes_runs(segmentation::longest(run))
    }

    fn put_on_link(&mut self, now: Time, sender: DeviceId, index: PortIndex, mut packet: Packet) {
        let slot = &self.devices[sender.0 as usize];
        let Some(port) = slot.ports.get(index.0 as usize).copied() else {
            packet.hop(&slot.name, Action::Dropped, now, Some("the device is not connected".into()));
            return;
        };
        let length = segmentation::longest(&packet);
        let direction = &mut self.links[port.link.0 as usize].directions[usize::from(port.second)];
        let reason = match direction.send(now, length) {
            Fate::Arrives { at, again_at } => {
                if let Some(again_at) = again_at {
                    let copy = self.like(&packet, packet.bytes.clone());
                    self.arrive_by(port, again_at, copy);
                }
                self.arrive_by(port, at, packet);
                return;
            }
            Fate::Lost(loss) => Arc::from(loss.as_str()),
            Fate::TooBig { mtu } => {
                if !direction.config().mtu_black_hole {
                    self.tell_too_big(now, sender, index, &packet, mtu);
                }
                too_big(&packet, mtu)
            }
        };
        self.lose(port, packet, now, reason);
    }

    /// Lets `packet` arrive at the other end of the link of `port` at `at`, unless an impairment changes that.
    fn arrive_by(&mut self, port: Port, at: Time, packet: Packet) {
        let impaired = self.links[port.link.0 as usize].impaired.as_ref();
        match impaired.map(|impaired| impaired.0[usize::from(port.second)].clone()) {
            Some(ids) if !ids.is_empty() => self.arrive_impaired(port, at, packet, &ids),
            _ => self.queue.push(at, Event::Arrival { device: port.peer, port: port.peer_port, packet }),
        }
    }

    /// Lets `packet` pass the impairments that pick it, one after the other.
    fn arrive_impaired(&mut self, port: Port, mut at: Time, packet: Packet, ids: &[ImpairmentId]) {
        for (index, id) in ids.iter().enumerate() {
            let impairment = self.impairments[id.0 as usize].as_mut().filter(|it| it.picks(&packet));
            let Some(impairment) = impairment else { continue };
            let reason = match impairment.send(at, packet.bytes.len()) {
                Fate::Arrives { at: later, again_at } => {
                    if let Some(again_at) = again_at {
                        let copy = self.like(&packet, packet.bytes.clone());
                        self.arrive_impaired(port, again_at, copy, &ids[index + 1..]);
                    }
                    at = later;
                    continue;
                }
                Fate::Lost(loss) => Arc::from(loss.as_str()),
                Fate::TooBig { mtu } => too_big(&packet, mtu),
            };
            return self.lose(port, packet, hopwise_engine::now(), reason);
        }
        self.queue.push(at, Event::Arrival { device: port.peer, port: port.peer_port, packet });
    }

    /// One more packet on the way of `packet`: its copy, or one of those that it stands for.
    fn like(&mut self, packet: &Packet, bytes: Vec<u8>) -> Packet {
        self.last_packet_id += 1;
        let mut copy = Packet::new(bytes, self.last_packet_id);
        (copy.next_hop, copy.previous_hop) = (packet.next_hop, packet.previous_hop);
        copy.cause = packet.cause;
        copy
    }

    /// Ends the path of a packet on the link of `port`.
    fn lose(&mut self, port: Port, mut packet: Packet, now: Time, reason: Arc<str>) {
        hopwise_engine::record(packet.cause, &LOST, packet.id, u64::from(port.link.0));
        let name = self.devices[port.peer.0 as usize].name.clone();
        packet.hop(&name, Action::Lost, now, Some(reason));
    }

    /// Tells the sender of `packet` what the link takes. What it sends in reaction may be too big again; that is
    /// lost without a word, so that the two cannot go on for ever at one instant.
    fn tell_too_big(&mut self, now: Time, sender: DeviceId, port: PortIndex, packet: &Packet, mtu: usize) {
        if !self.telling_too_big {
            self.telling_too_big = true;
            let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
            self.with_device(now, sender, |target, cx| target.too_big(port, packet, mtu, cx));
            self.telling_too_big = false;
        }
    }

    fn write_capture(&mut self, device: DeviceId, index: PortIndex, way: Way, packet: &Packet, now: Time) {
        let Some(mut capture) = self.devices[device.0 as usize].capture.take() else { return };
        capture.write(index, || self.port_names(device, index), way, packet, now);
        self.devices[device.0 as usize].capture = Some(capture);
    }

    /// The name of a port, and what is at its other end. A host is its only port.
    fn port_names(&self, device: DeviceId, index: PortIndex) -> (String, String) {
        let slot = &self.devices[device.0 as usize];
        let name = match slot.device {
            Some(Device::Host(_)) if slot.ports.len() <= 1 => slot.name.to_string(),
            _ => format!("{} eth{}", slot.name, index.0),
        };
        let peer = slot.ports.get(index.0 as usize).map(|port| &self.devices[port.peer.0 as usize].name);
        (name, peer.map_or_else(|| "not connected".into(), |peer| format!("to {peer}")))
    }
}

fn too_big(packet: &Packet, mtu: usize) -> Arc<str> {
    format!("{} bytes are more than the link's MTU of {mtu}", segmentation::longest(packet)).into()
}

/// Installs `fabric` on this thread; what was installed before is returned.
pub fn install(fabric: Fabric) -> Option<Fabric> {
    INSTALLED.replace(Some(fabric))
}

/// Takes the installed fabric away.
pub fn uninstall() -> Option<Fabric> {
    INSTALLED.take()
}

/// Whether a fabric is installed on this thread.
pub fn is_installed() -> bool {
    INSTALLED.with_borrow(Option::is_some)
}

/// Runs `f` on the installed fabric.
///
/// # Panics
/// If none is installed, or from within `f` itself.
pub fn with<R>(f: impl FnOnce(&mut Fabric) -> R) -> R {
    INSTALLED.with_borrow_mut(|fabric| f(fabric.as_mut().expect("a fabric is installed on this thread")))
}

/// Runs `f` on the installed fabric, if one is installed and not in use: destructors may run at any time.
pub(crate) fn try_with<R>(f: impl FnOnce(&mut Fabric) -> R) -> Option<R> {
    let used = INSTALLED.try_with(|installed| Some(f(installed.try_borrow_mut().ok()?.as_mut()?)));
    used.ok().flatten()
}

/// The installed fabric as the engine's world.
pub struct FabricWorld;

impl World for FabricWorld {
    fn settle(&mut self) {
        with(|fabric| {
            let now = hopwise_engine::now();
            fabric.outputs.woke = false;
            while let Some(device) = fabric.dirty.pop() {
                fabric.devices[device.0 as usize].dirty = false;
                fabric.with_device(now, device, Device::settle);
            }
        });
    }

    fn next_at(&self) -> Option<Time> {
        with(|fabric| fabric.queue.next_at())
    }

    fn run_until(&mut self, limit: Time, clock: &Clock) -> bool {
        with(|fabric| {
            // A node that rejects what its own process sends has woken that process while settling: it runs before any
            // time passes.
            if fabric.outputs.woke {
                return true;
            }
            let mut limit = limit;
            while let Some((at, event)) = fabric.queue.pop_before(limit) {
                clock.set(at);
                fabric.handle(at, event);
                if fabric.outputs.woke {
                    limit = at + hopwise_engine::Span::from_nanos(1);
                }
            }
            fabric.outputs.woke
        })
    }
}
