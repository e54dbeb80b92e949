//! CreateAcls.

use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::create_acls_response::AclCreationResult;
use kafka_protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use tokio::time::Instant;

use super::{PATIENCE, check_rule};
use crate::cluster::acls::Acl;
use crate::cluster::command::Command;
use crate::cluster::submit::submit;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_creation::kafka_error;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: CreateAclsRequest,
    _version: i16,
) -> CreateAclsResponse {
    let allowed = authorize(session, Operation::Alter, Resource::Cluster);
    let checked: Vec<Result<Acl, (i16, String)>> = request
        .creations
        .iter()
        .map(|creation| {
            allowed.map_err(|error| (error.code(), "the client may not alter the cluster".to_owned()))?;
            let acl = rule(creation);
            check_rule(&acl).map_err(|(error, reason)| (error.code(), reason))?;
            Ok(acl)
        })
        .collect();
    let acls: Vec<Acl> = checked.iter().filter_map(|checked| checked.as_ref().ok()).cloned().collect();
    let created = match acls.is_empty() {
        true => Ok(()),
        false => {
            let submitted = submit(&session.node, Command::CreateAcls { acls }, Instant::now() + PATIENCE);
            submitted.await.map(drop).map_err(kafka_error)
        }
    };
    let result = |checked: Result<Acl, (i16, String)>| match checked.and_then(|_| created.clone()) {
        Ok(()) => AclCreationResult::default(),
        Err((code, reason)) => {
            AclCreationResult::default().with_error_code(code).with_error_message(Some(text(reason)))
        }
    };
    CreateAclsResponse::default().with_results(checked.into_iter().map(result).collect())
}

fn rule(creation: &AclCreation) -> Acl {
    Acl {
        resource_type: creation.resource_type,
        resource_name: creation.resource_name.to_string(),
        pattern_type: creation.resource_pattern_type,
        principal: creation.principal.to_string(),
        host: creation.host.to_string(),
        operation: creation.operation,
        permission: creation.permission_type,
    }
}
