//! The targets of one load balancer: registered, checked, healthy or not, leaving.
//!
//! A target that is registered is checked after the registration delay; so many equal results change its health. One
//! that leaves gets no new flows, and its old ones go on until the deregistration delay is over (docs.aws.amazon.com,
//! Network Load Balancers, target groups; the other clouds have the same shape with other figures).

use std::collections::BTreeMap;
use std::net::IpAddr;

use hopwise_engine::{Span, Time};

use super::pool::Member;

/// The targets of a load balancer, by name.
#[derive(Debug, Default)]
pub struct Registry {
    targets: BTreeMap<String, Target>,
    /// Those that leave, and when their time is over.
    leaving: BTreeMap<String, Leaving>,
}

#[derive(Debug)]
struct Target {
    member: Member,
    checked_from: Time,
    health: Health,
    /// The last result, and how many in a row it was.
    passed: bool,
    streak: u32,
}

#[derive(Debug)]
struct Leaving {
    address: IpAddr,
    until: Time,
}

/// What the checks say of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// Nothing yet.
    Initial,
    Healthy,
    Unhealthy,
}

/// What happened to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Checks say that it is healthy now.
    Healthy(String),
    /// They say that it is not any more.
    Unhealthy(String, IpAddr),
    /// It leaves; it was healthy.
    Deregistered(String),
}

impl Registry {
    /// Replaces the targets. New ones are checked `registration_delay` from now on.
    pub fn set_members(
        &mut self,
        members: BTreeMap<String, Member>,
        (registration_delay, deregistration_delay): (Span, Span),
        now: Time,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let gone: Vec<String> =
            self.targets.keys().filter(|name| !members.contains_key(*name)).cloned().collect();
        for name in gone {
            let Some(target) = self.targets.remove(&name) else { continue };
            let leaving = Leaving { address: target.member.address, until: now + deregistration_delay };
            if target.health == Health::Healthy {
                events.push(Event::Deregistered(name.clone()));
            }
            self.leaving.insert(name, leaving);
        }
        for (name, member) in members {
            self.leaving.remove(&name);
            let new = Target {
                member: member.clone(),
                checked_from: now + registration_delay,
                health: Health::Initial,
                passed: false,
                streak: 0,
            };
            self.targets.entry(name).or_insert(new).member = member;
        }
        events
    }

    /// The targets that are checked by now.
    pub fn to_check(&self, now: Time) -> Vec<(String, Member)> {
        let due = self.targets.iter().filter(|(_, target)| target.checked_from <= now);
        due.map(|(name, target)| (name.clone(), target.member.clone())).collect()
    }

    /// Counts the result of a check; what has changed by it.
    pub fn count(
        &mut self,
        name: &str,
        passed: bool,
        (healthy_threshold, unhealthy_threshold): (u32, u32),
    ) -> Option<Event> {
        let target = self.targets.get_mut(name)?;
        target.streak = if target.passed == passed { target.streak.saturating_add(1) } else { 1 };
        target.passed = passed;
        let threshold = if passed { healthy_threshold } else { unhealthy_threshold };
        let health = if passed { Health::Healthy } else { Health::Unhealthy };
        if target.health == health || target.streak < threshold {
            return None;
        }
        let before = std::mem::replace(&mut target.health, health);
        match (before, passed) {
            (_, true) => Some(Event::Healthy(name.to_owned())),
            (Health::Initial, false) => None,
            (_, false) => Some(Event::Unhealthy(name.to_owned(), target.member.address)),
        }
    }

    /// How many targets are healthy.
    pub fn healthy_count(&self) -> usize {
        self.targets.values().filter(|target| target.health == Health::Healthy).count()
    }

    /// The names of the healthy targets.
    pub fn healthy(&self) -> impl Iterator<Item = &str> {
        let healthy = self.targets.iter().filter(|(_, target)| target.health == Health::Healthy);
        healthy.map(|(name, _)| name.as_str())
    }

    /// The targets among those that `of` picks that receive new flows: the healthy ones. If there is none and
    /// `fails_open`, those that are known not to be healthy.
    pub fn serving(&self, fails_open: bool, of: impl Fn(&Member) -> bool) -> Vec<&Member> {
        let with = |health: Health| -> Vec<&Member> {
            let targets = self.targets.values().filter(|target| target.health == health);
            targets.map(|target| &target.member).filter(|member| of(member)).collect()
        };
        let healthy = with(Health::Healthy);
        if healthy.is_empty() && fails_open { with(Health::Unhealthy) } else { healthy }
    }

