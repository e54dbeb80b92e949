//! The Admin API. Source: redpanda.md 3.1.
//!
//! One file per subject names its routes with who may use them ([`access`]) and answers them. Left out: cloud
//! storage, data migrations, transforms, self tests and debug bundles, which this broker has nothing to say about.

mod access;
mod answer;
mod brokers;
mod cluster_config;
mod cluster_info;
mod connect;
mod debug;
mod decommission;
mod features;
mod health_overview;
pub(crate) mod loggers;
mod maintenance;
mod metrics;
mod node_config;
mod partitions;
mod reconfigurations;
mod redirect;
mod restart_probe;
mod roles;
mod status;
mod transfer;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use tokio::time::Instant;

use access::Access;
use answer::AdminError;

use crate::cluster::command::{Applied, Command};
use crate::cluster::submit;
use crate::node::Node;
use crate::operations::{controller, placeable};

/// How long a command may take until the client is told that it took too long (504).
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// The routes.
pub(crate) fn router(node: Arc<Node>) -> Router {
    let access = Access::new(Arc::clone(&node));
    let parts = [
        brokers::routes,
        cluster_config::routes,
        cluster_info::routes,
        connect::routes,
        debug::routes,
        decommission::routes,
        features::routes,
        health_overview::routes,
        loggers::routes,
        maintenance::routes,
        metrics::routes,
        node_config::routes,
        partitions::routes,
        reconfigurations::routes,
        restart_probe::routes,
        roles::routes,
        status::routes,
        transfer::routes,
        users::routes,
    ];
    let router = parts.iter().fold(Router::new(), |router, routes| router.merge(routes(&access)));
    router
        .fallback(|| async { AdminError::not_found("Not found") })
        .method_not_allowed_fallback(|| async {
            AdminError::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
        })
        .with_state(node)
}

/// Has the controller carry out a command, wherever the controller is.
async fn submit(node: &Arc<Node>, command: Command) -> Result<Applied, AdminError> {
    Ok(submit::submit(node, command, Instant::now() + SUBMIT_TIMEOUT).await?)
}
