//! A load balancer outside the cluster.
//!
//! Kind `nat`: the device rewrites the destination of each new flow to one of the listener's healthy targets,
//! by a hash of the five-tuple; the client's address is kept (the answers must come back through the device,
//! see [`Router::set_symmetric`](crate::Router::set_symmetric)) or replaced by the balancer's own. Kind `proxy`
//! terminates TCP: [`run_proxy`], a program on the device's own sockets. Kind `dsr` ([`Forwarding::Direct`]) chooses a
//! machine and leaves the packet alone. Which targets are healthy, and whether they may be in another zone, is its
//! owner's choice. The kinds and what clients see of them: linux.md 1, "LB a" to "LB d".

mod config;
mod direct;
mod pipeline;
mod proxy;
mod reset;
#[cfg(test)]
mod tests;

pub use config::{BalancerConfig, Forwarding, Idle, NoTarget, SourceAddress};
pub use proxy::{ProxyConfig, Targets, run_proxy};

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::random::Stream;

use crate::RoutingTable;
use crate::device::{Context, PortIndex};
use crate::nat::rules::{
    Branch, Choice, Destination, DestinationRule, Protocol, SourceMatch, Translation, Verdict,
};
use crate::nat::translator::Translator;
use crate::nat::{Conntrack, RuleKey, Ruling};
use crate::node::RateLimit;
use crate::packet::Packet;
use crate::stack::Stack;

/// A load balancer.
pub struct LoadBalancer {
    config: BalancerConfig,
    stack: Stack,
    routes: RoutingTable,
    translator: Translator,
    direct: direct::DirectFlows,
    listeners: BTreeMap<(SocketAddr, Protocol), Arc<str>>,
    icmp_limit: RateLimit,
    /// Packets of the device itself that have no way yet.
    own: VecDeque<Packet>,
}

impl LoadBalancer {
    /// A balancer without listeners. `random` decides what it draws: the hash's salt and source ports.
    pub fn new(config: BalancerConfig, random: Stream) -> Self {
        let mut stack = Stack::new(config.addresses.clone());
        stack.set_own_traffic_leaves(true);
        let mut translator = Translator::new(config.conntrack(), random);
        // A target that connects to itself gets a packet with its own address and drops it (linux.md 7).
        translator.masquerades_hairpin = false;
        LoadBalancer {
            stack,
            routes: RoutingTable::default(),
            translator,
            direct: direct::DirectFlows::default(),
            listeners: BTreeMap::new(),
            icmp_limit: RateLimit::default(),
            own: VecDeque::new(),
            config,
        }
    }

    /// Opens a listener at a virtual address, without targets yet; `label` explains it in paths, e.g.
    /// `load balancer of Service redpanda/external-0`.
    pub fn add_listener(&mut self, address: SocketAddr, protocol: Protocol, label: impl Into<Arc<str>>) {
        self.listeners.insert((address, protocol), label.into());
        self.set_targets(address, protocol, Vec::new());
    }

    /// Closes a listener; flows that there are go on.
    pub fn remove_listener(&mut self, address: SocketAddr, protocol: Protocol) {
        if self.listeners.remove(&(address, protocol)).is_some() {
            let destination = Destination::Address(address.ip());
            self.translator.rules.remove_rule(RuleKey::new(destination, protocol, address.port()));
        }
    }

    /// Sets a listener's healthy targets; flows that there are stay where they are. `false` if there is no such
    /// listener.
    pub fn set_targets(&mut self, address: SocketAddr, protocol: Protocol, targets: Vec<SocketAddr>) -> bool {
        let Some(label) = self.listeners.get(&(address, protocol)) else { return false };
        let verdict = if targets.is_empty() {
            let reason: Arc<str> = format!("{label} has no healthy target").into();
            match self.config.no_target {
                NoTarget::Drop => Verdict::Drop { reason },
                NoTarget::Reset => Verdict::Reject { reason },
            }
        } else {
            let masquerade = self.config.source == SourceAddress::Balancer;
            Verdict::Translate(Translation { targets: targets.into(), masquerade, choice: Choice::FlowHash })
        };
        self.translator.rules.set_rule(DestinationRule {
            destination: Destination::Address(address.ip()),
            protocol,
            port: address.port(),
            branches: vec![Branch { source: SourceMatch::Any, verdict }],
            label: label.clone(),
        });
        true
    }

    /// What the listeners would do with a new flow, without anything being sent or drawn; `None` if no listener is for
    /// it.
    pub fn ask(&self, source: IpAddr, destination: SocketAddr, protocol: Protocol) -> Option<Ruling<'_>> {
        self.translator.rules.ask(source, destination, protocol.number(), false, false)
    }

    /// The listeners, in order.
    pub fn listeners(&self) -> impl Iterator<Item = (SocketAddr, Protocol)> {
        self.listeners.keys().copied()
    }

    /// Its flows.
    pub fn conntrack(&self) -> &Conntrack {
        &self.translator.conntrack
    }

    /// Its flows.
    pub fn conntrack_mut(&mut self) -> &mut Conntrack {
        &mut self.translator.conntrack
    }

    /// Forgets the flows that go to `target`, each of which ends as one that was idle too long; says how many there
    /// were. Costs by the number of all flows, so it is for targets that leave.
    pub fn cut_off(&mut self, target: IpAddr) -> usize {
        let to_target = |flow: &crate::nat::Flow| flow.reply.source.ip() == target;
        self.direct.cut_off(target) + self.translator.conntrack.delete_where(to_target)
    }

    /// Forgets all flows to its listeners, each of which ends as one that was idle too long; says how many there were.
    pub fn forget_flows(&mut self) -> usize {
        self.direct.clear() + self.translator.conntrack.delete_where(|flow| flow.label.is_some())
    }

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
    pub fn receive(&mut self, port: PortIndex, packet: Packet, cx: &mut Context<'_>) {
        self.pass(Some(port), packet, cx);
        self.pass_own(cx);
    }

    /// Handles a timer.
    pub fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        self.with_stack(cx, |stack, cx| stack.timer(token, cx));
        self.pass_own(cx);
    }

    /// Sends what its own sockets were given.
    pub fn settle(&mut self, cx: &mut Context<'_>) {
        self.with_stack(cx, Stack::settle);
        self.pass_own(cx);
    }
}
