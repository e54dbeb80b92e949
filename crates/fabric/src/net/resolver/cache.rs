//! What an application keeps of its look-ups: Java's `InetAddress` cache. It goes with the process.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hopwise_engine::Time;

use super::{LookupError, ResolverKind};

type Found = Result<Vec<IpAddr>, LookupError>;

/// The look-ups that a process has kept.
#[derive(Clone, Debug, Default)]
pub struct ApplicationCache {
    entries: BTreeMap<String, (Time, Found)>,
}

impl ApplicationCache {
    /// What is kept of a host, if it is still good.
    pub fn get(&self, now: Time, host: &str) -> Option<Found> {
        let (until, found) = self.entries.get(host)?;
        (now < *until).then(|| found.clone())
    }

    /// Keeps the result of a look-up for as long as this kind of resolver does.
    pub fn put(&mut self, now: Time, kind: ResolverKind, host: &str, found: &Found) {
        let Some((positive, negative)) = kind.cache_times() else { return };
        let until = now + if found.is_ok() { positive } else { negative };
        self.entries.insert(host.to_owned(), (until, found.clone()));
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;

    use super::*;

    #[test]
    fn java_keeps_addresses_for_thirty_seconds_and_failures_for_ten() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let mut cache = ApplicationCache::default();
        cache.put(at(0), ResolverKind::Jvm, "a", &Ok(vec![[10, 0, 0, 1].into()]));
        cache.put(at(0), ResolverKind::Jvm, "b", &Err(LookupError::NotFound("b".into())));
        cache.put(at(0), ResolverKind::Glibc, "c", &Ok(Vec::new()));
        let kept = |second| ["a", "b", "c"].map(|host| cache.get(at(second), host).is_some());
        assert_eq!([kept(9), kept(10), kept(30)], [[true, true, false], [true, false, false], [false; 3]]);
    }
}
