//! ApiVersions: what is offered. The one request whose unknown versions are answered, in the form of version
//! 0 (KIP-511).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::Session;
use super::versions::OFFERED;

pub(super) async fn answer(
    _session: &Session,
    _request: ApiVersionsRequest,
    _version: i16,
) -> ApiVersionsResponse {
    response(None)
}

pub(super) fn response(error: Option<ResponseError>) -> ApiVersionsResponse {
    let keys = OFFERED.iter().map(|offered| {
        ApiVersion::default()
            .with_api_key(offered.key as i16)
            .with_min_version(offered.least)
            .with_max_version(offered.read.max)
    });
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_api_keys(keys.collect())
}
