//! The facts that linter and diagnosis need, from the inputs and the started cluster.

use std::collections::BTreeMap;

use hopwise_broker as broker;
use hopwise_kube::cluster::Cluster as RunningCluster;
use hopwise_kube::controllers::service_defaults::{is_headless, service_type};
use hopwise_kube::manifest::{Manifests, Object};
use hopwise_kube::source::Location;
use hopwise_kube::store::{Store, pod_state};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{LifecycleHandler, Pod, PodSpec, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::brokers::KnownBroker;
use super::{references, unmade};
use crate::credentials::{Holdings, certificate_names};
use crate::findings::facts::{
    Advertised, AntiAffinity, Broker, Cluster, Listener, Node, OtherPod, Position, Service as ServiceFacts,
    ServiceKind, ServicePort, StatefulSet as SetFacts, Tls,
};
use crate::inputs::Inputs;
use crate::report::check::Api;

/// `terminationGracePeriodSeconds` of a pod that names none (kubernetes.md 8).
const GRACE_PERIOD_S: u32 = 30;

/// What is known of the cluster once it has settled.
pub fn of(inputs: &Inputs, cluster: &RunningCluster, brokers: &[KnownBroker]) -> Cluster {
    let balancer = &inputs.profile.load_balancer;
    cluster.api().read(|store| Cluster {
        profile: inputs.profile.name.clone(),
        managed_load_balancers: balancer.managed.value,
        idle_timeout: balancer
            .managed
            .value
            .then_some((balancer.idle_timeout_s.value, balancer.idle_reset.value)),
        domain: inputs.cluster.cluster_domain.trim_end_matches('.').to_owned(),
        node_ports: (30_000, 32_767),
        nodes: inputs.cluster.nodes.iter().map(node).collect(),
        services: inputs.manifests.services.iter().map(|it| service(it, store, inputs)).collect(),
        stateful_sets: broker_sets(&inputs.manifests, brokers),
        brokers: brokers.iter().map(|known| broker_facts(known, store, inputs)).collect(),
        other_pods: other_pods(store, brokers),
        missing: references::missing(&inputs.manifests),
        external_names: external_names(inputs, cluster),
    })
}

/// A location as findings carry it.
pub fn position(location: &Location) -> Position {
    Position { file: location.file.to_string(), line: u32::try_from(location.line).unwrap_or(u32::MAX) }
}

fn node(node: &hopwise_kube::cluster_file::Node) -> Node {
    Node { name: node.name.clone(), addresses: node.addresses.iter().map(ToString::to_string).collect() }
}

fn external_names(
    inputs: &Inputs,
    cluster: &RunningCluster,
) -> std::collections::BTreeMap<String, Vec<String>> {
    let named = inputs.cluster.external_names.keys().map(ToString::to_string);
    let published = cluster.api().read(|store| {
        let ingress = |service: &Service| {
            let status = service.status.as_ref().and_then(|status| status.load_balancer.clone());
            status.and_then(|status| status.ingress).into_iter().flatten().filter_map(|entry| entry.hostname)
        };
        store.list::<Service>().flat_map(|service| ingress(service)).collect::<Vec<_>>()
    });
    let addresses = |name: &String| cluster.resolve_outside(name).iter().map(ToString::to_string).collect();
    named.chain(published).map(|name| (name.clone(), addresses(&name))).collect()
}

fn service(object: &Object<Service>, store: &Store, inputs: &Inputs) -> ServiceFacts {
    let Inputs { manifests, rejections, .. } = inputs;
    let namespace = object.namespace.clone().unwrap_or_default();
    // The stored object has what the API server and the cloud have added.
    let stored = store.get::<Service>(&namespace, &object.name);
    let service = stored.map_or(&object.value, |service| service.as_ref());
    let spec = service.spec.clone().unwrap_or_default();
    let selector = spec.selector.clone().unwrap_or_default();
    let pod_key = |pod: &Pod| format!("{namespace}/{}", pod.metadata.name.as_deref().unwrap_or(""));
    let selects = |labels: &BTreeMap<String, String>| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let pods = store.list_in::<Pod>(&namespace).map(|pod| pod.as_ref());
    let selected: Vec<&Pod> =
        pods.filter(|pod| selects(&pod.metadata.labels.clone().unwrap_or_default())).collect();
    let templates = manifests.ignored_pod_templates.iter();
    let selected_templates = templates.filter(|it| it.namespace == namespace && selects(&it.labels));
    let unmade = match selected.is_empty() {
        true => unmade::selected(manifests, rejections, &namespace, selects),
        false => Vec::new(),
    };
    let ingress =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    let annotations = service.metadata.annotations.clone().unwrap_or_default();
    let hostnames = annotations.get("external-dns.alpha.kubernetes.io/hostname");
    let ports = spec.ports.iter().flatten().zip(0..).map(|(port, index)| ServicePort {
        name: port.name.clone().unwrap_or_default(),
        port: number(port.port),
        target_port: target_port(port.target_port.as_ref(), port.port, &selected),
        node_port: port.node_port.map(number),
        position: Some(position(&object.origin.locate(format!("spec.ports[{index}]").as_str()))),
    });
    ServiceFacts {
        kind: match service_type(service) {
            "NodePort" => ServiceKind::NodePort,
            "LoadBalancer" => ServiceKind::LoadBalancer,
            "ExternalName" => ServiceKind::ExternalName,
            _ => ServiceKind::ClusterIp,
        },
        headless: is_headless(service),
        publishes_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        local_policy: spec.external_traffic_policy.as_deref() == Some("Local"),
        selector: selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", "),
        selected: selected.iter().map(|pod| pod_key(pod)).collect(),
        selected_templates: selected_templates.map(|it| it.object.clone()).collect(),
        unmade,
        endpoints: endpoints(store, &namespace, &object.name),
        ports: ports.collect(),
        ingress: ingress.filter_map(|entry| entry.ip.clone().or_else(|| entry.hostname.clone())).collect(),
        dns_hostnames: hostnames
            .into_iter()
            .flat_map(|names| names.split(','))
            .map(|name| name.trim().to_owned())
            .collect(),
        position: Some(position(&object.origin.start())),
        name: object.name.clone(),
        namespace,
    }
}

