//! GetTelemetrySubscriptions: no metrics are wanted.

use kafka_protocol::messages::{GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse};
use tokio::time::Instant;

use super::{BYTES_MAX, CODECS, PUSH_INTERVAL, subscription_id};
use crate::kafka::Session;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: GetTelemetrySubscriptionsRequest,
    _version: i16,
) -> GetTelemetrySubscriptionsResponse {
    let given = request.client_instance_id;
    let id = if given.is_nil() { session.node.new_uuid() } else { given };
    let response = GetTelemetrySubscriptionsResponse::default();
    match session.node.kafka.telemetry().ask(Instant::now(), id) {
        Err(error) => response.with_error_code(error.code()),
        Ok(()) => response
            .with_client_instance_id(id)
            .with_subscription_id(subscription_id(id))
            .with_accepted_compression_types(CODECS.to_vec())
            .with_push_interval_ms(i32::try_from(PUSH_INTERVAL.as_millis()).unwrap_or(i32::MAX))
            .with_telemetry_max_bytes(BYTES_MAX as i32)
            .with_delta_temporality(true),
    }
}
