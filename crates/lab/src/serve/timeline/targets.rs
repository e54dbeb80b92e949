//! Which brokers a fault is about.

use std::collections::BTreeSet;

use hopwise_kube::cluster::LinkEnd;

use crate::scenario::{ObjectName, PodName, Way};
use crate::serve::links::End;
use crate::serve::planned::PlannedBroker;

/// What is wrong, and what is expected.
pub(super) type Refused = (String, String);

/// The brokers that are served.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a>(pub &'a [PlannedBroker]);

impl Targets<'_> {
    /// The broker of a pod.
    pub fn pod(self, name: &PodName) -> Result<Vec<usize>, Refused> {
        let wanted = name.to_string();
        self.chosen(|broker| broker.pod == wanted, &format!("pod {wanted}"))
    }

    /// The brokers on a node.
    pub fn node(self, name: &str) -> Result<Vec<usize>, Refused> {
        self.chosen(|broker| broker.node.as_deref() == Some(name), &format!("node {name}"))
    }

    /// The brokers in a zone.
    pub fn zone(self, name: &str) -> Result<Vec<usize>, Refused> {
        self.chosen(|broker| broker.zone.as_deref() == Some(name), &format!("zone {name}"))
    }

    /// The broker of a claim.
    pub fn claim(self, claim: &ObjectName) -> Result<Vec<usize>, Refused> {
        let wanted = format!("{}/{}", claim.namespace, claim.name);
        self.chosen(|broker| broker.claim.as_deref() == Some(&wanted), &claim.to_string())
    }

    /// The brokers of a StatefulSet, in the order of their ordinals.
    pub fn set(self, object: &ObjectName) -> Result<Vec<usize>, Refused> {
        let prefix = format!("{}/{}-", object.namespace, object.name);
        let ordinal = |broker: &PlannedBroker| broker.pod.strip_prefix(&prefix)?.parse::<u32>().ok();
        let mut hit = self.chosen(|broker| ordinal(broker).is_some(), &object.to_string())?;
        hit.sort_by_key(|index| ordinal(&self.0[*index]));
        Ok(hit)
    }

    /// The ways of a link, each in one direction.
    pub fn way(self, way: &Way) -> Result<Vec<(End, End)>, Refused> {
        let mut ways = Vec::new();
        for (from, to) in way.directions() {
            let to = self.ends(to)?;
            for from in self.ends(from)? {
                ways.extend(to.iter().filter(|to| **to != from).map(|to| (from, *to)));
            }
        }
        Ok(ways)
    }

    /// Every way to and from some brokers.
    pub fn around(self, brokers: Vec<usize>) -> Vec<(End, End)> {
        let all: Vec<End> = (0..self.0.len()).map(End::Broker).chain([End::Outside]).collect();
        let hit = brokers.into_iter().map(End::Broker);
        let ways = hit.flat_map(|hit| {
            let others: Vec<End> = all.iter().copied().filter(|end| *end != hit).collect();
            others.into_iter().flat_map(move |other| [(hit, other), (other, hit)])
        });
        ways.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn ends(self, end: &LinkEnd) -> Result<Vec<End>, Refused> {
        Ok(match end {
            LinkEnd::Node(name) => self.node(name)?.into_iter().map(End::Broker).collect(),
            LinkEnd::Zone(name) => self.zone(name)?.into_iter().map(End::Broker).collect(),
            LinkEnd::External => vec![End::Outside],
        })
    }

    fn chosen(self, is_hit: impl Fn(&PlannedBroker) -> bool, name: &str) -> Result<Vec<usize>, Refused> {
        let hit: Vec<usize> =
            self.0.iter().enumerate().filter(|(_, broker)| is_hit(broker)).map(|(index, _)| index).collect();
        if !hit.is_empty() {
            return Ok(hit);
        }
        let pods: BTreeSet<&str> = self.0.iter().map(|broker| broker.pod.as_str()).collect();
        let pods = pods.into_iter().collect::<Vec<_>>().join(", ");
        Err((format!("{name} has no broker that is served"), format!("where one of {pods} is")))
    }
}