fn number(port: i32) -> u16 {
    u16::try_from(port).unwrap_or(0)
}

/// The pods' port: a number, or a name that the first selected pod that has it gives a number.
fn target_port(target: Option<&IntOrString>, port: i32, selected: &[&Pod]) -> u16 {
    match target {
        None | Some(IntOrString::Int(0)) => number(port),
        Some(IntOrString::Int(target)) => number(*target),
        Some(IntOrString::String(name)) => {
            let containers =
                selected.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports
                .find(|port| port.name.as_deref() == Some(name))
                .map_or(0, |port| number(port.container_port))
        }
    }
}

fn endpoints(store: &Store, namespace: &str, service: &str) -> Vec<String> {
    let of_service = |slice: &EndpointSlice| {
        hopwise_kube::proxy::ServiceName::of_slice(slice).is_some_and(|name| name.name == service)
    };
    let slices = store.list_in::<EndpointSlice>(namespace).filter(|slice| of_service(slice));
    let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten());
    let ready =
        endpoints.filter(|endpoint| endpoint.conditions.as_ref().is_none_or(|it| it.ready.unwrap_or(true)));
    ready
        .filter_map(|endpoint| Some(format!("{namespace}/{}", endpoint.target_ref.as_ref()?.name.as_ref()?)))
        .collect()
}

fn broker_sets(manifests: &Manifests, brokers: &[KnownBroker]) -> Vec<SetFacts> {
    let runs_brokers =
        |set: &&Object<StatefulSet>| brokers.iter().any(|known| known.set.as_ref() == Some(&set.reference()));
    manifests
        .stateful_sets
        .iter()
        .filter(runs_brokers)
        .map(|object| {
            let spec = object.value.spec.clone().unwrap_or_default();
            let pod = spec.template.spec.unwrap_or_default();
            let affinity = pod.affinity.clone().and_then(|it| it.pod_anti_affinity).unwrap_or_default();
            SetFacts {
                namespace: object.namespace.clone().unwrap_or_default(),
                name: object.name.clone(),
                position: Some(position(&object.origin.start())),
                replicas: u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0),
                service_name: spec.service_name.unwrap_or_default(),
                anti_affinity: if affinity
                    .required_during_scheduling_ignored_during_execution
                    .is_some_and(|all| !all.is_empty())
                {
                    AntiAffinity::Required
                } else if affinity
                    .preferred_during_scheduling_ignored_during_execution
                    .is_some_and(|all| !all.is_empty())
                {
                    AntiAffinity::Preferred
                } else {
                    AntiAffinity::None
                },
                pre_stop: pre_stop_hooks(&pod).next().is_some(),
                pre_stop_s: pre_stop_hooks(&pod).filter_map(hook_s).max(),
                grace_period_s: pod
                    .termination_grace_period_seconds
                    .map_or(GRACE_PERIOD_S, |grace| u32::try_from(grace).unwrap_or(0)),
                configurator: references::configurator(manifests, object),
            }
        })
        .collect()
}

fn pre_stop_hooks(pod: &PodSpec) -> impl Iterator<Item = &LifecycleHandler> {
    pod.containers.iter().filter_map(|container| container.lifecycle.as_ref()?.pre_stop.as_ref())
}

