//! The Schema Registry over HTTP. Source: redpanda.md 3.4.
//!
//! A handler gets a [`Call`], which has been checked for content types, and gives JSON or a refusal.

mod call;
mod schemas;
mod settings;
mod subjects;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter};
use serde::Serialize;
use serde_json::json;

use self::call::Call;
use super::error::{ErrorCode, RegistryError};
use super::service::Registry;
use super::topic::KafkaTopic;
use crate::http::json as json_response;
use crate::node::Node;

/// The content type of an answer to somebody who takes any.
const REGISTRY: &str = "application/vnd.schemaregistry.v1+json";
/// Bytes of a request's body: a schema of the largest record, with every character escaped.
const BODY_BYTES_MAX: usize = 4 << 20;

/// What the handlers share.
pub(crate) struct Service {
    pub registry: Registry<KafkaTopic>,
    pub node: Arc<Node>,
}

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PUT: MethodFilter = MethodFilter::PUT;
const DELETE: MethodFilter = MethodFilter::DELETE;

type Shared = Arc<Service>;
type Answered<T> = Result<T, RegistryError>;

/// The routes.
pub(crate) fn router(service: Shared) -> Router {
    let subject = "/subjects/{subject}";
    let versions = "/subjects/{subject}/versions";
    let version = "/subjects/{subject}/versions/{version}";
    Router::new()
        .route("/schemas/types", on(GET, schemas::types))
        .route("/schemas/ids/{id}", on(GET, schemas::schema))
        .route("/schemas/ids/{id}/versions", on(GET, schemas::versions))
        .route("/schemas/ids/{id}/subjects", on(GET, schemas::subjects))
        .route("/contexts", on(GET, schemas::contexts))
        .route("/subjects", on(GET, subjects::list))
        .route(subject, on(POST, subjects::look_up).merge(on(DELETE, subjects::delete)))
        .route(versions, on(GET, subjects::versions).merge(on(POST, subjects::register)))
        .route(version, on(GET, subjects::version).merge(on(DELETE, subjects::delete_version)))
        .route(&format!("{version}/schema"), on(GET, subjects::text))
        .route(&format!("{version}/referencedby"), on(GET, subjects::referenced_by))
        .route(&format!("/compatibility{version}"), on(POST, subjects::compatibility))
        .route("/config", on(GET, settings::global_compatibility).merge(on(PUT, settings::put_compatibility)))
        .route(
            "/config/{subject}",
            on(GET, settings::compatibility)
                .merge(on(PUT, settings::put_compatibility))
                .merge(on(DELETE, settings::delete_compatibility)),
        )
        .route("/mode", on(GET, settings::global_mode).merge(on(PUT, settings::put_mode)))
        .route(
            "/mode/{subject}",
            on(GET, settings::mode)
                .merge(on(PUT, settings::put_mode))
                .merge(on(DELETE, settings::delete_mode)),
        )
        .route("/status/ready", on(GET, ready))
        .fallback(|| async { refusal(&http_error(StatusCode::NOT_FOUND, "Not found"), REGISTRY) })
        .method_not_allowed_fallback(|| async {
            refusal(&http_error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"), REGISTRY)
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(service)
}

/// A route to one of our handlers.
fn on<F, Fut, T>(method: MethodFilter, handler: F) -> MethodRouter<Shared>
where
    F: Fn(Call) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Answered<T>> + Send,
    T: Serialize,
{
    axum::routing::on(method, async move |call: Call| {
        let content_type = call.content_type;
        match handler(call).await {
            Ok(body) => json_response(StatusCode::OK, content_type, &body),
            Err(error) => refusal(&error, content_type),
        }
    })
}

/// The body of a refusal.
fn refusal(error: &RegistryError, content_type: &'static str) -> Response {
    let body = json!({"error_code": error.code.number(), "message": error.message});
    json_response(error.code.status(), content_type, &body)
}

fn http_error(status: StatusCode, message: impl Into<String>) -> RegistryError {
    RegistryError::new(ErrorCode::Http(status), message)
}

/// Ready is who can read the topic.
async fn ready(call: Call) -> Answered<serde_json::Value> {
    call.service.registry.ask(|_| Ok(json!({}))).await
}
