//! Sending a client to the broker that leads, as far as the Host header lets one guess where that is.
//!
//! If the client came by an address that this broker advertises to Kafka clients, it goes to the leader's Kafka
//! address at the same place of the list; otherwise to the leader's RPC address. The port stays that of the Host
//! header. Behind a shared name this sends clients round in circles, and behind a port-forward to names that they
//! cannot resolve: that is how it is. Source: redpanda.md 3.1.3.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::answer::AdminError;
use crate::cluster::members::Member;
use crate::config::{AdvertisedListener, Api, HostPort, Listener};
use crate::node::Node;

/// How long a client waits that has been sent on twice, seconds.
const RETRY_AFTER_SECONDS: u64 = 1;
/// Counts the hops in the query.
const HOPS: &str = "redirect";

/// What of a request decides where it is sent on to.
pub(super) struct Origin {
    host: Option<String>,
    uri: Uri,
    tls: bool,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned);
        let tls = parts.extensions.get::<Arc<Listener>>().is_some_and(|listener| listener.tls);
        Ok(Origin { host, uri: parts.uri.clone(), tls })
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Redirect {
    location: String,
    retry_after_seconds: Option<u64>,
}

/// Nothing if this broker is the controller's leader; the redirect to it otherwise.
///
/// # Errors
/// 503 if there is none.
pub(super) fn to_controller(node: &Node, origin: &Origin) -> Result<Option<Response>, AdminError> {
    to_leader(node, origin, super::controller(node), "redpanda/controller/0")
}

/// Nothing if this broker leads; the redirect to the leader of `what` otherwise.
///
/// # Errors
/// 503 if there is none.
pub(super) fn to_leader(
    node: &Node,
    origin: &Origin,
    leader: Option<i32>,
    what: &str,
) -> Result<Option<Response>, AdminError> {
    if leader == Some(node.id()) {
        return Ok(None);
    }
    let member = leader.and_then(|id| node.with_cluster(|cluster| cluster.members.get(id).cloned()));
    let Some(member) = member else {
        return Err(AdminError::unavailable(format!("{what} does not have a leader, cannot redirect")));
    };
    let port = node.config.listeners_of(Api::Admin).next().map_or(9644, |listener| listener.bind.port());
    Ok(Some(redirect(origin, &node.config.advertised_kafka_api, &member, port).into_response()))
}

fn redirect(origin: &Origin, own: &[AdvertisedListener], leader: &Member, admin_port: u16) -> Redirect {
    let (name, port) = match &origin.host {
        Some(host) => split_port(host),
        None => ("", Some(admin_port)),
    };
    let entered = own.iter().position(|entry| entry.address.host == name);
    let host =
        entered.and_then(|index| leader.kafka.get(index)).map_or(&leader.rpc.host, |it| &it.address.host);
    let authority = match port {
        Some(port) => HostPort::new(host.clone(), port).to_string(),
        None if host.contains(':') => format!("[{host}]"),
        None => host.clone(),
    };
    let hops = hops(&origin.uri) + 1;
    let scheme = if origin.tls { "https" } else { "http" };
    let (path, query) = (origin.uri.path(), query(&origin.uri, hops));
    Redirect {
        location: format!("{scheme}://{authority}{path}?{query}"),
        retry_after_seconds: hops.is_multiple_of(2).then_some(RETRY_AFTER_SECONDS),
    }
}

/// The name of a Host header, without brackets, and its port.
fn split_port(host: &str) -> (&str, Option<u16>) {
    if let Some(rest) = host.strip_prefix('[') {
        let end = rest.find(']').unwrap_or(rest.len());
        let port = rest[end..].strip_prefix("]:").and_then(|port| port.parse().ok());
        return (&rest[..end], port);
    }
    match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (host, None),
    }
}

fn hops(uri: &Uri) -> u64 {
    let counted = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("redirect="));
    counted.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn query(uri: &Uri, hops: u64) -> String {
    let kept = uri.query().unwrap_or_default().split('&');
    let kept = kept.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(HOPS));
    let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
    pairs.push(format!("{HOPS}={hops}"));
    pairs.join("&")
}

impl IntoResponse for Redirect {
    fn into_response(self) -> Response {
        let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
        let Ok(location) = HeaderValue::from_str(&self.location) else {
            return AdminError::bad_request("the address to redirect to cannot be written").into_response();
        };
        response.headers_mut().insert(header::LOCATION, location);
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::members::member;

    fn origin(host: Option<&str>, uri: &str) -> Origin {
        Origin { host: host.map(str::to_owned), uri: uri.parse().unwrap(), tls: false }
    }

    fn sent(host: Option<&str>, uri: &str) -> Redirect {
        redirect(&origin(host, uri), &member(0, None).kafka, &member(2, None), 9645)
    }

    #[test]
    fn a_client_that_came_by_an_advertised_address_stays_outside() {
        let redirect = sent(Some("out-0:31644"), "/v1/cluster_config?dry_run=true");
        assert_eq!(redirect.location, "http://out-2:31644/v1/cluster_config?dry_run=true&redirect=1");
        assert_eq!(redirect.retry_after_seconds, None);
    }

    #[test]
    fn any_other_client_is_sent_inside() {
        assert_eq!(sent(Some("localhost:9644"), "/v1/x").location, "http://broker-2:9644/v1/x?redirect=1");
        assert_eq!(sent(Some("gateway"), "/v1/x").location, "http://broker-2/v1/x?redirect=1");
        assert_eq!(sent(Some("[::1]:9644"), "/v1/x").location, "http://broker-2:9644/v1/x?redirect=1");
        assert_eq!(sent(None, "/v1/x").location, "http://broker-2:9645/v1/x?redirect=1");
    }

    #[test]
    fn each_second_hop_is_asked_to_wait() {
        let second = sent(Some("in-0:9644"), "/v1/x?redirect=1");
        assert_eq!(second.location, "http://in-2:9644/v1/x?redirect=2");
        assert_eq!(second.retry_after_seconds, Some(1));
        assert_eq!(sent(Some("in-0:9644"), "/v1/x?redirect=2").retry_after_seconds, None);
        assert_eq!(sent(Some("in-0:9644"), "/v1/x?redirect=3").retry_after_seconds, Some(1));
    }

    #[test]
    fn the_scheme_is_kept_and_the_list_may_be_shorter() {
        let mut leader = member(2, None);
        leader.kafka.truncate(1);
        let https = Origin { tls: true, ..origin(Some("out-0:31644"), "/v1/x") };
        let redirect = redirect(&https, &member(0, None).kafka, &leader, 9644);
        assert_eq!(redirect.location, "https://broker-2:31644/v1/x?redirect=1");
    }
}
