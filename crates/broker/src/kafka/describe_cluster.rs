//! DescribeCluster: the brokers and the controller (KIP-700, KIP-919, KIP-1073).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use tokio::time::Instant;

use super::authorization::{OPERATIONS_NOT_ASKED, Resource, authorized_operations};
use super::metadata::{cluster_id, overview};
use super::{Session, leaders, text};

/// Endpoint types: brokers, controllers.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(super) async fn answer(
    session: &Session,
    request: DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    let endpoint_type = if version >= 1 { request.endpoint_type } else { BROKERS };
    if endpoint_type != BROKERS {
        let (error, reason) = match endpoint_type {
            CONTROLLERS => (ResponseError::MismatchedEndpointType, "this is a broker, not a controller"),
            _ => (ResponseError::UnsupportedEndpointType, "the endpoint type is not known"),
        };
        return DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(reason)));
    }
    let now = Instant::now();
    let overview = overview(session, now);
    let mut brokers: Vec<DescribeClusterBroker> = overview.brokers.into_iter().map(broker).collect();
    if version >= 2 && request.include_fenced_brokers {
        brokers.extend(dead(session, now).into_iter().map(|endpoint| broker(endpoint).with_is_fenced(true)));
    }
    let operations = match request.include_cluster_authorized_operations {
        true => session
            .node
            .with_cluster(|cluster| authorized_operations(session, &cluster.state, Resource::Cluster)),
        false => OPERATIONS_NOT_ASKED,
    };
    DescribeClusterResponse::default()
        .with_cluster_id(text(cluster_id(session)))
        .with_controller_id(BrokerId(overview.controller))
        .with_brokers(brokers)
        .with_cluster_authorized_operations(operations)
}

fn broker(endpoint: leaders::Endpoint) -> DescribeClusterBroker {
    DescribeClusterBroker::default()
        .with_broker_id(BrokerId(endpoint.id))
        .with_host(text(endpoint.address.host))
        .with_port(endpoint.address.port.into())
        .with_rack(endpoint.rack.map(text))
}

/// The members that are left out because they are not heard.
fn dead(session: &Session, now: Instant) -> Vec<leaders::Endpoint> {
    let own = session.node.id();
    session.node.with_cluster(|cluster| {
        let named: Vec<i32> = cluster.members.named(now).iter().map(|member| member.id).collect();
        let dead = cluster.members.all().filter(|member| !named.contains(&member.id));
        dead.filter_map(|member| leaders::endpoint(member, own, session)).collect()
    })
}
