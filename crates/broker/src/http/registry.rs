//! The Schema Registry, as far as it needs no schemas. Source: redpanda.md 3.4.
//!
//! Left out: storing schemas; there are no subjects.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::accepts;

const REGISTRY: &str = "application/vnd.schemaregistry.v1+json";
const ACCEPTED: &[&str] = &[REGISTRY, "application/vnd.schemaregistry+json", "application/json"];

/// The routes.
pub(crate) fn router() -> Router {
    Router::new()
        .route("/schemas/types", get(|headers| async { list(headers, &["JSON", "PROTOBUF", "AVRO"]) }))
        .route("/subjects", get(|headers| async { list(headers, &[]) }))
        .route("/status/ready", get(|| async { StatusCode::OK.into_response() }))
        .fallback(|| async { error(StatusCode::NOT_FOUND, 404, "Not found") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, 405, "Method not allowed")
        })
}

fn error(status: StatusCode, code: u16, message: &str) -> Response {
    super::json(status, REGISTRY, &json!({"error_code": code, "message": message}))
}

fn list(headers: HeaderMap, entries: &'static [&'static str]) -> Response {
    if !accepts(&headers, ACCEPTED) {
        return error(StatusCode::NOT_ACCEPTABLE, 406, "HTTP 406 Not Acceptable");
    }
    super::json(StatusCode::OK, REGISTRY, &entries)
}
