//! Handshakes that fail, each told apart, at both ends.

use std::net::{IpAddr, Ipv4Addr};

use hopwise_security::Randomness;
use hopwise_security::tls::{
    ClientSettings, MinVersion, ServerSettings, TlsAcceptor, TlsConnector, TlsFailure,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::handshakes::connect_by_tls12;
use crate::support::*;

fn refused(failure: Option<TlsFailure>) -> String {
    match failure {
        Some(TlsFailure::CertificateRefused(alert)) => alert,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_wrong_name_names_the_right_ones() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["a.example", "*.b.example"])));
    let attempt = attempt(&server, &client(&authority), "c.example").await;
    let presented = vec!["a.example".to_owned(), "*.b.example".to_owned()];
    let expected = "c.example".to_owned();
    assert_eq!(attempt.client.err(), Some(TlsFailure::WrongName { expected, presented }));
    assert_eq!(refused(attempt.server.err()), "BadCertificate");
}

#[tokio::test]
async fn a_wildcard_below_a_domain_of_one_label_is_taken_at_its_word() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["*.my-domain"])));
    for (name, is_held) in
        [("a.my-domain", true), ("A.My-Domain", true), ("a.b.my-domain", false), ("my-domain", false)]
    {
        let failure = attempt(&server, &client(&authority), name).await.client.err();
        assert_eq!(failure.is_none(), is_held, "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn an_address_without_a_name_of_its_own_is_a_wrong_name() {
    let authority = authority("ca");
    let mut request = leaf_request(&["a.example"]);
    request.ip_addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))];
    let attempt = attempt(&server(&leaf(&authority, &request)), &client(&authority), "10.0.0.2").await;
    let Some(TlsFailure::WrongName { expected, presented }) = attempt.client.err() else {
        panic!("not a wrong name")
    };
    assert_eq!(expected, "10.0.0.2");
    assert_eq!(presented, ["a.example", "10.0.0.1"]);
}

#[tokio::test]
async fn unknown_authorities_are_those_that_are_not_trusted() {
    let (signer, other) = (authority("ca"), authority("other"));
    let server = server(&leaf(&signer, &leaf_request(&["a.example"])));
    for client in [client(&other), ClientSettings::default()] {
        let attempt = attempt(&server, &client, "a.example").await;
        assert_eq!(attempt.client.err(), Some(TlsFailure::UnknownAuthority));
        assert_eq!(refused(attempt.server.err()), "UnknownCA");
    }
}

#[tokio::test]
async fn validity_is_judged_by_the_clock_that_is_passed_in() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["a.example"])));
    let early = attempt_at(NOW_S - 7200, 1, &server, &client(&authority), "a.example").await;
    assert_eq!(early.client.err(), Some(TlsFailure::NotYetValid));
    let late = attempt_at(NOW_S + 2 * YEAR_S, 1, &server, &client(&authority), "a.example").await;
    assert_eq!(late.client.err(), Some(TlsFailure::Expired));
    assert_eq!(refused(late.server.err()), "CertificateExpired");
}

#[tokio::test]
async fn client_certificates_are_missed_and_refused() {
    let (authority, other) = (authority("ca"), authority("other"));
    let certificate = leaf(&authority, &leaf_request(&["a.example"]));
    let server = ServerSettings {
        client_authorities: Some(authority.pem.clone().into_bytes()),
        require_client_certificate: true,
        ..server(&certificate)
    };
    let without = attempt(&server, &client(&authority), "a.example").await;
    assert_eq!(without.client.err(), Some(TlsFailure::ClientCertificateMissing));
    assert_eq!(without.server.err(), Some(TlsFailure::ClientCertificateMissing));

    let stranger = leaf(&other, &leaf_request(&["stranger"]));
    let identity = Some((stranger.pem.into_bytes(), stranger.key.to_pem().unwrap().into_bytes()));
    let with = ClientSettings { identity, ..client(&authority) };
    let nobody = ServerSettings { client_authorities: None, ..server.clone() };
    for server in [server, nobody] {
        let attempt = attempt(&server, &with, "a.example").await;
        assert_eq!(refused(attempt.client.err()), "UnknownCA");
        assert_eq!(attempt.server.err(), Some(TlsFailure::UnknownAuthority));
    }
}

#[tokio::test]
async fn a_client_that_is_too_old_is_told() {
    let authority = authority("ca");
    let settings = ServerSettings {
        min_version: MinVersion::Tls13,
        ..server(&leaf(&authority, &leaf_request(&["broker.example"])))
    };
    let acceptor = TlsAcceptor::new(&settings, clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    let (near, far) = duplex(1 << 16);
    let (client, server) = tokio::join!(connect_by_tls12(&authority.pem, near), acceptor.accept(far));
    assert_eq!(server.err(), Some(TlsFailure::ProtocolVersion));
    assert_eq!(TlsFailure::in_error(&client.unwrap_err()), Some(TlsFailure::ProtocolVersion));
}

#[tokio::test]
async fn plain_text_to_a_tls_port_gets_an_alert() {
    let settings = server(&leaf(&authority("ca"), &leaf_request(&["a.example"])));
    let acceptor = TlsAcceptor::new(&settings, clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    for hello in [&b"\0\0\0\x14\0\x12\0\x03some request"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let (mut near, far) = duplex(1 << 16);
        near.write_all(hello).await.unwrap();
        let accepted = acceptor.accept(far).await;
        assert_eq!(accepted.err(), Some(TlsFailure::NotTls), "{hello:?}");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        // What clients report as a response of 352518912 bytes.
        assert_eq!(answer.get(..3), Some(&[0x15, 3, 3][..]), "{answer:?}");
    }
}

#[tokio::test]
async fn tls_to_a_plain_text_port_is_told() {
    let connector =
        TlsConnector::new(&client(&authority("ca")), clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], TlsFailure::NotTls),
        (b"\0\0\0\x05abcde", TlsFailure::NotTls),
        (b"", TlsFailure::Closed),
    ] {
        let (near, mut far) = duplex(1 << 16);
        let serving = async {
            let mut hello = [0; 16];
            far.read_exact(&mut hello).await.unwrap();
            far.write_all(answer).await.unwrap();
            drop(far);
        };
        let (connected, ()) = tokio::join!(connector.connect("a.example", near), serving);
        assert_eq!(connected.err(), Some(expected));
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_told() {
    let connector =
        TlsConnector::new(&client(&authority("ca")), clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    let (near, _far) = duplex(64);
    let failure = connector.connect("not a name", near).await.err();
    assert!(matches!(failure, Some(TlsFailure::Other(text)) if text.contains("not a name")));
}
