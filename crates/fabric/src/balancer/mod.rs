//! A load balancer.

use crate::RoutingTable;
use crate::device::{Context, PortIndex};
use crate::packet::Packet;
use crate::stack::Stack;

/// A load balancer.
pub struct LoadBalancer {
    stack: Stack,
    routes: RoutingTable,
}

impl LoadBalancer {
    /// Its own sockets.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Its own sockets.
    pub fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// Its routing table.
    pub fn routes_mut(&mut self) -> &mut RoutingTable {
        &mut self.routes
    }

    /// Handles a packet that arrived at `port`.
    pub fn receive(&mut self, _port: PortIndex, packet: Packet, cx: &mut Context<'_>) {
        self.stack.receive(packet, cx);
    }

    /// Handles a timer.
    pub fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        self.stack.timer(token, cx);
    }

    /// Sends what its own sockets were given.
    pub fn settle(&mut self, cx: &mut Context<'_>) {
        self.stack.settle(cx);
    }
}
