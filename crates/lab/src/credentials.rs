//! What a user of the cluster has in hand: the authority of the certificate that a listener shows, a client
//! certificate if one is asked for, and a user with its password.
//!
//! All of it comes from what is mounted into the brokers' pods, or from Secrets beside it. A user trusts the
//! `ca.crt` that lies beside a listener's certificate; without one the certificate itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hopwise_broker::{Api, Authentication, BootstrapUser, Listener, TlsFiles};
use hopwise_client::{HostPort, Security};
use hopwise_kube::cluster::Cluster;
use hopwise_kube::store::Store;
use hopwise_security::Randomness;
use hopwise_security::certificate::{CertificateRequest, Facts, KeyPair, self_signed};
use hopwise_security::sasl::{Login, Mechanism};
use hopwise_security::tls::{ClientSettings, TlsConnector};
use k8s_openapi::api::core::v1::Secret;
use rand::Rng;

use crate::certificates::ASSUMED_NAME;
use crate::programs::{Brokers, RunningBroker};

/// The files of a container.
pub type MountedFiles = BTreeMap<String, Vec<u8>>;

/// What is mounted into a broker and beside it.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The files of the broker's container.
    pub files: Arc<MountedFiles>,
    /// The users that exist from the start.
    pub users: Vec<BootstrapUser>,
}

/// Where the image keeps the public authorities.
const PUBLIC_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The files that a broker's process sees: those that are mounted, and those of its image that configurations name.
/// The public authorities are a single one that has signed nothing.
pub fn files_of(mounted: &MountedFiles) -> MountedFiles {
    let mut files = mounted.clone();
    files.entry(PUBLIC_AUTHORITIES.to_owned()).or_insert_with(|| {
        let request = CertificateRequest {
            common_name: Some("public authorities".to_owned()),
            is_authority: true,
            not_after_s: u64::MAX,
            ..CertificateRequest::default()
        };
        let made = self_signed(&request, KeyPair::from_seed(0, PUBLIC_AUTHORITIES));
        made.map(|made| made.pem.into_bytes()).unwrap_or_default()
    });
    files
}

/// The certificate of a listener, as far as it can be read.
pub fn certificate(files: &MountedFiles, listener: &Listener) -> Option<Facts> {
    Facts::of_pem(file(files, &listener.tls_files.as_ref()?.certificate)?).ok()
}

/// The names that a listener's certificate is valid for; `None` if there is none, or one that is only assumed.
pub fn certificate_names(files: &MountedFiles, listener: &Listener) -> Option<Vec<String>> {
    let facts = certificate(files, listener)?;
    let names: Vec<String> =
        facts.dns_names.into_iter().chain(facts.ip_addresses.iter().map(ToString::to_string)).collect();
    (!names.iter().any(|name| name == ASSUMED_NAME)).then_some(names)
}

/// How a user of the cluster speaks to a listener.
///
/// # Errors
/// What of the certificates cannot be used, in words.
pub fn for_listener(
    holdings: &Holdings,
    listener: &Listener,
    store: &Store,
    namespace: &str,
    user: &str,
) -> Result<Security, String> {
    let seed = hopwise_engine::stream(&format!("security/{user}")).next_u64();
    let randomness = Randomness::from_seed(seed);
    let mut security = Security::default();
    if let Some(entry) = &listener.tls_files {
        let settings = settings(&holdings.files, entry, store, namespace);
        let clock = Arc::new(hopwise_engine::clock::unix_ms);
        let connector = TlsConnector::new(&settings, clock, randomness.fork());
        security.tls = Some(connector.map_err(|error| error.to_string())?);
        let assumed = certificate(&holdings.files, listener)
            .is_some_and(|facts| facts.dns_names.iter().any(|name| name == ASSUMED_NAME));
        security.server_name = assumed.then(|| ASSUMED_NAME.to_owned());
    }
    let wanted = matches!(
        (listener.api, listener.authentication),
        (Api::Kafka, Authentication::Sasl) | (_, Authentication::HttpBasic)
    );
    if wanted && let Some(user) = holdings.users.first() {
        let login = Login::new(user.mechanism, user.name.clone(), user.password.clone());
        security.login = Some((login, randomness));
    }
    Ok(security)
}

