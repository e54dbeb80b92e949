//! A Linux machine that forwards for its pods: routing, NAT with connection tracking, a filter, own sockets.
//!
//! It is told what to do as data: NAT rules ([`crate::nat::rules`]), a filter, routes, and which pod is behind
//! which port. What it does follows measurements of a Linux kernel (linux.md sections 1 to 4) and kube-proxy's
//! rules (kubernetes.md section 6). Left out: reverse path filtering (off, as most CNI plugins set it), policy
//! routing, fragments, and traffic shaping.

mod config;
mod filter;
mod neighbours;
mod pipeline;
mod rate_limit;
#[cfg(test)]
mod test_cluster;
#[cfg(test)]
mod tests;

pub use config::{NodeConfig, PodLinks};
pub use filter::{Allowance, Allowances, Chain, Filter, FilterAction, FilterRule, Isolation, Peers};

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};

use hopwise_engine::Time;
use hopwise_engine::random::Stream;
use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::RoutingTable;
use crate::device::{Context, PortIndex};
use crate::icmp::Unreachable;
use crate::nat::Conntrack;
use crate::nat::rules::{DestinationRule, Protocol, RuleSet, SourceRule, UnclaimedRule};
use crate::nat::translator::Translator;
use crate::nat::{RuleKey, RuleTable, Ruling};
use crate::packet::Packet;
use crate::stack::Stack;

pub(crate) use rate_limit::RateLimit;

/// A Linux machine that forwards for its pods.
pub struct LinuxNode {
    config: NodeConfig,
    stack: Stack,
    routes: RoutingTable,
    translator: Translator,
    filter: Filter,
    pods: FxHashMap<IpAddr, PortIndex>,
    pod_ports: FxHashMap<PortIndex, Vec<IpAddr>>,
    local: BTreeSet<IpAddr>,
    bound: BTreeSet<IpAddr>,
    neighbours: neighbours::Neighbours,
    icmp_limit: RateLimit,
    /// Packets of the node itself that have not passed the node yet.
    own: VecDeque<Packet>,
    has_power: bool,
}

static NO_POWER: LazyLock<Arc<str>> = LazyLock::new(|| "the machine has no power".into());

/// Timer tokens from here on are the node's own, those below are its stack's.
const OWN_TIMERS: u64 = 1 << 63;

impl LinuxNode {
    /// A node without pods, routes and rules. `random` decides what the node draws: targets and source ports.
    pub fn new(config: NodeConfig, random: Stream) -> Self {
        let all: Vec<IpAddr> = config.addresses.iter().chain(config.bridge_addresses()).copied().collect();
        let mut stack = Stack::new(all.clone());
        // A node's process may connect to a NodePort at the node's own address: that passes the rules too.
        stack.set_own_traffic_leaves(true);
        LinuxNode {
            stack,
            routes: RoutingTable::default(),
            translator: Translator::new(config.conntrack, random),
            filter: Filter::default(),
            pods: FxHashMap::default(),
            pod_ports: FxHashMap::default(),
            local: all.into_iter().collect(),
            bound: BTreeSet::new(),
            neighbours: neighbours::Neighbours::default(),
            icmp_limit: RateLimit::default(),
            own: VecDeque::new(),
            has_power: true,
            config,
        }
    }

    /// What the node is made of.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The machine loses power: its sockets, flows, rules, filter, neighbours and pods are gone without a word, and
    /// packets vanish until it is switched on again. Its addresses and routes are configured as before then.
    pub fn lose_power(&mut self, random: Stream) {
        let routes = std::mem::take(&mut self.routes);
        *self = LinuxNode { routes, has_power: false, ..LinuxNode::new(self.config.clone(), random) };
    }

    /// The machine has power again.
    pub fn power_on(&mut self) {
        self.has_power = true;
    }

    /// Turns the limit on ICMP errors on or off.
    pub fn set_icmp_limit(&mut self, limited: bool) {
        self.config.limit_icmp = limited;
    }

    /// Gives the node an address of its own that nobody else has a route to (a dummy interface).
    pub fn add_address(&mut self, address: IpAddr) {
        self.local.insert(address);
        self.stack.add_address(address);
    }

    /// Says that a pod with these addresses is behind `port`.
    pub fn add_pod(&mut self, addresses: &[IpAddr], port: PortIndex) {
        for address in addresses {
            self.pods.insert(*address, port);
            self.neighbours.forget(*address);
        }
        self.pod_ports.entry(port).or_default().extend_from_slice(addresses);
    }

    /// Says that there is no pod behind `port` any more. Packets to its addresses vanish for a while
    /// ([`NodeConfig::removed_pod_silence`]) and are answered with ICMP host unreachable later; flows stay.
    pub fn remove_pod(&mut self, port: PortIndex, now: Time) {
        for address in self.pod_ports.remove(&port).unwrap_or_default() {
            if self.pods.get(&address) == Some(&port) {
                self.pods.remove(&address);
                self.neighbours.keep_stale(address, now, now + self.config.removed_pod_silence);
            }
        }
    }

    /// Forgets the neighbour entry of an address, so that the next packet asks for it (`ip neigh del`).
    pub fn forget_neighbour(&mut self, address: IpAddr) {
        self.neighbours.forget(address);
    }

