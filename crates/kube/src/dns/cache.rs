//! CoreDNS's `cache` plugin, which is also what NodeLocal DNSCache is made of.
//!
//! Answers are kept for the least time to live of their records, between a minimum and a maximum; what is kept counts
//! down. Left out: prefetch, serve_stale, DNSSEC; a full cache drops its oldest entry (CoreDNS: one at random).
//! Source: CoreDNS, plugin/cache/README.md.

use std::collections::{BTreeMap, VecDeque};

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::{Span, Time};

use super::answer::{Answer, is_within};

/// Entries by default (256 shards of 39).
const CAPACITY: usize = 9984;
/// Longest time for answers and for denials without a limit of their own, in seconds.
const TTL_MAX_S: u32 = 3600;
const DENIAL_TTL_MAX_S: u32 = 1800;
/// Shortest time, in seconds.
const TTL_MIN_S: u32 = 5;
/// How long a server's failure is kept, in seconds.
const SERVER_FAILURE_S: u32 = 5;

/// What is kept of one kind of answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Entries at most.
    pub capacity: usize,
    /// Longest time, in seconds.
    pub ttl_max_s: u32,
    /// Shortest time, in seconds.
    pub ttl_min_s: u32,
    /// Zones of which nothing is kept (`disable`).
    pub disabled: Vec<String>,
}

/// The settings of the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Zones it is for; empty means all of the server block.
    pub zones: Vec<String>,
    /// Answers with records.
    pub success: Class,
    /// NXDOMAIN and NODATA.
    pub denial: Class,
    /// How long SERVFAIL is kept, in seconds.
    pub server_failure_s: u32,
    /// Kept answers show their whole time to live.
    pub keep_ttl: bool,
}

impl CacheOptions {
    /// `cache TTL`, or `cache` alone.
    pub fn new(ttl_s: Option<u32>) -> CacheOptions {
        let class = |most_s| Class {
            capacity: CAPACITY,
            ttl_max_s: ttl_s.unwrap_or(most_s),
            ttl_min_s: TTL_MIN_S.min(ttl_s.unwrap_or(most_s)),
            disabled: Vec::new(),
        };
        CacheOptions {
            zones: Vec::new(),
            success: class(TTL_MAX_S),
            denial: class(DENIAL_TTL_MAX_S),
            server_failure_s: SERVER_FAILURE_S,
            keep_ttl: false,
        }
    }

    /// NodeLocal DNSCache: answers 30 s, denials 5 s (kubernetes.md 5.3; its Corefile has `success 9984 30` and
    /// `denial 9984 5`).
    pub fn node_local() -> CacheOptions {
        let mut options = CacheOptions::new(Some(30));
        (options.denial.ttl_max_s, options.denial.ttl_min_s) = (5, 5);
        options
    }
}

type Key = (String, RecordType);

#[derive(Clone, Debug, Default)]
struct Kept {
    entries: BTreeMap<Key, Entry>,
    /// Keys from the oldest on; one that was replaced stands here twice.
    order: VecDeque<(Key, Time)>,
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Answer,
    stored: Time,
    ttl_s: u32,
}

/// One server's cache.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    options: CacheOptions,
    success: Kept,
    denial: Kept,
}

impl Cache {
    pub fn new(options: CacheOptions) -> Cache {
        Cache { options, success: Kept::default(), denial: Kept::default() }
    }

    /// The answer that is kept for a question, with what is left of its time.
    pub fn get(&self, now: Time, name: &Name, kind: RecordType) -> Option<Answer> {
        let key = key(name, kind);
        let alive = |kept: &Kept| {
            let entry = kept.entries.get(&key)?;
            let age_s =
                u32::try_from((now - entry.stored).as_nanos() / Span::from_secs(1).as_nanos()).ok()?;
            let left_s = entry.ttl_s.checked_sub(age_s).filter(|left_s| *left_s > 0)?;
            let mut answer = entry.answer.clone();
            if !self.options.keep_ttl {
                answer.records_mut().for_each(|record| record.ttl = left_s);
            }
            Some(answer)
        };
        alive(&self.denial).or_else(|| alive(&self.success))
    }

