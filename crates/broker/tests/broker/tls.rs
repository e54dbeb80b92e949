//! Listeners that speak TLS, on real sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hopwise_broker::{BrokerError, Environment};
use hopwise_security::Randomness;
use hopwise_security::certificate::{Certificate, CertificateRequest, KeyPair, self_signed, signed_by};
use hopwise_security::tls::{ClientSettings, TlsConnector, TlsFailure, TlsStream};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Client, NOW_MS, TestBroker, new_cluster, own_address, yaml};

/// The mounted files, which a test may change.
#[derive(Clone, Default)]
pub struct Mounts(Arc<Mutex<BTreeMap<String, Bytes>>>);

impl Mounts {
    pub fn put(&self, path: &str, content: &str) {
        self.0.lock().unwrap().insert(path.to_owned(), Bytes::copy_from_slice(content.as_bytes()));
    }

    pub fn environment(&self) -> Environment {
        let files = Arc::clone(&self.0);
        Environment {
            files: Arc::new(move |path: &Path| files.lock().unwrap().get(path.to_str()?).cloned()),
            ..Environment::default()
        }
    }

    /// A certificate with its key and authority, as a mounted Secret has them.
    pub fn put_certificate(&self, authority: &Certificate, certificate: &Certificate) {
        self.put("/certs/tls.crt", &certificate.pem);
        self.put("/certs/tls.key", &certificate.key.to_pem().unwrap());
        self.put("/certs/ca.crt", &authority.pem);
    }
}

fn request(name: &str) -> CertificateRequest {
    let now = NOW_MS as u64 / 1000;
    CertificateRequest {
        common_name: Some(name.to_owned()),
        not_before_s: now - 3600,
        not_after_s: now + 3600,
        server: true,
        client: true,
        ..CertificateRequest::default()
    }
}

pub fn authority(name: &str) -> Certificate {
    let request = CertificateRequest { is_authority: true, server: false, client: false, ..request(name) };
    self_signed(&request, KeyPair::from_seed(1, name)).unwrap()
}

pub fn leaf(authority: &Certificate, name: &str, addresses: &[IpAddr]) -> Certificate {
    let request = CertificateRequest {
        dns_names: vec![name.to_owned()],
        ip_addresses: addresses.to_vec(),
        ..request(name)
    };
    let key = KeyPair::from_seed(2, name);
    signed_by(&authority.pem, &authority.key.to_pem().unwrap(), &request, key).unwrap()
}

/// The file of a broker whose every listener speaks TLS; `more` is added to each entry.
pub fn with_tls(yaml: &str, more: &str) -> String {
    let files = "cert_file: /certs/tls.crt, key_file: /certs/tls.key, truststore_file: /certs/ca.crt";
    let entry = |name: &str| format!("{{name: {name}, enabled: true, {files}{more}}}");
    let entries = format!("[{}, {}]", entry("internal"), entry("default"));
    let rpc = format!("{{enabled: true, {files}{more}}}");
    yaml.replace("  admin:\n", &format!("  admin_api_tls: {entries}\n  admin:\n"))
        .replace("  kafka_api:\n", &format!("  kafka_api_tls: {entries}\n  kafka_api:\n"))
        .replace("  rpc_server:", &format!("  rpc_server_tls: {rpc}\n  rpc_server:"))
        .replace("  pandaproxy_api:\n", &format!("  pandaproxy_api_tls: {entries}\n  pandaproxy_api:\n"))
        .replace(
            "  schema_registry_api:\n",
            &format!("  schema_registry_api_tls: {entries}\n  schema_registry_api:\n"),
        )
        + &["pandaproxy_client", "schema_registry_client"]
            .map(|section| format!("{section}: {{broker_tls: {{enabled: true, {files}}}}}\n"))
            .concat()
}

/// One broker with TLS everywhere.
fn tls_broker(more: &str) -> (TestBroker, Mounts, Certificate) {
    let ip = own_address();
    let authority = authority("ca");
    let mounts = Mounts::default();
    mounts.put_certificate(&authority, &leaf(&authority, "broker.example", &[ip]));
    let mut broker = TestBroker::new(ip, with_tls(&yaml(ip, 0, &[ip]), more));
    broker.environment = mounts.environment();
    (broker, mounts, authority)
}

