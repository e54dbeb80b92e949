//! Which node has the address of a load balancer without an instance, and which nodes the router spreads it over.
//!
//! Source: MetalLB, "MetalLB in layer 2 mode" (each speaker sorts the candidates by a hash of node and address; the first
//! one announces, so that a node that leaves moves only the addresses it had) and its node and endpoint filters.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

/// The nodes of `alive` that may announce: with the Local policy those that have an endpoint, otherwise all, as long as
/// there is an endpoint anywhere.
pub fn candidates<'a>(
    alive: impl IntoIterator<Item = &'a str>,
    with_endpoints: &BTreeSet<String>,
    is_local: bool,
) -> Vec<&'a str> {
    if with_endpoints.is_empty() {
        return Vec::new();
    }
    alive.into_iter().filter(|node| !is_local || with_endpoints.contains(*node)).collect()
}

/// The one of `candidates` that announces `address`.
pub fn elect<'a>(address: IpAddr, candidates: &[&'a str]) -> Option<&'a str> {
    let rank = |node: &str| Sha256::digest(format!("{node}#{address}"));
    candidates.iter().copied().min_by_key(|node| (rank(node), *node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_leaves_moves_only_the_addresses_that_it_had() {
        let all = ["n1", "n2", "n3"];
        let mut owners = BTreeSet::new();
        for last in 1..=50 {
            let address = IpAddr::from([192, 0, 2, last]);
            let owner = elect(address, &all).expect("somebody");
            owners.insert(owner);
            for gone in all {
                let rest: Vec<&str> = all.into_iter().filter(|node| *node != gone).collect();
                let next = elect(address, &rest).expect("somebody");
                assert_eq!(next == owner, gone != owner, "{address} without {gone}");
            }
        }
        assert_eq!(owners.len(), 3, "the addresses are spread");
        assert_eq!(elect([192, 0, 2, 1].into(), &[]), None);
    }

    #[test]
    fn the_local_policy_asks_for_an_endpoint_of_the_node_and_the_other_for_any() {
        let with: BTreeSet<String> = ["n2".to_owned()].into();
        assert_eq!(candidates(["n1", "n2"], &with, true), ["n2"]);
        assert_eq!(candidates(["n1", "n2"], &with, false), ["n1", "n2"]);
        assert!(candidates(["n1", "n2"], &BTreeSet::new(), false).is_empty());
    }
}
