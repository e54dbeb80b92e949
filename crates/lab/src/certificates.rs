//! cert-manager's part: from Issuers and Certificates to Secrets, before the pods that mount them start.
//!
//! A Secret that a manifest has is used as it is. Source: cert-manager's documentation of the CA and SelfSigned
//! issuers: `tls.crt` holds the certificate and what is between it and the root, `tls.key` its key, `ca.crt`
//! the root; a SelfSigned issuer's certificate is its own root. The keys follow from the seed and the Secret's
//! name.
//!
//! A Secret with certificates that brokers mount and that neither a manifest nor a simulated issuer makes is taken
//! to exist (made by hand, by ACME, by Vault) and to be right: it gets a certificate for the brokers' names inside
//! the cluster and for [`ASSUMED_NAME`], which clients of the check then look for instead of the name they dial.
//! Left out: issuing takes no time; certificates are renewed only where a scenario says so; approval; trust bundles.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_kube::manifest::{
    CertManagerCertificate, CertManagerIssuer, IssuerKind, Manifests, Object, ObjectRef, Origin,
};
use hopwise_security::certificate::{
    Certificate, CertificateError, CertificateRequest, Curve, Facts, KeyPair, self_signed, signed_by,
};
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A name in certificates that are taken to exist: whoever finds it knows that the real names are not known.
pub const ASSUMED_NAME: &str = "assumed.hopwise.invalid";

/// Where a ClusterIssuer's Secrets are (cert-manager's `--cluster-resource-namespace`, default).
const CLUSTER_RESOURCE_NAMESPACE: &str = "cert-manager";
/// How long a certificate that is taken to exist is valid, seconds.
const ASSUMED_VALIDITY_S: u64 = 365 * 24 * 3600;

/// What was made.
#[derive(Debug, Default)]
pub struct Made {
    /// The Secrets, in the order of the Certificates.
    pub secrets: Vec<Object<Secret>>,
    /// `(namespace, name)` of those that are taken to exist.
    pub assumed: BTreeSet<(String, String)>,
    /// Certificates that cannot be made as they are asked for, and why.
    pub problems: Vec<(ObjectRef, Origin, String)>,
}

/// Namespace and name.
type Name = (String, String);

/// From when to when a certificate that is issued again is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// As long as is asked for, from now on.
    FromNow,
    /// As long as is asked for, up to now.
    Over,
}

/// The content of a Secret with a certificate.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
    root: String,
}

/// Makes the Secrets that are in no manifest, valid from `now_s`, seconds since 1970.
pub fn make(manifests: &Manifests, domain: &str, seed: u64, now_s: u64) -> Made {
    let mut made = Made::default();
    let mut pairs: BTreeMap<Name, Pair> = manifests.secrets.iter().filter_map(pair_of).collect();
    let given: BTreeSet<Name> = manifests.secrets.iter().map(name_of).collect();
    let wanted = |certificate: &&CertManagerCertificate| !given.contains(&target(certificate));
    let mut waiting: Vec<&CertManagerCertificate> = manifests.certificates.iter().filter(wanted).collect();
    // An authority may come after what it signs.
    loop {
        let before = waiting.len();
        waiting.retain(|certificate| {
            let Some(signer) = signer(manifests, certificate, &pairs) else { return true };
            match issue(certificate, signer, seed, now_s) {
                Ok(pair) => {
                    let (namespace, name) = target(certificate);
                    made.secrets.push(secret(&namespace, &name, &pair, &certificate.origin));
                    pairs.insert((namespace, name), pair);
                }
                Err(error) => {
                    let (kind, namespace) = ("Certificate".to_owned(), Some(certificate.namespace.clone()));
                    let object = ObjectRef { kind, namespace, name: certificate.name.clone() };
                    made.problems.push((object, certificate.origin.clone(), error.to_string()));
                }
            }
            false
        });
        if waiting.len() == before {
            break;
        }
    }
    assume(manifests, domain, seed, now_s, &given, &mut made);
    made
}

/// The content of a Secret with a certificate, issued again for the same key; none if it is not issued here.
pub fn reissue(
    manifests: &Manifests,
    domain: &str,
    seed: u64,
    now_s: u64,
    secret: &Name,
    validity: Validity,
) -> Option<String> {
    let asked = manifests.certificates.iter().find(|certificate| target(certificate) == *secret);
    let lasts_s = asked.map_or(ASSUMED_VALIDITY_S, |certificate| certificate.duration_s);
    let from_s = match validity {
        Validity::FromNow => now_s,
        // The last second counts (RFC 5280 section 4.1.2.5).
        Validity::Over => now_s.saturating_sub(lasts_s.saturating_add(1)),
    };
    let made = make(manifests, domain, seed, from_s);
    let found = made.secrets.iter().find(|made| name_of(made) == *secret)?;
    String::from_utf8(found.value.data.as_ref()?.get("tls.crt")?.0.clone()).ok()
}

