//! TLS and credentials through the whole of `check`: a cluster that is sound, and each way to spoil it.

use std::path::Path;

use hopwise_kube::cluster::Place;
use hopwise_kube::source::Source;

use super::{CheckOptions, check};
use crate::findings::Code;
use crate::inputs::{Inputs, Surroundings};
use crate::report::check::{Api, CheckReport, Outcome, Verdict};

const CLUSTER: &str = "
nodes:
  - {name: node-0, zone: rack-a, address: 10.0.0.10}
externalNames:
  redpanda-0.kafka.example.com: 10.0.0.10
";

/// The manifests of the example scenario with one broker, changed.
fn report(changes: &[(&str, &str)], cluster: &str) -> CheckReport {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/manifests/secured.yaml");
    let mut text = std::fs::read_to_string(path).expect("the example is there");
    let seeds = ["1", "2"].map(|ordinal| {
        format!(
            "        - host: {{address: redpanda-{ordinal}.redpanda.secured.svc.cluster.local., port: 33145}}\n"
        )
    });
    let alone = [("replicas: 3", "replicas: 1"), (&seeds[0], ""), (&seeds[1], "")];
    let alone = alone.into_iter().chain([("default_topic_replications: 3", "default_topic_replications: 1")]);
    for (from, to) in alone.chain(changes.iter().copied()) {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let surroundings =
        Surroundings { cluster: Some(Source::new("cluster.yaml", cluster)), ..Surroundings::default() };
    let inputs = Inputs::load(&[Source::new("secured.yaml", &text)], &surroundings).expect("sound inputs");
    let from = vec![Place::InCluster, Place::External(None)];
    check(inputs, &CheckOptions { from, seed: 3, captures: None }).expect("the check ends")
}

/// Outcomes of the routes to one listener, from inside and from outside.
fn outcomes(report: &CheckReport, api: Api, listener: &str) -> Vec<Outcome> {
    let own = report.routes.iter().filter(|route| route.api == api && route.listener == listener);
    own.map(|route| route.outcome).collect()
}

/// The one finding with this code, and the outcomes of the routes it explains.
fn found(report: &CheckReport, code: Code) -> (String, Vec<Outcome>) {
    let own: Vec<_> = report.findings.iter().filter(|finding| finding.code == code).collect();
    let [finding] = own.as_slice() else {
        panic!("{} findings {code}: {:#?}", own.len(), report.findings);
    };
    let outcomes = finding.routes.iter().map(|index| report.routes[*index].outcome).collect();
    (finding.explanation.clone(), outcomes)
}

#[test]
fn a_sound_cluster_is_reached_by_tls_and_scram_and_repeats_itself() {
    let first = report(&[], CLUSTER);
    assert_eq!(first.verdict, Verdict::Pass, "{:#?}", first.findings);
    assert_eq!(outcomes(&first, Api::Kafka, "internal"), [Outcome::Ok, Outcome::NotExposed]);
    assert_eq!(outcomes(&first, Api::Kafka, "external"), [Outcome::NotExposed, Outcome::Ok]);
    assert_eq!(outcomes(&first, Api::Admin, "external"), [Outcome::NotExposed, Outcome::Ok]);
    assert!(first.findings.iter().all(|finding| finding.code != Code::SecurityNotMeasured));
    let listener = &first.brokers[0].listeners[0];
    assert_eq!((listener.tls, listener.authentication.as_str()), (true, "sasl"));
    assert_eq!(first, report(&[], CLUSTER));
}

#[test]
fn a_name_that_the_certificate_does_not_hold() {
    let spoiled = report(&[("'*.kafka.example.com'", "'*.example.org'")], CLUSTER);
    assert_eq!(outcomes(&spoiled, Api::Kafka, "external"), [Outcome::NotExposed, Outcome::TlsFailed]);
    let names: Vec<_> =
        spoiled.findings.iter().filter(|finding| finding.code == Code::CertificateNameMismatch).collect();
    assert!(names.iter().any(|finding| finding.explanation.contains("*.example.org")), "{names:#?}");
    assert!(names.iter().all(|finding| finding.severity == crate::findings::Severity::Error));
}

#[test]
fn a_wildcard_below_a_domain_of_one_label_is_a_warning() {
    let changes =
        [("'*.kafka.example.com'", "'*.my-domain'"), ("${POD}.kafka.example.com", "${POD}.my-domain")];
    let sound = report(&changes, &CLUSTER.replace("kafka.example.com", "my-domain"));
    assert_eq!(sound.verdict, Verdict::Pass, "{:#?}", sound.findings);
    let (explanation, routes) = found(&sound, Code::CertificateNameMismatch);
    assert!(explanation.contains("\"*.my-domain\" alone"), "{explanation}");
    assert_eq!(routes, []);
}

#[test]
fn an_address_without_a_name_of_its_own() {
    // Without external names the Admin API is dialled by the node's address.
    let nameless = CLUSTER.split("externalNames").next().expect("the part before");
    let spoiled = report(&[], nameless);
    let (explanation, outcomes) = found(&spoiled, Code::AddressNotInCertificate);
    assert!(
        explanation.contains("10.0.0.10") && explanation.contains("*.kafka.example.com"),
        "{explanation}"
    );
    assert_eq!(outcomes, [Outcome::TlsFailed]);
    let named = "dnsNames: ['*.kafka.example.com']";
    let healed = report(&[(named, &format!("{named}\n  ipAddresses: [10.0.0.10]"))], nameless);
    assert_eq!(super::security_tests::outcomes(&healed, Api::Admin, "external").last(), Some(&Outcome::Ok));
}

#[test]
fn an_authority_that_did_not_sign() {
    let other = "---\napiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: other, namespace: secured}\n\
                 spec: {secretName: other, commonName: other, isCA: true, issuerRef: {name: self-signed}}\n---\n\
                 apiVersion: v1\nkind: Namespace\nmetadata: {name: secured}\n";
    let projected = "- name: outside\n          projected:\n            sources:\n              \
                     - secret: {name: redpanda-outside, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]}\n              \
                     - secret: {name: other, items: [{key: ca.crt, path: ca.crt}]}";
    let spoiled = report(
        &[
            ("apiVersion: v1\nkind: Namespace\nmetadata: {name: secured}\n", other),
            ("- name: outside\n          secret: {secretName: redpanda-outside}", projected),
        ],
        CLUSTER,
    );
    assert_eq!(outcomes(&spoiled, Api::Kafka, "external"), [Outcome::NotExposed, Outcome::TlsFailed]);
    let codes: Vec<Code> = spoiled.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::UnknownAuthority), "{codes:?}");
}

