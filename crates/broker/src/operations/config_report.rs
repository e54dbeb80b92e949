//! Every broker tells the cluster what it made of the configuration; the first controller brings in what
//! `.bootstrap.yaml` says.
//!
//! Source: redpanda.md 2.1 (last paragraph: `.bootstrap.yaml` counts at the very first start), 3.1.1
//! (`cluster_config/status`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::SUBMIT_TIMEOUT;
use crate::cluster::command::Command;
use crate::cluster::membership::ConfigStatus;
use crate::cluster::properties;
use crate::cluster::submit::submit;
use crate::node::Node;

/// Between two looks at the version.
const TICK: Duration = Duration::from_millis(500);

type Properties = BTreeMap<String, Value>;

/// What a broker makes of a configuration; it started with the values `at_start`.
fn judge(version: i64, set: &Properties, at_start: &Properties) -> ConfigStatus {
    let mut status = ConfigStatus { version, ..ConfigStatus::default() };
    for (name, value) in set {
        match properties::find(name).map(|property| property.read(value)) {
            None => status.unknown.push(name.clone()),
            Some(Err(_)) => status.invalid.push(name.clone()),
            Some(Ok(_)) => {}
        }
    }
    let mut restarts = properties::all().filter(|property| property.needs_restart);
    status.restart = restarts.any(|property| {
        properties::value_of(set, property.name) != properties::value_of(at_start, property.name)
    });
    status
}

/// What of `.bootstrap.yaml` becomes cluster configuration: what is known, can be read, and is no default.
fn imported(bootstrap: &Properties) -> BTreeMap<String, Option<Value>> {
    let read = bootstrap.iter().filter_map(|(name, value)| {
        let property = properties::find(name)?;
        let value = property.read(value).ok().filter(|value| *value != property.default_value())?;
        Some((name.clone(), Some(value)))
    });
    read.collect()
}

/// Watches the configuration, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut at_start: Option<Properties> = None;
    loop {
        let own = node.id();
        let (version, reported) = node.with_cluster(|cluster| {
            let reported = cluster.state.members.get(&own).and_then(|member| member.config.as_ref());
            (cluster.state.config_version, reported.map(|status| status.version))
        });
        if version == 0 {
            if super::is_controller(&node) {
                import(&node).await;
            }
        } else if reported != Some(version) || at_start.is_none() {
            let set = node.with_cluster(|cluster| cluster.state.properties.clone());
            node.take_over_properties(&set);
            let alive_timeout = node.properties().alive_timeout;
            node.with_cluster(|cluster| cluster.members.set_alive_timeout(alive_timeout));
            let status = judge(version, &set, at_start.get_or_insert_with(|| set.clone()));
            let command = Command::ReportConfig { id: own, status };
            if let Err(refusal) = submit(&node, command, Instant::now() + SUBMIT_TIMEOUT).await {
                tracing::debug!(%refusal, "the configuration's status is not taken yet");
            }
        }
        sleep(TICK).await;
    }
}

async fn import(node: &Arc<Node>) {
    let properties = imported(&node.config.bootstrap);
    let command = Command::AlterClusterConfig { properties };
    if let Err(refusal) = submit(node, command, Instant::now() + SUBMIT_TIMEOUT).await {
        tracing::debug!(%refusal, "the first configuration is not taken yet");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(values: &[(&str, Value)]) -> Properties {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn a_broker_tells_what_it_cannot_obey() {
        let at_start = set(&[("group_topic_partitions", json!(3))]);
        let now = set(&[
            ("group_topic_partitions", json!(5)),
            ("alive_timeout_ms", json!("soon")),
            ("nonsense", json!(1)),
        ]);
        let status = judge(4, &now, &at_start);
        assert_eq!(status.version, 4);
        assert!(status.restart);
        assert_eq!(status.invalid, ["alive_timeout_ms"]);
        assert_eq!(status.unknown, ["nonsense"]);
        assert!(!judge(4, &at_start, &at_start).restart);
        assert!(!judge(5, &set(&[("alive_timeout_ms", json!(7))]), &set(&[])).restart);
    }

    #[test]
    fn the_first_configuration_is_what_differs_from_the_defaults() {
        let bootstrap = set(&[
            ("default_topic_replications", json!(3)),
            ("group_topic_partitions", json!(16)),
            ("nonsense", json!(true)),
            ("alive_timeout_ms", json!("soon")),
        ]);
        let imported = imported(&bootstrap);
        assert_eq!(imported, BTreeMap::from([("default_topic_replications".to_owned(), Some(json!(3)))]));
    }
}
