//! The Kafka clients of the HTTP Proxy: one per user, the least recently used go.
//!
//! Source: redpanda.md 2.1 (`client_cache_max_size`, `client_keep_alive`).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Clients by user. Nobody who holds one loses it when it goes.
pub(super) struct ClientCache<C> {
    size_max: usize,
    keep_alive: Duration,
    entries: BTreeMap<Option<(String, String)>, (C, Instant)>,
}

impl<C: Clone> ClientCache<C> {
    pub fn new(size_max: usize, keep_alive: Duration) -> ClientCache<C> {
        ClientCache { size_max, keep_alive, entries: BTreeMap::new() }
    }

    /// The client of a user and password, or of nobody; made if there is none.
    pub fn get(&mut self, now: Instant, user: Option<(String, String)>, make: impl FnOnce() -> C) -> C {
        self.entries.retain(|_, (_, used)| now.saturating_duration_since(*used) < self.keep_alive);
        if let Some((client, used)) = self.entries.get_mut(&user) {
            *used = now;
            return client.clone();
        }
        while self.entries.len() >= self.size_max.max(1) {
            let oldest = self.entries.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(user, _)| user.clone()) else { break };
            self.entries.remove(&oldest);
        }
        let client = make();
        self.entries.insert(user, (client.clone(), now));
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clients_are_kept_while_they_are_used_and_there_is_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut cache = ClientCache::new(2, Duration::from_secs(10));
        let user = |name: &str| Some((name.to_owned(), "secret".to_owned()));
        let mut made = 0;
        let mut get = |now, user| {
            cache.get(now, user, || {
                made += 1;
                made
            })
        };
        assert_eq!((get(at(0), None), get(at(1), user("a")), get(at(2), None)), (1, 2, 1));
        assert_eq!(get(at(3), user("b")), 3, "a goes");
        assert_eq!((get(at(4), None), get(at(5), user("a"))), (1, 4));
        assert_eq!(get(at(16), None), 5, "nobody asked for ten seconds");
        let other = Some(("a".to_owned(), "other".to_owned()));
        assert_eq!(get(at(16), other), 6, "another password is another user");
    }
}
