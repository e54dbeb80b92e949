//! AlterConfigs: a topic's properties are what the request says, and nothing else.
//!
//! For the cluster's properties that would take back every property that the request does not name, so it is
//! refused there, as Redpanda refuses it; IncrementalAlterConfigs changes them.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use tokio::time::{Duration, Instant};

use super::{Change, Refused, ResourceKind, refused, resource_kind, topic};
use crate::kafka::authorization::Operation;
use crate::kafka::{Session, text};

/// How long the controller has: the request names no time.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let mut seen = BTreeSet::new();
    let mut responses = Vec::new();
    for resource in &request.resources {
        let answer = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        let altered = match seen.insert((resource.resource_type, resource.resource_name.as_str())) {
            true => alter(session, resource, request.validate_only).await,
            false => refused(ResponseError::InvalidRequest, "the resource is in the request twice"),
        };
        responses.push(match altered {
            Ok(()) => answer,
            Err((code, reason)) => answer.with_error_code(code).with_error_message(Some(text(reason))),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    session: &Session,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let name = resource.resource_name.as_str();
    match resource_kind(session, resource.resource_type, name)? {
        ResourceKind::Topic => {
            let known = topic::find(session, name, Operation::AlterConfigs)?;
            let named: BTreeSet<&str> = resource.configs.iter().map(|config| config.name.as_str()).collect();
            let others = known.configs.keys().filter(|name| !named.contains(name.as_str()));
            let given = resource.configs.iter().map(|config| {
                let change =
                    config.value.as_ref().map_or(Change::Delete, |value| Change::Set(value.to_string()));
                (config.name.to_string(), change)
            });
            let changes: Vec<(String, Change)> =
                given.chain(others.map(|name| (name.clone(), Change::Delete))).collect();
            topic::alter(session, name, &changes, validate_only, Instant::now() + PATIENCE).await
        }
        ResourceKind::Broker => refused(
            ResponseError::InvalidRequest,
            "the cluster's properties are changed one by one; use IncrementalAlterConfigs",
        ),
    }
}
