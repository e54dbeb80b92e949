//! Whether the objects that a scenario names can exist: in the manifests, in the cluster file, or made from them.

use std::collections::BTreeSet;

use hopwise_kube::cluster::LinkEnd;
use hopwise_kube::source::nearest;
use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::problems::Problems;
use super::{
    Address, Fault, FaultTarget as Target, Look, ObjectKind, ObjectName, PodName, Problem, Scenario, Way,
    facts_of,
};
use crate::certificates;
use crate::inputs::Inputs;
use crate::place::Place;

/// The controllers that the cluster has beside those of the manifests.
const OWN_DEPLOYMENTS: [&str; 1] = ["kube-system/coredns"];
/// The Services that the cluster has beside those of the manifests.
const OWN_SERVICES: [&str; 2] = ["default/kubernetes", "kube-system/kube-dns"];

/// The names of what there is, or may come to be.
struct Known {
    nodes: BTreeSet<String>,
    zones: BTreeSet<String>,
    pods: BTreeSet<String>,
    stateful_sets: BTreeSet<String>,
    deployments: BTreeSet<String>,
    services: BTreeSet<String>,
    claims: BTreeSet<String>,
    /// `CLAIM-TEMPLATE-SET` of every claim template.
    claim_stems: BTreeSet<String>,
}

impl Scenario {
    /// The objects named that are not in `inputs` and cannot come from them, each with the nearest that is.
    pub fn unknown_objects(&self, inputs: &Inputs) -> Vec<Problem> {
        let known = Known::of(inputs);
        let mut problems = Problems::default();
        for name in self.replicas.keys() {
            let field = format!("replicas.{name}");
            let what = format!("{name} is no StatefulSet");
            let is_set = name.kind == ObjectKind::StatefulSet;
            problems.unless(is_set, &field, &what, "`statefulSet NAMESPACE/NAME`");
            known.check_object(&field, name, &mut problems);
        }
        for (index, fault) in self.faults.iter().enumerate() {
            known.check_fault(&format!("faults[{index}]"), fault, inputs, &mut problems);
        }
        self.check_drawn_objects(inputs, &mut problems);
        for (index, observation) in self.observations.iter().enumerate() {
            let field = format!("observations[{index}]");
            known.check_place(&format!("{field}.from"), &observation.from, &mut problems);
            known.check_look(&field, &observation.look, &mut problems);
        }
        for (index, event) in self.expect.events.iter().enumerate() {
            if let Some(object) = &event.object {
                known.check_object(&format!("expect.events[{index}].object"), object, &mut problems);
            }
        }
        for (index, state) in self.expect.states.iter().enumerate() {
            let field = format!("expect.states[{index}]");
            known.check_object(&format!("{field}.object"), &state.object, &mut problems);
            for word in state.is.keys() {
                let facts = facts_of(state.object.kind);
                let what = format!("nothing is known as `{word}` of a {}", state.object.kind.as_str());
                let expected = near(word, facts.iter().copied());
                problems.unless(
                    facts.contains(&word.as_str()),
                    &format!("{field}.is.{word}"),
                    &what,
                    &expected,
                );
            }
        }
        problems.0
    }
}

impl Known {
    fn of(inputs: &Inputs) -> Known {
        let manifests = &inputs.manifests;
        let key = |namespace: &Option<String>, name: &str| {
            format!("{}/{name}", namespace.as_deref().unwrap_or("default"))
        };
        macro_rules! keys {
            ($list:ident) => {
                manifests
                    .$list
                    .iter()
                    .map(|object| key(&object.namespace, &object.name))
                    .collect::<BTreeSet<String>>()
            };
        }
        let stems = manifests.stateful_sets.iter().flat_map(|set| {
            let templates =
                set.value.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
            templates.filter_map(|template| {
                let stem = format!("{}-{}", template.metadata.name.as_ref()?, set.name);
                Some(key(&set.namespace, &stem))
            })
        });
        let mut known = Known {
            nodes: inputs.cluster.nodes.iter().map(|node| node.name.clone()).collect(),
            zones: inputs.cluster.nodes.iter().filter_map(|node| node.zone.clone()).collect(),
            pods: keys!(pods),
            stateful_sets: keys!(stateful_sets),
            deployments: keys!(deployments),
            services: keys!(services),
            claims: keys!(persistent_volume_claims),
            claim_stems: stems.collect(),
        };
        known.deployments.extend(OWN_DEPLOYMENTS.map(str::to_owned));
        known.services.extend(OWN_SERVICES.map(str::to_owned));
        known
    }

