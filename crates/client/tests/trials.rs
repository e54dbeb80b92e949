//! Trials of single listeners, on loopback.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fake::locked;
use hopwise_client::trial::{
    Answer, Expect, HttpRequest, Reply, RpcExchange, TrialOptions, try_http, try_kafka, try_rpc,
};
use hopwise_client::{HostPort, Outcome};
use kafka_protocol::messages::ApiKey;

fn options() -> TrialOptions {
    TrialOptions { request_timeout: Duration::from_millis(300), ..TrialOptions::default() }
}

fn ready() -> HttpRequest {
    let check = |body: &serde_json::Value| match body["status"].as_str() {
        Some("ready") => Ok(()),
        other => Err(format!("`status` is {other:?}")),
    };
    HttpRequest {
        host: Some("redpanda-0.example.com:9644".to_owned()),
        path: "/v1/status/ready".to_owned(),
        expect: Expect { status: 200, json: Some(Arc::new(check)) },
    }
}

#[tokio::test]
async fn a_kafka_listener_tells_its_brokers() {
    let cluster = fake::start(3).await;
    let address = locked(&cluster).advertised[&0].clone();
    let trial = tokio::spawn(async move { try_kafka(&address, &options()).await }).await.expect("ends");
    assert_eq!((trial.outcome, trial.explanation.as_str()), (Outcome::Ok, ""));
    assert!(trial.connect.is_some() && trial.request.is_some() && trial.total >= trial.resolve);
    let Some(Answer::Kafka(answer)) = trial.answer else { panic!("a Kafka answer") };
    let told: Vec<_> = answer.cluster.brokers.values().map(|broker| broker.address.clone()).collect();
    assert_eq!(told, locked(&cluster).advertised.values().cloned().collect::<Vec<_>>());
    assert_eq!(answer.versions.range(ApiKey::Metadata as i16), Some((1, 9)));
}

#[tokio::test]
async fn a_kafka_listener_that_closes_after_api_versions_wants_credentials() {
    let cluster = fake::start(1).await;
    let address = locked(&cluster).advertised[&0].clone();
    locked(&cluster).faults.close = Some((ApiKey::Metadata, 1));
    let trial = try_kafka(&address, &options()).await;
    assert_eq!(trial.outcome, Outcome::AuthenticationFailed);
    assert!(trial.explanation.contains("SASL"), "{}", trial.explanation);
}

#[tokio::test]
async fn what_is_not_kafka_is_told_apart() {
    for (answer, outcome) in [
        (Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]), Outcome::ProtocolMismatch),
        (Some(&[0x15, 3, 3, 0, 2, 2, 0x46]), Outcome::ProtocolMismatch),
        (Some(b"HTT"), Outcome::Refused),
        (Some(b""), Outcome::Refused),
        (None, Outcome::Timeout),
    ] {
        let trial = try_kafka(&fake::server(answer).await, &options()).await;
        assert_eq!(trial.outcome, outcome, "{}", trial.explanation);
        assert!(trial.answer.is_none() && trial.connect.is_some());
    }
    let refused = try_kafka(&fake::closed_port().await, &options()).await;
    assert_eq!((refused.outcome, refused.request), (Outcome::Refused, None));
    let nameless = try_kafka(&HostPort::new("", 1), &options()).await;
    assert_eq!((nameless.outcome, nameless.connect), (Outcome::NameNotFound, None));
}

#[tokio::test]
async fn an_http_listener_is_judged_by_status_and_body() {
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"status\":\"ready\"}";
    let trial = try_http(&fake::server(Some(good)).await, &ready(), &options()).await;
    assert_eq!((trial.outcome, trial.explanation.as_str()), (Outcome::Ok, ""));
    let Some(Answer::Http(answer)) = trial.answer else { panic!("an HTTP answer") };
    assert_eq!((answer.status, &answer.body[..]), (200, &b"{\"status\":\"ready\"}"[..]));

    let cases: [(&'static [u8], Outcome, &str); 6] = [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Outcome::ProtocolMismatch, "answered 404"),
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", Outcome::AuthenticationFailed, "credentials"),
        (
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://redpanda-1:9644/\r\ncontent-length: 0\r\n\r\n",
            Outcome::ProtocolMismatch,
            "to http://redpanda-1:9644/",
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n<ok>", Outcome::ProtocolMismatch, "not JSON"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Outcome::ProtocolMismatch, "`status` is None"),
        (&[0x15, 3, 3, 0, 2, 2, 0x46], Outcome::ProtocolMismatch, "TLS alert"),
    ];
    for (answer, outcome, words) in cases {
        let trial = try_http(&fake::server(Some(answer)).await, &ready(), &options()).await;
        assert_eq!(trial.outcome, outcome, "{}", trial.explanation);
        assert!(trial.explanation.contains(words), "{}", trial.explanation);
    }
    let closed = try_http(&fake::server(Some(b"")).await, &ready(), &options()).await;
    assert_eq!(closed.outcome, Outcome::Refused, "{}", closed.explanation);
    let silent = try_http(&fake::server(None).await, &ready(), &options()).await;
    assert_eq!(silent.outcome, Outcome::Timeout, "{}", silent.explanation);
    let kafka = fake::start(1).await;
    let address = locked(&kafka).advertised[&0].clone();
    let kafka = try_http(&address, &ready(), &options()).await;
    assert_ne!(kafka.outcome, Outcome::Ok, "{}", kafka.explanation);
}

#[tokio::test]
async fn an_rpc_listener_is_greeted_if_the_greeting_is_known() {
    let hello = RpcExchange {
        greeting: Bytes::from_static(b"hello"),
        judge: Arc::new(|reply| match reply {
            b"welcome" => Reply::Accepted,
            _ if b"welcome".starts_with(reply) => Reply::More,
            _ => Reply::Rejected("it does not begin with `welcome`".to_owned()),
        }),
    };
    let open = try_rpc(&fake::server(None).await, None, &options()).await;
    assert_eq!(open.outcome, Outcome::Ok);
    let greeted = try_rpc(&fake::server(Some(b"welcome")).await, Some(&hello), &options()).await;
    assert_eq!(greeted.outcome, Outcome::Ok, "{}", greeted.explanation);
    assert!(matches!(greeted.answer, Some(Answer::Rpc(reply)) if reply == "welcome"));
    for (answer, outcome) in [
        (Some(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]), Outcome::ProtocolMismatch),
        (Some(b"wel"), Outcome::Refused),
        (None, Outcome::Timeout),
    ] {
        let trial = try_rpc(&fake::server(answer).await, Some(&hello), &options()).await;
        assert_eq!(trial.outcome, outcome, "{}", trial.explanation);
    }
}
