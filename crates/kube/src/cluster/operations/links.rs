//! What is wrong with the way between two places: delay, loss, a cut in one direction.
//!
//! The way from one place to another is what leaves the nodes of the one for the nodes and pods of the other, or what
//! enters the nodes from outside. Packets are picked by the addresses that they have on the nodes' links, so what a node
//! forwards for others counts where it passes. Everything between two places is one wire, with one queue: two nodes of
//! a zone share the bandwidth to another zone. Pods of one node reach each other without it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hopwise_fabric::{Addresses, ImpairmentId, LinkConfig, LinkId, Traffic};
use ipnet::IpNet;

use super::OperationError;
use crate::cluster::Cluster;
use crate::cluster::topology::{NodeSite, Topology};

/// An end of a way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkEnd {
    /// A node with its pods.
    Node(String),
    /// The nodes of a zone with their pods.
    Zone(String),
    /// Everything that is neither a node nor a pod: clients outside, load balancers, the internet.
    External,
}

/// What is wrong. Of each kind there is one at a time between two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Packets take longer.
    Delay,
    /// Some are lost.
    Loss,
    /// Some arrive twice.
    Duplication,
    /// Some are overtaken.
    Reordering,
    /// There is less bandwidth.
    Bandwidth,
    /// None arrive.
    Cut,
    /// Those above a size vanish.
    Mtu,
}

/// The impairments that there are, by where and what.
#[derive(Default)]
pub struct Impairments {
    present: BTreeMap<(LinkEnd, LinkEnd, Aspect), ImpairmentId>,
    /// How many there were: each has a random stream of its own.
    made: u64,
}

impl Cluster {
    /// Impairs the way from one place to another; an impairment of the same aspect there is replaced.
    ///
    /// # Errors
    /// If a place has no node, or the two are one.
    pub fn impair_link(
        &self,
        (from, to): (&LinkEnd, &LinkEnd),
        aspect: Aspect,
        config: LinkConfig,
    ) -> Result<(), OperationError> {
        let (ways, traffic) = way(&self.shared.topology.borrow(), from, to)?;
        let mut impairments = self.shared.impairments.borrow_mut();
        impairments.made += 1;
        let name = format!("{}/{aspect}/{from}/{to}", impairments.made);
        let id = hopwise_fabric::with(|fabric| fabric.impair(&name, &ways, traffic, config));
        if let Some(before) = impairments.present.insert((from.clone(), to.clone(), aspect), id) {
            hopwise_fabric::with(|fabric| fabric.lift(before));
        }
        hopwise_engine::notable("link.impaired", object(from, to), aspect.to_string());
        Ok(())
    }

    /// Lifts what [`Cluster::impair_link`] has set: this aspect, or all.
    ///
    /// # Errors
    /// [`OperationError::AlreadySo`] if nothing of the kind is wrong there.
    pub fn mend_link(
        &self,
        (from, to): (&LinkEnd, &LinkEnd),
        aspect: Option<Aspect>,
    ) -> Result<(), OperationError> {
        let mut impairments = self.shared.impairments.borrow_mut();
        let is_meant = |key: &(LinkEnd, LinkEnd, Aspect)| {
            key.0 == *from && key.1 == *to && aspect.is_none_or(|aspect| aspect == key.2)
        };
        let keys: Vec<_> = impairments.present.keys().filter(|key| is_meant(key)).cloned().collect();
        if keys.is_empty() {
            return Err(OperationError::AlreadySo(format!("nothing is wrong with the {}", object(from, to))));
        }
        for key in keys {
            if let Some(id) = impairments.present.remove(&key) {
                hopwise_fabric::with(|fabric| fabric.lift(id));
            }
            hopwise_engine::notable("link.mended", object(from, to), key.2.to_string());
        }
        Ok(())
    }
}

/// The directions of links that packets from one place to another pass, and what they are known by there.
fn way(
    topology: &Topology,
    from: &LinkEnd,
    to: &LinkEnd,
) -> Result<(Vec<(LinkId, bool)>, Traffic), OperationError> {
    if from == to {
        return Err(OperationError::Refused(format!("{from} is no other place than {to}")));
    }
    let uplinks = |end: &LinkEnd, reverse: bool| -> Vec<(LinkId, bool)> {
        let names = topology.nodes().filter(|site| end.has(site)).map(|site| site.name.as_str());
        names.filter_map(|name| Some((topology.uplink(name)?, reverse))).collect()
    };
    for end in [from, to] {
        if *end != LinkEnd::External && !topology.nodes().any(|site| end.has(site)) {
            return Err(OperationError::Refused(format!("there is no {end}")));
        }
    }
    Ok(match from {
        LinkEnd::External => {
            (uplinks(to, true), Traffic { source: addresses(topology, from), destination: Addresses::Any })
        }
        _ => (uplinks(from, false), Traffic { source: Addresses::Any, destination: addresses(topology, to) }),
    })
}

fn addresses(topology: &Topology, end: &LinkEnd) -> Addresses {
    let networks = |site: &NodeSite| -> Vec<IpNet> {
        let own = site.addresses.iter().map(|address| IpNet::from(*address));
        own.chain(site.pod_networks.iter().copied()).collect()
    };
    match end {
        LinkEnd::External => Addresses::Outside(topology.nodes().flat_map(networks).collect()),
        end => Addresses::In(topology.nodes().filter(|site| end.has(site)).flat_map(networks).collect()),
    }
}

fn object(from: &LinkEnd, to: &LinkEnd) -> String {
    format!("link {from} to {to}")
}

impl LinkEnd {
    fn has(&self, site: &NodeSite) -> bool {
        match self {
            LinkEnd::Node(name) => site.name == *name,
            LinkEnd::Zone(zone) => site.zone == *zone,
            LinkEnd::External => false,
        }
    }
}

impl FromStr for LinkEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |name: &&str| !name.is_empty() && !name.contains('/');
        match text.split_once('/') {
            Some(("node", name)) if is_name(&name) => Ok(LinkEnd::Node(name.to_owned())),
            Some(("zone", name)) if is_name(&name) => Ok(LinkEnd::Zone(name.to_owned())),
            None if text == "external" => Ok(LinkEnd::External),
            _ => {
                Err(format!("`{text}` is no end of a link; expected `node/NAME`, `zone/NAME` or `external`"))
            }
        }
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkEnd::Node(name) => write!(f, "node/{name}"),
            LinkEnd::Zone(name) => write!(f, "zone/{name}"),
            LinkEnd::External => f.write_str("external"),
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aspect::Delay => "delay",
            Aspect::Loss => "loss",
            Aspect::Duplication => "duplication",
            Aspect::Reordering => "reordering",
            Aspect::Bandwidth => "bandwidth",
            Aspect::Cut => "cut",
            Aspect::Mtu => "mtu",
        })
    }
}
