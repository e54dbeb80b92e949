//! kube-proxy's rules put into a node: what one change adds and removes, or all at once.
//!
//! Source: kubernetes.md 6.3 (the CNI's masquerade), 6.6 (INVALID packets, UDP), 6.7 (modes).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::Span;
use hopwise_fabric::LinuxNode;
use hopwise_fabric::nat::Timeouts;
use hopwise_fabric::nat::rules::{Refusal, RuleSet, SourceRule, UnclaimedRule};
use ipnet::IpNet;

use super::{Mode, NodeFacts, Proxy, RuleChange, effective};

/// How long IPVS remembers an idle TCP connection (ip_vs_proto_tcp: `IP_VS_TCP_S_ESTABLISHED`). Later packets find
/// no connection, and the node answers them itself: with a reset.
const IPVS_TCP_TIMEOUT: Span = Span::from_secs(900);

impl Proxy {
    /// All rules, for a device that is set up anew.
    pub fn rule_set(&self) -> RuleSet {
        let networks = self.node.service_networks.iter().filter(|_| self.node.mode == Mode::Nftables);
        let unallocated =
            networks.map(|network| UnclaimedRule { network: *network, refusal: unallocated(network) });
        let answered = self.addresses.keys().filter(|_| self.node.mode == Mode::Nftables);
        RuleSet {
            destinations: self.claims.values().filter_map(effective).map(|rule| (**rule).clone()).collect(),
            sources: source_rules(&self.node),
            unclaimed: unallocated.chain(answered.map(|address| unused_ports(*address))).collect(),
        }
    }

    /// Puts all rules into `node` in place of those it has, and sets what kube-proxy sets when it starts.
    pub fn install(&self, node: &mut LinuxNode) {
        node.set_rules(self.rule_set());
        node.set_drop_invalid(self.node.mode == Mode::Iptables && !self.node.tcp_be_liberal);
        node.set_only_syn_opens(self.node.mode == Mode::Ipvs);
        let mut conntrack = *node.conntrack().config();
        conntrack.timeouts.tcp_established = match self.node.mode {
            Mode::Ipvs => IPVS_TCP_TIMEOUT,
            Mode::Iptables | Mode::Nftables => Timeouts::default().tcp_established,
        };
        node.conntrack_mut().set_config(conntrack);
        let bound: BTreeSet<IpAddr> = match self.node.mode {
            Mode::Ipvs => self.addresses.keys().copied().collect(),
            Mode::Iptables | Mode::Nftables => BTreeSet::new(),
        };
        for address in node.bound_addresses().difference(&bound).copied().collect::<Vec<_>>() {
            node.unbind_address(address);
        }
        bound.into_iter().for_each(|address| node.bind_address(address));
    }
}

impl RuleChange {
    /// Carries the change out on a node whose kube-proxy runs in `mode`. Flows that there are go on as before, except
    /// for UDP flows to endpoints that serve no longer, which are forgotten.
    pub fn carry_out(self, node: &mut LinuxNode, mode: Mode) {
        for key in self.removed {
            node.remove_rule(key);
        }
        for rule in self.put {
            node.set_rule(rule);
        }
        for address in self.addresses_lost {
            node.remove_unclaimed(&address.into());
            node.unbind_address(address);
        }
        for address in self.addresses_gained {
            match mode {
                Mode::Iptables => {}
                Mode::Nftables => node.set_unclaimed(unused_ports(address)),
                Mode::Ipvs => node.bind_address(address),
            }
        }
        if !self.stale.is_empty() {
            node.conntrack_mut().delete_where(|flow| self.stale.covers(flow));
        }
    }
}

fn unused_ports(address: IpAddr) -> UnclaimedRule {
    let reason =
        format!("no Service has this port of the cluster IP {address} (kube-proxy in nftables mode)");
    UnclaimedRule { network: address.into(), refusal: Refusal::Reject { reason: reason.into() } }
}

fn unallocated(network: &IpNet) -> Refusal {
    let reason =
        format!("no Service has this address of the service network {network} (kube-proxy in nftables mode)");
    Refusal::Drop { reason: reason.into() }
}

/// The CNI's masquerade: what pods of this node send to addresses outside the pod network leaves with the
/// node's address (kubernetes.md 6.3, "most CNIs").
pub fn source_rules(node: &NodeFacts) -> Vec<SourceRule> {
    if !node.masquerade_pods {
        return Vec::new();
    }
    let same_family = |network: &IpNet, other: &IpNet| network.addr().is_ipv4() == other.addr().is_ipv4();
    node.pod_networks
        .iter()
        .map(|network| SourceRule {
            source: *network,
            except_destinations: node
                .cluster_pod_networks
                .iter()
                .chain(&node.unmasqueraded_networks)
                .filter(|other| same_family(network, other))
                .copied()
                .chain(std::iter::once(multicast_of(network.addr())))
                .collect(),
            label: Arc::from(format!("pod network of {}, outwards", node.name)),
        })
        .collect()
}

/// The multicast network of an address's family: never masqueraded.
fn multicast_of(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4)),
        IpAddr::V6(_) => {
            IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8))
        }
    }
}
