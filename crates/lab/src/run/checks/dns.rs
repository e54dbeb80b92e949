//! The cluster's name servers answer with the endpoints that are ready, once the lag is over that the cluster declares.
//!
//! For every headless Service, and every pod's own name below it, each server has to give exactly the addresses that are
//! ready, [`DNS_LAG`] after the last change; an answer that a server has cached may be as old as its time to live. The time
//! in which a server cannot know does not count: while it is cut off from the API server or the API server is down (it goes
//! on with what it knew, kubernetes.md 9.10), while a fault keeps it from learning, and until it has synced.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hopwise_engine::{Span, Time};

use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "dns",
    promise: "the cluster's DNS answers with the ready endpoints, once its lag is over",
    follows: "kubernetes.md 5.1 (records of headless Services: the ready addresses of their EndpointSlices)",
    advice: "A server that goes on with old addresses sends clients to pods that are gone; compare its zone with the \
             EndpointSlices.",
};

/// What the names have to give, and since when.
#[derive(Debug)]
pub(in super::super) struct Names {
    lag: Span,
    wanted: BTreeMap<String, Wanted>,
    /// Names that have changed and were not compared since.
    due: BTreeSet<(Time, String)>,
    seen: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    addresses: BTreeSet<IpAddr>,
    since: Time,
}

/// What a server gave for a name.
#[derive(Clone, Debug)]
pub(in super::super) struct Given {
    /// The server's pod.
    pub server: String,
    /// The addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// Since when the server has been able to learn; `None` if it cannot now.
    pub learns_since: Option<Time>,
    /// How old a cached answer may be; zero if it is not cached.
    pub cached: Span,
}

impl Names {
    /// Names that are given `lag` until they have to be right.
    pub fn new(lag: Span) -> Names {
        Names { lag, wanted: BTreeMap::new(), due: BTreeSet::new(), seen: Seen::default() }
    }

    /// The addresses that the names of one Service have to give from `now` on; empty if they have none any more.
    pub fn wanted(&mut self, now: Time, names: BTreeMap<String, BTreeSet<IpAddr>>) {
        for (name, addresses) in names {
            let known = self.wanted.get(&name);
            if known.is_none_or(|known| known.addresses != addresses) {
                self.wanted.insert(name.clone(), Wanted { addresses, since: now });
                self.due.insert((now + self.lag, name));
            }
        }
    }

    /// When the next name is to be compared.
    pub fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A name that is to be compared by now.
    pub fn take_due(&mut self, now: Time) -> Option<String> {
        let (at, name) = self.due.pop_first()?;
        if at > now {
            self.due.insert((at, name));
            return None;
        }
        Some(name)
    }

    /// The servers' answers to a name that was due.
    pub fn given(&mut self, now: Time, name: &str, given: &[Given]) {
        let Some(wanted) = self.wanted.get(name).cloned() else { return };
        let mut again: Option<Time> = None;
        for given in given {
            let ready = given.learns_since.map(|since| since.max(wanted.since) + self.lag + given.cached);
            match ready {
                Some(ready) if ready <= now => self.seen.unless(given.addresses == wanted.addresses, || {
                    format!(
                        "{name} is {} for {} at {now}, and its ready endpoints have been {} since {}",
                        list(&given.addresses),
                        given.server,
                        list(&wanted.addresses),
                        wanted.since
                    )
                }),
                // It is looked at again when it has to be right, or when it may have learned.
                Some(ready) => again = Some(again.map_or(ready, |again| again.max(ready))),
                None => again = again.or(Some(now + RELOOK)),
            }
        }
        if let Some(again) = again {
            self.due.insert((again, name.to_owned()));
        }
    }

    pub fn end(self) -> Seen {
        self.seen
    }
}

/// From one look at a server that cannot learn to the next.
const RELOOK: Span = Span::from_secs(5);

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    format!("[{}]", addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::sample::at;
    use super::*;

    fn addresses(last: &[u8]) -> BTreeSet<IpAddr> {
        last.iter().map(|last| IpAddr::from([10, 1, 0, *last])).collect()
    }

    fn given(last: &[u8], learns_since: Option<u64>, cached: u64) -> [Given; 1] {
        [Given {
            server: "coredns-0".to_owned(),
            addresses: addresses(last),
            learns_since: learns_since.map(at),
            cached: Span::from_secs(cached),
        }]
    }

    /// A name that has been 10.1.0.1 since 10 s.
    fn names() -> Names {
        let mut names = Names::new(Span::from_secs(1));
        names.wanted(at(10), [("s.n".to_owned(), addresses(&[1]))].into());
        names
    }

    #[test]
    fn a_server_has_its_lag_and_then_has_to_be_right() {
        let mut names = names();
        assert_eq!((names.next(), names.take_due(at(10))), (Some(at(11)), None));
        assert_eq!(names.take_due(at(11)).as_deref(), Some("s.n"));
        names.given(at(11), "s.n", &given(&[1], Some(0), 0));
        assert_eq!((names.next(), names.end()), (None, Seen { examined: 1, ..Seen::default() }));
    }

    #[test]
    fn a_server_that_keeps_old_addresses_is_told() {
        let mut names = names();
        names.take_due(at(11));
        names.given(at(11), "s.n", &given(&[1, 2], Some(0), 0));
        let seen = names.end();
        assert_eq!((seen.examined, seen.violations), (1, 1));
        let first = seen.first.expect("one is told");
        assert!(first.starts_with("s.n is [10.1.0.1, 10.1.0.2] for coredns-0 at 11"), "{first}");
    }

    #[test]
    fn time_in_which_it_cannot_learn_and_time_of_its_cache_do_not_count() {
        let mut names = names();
        names.take_due(at(11));
        names.given(at(11), "s.n", &given(&[2], None, 0));
        assert_eq!(names.next(), Some(at(16)));
        names.take_due(at(16));
        names.given(at(16), "s.n", &given(&[2], Some(16), 0));
        assert_eq!(names.next(), Some(at(17)));
        names.take_due(at(17));
        names.given(at(17), "s.n", &given(&[2], Some(16), 30));
        assert_eq!(names.next(), Some(at(47)));
        names.take_due(at(47));
        names.given(at(47), "s.n", &given(&[2], Some(16), 0));
        assert_eq!((names.next(), names.end().violations), (None, 1));
    }
}
