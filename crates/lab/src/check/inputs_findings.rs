//! Findings about the inputs themselves: what the API server rejects, what is not known, what was assumed.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_kube::admission::{Refused, Rejection};
use hopwise_kube::cluster::{Assumption, Cluster};
use hopwise_kube::manifest::{Manifests, Object, ObjectRef, Origin};
use k8s_openapi::api::core::v1::{PodSpec, Service};

use super::brokers::KnownBroker;
use super::facts::position;
use crate::certificates::{self, Made};
use crate::findings::{Code, Finding};
use crate::inputs::Inputs;

/// All findings about the inputs.
pub fn of(inputs: &Inputs, cluster: &Cluster, brokers: &[KnownBroker]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = inputs.rejections.iter().map(rejection).collect();
    findings.extend(init_failures(inputs, cluster));
    findings.extend(unstarted(inputs, brokers));
    findings.extend(unknown_fields(&inputs.manifests));
    findings.extend(ignored_kinds(&inputs.manifests));
    findings.extend(assumptions(cluster));
    findings.extend(balancers(inputs, cluster));
    let now_s = u64::try_from(hopwise_engine::clock::unix_ms() / 1000).unwrap_or(0);
    let made = certificates::make(&inputs.manifests, cluster.domain(), hopwise_engine::seed(), now_s);
    findings.extend(secrets(&inputs.manifests, &made));
    findings.extend(not_issued(&made));
    findings
}

fn rejection(rejection: &Rejection) -> Finding {
    // The words of `hopwise_kube::admission` about node ports.
    let is_about_node_port = rejection.field.ends_with("nodePort");
    let says = |words: &str| is_about_node_port && rejection.what.contains(words);
    let code = if says("outside of the cluster's node ports") {
        Code::NodePortOutOfRange
    } else if says("already taken") || says("used twice") {
        Code::NodePortUsedTwice
    } else {
        Code::RejectedByApiServer
    };
    let Rejection { object, refused, field, what, expected, fix, location } = rejection;
    let consequence = match refused {
        Refused::Object => "The API server rejects the object, so it is not in the cluster.",
        Refused::Pods => {
            "The API server takes the object and rejects each pod that is made from it, so it has none."
        }
    };
    let explanation = format!("{what}; expected {expected}. {consequence}");
    Finding::new(code, object.to_string(), explanation).field(field).at(Some(&position(location))).fix(fix)
}

fn init_failures(inputs: &Inputs, cluster: &Cluster) -> Vec<Finding> {
    let failures = cluster.init_failures().into_iter();
    failures
        .map(|failure| {
            let set = failure.pod.1.rsplit_once('-').map_or("", |(set, _)| set);
            let object = inputs.manifests.stateful_sets.iter().find(|it| it.name == set);
            let at = object.map(|object| position(&object.origin.start()));
            let pod = format!("Pod {}/{}", failure.pod.0, failure.pod.1);
            Finding::new(Code::InitContainerFailed, pod, failure.to_string())
                .field(format!("spec.initContainers[{}]", failure.container))
                .at(at.as_ref())
        })
        .collect()
}

/// Brokers whose process does not start although its pod does: what the broker itself says.
fn unstarted(inputs: &Inputs, brokers: &[KnownBroker]) -> Vec<Finding> {
    let failed = brokers.iter().filter(|broker| !broker.running);
    failed
        .filter_map(|broker| {
            let problem = broker.problem.as_ref()?;
            let set = inputs.manifests.stateful_sets.iter().find(|it| Some(it.reference()) == broker.set)?;
            let code = if problem.contains("the host is empty") {
                Code::EmptyAdvertisedAddress
            } else if problem.contains("cannot start TLS") {
                Code::CertificateNotLoaded
            } else if problem.contains("which was removed") {
                Code::RemovedBrokerReturns
            } else {
                Code::BrokerNotRunning
            };
            let finding = Finding::new(
                code,
                format!("Pod {}", broker.pod),
                format!("The broker does not start: {problem}."),
            );
            Some(
                finding
                    .at(Some(&position(&set.origin.start())))
                    .fix("Correct what the broker names; see the file it was configured by."),
            )
        })
        .collect()
}

fn unknown_fields(manifests: &Manifests) -> Vec<Finding> {
    let findings = manifests.unknown_fields.iter().map(|unknown| {
        let hint =
            unknown.suggestion.as_ref().map(|name| format!(" Did you mean {name}?")).unwrap_or_default();
        let explanation = format!("{} has no field {}.{hint}", unknown.object, unknown.field);
        Finding::new(Code::UnknownField, unknown.object.to_string(), explanation)
            .field(unknown.field.clone())
            .at(Some(&position(&unknown.location)))
    });
    findings.collect()
}

fn ignored_kinds(manifests: &Manifests) -> Vec<Finding> {
    let findings = manifests.ignored.iter().map(|ignored| {
        let objects = if ignored.count == 1 { "object" } else { "objects" };
        let explanation =
            format!("{} {objects} of {} {} are left out.", ignored.count, ignored.api_version, ignored.kind);
        Finding::new(Code::KindNotSimulated, format!("{} {}", ignored.api_version, ignored.kind), explanation)
            .at(Some(&position(&ignored.first)))
    });
    findings.collect()
}

