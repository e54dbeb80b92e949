//! NAT and filter rules of a device, as data.
//!
//! The shape follows what Linux is asked to do by kube-proxy and CNI plugins (one look-up by destination, then
//! the first branch whose source matches), so that a packet costs the same with one Service or ten thousand.
//! Whoever compiles Services into rules is not this crate's business.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::Span;
use ipnet::IpNet;

use crate::packet::protocol;

/// A transport protocol that rules can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its IP protocol number.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => protocol::TCP,
            Protocol::Udp => protocol::UDP,
            Protocol::Sctp => protocol::SCTP,
        }
    }

    /// The protocol with that IP protocol number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            protocol::TCP => Some(Protocol::Tcp),
            protocol::UDP => Some(Protocol::Udp),
            protocol::SCTP => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

/// Everything a device is told to do about addresses. Replacing it affects new flows only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// Destination rules. At most one rule per destination, protocol and port.
    pub destinations: Vec<DestinationRule>,
    /// Source rules, first match wins; asked after routing for packets no destination rule masqueraded.
    pub sources: Vec<SourceRule>,
    /// What happens to new flows that no destination rule names.
    pub unclaimed: Vec<UnclaimedRule>,
}

/// What happens to new flows of any protocol and port towards addresses of a network, where no destination rule names
/// them. Of several networks the smallest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclaimedRule {
    /// The addresses.
    pub network: IpNet,
    /// What happens.
    pub refusal: Refusal,
}

/// How a packet is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With an ICMP port unreachable. `reason` goes into the explanation.
    Reject {
        /// Why, in words for the user.
        reason: Arc<str>,
    },
    /// Without an answer. `reason` goes into the explanation.
    Drop {
        /// Why, in words for the user.
        reason: Arc<str>,
    },
}

/// What happens to new flows towards one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRule {
    /// The destination address.
    pub destination: Destination,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port.
    pub port: u16,
    /// First branch whose source matches decides. No branch: not translated.
    pub branches: Vec<Branch>,
    /// What the rule is for, for explanations, e.g. `Service redpanda/redpanda-external port kafka`.
    pub label: Arc<str>,
}

/// A destination that a rule can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Exactly this address.
    Address(IpAddr),
    /// Any address of the device itself, loopback included only if `loopback`.
    AnyLocal {
        /// Whether 127.0.0.0/8 counts.
        loopback: bool,
    },
}

/// One line of a destination rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Which sources it is for.
    pub source: SourceMatch,
    /// What to do.
    pub verdict: Verdict,
}

/// Which packets a branch is for, by their source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceMatch {
    /// All.
    Any,
    /// The source is in one of these networks.
    In(Vec<IpNet>),
    /// The source is in none of these networks.
    NotIn(Vec<IpNet>),
    /// The packet comes from this device's own processes or addresses.
    ThisDevice,
}

/// What to do with the first packet of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Rewrite the destination to one of `targets`, each equally likely.
    Translate(Translation),
    /// Answer with an ICMP port unreachable. `reason` goes into the explanation.
    Reject {
        /// Why, in words for the user.
        reason: Arc<str>,
    },
    /// Drop without an answer. `reason` goes into the explanation.
    Drop {
        /// Why, in words for the user.
        reason: Arc<str>,
    },
    /// Leave the packet alone.
    Accept,
}

/// A choice of new destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The possible destinations; never empty.
    pub targets: Arc<[SocketAddr]>,
    /// Whether the source becomes the device's own address on the way out. A flow that is sent back to its
    /// own source (hairpin) is masqueraded in any case.
    pub masquerade: bool,
    /// How a target is picked.
    pub choice: Choice,
}

/// How one of several targets is picked for a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Uniformly at random, from the device's own random stream.
    Random,
    /// One after the other (IPVS's default scheduler).
    RoundRobin,
    /// By a hash of the flow's five-tuple (load balancers).
    FlowHash,
    /// The same target for the same source address until it is silent for this long (session affinity).
    SourceAffinity(Span),
}

/// Masquerade of packets that leave, by source and destination (a CNI's rule for traffic that leaves the pod
/// network).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRule {
    /// Sources it is for.
    pub source: IpNet,
    /// Destinations that are left alone.
    pub except_destinations: Vec<IpNet>,
    /// What the rule is for.
    pub label: Arc<str>,
}
