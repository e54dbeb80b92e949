//! The other side of a rule: selected pods, or a network.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_fabric::Peers;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};

use super::{World, addresses, has_network};
use crate::store::matches_selector;

/// The peers of a rule of a policy in `namespace`. No peers, or an empty list, means everybody.
pub fn of(peers: Option<&[NetworkPolicyPeer]>, namespace: &str, world: &World) -> Vec<Peers> {
    let peers = peers.unwrap_or_default();
    if peers.is_empty() {
        return vec![Peers::Any];
    }
    let of_peer = |peer: &NetworkPolicyPeer| match &peer.ip_block {
        Some(block) => network(block),
        None => {
            let pods = selected(peer, namespace, world).flat_map(|pod| addresses(pod));
            Some(Peers::Addresses(Arc::new(pods.collect::<BTreeSet<IpAddr>>())))
        }
    };
    peers.iter().filter_map(of_peer).collect()
}

/// The pods that a peer selects: by their labels in the namespaces that it selects, or in the policy's own.
pub fn selected<'a>(
    peer: &'a NetworkPolicyPeer,
    namespace: &'a str,
    world: &'a World,
) -> impl Iterator<Item = &'a Arc<Pod>> {
    let in_namespace = move |pod: &Pod| {
        let own = pod.metadata.namespace.as_deref().unwrap_or("default");
        match &peer.namespace_selector {
            None => own == namespace,
            Some(selector) => {
                world.namespaces.get(own).is_some_and(|labels| matches_selector(selector, Some(labels)))
            }
        }
    };
    let labelled = move |pod: &Pod| {
        let selector = peer.pod_selector.as_ref();
        selector.is_none_or(|selector| matches_selector(selector, pod.metadata.labels.as_ref()))
    };
    let is_selector = peer.ip_block.is_none();
    world.pods.iter().filter(move |pod| is_selector && has_network(pod) && in_namespace(pod) && labelled(pod))
}

/// A network that cannot be read allows nobody; admission rejects it.
fn network(block: &IPBlock) -> Option<Peers> {
    let parsed = |text: &String| text.trim().parse::<IpNet>().ok();
    let except = block.except.iter().flatten().filter_map(parsed).collect();
    Some(Peers::Network { network: parsed(&block.cidr)?, except })
}
