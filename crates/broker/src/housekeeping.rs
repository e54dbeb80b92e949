//! Retention and compaction of this broker's replicas, by their topics' properties.
//!
//! Every `log_compaction_interval_ms` each log is told the properties that hold for its topic and does what is
//! due. Each replica does so by itself, to what is committed, as in Redpanda and Kafka; replicas may therefore
//! differ in what they no longer have. Left out: the jitter that Redpanda adds to sizes and times of segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::cluster::properties;
use crate::log::{Log, LogConfig, LogError};
use crate::node::{Node, PartitionKey};
use crate::replication::partition::Partition;
use crate::status::Counter;
use crate::topic_properties;

/// `log_compaction_interval_ms` of Redpanda, should it not be set to a number.
const INTERVAL_MS: i64 = 10_000;

/// Keeps house, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    loop {
        keep_house(&node);
        let interval = node.with_cluster(|cluster| {
            properties::integer(&cluster.state.properties, "log_compaction_interval_ms")
        });
        tokio::time::sleep(Duration::from_millis(interval.unwrap_or(INTERVAL_MS).max(1) as u64)).await;
    }
}

/// One look at every replica.
fn keep_house(node: &Node) {
    let replicas: Vec<(PartitionKey, Arc<Partition>)> = node.with_partitions(|partitions| {
        partitions.iter().map(|(key, partition)| (*key, Arc::clone(partition))).collect()
    });
    let now_ms = (node.clock)();
    // The partitions of a topic follow one another.
    let mut known: Option<(uuid::Uuid, LogConfig)> = None;
    for ((topic, index), replica) in replicas {
        if known.as_ref().is_none_or(|(last, _)| *last != topic) {
            known = node.with_cluster(|cluster| {
                let configs = &cluster.state.topics.by_id(topic)?.configs;
                Some((topic, log_config(&cluster.state.properties, configs)))
            });
        }
        let Some((_, config)) = &known else { continue };
        if let Err(error) = replica.with_log(|log| tidy(log, config, now_ms)) {
            node.status.add(Counter::StorageErrors, 1);
            tracing::warn!(%topic, index, %error, "a log could not be tidied up");
        }
    }
}

fn tidy(log: &mut Log, config: &LogConfig, now_ms: i64) -> Result<(), LogError> {
    if log.config() != config {
        log.set_config(config.clone());
    }
    let committed = log.hard_state().commit;
    log.apply_retention(now_ms, committed)?;
    log.compact(now_ms, committed)?;
    Ok(())
}

/// How a topic's logs are kept: `cluster` are the cluster properties that are set, `configs` the topic's own.
pub(crate) fn log_config(cluster: &BTreeMap<String, Value>, configs: &BTreeMap<String, String>) -> LogConfig {
    let number = |name| topic_properties::effective_number(cluster, configs, name);
    // Negative means without a limit.
    let limit = |name| number(name).filter(|limit| *limit >= 0);
    let of_cluster = |name| properties::integer(cluster, name);
    let default = LogConfig::default();
    let policy = topic_properties::effective(cluster, configs, "cleanup.policy").unwrap_or_default();
    let compacts = topic_properties::compacts(cluster, configs);
    let segment_bytes = match compacts && !configs.contains_key("segment.bytes") {
        true => of_cluster("compacted_log_segment_size"),
        false => number("segment.bytes"),
    };
    let segment_ms = limit("segment.ms").map(|time| {
        let time = time.max(of_cluster("log_segment_ms_min").unwrap_or(0));
        time.min(of_cluster("log_segment_ms_max").unwrap_or(i64::MAX))
    });
    let ratio = topic_properties::effective(cluster, configs, "min.cleanable.dirty.ratio");
    LogConfig {
        segment_bytes: segment_bytes.map_or(default.segment_bytes, |bytes| bytes.max(1) as u64),
        segment_ms,
        retention_bytes: limit("retention.bytes").map(|bytes| bytes as u64),
        retention_ms: limit("retention.ms"),
        deletes: policy.split(',').any(|word| word.trim() == "delete"),
        compacts,
        delete_retention_ms: limit("delete.retention.ms").unwrap_or(i64::MAX),
        min_cleanable_dirty_ratio: ratio
            .and_then(|ratio| ratio.parse().ok())
            .unwrap_or(default.min_cleanable_dirty_ratio),
        producer_expiry_ms: of_cluster("transactional_id_expiration_ms")
            .unwrap_or(default.producer_expiry_ms),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_nobody_set_is_the_default() {
        let config = log_config(&BTreeMap::new(), &BTreeMap::new());
        assert_eq!(config, LogConfig::default());
    }

    #[test]
    fn a_topics_properties_come_before_the_clusters() {
        let cluster = BTreeMap::from([
            ("log_retention_ms".to_owned(), json!(5000)),
            ("retention_bytes".to_owned(), json!(77)),
            ("log_segment_size".to_owned(), json!(99)),
            ("transactional_id_expiration_ms".to_owned(), json!(11)),
        ]);
        let config = log_config(&cluster, &configs(&[("retention.ms", "6000"), ("segment.ms", "1")]));
        assert_eq!((config.retention_ms, config.retention_bytes), (Some(6000), Some(77)));
        // `log_segment_ms_min` is ten minutes.
        assert_eq!((config.segment_bytes, config.segment_ms), (99, Some(600_000)));
        assert_eq!(config.producer_expiry_ms, 11);
        let unlimited = configs(&[("retention.ms", "-1"), ("retention.bytes", "-1"), ("segment.ms", "-1")]);
        let config = log_config(&cluster, &unlimited);
        assert_eq!((config.retention_ms, config.retention_bytes, config.segment_ms), (None, None, None));
    }

    #[test]
    fn the_policy_says_what_happens() {
        let of = |policy: &str| {
            let set = [
                ("cleanup.policy", policy),
                ("delete.retention.ms", "8"),
                ("min.cleanable.dirty.ratio", "0.1"),
            ];
            log_config(&BTreeMap::new(), &configs(&set))
        };
        let compact = of("compact");
        assert!(compact.compacts && !compact.deletes);
        assert_eq!((compact.segment_bytes, compact.delete_retention_ms), (256 << 20, 8));
        assert!((compact.min_cleanable_dirty_ratio - 0.1).abs() < 1e-9);
        let both = of("compact, delete");
        assert!(both.compacts && both.deletes);
        let delete = of("delete");
        assert!(!delete.compacts && delete.deletes);
        assert_eq!(delete.segment_bytes, 128 << 20);
    }
}