/// How a user speaks to the Kafka listener that a bootstrap list leads to: the one that advertises an address of the
/// list, or listens on its port, or else the first.
///
/// # Errors
/// As [`for_listener`].
pub fn for_bootstrap(
    cluster: &Cluster,
    brokers: &Brokers,
    bootstrap: &[HostPort],
    user: &str,
) -> Result<Security, String> {
    let running = brokers.all();
    let kafka: Vec<(&RunningBroker, Listener)> = running
        .iter()
        .flat_map(|broker| broker.config.listeners().into_iter().map(move |listener| (broker, listener)))
        .filter(|(_, listener)| listener.api == Api::Kafka)
        .collect();
    let advertises = |listener: &Listener| {
        let own = listener.advertised.as_ref();
        own.is_some_and(|own| bootstrap.iter().any(|it| (&it.host, it.port) == (&own.host, own.port)))
    };
    let listens = |listener: &Listener| bootstrap.iter().any(|address| address.port == listener.bind.port());
    let advertised_port = |listener: &Listener| {
        let own = listener.advertised.as_ref();
        own.is_some_and(|own| bootstrap.iter().any(|address| address.port == own.port))
    };
    let found = kafka
        .iter()
        .find(|(_, listener)| advertises(listener))
        .or_else(|| kafka.iter().find(|(_, listener)| listens(listener)))
        .or_else(|| kafka.iter().find(|(_, listener)| advertised_port(listener)))
        .or_else(|| kafka.first());
    let Some((broker, listener)) = found else { return Ok(Security::default()) };
    let holdings = brokers.holdings(&broker.pod).unwrap_or_default();
    let (namespace, _) = broker.pod.split_once('/').unwrap_or(("", &broker.pod));
    cluster.api().read(|store| for_listener(&holdings, listener, store, namespace, user))
}

fn file<'a>(files: &'a MountedFiles, path: &Path) -> Option<&'a [u8]> {
    files.get(path.to_str()?).map(Vec::as_slice)
}

fn settings(files: &MountedFiles, entry: &TlsFiles, store: &Store, namespace: &str) -> ClientSettings {
    let beside = entry.certificate.parent().and_then(|directory| file(files, &directory.join("ca.crt")));
    let truststore = entry.truststore.as_deref().and_then(|path| file(files, path));
    let own = || file(files, &entry.certificate);
    let identity = truststore
        .filter(|_| entry.require_client_certificate)
        .and_then(|truststore| client_certificate(store, namespace, truststore));
    ClientSettings {
        authorities: beside.or_else(own).map(<[u8]>::to_vec),
        identity,
        min_version: entry.min_version,
        ..ClientSettings::default()
    }
}

/// A Secret whose certificate the brokers accept from clients: one that is called after clients first.
fn client_certificate(store: &Store, namespace: &str, truststore: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let authority = Facts::of_pem(truststore).ok()?.subject;
    let mut candidates: Vec<(String, Vec<u8>, Vec<u8>)> = store
        .list_in::<Secret>(namespace)
        .filter_map(|secret| {
            let data = secret.data.as_ref()?;
            let (certificate, key) = (data.get("tls.crt")?, data.get("tls.key")?);
            let facts = Facts::of_pem(&certificate.0).ok()?;
            let name = secret.metadata.name.clone().unwrap_or_default();
            (facts.issuer == authority && !facts.is_authority)
                .then(|| (name, certificate.0.clone(), key.0.clone()))
        })
        .collect();
    candidates.sort_by_key(|(name, ..)| (!name.contains("client"), name.clone()));
    candidates.into_iter().next().map(|(_, certificate, key)| (certificate, key))
}

/// The users of a file with a user a line, as the chart's sidecar reads it: `user:password[:mechanism]`
/// (redpanda.md 1.3, users Secret; the sidecar takes SCRAM-SHA-512 where the line names no mechanism).
pub fn users_in(text: &[u8]) -> Vec<BootstrapUser> {
    let text = String::from_utf8_lossy(text);
    text.lines().filter_map(|line| BootstrapUser::parse(line, Mechanism::ScramSha512)).collect()
}
