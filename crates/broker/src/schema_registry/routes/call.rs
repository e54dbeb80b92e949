//! A request that has passed the checks that all requests have to.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::{REGISTRY, Shared, http_error, refusal};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::store::VersionName;
use crate::schema_registry::subject::Subject;

/// What the registry reads and writes, the preferred one first (redpanda.md 3.4).
const TYPES: [&str; 3] = [REGISTRY, "application/vnd.schemaregistry+json", "application/json"];
/// Taken as JSON too.
const OCTETS: &str = "application/octet-stream";

/// A checked request.
pub(super) struct Call {
    pub service: Shared,
    /// Of the answer.
    pub content_type: &'static str,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    body: Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, service: &Shared) -> Result<Call, Response> {
        let (mut parts, body) = request.into_parts();
        let Some(content_type) = accepted(&parts.headers) else {
            let error = http_error(StatusCode::NOT_ACCEPTABLE, "HTTP 406 Not Acceptable");
            return Err(refusal(&error, REGISTRY));
        };
        let has_body = matches!(parts.method, Method::POST | Method::PUT);
        if has_body && !is_readable(&parts.headers) {
            let error = http_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP 415 Unsupported Media Type");
            return Err(refusal(&error, content_type));
        }
        let rejected = |status: StatusCode, text: String| refusal(&http_error(status, text), content_type);
        let path = Path::<BTreeMap<String, String>>::from_request_parts(&mut parts, service).await;
        let Path(path) = path.map_err(|error| rejected(error.status(), error.body_text()))?;
        let query = Query::<BTreeMap<String, String>>::from_request_parts(&mut parts, service).await;
        let Query(query) = query.map_err(|error| rejected(error.status(), error.body_text()))?;
        let body = Bytes::from_request(Request::from_parts(parts, body), service).await;
        let body = body.map_err(|error| rejected(error.status(), error.body_text()))?;
        Ok(Call { service: service.clone(), content_type, path, query, body })
    }
}

/// The type of the answer; `None` if the client takes none of ours.
fn accepted(headers: &HeaderMap) -> Option<&'static str> {
    let accepted = |known: &&&str| crate::http::accepts(headers, std::slice::from_ref(*known));
    TYPES.iter().find(accepted).copied()
}

fn is_readable(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let content_type = content_type.to_str().unwrap_or_default();
    let named = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    TYPES.contains(&named.as_str()) || named == OCTETS
}

impl Call {
    fn part(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The path's subject.
    pub fn subject(&self) -> Subject {
        Subject::parse(self.part("subject"))
    }

    /// The path's subject, if it has one.
    pub fn scope(&self) -> Option<Subject> {
        self.path.get("subject").map(|subject| Subject::parse(subject))
    }

    /// # Errors
    /// 42202.
    pub fn version(&self) -> Result<VersionName, RegistryError> {
        VersionName::parse(self.part("version"))
    }

    /// # Errors
    /// 40403: what is no id is nobody's.
    pub fn id(&self) -> Result<i32, RegistryError> {
        let missing = || {
            let message = format!("Schema {:?} not found: ids are numbers", self.part("id"));
            RegistryError::new(crate::schema_registry::error::ErrorCode::SchemaNotFound, message)
        };
        self.part("id").parse().map_err(|_| missing())
    }

    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// A parameter that is true or, if it is left out, false.
    ///
    /// # Errors
    /// 400 if it is something else.
    pub fn flag(&self, name: &str) -> Result<bool, RegistryError> {
        // Clients write it as their language does: Python's has a capital.
        match self.parameter(name).map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => {
                let message = format!("{name}={other} is neither true nor false");
                Err(http_error(StatusCode::BAD_REQUEST, message))
            }
        }
    }

    /// The body's JSON.
    ///
    /// # Errors
    /// 422 if it is none, or of another shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, RegistryError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            http_error(StatusCode::UNPROCESSABLE_ENTITY, format!("the body cannot be read: {error}"))
        })
    }
}
