//! cert-manager's objects, as far as they decide which certificates there are.
//!
//! Source: cert-manager's API reference, `cert-manager.io/v1`. Left out: key stores, secret templates, renewal,
//! and what only other issuers than `selfSigned` and `ca` look at.

use std::net::IpAddr;

use serde::Deserialize;

use super::Manifests;
use super::object::Origin;
use crate::source::{Location, Node};

/// A Certificate: what it asks for, and the Secret it is to be put in.
#[derive(Debug, Clone)]
pub struct CertManagerCertificate {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.secretName`.
    pub secret: String,
    /// `spec.commonName`.
    pub common_name: Option<String>,
    /// `spec.subject.organizations`.
    pub organizations: Vec<String>,
    /// `spec.dnsNames`.
    pub dns_names: Vec<String>,
    /// `spec.ipAddresses`.
    pub ip_addresses: Vec<IpAddr>,
    /// `spec.isCA`.
    pub is_authority: bool,
    /// `spec.duration` in seconds; 90 days if there is none.
    pub duration_s: u64,
    /// `spec.usages`.
    pub usages: Vec<String>,
    /// `spec.privateKey.size` of an ECDSA key; none for another algorithm or for the default size.
    pub ecdsa_bits: Option<u32>,
    /// `spec.issuerRef.kind` is ClusterIssuer.
    pub cluster_issuer: bool,
    /// `spec.issuerRef.name`; empty if there is none.
    pub issuer: String,
    /// Where it is written.
    pub origin: Origin,
}

/// An Issuer or ClusterIssuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertManagerIssuer {
    /// Its namespace; none for a ClusterIssuer.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// How it signs.
    pub kind: IssuerKind,
    /// Where it is written.
    pub location: Location,
}

/// How an issuer signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKind {
    /// Each certificate by its own key.
    SelfSigned,
    /// By the authority in this Secret.
    Ca {
        /// The Secret's name.
        secret: String,
    },
    /// In a way that is not simulated (ACME, Vault, ...).
    Other,
}

#[derive(Deserialize)]
struct CertificateObject {
    metadata: Metadata,
    spec: CertificateSpec,
}

#[derive(Deserialize)]
struct IssuerObject {
    metadata: Metadata,
    spec: IssuerSpec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateSpec {
    secret_name: String,
    common_name: Option<String>,
    subject: Option<Subject>,
    dns_names: Option<Vec<String>>,
    ip_addresses: Option<Vec<IpAddr>>,
    #[serde(rename = "isCA")]
    is_ca: Option<bool>,
    duration: Option<String>,
    usages: Option<Vec<String>>,
    private_key: Option<PrivateKey>,
    issuer_ref: Option<IssuerRef>,
}

#[derive(Deserialize)]
struct PrivateKey {
    algorithm: Option<String>,
    size: Option<u32>,
}

#[derive(Deserialize)]
struct Subject {
    organizations: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct IssuerRef {
    kind: Option<String>,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IssuerSpec {
    self_signed: Option<serde_json::Value>,
    ca: Option<CaSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CaSpec {
    secret_name: String,
}

/// cert-manager's default, 90 days.
const DURATION_DEFAULT_S: u64 = 90 * 24 * 3600;

/// Takes an object of cert-manager's group; false if it is of another kind.
///
/// # Errors
/// What does not fit the kind, in words.
pub(super) fn take(
    origin: &Origin,
    node: &Node,
    kind: &str,
    manifests: &mut Manifests,
) -> Result<bool, String> {
    match kind {
        "Certificate" => manifests.certificates.push(certificate(origin, node)?),
        "Issuer" | "ClusterIssuer" => manifests.issuers.push(issuer(origin, node, kind)?),
        _ => return Ok(false),
    }
    Ok(true)
}

fn decode<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T, String> {
    serde_json::from_value(node.to_value()).map_err(|error| error.to_string())
}

fn certificate(origin: &Origin, node: &Node) -> Result<CertManagerCertificate, String> {
    let CertificateObject { metadata, spec } = decode(node)?;
    let duration_s = match &spec.duration {
        None => DURATION_DEFAULT_S,
        Some(text) => duration(text).ok_or_else(|| format!("spec.duration: {text:?} is no duration"))?,
    };
    let issuer = spec.issuer_ref;
    Ok(CertManagerCertificate {
        namespace: metadata.namespace.unwrap_or_else(|| "default".to_owned()),
        name: metadata.name,
        secret: spec.secret_name,
        common_name: spec.common_name,
        organizations: spec.subject.and_then(|subject| subject.organizations).unwrap_or_default(),
        dns_names: spec.dns_names.unwrap_or_default(),
        ip_addresses: spec.ip_addresses.unwrap_or_default(),
        is_authority: spec.is_ca.unwrap_or(false),
        duration_s,
        usages: spec.usages.unwrap_or_default(),
        ecdsa_bits: spec
            .private_key
            .filter(|key| key.algorithm.as_deref() == Some("ECDSA"))
            .and_then(|key| key.size),
        cluster_issuer: issuer.as_ref().is_some_and(|it| it.kind.as_deref() == Some("ClusterIssuer")),
        issuer: issuer.map(|issuer| issuer.name).unwrap_or_default(),
        origin: origin.clone(),
    })
}

fn issuer(origin: &Origin, node: &Node, kind: &str) -> Result<CertManagerIssuer, String> {
    let IssuerObject { metadata, spec } = decode(node)?;
    let signs = match (spec.self_signed, spec.ca) {
        (Some(_), _) => IssuerKind::SelfSigned,
        (None, Some(ca)) => IssuerKind::Ca { secret: ca.secret_name },
        (None, None) => IssuerKind::Other,
    };
    let namespaced = kind == "Issuer";
    Ok(CertManagerIssuer {
        namespace: namespaced.then(|| metadata.namespace.unwrap_or_else(|| "default".to_owned())),
        name: metadata.name,
        kind: signs,
        location: origin.start(),
    })
}

/// Seconds of a duration as Go writes it (`43800h`, `1h30m`, `90s`).
fn duration(text: &str) -> Option<u64> {
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let amount: u64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].chars().next()?;
        let length = match unit {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(amount.checked_mul(length)?)?;
        rest = &rest[digits + 1..];
    }
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("43800h"), Some(43_800 * 3600));
        assert_eq!(duration("1h30m5s"), Some(5405));
        for text in ["", "h", "5", "5d", "-1h", "0s", "99999999999999999999h", "1.5h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
