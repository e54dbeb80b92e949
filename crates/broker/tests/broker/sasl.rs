//! Users, and listeners that ask who their clients are.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hopwise_broker::{BootstrapUser, Counter, Environment};
use hopwise_security::Randomness;
use hopwise_security::sasl::{ClientSession, ClientStep, Login, Mechanism};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{Client, PATIENCE, TestBroker, new_cluster};

const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;
const AUTHENTICATION_FAILED: i16 = 58;

/// A broker with SASL and the users alice (SHA-256) and bob (SHA-512).
async fn broker_with_users(bootstrap: &str) -> (TestBroker, watch::Sender<Vec<BootstrapUser>>) {
    let mut broker = new_cluster(1).remove(0);
    broker.bootstrap.push_str("enable_sasl: true\nsasl_mechanisms: [SCRAM, PLAIN]\n");
    broker.bootstrap.push_str(bootstrap);
    let user = |text| BootstrapUser::parse(text, Mechanism::ScramSha256).unwrap();
    let (sender, users) = watch::channel(vec![user("alice:wonder"), user("bob:builder:SCRAM-SHA-512")]);
    broker.environment = Environment { users, ..Environment::default() };
    broker.start();
    broker.ready().await;
    (broker, sender)
}

async fn handshake(client: &mut Client, mechanism: &str, version: i16) -> SaslHandshakeResponse {
    let mechanism = StrBytes::from_string(mechanism.to_owned());
    let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
    client.ask(ApiKey::SaslHandshake, version, &request).await
}

async fn authenticate(client: &mut Client, token: Vec<u8>, version: i16) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(token));
    client.ask(ApiKey::SaslAuthenticate, version, &request).await
}

/// Logs in with framed tokens; the error code of the last answer.
async fn log_in(client: &mut Client, login: Login, version: i16) -> i16 {
    let shaken = handshake(client, login.mechanism().name(), 1).await;
    assert_eq!(shaken.error_code, 0);
    let (mut session, mut token) = ClientSession::start(login, &Randomness::from_seed(4));
    loop {
        let answer = authenticate(client, token, version).await;
        if answer.error_code != 0 {
            return answer.error_code;
        }
        match session.step(&answer.auth_bytes).unwrap() {
            ClientStep::Respond(next) => token = next,
            ClientStep::Done => return 0,
        }
    }
}

/// The users are created after the start.
async fn users_exist(broker: &TestBroker) {
    let exist = async {
        loop {
            let mut client = broker.client().await;
            if log_in(&mut client, Login::new(Mechanism::Plain, "bob", "builder"), 0).await == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, exist).await.expect("the users are created");
}

#[tokio::test]
async fn each_mechanism_and_version_lets_its_users_in() {
    let (broker, _users) = broker_with_users("").await;
    users_exist(&broker).await;
    for (mechanism, user, password) in [
        (Mechanism::ScramSha256, "alice", "wonder"),
        (Mechanism::ScramSha512, "bob", "builder"),
        (Mechanism::Plain, "alice", "wonder"),
        (Mechanism::Plain, "bob", "builder"),
    ] {
        for version in 0..=2 {
            let mut client = broker.client().await;
            assert_eq!(log_in(&mut client, Login::new(mechanism, user, password), version).await, 0);
            assert_eq!(client.metadata(None).await.brokers.len(), 1);
        }
    }
}

/// The connection is still there, and whatever is sent ends it.
async fn nothing_more_is_answered(mut client: Client) {
    client.send(ApiKey::ApiVersions, 2, &ApiVersionsRequest::default()).await;
    assert_eq!(client.receive().await, None, "the connection stays open");
}

#[tokio::test]
async fn after_a_wrong_password_error_58_can_be_read_and_nothing_more_is_answered() {
    let (broker, _users) = broker_with_users("").await;
    users_exist(&broker).await;
    let failed = broker.status.count(Counter::FailedAuthentications);
    for login in [
        Login::new(Mechanism::ScramSha256, "alice", "wander"),
        Login::new(Mechanism::ScramSha512, "alice", "wonder"),
        Login::new(Mechanism::ScramSha256, "nobody", "wonder"),
        Login::new(Mechanism::Plain, "bob", "wonder"),
    ] {
        let mut client = broker.client().await;
        assert_eq!(log_in(&mut client, login, 2).await, AUTHENTICATION_FAILED);
        nothing_more_is_answered(client).await;
    }
    assert_eq!(broker.status.count(Counter::FailedAuthentications), failed + 4);
}

#[tokio::test]
async fn before_authentication_only_three_keys_are_answered() {
    let (broker, _users) = broker_with_users("").await;
    let mut client = broker.client().await;
    let request = ApiVersionsRequest::default();
    let versions: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 2, &request).await;
    let keys: Vec<i16> = versions.api_keys.iter().map(|key| key.api_key).collect();
    assert!(keys.contains(&17) && keys.contains(&36), "{keys:?}");
    client.send(ApiKey::Metadata, 1, &MetadataRequest::default()).await;
    assert_eq!(client.receive().await, None);

    let mut client = broker.client().await;
    let early = authenticate(&mut client, b"\0alice\0wonder".to_vec(), 1).await;
    assert_eq!(early.error_code, ILLEGAL_STATE);
    nothing_more_is_answered(client).await;

    let mut client = broker.client().await;
    let unknown = handshake(&mut client, "GSSAPI", 1).await;
    assert_eq!(unknown.error_code, UNSUPPORTED_MECHANISM);
    let names: Vec<&str> = unknown.mechanisms.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"]);
    client.send(ApiKey::Metadata, 1, &MetadataRequest::default()).await;
    assert_eq!(client.receive().await, None);
}

