//! Metrics of clients (KIP-714), of which this broker wants none: a subscription without metrics, and a check of
//! what is pushed all the same, which is then dropped.
//!
//! Source: KIP-714; Apache Kafka's `ClientMetricsManager` for limits that the KIP leaves open. Left out: a receiver
//! of metrics, and subscriptions (`CLIENT_METRICS` as a resource type of configurations).

pub(super) mod get_subscriptions;
pub(super) mod push;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

/// KIP-714: the default of a subscription's `interval.ms`.
const PUSH_INTERVAL: Duration = Duration::from_secs(300);
/// KIP-714: `telemetry.max.bytes`.
const BYTES_MAX: usize = 1 << 20;
/// Client instances that are remembered (Apache Kafka: `ClientMetricsManager.CACHE_MAX_SIZE`).
const INSTANCES_MAX: usize = 16_384;
/// Codecs that are taken, best first: zstd, lz4, gzip, snappy. None at all is taken always.
const CODECS: [i8; 4] = [4, 3, 1, 2];

/// What is remembered of client instances.
#[derive(Debug, Default)]
pub(super) struct Instances {
    by_id: BTreeMap<Uuid, Instance>,
    /// By when they were heard last.
    order: BTreeSet<(Instant, Uuid)>,
}

#[derive(Clone, Copy, Debug)]
struct Instance {
    heard: Instant,
    asked: Option<Instant>,
    pushed: Option<Instant>,
    /// Whether it has pushed for the last time.
    ended: bool,
    /// Whether it was told to ask for its subscription again.
    outdated: bool,
}

/// A push of metrics.
#[derive(Clone, Copy, Debug)]
pub(super) struct Push {
    pub id: Uuid,
    pub subscription: i32,
    pub terminating: bool,
    pub codec: i8,
    pub bytes: usize,
}

/// Names the one subscription as a client instance has it: clients tell by the id whether it has changed.
pub(super) fn subscription_id(id: Uuid) -> i32 {
    crc32c::crc32c(id.as_bytes()).cast_signed()
}

impl Instances {
    /// A client instance asks for its subscription.
    ///
    /// # Errors
    /// `THROTTLING_QUOTA_EXCEEDED` if it asks again before it is to push.
    pub fn ask(&mut self, now: Instant, id: Uuid) -> Result<(), ResponseError> {
        let instance = self.hear(now, id);
        let last = instance.asked.max(instance.pushed);
        if !instance.outdated && last.is_some_and(|last| now < last + PUSH_INTERVAL) {
            return Err(ResponseError::ThrottlingQuotaExceeded);
        }
        (instance.asked, instance.outdated) = (Some(now), false);
        Ok(())
    }

    /// A client instance pushes metrics.
    ///
    /// # Errors
    /// `INVALID_REQUEST` without an id, or after the last push; `THROTTLING_QUOTA_EXCEEDED` before the interval is
    /// over; `UNKNOWN_SUBSCRIPTION_ID`, `UNSUPPORTED_COMPRESSION_TYPE`, `TELEMETRY_TOO_LARGE`.
    pub fn push(&mut self, now: Instant, push: Push) -> Result<(), ResponseError> {
        if push.id.is_nil() {
            return Err(ResponseError::InvalidRequest);
        }
        let instance = self.hear(now, push.id);
        // The first push after a subscription was asked for may come early: clients spread theirs.
        let is_first = instance.asked > instance.pushed;
        let is_early = instance.pushed.is_some_and(|last| now < last + PUSH_INTERVAL);
        if is_early && !is_first && !push.terminating {
            return Err(ResponseError::ThrottlingQuotaExceeded);
        }
        if instance.ended {
            return Err(ResponseError::InvalidRequest);
        }
        instance.pushed = Some(now);
        instance.ended = push.terminating;
        let known_codec = push.codec == 0 || CODECS.contains(&push.codec);
        let outdated = match push.subscription == subscription_id(push.id) {
            false => Some(ResponseError::UnknownSubscriptionId),
            true => (!known_codec).then_some(ResponseError::UnsupportedCompressionType),
        };
        if let Some(error) = outdated {
            instance.outdated = true;
            return Err(error);
        }
        if push.bytes > BYTES_MAX { Err(ResponseError::TelemetryTooLarge) } else { Ok(()) }
    }

    /// The client instance, which is remembered from now on; the one that was not heard for longest goes for it.
    fn hear(&mut self, now: Instant, id: Uuid) -> &mut Instance {
        if let Some(known) = self.by_id.get(&id) {
            self.order.remove(&(known.heard, id));
        } else if self.by_id.len() >= INSTANCES_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_id.remove(&oldest);
        }
        self.order.insert((now, id));
        let new = Instance { heard: now, asked: None, pushed: None, ended: false, outdated: false };
        let instance = self.by_id.entry(id).or_insert(new);
        instance.heard = now;
        instance
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn push() -> Push {
        Push { id: ID, subscription: subscription_id(ID), terminating: false, codec: 4, bytes: 100 }
    }

    #[test]
    fn a_client_asks_and_pushes_once_per_interval() {
        let (mut instances, now) = (Instances::default(), Instant::now());
        assert_eq!(instances.ask(now, ID), Ok(()));
        assert_eq!(instances.ask(now + SECOND, ID), Err(ResponseError::ThrottlingQuotaExceeded));
        assert_eq!(instances.push(now + SECOND, push()), Ok(()), "the first one may come early");
        let early = instances.push(now + SECOND * 2, push());
        assert_eq!(early, Err(ResponseError::ThrottlingQuotaExceeded));
        assert_eq!(instances.push(now + SECOND + PUSH_INTERVAL, push()), Ok(()));
        let last = Push { terminating: true, ..push() };
        let end = now + SECOND * 2 + PUSH_INTERVAL;
        assert_eq!(instances.push(end, last), Ok(()), "the last one may come early");
        assert_eq!(instances.push(end, last), Err(ResponseError::InvalidRequest));
    }

    #[test]
    fn what_is_wrong_with_a_push_is_told() {
        let cases = [
            (Push { id: Uuid::nil(), ..push() }, ResponseError::InvalidRequest),
            (Push { subscription: 7, ..push() }, ResponseError::UnknownSubscriptionId),
            (Push { codec: 9, ..push() }, ResponseError::UnsupportedCompressionType),
            (Push { bytes: BYTES_MAX + 1, ..push() }, ResponseError::TelemetryTooLarge),
        ];
        for (wrong, error) in cases {
            let (mut instances, now) = (Instances::default(), Instant::now());
            instances.ask(now, ID).unwrap();
            assert_eq!(instances.push(now, wrong), Err(error), "{wrong:?}");
            let again = instances.ask(now, ID);
            let is_told_to = matches!(
                error,
                ResponseError::UnknownSubscriptionId | ResponseError::UnsupportedCompressionType
            );
            assert_eq!(again.is_ok(), is_told_to, "{wrong:?}");
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let (mut instances, now) = (Instances::default(), Instant::now());
        for number in 0..=INSTANCES_MAX as u64 {
            let at = now + Duration::from_millis(number);
            assert_eq!(instances.ask(at, Uuid::from_u128(u128::from(number) + 1)), Ok(()));
        }
        assert_eq!((instances.by_id.len(), instances.order.len()), (INSTANCES_MAX, INSTANCES_MAX));
        assert_eq!(instances.ask(now + SECOND, ID), Ok(()), "the first is forgotten");
    }
}
