//! How a balancer of kind `nat` is set up.

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
}

/// How a balancer is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BalancerConfig {
    /// The device's own addresses, which health checks and rewritten flows come from; the first of a family is
    /// its main one.
    pub addresses: Vec<IpAddr>,
    /// Which source address targets see.
    pub source: SourceAddress,
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
        // A balancer places connections at their SYN only.
        ConntrackConfig { timeouts, flows_max: self.flows_max, tcp_loose: false }
    }
}
