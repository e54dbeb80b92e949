//! A request as the handlers see it, with its checks.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::error::ProxyError;
use super::format::{CONTROL, Format};
use super::{Shared, refusal};

/// What is taken for control requests and answers, the preferred one first.
const CONTROLS: [&str; 3] = [CONTROL, "application/vnd.kafka+json", "application/json"];
/// No fetch waits longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A request.
pub(super) struct Call {
    pub proxy: Shared,
    pub headers: HeaderMap,
    path: BTreeMap<String, String>,
    query: BTreeMap<String, String>,
    body: Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, proxy: &Shared) -> Result<Call, Response> {
        let (mut parts, body) = request.into_parts();
        let rejected = |status: StatusCode, text: String| refusal(&ProxyError::http(status, text));
        let path = Path::<BTreeMap<String, String>>::from_request_parts(&mut parts, proxy).await;
        let Path(path) = path.map_err(|error| rejected(error.status(), error.body_text()))?;
        let query = Query::<BTreeMap<String, String>>::from_request_parts(&mut parts, proxy).await;
        let Query(query) = query.map_err(|error| rejected(error.status(), error.body_text()))?;
        let headers = parts.headers.clone();
        let body = Bytes::from_request(Request::from_parts(parts, body), proxy).await;
        let body = body.map_err(|error| rejected(error.status(), error.body_text()))?;
        Ok(Call { proxy: proxy.clone(), headers, path, query, body })
    }
}

fn not_acceptable() -> ProxyError {
    ProxyError::http(StatusCode::NOT_ACCEPTABLE, "HTTP 406 Not Acceptable")
}

impl Call {
    pub fn part(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Checks that the client takes a control answer; the answer's type.
    ///
    /// # Errors
    /// 406.
    pub fn accepts_control(&self) -> Result<&'static str, ProxyError> {
        if crate::http::accepts(&self.headers, &CONTROLS) { Ok(CONTROL) } else { Err(not_acceptable()) }
    }

    /// The form that the client wants records in; `default` if it takes any.
    ///
    /// # Errors
    /// 406.
    pub fn accepts_records(&self, default: Format) -> Result<Format, ProxyError> {
        let preferred = [default].into_iter().chain(Format::ALL);
        let mut acceptable =
            preferred.filter(|format| crate::http::accepts(&self.headers, &[format.content_type()]));
        acceptable.next().ok_or_else(not_acceptable)
    }

    fn content_type(&self) -> Option<String> {
        let value = self.headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }

    /// The body of a control request.
    ///
    /// # Errors
    /// 415, 422.
    pub fn control<T: DeserializeOwned + Default>(&self) -> Result<T, ProxyError> {
        match self.content_type() {
            // Redpanda takes a body without a type for nothing.
            Some(written) if CONTROLS.contains(&written.as_str()) => self.json(),
            None if self.body.is_empty() => Ok(T::default()),
            _ => Err(unsupported()),
        }
    }

    /// The body of a produce request and the form of its records.
    ///
    /// # Errors
    /// 415, 422.
    pub fn records<T: DeserializeOwned + Default>(&self) -> Result<(Format, T), ProxyError> {
        let written = self.content_type().unwrap_or_default();
        let format = Format::ALL.into_iter().find(|format| format.content_type() == written);
        Ok((format.ok_or_else(unsupported)?, self.json()?))
    }

    fn json<T: DeserializeOwned + Default>(&self) -> Result<T, ProxyError> {
        if self.body.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            let message = format!("the body cannot be read: {error}");
            ProxyError::http(StatusCode::UNPROCESSABLE_ENTITY, message)
        })
    }

    /// A number of the query.
    ///
    /// # Errors
    /// 40002 if it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ProxyError> {
        self.query.get(name).map(|text| number(name, text)).transpose()
    }

    /// A number of the path.
    ///
    /// # Errors
    /// 40002 if it is none.
    pub fn path_number<T: std::str::FromStr>(&self, name: &str) -> Result<T, ProxyError> {
        number(name, self.part(name))
    }

    /// How long and how much a fetch may be.
    ///
    /// # Errors
    /// 40002 if a limit is no number, or none at all.
    pub fn limits(&self, wait: Duration, bytes: i32) -> Result<(Duration, i32), ProxyError> {
        let wait = self.number("timeout")?.map_or(wait, Duration::from_millis).min(WAIT_MAX);
        let bytes: i32 = self.number("max_bytes")?.unwrap_or(bytes);
        if bytes < 1 {
            return Err(ProxyError::bad_request(format!("max_bytes is {bytes}; use 1 or more")));
        }
        let most = i32::try_from(self.proxy.node.config.cluster.fetch_max_bytes).unwrap_or(i32::MAX);
        Ok((wait, bytes.min(most)))
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, ProxyError> {
    text.parse()
        .map_err(|_| ProxyError::bad_request(format!("{name} is {text:?}, which is not such a number")))
}

fn unsupported() -> ProxyError {
    ProxyError::http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "HTTP 415 Unsupported Media Type")
}