    /// The targets whose time to leave is over, with their addresses.
    pub fn left(&mut self, now: Time) -> Vec<(String, IpAddr)> {
        let over = self.leaving.iter().filter(|(_, leaving)| leaving.until <= now);
        let over: Vec<(String, IpAddr)> =
            over.map(|(name, leaving)| (name.clone(), leaving.address)).collect();
        for (name, _) in &over {
            self.leaving.remove(name);
        }
        over
    }

    /// When the next target's time to leave is over.
    pub fn next_leave(&self) -> Option<Time> {
        self.leaving.values().map(|leaving| leaving.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: (Span, Span) = (Span::from_secs(60), Span::from_secs(300));

    fn member(last: u8) -> Member {
        Member { zone: "a".into(), address: [10, 0, 0, last].into(), ports: BTreeMap::new() }
    }

    fn members(names: &[(&str, u8)]) -> BTreeMap<String, Member> {
        names.iter().map(|(name, last)| ((*name).to_owned(), member(*last))).collect()
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn health_changes_after_as_many_equal_results_as_the_threshold() {
        let mut registry = Registry::default();
        registry.set_members(members(&[("n1", 1)]), DELAYS, at(0));
        let results = [true, true, false, true, true, true, false, true, false, false];
        let changed: Vec<bool> =
            results.into_iter().map(|passed| registry.count("n1", passed, (3, 2)).is_some()).collect();
        assert_eq!(changed, [false, false, false, false, false, true, false, false, false, true]);
        assert_eq!(registry.healthy_count(), 0);
        assert_eq!(registry.count("n9", true, (1, 1)), None);
    }

    #[test]
    fn a_target_is_checked_after_its_registration_and_leaves_after_its_deregistration() {
        let mut registry = Registry::default();
        registry.set_members(members(&[("n1", 1)]), DELAYS, at(0));
        assert!(registry.to_check(at(59)).is_empty());
        assert_eq!(registry.to_check(at(60)).len(), 1);
        assert_eq!(registry.count("n1", true, (1, 1)), Some(Event::Healthy("n1".into())));
        registry.set_members(members(&[("n1", 1), ("n2", 2)]), DELAYS, at(100));
        assert_eq!(registry.to_check(at(100)).len(), 1, "the new one waits");
        let events = registry.set_members(members(&[("n2", 2)]), DELAYS, at(200));
        assert_eq!(events, [Event::Deregistered("n1".into())]);
        assert!(registry.serving(false, |_| true).is_empty(), "no new flows at once");
        assert_eq!(registry.next_leave(), Some(at(500)));
        assert!(registry.left(at(499)).is_empty());
        assert_eq!(registry.left(at(500)), [("n1".to_owned(), [10, 0, 0, 1].into())]);
        assert_eq!(registry.next_leave(), None);
    }

    #[test]
    fn a_target_that_returns_does_not_leave() {
        let mut registry = Registry::default();
        registry.set_members(members(&[("n1", 1)]), DELAYS, at(0));
        registry.set_members(BTreeMap::new(), DELAYS, at(10));
        registry.set_members(members(&[("n1", 1)]), DELAYS, at(20));
        assert!(registry.left(at(1_000)).is_empty());
    }

    #[test]
    fn failing_open_takes_those_that_are_known_to_be_unhealthy() {
        let mut registry = Registry::default();
        registry.set_members(members(&[("n1", 1), ("n2", 2)]), DELAYS, at(0));
        assert!(registry.serving(true, |_| true).is_empty(), "nothing is known yet");
        registry.count("n1", false, (1, 1));
        assert_eq!(registry.serving(true, |_| true), [&member(1)]);
        assert!(registry.serving(false, |_| true).is_empty());
        registry.count("n2", true, (1, 1));
        assert_eq!(registry.serving(true, |_| true), [&member(2)]);
        assert_eq!(registry.serving(true, |member| member.zone == "b"), [] as [&Member; 0]);
    }
}
