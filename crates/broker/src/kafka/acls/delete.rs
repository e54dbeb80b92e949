//! DeleteAcls: removes what filters mean, and tells what that was.

use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_acls_response::{DeleteAclsFilterResult, DeleteAclsMatchingAcl};
use kafka_protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::{PATIENCE, check_filter};
use crate::cluster::acls::{Acl, AclFilter};
use crate::cluster::command::{Applied, Command};
use crate::cluster::submit::submit;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_creation::kafka_error;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DeleteAclsRequest,
    _version: i16,
) -> DeleteAclsResponse {
    let allowed = authorize(session, Operation::Alter, Resource::Cluster);
    let check = |filter: &DeleteAclsFilter| -> Result<AclFilter, (i16, String)> {
        allowed.map_err(|error| (error.code(), "the client may not alter the cluster".to_owned()))?;
        let filter = acl_filter(filter);
        check_filter(&filter).map_err(|(error, reason)| (error.code(), reason))?;
        Ok(filter)
    };
    let checked: Vec<Result<AclFilter, (i16, String)>> = request.filters.iter().map(check).collect();
    let filters: Vec<AclFilter> =
        checked.iter().filter_map(|checked| checked.as_ref().ok()).cloned().collect();
    let mut removed = remove(session, filters).await.map(Vec::into_iter);
    let results = checked.into_iter().map(|checked| match (checked, &mut removed) {
        (Ok(_), Ok(removed)) => {
            let acls = removed.next().unwrap_or_default();
            DeleteAclsFilterResult::default().with_matching_acls(acls.iter().map(matching).collect())
        }
        (Ok(_), Err((code, reason))) => failed(*code, reason.clone()),
        (Err((code, reason)), _) => failed(code, reason),
    });
    DeleteAclsResponse::default().with_filter_results(results.collect())
}

/// Removes the rules; tells them, per filter.
async fn remove(session: &Session, filters: Vec<AclFilter>) -> Result<Vec<Vec<Acl>>, (i16, String)> {
    if filters.is_empty() {
        return Ok(Vec::new());
    }
    let command = Command::DeleteAcls { filters };
    match submit(&session.node, command, Instant::now() + PATIENCE).await.map_err(kafka_error)? {
        Applied::RemovedAcls(removed) => Ok(removed),
        other => Err((-1, format!("the controller answers {other:?}"))),
    }
}

fn failed(code: i16, reason: String) -> DeleteAclsFilterResult {
    DeleteAclsFilterResult::default().with_error_code(code).with_error_message(Some(text(reason)))
}

fn acl_filter(filter: &DeleteAclsFilter) -> AclFilter {
    let owned = |text: &Option<StrBytes>| text.as_ref().map(|text| text.to_string());
    AclFilter {
        resource_type: filter.resource_type_filter,
        resource_name: owned(&filter.resource_name_filter),
        pattern_type: filter.pattern_type_filter,
        principal: owned(&filter.principal_filter),
        host: owned(&filter.host_filter),
        operation: filter.operation,
        permission: filter.permission_type,
    }
}

fn matching(acl: &Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl::default()
        .with_resource_type(acl.resource_type)
        .with_resource_name(text(acl.resource_name.clone()))
        .with_pattern_type(acl.pattern_type)
        .with_principal(text(acl.principal.clone()))
        .with_host(text(acl.host.clone()))
        .with_operation(acl.operation)
        .with_permission_type(acl.permission)
}
