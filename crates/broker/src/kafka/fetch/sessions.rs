//! Fetch sessions: what a client asks for again and again is remembered, and only changes travel (KIP-227).
//!
//! A pure state machine: time and fresh ids are arguments. The cache is bounded in sessions and partitions. A
//! session gives way to a new one when it has not been used for a while, or when it is smaller and has had
//! its time (Kafka: `FetchSessionCache`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use tokio::time::Instant;
use uuid::Uuid;

/// Kafka: `max.incremental.fetch.session.cache.slots`.
const SESSIONS_MAX: usize = 1000;
/// Partitions of all sessions; what bounds the cache's memory.
const PARTITIONS_MAX: usize = 500_000;
/// Epoch of a request that opens a session.
const INITIAL: i32 = 0;
/// Epoch of a request without a session, or one that closes it.
const FINAL: i32 = -1;

/// A topic as the client names it: by name before version 13, by id from then on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TopicKey {
    Name(TopicName),
    Id(Uuid),
}

/// What is asked of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub topic: TopicKey,
    pub partition: i32,
    pub fetch_offset: i64,
    pub bytes_max: i32,
    /// -1 if the client does not say.
    pub current_leader_epoch: i32,
    /// -1 if the client does not say.
    pub last_fetched_epoch: i32,
}

/// What a request says about its session.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    pub session_id: i32,
    pub session_epoch: i32,
    pub partitions: Vec<Asked>,
    pub forgotten: Vec<(TopicKey, i32)>,
}

/// What a request is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    /// 0 without a session.
    pub session_id: i32,
    /// Whether only changes are answered.
    pub incremental: bool,
    pub partitions: Vec<Asked>,
}

/// What a partition's answer says, as far as sessions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub high_watermark: i64,
    pub start_offset: i64,
    /// It has records, an error, or something else that must be told.
    pub must_tell: bool,
    pub error: bool,
}

type PartitionKey = (TopicKey, i32);

struct Remembered {
    asked: Asked,
    /// What the client was told last.
    high_watermark: i64,
    start_offset: i64,
}

struct Session {
    epoch: i32,
    created: Instant,
    used: Instant,
    /// By turn: partitions that were just answered come last, so that all get their share.
    partitions: BTreeMap<u64, Remembered>,
    turns: BTreeMap<PartitionKey, u64>,
    next_turn: u64,
}

/// The sessions of one broker.
pub(crate) struct Sessions {
    eviction: Duration,
    sessions: BTreeMap<i32, Session>,
    by_use: BTreeSet<(Instant, i32)>,
    partitions: usize,
}

impl Sessions {
    /// `eviction`: how long a session that is not used is safe (redpanda: `fetch_session_eviction_timeout_ms`).
    pub fn new(eviction: Duration) -> Sessions {
        Sessions { eviction, sessions: BTreeMap::new(), by_use: BTreeSet::new(), partitions: 0 }
    }

