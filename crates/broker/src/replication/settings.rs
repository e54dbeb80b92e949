//! What a topic's properties ask of its replicas: whether acknowledgements wait for the disk.
//!
//! `write.caching`, `flush.ms` and `flush.bytes` of the topic, else `write_caching_default`,
//! `raft_replica_max_flush_delay_ms` and `raft_replica_max_pending_flush_bytes` of the cluster. A default of
//! `disabled` overrides what topics say.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::state::State;
use crate::config::ClusterProperties;

/// The cluster property.
const WRITE_CACHING_DEFAULT: &str = "write_caching_default";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Whether a majority's memory is enough for acks=all.
    pub write_caching: bool,
    /// When entries that nobody waits for are synced.
    pub flush_delay: Duration,
    /// Or how many bytes there are of them, at most.
    pub flush_bytes: u64,
}

impl Settings {
    /// The settings of a topic with these properties; `file` is what the broker was started with.
    pub fn of(state: &State, configs: &BTreeMap<String, String>, file: &ClusterProperties) -> Settings {
        let cluster = match state.properties.get(WRITE_CACHING_DEFAULT) {
            Some(Value::Bool(on)) => on.to_string(),
            Some(Value::String(word)) => word.clone(),
            _ => file.write_caching_default.to_string(),
        };
        let topic = configs.get("write.caching").unwrap_or(&cluster);
        let number = |name: &str| configs.get(name)?.parse::<u64>().ok();
        Settings {
            write_caching: cluster != "disabled" && topic == "true",
            flush_delay: number("flush.ms").map_or(file.raft_replica_max_flush_delay, Duration::from_millis),
            flush_bytes: number("flush.bytes").unwrap_or(file.raft_replica_max_pending_flush_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_decides_unless_the_cluster_forbids_it() {
        let file = ClusterProperties::default();
        let mut state = State::default();
        let none = BTreeMap::new();
        let on = BTreeMap::from([("write.caching".to_owned(), "true".to_owned())]);
        let off = BTreeMap::from([("write.caching".to_owned(), "false".to_owned())]);
        let caching = |state: &State, configs| Settings::of(state, configs, &file).write_caching;
        assert!(!caching(&state, &none) && caching(&state, &on));
        state.properties.insert(WRITE_CACHING_DEFAULT.to_owned(), Value::from("true"));
        assert!(caching(&state, &none) && !caching(&state, &off));
        state.properties.insert(WRITE_CACHING_DEFAULT.to_owned(), Value::from("disabled"));
        assert!(!caching(&state, &on));
        let flush = BTreeMap::from([("flush.ms".to_owned(), "7".to_owned())]);
        assert_eq!(Settings::of(&state, &flush, &file).flush_delay, Duration::from_millis(7));
    }
}
