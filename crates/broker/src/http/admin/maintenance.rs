//! Maintenance mode: of any broker by its id, and of the broker that is asked.
//!
//! The first is a decision of the cluster, made by the controller wherever the request arrives; it survives
//! restarts. The second only drains this broker until it is told otherwise or restarts. Source: redpanda.md
//! 3.1.1, 3.1.3 (no redirect), 4.5.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{Answer, empty, number, ok};
use crate::cluster::command::Command;
use crate::node::Node;
use crate::operations::drain::DrainStatus;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/brokers/{id}/maintenance", access.superuser(put(start).delete(stop)))
        .route("/v1/maintenance", access.superuser(get(local).put(start_local).delete(stop_local)))
}

/// The status as the API shows it: a broker that is not drained tells nothing more.
pub(super) fn status(maintenance: bool, drain: Option<&DrainStatus>) -> Value {
    match drain.filter(|drain| drain.draining || maintenance) {
        Some(drain) => json!({
            "draining": true,
            "finished": drain.finished,
            "errors": drain.errors,
            "partitions": drain.partitions,
            "eligible": drain.eligible,
            "transferring": drain.transferring,
            "failed": drain.failed,
        }),
        None => json!({"draining": maintenance}),
    }
}

async fn start(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    set(&node, &id, true).await
}

async fn stop(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    set(&node, &id, false).await
}

async fn set(node: &Arc<Node>, id: &str, on: bool) -> Answer {
    let id = number("the broker's id", id)?;
    super::submit(node, Command::SetMaintenance { id, on }).await?;
    empty()
}

async fn local(State(node): State<Arc<Node>>) -> Answer {
    let drain = node.control.drain.status();
    ok(status(drain.draining, Some(&drain)))
}

async fn start_local(State(node): State<Arc<Node>>) -> Answer {
    node.control.drain.start_local();
    empty()
}

async fn stop_local(State(node): State<Arc<Node>>) -> Answer {
    node.control.drain.stop_local();
    empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_drained_broker_tells_how_far_it_is() {
        let drain = DrainStatus { draining: true, finished: true, partitions: 4, ..DrainStatus::default() };
        assert_eq!(status(false, None), json!({"draining": false}));
        assert_eq!(status(false, Some(&DrainStatus::default())), json!({"draining": false}));
        // The cluster has decided, and the broker has not told anything yet.
        assert_eq!(status(true, None), json!({"draining": true}));
        let shown = status(true, Some(&drain));
        assert_eq!(
            (&shown["finished"], &shown["partitions"], &shown["failed"]),
            (&json!(true), &json!(4), &json!(0))
        );
    }
}
