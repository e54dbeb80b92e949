//! HTTP basic authentication (RFC 7617) on the Admin API, the HTTP Proxy and the Schema Registry, against the
//! same users as SASL.
//!
//! The Admin API's routes decide for themselves who may use them (`http::admin::access`). Source: redpanda.md 2.1
//! (`authentication_method: http_basic`).

use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::users::ClusterUsers;
use crate::config::{Api, Authentication, Listener};
use crate::kafka::principal::Principal;
use crate::node::Node;

/// Lets a request through, with its [`Principal`] as an extension, or says what to answer instead.
///
/// # Errors
/// 401 if the listener asks for credentials and nobody known asks.
pub(crate) fn admit<B>(
    node: &Node,
    listener: &Listener,
    request: &mut Request<B>,
) -> Result<(), Box<Response>> {
    let credentials = credentials(request.headers());
    let known = credentials
        .filter(|(user, password)| node.passwords.check(&ClusterUsers(node), user, password))
        .map(|(user, _)| Principal::User(user));
    let asks = listener.authentication == Authentication::HttpBasic;
    // On the Admin API each route says who may use it.
    if known.is_none() && asks && listener.api != Api::Admin {
        return Err(Box::new(refused(listener.api)));
    }
    request.extensions_mut().insert(known.unwrap_or(Principal::Anonymous));
    Ok(())
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

fn refused(api: Api) -> Response {
    let content_type = match api {
        Api::HttpProxy => "application/vnd.kafka.v2+json",
        _ => "application/vnd.schemaregistry.v1+json",
    };
    let body = json!({"error_code": 40_101, "message": "Unauthorized"});
    let headers =
        [(header::CONTENT_TYPE, content_type), (header::WWW_AUTHENTICATE, "Basic realm=\"redpanda\"")];
    (StatusCode::UNAUTHORIZED, headers, body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

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