    fn check_fault(&self, field: &str, fault: &Fault, inputs: &Inputs, problems: &mut Problems) {
        if let Some(object) = fault.when.as_ref().and_then(|when| when.event.as_ref()?.object.as_ref()) {
            self.check_object(&format!("{field}.when.object"), object, problems);
        }
        for (below, target) in fault.kind.targets() {
            let field = format!("{field}.{}{below}", fault.kind.field());
            match target {
                Target::Pod(pod) => self.check_pod(&field, pod, problems),
                Target::Container(pod, container) => {
                    check_container(&field, pod, container, inputs, problems)
                }
                Target::Node(node) => self.check_node(&field, node, problems),
                Target::Zone(zone) => self.check_zone(&field, zone, problems),
                Target::Workload(object) => self.check_workload(&field, object, problems),
                Target::Claim(object) => self.check_claim(&field, object, problems),
                Target::Link(way) => self.check_way(&field, way, problems),
                Target::Balancer(object) => self.check_balancer(&field, object, problems),
                Target::Certificate(object) => check_certificate(&field, object, inputs, problems),
                Target::Dns(_) | Target::ApiServer | Target::File(_) => {}
            }
        }
    }

    fn check_claim(&self, field: &str, object: &ObjectName, problems: &mut Problems) {
        let is_claim = object.kind == ObjectKind::PersistentVolumeClaim;
        let what = format!("{object} is no claim");
        problems.unless(is_claim, field, &what, "`persistentVolumeClaim NAMESPACE/NAME`");
        self.check_object(field, object, problems);
    }

    fn check_balancer(&self, field: &str, object: &ObjectName, problems: &mut Problems) {
        let is_service = object.kind == ObjectKind::Service;
        problems.unless(is_service, field, &format!("{object} is no Service"), "`service NAMESPACE/NAME`");
        self.check_object(field, object, problems);
    }

    fn check_way(&self, field: &str, way: &Way, problems: &mut Problems) {
        for end in [&way.from, &way.to] {
            match end {
                LinkEnd::Node(node) => self.check_node(field, node, problems),
                LinkEnd::Zone(zone) => self.check_zone(field, zone, problems),
                LinkEnd::External => {}
            }
        }
    }

    fn check_workload(&self, field: &str, object: &ObjectName, problems: &mut Problems) {
        let is_workload = matches!(object.kind, ObjectKind::StatefulSet | ObjectKind::Deployment);
        let what = format!("{object} has no replicas");
        problems.unless(
            is_workload,
            field,
            &what,
            "`statefulSet NAMESPACE/NAME` or `deployment NAMESPACE/NAME`",
        );
        if is_workload {
            self.check_object(field, object, problems);
        }
    }

    fn check_node(&self, field: &str, node: &str, problems: &mut Problems) {
        check_name(field, node, "node", &self.nodes, problems);
    }

    fn check_zone(&self, field: &str, zone: &str, problems: &mut Problems) {
        check_name(field, zone, "zone", &self.zones, problems);
    }

    fn check_pod(&self, field: &str, pod: &PodName, problems: &mut Problems) {
        let object = ObjectName::new(ObjectKind::Pod, &pod.namespace, &pod.name);
        self.check_object(field, &object, problems);
    }

    fn check_place(&self, field: &str, place: &Place, problems: &mut Problems) {
        match place {
            Place::Node(node) => self.check_node(field, node, problems),
            Place::Pod { namespace, name } => {
                let object = ObjectName::new(ObjectKind::Pod, namespace, name);
                self.check_object(field, &object, problems);
            }
            Place::External(_) | Place::InCluster => {}
        }
    }

    fn check_look(&self, field: &str, look: &Look, problems: &mut Problems) {
        let of = |address: &Address| match address {
            Address::Of(place) => Some(place.clone()),
            Address::Ip(_) | Address::Client => None,
        };
        match look {
            Look::Connect { served_by, source, .. } => {
                for (index, pod) in served_by.iter().flatten().enumerate() {
                    let field = format!("{field}.servedBy[{index}]");
                    match PodName::try_from(pod.clone()) {
                        Ok(pod) => self.check_pod(&field, &pod, problems),
                        Err(what) => problems.unless(false, &field, &what, "NAMESPACE/NAME of a pod"),
                    }
                }
                if let Some(place) = source.as_ref().and_then(of) {
                    self.check_place(&format!("{field}.source"), &place, problems);
                }
            }
            Look::Resolve { addresses, .. } => {
                for (index, address) in addresses.iter().flatten().enumerate() {
                    if let Some(place) = of(address) {
                        self.check_place(&format!("{field}.addresses[{index}]"), &place, problems);
                    }
                }
            }
        }
    }

