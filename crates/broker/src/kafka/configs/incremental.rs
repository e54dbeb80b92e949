//! IncrementalAlterConfigs: properties are set, deleted, appended to or subtracted from (KIP-339).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use tokio::time::Instant;

use super::alter::PATIENCE;
use super::{Change, Refused, ResourceKind, broker, refused, resource_kind, topic};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    session: &Session,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let name = resource.resource_name.as_str();
    let kind = resource_kind(session, resource.resource_type, name)?;
    let changes = resource.configs.iter().map(|config| {
        let change = change(config.config_operation, config.value.as_ref().map(|value| value.to_string()));
        change.map(|change| (config.name.to_string(), change)).or_else(|problem| {
            refused(ResponseError::InvalidRequest, format!("{}: {problem}", config.name.as_str()))
        })
    });
    let changes = changes.collect::<Result<Vec<(String, Change)>, Refused>>()?;
    let deadline = Instant::now() + PATIENCE;
    match kind {
        ResourceKind::Topic => topic::alter(session, name, &changes, validate_only, deadline).await,
        ResourceKind::Broker => broker::alter(session, &changes, validate_only, deadline).await,
    }
}

fn change(operation: i8, value: Option<String>) -> Result<Change, String> {
    let with_value: fn(String) -> Change = match operation {
        0 => Change::Set,
        1 => return Ok(Change::Delete),
        2 => Change::Append,
        3 => Change::Subtract,
        other => {
            return Err(format!("operation {other}; use 0 (set), 1 (delete), 2 (append) or 3 (subtract)"));
        }
    };
    value.map(with_value).ok_or_else(|| "a value is missing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_their_codes() {
        let value = || Some("v".to_owned());
        assert_eq!(change(0, value()), Ok(Change::Set("v".to_owned())));
        assert_eq!(change(1, None), Ok(Change::Delete));
        assert_eq!(change(2, value()), Ok(Change::Append("v".to_owned())));
        assert_eq!(change(3, value()), Ok(Change::Subtract("v".to_owned())));
        assert!(change(4, value()).is_err() && change(0, None).is_err());
    }
}
