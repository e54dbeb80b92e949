//! The cluster's health, put together from what this broker knows and what the others report of themselves.
//!
//! Reports are asked for when somebody wants to know and the last ones are older than
//! `health_monitor_max_metadata_age` (redpanda.md 4.4: 10 s); a broker's own report is always new. Source:
//! redpanda.md 3.1.1 (`health_overview`), 3.5 (`collect_node_health_report`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::members::Member;
use crate::node::Node;
use crate::operations;
use crate::operations::drain::DrainStatus;
use crate::replication::partition::Partition;
use crate::rpc::{Reply, Request};
use crate::volume::DiskSpace;

/// What brokers of this crate call their version.
pub(crate) const VERSION: &str = concat!("hopwise-", env!("CARGO_PKG_VERSION"));
/// How long a broker may take for its report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that keeps a cluster from being healthy.
pub(crate) const REASONS: [&str; 5] = [
    "nodes_down",
    "leaderless_partitions",
    "under_replicated_partitions",
    "no_elected_controller",
    "no_health_report",
];

/// What a broker reports of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeReport {
    pub version: String,
    pub recovery_mode: bool,
    pub drain: DrainStatus,
    /// Partitions that it leads and whose other replicas lack something: topic, partition, replicas that lag.
    pub behind: Vec<(String, i32, usize)>,
    /// Bytes of its replicas whose partition is getting other replicas.
    pub sizes: Vec<(String, i32, u64)>,
    /// Where its data directory is, and what is free there; `None` if the disk's size is not known.
    pub disk: Option<(String, DiskSpace)>,
}

/// The last reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports(BTreeMap<i32, NodeReport>);

impl Reports {
    pub fn of(&self, id: i32) -> Option<&NodeReport> {
        self.0.get(&id)
    }

    /// Bytes of a broker's replica, if its partition is getting other replicas.
    pub fn size(&self, id: i32, topic: &str, partition: i32) -> Option<u64> {
        let sizes = &self.of(id)?.sizes;
        sizes.iter().find(|(name, index, _)| name == topic && *index == partition).map(|(_, _, size)| *size)
    }
}

/// Reports of the others, and when they were asked for.
#[derive(Default)]
pub(crate) struct Collected(Mutex<Option<(Instant, Reports)>>);

/// This broker's own report.
pub(crate) fn own_report(node: &Node) -> NodeReport {
    let (topics, changing) = node.with_cluster(|cluster| {
        let changes = cluster.state.all_reassignments();
        let changing: BTreeSet<(String, i32)> =
            changes.map(|(topic, partition, _)| (topic.to_owned(), partition)).collect();
        (cluster.state.topics.clone(), changing)
    });
    let partitions: Vec<Arc<Partition>> = node.with_partitions(|all| all.values().cloned().collect());
    let (mut behind, mut sizes) = (Vec::new(), Vec::new());
    for partition in partitions {
        let (topic, index) = partition.key;
        let Some(topic) = topics.by_id(topic) else { continue };
        let place = (topic.name.clone(), index);
        let lagging = if partition.leads() { partition.replicas_behind() } else { 0 };
        if changing.contains(&place) {
            sizes.push((place.0.clone(), index, size_of(&partition)));
        }
        if lagging > 0 {
            behind.push((place.0, index, lagging));
        }
    }
    NodeReport {
        version: VERSION.to_owned(),
        recovery_mode: node.config.recovery_mode_enabled,
        drain: node.control.drain.status(),
        behind,
        sizes,
        disk: node.volume.disk_space().map(|space| (node.config.data_directory.display().to_string(), space)),
    }
}

/// Bytes of a replica's log.
pub(crate) fn size_of(partition: &Partition) -> u64 {
    partition.with_log(|log| Ok(log.size_bytes())).unwrap_or(0)
}

/// Everybody's reports.
pub(crate) async fn reports(node: &Arc<Node>) -> Reports {
    let now = Instant::now();
    let age_max =
        Duration::from_millis(node.property("health_monitor_max_metadata_age").as_u64().unwrap_or(0));
    let known = node.control.collected.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut reports = match known {
        Some((at, reports)) if now.duration_since(at) < age_max => reports,
        _ => {
            let reports = collect(node).await;
            let kept = Some((Instant::now(), reports.clone()));
            *node.control.collected.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            reports
        }
    };
    reports.0.insert(node.id(), own_report(node));
    reports
}

