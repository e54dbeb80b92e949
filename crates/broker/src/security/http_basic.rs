//! HTTP basic authentication (RFC 7617) on the Admin API, the HTTP Proxy and the Schema Registry, against the
//! same users as SASL.
//!
//! Source: redpanda.md 3.1.2 (what the Admin API tells anybody, users, and superusers alone) and 2.1
//! (`authentication_method: http_basic`, `admin_api_require_auth`).

use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::users::{ClusterUsers, is_superuser};
use crate::config::{Api, Authentication, Listener};
use crate::kafka::principal::Principal;
use crate::node::Node;

/// Lets a request through, with its [`Principal`] as an extension, or says what to answer instead.
///
/// # Errors
/// 401 if nobody or nobody known asks, 403 if it is somebody who may not.
pub(crate) fn admit<B>(
    node: &Node,
    listener: &Listener,
    request: &mut Request<B>,
) -> Result<(), Box<Response>> {
    if listener.authentication != Authentication::HttpBasic {
        request.extensions_mut().insert(Principal::Anonymous);
        return Ok(());
    }
    let known = credentials(request.headers())
        .filter(|(user, password)| node.passwords.check(&ClusterUsers(node), user, password));
    let needed = match listener.api {
        Api::Admin => admin_level(request.method(), request.uri().path()),
        _ => Level::User,
    };
    match (known, needed) {
        (None, Level::Anybody) => {
            request.extensions_mut().insert(Principal::Anonymous);
            Ok(())
        }
        (None, _) => Err(Box::new(refused(listener.api, StatusCode::UNAUTHORIZED))),
        (Some((user, _)), Level::Superuser) if !is_superuser(node, &user) => {
            Err(Box::new(refused(listener.api, StatusCode::FORBIDDEN)))
        }
        (Some((user, _)), _) => {
            request.extensions_mut().insert(Principal::User(user));
            Ok(())
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Anybody,
    User,
    Superuser,
}

/// redpanda.md 3.1.2.
fn admin_level(method: &Method, path: &str) -> Level {
    const ANYBODY: [&str; 6] = [
        "/v1/status/ready",
        "/v1/cluster/health_overview",
        "/v1/cluster/uuid",
        "/v1/cluster_config/schema",
        "/v1/cluster/partition_balancer/status",
        "/public_metrics",
    ];
    const USER: [&str; 5] =
        ["/v1/brokers", "/v1/partitions", "/v1/features", "/v1/cluster/partitions", "/v1/broker_uuids"];
    if method != Method::GET {
        return Level::Superuser;
    }
    if ANYBODY.contains(&path) || path == "/metrics" {
        return Level::Anybody;
    }
    let below = |prefix: &&str| {
        path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if USER.iter().any(|prefix| below(&prefix)) { Level::User } else { Level::Superuser }
}

/// User and password of an `Authorization` header.
pub(crate) fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn refused(api: Api, status: StatusCode) -> Response {
    let message = if status == StatusCode::FORBIDDEN { "Forbidden" } else { "Unauthorized" };
    let code = status.as_u16();
    let (content_type, body) = match api {
        Api::HttpProxy => (
            "application/vnd.kafka.v2+json",
            json!({"error_code": u32::from(code) * 100 + 1, "message": message}),
        ),
        Api::SchemaRegistry => (
            "application/vnd.schemaregistry.v1+json",
            json!({"error_code": u32::from(code) * 100 + 1, "message": message}),
        ),
        _ => ("application/json", json!({"message": message, "code": code})),
    };
    let headers =
        [(header::CONTENT_TYPE, content_type), (header::WWW_AUTHENTICATE, "Basic realm=\"redpanda\"")];
    (status, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_paths_have_their_levels() {
        let level = |method, path| admin_level(&method, path);
        assert_eq!(level(Method::GET, "/v1/status/ready"), Level::Anybody);
        assert_eq!(level(Method::GET, "/v1/brokers"), Level::User);
        assert_eq!(level(Method::GET, "/v1/brokers/1/decommission"), Level::User);
        assert_eq!(level(Method::GET, "/v1/brokersx"), Level::Superuser);
        assert_eq!(level(Method::PUT, "/v1/brokers/1/decommission"), Level::Superuser);
        assert_eq!(level(Method::GET, "/v1/node_config"), Level::Superuser);
    }

    #[test]
    fn credentials_are_those_of_rfc_7617() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            credentials(&headers)
        };
        let found = Some(("Aladdin".to_owned(), "open sesame".to_owned()));
        assert_eq!(with("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), found);
        assert_eq!(with("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), found);
        for value in ["Bearer x", "Basic", "Basic !", "Basic QWxhZGRpbg=="] {
            assert_eq!(with(value), None, "{value}");
        }
    }
}
