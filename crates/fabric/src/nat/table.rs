//! Destination rules, ready for look-up: one hash look-up per new flow, whatever the number of rules.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::nat::rules::{
    Branch, Destination, DestinationRule, Protocol, Refusal, RuleSet, SourceMatch, SourceRule, UnclaimedRule,
    Verdict,
};

/// Names a destination rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleKey {
    /// The exact address; `None` for any address of the device.
    address: Option<IpAddr>,
    protocol: Protocol,
    port: u16,
}

impl RuleKey {
    /// The key of the rule for this destination. The two kinds of [`Destination::AnyLocal`] are one key.
    pub fn new(destination: Destination, protocol: Protocol, port: u16) -> Self {
        let address = match destination {
            Destination::Address(address) => Some(address),
            Destination::AnyLocal { .. } => None,
        };
        RuleKey { address, protocol, port }
    }

    /// The key of `rule`.
    pub fn of(rule: &DestinationRule) -> Self {
        RuleKey::new(rule.destination, rule.protocol, rule.port)
    }
}

/// What the rules say about a new flow.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    /// The rule for its destination.
    pub rule: &'a DestinationRule,
    /// The line of it that decides.
    pub branch: &'a Branch,
}

/// The rules of a device.
#[derive(Default)]
pub struct RuleTable {
    destinations: FxHashMap<RuleKey, DestinationRule>,
    sources: Vec<SourceRule>,
    /// What happens to single addresses that no destination rule names.
    unclaimed_addresses: FxHashMap<IpAddr, Refusal>,
    /// The same for networks, which are few, the smallest first.
    unclaimed_networks: Vec<UnclaimedRule>,
}

impl RuleTable {
    /// A table of these rules. Of two rules for one destination the later one counts.
    pub fn new(rules: RuleSet) -> Self {
        let destinations = rules.destinations.into_iter().map(|rule| (RuleKey::of(&rule), rule)).collect();
        let mut table = RuleTable { destinations, sources: rules.sources, ..RuleTable::default() };
        rules.unclaimed.into_iter().for_each(|rule| table.set_unclaimed(rule));
        table
    }

    /// Adds or replaces what happens to addresses of a network that no destination rule names.
    pub fn set_unclaimed(&mut self, rule: UnclaimedRule) {
        if is_single(&rule.network) {
            self.unclaimed_addresses.insert(rule.network.addr(), rule.refusal);
            return;
        }
        self.unclaimed_networks.retain(|other| other.network != rule.network);
        self.unclaimed_networks.push(rule);
        self.unclaimed_networks.sort_by_key(|rule| std::cmp::Reverse(rule.network.prefix_len()));
    }

    /// Removes what [`RuleTable::set_unclaimed`] has set for that network; says whether there was something.
    pub fn remove_unclaimed(&mut self, network: &IpNet) -> bool {
        if is_single(network) {
            return self.unclaimed_addresses.remove(&network.addr()).is_some();
        }
        let before = self.unclaimed_networks.len();
        self.unclaimed_networks.retain(|rule| rule.network != *network);
        self.unclaimed_networks.len() < before
    }

    /// What happens to a packet to `address` that no destination rule names.
    pub fn find_unclaimed(&self, address: IpAddr) -> Option<&Refusal> {
        self.unclaimed_addresses.get(&address).or_else(|| {
            let rule = self.unclaimed_networks.iter().find(|rule| rule.network.contains(&address))?;
            Some(&rule.refusal)
        })
    }

    /// Adds or replaces the rule for one destination.
    pub fn set_rule(&mut self, rule: DestinationRule) {
        self.destinations.insert(RuleKey::of(&rule), rule);
    }

    /// Removes the rule for one destination; says whether there was one.
    pub fn remove_rule(&mut self, key: RuleKey) -> bool {
        self.destinations.remove(&key).is_some()
    }

    /// Replaces all source rules.
    pub fn set_source_rules(&mut self, sources: Vec<SourceRule>) {
        self.sources = sources;
    }

    /// How many destination rules there are.
    pub fn len(&self) -> usize {
        self.destinations.len()
    }

    /// Whether there is no destination rule.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// The rule for packets of IP protocol `number` to `destination`; `is_local`: the address is the device's.
    pub fn find(
        &self,
        destination: SocketAddr,
        number: u8,
        is_local: bool,
    ) -> Option<(RuleKey, &DestinationRule)> {
        let protocol = Protocol::from_number(number)?;
        let port = destination.port();
        let exact = RuleKey { address: Some(destination.ip()), protocol, port };
        if let Some(rule) = self.destinations.get(&exact) {
            return Some((exact, rule));
        }
        if !is_local {
            return None;
        }
        let local = RuleKey { address: None, protocol, port };
        let rule = self.destinations.get(&local)?;
        let with_loopback = rule.destination == Destination::AnyLocal { loopback: true };
        (with_loopback || !destination.ip().is_loopback()).then_some((local, rule))
    }