    /// What a request is to read. `fresh_id` is taken if a session is opened and nobody has it.
    ///
    /// # Errors
    /// A session that is not known, or another epoch of it.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        opening: Opening,
        fresh_id: i32,
    ) -> Result<Context, ResponseError> {
        match opening.session_epoch {
            FINAL => {
                self.remove(opening.session_id);
                Ok(Context { session_id: 0, incremental: false, partitions: opening.partitions })
            }
            INITIAL => {
                self.remove(opening.session_id);
                let session_id = self.open(now, &opening.partitions, fresh_id).unwrap_or(0);
                Ok(Context { session_id, incremental: false, partitions: opening.partitions })
            }
            epoch => self.go_on(now, epoch, opening),
        }
    }

    fn go_on(&mut self, now: Instant, epoch: i32, opening: Opening) -> Result<Context, ResponseError> {
        let id = opening.session_id;
        let session = self.sessions.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if !session.names_alike(&opening) {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        opening.forgotten.iter().for_each(|key| session.forget(key));
        opening.partitions.into_iter().for_each(|asked| session.remember(asked));
        self.partitions = self.partitions + session.partitions.len() - before;
        session.epoch = epoch.checked_add(1).unwrap_or(1);
        self.by_use.remove(&(session.used, id));
        session.used = now;
        self.by_use.insert((now, id));
        let partitions: Vec<Asked> =
            session.partitions.values().map(|remembered| remembered.asked.clone()).collect();
        if partitions.is_empty() || self.partitions > PARTITIONS_MAX {
            // Kafka closes a session without partitions; one that outgrows the cache goes on without it.
            self.remove(id);
            return Ok(Context { session_id: 0, incremental: false, partitions });
        }
        Ok(Context { session_id: id, incremental: true, partitions })
    }

    /// Takes note of the answers, in the order of the context's partitions, and tells which are to be sent.
    pub(super) fn finish(&mut self, context: &Context, answers: &[Answered]) -> Vec<bool> {
        let Some(session) = self.sessions.get_mut(&context.session_id) else {
            return vec![true; answers.len()];
        };
        let pairs = context.partitions.iter().zip(answers);
        pairs.map(|(asked, answered)| session.tells(asked, answered) || !context.incremental).collect()
    }

    fn open(&mut self, now: Instant, partitions: &[Asked], fresh_id: i32) -> Option<i32> {
        if partitions.is_empty() || fresh_id <= 0 || self.sessions.contains_key(&fresh_id) {
            return None;
        }
        let mut session = Session {
            epoch: INITIAL + 1,
            created: now,
            used: now,
            partitions: BTreeMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
        };
        partitions.iter().for_each(|asked| session.remember(asked.clone()));
        if !self.make_room(now, session.partitions.len()) {
            return None;
        }
        self.partitions += session.partitions.len();
        self.by_use.insert((now, fresh_id));
        self.sessions.insert(fresh_id, session);
        Some(fresh_id)
    }

    /// Whether a session of so many partitions fits, after others gave way.
    fn make_room(&mut self, now: Instant, partitions: usize) -> bool {
        let full = |cache: &Sessions| {
            cache.sessions.len() >= SESSIONS_MAX || cache.partitions + partitions > PARTITIONS_MAX
        };
        while full(self) {
            let Some((used, oldest)) = self.by_use.first().copied() else { return false };
            let victim = if now.saturating_duration_since(used) > self.eviction {
                Some(oldest)
            } else {
                let smaller = self.sessions.iter().filter(|(_, session)| {
                    session.partitions.len() < partitions
                        && now.saturating_duration_since(session.created) > self.eviction
                });
                smaller.min_by_key(|(id, session)| (session.partitions.len(), **id)).map(|(id, _)| *id)
            };
            let Some(victim) = victim else { return false };
            self.remove(victim);
        }
        true
    }

    fn remove(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partitions -= session.partitions.len();
            self.by_use.remove(&(session.used, id));
        }
    }
}

impl Session {
    /// A session's topics all have names, or all ids.
    fn names_alike(&self, opening: &Opening) -> bool {
        let by_id = |key: &TopicKey| matches!(key, TopicKey::Id(_));
        let own = self.partitions.values().next().map(|remembered| by_id(&remembered.asked.topic));
        let keys = opening.partitions.iter().map(|asked| &asked.topic);
        let mut keys = keys.chain(opening.forgotten.iter().map(|(key, _)| key));
        own.is_none_or(|own| keys.all(|key| by_id(key) == own))
    }

    fn remember(&mut self, asked: Asked) {
        let key = (asked.topic.clone(), asked.partition);
        if let Some(remembered) = self.turns.get(&key).and_then(|turn| self.partitions.get_mut(turn)) {
            remembered.asked = asked;
            return;
        }
        self.turns.insert(key, self.next_turn);
        let unknown = Remembered { asked, high_watermark: -1, start_offset: -1 };
        self.partitions.insert(self.next_turn, unknown);
        self.next_turn += 1;
    }