/// The Secrets whose certificates are issued here.
pub fn issued_names(manifests: &Manifests) -> BTreeSet<Name> {
    // Whatever the seed and the time, the names are the same.
    make(manifests, "", 0, 0).secrets.iter().map(name_of).collect()
}

fn name_of(secret: &Object<Secret>) -> Name {
    (secret.namespace.clone().unwrap_or_default(), secret.name.clone())
}

fn target(certificate: &CertManagerCertificate) -> Name {
    (certificate.namespace.clone(), certificate.secret.clone())
}

fn pair_of(secret: &Object<Secret>) -> Option<(Name, Pair)> {
    let text = |key: &str| {
        let bytes = secret.value.data.as_ref()?.get(key)?;
        String::from_utf8(bytes.0.clone()).ok()
    };
    let (certificate, key) = (text("tls.crt")?, text("tls.key")?);
    let root = text("ca.crt").unwrap_or_else(|| certificate.clone());
    Some((name_of(secret), Pair { certificate, key, root }))
}

/// Who signs.
enum Signer<'a> {
    Own,
    Authority(&'a Pair),
}

/// The signer of a certificate, if it is simulated and there already.
fn signer<'a>(
    manifests: &Manifests,
    certificate: &CertManagerCertificate,
    pairs: &'a BTreeMap<Name, Pair>,
) -> Option<Signer<'a>> {
    let is_it = |issuer: &&CertManagerIssuer| {
        let namespace = (!certificate.cluster_issuer).then_some(certificate.namespace.as_str());
        issuer.name == certificate.issuer && issuer.namespace.as_deref() == namespace
    };
    let issuer = manifests.issuers.iter().find(is_it)?;
    match &issuer.kind {
        IssuerKind::SelfSigned => Some(Signer::Own),
        IssuerKind::Other => None,
        IssuerKind::Ca { secret } => {
            let namespace = issuer.namespace.clone().unwrap_or_else(|| CLUSTER_RESOURCE_NAMESPACE.to_owned());
            pairs.get(&(namespace, secret.clone())).map(Signer::Authority)
        }
    }
}

fn issue(
    certificate: &CertManagerCertificate,
    signer: Signer<'_>,
    seed: u64,
    now_s: u64,
) -> Result<Pair, CertificateError> {
    let has = |usage: &str| certificate.usages.iter().any(|own| own == usage || own == "any");
    let request = CertificateRequest {
        common_name: certificate.common_name.clone(),
        organizations: certificate.organizations.clone(),
        dns_names: certificate.dns_names.clone(),
        ip_addresses: certificate.ip_addresses.clone(),
        not_before_s: now_s,
        not_after_s: now_s.saturating_add(certificate.duration_s),
        is_authority: certificate.is_authority,
        server: has("server auth"),
        client: has("client auth"),
    };
    let (namespace, name) = target(certificate);
    // Other kinds of key are P-256 too, which makes no difference to who trusts whom.
    let curve = if certificate.ecdsa_bits == Some(384) { Curve::P384 } else { Curve::P256 };
    let key = KeyPair::on_curve(curve, seed, &format!("{namespace}/{name}"));
    match signer {
        Signer::Own => {
            let Certificate { pem, key } = self_signed(&request, key)?;
            Ok(Pair { certificate: pem.clone(), key: key.to_pem()?, root: pem })
        }
        Signer::Authority(authority) => {
            let Certificate { pem, key } = signed_by(&authority.certificate, &authority.key, &request, key)?;
            let facts = Facts::of_pem(authority.certificate.as_bytes())?;
            // A root is not sent; what stands below it is.
            let certificate = if facts.subject == facts.issuer { pem } else { pem + &authority.certificate };
            Ok(Pair { certificate, key: key.to_pem()?, root: authority.root.clone() })
        }
    }
}

fn secret(namespace: &str, name: &str, pair: &Pair, origin: &Origin) -> Object<Secret> {
    let content = [("tls.crt", &pair.certificate), ("tls.key", &pair.key), ("ca.crt", &pair.root)];
    let data = content.map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())));
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    Object {
        value: Secret {
            metadata,
            data: Some(data.into()),
            type_: Some("kubernetes.io/tls".to_owned()),
            ..Secret::default()
        },
        name: name.to_owned(),
        namespace: Some(namespace.to_owned()),
        origin: origin.clone(),
    }
}