#[tokio::test]
async fn after_a_handshake_of_version_0_tokens_are_bare() {
    let (broker, _users) = broker_with_users("").await;
    users_exist(&broker).await;
    let mut client = broker.client().await;
    assert_eq!(handshake(&mut client, "SCRAM-SHA-256", 0).await.error_code, 0);
    let login = Login::new(Mechanism::ScramSha256, "alice", "wonder");
    let (mut session, first) = ClientSession::start(login, &Randomness::from_seed(4));
    client.send_frame(&first).await;
    let challenge = client.receive().await.unwrap();
    let ClientStep::Respond(proof) = session.step(&challenge).unwrap() else { panic!("no proof") };
    client.send_frame(&proof).await;
    assert_eq!(session.step(&client.receive().await.unwrap()), Ok(ClientStep::Done));
    assert_eq!(client.metadata(None).await.brokers.len(), 1);

    let mut client = broker.client().await;
    handshake(&mut client, "PLAIN", 0).await;
    client.send_frame(b"\0alice\0wander").await;
    assert_eq!(client.receive().await, None);
    let mut client = broker.client().await;
    handshake(&mut client, "PLAIN", 0).await;
    client.send_frame(b"\0alice\0wonder").await;
    assert_eq!(client.receive().await.as_deref(), Some(&b""[..]));
    assert_eq!(client.metadata(None).await.brokers.len(), 1);
}

#[tokio::test]
async fn a_connection_may_authenticate_again_but_not_change_hands() {
    let (broker, _users) = broker_with_users("").await;
    users_exist(&broker).await;
    let mut client = broker.client().await;
    let alice = || Login::new(Mechanism::ScramSha256, "alice", "wonder");
    assert_eq!(log_in(&mut client, alice(), 2).await, 0);
    assert_eq!(log_in(&mut client, alice(), 2).await, 0);
    assert_eq!(client.metadata(None).await.brokers.len(), 1);
    let bob = Login::new(Mechanism::Plain, "bob", "builder");
    assert_eq!(log_in(&mut client, bob, 2).await, AUTHENTICATION_FAILED);
    nothing_more_is_answered(client).await;
}