    fn forget(&mut self, key: &PartitionKey) {
        if let Some(turn) = self.turns.remove(key) {
            self.partitions.remove(&turn);
        }
    }

    fn tells(&mut self, asked: &Asked, answered: &Answered) -> bool {
        let key = (asked.topic.clone(), asked.partition);
        let Some(turn) = self.turns.get(&key).copied() else { return true };
        let Some(remembered) = self.partitions.get_mut(&turn) else { return true };
        let changed = remembered.high_watermark != answered.high_watermark
            || remembered.start_offset != answered.start_offset;
        // After an error the next good answer is told whatever it says.
        remembered.high_watermark = if answered.error { -1 } else { answered.high_watermark };
        remembered.start_offset = answered.start_offset;
        if answered.must_tell
            && !answered.error
            && let Some(remembered) = self.partitions.remove(&turn)
        {
            self.partitions.insert(self.next_turn, remembered);
            self.turns.insert(key, self.next_turn);
            self.next_turn += 1;
        }
        changed || answered.must_tell
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    const EVICTION: Duration = Duration::from_secs(60);

    fn asked(topic: u128, partition: i32) -> Asked {
        Asked {
            topic: TopicKey::Id(Uuid::from_u128(topic)),
            partition,
            fetch_offset: 0,
            bytes_max: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn opening(session_id: i32, session_epoch: i32, partitions: Vec<Asked>) -> Opening {
        Opening { session_id, session_epoch, partitions, forgotten: Vec::new() }
    }

    fn quiet(high_watermark: i64) -> Answered {
        Answered { high_watermark, start_offset: 0, must_tell: false, error: false }
    }

    fn records(high_watermark: i64) -> Answered {
        Answered { must_tell: true, ..quiet(high_watermark) }
    }

    fn failed() -> Answered {
        Answered { high_watermark: -1, start_offset: -1, must_tell: true, error: true }
    }

    #[test]
    fn only_changes_are_told_and_the_answered_go_last() {
        let (mut cache, now) = (Sessions::new(EVICTION), Instant::now());
        let full = cache.begin(now, opening(0, 0, vec![asked(1, 0), asked(1, 1)]), 7).unwrap();
        assert_eq!((full.session_id, full.incremental), (7, false));
        assert_eq!(cache.finish(&full, &[quiet(3), records(4)]), [true, true]);

        let next = cache.begin(now, opening(7, 1, vec![]), 8).unwrap();
        assert!(next.incremental);
        let order: Vec<i32> = next.partitions.iter().map(|asked| asked.partition).collect();
        assert_eq!(order, [0, 1]);
        assert_eq!(cache.finish(&next, &[records(3), quiet(4)]), [true, false]);

        let next = cache.begin(now, opening(7, 2, vec![]), 8).unwrap();
        let order: Vec<i32> = next.partitions.iter().map(|asked| asked.partition).collect();
        assert_eq!(order, [1, 0]);
        assert_eq!(cache.finish(&next, &[quiet(5), quiet(3)]), [true, false]);
    }

    #[test]
    fn an_error_is_told_every_time_and_so_is_what_follows_it() {
        let (mut cache, now) = (Sessions::new(EVICTION), Instant::now());
        let context = cache.begin(now, opening(0, 0, vec![asked(1, 0)]), 7).unwrap();
        cache.finish(&context, &[quiet(3)]);
        for (epoch, answer, told) in
            [(1, failed(), true), (2, failed(), true), (3, quiet(3), true), (4, quiet(3), false)]
        {
            let context = cache.begin(now, opening(7, epoch, vec![]), 8).unwrap();
            assert_eq!(cache.finish(&context, &[answer]), [told], "epoch {epoch}");
        }
    }

    #[test]
    fn partitions_are_changed_added_and_forgotten() {
        let (mut cache, now) = (Sessions::new(EVICTION), Instant::now());
        cache.begin(now, opening(0, 0, vec![asked(1, 0), asked(1, 1)]), 7).unwrap();
        let moved = Asked { fetch_offset: 9, ..asked(1, 0) };
        let mut change = opening(7, 1, vec![moved.clone(), asked(2, 5)]);
        change.forgotten = vec![(asked(1, 1).topic, 1), (asked(9, 9).topic, 9)];
        let context = cache.begin(now, change, 8).unwrap();
        assert_eq!(context.partitions, [moved, asked(2, 5)]);
        assert_eq!(cache.partitions, 2);
    }

    #[test]
    fn wrong_ids_epochs_and_kinds_of_names_are_refused() {
        let (mut cache, now) = (Sessions::new(EVICTION), Instant::now());
        cache.begin(now, opening(0, 0, vec![asked(1, 0)]), 7).unwrap();
        let unknown = cache.begin(now, opening(6, 1, vec![]), 8);
        assert_eq!(unknown, Err(ResponseError::FetchSessionIdNotFound));
        let wrong = cache.begin(now, opening(7, 2, vec![]), 8);
        assert_eq!(wrong, Err(ResponseError::InvalidFetchSessionEpoch));
        let name = TopicKey::Name(TopicName(StrBytes::from_static_str("orders")));
        let mixed = cache.begin(now, opening(7, 1, vec![Asked { topic: name, ..asked(1, 0) }]), 8);
        assert_eq!(mixed, Err(ResponseError::FetchSessionTopicIdError));
        // Epoch -1 closes.
        let closed = cache.begin(now, opening(7, -1, vec![asked(1, 0)]), 8).unwrap();
        assert_eq!((closed.session_id, cache.sessions.len(), cache.partitions), (0, 0, 0));
        assert!(cache.by_use.is_empty());
    }

    #[test]
    fn a_session_without_partitions_ends() {
        let (mut cache, now) = (Sessions::new(EVICTION), Instant::now());
        cache.begin(now, opening(0, 0, vec![asked(1, 0)]), 7).unwrap();
        let mut change = opening(7, 1, vec![]);
        change.forgotten = vec![(asked(1, 0).topic, 0)];
        assert_eq!(cache.begin(now, change, 8).unwrap().session_id, 0);
        assert!(cache.sessions.is_empty());
    }

    #[test]
    fn the_cache_is_bounded_and_the_unused_give_way() {
        let (mut cache, start) = (Sessions::new(EVICTION), Instant::now());
        for id in 1..=SESSIONS_MAX as i32 {
            assert_eq!(cache.begin(start, opening(0, 0, vec![asked(1, 0)]), id).unwrap().session_id, id);
        }
        let more = |cache: &mut Sessions, now, count: i32, id| {
            let partitions = (0..count).map(|partition| asked(1, partition)).collect();
            cache.begin(now, opening(0, 0, partitions), id).unwrap().session_id
        };
        let soon = start + Duration::from_secs(59);
        assert_eq!(more(&mut cache, soon, 9, 5000), 0);
        // Session 1 is in use; the others have not been used for too long.
        let later = start + Duration::from_secs(61);
        cache.begin(later, opening(1, 1, vec![]), 0).unwrap();
        assert_eq!(more(&mut cache, later, 1, 5000), 5000);
        assert!(!cache.sessions.contains_key(&2) && cache.sessions.contains_key(&1));
        // All are in use: only a larger one may take a smaller one's place.
        for id in 3..=SESSIONS_MAX as i32 {
            cache.begin(later, opening(id, 1, vec![]), 0).unwrap();
        }
        assert_eq!(more(&mut cache, later, 1, 5001), 0);
        assert_eq!(more(&mut cache, later, 2, 5001), 5001);
        assert_eq!(cache.sessions.len(), SESSIONS_MAX);
        assert_eq!(cache.by_use.len(), SESSIONS_MAX);
    }
}
