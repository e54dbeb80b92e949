//! Client metrics (KIP-714): asked for, none wanted, checked when they come all the same.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};
use uuid::Uuid;

use crate::support::{Client, start_cluster};

async fn ask(client: &mut Client, id: Uuid) -> GetTelemetrySubscriptionsResponse {
    let request = GetTelemetrySubscriptionsRequest::default().with_client_instance_id(id);
    client.ask(ApiKey::GetTelemetrySubscriptions, 0, &request).await
}

async fn push(client: &mut Client, request: PushTelemetryRequest) -> i16 {
    let answer: PushTelemetryResponse = client.ask(ApiKey::PushTelemetry, 0, &request).await;
    answer.error_code
}

#[tokio::test]
async fn a_client_gets_an_id_and_no_metrics_to_send() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    let answer = ask(&mut client, Uuid::nil()).await;
    let id = answer.client_instance_id;
    assert_eq!((answer.error_code, id.is_nil()), (0, false));
    assert!(answer.requested_metrics.is_empty() && answer.push_interval_ms == 300_000);
    assert_ne!(ask(&mut client, Uuid::nil()).await.client_instance_id, id, "each client has its own");
    let early = ask(&mut client, id).await;
    assert_eq!(early.error_code, ResponseError::ThrottlingQuotaExceeded.code());

    let pushed = PushTelemetryRequest::default()
        .with_client_instance_id(id)
        .with_subscription_id(answer.subscription_id)
        .with_metrics(Bytes::from_static(b"metrics"));
    let outdated = pushed.clone().with_subscription_id(answer.subscription_id.wrapping_add(1));
    assert_eq!(push(&mut client, outdated).await, ResponseError::UnknownSubscriptionId.code());
    let again = ask(&mut client, id).await;
    assert_eq!((again.error_code, again.subscription_id), (0, answer.subscription_id));
    assert_eq!(push(&mut client, pushed.clone().with_terminating(true)).await, 0);
    let more = push(&mut client, pushed.with_terminating(true)).await;
    assert_eq!(more, ResponseError::InvalidRequest.code(), "that was its last");
    let nameless = PushTelemetryRequest::default();
    assert_eq!(push(&mut client, nameless).await, ResponseError::InvalidRequest.code());
}
