//! What a restart of this broker would put at risk. Source: redpanda.md 3.1.1 (`pre_restart_probe`).
//!
//! For each partition with a replica here it is looked at what is left without it: nothing (one replica), no
//! majority (writes with full acknowledgement, and elections, are impossible), or nobody who has all that was
//! acknowledged by the leader alone.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::access::Access;
use super::answer::{Answer, ok};
use super::partitions::ntp;
use crate::node::Node;

/// Partitions named per risk, unless the client says otherwise.
const LIMIT_DEFAULT: usize = 128;
const LIMIT_MAX: usize = 4096;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new().route("/v1/broker/pre_restart_probe", access.superuser(get(probe)))
}

#[derive(Deserialize)]
struct Asked {
    limit: Option<usize>,
}

/// A partition that has a replica here.
struct Replica {
    name: String,
    replicas: Vec<i32>,
    leads: bool,
    /// Other replicas that lack something.
    behind: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Risks {
    rf1_offline: Vec<String>,
    full_acks_produce_unavailable: Vec<String>,
    unavailable: Vec<String>,
    acks1_data_loss: Vec<String>,
}

fn risks(own: i32, replicas: &[Replica], down: &[i32]) -> Risks {
    let mut risks = Risks::default();
    for replica in replicas {
        let name = || replica.name.clone();
        if replica.replicas.len() == 1 {
            risks.rf1_offline.push(name());
            continue;
        }
        let left = replica.replicas.iter().filter(|id| **id != own && !down.contains(id)).count();
        let majority = replica.replicas.len() / 2 + 1;
        if left < majority {
            risks.full_acks_produce_unavailable.push(name());
        }
        if left < majority && replica.leads {
            risks.unavailable.push(name());
        }
        if replica.leads && replica.behind > 0 {
            risks.acks1_data_loss.push(name());
        }
    }
    risks
}

async fn probe(State(node): State<Arc<Node>>, Query(asked): Query<Asked>) -> Answer {
    let (now, own) = (Instant::now(), node.id());
    let (topics, down) = node.with_cluster(|cluster| {
        let ids = cluster.members.all().map(|member| member.id);
        let down: Vec<i32> = ids.filter(|id| !cluster.members.alive(*id, now)).collect();
        (cluster.state.topics.clone(), down)
    });
    let mut replicas = Vec::new();
    for topic in topics.all() {
        let (ns, name) = ntp(&topic.name);
        for (index, ids) in topic.partitions.iter().enumerate() {
            let Some(partition) = node.partition((topic.id, index as i32)) else { continue };
            replicas.push(Replica {
                name: format!("{ns}/{name}/{index}"),
                replicas: ids.clone(),
                leads: partition.leads(),
                behind: partition.replicas_behind(),
            });
        }
    }
    let found = risks(own, &replicas, &down);
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX);
    let first = |names: Vec<String>| names.into_iter().take(limit).collect::<Vec<_>>();
    ok(json!({"risks": {
        "rf1_offline": first(found.rf1_offline),
        "full_acks_produce_unavailable": first(found.full_acks_produce_unavailable),
        "unavailable": first(found.unavailable),
        "acks1_data_loss": first(found.acks1_data_loss),
    }}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, replicas: &[i32], leads: bool, behind: usize) -> Replica {
        Replica { name: name.to_owned(), replicas: replicas.to_vec(), leads, behind }
    }

    #[test]
    fn what_is_left_decides() {
        let replicas = [
            replica("alone", &[0], true, 0),
            replica("safe", &[0, 1, 3], true, 0),
            replica("half", &[0, 1, 2], true, 0),
            replica("follows", &[1, 0, 2], false, 0),
            replica("lags", &[0, 1, 3], true, 1),
        ];
        let found = risks(0, &replicas, &[2]);
        assert_eq!(found.rf1_offline, ["alone"]);
        assert_eq!(found.full_acks_produce_unavailable, ["half", "follows"]);
        assert_eq!(found.unavailable, ["half"]);
        assert_eq!(found.acks1_data_loss, ["lags"]);
    }
}
