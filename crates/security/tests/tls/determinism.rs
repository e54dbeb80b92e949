//! The same seed gives the same bytes on the wire.

use hopwise_security::tls::ServerSettings;

use crate::support::*;

#[tokio::test]
async fn a_seed_repeats_every_byte_and_another_gives_others() {
    let authority = authority("ca");
    let certificate = leaf(&authority, &leaf_request(&["a.example"]));
    let mut client = client(&authority);
    client.identity =
        Some((certificate.pem.clone().into_bytes(), certificate.key.to_pem().unwrap().into_bytes()));
    let server = ServerSettings {
        client_authorities: Some(authority.pem.clone().into_bytes()),
        require_client_certificate: true,
        ..server(&certificate)
    };
    let bytes = async |seed| attempt_at(NOW_S, seed, &server, &client, "a.example").await.bytes;
    let one = bytes(1).await;
    assert!(one.0.len() > 500 && one.1.len() > 500, "{} {}", one.0.len(), one.1.len());
    assert!(one == bytes(1).await, "the same seed gives other bytes");
    assert!(one.0 != bytes(20).await.0, "another seed gives the same bytes");
}

/// Both ends of two connections take turns on one thread; neither disturbs what the other draws.
#[tokio::test]
async fn connections_that_interleave_keep_their_own_streams() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["a.example"])));
    let client = client(&authority);
    let alone = attempt_at(NOW_S, 1, &server, &client, "a.example").await.bytes;
    let (together, _) = tokio::join!(
        attempt_at(NOW_S, 1, &server, &client, "a.example"),
        attempt_at(NOW_S, 50, &server, &client, "a.example"),
    );
    assert!(alone == together.bytes, "another connection's handshake changed the bytes");
}

#[test]
fn a_seed_repeats_its_certificates() {
    let make = || leaf(&authority("ca"), &leaf_request(&["a.example"]));
    assert_eq!(make().pem, make().pem);
    assert_eq!(make().key.to_pem().unwrap(), make().key.to_pem().unwrap());
    assert_ne!(authority("ca").pem, authority("other").pem);
}
