//! Handshakes that succeed.

use std::net::{IpAddr, Ipv4Addr};

use hopwise_security::Randomness;
use hopwise_security::certificate::{CertificateRequest, Curve, Facts, KeyPair, self_signed, signed_by};
use hopwise_security::tls::{MaterialError, MinVersion, ServerSettings, TlsAcceptor, TlsConnector};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};

use crate::support::*;

#[tokio::test]
async fn both_versions_are_spoken_and_the_newest_is_chosen() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["broker.example"])));
    let attempt = attempt(&server, &client(&authority), "broker.example").await;
    assert!(attempt.client.unwrap().is_tls13());
    assert!(attempt.server.unwrap().peer_certificate().is_none());
}

/// A hello as old clients send it: no TLS 1.3. Only ring's own client can be told not to speak it.
#[tokio::test]
async fn a_client_of_tls_1_2_is_served() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["broker.example"])));
    let acceptor = TlsAcceptor::new(&server, clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let (client, server) = tokio::join!(connect_by_tls12(&authority.pem, near), acceptor.accept(far));
    client.unwrap();
    assert!(!server.unwrap().is_tls13());
}

pub async fn connect_by_tls12(
    authority: &str,
    stream: tokio::io::DuplexStream,
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::io::DuplexStream>> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector.connect("broker.example".try_into().unwrap(), stream).await
}

#[tokio::test]
async fn names_match_by_wildcard_with_a_dot_at_the_end_and_as_addresses() {
    let authority = authority("ca");
    let mut request = leaf_request(&["*.redpanda.default.svc.cluster.local", "plain.example"]);
    request.ip_addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))];
    let server = server(&leaf(&authority, &request));
    for name in ["redpanda-0.redpanda.default.svc.cluster.local.", "plain.example", "10.0.0.7"] {
        let attempt = attempt(&server, &client(&authority), name).await;
        assert!(attempt.client.is_ok(), "{name}: {:?}", attempt.client.err());
    }
}

#[tokio::test]
async fn a_self_signed_certificate_is_good_for_who_trusts_it_itself() {
    let certificate = self_signed(&leaf_request(&["one.example"]), KeyPair::from_seed(9, "x")).unwrap();
    let attempt = attempt(&server(&certificate), &client(&certificate), "one.example").await;
    assert!(attempt.client.is_ok(), "{:?}", attempt.client.err());
}

#[tokio::test]
async fn a_client_certificate_arrives_with_its_subject() {
    let authority = authority("ca");
    let request = CertificateRequest {
        common_name: Some("alice".to_owned()),
        organizations: vec!["Example, Inc".to_owned()],
        ..leaf_request(&[])
    };
    let alice = leaf(&authority, &request);
    let mut client = client(&authority);
    client.identity = Some((alice.pem.into_bytes(), alice.key.to_pem().unwrap().into_bytes()));
    let server = ServerSettings {
        client_authorities: Some(authority.pem.clone().into_bytes()),
        require_client_certificate: true,
        ..server(&leaf(&authority, &leaf_request(&["broker.example"])))
    };
    let attempt = attempt(&server, &client, "broker.example").await;
    let stream = attempt.server.unwrap();
    let facts = Facts::of_der(stream.peer_certificate().unwrap()).unwrap();
    assert_eq!(facts.subject, "CN=alice,O=Example\\, Inc");
    assert_eq!(facts.issuer, "CN=ca");
}

#[tokio::test]
async fn rsa_and_ed25519_keys_from_elsewhere_serve() {
    let mut stream = Randomness::from_seed(4);
    let rsa = rsa::PrivateKey::new(&mut stream, 2048).unwrap().to_pkcs8_pem(LineEnding::LF).unwrap();
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    for key in [rsa.as_str(), &ed25519] {
        let pair = rcgen::KeyPair::from_pem(key).unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["rsa.example".to_owned()]).unwrap();
        let pem = certificate.self_signed(&pair).unwrap().pem().into_bytes();
        let server = ServerSettings {
            certificate: pem.clone(),
            key: key.as_bytes().to_vec(),
            ..ServerSettings::default()
        };
        let client = hopwise_security::tls::ClientSettings { authorities: Some(pem), ..Default::default() };
        let one = attempt_at(NOW_S, 1, &server, &client, "rsa.example").await;
        assert!(one.client.is_ok(), "{:?}", one.client.err());
        let again = attempt_at(NOW_S, 1, &server, &client, "rsa.example").await;
        assert!(one.bytes == again.bytes, "the same seed gives other bytes");
    }
}

#[tokio::test]
async fn p384_keys_sign_certificates_and_handshakes_with_the_same_bytes() {
    let key = |purpose: &str| KeyPair::on_curve(Curve::P384, 1, purpose);
    let request = CertificateRequest { is_authority: true, ..leaf_request(&["ca"]) };
    let authority = self_signed(&request, key("ca")).unwrap();
    let authority_key = authority.key.to_pem().unwrap();
    let made = || signed_by(&authority.pem, &authority_key, &leaf_request(&["p384.example"]), key("leaf"));
    let (certificate, again) = (made().unwrap(), made().unwrap());
    assert_eq!(certificate.pem, again.pem, "the same seed makes the same certificate");
    let (server, client) = (server(&certificate), client(&authority));
    let one = attempt_at(NOW_S, 1, &server, &client, "p384.example").await;
    assert!(one.client.is_ok(), "{:?}", one.client.err());
    let two = attempt_at(NOW_S, 1, &server, &client, "p384.example").await;
    assert!(one.bytes == two.bytes, "the same seed gives other bytes");
}

#[tokio::test]
async fn new_files_serve_new_connections_and_bad_ones_change_nothing() {
    let authority = authority("ca");
    let old = server(&leaf(&authority, &leaf_request(&["old.example"])));
    let new = server(&leaf(&authority, &leaf_request(&["new.example"])));
    let acceptor = TlsAcceptor::new(&old, clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    let connector = client(&authority);
    let connector = TlsConnector::new(&connector, clock_at(NOW_S), Randomness::from_seed(2)).unwrap();
    assert!(run(&acceptor, &connector, "old.example").await.client.is_ok());
    let torn = ServerSettings { key: new.key.clone(), ..old.clone() };
    assert_eq!(acceptor.reload(&torn), Err(MaterialError::KeyOfAnother));
    assert!(run(&acceptor, &connector, "old.example").await.client.is_ok());
    acceptor.reload(&new).unwrap();
    assert!(run(&acceptor, &connector, "new.example").await.client.is_ok());
    assert!(run(&acceptor, &connector, "old.example").await.client.is_err());
}

#[test]
fn unusable_files_are_told() {
    let certificate = leaf(&authority("ca"), &leaf_request(&["a.example"]));
    let good = server(&certificate);
    let error = |settings: ServerSettings| {
        TlsAcceptor::new(&settings, clock_at(NOW_S), Randomness::from_seed(1)).err().unwrap()
    };
    let empty = ServerSettings { certificate: Vec::new(), ..good.clone() };
    assert!(matches!(error(empty), MaterialError::Certificates(_)));
    let key = ServerSettings { key: b"nothing".to_vec(), ..good.clone() };
    assert!(matches!(error(key), MaterialError::Key(_)));
    let authorities = ServerSettings {
        client_authorities: Some(b"x".to_vec()),
        require_client_certificate: true,
        min_version: MinVersion::Tls13,
        ..good
    };
    assert!(matches!(error(authorities), MaterialError::Certificates(_)));
}
