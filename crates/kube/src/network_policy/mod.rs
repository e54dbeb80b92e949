//! NetworkPolicies compiled into what the addresses of pods let through.
//!
//! A pod that no policy selects for a direction lets everything through in it. Once one does, only what one of them
//! allows passes; a flow has to be allowed by its source's policies and by its destination's. Addresses are compared
//! after the destination was translated and before the source is, as filters on the node see them, so that a client
//! outside keeps its address on the node that it enters, and is a node beyond it.
//! A node reaches its own pods whatever they say (kubelets probe), answers pass, and what changes affects new flows
//! only. hostNetwork pods are nodes to policies: none selects them.
//! Source: the Kubernetes page "Network Policies", KEP-2079 (endPort).

mod peers;
mod ports;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_fabric::{Allowance, Allowances, Isolation};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};

use crate::store::pod_state;
use crate::store::{Labels, matches_selector};

/// What policies are about: all of them, and all pods and namespaces.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The policies.
    pub policies: Vec<Arc<NetworkPolicy>>,
    /// The pods.
    pub pods: Vec<Arc<Pod>>,
    /// The labels of the namespaces, by name.
    pub namespaces: BTreeMap<String, Labels>,
}

/// A direction that policies speak about, from the selected pod's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

impl World {
    /// The labels that policies see on a namespace: its own, and its name.
    pub fn labels_of(namespace: &Namespace) -> Labels {
        let mut labels = namespace.metadata.labels.clone().unwrap_or_default();
        let name = namespace.metadata.name.clone().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".into(), name);
        labels
    }

    /// What pods let through, by their nodes and addresses. A pod that no policy selects is not in it.
    pub fn compile(&self) -> BTreeMap<String, BTreeMap<IpAddr, Isolation>> {
        let policies: Vec<Compiled<'_>> =
            self.policies.iter().filter_map(|it| Compiled::of(it, self)).collect();
        let mut isolated: BTreeMap<String, BTreeMap<IpAddr, Isolation>> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| has_network(pod)) {
            let Some(node) = pod_state::node_name(pod) else { continue };
            let selecting: Vec<&Compiled<'_>> =
                policies.iter().filter(|policy| policy.selects(pod)).collect();
            let isolation = Isolation {
                inward: allowances(pod, &selecting, Side::Ingress),
                outward: allowances(pod, &selecting, Side::Egress),
            };
            if isolation != Isolation::default() {
                let of_node = isolated.entry(node.to_owned()).or_default();
                of_node.extend(addresses(pod).map(|address| (address, isolation.clone())));
            }
        }
        isolated
    }
}

/// A policy, and what its rules allow that does not depend on the selected pod.
struct Compiled<'a> {
    policy: &'a NetworkPolicy,
    spec: &'a NetworkPolicySpec,
    /// Per rule: the ports of the selected pod are resolved for each pod.
    ingress: Vec<ports::Ingress<'a>>,
    egress: Vec<Allowance>,
}

impl<'a> Compiled<'a> {
    fn of(policy: &'a NetworkPolicy, world: &World) -> Option<Compiled<'a>> {
        let spec = policy.spec.as_ref()?;
        let namespace = policy.metadata.namespace.as_deref().unwrap_or("default");
        let ingress = spec.ingress.iter().flatten().map(|rule| ports::Ingress {
            peers: peers::of(rule.from.as_deref(), namespace, world),
            ports: rule.ports.as_deref().unwrap_or_default(),
        });
        let egress = spec.egress.iter().flatten();
        let egress = egress.flat_map(|rule| {
            ports::egress(rule.to.as_deref(), rule.ports.as_deref().unwrap_or_default(), namespace, world)
        });
        Some(Compiled { policy, spec, ingress: ingress.collect(), egress: egress.collect() })
    }

    fn selects(&self, pod: &Pod) -> bool {
        let selector = self.spec.pod_selector.as_ref();
        pod.metadata.namespace == self.policy.metadata.namespace
            && selector.is_none_or(|selector| matches_selector(selector, pod.metadata.labels.as_ref()))
    }

    /// Whether the policy speaks about a direction. Without `policyTypes` it is about ingress, and about egress if it
    /// has egress rules.
    fn is_about(&self, side: Side) -> bool {
        match (&self.spec.policy_types, side) {
            (Some(types), Side::Ingress) if !types.is_empty() => types.iter().any(|it| it == "Ingress"),
            (Some(types), Side::Egress) if !types.is_empty() => types.iter().any(|it| it == "Egress"),
            (_, Side::Ingress) => true,
            (_, Side::Egress) => self.spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
        }
    }

    fn name(&self) -> String {
        let meta = &self.policy.metadata;
        format!("{}/{}", meta.namespace.as_deref().unwrap_or("default"), meta.name.as_deref().unwrap_or(""))
    }
}

/// What the policies that select a pod allow in one direction; `None` if none speaks about it.
fn allowances(pod: &Pod, selecting: &[&Compiled<'_>], side: Side) -> Option<Allowances> {
    let about: Vec<&&Compiled<'_>> = selecting.iter().filter(|policy| policy.is_about(side)).collect();
    if about.is_empty() {
        return None;
    }
    let allowed = about.iter().flat_map(|policy| match side {
        Side::Ingress => policy.ingress.iter().flat_map(|rule| rule.towards(pod)).collect::<Vec<_>>(),
        Side::Egress => policy.egress.clone(),
    });
    let names: Vec<String> = about.iter().map(|policy| policy.name()).collect();
    let (direction, peer) = match side {
        Side::Ingress => ("ingress", "source"),
        Side::Egress => ("egress", "destination"),
    };
    let (policies, isolate, allow) = match names.len() {
        1 => ("NetworkPolicy", "isolates", "does not allow"),
        _ => ("NetworkPolicies", "isolate", "none of them allows"),
    };
    let meta = &pod.metadata;
    let reason = format!(
        "{policies} {} {isolate} pod {}/{} for {direction}, and {allow} this {peer} and port",
        names.join(", "),
        meta.namespace.as_deref().unwrap_or("default"),
        meta.name.as_deref().unwrap_or(""),
    );
    Some(Allowances { allowed: allowed.collect(), reason: reason.into() })
}

/// Whether the pod has a network of its own and uses it still.
fn has_network(pod: &Pod) -> bool {
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    !host_network && !pod_state::is_finished(pod)
}

fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    pod_state::addresses(pod).into_iter().filter_map(|text| text.parse().ok())
}
