//! The server's end.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use super::gathered::Gathered;
use super::key_log::ThreadKeyLog;
use super::provider::provider;
use super::{Clock, MaterialError, MinVersion, TimeOfDay, TlsFailure, TlsStream, material};
use crate::randomness::Randomness;

/// What a server shows and asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its certificate and those between it and the authority, PEM.
    pub certificate: Vec<u8>,
    /// The certificate's key, PEM.
    pub key: Vec<u8>,
    /// The authorities whose clients are accepted, PEM. Without any, a server that wants client certificates
    /// accepts none.
    pub client_authorities: Option<Vec<u8>>,
    /// Whether a client must show a certificate. Otherwise none is asked for.
    pub require_client_certificate: bool,
    /// The least protocol version.
    pub min_version: MinVersion,
}

/// Does the server's part of handshakes. Clones share their settings.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<Mutex<Arc<ServerConfig>>>,
    clock: Clock,
    randomness: Randomness,
}

impl TlsAcceptor {
    /// An acceptor.
    ///
    /// # Errors
    /// What is wrong with the certificates or the key.
    pub fn new(
        settings: &ServerSettings,
        clock: Clock,
        randomness: Randomness,
    ) -> Result<TlsAcceptor, MaterialError> {
        let config = Arc::new(Mutex::new(config(settings, &clock)?));
        Ok(TlsAcceptor { config, clock, randomness })
    }

    /// New settings, for handshakes that begin from now on.
    ///
    /// # Errors
    /// What is wrong with the new settings; the old ones then stay.
    pub fn reload(&self, settings: &ServerSettings) -> Result<(), MaterialError> {
        let next = config(settings, &self.clock)?;
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// Shakes hands with a client.
    ///
    /// # Errors
    /// Why it failed. The client has been told, as far as the protocol has words for it.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner));
        let randomness = self.randomness.fork();
        let handshake = randomness.scope(|| tokio_rustls::TlsAcceptor::from(config).accept(Gathered(stream)));
        let mut handshake = pin!(handshake);
        let done = std::future::poll_fn(|context| randomness.scope(|| handshake.as_mut().poll(context)));
        match done.await {
            Ok(stream) => Ok(TlsStream::new(stream.into(), randomness)),
            Err(error) => Err(TlsFailure::of_handshake(&error)),
        }
    }
}

fn config(settings: &ServerSettings, clock: &Clock) -> Result<Arc<ServerConfig>, MaterialError> {
    let provider = provider();
    let key = material::certified(&provider, &settings.certificate, &settings.key)?;
    let time = Arc::new(TimeOfDay(Arc::clone(clock)));
    let setup = |error: &dyn std::fmt::Display| MaterialError::Setup(error.to_string());
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(settings.min_version.versions())
        .map_err(|error| setup(&error))?;
    let builder = match (settings.require_client_certificate, &settings.client_authorities) {
        (false, _) => builder.with_no_client_auth(),
        (true, Some(pem)) => {
            let authorities = Arc::new(material::authorities(pem)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(&provider));
            builder.with_client_cert_verifier(verifier.build().map_err(|error| setup(&error))?)
        }
        (true, None) => builder
            .with_client_cert_verifier(Arc::new(NobodyTrusted(provider.signature_verification_algorithms))),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.key_log = Arc::new(ThreadKeyLog);
    Ok(Arc::new(config))
}

/// Wants a client certificate and trusts nobody to have signed it.
#[derive(Debug)]
struct NobodyTrusted(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for NobodyTrusted {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
