//! kube-proxy: Services and EndpointSlices compiled into the NAT rules of one node.
//!
//! A [`Proxy`] belongs to one node and keeps what it has compiled. A change of a Service or of its slices
//! recompiles that Service alone, and the caller is given the rules that went and came, so a change costs the
//! same however many other Services there are. When it is told of a change (and how late) is the caller's
//! business.
//! Left out: IPVS's schedulers other than round robin, and the time that writing many rules takes.
//! Source: kubernetes.md 6.

mod compile;
mod endpoints;
mod facts;
pub mod health;
mod node_ports;
mod node_rules;
mod stale_flows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_fabric::nat::RuleKey;
use hopwise_fabric::nat::rules::DestinationRule;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use endpoints::{Candidate, Selection, UsedBy, select};
pub use facts::{LocalDetector, Mode, NodeFacts, NodePortAddresses};
pub use node_rules::source_rules;
pub use stale_flows::StaleFlows;

use stale_flows::UdpDestination;

/// A Service's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A health check port of the node (kubernetes.md 6.5): 200 while `local_endpoints` is above zero, else 503.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port, open on every address of the node.
    pub port: u16,
    /// The Service it speaks for.
    pub service: ServiceName,
    /// How many ready endpoints of the Service are on the node; terminating ones do not count.
    pub local_endpoints: usize,
}

/// What a change did to the node's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleChange {
    /// Destinations that no longer have a rule.
    pub removed: BTreeSet<RuleKey>,
    /// New rules and rules that replace the one of the same destination.
    pub put: Vec<DestinationRule>,
    /// Addresses that kube-proxy answers for from now on where no rule does (nftables and IPVS mode).
    pub addresses_gained: BTreeSet<IpAddr>,
    /// Addresses that it no longer answers for.
    pub addresses_lost: BTreeSet<IpAddr>,
    /// UDP flows to forget.
    pub stale: StaleFlows,
}

/// The kube-proxy of one node.
#[derive(Clone, Debug)]
pub struct Proxy {
    node: NodeFacts,
    services: BTreeMap<ServiceName, Compiled>,
    /// The rules for a destination, by Service. Two Services may claim one external IP and port; the first by
    /// name has it.
    claims: BTreeMap<RuleKey, Claims>,
    /// The addresses that it answers for, and for how many Services.
    addresses: BTreeMap<IpAddr, usize>,
}

/// The rules of the Services that claim one destination, by their names: nearly always of one alone.
type Claims = Vec<(ServiceName, Arc<DestinationRule>)>;

/// One Service with its slices and what they were compiled to.
#[derive(Clone, Debug, Default)]
struct Compiled {
    service: Option<Arc<Service>>,
    slices: BTreeMap<String, Arc<EndpointSlice>>,
    rules: BTreeSet<RuleKey>,
    health_check: Option<HealthCheck>,
    addresses: BTreeSet<IpAddr>,
    udp: Vec<UdpDestination>,
}