/// How old the others' reports are.
pub(crate) fn age(node: &Node) -> Duration {
    let known = node.control.collected.0.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().map_or(Duration::ZERO, |(at, _)| Instant::now().duration_since(*at))
}

async fn collect(node: &Arc<Node>) -> Reports {
    let (own, now) = (node.id(), Instant::now());
    let others: Vec<Member> = node.with_cluster(|cluster| {
        let alive = cluster.members.all().filter(|member| cluster.members.alive(member.id, now));
        alive.filter(|member| member.id != own).cloned().collect()
    });
    let asked = others.iter().map(|member| async move {
        match node.call(member, Request::NodeReport, &[], REPORT_TIMEOUT).await {
            Ok((Reply::NodeReport(report), _)) => Some((member.id, report)),
            Ok(_) | Err(_) => None,
        }
    });
    Reports(join_all(asked).await.into_iter().flatten().collect())
}

/// How the cluster is.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    pub controller: Option<i32>,
    pub all: Vec<i32>,
    pub down: Vec<i32>,
    /// Alive, and yet there is no report.
    pub silent: Vec<i32>,
    pub in_recovery_mode: Vec<i32>,
    /// `namespace/topic/partition`.
    pub leaderless: Vec<String>,
    pub under_replicated: Vec<String>,
}

impl Overview {
    /// Why the cluster is not healthy; nothing if it is.
    pub fn reasons(&self) -> Vec<&'static str> {
        let holds = [
            !self.down.is_empty(),
            !self.leaderless.is_empty(),
            !self.under_replicated.is_empty(),
            self.controller.is_none(),
            !self.silent.is_empty(),
        ];
        REASONS.into_iter().zip(holds).filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
    }
}

/// Puts the overview together.
pub(crate) async fn overview(node: &Arc<Node>) -> Overview {
    let reports = reports(node).await;
    let now = Instant::now();
    let (all, down, topics) = node.with_cluster(|cluster| {
        let all: Vec<i32> = cluster.members.all().map(|member| member.id).collect();
        let down: Vec<i32> = all.iter().copied().filter(|id| !cluster.members.alive(*id, now)).collect();
        (all, down, cluster.state.topics.clone())
    });
    let behind = reports.0.iter().filter(|(id, _)| !down.contains(id)).flat_map(|(_, report)| &report.behind);
    let behind: BTreeSet<(&str, i32)> = behind.map(|(topic, index, _)| (topic.as_str(), *index)).collect();
    let mut overview = Overview { controller: operations::controller(node), ..Overview::default() };
    for topic in topics.all() {
        for (index, replicas) in topic.partitions.iter().enumerate() {
            let place = (topic.name.as_str(), index as i32);
            let name = || match topic.is_visible() {
                true => format!("kafka/{}/{index}", topic.name),
                false => format!("{}/{index}", topic.name),
            };
            let leader = node.leader_of((topic.id, place.1)).map(|(leader, _)| leader);
            if leader.is_none_or(|leader| down.contains(&leader)) {
                overview.leaderless.push(name());
            }
            if replicas.iter().any(|id| down.contains(id)) || behind.contains(&place) {
                overview.under_replicated.push(name());
            }
        }
    }
    let reported = |id: &i32| reports.of(*id).is_some();
    overview.silent = all.iter().copied().filter(|id| !down.contains(id) && !reported(id)).collect();
    let recovering = |id: &i32| reports.of(*id).is_some_and(|report| report.recovery_mode);
    overview.in_recovery_mode = all.iter().copied().filter(recovering).collect();
    (overview.all, overview.down) = (all, down);
    overview
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_defect_is_a_reason_of_its_own() {
        let healthy = Overview { controller: Some(0), all: vec![0], ..Overview::default() };
        assert_eq!(healthy.reasons(), Vec::<&str>::new());
        let ill = Overview {
            controller: None,
            down: vec![1],
            silent: vec![2],
            leaderless: vec!["kafka/a/0".to_owned()],
            ..Overview::default()
        };
        let reasons = ["nodes_down", "leaderless_partitions", "no_elected_controller", "no_health_report"];
        assert_eq!(ill.reasons(), reasons);
    }
}
