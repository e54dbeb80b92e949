//! A connection under TLS. Whatever it draws while it is polled comes from its own stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gathered::Gathered;
use crate::randomness::Randomness;

/// A TLS connection over another stream, of either end.
pub struct TlsStream<S> {
    inner: tokio_rustls::TlsStream<Gathered<S>>,
    randomness: Randomness,
}

impl<S> TlsStream<S> {
    pub(super) fn new(inner: tokio_rustls::TlsStream<Gathered<S>>, randomness: Randomness) -> TlsStream<S> {
        TlsStream { inner, randomness }
    }

    /// The stream underneath.
    pub fn get_ref(&self) -> &S {
        &self.inner.get_ref().0.0
    }

    /// The peer's own certificate in DER; `None` if it has shown none.
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.inner.get_ref().1.peer_certificates()?.first().map(CertificateDer::as_ref)
    }

    /// Whether the two ends speak TLS 1.3 (and not 1.2).
    pub fn is_tls13(&self) -> bool {
        self.inner.get_ref().1.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.randomness.scope(|| Pin::new(&mut this.inner).poll_read(context, buffer))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.randomness.scope(|| Pin::new(&mut this.inner).poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.randomness.scope(|| Pin::new(&mut this.inner).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.randomness.scope(|| Pin::new(&mut this.inner).poll_shutdown(context))
    }
}
