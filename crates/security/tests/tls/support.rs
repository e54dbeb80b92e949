//! Certificates for the tests, and two ends over a pipe.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use hopwise_security::Randomness;
use hopwise_security::certificate::{Certificate, CertificateRequest, KeyPair, self_signed, signed_by};
use hopwise_security::tls::{
    ClientSettings, Clock, ServerSettings, TlsAcceptor, TlsConnector, TlsFailure, TlsStream,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};

/// 2026-01-01.
pub const NOW_S: u64 = 1_767_225_600;
pub const YEAR_S: u64 = 365 * 24 * 3600;

pub fn clock_at(seconds: u64) -> Clock {
    Arc::new(move || seconds as i64 * 1000)
}

pub fn authority(name: &str) -> Certificate {
    let request = CertificateRequest {
        common_name: Some(name.to_owned()),
        is_authority: true,
        not_before_s: NOW_S - YEAR_S,
        not_after_s: NOW_S + 5 * YEAR_S,
        ..CertificateRequest::default()
    };
    self_signed(&request, KeyPair::from_seed(1, name)).unwrap()
}

pub fn leaf_request(names: &[&str]) -> CertificateRequest {
    CertificateRequest {
        common_name: names.first().map(|name| (*name).to_owned()),
        dns_names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_before_s: NOW_S - 3600,
        not_after_s: NOW_S + YEAR_S,
        server: true,
        client: true,
        ..CertificateRequest::default()
    }
}

pub fn leaf(authority: &Certificate, request: &CertificateRequest) -> Certificate {
    let key = KeyPair::from_seed(2, &format!("{request:?}"));
    signed_by(&authority.pem, &authority.key.to_pem().unwrap(), request, key).unwrap()
}

pub fn server(certificate: &Certificate) -> ServerSettings {
    ServerSettings {
        certificate: certificate.pem.clone().into_bytes(),
        key: certificate.key.to_pem().unwrap().into_bytes(),
        ..ServerSettings::default()
    }
}

pub fn client(authority: &Certificate) -> ClientSettings {
    ClientSettings { authorities: Some(authority.pem.clone().into_bytes()), ..ClientSettings::default() }
}

/// A stream that keeps what is written to it.
pub struct Recorded {
    inner: DuplexStream,
    written: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.written.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// How an attempt ended.
pub struct Attempt {
    pub client: Result<TlsStream<Recorded>, TlsFailure>,
    pub server: Result<TlsStream<Recorded>, TlsFailure>,
    /// Every byte of either end, the client's first.
    pub bytes: (Vec<u8>, Vec<u8>),
}

/// Shakes hands at a time, says something both ways, and ends.
pub async fn attempt_at(
    seconds: u64,
    seed: u64,
    server: &ServerSettings,
    client: &ClientSettings,
    name: &str,
) -> Attempt {
    let acceptor = TlsAcceptor::new(server, clock_at(seconds), Randomness::from_seed(seed)).unwrap();
    let connector = TlsConnector::new(client, clock_at(seconds), Randomness::from_seed(seed + 1)).unwrap();
    run(&acceptor, &connector, name).await
}

pub async fn attempt(server: &ServerSettings, client: &ClientSettings, name: &str) -> Attempt {
    attempt_at(NOW_S, 5, server, client, name).await
}

pub async fn run(acceptor: &TlsAcceptor, connector: &TlsConnector, name: &str) -> Attempt {
    let (near, far) = duplex(1 << 16);
    let (sent, answered) = (Arc::default(), Arc::default());
    let near = Recorded { inner: near, written: Arc::clone(&sent) };
    let far = Recorded { inner: far, written: Arc::clone(&answered) };
    let serving = async {
        let mut stream = acceptor.accept(far).await?;
        let mut word = [0; 4];
        read(&mut stream, &mut word).await?;
        stream.write_all(&word).await.unwrap();
        stream.flush().await.unwrap();
        Ok(stream)
    };
    let dialling = async {
        let mut stream = connector.connect(name, near).await?;
        stream.write_all(b"ping").await.unwrap();
        stream.flush().await.unwrap();
        let mut word = [0; 4];
        read(&mut stream, &mut word).await?;
        assert_eq!(&word, b"ping");
        Ok(stream)
    };
    let (client, server) = tokio::join!(dialling, serving);
    let bytes = (sent.lock().unwrap().clone(), answered.lock().unwrap().clone());
    Attempt { client, server, bytes }
}

async fn read(stream: &mut TlsStream<Recorded>, word: &mut [u8]) -> Result<(), TlsFailure> {
    match stream.read_exact(word).await {
        Ok(_) => Ok(()),
        Err(error) => Err(TlsFailure::in_error(&error).unwrap_or(TlsFailure::Connection(error.kind()))),
    }
}