    fn check_object(&self, field: &str, object: &ObjectName, problems: &mut Problems) {
        let key = format!("{}/{}", object.namespace, object.name);
        match object.kind {
            ObjectKind::Node => self.check_node(field, &object.name, problems),
            ObjectKind::Service => check_name(field, &key, "Service", &self.services, problems),
            ObjectKind::StatefulSet => check_name(field, &key, "StatefulSet", &self.stateful_sets, problems),
            ObjectKind::Deployment => check_name(field, &key, "Deployment", &self.deployments, problems),
            ObjectKind::Container => {
                let pod = object.name.split('/').next().unwrap_or_default();
                self.check_object(field, &ObjectName::new(ObjectKind::Pod, &object.namespace, pod), problems);
            }
            ObjectKind::Pod => {
                // A StatefulSet may come to have any ordinal; the names of a Deployment's pods are drawn.
                let made = is_numbered(&key, &self.stateful_sets)
                    || self.deployments.iter().any(|deployment| key.starts_with(&format!("{deployment}-")));
                if !made {
                    let examples = self.stateful_sets.iter().map(|set| format!("{set}-0"));
                    let pods = self.pods.iter().cloned().chain(examples).collect();
                    check_name(field, &key, "pod", &pods, problems);
                }
            }
            // Whatever is mounted may be one that somebody makes by hand.
            ObjectKind::Secret => {}
            ObjectKind::PersistentVolumeClaim => {
                if !is_numbered(&key, &self.claim_stems) {
                    let examples = self.claim_stems.iter().map(|stem| format!("{stem}-0"));
                    let claims = self.claims.iter().cloned().chain(examples).collect();
                    check_name(field, &key, "claim", &claims, problems);
                }
            }
        }
    }
}

/// Only what the simulation has issued can it issue again.
fn check_certificate(field: &str, object: &ObjectName, inputs: &Inputs, problems: &mut Problems) {
    let is_secret = object.kind == ObjectKind::Secret;
    problems.unless(is_secret, field, &format!("{object} is no Secret"), "`secret NAMESPACE/NAME`");
    let issued = certificates::issued_names(&inputs.manifests);
    let names: BTreeSet<String> =
        issued.into_iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
    let key = format!("{}/{}", object.namespace, object.name);
    if is_secret && !names.contains(&key) {
        let what = format!("no Certificate asks for the Secret {key}, so nobody can issue it again");
        problems.unless(false, field, &what, &near(&key, names.iter().map(String::as_str)));
    }
}

fn check_container(field: &str, pod: &PodName, container: &str, inputs: &Inputs, problems: &mut Problems) {
    let containers = containers_of(inputs, pod);
    let what = format!("pod {pod} has no container `{container}`");
    let expected = near(container, containers.iter().map(String::as_str));
    let sound = containers.is_empty() || containers.iter().any(|known| known == container);
    problems.unless(sound, field, &what, &expected);
}

/// Whether the name is one of `stems` with an ordinal.
fn is_numbered(name: &str, stems: &BTreeSet<String>) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(stem, ordinal)| stems.contains(stem) && ordinal.parse::<u32>().is_ok())
}

fn check_name(field: &str, name: &str, noun: &str, known: &BTreeSet<String>, problems: &mut Problems) {
    let what = format!("there is no {noun} `{name}`");
    problems.unless(known.contains(name), field, &what, &near(name, known.iter().map(String::as_str)));
}

/// The nearest of the known words, and all of them.
pub(super) fn near<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let all = known.clone().collect::<Vec<_>>().join(", ");
    match nearest(word, known) {
        Some(nearest) => format!("`{nearest}` perhaps, or another of {all}"),
        None if all.is_empty() => "none: there is none".to_owned(),
        None => format!("one of {all}"),
    }
}

/// The containers of a pod: its own, or those of its controller's template; none if nothing is known of it.
fn containers_of(inputs: &Inputs, pod: &PodName) -> Vec<String> {
    let manifests = &inputs.manifests;
    let is_here = |namespace: &Option<String>| namespace.as_deref().unwrap_or("default") == pod.namespace;
    let names = |template: &PodTemplateSpec| -> Vec<String> {
        template
            .spec
            .iter()
            .flat_map(|spec| &spec.containers)
            .map(|container| container.name.clone())
            .collect()
    };
    let of_pod = manifests.pods.iter().find(|own| is_here(&own.namespace) && own.name == pod.name);
    if let Some(own) = of_pod {
        return own.value.spec.iter().flat_map(|spec| &spec.containers).map(|it| it.name.clone()).collect();
    }
    let is_of = |name: &str| pod.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    let of_set = manifests.stateful_sets.iter().find(|set| is_here(&set.namespace) && is_of(&set.name));
    let of_set = of_set.and_then(|set| Some(names(&set.value.spec.as_ref()?.template)));
    let of_deployment = || {
        let found = manifests.deployments.iter().find(|own| is_here(&own.namespace) && is_of(&own.name))?;
        Some(names(&found.value.spec.as_ref()?.template))
    };
    of_set.or_else(of_deployment).unwrap_or_default()
}