/// How long a hook takes where it says so: `sleep`, or what its command's first `sleep N` or `timeout N` names.
fn hook_s(hook: &LifecycleHandler) -> Option<u32> {
    if let Some(sleep) = &hook.sleep {
        return u32::try_from(sleep.seconds).ok();
    }
    let command = hook.exec.as_ref()?.command.as_ref()?.join(" ");
    let words: Vec<&str> = command.split_whitespace().collect();
    let at = words.iter().position(|word| matches!(*word, "sleep" | "timeout"))?;
    // Options of `timeout` stand before its time.
    let time = words[at + 1..].iter().find(|word| !word.starts_with('-'))?;
    time.trim_end_matches('s').parse().ok()
}

fn broker_facts(known: &KnownBroker, store: &Store, inputs: &Inputs) -> Broker {
    let (namespace, pod_name) = known.pod.split_once('/').unwrap_or(("", &known.pod));
    let pod = store.get::<Pod>(namespace, pod_name);
    let position = references::configuration_of(&inputs.manifests, known);
    let refused = || {
        unmade::refusal(&inputs.rejections, known.set.as_ref()?).map(|why| format!("it has no pod: {why}"))
    };
    let mut advertised_names = Vec::new();
    let config = known.config.as_ref();
    for (api, list) in [
        (Api::Kafka, config.map(|config| config.advertised_kafka_api.clone()).unwrap_or_default()),
        (Api::HttpProxy, config.map(|config| config.advertised_pandaproxy_api.clone()).unwrap_or_default()),
    ] {
        advertised_names.push((api, list.into_iter().map(|entry| entry.name).collect()));
    }
    Broker {
        id: known.id,
        namespace: namespace.to_owned(),
        pod: pod_name.to_owned(),
        running: known.running,
        reason: pod.and_then(|pod| why_not_ready(pod)).or_else(|| known.problem.clone()).or_else(refused),
        node: pod.and_then(|pod| pod_state::node_name(pod)).map(ToOwned::to_owned),
        position,
        listeners: known.listeners().iter().map(|own| listener(own, &known.holdings)).collect(),
        advertised_names,
        seed_hosts: config
            .map(|config| config.seed_servers.iter().map(|seed| seed.host.clone()).collect())
            .unwrap_or_default(),
    }
}

/// Why a pod is not ready, as its status says.
pub fn why_not_ready(pod: &Pod) -> Option<String> {
    if pod_state::is_ready(pod) {
        return None;
    }
    let status = pod.status.as_ref()?;
    let said = |reason: &Option<String>, message: &Option<String>| {
        let reason = reason.clone().filter(|reason| !reason.is_empty())?;
        Some(match message.as_deref().filter(|message| !message.is_empty()) {
            Some(message) => format!("{reason}: {message}"),
            None => reason,
        })
    };
    let waiting = || {
        let states =
            status.container_statuses.iter().flatten().filter_map(|it| it.state.as_ref()?.waiting.as_ref());
        states.map(|waiting| said(&waiting.reason, &waiting.message)).next().flatten()
    };
    let unscheduled = || {
        let condition = pod_state::condition(pod, "PodScheduled").filter(|it| it.status == "False")?;
        said(&condition.reason, &condition.message)
    };
    said(&status.reason, &status.message)
        .or_else(unscheduled)
        .or_else(waiting)
        .or_else(|| Some("not ready".into()))
}

fn listener(listener: &broker::Listener, holdings: &Holdings) -> Listener {
    Listener {
        api: api(listener.api),
        name: listener.name.clone(),
        port: listener.bind.port(),
        advertised: listener
            .advertised
            .as_ref()
            .map(|it| Advertised { host: it.host.clone(), port: it.port }),
        tls: listener.tls.then(|| Tls { names: certificate_names(&holdings.files, listener) }),
        authentication: listener.authentication != broker::Authentication::None,
    }
}

/// The broker's word for an API in the report's.
pub fn api(api: broker::Api) -> Api {
    match api {
        broker::Api::Kafka => Api::Kafka,
        broker::Api::Admin => Api::Admin,
        broker::Api::HttpProxy => Api::HttpProxy,
        broker::Api::SchemaRegistry => Api::SchemaRegistry,
        broker::Api::Rpc => Api::Rpc,
    }
}

fn other_pods(store: &Store, brokers: &[KnownBroker]) -> Vec<OtherPod> {
    let key = |pod: &Pod| {
        format!(
            "{}/{}",
            pod.metadata.namespace.as_deref().unwrap_or(""),
            pod.metadata.name.as_deref().unwrap_or("")
        )
    };
    let others = store.list::<Pod>().filter(|pod| {
        let key = key(pod);
        !key.starts_with("kube-system/") && brokers.iter().all(|known| known.pod != key)
    });
    others
        .map(|pod| {
            let owner = pod.metadata.owner_references.iter().flatten().next();
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            OtherPod {
                pod: key(pod),
                owner: owner.map_or_else(
                    || format!("Pod {}", key(pod)),
                    |owner| format!("{} {namespace}/{}", owner.kind, owner.name),
                ),
                ports: containers
                    .flat_map(|it| it.ports.iter().flatten())
                    .map(|port| number(port.container_port))
                    .collect(),
            }
        })
        .collect()
}
