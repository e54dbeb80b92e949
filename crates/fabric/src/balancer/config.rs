//! How a balancer is set up.

use std::net::IpAddr;

use hopwise_engine::Span;

use crate::nat::{ConntrackConfig, Timeouts};

/// Which source address targets see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceAddress {
    /// The client's (linux.md "LB b").
    Client,
    /// The balancer's (linux.md "LB a").
    Balancer,
}

/// What happens to a new flow when the listener has no healthy target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoTarget {
    /// It is dropped; the client times out.
    Drop,
    /// TCP is reset; the client sees "connection refused". Other protocols are dropped.
    Reset,
}

/// What happens to a TCP segment of a flow that the balancer does not know (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Idle {
    /// It is dropped: a flow that was idle too long hangs without a word.
    Drop,
    /// It is answered with a reset, so that the end that next sends notices.
    Reset,
    /// It is placed by its hash, as a new flow is: with the same targets it goes where it went before.
    Place,
}

/// What the destination of a packet is when it leaves for its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarding {
    /// The target's address and port; answers come back through the balancer (kind `nat`).
    #[default]
    Translated,
    /// The listener's own: the packet is delivered to the target's machine as it is, and the answers go from there
    /// straight to the client (kind `dsr`, linux.md 1 "LB d"). The time to live is left alone: the packet travels
    /// inside the network's own encapsulation.
    Direct,
}

/// How a balancer is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerConfig {
    /// The device's own addresses, which health checks and rewritten flows come from; the first of a family is
    /// its main one.
    pub addresses: Vec<IpAddr>,
    /// Which source address targets see.
    pub source: SourceAddress,
    /// What the destination of a packet is when it leaves for its target.
    pub forwarding: Forwarding,
    /// What happens to new flows without a healthy target.
    pub no_target: NoTarget,
    /// How long an open TCP connection may be silent before it is forgotten.
    pub tcp_idle_timeout: Span,
    /// How long a UDP flow may be silent before it is forgotten.
    pub udp_idle_timeout: Span,
    /// What happens to segments of forgotten flows.
    pub idle: Idle,
    /// How many flows there can be; the first packet of one more is dropped.
    pub flows_max: usize,
}

impl BalancerConfig {
    /// A balancer with these addresses that keeps the client's address, drops what it cannot place and resets
    /// flows that were silent for 350 s (as AWS documents for Network Load Balancers).
    pub fn new(addresses: Vec<IpAddr>) -> Self {
        BalancerConfig {
            addresses,
            source: SourceAddress::Client,
            forwarding: Forwarding::Translated,
            no_target: NoTarget::Drop,
            tcp_idle_timeout: Span::from_secs(350),
            udp_idle_timeout: Span::from_secs(120),
            idle: Idle::Reset,
            flows_max: 1_000_000,
        }
    }

    pub(super) fn conntrack(&self) -> ConntrackConfig {
        let timeouts = Timeouts {
            tcp_established: self.tcp_idle_timeout,
            tcp_close_wait: self.tcp_idle_timeout,
            udp: self.udp_idle_timeout,
            udp_stream: self.udp_idle_timeout,
            ..Timeouts::default()
        };
        let tcp_loose = self.idle == Idle::Place;
        ConntrackConfig { timeouts, flows_max: self.flows_max, tcp_loose }
    }
}