#[test]
fn a_port_without_tls_behind_the_address_of_one_with() {
    let plain = "- {name: external, address: 0.0.0.0, port: 9094}\n        - {name: plain, address: 0.0.0.0, port: 9095}";
    let spoiled = report(
        &[
            ("- {name: external, address: 0.0.0.0, port: 9094}", plain),
            ("targetPort: 9094, nodePort: 31092", "targetPort: 9095, nodePort: 31092"),
        ],
        CLUSTER,
    );
    let (_, outcomes) = found(&spoiled, Code::PlainTextPort);
    assert_eq!(outcomes, [Outcome::ProtocolMismatch]);
}

#[test]
fn a_port_with_tls_behind_the_address_of_one_without() {
    let tls = "- {name: external, enabled: true, cert_file: /certs/outside/tls.crt, key_file: /certs/outside/tls.key, truststore_file: /certs/outside/ca.crt}";
    let spoiled = report(
        &[(tls, ""), ("targetPort: 9094, nodePort: 31092", "targetPort: 9093, nodePort: 31092")],
        CLUSTER,
    );
    let (_, outcomes) = found(&spoiled, Code::TlsPort);
    assert_eq!(outcomes, [Outcome::ProtocolMismatch]);
}

#[test]
fn a_listener_with_sasl_and_no_user() {
    let spoiled = report(&[("    admin:correct-horse:SCRAM-SHA-256\n", "    # nobody\n")], CLUSTER);
    assert_eq!(outcomes(&spoiled, Api::Kafka, "internal")[0], Outcome::AuthenticationFailed);
    let codes: Vec<Code> = spoiled.findings.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::CredentialsMissing), "{codes:?}");
}

#[test]
fn a_client_certificate_that_nobody_has_and_one_that_somebody_has() {
    let asking = (
        "truststore_file: /certs/outside/ca.crt",
        "truststore_file: /certs/outside/ca.crt, require_client_auth: true",
    );
    // The brokers' own certificates are signed by the same authority; a user takes one of those.
    let sound = report(&[asking], CLUSTER);
    assert_eq!(outcomes(&sound, Api::Kafka, "external"), [Outcome::NotExposed, Outcome::Ok]);
    let nobody = (
        "truststore_file: /certs/outside/ca.crt",
        "truststore_file: /etc/ssl/certs/ca-certificates.crt, require_client_auth: true",
    );
    let spoiled = report(&[nobody], CLUSTER);
    let (explanation, outcomes) = found(&spoiled, Code::ClientCertificateNeeded);
    assert!(explanation.contains("wants a client certificate"), "{explanation}");
    assert_eq!(outcomes, [Outcome::TlsFailed]);
}

#[test]
fn a_certificate_that_is_not_mounted_stops_the_broker() {
    let spoiled =
        report(&[("cert_file: /certs/outside/tls.crt", "cert_file: /certs/elsewhere/tls.crt")], CLUSTER);
    let (explanation, _) = found(&spoiled, Code::CertificateNotLoaded);
    assert!(explanation.contains("/certs/elsewhere/tls.crt: the file is missing"), "{explanation}");
    assert_eq!(spoiled.verdict, Verdict::Fail);
}