/// Makes up what is taken to exist.
fn assume(
    manifests: &Manifests,
    domain: &str,
    seed: u64,
    now_s: u64,
    given: &BTreeSet<Name>,
    made: &mut Made,
) {
    for set in &manifests.stateful_sets {
        let namespace = set.namespace.clone().unwrap_or_default();
        for name in certificate_secrets(manifests, set) {
            let key = (namespace.clone(), name.clone());
            let is_made = made.secrets.iter().any(|secret| name_of(secret) == key);
            if is_made || given.contains(&key) {
                continue;
            }
            let service = set.value.spec.as_ref().and_then(|spec| spec.service_name.clone());
            match assumed_pair(&key, &service.unwrap_or_default(), domain, seed, now_s) {
                Ok(pair) => {
                    made.secrets.push(secret(&namespace, &name, &pair, &set.origin));
                    made.assumed.insert(key);
                }
                Err(error) => {
                    made.problems.push((set.reference(), set.origin.clone(), error.to_string()));
                }
            }
        }
    }
}

/// The Secrets that a set's pods mount where a broker's configuration looks for certificates.
fn certificate_secrets(manifests: &Manifests, set: &Object<StatefulSet>) -> Vec<String> {
    let Some(pod) = set.value.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else {
        return Vec::new();
    };
    let mounts = pod.containers.iter().flat_map(|container| container.volume_mounts.iter().flatten());
    let mounts: Vec<(&str, &str)> =
        mounts.map(|mount| (mount.name.as_str(), mount.mount_path.trim_end_matches('/'))).collect();
    let texts: Vec<&String> = manifests
        .config_maps
        .iter()
        .filter(|map| map.namespace == set.namespace)
        .flat_map(|map| map.value.data.iter().flatten().map(|(_, text)| text))
        .collect();
    let is_looked_at = |path: &str| {
        let files = ["tls.crt", "ca.crt"].map(|file| format!("{path}/{file}"));
        texts.iter().any(|text| files.iter().any(|file| text.contains(file)))
    };
    let volumes = pod.volumes.iter().flatten().filter_map(|volume| {
        let name = volume.secret.as_ref()?.secret_name.clone()?;
        let looked_at = mounts.iter().any(|(mount, path)| *mount == volume.name && is_looked_at(path));
        looked_at.then_some(name)
    });
    volumes.collect()
}

fn assumed_pair(
    (namespace, name): &Name,
    service: &str,
    domain: &str,
    seed: u64,
    now_s: u64,
) -> Result<Pair, CertificateError> {
    let validity = CertificateRequest {
        not_before_s: now_s,
        not_after_s: now_s + ASSUMED_VALIDITY_S,
        ..CertificateRequest::default()
    };
    let purpose = format!("{namespace}/{name}");
    let root = CertificateRequest {
        common_name: Some("assumed by hopwise".to_owned()),
        is_authority: true,
        ..validity.clone()
    };
    let root = self_signed(&root, KeyPair::from_seed(seed, &format!("{purpose}/root")))?;
    let inside = [
        format!("*.{service}.{namespace}.svc.{domain}"),
        format!("*.{service}.{namespace}.svc"),
        format!("*.{service}.{namespace}"),
    ];
    let leaf = CertificateRequest {
        dns_names: inside.into_iter().chain([ASSUMED_NAME.to_owned()]).collect(),
        ..validity
    };
    let leaf = signed_by(&root.pem, &root.key.to_pem()?, &leaf, KeyPair::from_seed(seed, &purpose))?;
    Ok(Pair { certificate: leaf.pem, key: leaf.key.to_pem()?, root: root.pem })
}

#[cfg(test)]
mod tests {
    use hopwise_kube::source::Source;

    use super::*;

    const NOW_S: u64 = 1_767_225_600;