    /// The pod port behind which `address` is.
    pub fn pod_port(&self, address: IpAddr) -> Option<PortIndex> {
        self.pods.get(&address).copied()
    }

    /// Replaces all NAT rules; flows that there are go on as before.
    pub fn set_rules(&mut self, rules: RuleSet) {
        self.translator.rules = RuleTable::new(rules);
    }

    /// Adds or replaces the NAT rule for one destination.
    pub fn set_rule(&mut self, rule: DestinationRule) {
        self.translator.rules.set_rule(rule);
    }

    /// Removes the NAT rule for one destination; says whether there was one.
    pub fn remove_rule(&mut self, key: RuleKey) -> bool {
        self.translator.rules.remove_rule(key)
    }

    /// Adds or replaces what happens to addresses that no NAT rule names.
    pub fn set_unclaimed(&mut self, rule: UnclaimedRule) {
        self.translator.rules.set_unclaimed(rule);
    }

    /// Removes what [`LinuxNode::set_unclaimed`] has set for that network.
    pub fn remove_unclaimed(&mut self, network: &IpNet) -> bool {
        self.translator.rules.remove_unclaimed(network)
    }

    /// Sets whether packets that fit no flow are dropped ([`NodeConfig::drop_invalid`]).
    pub fn set_drop_invalid(&mut self, dropped: bool) {
        self.config.drop_invalid = dropped;
    }

    /// Sets whether a TCP connection is translated only from its SYN on, as IPVS does; if not (NAT by netfilter), one
    /// whose flow was forgotten is translated anew.
    pub fn set_only_syn_opens(&mut self, only: bool) {
        self.translator.only_syn_opens = only;
    }

    /// Gives the node another address of its own, as on a dummy interface: what no rule translates is for the node
    /// itself. It is not a source of what the node sends elsewhere.
    pub fn bind_address(&mut self, address: IpAddr) {
        if self.local.insert(address) {
            self.bound.insert(address);
            self.stack.add_address(address);
        }
    }

    /// Takes an address away that [`LinuxNode::bind_address`] has given.
    pub fn unbind_address(&mut self, address: IpAddr) {
        if self.bound.remove(&address) {
            self.local.remove(&address);
            self.stack.remove_address(address);
        }
    }

    /// The addresses that [`LinuxNode::bind_address`] has given.
    pub fn bound_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.bound
    }

    /// What the NAT rules would do with a new flow, without anything being sent or drawn; `None` if no rule is for it.
    pub fn ask(&self, source: IpAddr, destination: SocketAddr, protocol: Protocol) -> Option<Ruling<'_>> {
        let is_local = |address: IpAddr| self.local.contains(&address) || address.is_loopback();
        let rules = &self.translator.rules;
        let (to_here, from_here) = (is_local(destination.ip()), is_local(source));
        rules.ask(source, destination, protocol.number(), to_here, from_here)
    }

    /// Replaces the masquerade rules.
    pub fn set_source_rules(&mut self, rules: Vec<SourceRule>) {
        self.translator.rules.set_source_rules(rules);
    }

    /// Its flows.
    pub fn conntrack(&self) -> &Conntrack {
        &self.translator.conntrack
    }

    /// Its flows.
    pub fn conntrack_mut(&mut self) -> &mut Conntrack {
        &mut self.translator.conntrack
    }

    /// Its packet filter.
    pub fn filter_mut(&mut self) -> &mut Filter {
        &mut self.filter
    }

    /// Its own sockets.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// Its own sockets.
    pub fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// Its routing table, for what is neither its own nor its pods'.
    pub fn routes_mut(&mut self) -> &mut RoutingTable {
        &mut self.routes
    }

    /// Handles a packet that arrived at `port`.
    pub fn receive(&mut self, port: PortIndex, packet: Packet, cx: &mut Context<'_>) {
        if !self.has_power {
            cx.drop_packet(packet, &NO_POWER);
            return;
        }
        self.pass(Some(port), packet, cx);
        self.pass_own(cx);
    }

    /// Sends a packet of the node's own, as a raw socket does.
    pub fn send_raw(&mut self, packet: Packet, cx: &mut Context<'_>) {
        self.own.push_back(packet);
        self.pass_own(cx);
    }

    /// Handles a timer.
    pub fn timer(&mut self, token: u64, cx: &mut Context<'_>) {
        if token >= OWN_TIMERS {
            self.resolve_neighbours(cx);
        } else {
            self.with_stack(cx, |stack, cx| stack.timer(token, cx));
        }
        self.pass_own(cx);
    }

    /// Sends what its own sockets were given.
    pub fn settle(&mut self, cx: &mut Context<'_>) {
        self.with_stack(cx, Stack::settle);
        self.pass_own(cx);
    }

    /// Tells the sender of `packet`, which the node has sent, that the link takes `mtu` bytes.
    pub fn too_big(&mut self, packet: &Packet, mtu: u16, cx: &mut Context<'_>) {
        self.answer(packet, Unreachable::TooBig { mtu }, cx);
        self.pass_own(cx);
    }
}
