//! Client quotas: how much a user or client may produce, fetch and change per second (KIP-13, KIP-546, KIP-599).
//!
//! A pure token bucket per quota that holds: it fills at the quota's rate up to a second's worth, and may be
//! overdrawn; a client that overdraws it is told to wait, and not read from, until it is full of debt no more
//! (KIP-219). Left out: shares of the processors' time (`request_percentage`), which depend on the machine.

pub(super) mod alter;
pub(super) mod describe;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use super::principal::Principal;
use crate::cluster::quotas::{QuotaEntity, QuotaName};

/// What can be limited; units per second are bytes, bytes, partitions.
pub(super) const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
pub(super) const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
pub(super) const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Why a strict client is refused.
pub(super) const MUTATIONS_EXCEEDED: &str =
    "the quota of changes to topics is used up; ask again after the time of the throttle";
const KEYS: [&str; 3] = [PRODUCER_BYTE_RATE, CONSUMER_BYTE_RATE, CONTROLLER_MUTATION_RATE];
/// Longest time that a client is told to wait (Redpanda: `max_kafka_throttle_delay_ms`).
const THROTTLE_MAX: Duration = Duration::from_secs(30);
/// How much a bucket holds, in time at its rate.
const BURST: Duration = Duration::from_secs(1);
/// Buckets that are kept; clients beyond share one.
const BUCKETS_MAX: usize = 10_000;
/// The user name of a client that has not authenticated (Kafka: `KafkaPrincipal.ANONYMOUS`).
const ANONYMOUS: &str = "ANONYMOUS";

/// The limits of the cluster's state.
type Limits = BTreeMap<QuotaEntity, BTreeMap<String, f64>>;

/// Who shares a bucket: the limited thing, the user and the client, as far as the quota distinguishes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Scope {
    key: &'static str,
    user: Option<String>,
    client: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// The buckets of a broker.
#[derive(Default)]
pub(super) struct Buckets {
    buckets: BTreeMap<Scope, Bucket>,
}

impl Bucket {
    fn full(rate: f64, now: Instant) -> Bucket {
        Bucket { tokens: rate * BURST.as_secs_f64(), filled: now }
    }

    fn fill(&mut self, rate: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * rate).min(rate * BURST.as_secs_f64());
        self.filled = now;
    }

    /// How long until there is no debt.
    fn debt(&self, rate: f64) -> Duration {
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.tokens / rate).unwrap_or(THROTTLE_MAX).min(THROTTLE_MAX)
    }
}

impl Buckets {
    /// Takes an amount at a rate per second; tells how long the client has to wait for it.
    fn take(&mut self, scope: Scope, rate: f64, amount: f64, now: Instant) -> Duration {
        let bucket = self.bucket(scope, rate, now);
        bucket.fill(rate, now);
        bucket.tokens -= amount;
        bucket.debt(rate)
    }

    fn bucket(&mut self, scope: Scope, rate: f64, now: Instant) -> &mut Bucket {
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&scope) {
            // Whoever has been silent for the longest wait that there is has no debt left.
            self.buckets.retain(|_, bucket| now.saturating_duration_since(bucket.filled) < THROTTLE_MAX);
        }
        let crowded = self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&scope);
        let scope = if crowded { Scope { key: scope.key, ..Scope::default() } } else { scope };
        self.buckets.entry(scope).or_insert_with(|| Bucket::full(rate, now))
    }
}

fn name(name: &str) -> Option<QuotaName> {
    Some(QuotaName::Name(name.to_owned()))
}

/// The quota that holds for a client: the most particular one (Kafka: `ClientQuotaManager`, with Redpanda's
/// prefixes after the client ids).
fn limit(limits: &Limits, key: &'static str, user: &str, client: &str) -> Option<(Scope, f64)> {
    let users = [name(user), Some(QuotaName::Default), None];
    users.into_iter().find_map(|entity_user| {
        let scope_user = entity_user.is_some().then(|| user.to_owned());
        let of = |entity: QuotaEntity, scope_client: Option<String>| {
            let rate = *limits.get(&entity)?.get(key)?;
            Some((Scope { key, user: scope_user.clone(), client: scope_client }, rate))
        };
        let entity = QuotaEntity { user: entity_user.clone(), ..QuotaEntity::default() };
        let exact = QuotaEntity { client_id: name(client), ..entity.clone() };
        let default = QuotaEntity { client_id: Some(QuotaName::Default), ..entity.clone() };
        of(exact, Some(client.to_owned()))
            .or_else(|| {
                let prefix = longest_prefix(limits, key, &entity, client)?;
                of(QuotaEntity { client_id_prefix: name(&prefix), ..entity.clone() }, Some(prefix))
            })
            .or_else(|| of(default, Some(client.to_owned())))
            // Nobody in particular is limited by an entity without a user and a client.
            .or_else(|| entity.user.is_some().then(|| of(entity.clone(), None)).flatten())
    })
}

fn longest_prefix(limits: &Limits, key: &str, like: &QuotaEntity, client: &str) -> Option<String> {
    let prefix = |(entity, values): (&QuotaEntity, &BTreeMap<String, f64>)| match &entity.client_id_prefix {
        Some(QuotaName::Name(prefix))
            if entity.user == like.user && client.starts_with(prefix) && values.contains_key(key) =>
        {
            Some(prefix.clone())
        }
        _ => None,
    };
    limits.iter().filter_map(prefix).max_by_key(String::len)
}

