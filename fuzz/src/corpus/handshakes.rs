//! The first bytes of TLS handshakes, and conversations of SASL.

use std::sync::Arc;

use bytes::Bytes;
use hopwise_security::Randomness;
use hopwise_security::tls::{ClientSettings, MinVersion, TlsConnector};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, duplex};

use super::kafka::add;

/// Different hellos of a client.
const HELLOS: u64 = 8;

/// What a client of TLS sends first, alone and with what it must not send then: an alert, a change of the cipher,
/// encrypted records, a fragment of the largest length, the hello again.
pub async fn tls() -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    for seed in 0..HELLOS {
        let Some(hello) = hello(seed).await else { continue };
        let further: [&[u8]; 5] = [
            &[21, 3, 3, 0, 2, 2, 40],
            &[20, 3, 3, 0, 1, 1],
            &[23, 3, 3, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8],
            &[22, 3, 3, 0x40, 0, 1, 0xff, 0xff, 0xff],
            &hello,
        ];
        inputs.extend(further.iter().map(|further| [&hello[..], *further].concat()));
        inputs.push(hello);
    }
    inputs
}

async fn hello(seed: u64) -> Option<Vec<u8>> {
    let min_version = if seed.is_multiple_of(2) { MinVersion::Tls12 } else { MinVersion::Tls13 };
    let settings = ClientSettings { any_server: true, min_version, ..ClientSettings::default() };
    let clock = Arc::new(|| 1_700_000_000_000_i64);
    let connector = TlsConnector::new(&settings, clock, Randomness::from_seed(seed)).ok()?;
    let (near, mut far) = duplex(1 << 16);
    let mut bytes = vec![0; 1 << 14];
    let name = format!("broker-{seed}.example.com");
    tokio::select! {
        _ = connector.connect(&name, near) => None,
        read = far.read(&mut bytes) => {
            bytes.truncate(read.ok()?);
            Some(bytes)
        }
    }
}

/// A handshake and a token, or several, with the framing of each version.
pub fn sasl() -> Vec<Vec<u8>> {
    let tokens: [(&'static str, &'static [u8]); 6] = [
        ("PLAIN", b"\0user\0password"),
        ("PLAIN", b"user\0user\0"),
        ("SCRAM-SHA-256", b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"),
        ("SCRAM-SHA-512", b"y,a=other,n=us=2Cer,r=nonce"),
        ("SCRAM-SHA-256", b"p=tls-unique,,n=user,r=nonce"),
        ("GSSAPI", b"`\x01"),
    ];
    let mut inputs = Vec::new();
    for (mechanism, token) in tokens {
        let mechanism = StrBytes::from_static_str(mechanism);
        let (mut handshakes, mut answers) = (Vec::new(), Vec::new());
        add(&mut handshakes, &SaslHandshakeRequest::default().with_mechanism(mechanism));
        add(&mut answers, &SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(token)));
        let final_message = Bytes::from_static(b"c=biws,r=fyko+d2lbbFgONRv9qkxdawLabc,p=AAAA");
        add(&mut answers, &SaslAuthenticateRequest::default().with_auth_bytes(final_message));
        let raw = [&(token.len() as u32).to_be_bytes()[..], token].concat();
        for handshake in &handshakes {
            // After version 0 the tokens have no frame of Kafka's around them.
            inputs.push([&handshake[..], &raw, &raw].concat());
            inputs.extend(answers.iter().map(|answer| [&handshake[..], answer].concat()));
            inputs.push([&[handshake.clone()][..], &answers].concat().concat());
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn hellos_are_records_of_a_handshake() {
        let inputs = tls().await;
        assert_eq!(inputs.len() as u64, 6 * HELLOS);
        assert!(inputs.iter().all(|input| input[..2] == [22, 3] && input.len() > 100));
    }

    #[test]
    fn conversations_begin_with_a_frame() {
        let inputs = sasl();
        assert!(inputs.len() > 30, "{}", inputs.len());
        for input in &inputs {
            let length = u32::from_be_bytes(input[..4].try_into().unwrap()) as usize;
            assert!(input.len() > 4 + length);
        }
    }
}