/// One note per image, not per pod; probes and hooks of images that are known have notes of their own.
fn assumptions(cluster: &Cluster) -> Vec<Finding> {
    let mut corefile = Vec::new();
    let mut images: BTreeMap<(Code, String), BTreeSet<String>> = BTreeMap::new();
    for assumption in cluster.assumptions() {
        let (code, pod, image, what) = match assumption {
            Assumption::InitContainerSucceeds { pod, container, image } => {
                (Code::ImageNotKnown, pod, image, format!("init container {container} is taken to succeed"))
            }
            Assumption::EchoesOnItsPorts { pod, container, image } => {
                let what = format!("container {container} is taken to answer on its ports with an echo");
                (Code::ImageNotKnown, pod, image, what)
            }
            Assumption::Probe { pod, container, image, probe, taken } => {
                let what = format!("{probe} probe of container {container}: {taken}");
                (Code::ProbeAssumed, pod, image, what)
            }
            Assumption::Hook { pod, container, image, hook, why } => {
                let what = format!("{hook} hook of container {container} is taken to end at once: {why}");
                (Code::ProbeAssumed, pod, image, what)
            }
            Assumption::CorefileIgnored { line, what } => {
                let explanation = format!("Line {line} of the Corefile: {what}.");
                let object = "ConfigMap kube-system/coredns".to_owned();
                let finding = Finding::new(Code::CorefileIgnored, object, explanation);
                corefile.push(finding.field("data.Corefile".to_owned()));
                continue;
            }
            Assumption::BalancerIgnores { .. } => continue,
        };
        images.entry((code, image)).or_default().insert(format!("{}/{}: {what}", pod.0, pod.1));
    }
    let findings = images.into_iter().map(|((code, image), uses)| {
        let uses: Vec<String> = uses.into_iter().collect();
        Finding::new(code, format!("Image {image}"), format!("{}.", uses.join("; ")))
    });
    corefile.extend(findings);
    corefile
}

/// Services that were refused a load balancer, and annotations that load balancers do not follow.
fn balancers(inputs: &Inputs, cluster: &Cluster) -> Vec<Finding> {
    let found = |code, service: &str, field: &str, explanation: String| {
        let is_it = |it: &&Object<Service>| {
            format!("{}/{}", it.namespace.as_deref().unwrap_or(""), it.name) == service
        };
        let object = inputs.manifests.services.iter().find(is_it);
        let at = object.map(|object| position(&object.origin.start()));
        Finding::new(code, format!("Service {service}"), explanation).field(field).at(at.as_ref())
    };
    let refused = cluster.load_balancer_problems().into_iter().map(|(service, why)| {
        let explanation = format!("Service {service} gets no load balancer: {why}.");
        found(Code::LoadBalancerPending, &service, "spec.allocateLoadBalancerNodePorts", explanation)
    });
    let ignored = cluster.assumptions().into_iter().filter_map(|assumption| {
        let Assumption::BalancerIgnores { service, annotation, assumed } = assumption else { return None };
        let explanation = format!("The annotation {annotation} is not followed; it is taken that {assumed}.");
        Some(found(
            Code::BalancerAnnotationNotFollowed,
            &service.to_string(),
            "metadata.annotations",
            explanation,
        ))
    });
    refused.chain(ignored).collect()
}

/// Secrets that pods mount and neither a manifest nor a Certificate makes: one note per Secret.
fn secrets(manifests: &Manifests, made: &Made) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for set in &manifests.stateful_sets {
        let Some(spec) = set.value.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()) else {
            continue;
        };
        for (name, field, optional) in secrets_of(spec) {
            let namespace = set.namespace.clone().unwrap_or_default();
            let assumed = made.assumed.contains(&(namespace.clone(), name.clone()));
            let known = !assumed
                && (manifests.secrets.iter().any(|it| it.name == name && it.namespace == set.namespace)
                    || manifests
                        .secrets_made_by_certificates
                        .iter()
                        .any(|it| it.secret == name && it.namespace == namespace));
            if known || optional || !seen.insert((namespace.clone(), name.clone())) {
                continue;
            }
            let field = format!("spec.template.spec.{field}");
            let taken = if assumed { " It is taken to hold a certificate that clients accept." } else { "" };
            let explanation = format!(
                "{} refers to Secret {namespace}/{name}, which is in no manifest.{taken}",
                set.reference()
            );
            findings.push(
                Finding::new(Code::SecretAssumed, format!("Secret {namespace}/{name}"), explanation)
                    .at(Some(&position(&set.origin.locate(field.as_str()))))
                    .field(field),
            );
        }
    }
    findings
}

/// Certificates that cert-manager could not make.
fn not_issued(made: &Made) -> Vec<Finding> {
    let finding = |(object, origin, problem): &(ObjectRef, Origin, String)| {
        Finding::new(
            Code::CertificateNotIssued,
            object.to_string(),
            format!("{object} is not issued: {problem}."),
        )
        .at(Some(&position(&origin.start())))
    };
    made.problems.iter().map(finding).collect()
}

fn secrets_of(spec: &PodSpec) -> Vec<(String, String, bool)> {
    let volumes = spec.volumes.iter().flatten().zip(0..).filter_map(|(volume, index)| {
        let secret = volume.secret.as_ref()?;
        let field = format!("volumes[{index}].secret.secretName");
        Some((secret.secret_name.clone()?, field, secret.optional.unwrap_or(false)))
    });
    volumes.collect()
}
