//! Authorities and certificates that follow from a seed, and what a certificate says.
//!
//! Keys are on P-256 or P-384, whatever kind a request would prefer: they are made and used without drawing
//! anything. Serial numbers are hashes of the keys.

mod facts;
mod key;

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType, date_time_ymd,
};

pub use facts::Facts;
pub use key::{Curve, KeyPair};

/// What a certificate is to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The subject's common name.
    pub common_name: Option<String>,
    /// The subject's organizations.
    pub organizations: Vec<String>,
    /// Host names, which may begin with `*.`.
    pub dns_names: Vec<String>,
    /// IP addresses; a certificate is valid for none that it does not name.
    pub ip_addresses: Vec<IpAddr>,
    /// The first second of validity, since 1970.
    pub not_before_s: u64,
    /// The last second of validity, since 1970.
    pub not_after_s: u64,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// Whether a server may show it.
    pub server: bool,
    /// Whether a client may show it.
    pub client: bool,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate, PEM.
    pub pem: String,
    /// Its key.
    pub key: KeyPair,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A name of the request cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate")]
    Name(String),
    /// The issuer's certificate or key cannot be read.
    #[error("the issuer cannot be used: {0}")]
    Issuer(String),
    /// Not a certificate.
    #[error("this is no certificate: {0}")]
    Unreadable(String),
    /// The certificate cannot be made.
    #[error("the certificate cannot be made: {0}")]
    Other(String),
}

/// A certificate signed by its own key.
///
/// # Errors
/// See [`CertificateError`].
pub fn self_signed(request: &CertificateRequest, key: KeyPair) -> Result<Certificate, CertificateError> {
    let certificate = parameters(request)?.self_signed(&key);
    let certificate = certificate.map_err(|error| CertificateError::Other(error.to_string()))?;
    Ok(Certificate { pem: certificate.pem(), key })
}

/// A certificate signed by an authority, given by its certificate and key, both PEM.
///
/// # Errors
/// See [`CertificateError`].
pub fn signed_by(
    authority: &str,
    authority_key: &str,
    request: &CertificateRequest,
    key: KeyPair,
) -> Result<Certificate, CertificateError> {
    let authority_key = KeyPair::from_pem(authority_key)?;
    let issuer = Issuer::from_ca_cert_pem(authority, authority_key)
        .map_err(|error| CertificateError::Issuer(error.to_string()))?;
    let certificate = parameters(request)?.signed_by(&key, &issuer);
    let certificate = certificate.map_err(|error| CertificateError::Other(error.to_string()))?;
    Ok(Certificate { pem: certificate.pem(), key })
}

fn parameters(request: &CertificateRequest) -> Result<CertificateParams, CertificateError> {
    let mut parameters = CertificateParams::default();
    let since_1970 = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    parameters.not_before = since_1970(request.not_before_s.min(LAST_SECOND));
    parameters.not_after = since_1970(request.not_after_s.min(LAST_SECOND));
    let mut subject = DistinguishedName::new();
    for organization in &request.organizations {
        subject.push(DnType::OrganizationName, organization.as_str());
    }
    if let Some(name) = &request.common_name {
        subject.push(DnType::CommonName, name.as_str());
    }
    parameters.distinguished_name = subject;
    for name in &request.dns_names {
        let name = name.as_str().try_into().map_err(|_| CertificateError::Name(name.clone()))?;
        parameters.subject_alt_names.push(SanType::DnsName(name));
    }
    parameters.subject_alt_names.extend(request.ip_addresses.iter().map(|ip| SanType::IpAddress(*ip)));
    parameters.use_authority_key_identifier_extension = true;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    if request.is_authority {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages.push(KeyUsagePurpose::KeyCertSign);
    }
    if request.server {
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if request.client {
        parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    Ok(parameters)
}

/// The last second of the year 9999, after which a certificate cannot write a time (RFC 5280, 4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;