pub fn connector(authority: &Certificate, identity: Option<&Certificate>) -> TlsConnector {
    let settings = ClientSettings {
        authorities: Some(authority.pem.clone().into_bytes()),
        identity: identity.map(|own| (own.pem.clone().into_bytes(), own.key.to_pem().unwrap().into_bytes())),
        ..ClientSettings::default()
    };
    TlsConnector::new(&settings, Arc::new(|| NOW_MS), Randomness::from_seed(9)).unwrap()
}

pub async fn connect(
    connector: &TlsConnector,
    ip: IpAddr,
    port: u16,
    name: &str,
) -> Result<TlsStream<TcpStream>, TlsFailure> {
    connector.connect(name, TcpStream::connect((ip, port)).await.unwrap()).await
}

async fn get(connector: &TlsConnector, ip: IpAddr, port: u16, path: &str) -> String {
    let mut stream = connect(connector, ip, port, "broker.example").await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut text = Vec::new();
    // The broker ends without a farewell of TLS when it closes the connection.
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn brokers_with_tls_on_every_listener_form_a_cluster_and_serve() {
    let mut brokers = new_cluster(3);
    let authority = authority("ca");
    let addresses: Vec<IpAddr> = brokers.iter().map(|broker| broker.ip).collect();
    let mounts = Mounts::default();
    mounts.put_certificate(&authority, &leaf(&authority, "broker.example", &addresses));
    for broker in &mut brokers {
        broker.yaml = with_tls(&broker.yaml, ", require_client_auth: true");
        broker.environment = mounts.environment();
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    let own = leaf(&authority, "client.example", &[]);
    let connector = connector(&authority, Some(&own));
    let ip = brokers[0].ip;
    let mut client = Client::over(connect(&connector, ip, 9093, "broker.example").await.unwrap());
    assert_eq!(client.metadata(None).await.brokers.len(), 3);
    client.create_topic("orders", 3, 3).await;
    for (port, path) in [(9644, "/v1/status/ready"), (8082, "/brokers"), (8081, "/subjects")] {
        let answer = get(&connector, ip, port, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{port}: {answer}");
    }
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart() {
    let (mut broker, _, authority) = tls_broker("");
    broker.start();
    broker.ready().await;
    let failure = async |connector: TlsConnector, name: &str| {
        connect(&connector, broker.ip, 9093, name).await.err().expect("a failure")
    };
    let own = connector(&authority, None);
    assert!(matches!(failure(own, "other.example").await, TlsFailure::WrongName { .. }));
    let other = connector(&self::authority("other"), None);
    assert_eq!(failure(other, "broker.example").await, TlsFailure::UnknownAuthority);
    let settings =
        ClientSettings { authorities: Some(authority.pem.clone().into_bytes()), ..ClientSettings::default() };
    let late = Arc::new(|| NOW_MS + 2 * 3_600_000);
    let late = TlsConnector::new(&settings, late, Randomness::from_seed(1)).unwrap();
    assert_eq!(failure(late, "broker.example").await, TlsFailure::Expired);

    // Plain text to a TLS listener is answered with an alert, whose first bytes are no length of a frame.
    let mut plain = Client::connect(broker.ip, 9093).await;
    plain.send(ApiKey::Metadata, 1, &MetadataRequest::default()).await;
    let mut answer = Vec::new();
    let _ = plain.stream.read_to_end(&mut answer).await;
    assert_eq!(answer.get(..3), Some(&[0x15, 3, 3][..]), "{answer:?}");
}

#[tokio::test]
async fn tls_to_plain_listeners_fails() {
    let mut broker = new_cluster(1).remove(0);
    broker.start();
    broker.ready().await;
    let connector = connector(&authority("ca"), None);
    // A hello is a frame of 369,295,616 bytes to a Kafka listener, which closes the connection.
    let kafka = connect(&connector, broker.ip, 9093, "broker.example").await.err();
    assert!(matches!(kafka, Some(TlsFailure::Closed | TlsFailure::Connection(_))), "{kafka:?}");
    let admin = connect(&connector, broker.ip, 9644, "broker.example").await.err();
    assert_eq!(admin, Some(TlsFailure::NotTls));
}

#[tokio::test]
async fn client_certificates_are_asked_for() {
    let (mut broker, _, authority) = tls_broker(", require_client_auth: true");
    broker.start();
    broker.ready().await;
    let read = async |connector: &TlsConnector| {
        let mut stream = connect(connector, broker.ip, 9093, "broker.example").await?;
        let error = stream.read_u8().await.unwrap_err();
        Err::<(), _>(TlsFailure::in_error(&error).expect("an alert"))
    };
    let without = read(&connector(&authority, None)).await;
    assert_eq!(without, Err(TlsFailure::ClientCertificateMissing));
    let stranger = leaf(&self::authority("other"), "stranger", &[]);
    let refused = read(&connector(&authority, Some(&stranger))).await;
    assert!(matches!(refused, Err(TlsFailure::CertificateRefused(_))), "{refused:?}");
}

#[tokio::test]
async fn a_certificate_names_its_user_by_the_mapping_rules() {
    let (mut broker, _, authority) = tls_broker(", require_client_auth: true");
    let listener = format!("{{name: internal, address: {}, port: 9093", broker.ip);
    broker.yaml =
        broker.yaml.replacen(&listener, &format!("{listener}, authentication_method: mtls_identity"), 1);
    broker.bootstrap.push_str("kafka_mtls_principal_mapping_rules: ['RULE:CN=(alice.*)/$1/L']\n");
    broker.start();
    broker.ready().await;
    let ask = async |name: &str| -> bool {
        let own = leaf(&authority, name, &[]);
        let stream = connect(&connector(&authority, Some(&own)), broker.ip, 9093, "broker.example").await;
        let mut client = Client::over(stream.unwrap());
        client.send(ApiKey::Metadata, 1, &MetadataRequest::default()).await;
        client.receive().await.is_some()
    };
    assert!(ask("alice").await);
    assert!(!ask("bob").await);
}

#[tokio::test]
async fn a_missing_or_foreign_file_stops_the_start() {
    for (path, content, problem) in [
        ("/certs/tls.crt", None, "/certs/tls.crt: the file is missing"),
        ("/certs/tls.crt", Some("nothing"), "/certs/tls.crt: no PEM certificate can be read"),
        ("/certs/tls.key", Some("nothing"), "/certs/tls.key: no private key can be read"),
        ("/certs/ca.crt", None, "/certs/ca.crt: the file is missing"),
    ] {
        let (mut broker, mounts, _) = tls_broker("");
        match content {
            Some(content) => mounts.put(path, content),
            None => drop(mounts.0.lock().unwrap().remove(path)),
        }
        broker.start();
        let error = broker.error().await;
        assert!(matches!(error, BrokerError::Certificate { .. }), "{error}");
        assert!(error.to_string().contains(problem), "{error}");
    }
    let (mut broker, mounts, authority) = tls_broker("");
    let other = leaf(&authority, "another", &[]);
    mounts.put("/certs/tls.key", &other.key.to_pem().unwrap());
    broker.start();
    assert!(broker.error().await.to_string().contains("does not belong to the certificate"));
}

#[tokio::test]
async fn a_changed_certificate_serves_the_next_connection() {
    let (mut broker, mounts, authority) = tls_broker("");
    broker.start();
    broker.ready().await;
    let connector = connector(&authority, None);
    let reachable = async |name: &str| {
        let stream = connect(&connector, broker.ip, 9093, name).await?;
        let request = MetadataRequest::default();
        let answer: MetadataResponse = Client::over(stream).ask(ApiKey::Metadata, 1, &request).await;
        Ok::<_, TlsFailure>(answer.brokers.len())
    };
    assert_eq!(reachable("broker.example").await, Ok(1));
    mounts.put_certificate(&authority, &leaf(&authority, "renewed.example", &[]));
    assert_eq!(reachable("renewed.example").await, Ok(1));
    // A key of another certificate changes nothing.
    mounts.put("/certs/tls.crt", &leaf(&authority, "torn.example", &[]).pem);
    assert_eq!(reachable("renewed.example").await, Ok(1));
}