    /// What the rules would do with the first packet of a flow from `source` to `destination`, without drawing a
    /// target. `is_local`: the destination is an address of the device; `is_own`: the source is.
    pub fn ask(
        &self,
        source: IpAddr,
        destination: SocketAddr,
        number: u8,
        is_local: bool,
        is_own: bool,
    ) -> Option<Ruling<'_>> {
        let (_, rule) = self.find(destination, number, is_local)?;
        Some(Ruling { rule, branch: branch(rule, source, is_own)? })
    }

    /// The first source rule for a packet from `source` to `destination`.
    pub fn find_source(&self, source: IpAddr, destination: IpAddr) -> Option<&SourceRule> {
        self.sources.iter().find(|rule| {
            let excepted = rule.except_destinations.iter().any(|network| network.contains(&destination));
            rule.source.contains(&source) && !excepted
        })
    }
}

fn is_single(network: &IpNet) -> bool {
    network.prefix_len() == network.max_prefix_len()
}

/// The verdict of the first branch of `rule` for a packet from `source`; `is_own`: it comes from the device's own
/// processes or addresses.
pub(crate) fn verdict(rule: &DestinationRule, source: IpAddr, is_own: bool) -> Option<&Verdict> {
    branch(rule, source, is_own).map(|branch| &branch.verdict)
}

fn branch(rule: &DestinationRule, source: IpAddr, is_own: bool) -> Option<&Branch> {
    let matches = |branch: &SourceMatch| match branch {
        SourceMatch::Any => true,
        SourceMatch::In(networks) => networks.iter().any(|network| network.contains(&source)),
        SourceMatch::NotIn(networks) => !networks.iter().any(|network| network.contains(&source)),
        SourceMatch::ThisDevice => is_own,
    };
    rule.branches.iter().find(|branch| matches(&branch.source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::protocol;

    fn rule(destination: Destination, port: u16, label: &str) -> DestinationRule {
        let branches = vec![
            Branch { source: SourceMatch::ThisDevice, verdict: Verdict::Accept },
            Branch {
                source: SourceMatch::NotIn(vec!["10.0.0.0/8".parse().expect("network")]),
                verdict: Verdict::Drop { reason: "outside".into() },
            },
        ];
        DestinationRule { destination, protocol: Protocol::Tcp, port, branches, label: label.into() }
    }

    fn found<'a>(table: &'a RuleTable, to: &str, is_local: bool) -> Option<&'a str> {
        let to = to.parse().expect("address");
        table.find(to, protocol::TCP, is_local).map(|(_, rule)| &*rule.label)
    }

    #[test]
    fn an_exact_address_comes_before_any_local_one_and_loopback_only_counts_if_asked() {
        let exact = Destination::Address([10, 0, 0, 1].into());
        let mut table = RuleTable::default();
        table.set_rule(rule(Destination::AnyLocal { loopback: false }, 80, "local"));
        table.set_rule(rule(exact, 80, "exact"));
        assert_eq!(found(&table, "10.0.0.1:80", true), Some("exact"));
        assert_eq!(found(&table, "10.0.0.2:80", true), Some("local"));
        assert_eq!(found(&table, "10.0.0.2:80", false), None);
        assert_eq!(found(&table, "127.0.0.1:80", true), None);
        table.set_rule(rule(Destination::AnyLocal { loopback: true }, 80, "loopback"));
        assert_eq!(found(&table, "127.0.0.1:80", true), Some("loopback"));
        assert_eq!(table.len(), 2);
        assert!(table.remove_rule(RuleKey::new(exact, Protocol::Tcp, 80)));
        assert_eq!(found(&table, "10.0.0.1:80", true), Some("loopback"));
    }

    #[test]
    fn addresses_that_no_rule_names_are_refused_by_the_smallest_network() {
        let mut table = RuleTable::default();
        for (network, reason) in [("10.96.0.0/12", "service network"), ("10.96.0.10/32", "cluster IP")] {
            let refusal = Refusal::Drop { reason: reason.into() };
            table.set_unclaimed(UnclaimedRule { network: network.parse().expect("network"), refusal });
        }
        let reason = |table: &RuleTable, address: [u8; 4]| match table.find_unclaimed(address.into()) {
            Some(Refusal::Drop { reason } | Refusal::Reject { reason }) => reason.to_string(),
            None => String::new(),
        };
        assert_eq!(reason(&table, [10, 96, 0, 10]), "cluster IP");
        assert_eq!(reason(&table, [10, 96, 0, 11]), "service network");
        assert_eq!(reason(&table, [192, 0, 2, 1]), "");
        assert!(table.remove_unclaimed(&"10.96.0.10/32".parse().expect("network")));
        assert_eq!(reason(&table, [10, 96, 0, 10]), "service network");
        assert!(table.remove_unclaimed(&"10.96.0.0/12".parse().expect("network")));
        assert_eq!(reason(&table, [10, 96, 0, 10]), "");
    }

    #[test]
    fn the_first_branch_whose_source_matches_decides() {
        let rule = rule(Destination::AnyLocal { loopback: false }, 80, "");
        let verdict = |source: [u8; 4], is_own| verdict(&rule, source.into(), is_own);
        assert_eq!(verdict([192, 0, 2, 1], true), Some(&Verdict::Accept));
        assert!(matches!(verdict([192, 0, 2, 1], false), Some(Verdict::Drop { .. })));
        assert_eq!(verdict([10, 0, 2, 1], false), None);
    }
}