/// Charges a request; the connection is muted, and the milliseconds are for the answer.
pub(super) fn charge(session: &Session, key: &'static str, amount: usize) -> i32 {
    let Some((scope, rate)) = of_session(session, key) else { return 0 };
    let wait = session.node.kafka.quotas().take(scope, rate, amount as f64, Instant::now());
    session.throttle(wait)
}

/// Charges changes to topics. A strict client is refused instead while it is in debt (KIP-599).
///
/// # Errors
/// The client has to wait for so many milliseconds before it may ask again.
pub(super) fn charge_mutations(session: &Session, partitions: usize, strict: bool) -> Result<i32, i32> {
    let Some((scope, rate)) = of_session(session, CONTROLLER_MUTATION_RATE) else { return Ok(0) };
    let now = Instant::now();
    let mut buckets = session.node.kafka.quotas();
    let debt = buckets.take(scope.clone(), rate, 0.0, now);
    if strict && !debt.is_zero() {
        return Err(session.throttle(debt));
    }
    let wait = buckets.take(scope, rate, partitions as f64, now);
    Ok(session.throttle(wait))
}

fn of_session(session: &Session, key: &'static str) -> Option<(Scope, f64)> {
    session.node.with_cluster(|cluster| {
        let limits = &cluster.state.quotas;
        if limits.is_empty() {
            return None;
        }
        let user = match session.principal() {
            Principal::User(name) => name,
            Principal::Anonymous => ANONYMOUS.to_owned(),
        };
        limit(limits, key, &user, &session.client_id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(user: Option<&str>, client: Option<&str>) -> QuotaEntity {
        let part = |part: Option<&str>| {
            part.map(|part| if part == "*" { QuotaName::Default } else { QuotaName::Name(part.to_owned()) })
        };
        QuotaEntity { user: part(user), client_id: part(client), client_id_prefix: None }
    }

    fn limits(entities: &[QuotaEntity]) -> Limits {
        let values = |rate: f64| BTreeMap::from([(PRODUCER_BYTE_RATE.to_owned(), rate)]);
        entities.iter().zip(1..).map(|(entity, rate)| (entity.clone(), values(rate.into()))).collect()
    }

    #[test]
    fn the_most_particular_quota_holds() {
        let order = [
            entity(Some("u"), Some("c")),
            QuotaEntity { client_id_prefix: name("c"), ..entity(Some("u"), None) },
            entity(Some("u"), Some("*")),
            entity(Some("u"), None),
            entity(Some("*"), Some("c")),
            entity(Some("*"), Some("*")),
            entity(Some("*"), None),
            entity(None, Some("c")),
            QuotaEntity { client_id_prefix: name("c"), ..entity(None, None) },
            entity(None, Some("*")),
        ];
        let mut left = limits(&order);
        for (expected, entity) in (1..).zip(&order) {
            let (scope, rate) = limit(&left, PRODUCER_BYTE_RATE, "u", "c").unwrap();
            assert_eq!(rate, f64::from(expected));
            assert_eq!(scope.user.is_some(), entity.user.is_some());
            let by_client = entity.client_id.is_some() || entity.client_id_prefix.is_some();
            assert_eq!(scope.client.is_some(), by_client);
            left.remove(entity);
        }
        assert_eq!(limit(&left, PRODUCER_BYTE_RATE, "u", "c"), None);
        assert_eq!(limit(&limits(&order), CONSUMER_BYTE_RATE, "u", "c"), None);
    }

    #[test]
    fn the_longest_prefix_counts_and_is_shared() {
        let prefix = |prefix| QuotaEntity { client_id_prefix: name(prefix), ..QuotaEntity::default() };
        let limits = limits(&[prefix("app-"), prefix("app-eu-")]);
        let scope =
            |client| limit(&limits, PRODUCER_BYTE_RATE, "u", client).map(|(scope, _)| scope.client.unwrap());
        assert_eq!(scope("app-eu-1"), scope("app-eu-2"));
        assert_eq!(scope("app-us").as_deref(), Some("app-"));
        assert_eq!(scope("other"), None);
    }

    #[test]
    fn a_debt_is_waited_for() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let scope = || Scope { key: PRODUCER_BYTE_RATE, ..Scope::default() };
        // 100 bytes per second: the first second's worth is free.
        assert_eq!(buckets.take(scope(), 100.0, 100.0, start), Duration::ZERO);
        assert_eq!(buckets.take(scope(), 100.0, 50.0, start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(buckets.take(scope(), 100.0, 0.0, later), Duration::ZERO);
        assert_eq!(buckets.take(scope(), 100.0, 10_000.0, later), THROTTLE_MAX);
        // A long rest gives no more than a second's worth.
        let rested = later + Duration::from_secs(3600);
        assert_eq!(buckets.take(scope(), 100.0, 150.0, rested), Duration::from_millis(500));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let (mut buckets, now) = (Buckets::default(), Instant::now());
        for client in 0..BUCKETS_MAX + 5 {
            let scope = Scope { key: PRODUCER_BYTE_RATE, user: None, client: Some(client.to_string()) };
            buckets.take(scope, 1.0, 1.0, now);
        }
        assert_eq!(buckets.buckets.len(), BUCKETS_MAX + 1);
        let scope = Scope { key: PRODUCER_BYTE_RATE, user: None, client: Some("late".to_owned()) };
        buckets.take(scope, 1.0, 1.0, now + THROTTLE_MAX);
        assert_eq!(buckets.buckets.len(), 1);
    }
}
