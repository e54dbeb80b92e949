//! Switches: one network, no routing.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashMap;

use crate::Action;
use crate::device::{Context, PortIndex};
use crate::packet::Packet;
use crate::return_path::ReturnPaths;

static NO_PORT: LazyLock<Arc<str>> =
    LazyLock::new(|| "no device with that address is on this network".into());

/// Passes packets on by the address of the next device. Addresses are learned when links are made, as a
/// switch learns them from frames.
///
/// A port can be *symmetric*, as a [`Router`](crate::Router)'s: that is how a cloud's network returns what a load
/// balancer sent with its client's address.
#[derive(Default)]
pub struct Switch {
    ports: FxHashMap<IpAddr, PortIndex>,
    uplink: Option<PortIndex>,
    returns: ReturnPaths,
}

impl Switch {
    /// A switch without ports.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `address` is reached by `port`.
    pub fn learn(&mut self, address: IpAddr, port: PortIndex) {
        self.ports.insert(address, port);
    }

    /// Forgets `address`.
    pub fn forget(&mut self, address: IpAddr) {
        self.ports.remove(&address);
    }

    /// The port by which `address` is reached, if it was learned.
    pub fn port_of(&self, address: IpAddr) -> Option<PortIndex> {
        self.ports.get(&address).copied()
    }

    /// Makes `port` symmetric: what enters by it is answered by it.
    pub fn set_symmetric(&mut self, port: PortIndex) {
        self.returns.set_symmetric(port, None);
    }

    /// Forgets a symmetric port and the flows that came in by it: nobody is there any more.
    pub fn forget_port(&mut self, port: PortIndex) {
        self.returns.forget_port(port);
    }

    /// Sets the port towards the rest of the network, for addresses that were not learned.
    pub fn set_uplink(&mut self, port: PortIndex) {
        self.uplink = Some(port);
    }

    /// Passes `packet` on, which arrived at `port`.
    pub fn receive(&mut self, port: PortIndex, mut packet: Packet, cx: &mut Context<'_>) {
        self.returns.note(port, &packet, cx.now);
        let back = self.returns.find(&packet).map(|back| back.port).filter(|back| *back != port);
        let next = packet.next_hop.unwrap_or_else(|| packet.destination_ip());
        match back.or_else(|| self.port_of(next)).or(self.uplink) {
            Some(port) => {
                cx.hop(&mut packet, Action::Switched);
                cx.outputs.packets.push((port, packet));
            }
            None => cx.drop_packet(packet, &NO_PORT),
        }
    }
}
