//! Secrets of connections, for whoever reads captures of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use hopwise_security::Randomness;
use hopwise_security::tls::{TlsAcceptor, log_keys_to, stop_logging_keys};

use crate::handshakes::connect_by_tls12;
use crate::support::*;

/// A sink that keeps its lines.
fn kept() -> Rc<RefCell<Vec<String>>> {
    let lines = Rc::<RefCell<Vec<String>>>::default();
    let sink = lines.clone();
    log_keys_to(Box::new(move |line| {
        sink.borrow_mut().push(line.to_owned());
        Ok(())
    }));
    lines
}

fn labels(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

/// RFC 9850: a label, the client's random of 32 bytes, and a secret, in hexadecimal.
fn assert_format(lines: &[String]) {
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let is_hex = |word: &str| word.len().is_multiple_of(2) && word.chars().all(|c| c.is_ascii_hexdigit());
        assert!(words.len() == 3 && words[1].len() == 64 && is_hex(words[1]) && is_hex(words[2]), "{line}");
        assert!(words[2].len() >= 64, "{line}");
    }
}

#[tokio::test]
async fn a_connection_of_tls_1_3_tells_the_secrets_of_both_directions_once() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["broker.example"])));
    let lines = kept();
    attempt(&server, &client(&authority), "broker.example").await.client.unwrap();
    stop_logging_keys().unwrap();
    let lines = lines.borrow();
    assert_format(&lines);
    let labels = labels(&lines);
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        assert!(labels.contains(label), "{labels:?}");
    }
    assert_eq!(lines.len(), labels.len(), "{lines:?}");
}

#[tokio::test]
async fn a_connection_of_tls_1_2_tells_its_master_secret() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["broker.example"])));
    let acceptor = TlsAcceptor::new(&server, clock_at(NOW_S), Randomness::from_seed(1)).unwrap();
    let (near, far) = tokio::io::duplex(1 << 16);
    let lines = kept();
    let (client, server) = tokio::join!(connect_by_tls12(&authority.pem, near), acceptor.accept(far));
    client.unwrap();
    server.unwrap();
    stop_logging_keys().unwrap();
    assert_format(&lines.borrow());
    assert_eq!(labels(&lines.borrow()), ["CLIENT_RANDOM"].into());
}

#[tokio::test]
async fn nothing_is_told_unasked_and_a_sink_that_fails_is_told_of() {
    let authority = authority("ca");
    let server = server(&leaf(&authority, &leaf_request(&["broker.example"])));
    let lines = kept();
    stop_logging_keys().unwrap();
    attempt(&server, &client(&authority), "broker.example").await.client.unwrap();
    assert_eq!(*lines.borrow(), [""; 0]);
    log_keys_to(Box::new(|_| Err(io::Error::other("the disk is full"))));
    attempt(&server, &client(&authority), "broker.example").await.client.unwrap();
    assert_eq!(stop_logging_keys().unwrap_err().to_string(), "the disk is full");
}
