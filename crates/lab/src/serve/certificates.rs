//! The certificates of served brokers: one for the address that they are all on, by an authority of its own.
//!
//! A certificate of the cluster's is for the names of pods, which nobody dials here; so brokers that speak TLS show this
//! one instead, and what checks certificates (other brokers, listeners that ask clients for one) trusts its authority.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hopwise_broker::Files;
use hopwise_security::certificate::{CertificateError, CertificateRequest, KeyPair, self_signed, signed_by};

/// The directory in which brokers find the files; it is not one of the machine's.
pub const DIRECTORY: &str = "/etc/hopwise-serve";

/// How long the certificates are valid, seconds: ten years.
const VALID_S: u64 = 10 * 365 * 86_400;
/// How long they have been valid already, for clients whose clock is late, seconds.
const EARLIER_S: u64 = 86_400;

/// What was issued.
pub struct Certificates {
    files: BTreeMap<PathBuf, Bytes>,
}

impl Certificates {
    /// Issues certificates for `host`. `now_s` is the time of day, seconds since 1970; the keys come from `seed`.
    ///
    /// # Errors
    /// If a certificate cannot be made.
    pub fn issue(host: IpAddr, now_s: u64, seed: u64) -> Result<Certificates, CertificateError> {
        let validity = |request: CertificateRequest| CertificateRequest {
            not_before_s: now_s.saturating_sub(EARLIER_S),
            not_after_s: now_s.saturating_add(VALID_S),
            ..request
        };
        let authority = CertificateRequest {
            common_name: Some("hopwise serve".to_owned()),
            is_authority: true,
            ..CertificateRequest::default()
        };
        let authority = self_signed(&validity(authority), KeyPair::from_seed(seed, "authority"))?;
        let authority_key = authority.key.to_pem()?;
        let own = |name: &str, key: &str| {
            let request = CertificateRequest {
                common_name: Some(name.to_owned()),
                dns_names: vec!["localhost".to_owned()],
                ip_addresses: vec![host],
                server: true,
                client: true,
                ..CertificateRequest::default()
            };
            signed_by(&authority.pem, &authority_key, &validity(request), KeyPair::from_seed(seed, key))
        };
        let (broker, client) = (own("redpanda", "broker")?, own("client", "client")?);
        let texts = [
            ("ca.crt", authority.pem.clone()),
            ("tls.crt", broker.pem.clone()),
            ("tls.key", broker.key.to_pem()?),
            ("client.crt", client.pem.clone()),
            ("client.key", client.key.to_pem()?),
        ];
        let file = |(name, text): (&str, String)| (Path::new(DIRECTORY).join(name), Bytes::from(text));
        Ok(Certificates { files: texts.into_iter().map(file).collect() })
    }

    /// The files as brokers read them.
    pub fn files(&self) -> Files {
        let files = self.files.clone();
        Arc::new(move |path| files.get(path).cloned())
    }

    /// Writes what clients need into a directory of the machine: the authority, and a certificate with its key for
    /// listeners that ask for one. Returns the path of the authority's certificate.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_for_clients(&self, directory: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        for name in ["ca.crt", "client.crt", "client.key"] {
            let text = self.files.get(&Path::new(DIRECTORY).join(name));
            std::fs::write(directory.join(name), text.map(Bytes::as_ref).unwrap_or_default())?;
        }
        Ok(directory.join("ca.crt"))
    }
}

#[cfg(test)]
mod tests {
    use hopwise_security::certificate::Facts;

    use super::*;

    #[test]
    fn the_brokers_certificate_is_for_the_address_and_by_the_authority() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let issued = Certificates::issue(host, 1_700_000_000, 1).unwrap();
        let files = issued.files();
        let facts = |name: &str| Facts::of_pem(&files(&Path::new(DIRECTORY).join(name)).unwrap()).unwrap();
        let (authority, broker) = (facts("ca.crt"), facts("tls.crt"));
        assert_eq!(broker.ip_addresses, [host]);
        assert_eq!(broker.issuer, authority.subject);
        assert!(authority.is_authority && !broker.is_authority);
        assert!(files(Path::new("/etc/passwd")).is_none());
    }
}
