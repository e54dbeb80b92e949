//! PushTelemetry: metrics that nobody wants are checked and dropped.

use kafka_protocol::messages::{PushTelemetryRequest, PushTelemetryResponse};
use tokio::time::Instant;

use super::Push;
use crate::kafka::Session;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: PushTelemetryRequest,
    _version: i16,
) -> PushTelemetryResponse {
    let push = Push {
        id: request.client_instance_id,
        subscription: request.subscription_id,
        terminating: request.terminating,
        codec: request.compression_type,
        bytes: request.metrics.len(),
    };
    let result = session.node.kafka.telemetry().push(Instant::now(), push);
    PushTelemetryResponse::default().with_error_code(result.err().map_or(0, |error| error.code()))
}