#[tokio::test]
async fn a_session_that_is_not_renewed_ends_with_the_next_request() {
    let (broker, _users) = broker_with_users("kafka_sasl_max_reauth_ms: 1000\n").await;
    users_exist(&broker).await;
    let login = || Login::new(Mechanism::Plain, "alice", "wonder");
    let mut client = broker.client().await;
    assert_eq!(handshake(&mut client, "PLAIN", 1).await.error_code, 0);
    let (_, token) = ClientSession::start(login(), &Randomness::from_seed(4));
    let answer = authenticate(&mut client, token, 2).await;
    assert_eq!(answer.error_code, 0);
    assert!((1..=1000).contains(&answer.session_lifetime_ms), "{}", answer.session_lifetime_ms);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let asked: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await;
    assert_eq!(asked.error_code, 0);
    assert_eq!(log_in(&mut client, login(), 2).await, 0, "it may authenticate late");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    client.send(ApiKey::Metadata, 12, &MetadataRequest::default()).await;
    assert_eq!(client.receive().await, None);
    let metrics = get(&broker, 9644, "/public_metrics", None).await.1;
    for counted in [
        "redpanda_kafka_rpc_sasl_session_expiration_total 1",
        "redpanda_kafka_rpc_sasl_session_reauth_attempts_total 1",
    ] {
        assert!(metrics.contains(counted), "{counted}");
    }
}

#[tokio::test]
async fn users_that_appear_later_exist_too() {
    let (broker, users) = broker_with_users("").await;
    users_exist(&broker).await;
    let carol = BootstrapUser::parse("carol:late", Mechanism::ScramSha256).unwrap();
    users.send_modify(|users| users.push(carol));
    let exist = async {
        loop {
            let mut client = broker.client().await;
            let login = Login::new(Mechanism::ScramSha256, "carol", "late");
            if log_in(&mut client, login, 2).await == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, exist).await.expect("the user is created");
}

#[tokio::test]
async fn without_sasl_a_handshake_is_an_illegal_state() {
    let mut broker = new_cluster(1).remove(0);
    broker.start();
    broker.ready().await;
    let mut client = broker.client().await;
    let answer = handshake(&mut client, "SCRAM-SHA-256", 1).await;
    assert_eq!(answer.error_code, ILLEGAL_STATE);
    let names: Vec<&str> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["SCRAM-SHA-256", "SCRAM-SHA-512"]);
}

async fn get(broker: &TestBroker, port: u16, path: &str, login: Option<&str>) -> (u16, String) {
    let mut stream = TcpStream::connect((broker.ip, port)).await.unwrap();
    let login =
        login.map_or(String::new(), |login| format!("authorization: Basic {}\r\n", STANDARD.encode(login)));
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{login}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    (text.split(' ').nth(1).unwrap().parse().unwrap(), text)
}

#[tokio::test]
async fn http_listeners_ask_for_the_same_users() {
    let properties = "admin_api_require_auth: true\nsuperusers: [alice]\n";
    let (mut broker, _users) = broker_with_users(properties).await;
    broker.kill().await;
    broker.yaml = broker
        .yaml
        .replace("port: 8082}", "port: 8082, authentication_method: http_basic}")
        .replace("port: 8081}", "port: 8081, authentication_method: http_basic}");
    broker.start();
    broker.ready().await;
    users_exist(&broker).await;
    for (port, path) in [(8082, "/brokers"), (8081, "/subjects"), (9644, "/v1/brokers")] {
        let (status, text) = get(&broker, port, path, None).await;
        assert_eq!(status, 401, "{text}");
        assert!(text.to_ascii_lowercase().contains("www-authenticate: basic"), "{text}");
        assert_eq!(get(&broker, port, path, Some("alice:wander")).await.0, 401);
        assert_eq!(get(&broker, port, path, Some("bob:builder")).await.0, 200, "{path}");
        assert_eq!(get(&broker, port, path, Some("alice:wonder")).await.0, 200, "{path}");
    }
    assert_eq!(get(&broker, 9644, "/v1/status/ready", None).await.0, 200);
    assert_eq!(get(&broker, 9644, "/v1/node_config", Some("bob:builder")).await.0, 403);
    assert_eq!(get(&broker, 9644, "/v1/node_config", Some("alice:wonder")).await.0, 200);
}