    const CHAIN: &str = "
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: leaf, namespace: shop}
spec: {secretName: leaf-cert, dnsNames: [a.example], duration: 1h, issuerRef: {name: ca}}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: ca, namespace: shop}
spec: {ca: {secretName: root-cert}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: shop}
spec: {secretName: root-cert, commonName: root, isCA: true, issuerRef: {name: own, kind: ClusterIssuer}}
---
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: own}
spec: {selfSigned: {}}
";

    fn manifests(text: &str) -> Manifests {
        Manifests::load(&[Source::new("chain.yaml", text)]).expect("manifests")
    }

    fn text(made: &Made, name: &str, key: &str) -> String {
        let secret = made.secrets.iter().find(|secret| secret.name == name).expect("the Secret is made");
        let data = secret.value.data.as_ref().expect("data");
        String::from_utf8(data[key].0.clone()).expect("text")
    }

    #[test]
    fn a_chain_is_issued_whatever_its_order() {
        let made = make(&manifests(CHAIN), "cluster.local", 7, NOW_S);
        assert!(made.problems.is_empty() && made.assumed.is_empty());
        let leaf = Facts::of_pem(text(&made, "leaf-cert", "tls.crt").as_bytes()).expect("a certificate");
        assert_eq!((leaf.issuer.as_str(), leaf.dns_names), ("CN=root", vec!["a.example".to_owned()]));
        assert!(leaf.ip_addresses.is_empty());
        assert_eq!((leaf.not_before_s, leaf.not_after_s), (NOW_S as i64, NOW_S as i64 + 3600));
        assert_eq!(text(&made, "leaf-cert", "ca.crt"), text(&made, "root-cert", "tls.crt"));
        assert!(Facts::of_pem(text(&made, "root-cert", "tls.crt").as_bytes()).expect("a root").is_authority);
    }

    #[test]
    fn seeds_repeat_their_certificates() {
        let leaf =
            |seed| text(&make(&manifests(CHAIN), "cluster.local", seed, NOW_S), "leaf-cert", "tls.crt");
        assert_eq!(leaf(7), leaf(7));
        assert_ne!(leaf(7), leaf(8));
    }

    #[test]
    fn what_is_issued_again_has_the_same_key_and_its_own_dates() {
        let manifests = manifests(CHAIN);
        let name = ("shop".to_owned(), "leaf-cert".to_owned());
        let again = |validity| {
            let pem = reissue(&manifests, "cluster.local", 7, NOW_S, &name, validity).expect("it is issued");
            Facts::of_pem(pem.as_bytes()).expect("a certificate")
        };
        let now = NOW_S as i64;
        let (over, renewed) = (again(Validity::Over), again(Validity::FromNow));
        assert_eq!((over.not_before_s, over.not_after_s), (now - 3601, now - 1));
        assert_eq!((renewed.not_before_s, renewed.not_after_s), (now, now + 3600));
        assert_eq!((over.dns_names, over.issuer), (renewed.dns_names, renewed.issuer));
        let names = issued_names(&manifests);
        assert_eq!(names, ["leaf-cert", "root-cert"].map(|name| ("shop".to_owned(), name.to_owned())).into());
        let unknown = ("shop".to_owned(), "other".to_owned());
        assert_eq!(reissue(&manifests, "cluster.local", 7, NOW_S, &unknown, Validity::Over), None);
    }

    #[test]
    fn a_secret_of_the_manifests_is_used_as_it_is() {
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: leaf-cert, namespace: shop}\n\
                      stringData: {tls.crt: mine, tls.key: mine}\n";
        let made = make(&manifests(&format!("{CHAIN}{secret}")), "cluster.local", 7, NOW_S);
        assert!(made.secrets.iter().all(|secret| secret.name != "leaf-cert"));
    }

    #[test]
    fn what_cannot_be_signed_is_told() {
        let unreadable = CHAIN.replace("a.example", "'a example \u{e4}'");
        let made = make(&manifests(&unreadable), "cluster.local", 7, NOW_S);
        let (object, _, problem) = &made.problems[0];
        assert_eq!(object.to_string(), "Certificate shop/leaf");
        assert!(problem.contains("cannot stand in a certificate"), "{problem}");
    }

    const SET: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {redpanda.yaml: 'cert_file: /etc/tls/certs/external/tls.crt'}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redpanda}
spec:
  serviceName: brokers
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - name: redpanda
        image: redpanda
        volumeMounts: [{name: external, mountPath: /etc/tls/certs/external/}, {name: scripts, mountPath: /scripts}]
      volumes:
      - {name: external, secret: {secretName: by-hand}}
      - {name: scripts, secret: {secretName: scripts}}
";

    #[test]
    fn a_mounted_certificate_that_nobody_makes_is_assumed() {
        let made = make(&manifests(SET), "cluster.local", 7, NOW_S);
        assert_eq!(made.assumed, [("default".to_owned(), "by-hand".to_owned())].into());
        let facts = Facts::of_pem(text(&made, "by-hand", "tls.crt").as_bytes()).expect("a certificate");
        assert!(facts.dns_names.contains(&"*.brokers.default.svc.cluster.local".to_owned()));
        assert!(facts.dns_names.contains(&ASSUMED_NAME.to_owned()));
    }
}
