//! Devices: what handles a packet at an instant.
//!
//! A device is a state machine: it is given a packet and the time, and puts into [`Outputs`] what it sends and
//! which timers it wants. It never touches the event queue or another device.

use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::Time;
use hopwise_engine::log::{EventId, Kind};

use crate::Answer;
use crate::balancer::LoadBalancer;
use crate::icmp;
use crate::node::LinuxNode;
use crate::packet::Packet;
use crate::router::Router;
use crate::stack::Stack;
use crate::switch::Switch;

/// A device of the fabric. Ids are given in order of creation and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub(crate) u32);

/// A port of a device, numbered from 0 in the order of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub u32);

/// The kinds of device.
#[expect(clippy::large_enum_variant, reason = "most devices of a large network are hosts")]
pub enum Device {
    /// A network namespace with sockets: a pod, a client machine.
    Host(Stack),
    /// Forwards by destination and counts down the time to live.
    Router(Router),
    /// Passes packets on within one network; the time to live is unchanged.
    Switch(Switch),
    /// A Linux machine that forwards for its pods: routing, NAT with conntrack, filter, own sockets.
    Node(Box<LinuxNode>),
    /// A load balancer.
    LoadBalancer(Box<LoadBalancer>),
}

impl From<LinuxNode> for Device {
    fn from(node: LinuxNode) -> Self {
        Device::Node(Box::new(node))
    }
}

impl From<LoadBalancer> for Device {
    fn from(balancer: LoadBalancer) -> Self {
        Device::LoadBalancer(Box::new(balancer))
    }
}

/// What a device may use while it handles something.
pub struct Context<'a> {
    /// Virtual time.
    pub now: Time,
    /// The device's name.
    pub name: &'a Arc<str>,
    /// What the device wants done.
    pub outputs: &'a mut Outputs,
    /// The number of the next packet that is made.
    pub next_packet_id: &'a mut u64,
}

/// What a device wants done after it has handled something, in order.
#[derive(Default)]
pub struct Outputs {
    /// Packets to send, each by a port of the device.
    pub packets: Vec<(PortIndex, Packet)>,
    /// Timers to set, each with a token that the device understands.
    pub timers: Vec<(Time, u64)>,
    /// Whether a task may have been woken.
    pub woke: bool,
}

/// A device dropped a packet.
pub(crate) static DROPPED: Kind = Kind::new("packet.dropped", ["packet", "length"]);
/// A socket took a packet.
pub(crate) static DELIVERED: Kind = Kind::new("packet.delivered", ["packet", "length"]);
/// A stack sent a packet.
pub(crate) static SENT: Kind = Kind::new("packet.sent", ["packet", "length"]);

impl Context<'_> {
    /// A number for a new packet.
    pub fn packet_id(&mut self) -> u64 {
        *self.next_packet_id += 1;
        *self.next_packet_id
    }

    /// Adds a hop to the packet's path.
    pub fn hop(&self, packet: &mut Packet, action: crate::Action) {
        packet.hop(self.name, action, self.now, None);
    }

    /// Ends the packet's path here, without an answer, and says why.
    pub fn drop_packet(&self, mut packet: Packet, reason: &Arc<str>) {
        hopwise_engine::record(packet.cause, &DROPPED, packet.id, packet.bytes.len() as u64);
        packet.hop(self.name, crate::Action::Dropped, self.now, Some(reason.clone()));
    }

    /// Ends the packet's path here: the device has sent `answer` back. Says why.
    pub fn reject_packet(&self, mut packet: Packet, reason: &Arc<str>, answer: Answer) {
        hopwise_engine::record(packet.cause, &DROPPED, packet.id, packet.bytes.len() as u64);
        packet.rejected(self.name, self.now, reason.clone(), answer);
    }

    /// Records `kind` for the packet; what happens to it next is caused by this.
    pub fn record(&self, packet: &mut Packet, kind: &'static Kind) -> EventId {
        packet.cause = hopwise_engine::record(packet.cause, kind, packet.id, packet.bytes.len() as u64);
        packet.cause
    }
}

impl Device {
    /// Handles `packet`, which arrived at `port`.
    pub fn receive(&mut self, port: PortIndex, packet: Packet, cx: &mut Context<'_>) {
        match self {
            Device::Host(stack) => stack.receive(packet, cx),
            Device::Router(router) => router.receive(port, packet, cx),
            Device::Switch(switch) => switch.receive(port, packet, cx),
            Device::Node(node) => node.receive(port, packet, cx),
            Device::LoadBalancer(balancer) => balancer.receive(port, packet, cx),
        }
    }

    /// Handles a timer that the device has set.
    pub fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        match self {
            Device::Host(stack) => stack.timer(token, cx),
            Device::Node(node) => node.timer(token, cx),
            Device::LoadBalancer(balancer) => balancer.timer(token, cx),
            Device::Router(_) | Device::Switch(_) => {}
        }
    }

    /// Sends what the device's sockets were given since the last call.
    pub fn settle(&mut self, cx: &mut Context<'_>) {
        match self {
            Device::Host(stack) => stack.settle(cx),
            Device::Node(node) => node.settle(cx),
            Device::LoadBalancer(balancer) => balancer.settle(cx),
            Device::Router(_) | Device::Switch(_) => {}
        }
    }

    /// A packet that the device sent by `port` is longer than the `mtu` bytes that the link takes: lets the
    /// device tell the sender, which may be itself.
    pub fn too_big(&mut self, port: PortIndex, packet: &Packet, mtu: u16, cx: &mut Context<'_>) {
        match self {
            Device::Host(stack) => {
                let own = stack.addresses().iter().find(|address| address.is_ipv6() == packet.is_ipv6());
                let error =
                    own.and_then(|own| icmp::error(*own, packet, icmp::Unreachable::TooBig { mtu }, cx));
                if let Some(error) = error {
                    stack.receive(error, cx);
                }
            }
            Device::Router(router) => router.too_big(port, packet, mtu, cx),
            Device::Switch(_) => {}
            Device::Node(node) => node.too_big(packet, mtu, cx),
            Device::LoadBalancer(balancer) => balancer.too_big(packet, mtu, cx),
        }
    }

    /// The device's sockets, if it has any.
    pub fn stack_mut(&mut self) -> Option<&mut Stack> {
        match self {
            Device::Host(stack) => Some(stack),
            Device::Node(node) => Some(node.stack_mut()),
            Device::LoadBalancer(balancer) => Some(balancer.stack_mut()),
            Device::Router(_) | Device::Switch(_) => None,
        }
    }

    /// The device's routing table, if it routes.
    pub fn routes_mut(&mut self) -> Option<&mut crate::RoutingTable> {
        match self {
            Device::Host(_) | Device::Switch(_) => None,
            Device::Router(router) => Some(router.routes_mut()),
            Device::Node(node) => Some(node.routes_mut()),
            Device::LoadBalancer(balancer) => Some(balancer.routes_mut()),
        }
    }

    /// The address that ICMP errors of the device come from.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Device::Host(stack) => stack.addresses().first().copied(),
            Device::Router(router) => router.addresses().first().copied(),
            Device::Switch(_) => None,
            Device::Node(node) => node.stack().addresses().first().copied(),
            Device::LoadBalancer(balancer) => balancer.stack().addresses().first().copied(),
        }
    }
}
