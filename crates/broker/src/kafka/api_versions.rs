//! ApiVersions: what is offered. The one request whose unknown versions are answered, in the form of version
//! 0 (KIP-511). It also tells the cluster's finalised features (KIP-584): `transaction.version`, at the level that lets
//! clients have an epoch per transaction (KIP-890, KIP-1022). The level is fixed; UpdateFeatures is not offered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use super::versions::{OFFERED, is_of_consumer_protocol};
use super::{Session, text};
use crate::transactions::EPOCH_PER_TRANSACTION;

const TRANSACTION_VERSION: &str = "transaction.version";
/// From here on there are features.
const FEATURES_FROM: i16 = 3;
/// From here on clients read supported features whose least level is 0 (KAFKA-17011).
const LEVEL_0_FROM: i16 = 4;
/// Clients take over finalised features of an epoch that is higher than the one they know, which at first is -1.
const FEATURES_EPOCH: i64 = 0;

pub(super) async fn answer(
    session: &Session,
    _request: ApiVersionsRequest,
    version: i16,
) -> ApiVersionsResponse {
    let response = response(session, None);
    if version >= FEATURES_FROM { with_features(response, version) } else { response }
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

fn with_features(response: ApiVersionsResponse, version: i16) -> ApiVersionsResponse {
    let supported = SupportedFeatureKey::default()
        .with_name(text(TRANSACTION_VERSION))
        .with_min_version(0)
        .with_max_version(EPOCH_PER_TRANSACTION);
    let finalized = FinalizedFeatureKey::default()
        .with_name(text(TRANSACTION_VERSION))
        .with_min_version_level(EPOCH_PER_TRANSACTION)
        .with_max_version_level(EPOCH_PER_TRANSACTION);
    response
        .with_supported_features(if version >= LEVEL_0_FROM { vec![supported] } else { Vec::new() })
        .with_finalized_features_epoch(FEATURES_EPOCH)
        .with_finalized_features(vec![finalized])
}
