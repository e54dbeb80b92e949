//! ApiVersions: what is offered. The one request whose unknown versions are answered, in the form of version
//! 0 (KIP-511).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::Session;
use super::versions::{OFFERED, is_of_consumer_protocol};

pub(super) async fn answer(
    session: &Session,
    _request: ApiVersionsRequest,
    _version: i16,
) -> ApiVersionsResponse {
    response(session, None)
}

pub(super) fn response(session: &Session, error: Option<ResponseError>) -> ApiVersionsResponse {
    let consumer_protocol = session.offers_consumer_protocol();
    let offered = |key| consumer_protocol || !is_of_consumer_protocol(key);
    let keys = OFFERED.iter().filter(|entry| offered(entry.key)).map(|offered| {
        ApiVersion::default()
            .with_api_key(offered.key as i16)
            .with_min_version(offered.least)
            .with_max_version(offered.read.max)
    });
    ApiVersionsResponse::default()
        .with_error_code(error.map_or(0, |error| error.code()))
        .with_api_keys(keys.collect())
}
