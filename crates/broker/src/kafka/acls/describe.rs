//! DescribeAcls: the rules that a filter means, by resource.

use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use kafka_protocol::protocol::StrBytes;

use super::check_filter;
use crate::cluster::acls::{Acl, AclFilter};
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeAclsRequest,
    _version: i16,
) -> DescribeAclsResponse {
    let owned = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let filter = AclFilter {
        resource_type: request.resource_type_filter,
        resource_name: owned(request.resource_name_filter),
        pattern_type: request.pattern_type_filter,
        principal: owned(request.principal_filter),
        host: owned(request.host_filter),
        operation: request.operation,
        permission: request.permission_type,
    };
    let allowed = authorize(session, Operation::Describe, Resource::Cluster);
    let allowed = allowed.map_err(|error| (error, "the client may not describe the cluster".to_owned()));
    if let Err((error, reason)) = allowed.and_then(|()| check_filter(&filter)) {
        return DescribeAclsResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(reason)));
    }
    let resources = session
        .node
        .with_cluster(|cluster| by_resource(cluster.state.acls.iter().filter(|acl| filter.matches(acl))));
    DescribeAclsResponse::default().with_resources(resources)
}

/// Rules are sorted by resource, so those of one resource are neighbours.
fn by_resource<'a>(acls: impl Iterator<Item = &'a Acl>) -> Vec<DescribeAclsResource> {
    let mut resources: Vec<DescribeAclsResource> = Vec::new();
    for acl in acls {
        let description = AclDescription::default()
            .with_principal(text(acl.principal.clone()))
            .with_host(text(acl.host.clone()))
            .with_operation(acl.operation)
            .with_permission_type(acl.permission);
        let last = resources.last_mut().filter(|resource| {
            resource.resource_type == acl.resource_type
                && resource.resource_name.as_str() == acl.resource_name
                && resource.pattern_type == acl.pattern_type
        });
        match last {
            Some(resource) => resource.acls.push(description),
            None => resources.push(
                DescribeAclsResource::default()
                    .with_resource_type(acl.resource_type)
                    .with_resource_name(text(acl.resource_name.clone()))
                    .with_pattern_type(acl.pattern_type)
                    .with_acls(vec![description]),
            ),
        }
    }
    resources
}
