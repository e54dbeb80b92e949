//! Virtual time as the timestamps that Kubernetes objects carry.

use hopwise_engine::Time;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;
use k8s_openapi::jiff;

/// What the clock on the wall shows when the simulation starts: 2026-01-01 00:00:00 UTC, in seconds since
/// 1970.
const START_UNIX_S: i64 = 1_767_225_600;

/// The timestamp of an instant, to the nanosecond. (Written out, Kubernetes timestamps are cut to whole
/// seconds.)
pub fn timestamp(at: Time) -> Timestamp {
    let seconds = i64::try_from(at.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    let nanoseconds = i32::try_from(at.as_nanos() % 1_000_000_000).unwrap_or(0);
    let unix = START_UNIX_S.saturating_add(seconds);
    Timestamp(jiff::Timestamp::new(unix, nanoseconds).unwrap_or(jiff::Timestamp::MAX))
}

/// The instant of a timestamp; the start of the simulation for a timestamp before it.
pub fn time_of(timestamp: &Timestamp) -> Time {
    let since_start = timestamp.0.as_nanosecond() - i128::from(START_UNIX_S) * 1_000_000_000;
    Time::from_nanos(u64::try_from(since_start.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_keeps_the_nanosecond() {
        let at = Time::from_nanos(12_345_678_901);
        assert_eq!(time_of(&timestamp(at)), at);
        assert_eq!(timestamp(Time::ZERO).0.to_string(), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn a_timestamp_before_the_start_is_the_start() {
        assert_eq!(time_of(&Timestamp(jiff::Timestamp::UNIX_EPOCH)), Time::ZERO);
    }
}