impl Proxy {
    /// A kube-proxy that knows no Service yet.
    pub fn new(node: NodeFacts) -> Self {
        Proxy { node, services: BTreeMap::new(), claims: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// The node's facts.
    pub fn node(&self) -> &NodeFacts {
        &self.node
    }

    /// Tells it of changed Services and slices, all at once: each Service they are about is compiled once.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = ProxyInput>) -> RuleChange {
        let mut touched = BTreeSet::new();
        for change in changes {
            if let Some(name) = self.take_in(change) {
                touched.insert(name);
            }
        }
        let mut rules_before: BTreeMap<RuleKey, Option<Arc<DestinationRule>>> = BTreeMap::new();
        let mut change = RuleChange::default();
        let mut addresses_before = BTreeMap::new();
        for name in touched {
            let mut outcome = self.compile(&name);
            let rules = std::mem::take(&mut outcome.rules);
            let compiled = self.services.get_mut(&name);
            let old = compiled.map(|compiled| std::mem::take(&mut compiled.rules)).unwrap_or_default();
            let new: BTreeSet<RuleKey> = rules.iter().map(RuleKey::of).collect();
            for key in old.union(&new) {
                rules_before.entry(*key).or_insert_with(|| self.claims.get(key).and_then(effective).cloned());
            }
            self.replace_rules(&name, &old, rules);
            self.replace_addresses(&name, &outcome.addresses, &mut addresses_before);
            self.remember(name, new, outcome, &mut change.stale);
        }
        for (address, was_answered) in addresses_before {
            match (was_answered, self.addresses.contains_key(&address)) {
                (false, true) => change.addresses_gained.insert(address),
                (true, false) => change.addresses_lost.insert(address),
                _ => false,
            };
        }
        for (key, before) in rules_before {
            match self.claims.get(&key).and_then(effective) {
                None if before.is_some() => {
                    change.removed.insert(key);
                }
                Some(rule) if before.as_ref() != Some(rule) => change.put.push(DestinationRule::clone(rule)),
                _ => {}
            }
        }
        change
    }

    /// The health check ports of the node, by port.
    pub fn health_checks(&self) -> impl Iterator<Item = &HealthCheck> {
        self.services.values().filter_map(|compiled| compiled.health_check.as_ref())
    }

    fn take_in(&mut self, change: ProxyInput) -> Option<ServiceName> {
        match change {
            ProxyInput::Service(service) => {
                let name = ServiceName::of(&service);
                let compiled = self.services.entry(name.clone()).or_default();
                if compiled.service.as_ref() == Some(&service) {
                    return None;
                }
                compiled.service = Some(service);
                Some(name)
            }
            ProxyInput::ServiceGone(name) => {
                self.services.get_mut(&name)?.service.take()?;
                Some(name)
            }
            ProxyInput::Slice(slice) => {
                let name = ServiceName::of_slice(&slice)?;
                let slice_name = slice.metadata.name.clone().unwrap_or_default();
                self.services.entry(name.clone()).or_default().slices.insert(slice_name, slice);
                Some(name)
            }
            ProxyInput::SliceGone { service, slice } => {
                self.services.get_mut(&service)?.slices.remove(&slice)?;
                Some(service)
            }
        }
    }

    fn compile(&self, name: &ServiceName) -> compile::Outcome {
        let Some(compiled) = self.services.get(name) else { return Default::default() };
        let Some(service) = compiled.service.as_ref() else { return Default::default() };
        let slices: Vec<&EndpointSlice> = compiled.slices.values().map(Arc::as_ref).collect();
        compile::compile(&self.node, name, service, &slices)
    }

    fn replace_rules(&mut self, name: &ServiceName, old: &BTreeSet<RuleKey>, rules: Vec<DestinationRule>) {
        for key in old {
            if let Some(claims) = self.claims.get_mut(key) {
                claims.retain(|(service, _)| service != name);
                if claims.is_empty() {
                    self.claims.remove(key);
                }
            }
        }
        for rule in rules {
            // Within a Service the first port that names a destination has it.
            let claims = self.claims.entry(RuleKey::of(&rule)).or_default();
            if let Err(place) = claims.binary_search_by(|(service, _)| service.cmp(name)) {
                claims.insert(place, (name.clone(), Arc::new(rule)));
            }
        }
    }

    /// Counts a Service's addresses in place of its old ones; `before` is told which of them were answered for.
    fn replace_addresses(
        &mut self,
        name: &ServiceName,
        new: &BTreeSet<IpAddr>,
        before: &mut BTreeMap<IpAddr, bool>,
    ) {
        let compiled = self.services.get_mut(name);
        let old = compiled.map(|compiled| std::mem::take(&mut compiled.addresses)).unwrap_or_default();
        for address in old.union(new) {
            before.entry(*address).or_insert_with(|| self.addresses.contains_key(address));
        }
        for address in new {
            *self.addresses.entry(*address).or_default() += 1;
        }
        for address in old {
            if let Some(count) = self.addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    self.addresses.remove(&address);
                }
            }
        }
    }

    /// Keeps what a Service was compiled to. UDP ports whose endpoints have changed are noted in `stale`.
    fn remember(
        &mut self,
        name: ServiceName,
        rules: BTreeSet<RuleKey>,
        outcome: compile::Outcome,
        stale: &mut StaleFlows,
    ) {
        let Some(compiled) = self.services.get_mut(&name) else { return };
        for destination in outcome.udp.iter().filter(|new| !compiled.udp.contains(new)) {
            stale.add(destination);
        }
        compiled.rules = rules;
        compiled.health_check = outcome.health_check;
        compiled.addresses = outcome.addresses;
        compiled.udp = outcome.udp;
        if compiled.service.is_none() && compiled.slices.is_empty() {
            self.services.remove(&name);
        }
    }
}

/// Something kube-proxy is told.
#[derive(Clone, Debug)]
pub enum ProxyInput {
    /// A Service is new or has changed.
    Service(Arc<Service>),
    /// A Service is gone.
    ServiceGone(ServiceName),
    /// A slice is new or has changed.
    Slice(Arc<EndpointSlice>),
    /// A slice is gone.
    SliceGone {
        /// The Service it was for.
        service: ServiceName,
        /// The slice's name.
        slice: String,
    },
}

impl ServiceName {
    /// The name of a Service.
    pub fn of(service: &Service) -> Self {
        let meta = &service.metadata;
        let namespace = meta.namespace.clone().unwrap_or_else(|| "default".into());
        ServiceName { namespace, name: meta.name.clone().unwrap_or_default() }
    }

    /// The Service a slice is for, by its label.
    pub fn of_slice(slice: &EndpointSlice) -> Option<Self> {
        let label = crate::controllers::endpoint_slices::SERVICE_NAME_LABEL;
        let name = slice.metadata.labels.as_ref()?.get(label)?.clone();
        let namespace = slice.metadata.namespace.clone().unwrap_or_else(|| "default".into());
        Some(ServiceName { namespace, name })
    }
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The rule that counts when several Services claim one destination.
fn effective(claims: &Claims) -> Option<&Arc<DestinationRule>> {
    claims.first().map(|(_, rule)| rule)
}
