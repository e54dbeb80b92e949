//! What a certificate says: subject, names, validity.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use super::CertificateError;

/// The parts of a certificate that decide who may use it, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The subject, most specific part first (RFC 4514), such as `CN=client,O=example`.
    pub subject: String,
    /// The issuer, in the same form.
    pub issuer: String,
    /// Host names it is valid for.
    pub dns_names: Vec<String>,
    /// IP addresses it is valid for.
    pub ip_addresses: Vec<IpAddr>,
    /// The first second of validity, since 1970.
    pub not_before_s: i64,
    /// The last second of validity, since 1970.
    pub not_after_s: i64,
    /// Whether it may sign others.
    pub is_authority: bool,
}

impl Facts {
    /// Reads the first certificate of a PEM file.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn of_pem(pem: &[u8]) -> Result<Facts, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem);
        Facts::of_der(der.map_err(|error| CertificateError::Unreadable(error.to_string()))?.as_ref())
    }

    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn of_der(der: &[u8]) -> Result<Facts, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        let mut facts = Facts {
            subject: distinguished_name(certificate.subject()),
            issuer: distinguished_name(certificate.issuer()),
            not_before_s: certificate.validity().not_before.timestamp(),
            not_after_s: certificate.validity().not_after.timestamp(),
            is_authority: certificate.is_ca(),
            ..Facts::default()
        };
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => facts.dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => facts.ip_addresses.extend(ip_address(bytes)),
                _ => {}
            }
        }
        Ok(facts)
    }
}

fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

/// RFC 4514: the parts in reverse order, `,` between them, special characters with a backslash.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let part = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let oid = attribute.attr_type();
        let key = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry());
        let key = key.map_or_else(|_| oid.to_id_string(), str::to_owned);
        let value = attribute.as_str().unwrap_or_default();
        format!("{key}={}", escaped(value))
    };
    let mut parts: Vec<String> =
        name.iter().map(|set| set.iter().map(part).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (index == 0 && matches!(character, '#' | ' '))
            || (index + 1 == value.chars().count() && character == ' ');
        if special {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}
