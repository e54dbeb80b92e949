//! The client's end, and how it judges a server's certificate.

use std::pin::pin;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SingleCertAndKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use super::gathered::Gathered;
use super::provider::provider;
use super::{Clock, MaterialError, MinVersion, TimeOfDay, TlsFailure, TlsStream, material};
use crate::certificate::Facts;
use crate::randomness::Randomness;

/// What a client trusts and shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSettings {
    /// The authorities it trusts, PEM; without any, it trusts nobody.
    pub authorities: Option<Vec<u8>>,
    /// Accepts every certificate, whoever signed it and for whichever name, as `curl --insecure` does.
    pub any_server: bool,
    /// Its own certificate (with those between it and the authority) and key, both PEM, for servers that ask.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The least protocol version.
    pub min_version: MinVersion,
}

/// Does the client's part of handshakes.
#[derive(Clone)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    randomness: Randomness,
}

impl TlsConnector {
    /// A connector.
    ///
    /// # Errors
    /// What is wrong with the certificates or the key.
    pub fn new(
        settings: &ClientSettings,
        clock: Clock,
        randomness: Randomness,
    ) -> Result<TlsConnector, MaterialError> {
        let provider = provider();
        let setup = |error: &dyn std::fmt::Display| MaterialError::Setup(error.to_string());
        let verifier = Verifier::new(settings, provider.signature_verification_algorithms)?;
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(TimeOfDay(clock)))
            .with_protocol_versions(settings.min_version.versions())
            .map_err(|error| setup(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &settings.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = material::certified(&provider, chain, key)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.resumption = Resumption::disabled();
        Ok(TlsConnector { config: Arc::new(config), randomness })
    }

    /// Shakes hands with a server that must have a certificate for `name`, a host name (a dot at its end is
    /// ignored) or an IP address.
    ///
    /// # Errors
    /// Why it failed; [`TlsFailure::Other`] for a name that is none.
    pub async fn connect<S>(&self, name: &str, stream: S) -> Result<TlsStream<S>, TlsFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsFailure::Other(MaterialError::Name(name.to_owned()).to_string()))?;
        let randomness = self.randomness.fork();
        let config = Arc::clone(&self.config);
        let handshake =
            randomness.scope(|| tokio_rustls::TlsConnector::from(config).connect(name, Gathered(stream)));
        let mut handshake = pin!(handshake);
        let done = std::future::poll_fn(|context| randomness.scope(|| handshake.as_mut().poll(context)));
        match done.await {
            Ok(stream) => Ok(TlsStream::new(stream.into(), randomness)),
            Err(error) => Err(TlsFailure::of_handshake(&error)),
        }
    }
}

/// Judges as webpki does, but for two things. Like OpenSSL and Java it accepts a certificate that stands in the trust
/// store itself, which self-signed certificates of servers do. And like Go and Java it takes a wildcard below a domain of
/// one label (`*.my-domain`) at its word (RFC 6125 section 6.4.3), which webpki and OpenSSL do not.
#[derive(Debug)]
struct Verifier {
    any_server: bool,
    authorities: RootCertStore,
    trusted: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(
        settings: &ClientSettings,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Verifier, MaterialError> {
        let (authorities, trusted) = match &settings.authorities {
            None => (RootCertStore::empty(), Vec::new()),
            Some(pem) => (material::authorities(pem)?, material::certificates(pem)?),
        };
        Ok(Verifier { any_server: settings.any_server, authorities, trusted, algorithms })
    }
}

/// Whether a certificate is valid at a time.
fn check_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let facts = Facts::of_der(certificate.as_ref()).map_err(|_| CertificateError::BadEncoding)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < facts.not_before_s {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > facts.not_after_s {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Whether `name` is one label below a domain of one label for which the certificate has a wildcard.
fn is_below_one_label(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(name) = name else { return false };
    let Some((_, domain)) = name.as_ref().trim_end_matches('.').split_once('.') else { return false };
    let names = Facts::of_der(certificate.as_ref()).map(|facts| facts.dns_names).unwrap_or_default();
    let wildcard = |own: &String| own.strip_prefix("*.").is_some_and(|own| own.eq_ignore_ascii_case(domain));
    !domain.contains('.') && names.iter().any(wildcard)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.any_server {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(certificate)?;
        if self.trusted.iter().any(|trusted| trusted == certificate) {
            check_validity(certificate, now)?;
        } else {
            let (authorities, algorithms) = (&self.authorities, self.algorithms.all);
            verify_server_cert_signed_by_trust_anchor(&parsed, authorities, intermediates, now, algorithms)?;
        }
        match verify_server_name(&parsed, name) {
            Err(_) if is_below_one_label(certificate, name) => {}
            judged => judged?,
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
