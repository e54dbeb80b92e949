//! A network namespace: addresses, and the sockets of the tasks that run in it.

use std::net::IpAddr;

use crate::device::Context;
use crate::packet::Packet;

/// An IP stack with sockets.
pub struct Stack {
    addresses: Vec<IpAddr>,
    own_traffic_leaves: bool,
}

impl Stack {
    /// A stack with these addresses; the first of a family is the source of what it sends.
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        Stack { addresses, own_traffic_leaves: false }
    }

    /// Says who delivers packets that the stack sends to its own addresses, loopback included: the stack itself
    /// (`false`, the default), or the device around it (`true`), which gets them by port 0 like all others.
    pub fn set_own_traffic_leaves(&mut self, leaves: bool) {
        self.own_traffic_leaves = leaves;
    }

    /// Its addresses, without loopback.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Takes a packet that is for this stack.
    pub fn receive(&mut self, _packet: Packet, _cx: &mut Context<'_>) {}

    /// Handles a timer.
    pub fn timer(&mut self, _token: u64, _cx: &mut Context<'_>) {}

    /// Sends what the sockets were given since the last call. What it sends leaves by port 0.
    pub fn settle(&mut self, _cx: &mut Context<'_>) {}
}