    /// Keeps an answer, if it is one to keep, and returns it as the client gets it.
    pub fn put(&mut self, now: Time, name: &Name, kind: RecordType, mut answer: Answer) -> Answer {
        let zones = &self.options.zones;
        let covered = zones.is_empty() || is_within(name, zones);
        let success = answer.code == ResponseCode::NoError && !answer.answers.is_empty();
        let class = if success { &self.options.success } else { &self.options.denial };
        let cacheable = matches!(
            answer.code,
            ResponseCode::NoError | ResponseCode::NXDomain | ResponseCode::ServFail | ResponseCode::NotImp
        );
        if !covered || answer.truncated || !cacheable || is_within(name, &class.disabled) {
            return answer;
        }
        let least = answer.records_mut().map(|record| record.ttl).min();
        let ttl_s = match answer.code {
            ResponseCode::ServFail | ResponseCode::NotImp => self.options.server_failure_s,
            _ => least.unwrap_or(class.ttl_min_s).max(class.ttl_min_s).min(class.ttl_max_s),
        };
        if !self.options.keep_ttl {
            answer.records_mut().for_each(|record| record.ttl = ttl_s);
        }
        let (kept, capacity) = match success {
            true => (&mut self.success, self.options.success.capacity),
            false => (&mut self.denial, self.options.denial.capacity),
        };
        kept.insert(key(name, kind), Entry { answer: answer.clone(), stored: now, ttl_s }, capacity);
        if success {
            self.denial.entries.remove(&key(name, kind));
        }
        answer
    }
}

impl Kept {
    fn insert(&mut self, key: Key, entry: Entry, capacity: usize) {
        self.order.push_back((key.clone(), entry.stored));
        self.entries.insert(key, entry);
        while self.entries.len() > capacity || self.order.len() > 2 * capacity.max(1) {
            let Some((oldest, stored)) = self.order.pop_front() else { return };
            if self.entries.get(&oldest).is_some_and(|entry| entry.stored == stored) {
                self.entries.remove(&oldest);
            }
        }
    }
}

fn key(name: &Name, kind: RecordType) -> Key {
    (name.to_ascii().to_ascii_lowercase(), kind)
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::super::answer::address;
    use super::*;

    fn answer(name: &Name, ttl_s: u32) -> Answer {
        let mut answer = Answer::new(ResponseCode::NoError, Reason::Outside);
        answer.add(name, ttl_s, address([10, 0, 0, 1].into()));
        answer
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn times_to_live_are_bounded_and_count_down() {
        let name = Name::from_ascii("a.example.").unwrap();
        for (ttl_s, shown) in [(300, 30), (12, 12), (1, 5)] {
            let mut cache = Cache::new(CacheOptions::new(Some(30)));
            let given = cache.put(at(0), &name, RecordType::A, answer(&name, ttl_s));
            assert_eq!(given.answers[0].ttl, shown);
            let later = cache.get(at(3), &name, RecordType::A).map(|kept| kept.answers[0].ttl);
            assert_eq!(later, Some(shown - 3));
            assert!(cache.get(at(u64::from(shown)), &name, RecordType::A).is_none());
        }
    }

    #[test]
    fn disabled_zones_and_cut_answers_are_not_kept() {
        let inside = Name::from_ascii("A.Cluster.Local.").unwrap();
        let mut options = CacheOptions::new(Some(30));
        options.success.disabled = vec!["cluster.local.".to_owned()];
        let mut cache = Cache::new(options);
        cache.put(at(0), &inside, RecordType::A, answer(&inside, 30));
        assert!(cache.get(at(0), &inside, RecordType::A).is_none());
        cache.put(at(0), &inside, RecordType::A, Answer::new(ResponseCode::NXDomain, Reason::NoReverse));
        assert!(cache.get(at(4), &inside, RecordType::A).is_some());
        let outside = Name::from_ascii("a.example.").unwrap();
        let cut = Answer { truncated: true, ..answer(&outside, 30) };
        cache.put(at(0), &outside, RecordType::A, cut);
        assert!(cache.get(at(0), &outside, RecordType::A).is_none());
    }

    #[test]
    fn a_full_cache_forgets_its_oldest() {
        let mut options = CacheOptions::new(None);
        options.success.capacity = 2;
        let mut cache = Cache::new(options);
        let names: Vec<Name> =
            ["a.", "b.", "c."].iter().map(|name| Name::from_ascii(name).unwrap()).collect();
        for (second, name) in names.iter().enumerate() {
            cache.put(at(second as u64), name, RecordType::A, answer(name, 60));
        }
        let kept: Vec<bool> =
            names.iter().map(|name| cache.get(at(3), name, RecordType::A).is_some()).collect();
        assert_eq!(kept, [false, true, true]);
    }
}
