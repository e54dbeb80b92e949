//! The Schema Registry. Source: redpanda.md 3.4.
//!
//! [`schema`] reads and compares schemas, [`store`] is what the registry knows from its topic, [`changes`]
//! decides what a request writes; all three are pure. [`service`] keeps the store up to date through [`topic`]
//! and gets decisions written, [`routes`] is HTTP. Every broker runs one, and any of them answers.

mod changes;
mod error;
mod records;
mod routes;
mod schema;
mod service;
mod settings;
mod store;
mod subject;
mod topic;

use std::sync::Arc;

use axum::Router;

use self::routes::Service;
use self::service::Registry;
use self::topic::KafkaTopic;
use crate::kafka_client::KafkaClient;
use crate::node::Node;
use crate::security::service_users;

/// The registry of a broker, for all its listeners.
pub(crate) fn router(node: &Arc<Node>) -> Router {
    let client = KafkaClient::new(
        &node.config.schema_registry_client,
        node,
        service_users::Service::SchemaRegistry,
        None,
    );
    let own = node.config.services.schema_registry_replication_factor;
    let default = node.properties().internal_topic_replication_factor;
    let registry = Registry::new(KafkaTopic::new(client, own, default));
    routes::router(Arc::new(Service { registry, node: Arc::clone(node) }))
}
