//! The broker's loggers and how much they say.
//!
//! A level that was set goes back to the default when its time is over. The levels are the broker's own; what is
//! really written is decided by whoever listens to the process's log. Source: redpanda.md 3.1.1.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, put};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Access;
use super::answer::{AdminError, Answer, number, ok};
use crate::node::Node;

/// What a level lasts unless the client says otherwise.
const EXPIRES_DEFAULT: Duration = Duration::from_secs(600);
const LEVEL_DEFAULT: &str = "info";
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// The parts of a broker that have a logger.
const NAMES: [&str; 14] = [
    "admin_api_server",
    "cluster",
    "group",
    "http",
    "kafka",
    "kafka/client",
    "main",
    "pandaproxy",
    "raft",
    "rpc",
    "schemaregistry",
    "security",
    "storage",
    "tx",
];

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let level = access.superuser(get(level).merge(put(set_level)));
    Router::new()
        .route("/v1/loggers", access.superuser(get(list)))
        .route("/v1/config/log_level/{*name}", level)
}

/// The levels that somebody has set.
#[derive(Default)]
pub(crate) struct Loggers(Mutex<BTreeMap<&'static str, Set>>);

#[derive(Clone, Copy)]
struct Set {
    level: &'static str,
    /// `None` for as long as the broker runs.
    until: Option<Instant>,
}

impl Loggers {
    fn level(&self, name: &'static str, now: Instant) -> (&'static str, Option<Instant>) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match set.get(name).copied() {
            Some(Set { level, until }) if until.is_none_or(|until| now < until) => (level, until),
            _ => {
                set.remove(name);
                (LEVEL_DEFAULT, None)
            }
        }
    }

    /// Sets a level and gives the former one.
    fn set(
        &self,
        name: &'static str,
        level: &'static str,
        until: Option<Instant>,
        now: Instant,
    ) -> &'static str {
        let (former, _) = self.level(name, now);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Set { level, until });
        former
    }
}

fn named(name: &str) -> Result<&'static str, AdminError> {
    let known = NAMES.into_iter().find(|known| *known == name);
    known.ok_or_else(|| {
        AdminError::not_found(format!("there is no logger '{name}'; there are {}", NAMES.join(", ")))
    })
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "include-levels", default)]
    include_levels: bool,
}

async fn list(State(node): State<Arc<Node>>, Query(listed): Query<Listed>) -> Answer {
    let now = Instant::now();
    let entry = |name: &'static str| -> Value {
        let mut entry = json!({"name": name});
        if listed.include_levels {
            entry["level"] = json!(node.control.loggers.level(name, now).0);
        }
        entry
    };
    ok(NAMES.map(entry))
}

async fn level(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer {
    let name = named(&name)?;
    let now = Instant::now();
    let (level, until) = node.control.loggers.level(name, now);
    let left = until.map(|until| until.duration_since(now).as_secs());
    ok(json!({"name": name, "level": level, "expires": left}))
}

#[derive(Deserialize)]
struct Wanted {
    level: Option<String>,
    expires: Option<String>,
}

async fn set_level(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let name = named(&name)?;
    let wanted_level = wanted.level.unwrap_or_default();
    let level = LEVELS.into_iter().find(|level| *level == wanted_level).ok_or_else(|| {
        AdminError::bad_request(format!("the level is one of {}, not \"{wanted_level}\"", LEVELS.join(", ")))
    })?;
    let lasts = match wanted.expires {
        Some(text) => Duration::from_secs(u64::from(number::<u32>("expires", &text)?)),
        None => EXPIRES_DEFAULT,
    };
    let now = Instant::now();
    // No time at all stands for no end.
    let until = (!lasts.is_zero()).then(|| now + lasts);
    let former = node.control.loggers.set(name, level, until, now);
    ok(json!({"name": name, "previous_level": former, "new_level": level, "expires": lasts.as_secs()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_ends_with_its_time() {
        let (loggers, now) = (Loggers::default(), Instant::now());
        let until = now + Duration::from_secs(5);
        assert_eq!(loggers.set("raft", "trace", Some(until), now), "info");
        assert_eq!(loggers.level("raft", now), ("trace", Some(until)));
        assert_eq!(loggers.level("raft", until), ("info", None));
        assert_eq!(loggers.set("raft", "warn", None, now), "info");
        assert_eq!(loggers.level("raft", now + Duration::from_secs(1_000_000)), ("warn", None));
    }
}
