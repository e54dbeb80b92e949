//! What is checked after every run, whatever the scenario expects: one promise per file.
//!
//! Each check is a function or a state machine over what was seen: the clients' attempts and records, the brokers' own
//! view of who leads, the containers that ran, and the name servers' answers. None asks a broker anything, takes virtual
//! time, or compares every request with every other. A scenario turns one off by its name (`checks: {NAME: false}`).
//!
//! The checks of records follow published work on checking Kafka and Redpanda: the anomalies of Jepsen's `jepsen.tests.kafka`
//! and of its analyses of Redpanda 21.10.1 and Kafka 3.x, by whose names they call what they find. Left out are cycles of
//! transactions (G0, G1c): the clients of a workload do not read what they write.

pub(super) mod advertised;
pub(super) mod at_most_one;
pub(super) mod consumed;
pub(super) mod dns;
pub(super) mod duplicates;
pub(super) mod identity;
pub(super) mod leader;
pub(super) mod lost;
pub(super) mod placement;
pub(super) mod progress;
#[cfg(test)]
mod sample;
pub(super) mod send_order;
pub(super) mod transactions;

use crate::report::run::Check;
use crate::scenario::Checks;

/// A check that is always made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in scenarios and reports.
    pub name: &'static str,
    /// What has to be so.
    pub promise: &'static str,
    /// The published work or the fact that it follows.
    pub follows: &'static str,
    /// Where to look, or what to change, when it fails.
    pub advice: &'static str,
}

/// Every check, in the order in which reports list them.
pub const RULES: [Rule; 13] = [
    leader::RULE,
    advertised::RULE,
    lost::RULE,
    duplicates::RULE,
    send_order::RULE,
    placement::RULE,
    consumed::POLL_ORDER,
    consumed::ONE_LOG,
    transactions::RULE,
    identity::RULE,
    at_most_one::RULE,
    dns::RULE,
    progress::RULE,
];

/// What a check has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many things were examined.
    pub examined: u64,
    /// How many were not as promised.
    pub violations: u64,
    /// The first of these, in words.
    pub first: Option<String>,
    /// What was left out, and why.
    pub apart: Vec<String>,
}

impl Seen {
    /// One more thing was examined and is as promised.
    pub fn well(&mut self) {
        self.examined += 1;
    }

    /// One more thing was examined and is not; `tell` says how.
    pub fn violated(&mut self, tell: impl FnOnce() -> String) {
        self.examined += 1;
        self.violations += 1;
        self.first.get_or_insert_with(tell);
    }

    /// One more thing was examined.
    pub fn unless(&mut self, sound: bool, tell: impl FnOnce() -> String) {
        if sound { self.well() } else { self.violated(tell) }
    }
}

/// The checks of a report: those that are on and had something to look at.
pub(super) fn report(seen: impl IntoIterator<Item = (Rule, Seen)>, asked: &Checks) -> Vec<Check> {
    let on = seen.into_iter().filter(|(rule, _)| asked.is_on(rule.name));
    let looked_at = on.filter(|(_, seen)| seen.examined > 0 || !seen.apart.is_empty());
    looked_at.map(|(rule, seen)| check_of(rule, &seen)).collect()
}

fn check_of(rule: Rule, seen: &Seen) -> Check {
    let apart: String = seen.apart.iter().map(|apart| format!("; apart: {apart}")).collect();
    let detail = match &seen.first {
        None => format!("{} examined{apart}", seen.examined),
        Some(first) => format!(
            "{} of {} break this; the first: {first}. It follows {}. {}{apart}",
            seen.violations, seen.examined, rule.follows, rule.advice
        ),
    };
    Check { name: format!("{}: {}", rule.name, rule.promise), ok: seen.violations == 0, detail }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own_and_says_all() {
        let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), RULES.len());
        for Rule { name, promise, follows, advice } in RULES {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert!(!promise.is_empty() && !follows.is_empty() && advice.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn a_check_that_is_off_or_saw_nothing_is_not_reported() {
        let mut seen = Seen::default();
        seen.unless(false, || "one is bad".to_owned());
        seen.well();
        let all = || [(leader::RULE, seen.clone()), (dns::RULE, Seen::default())];
        let checks = report(all(), &Checks::default());
        assert_eq!(checks.len(), 1);
        assert!(!checks[0].ok);
        assert!(checks[0].name.starts_with("leader: "), "{}", checks[0].name);
        assert!(checks[0].detail.starts_with("1 of 2 break this; the first: one is bad. It follows "));
        assert_eq!(report(all(), &Checks::default().without("leader")), []);
    }
}
