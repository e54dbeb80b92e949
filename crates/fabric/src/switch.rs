//! Switches: one network, no routing.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustc_hash::FxHashMap;

use crate::Action;
use crate::device::{Context, PortIndex};
use crate::packet::Packet;

static NO_PORT: LazyLock<Arc<str>> =
    LazyLock::new(|| "no device with that address is on this network".into());

/// Passes packets on by the address of the next device. Addresses are learned when links are made, as a
/// switch learns them from frames.
#[derive(Default)]
pub struct Switch {
    ports: FxHashMap<IpAddr, PortIndex>,
    uplink: Option<PortIndex>,
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

    /// Sets the port towards the rest of the network, for addresses that were not learned.
    pub fn set_uplink(&mut self, port: PortIndex) {
        self.uplink = Some(port);
    }

    /// Passes `packet` on.
    pub fn receive(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        let next = packet.next_hop.unwrap_or_else(|| packet.destination_ip());
        match self.ports.get(&next).copied().or(self.uplink) {
            Some(port) => {
                cx.hop(&mut packet, Action::Switched);
                cx.outputs.packets.push((port, packet));
            }
            None => cx.drop_packet(packet, &NO_PORT),
        }
    }
}
