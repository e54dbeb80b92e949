//! The EndpointSlice controller: which pods stand behind a Service, on which ports, and in what state.
//!
//! The slices of a Service are built as a whole from its pods, sorted by pod name, and compared with the ones
//! that exist.
//! Left out: writing the legacy Endpoints object, and keeping an endpoint in the slice it was in when others of more
//! than 100 go.
//! Source: kubernetes.md 4 and 6.8, redpanda.md 1.10.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Node, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::controller_reference;
use super::service_defaults::{is_headless, service_type};
use super::topology_hints::{self, Distribution, Zones};
use crate::store::pod_state::{addresses, is_finished, is_ready, is_terminating, node_name};
use crate::store::{Labels, matches_labels};

/// The most endpoints that one slice holds.
pub const ENDPOINTS_PER_SLICE_MAX: usize = 100;
/// The label with the name of the slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label that says who keeps the slice.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The node label with the zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

const MANAGED_BY: &str = "endpointslice-controller.k8s.io";

/// Something the controller asks of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Create a slice.
    Create(Box<EndpointSlice>),
    /// Replace a slice.
    Update(Box<EndpointSlice>),
    /// Delete a slice.
    Delete {
        /// Its name.
        name: String,
    },
}

/// One pass for one Service. `pods` and `slices` are those of its namespace, `node` finds a node by name, `zones` are
/// those of the cluster (asked for only if the Service's hints need them).
pub fn reconcile<'a>(
    service: &Service,
    pods: &[Arc<Pod>],
    slices: &[Arc<EndpointSlice>],
    node: impl Fn(&str) -> Option<&'a Node>,
    zones: impl FnOnce() -> Zones,
) -> Vec<Request> {
    let deleted = service.metadata.deletion_timestamp.is_some();
    let wanted = if deleted { Vec::new() } else { build(service, pods, node, zones) };
    let name = service.metadata.name.as_deref().unwrap_or("");
    let existing: BTreeMap<&str, &EndpointSlice> = slices
        .iter()
        .filter(|slice| label(&slice.metadata, MANAGED_BY_LABEL) == Some(MANAGED_BY))
        .filter(|slice| label(&slice.metadata, SERVICE_NAME_LABEL) == Some(name))
        .map(|slice| (slice.metadata.name.as_deref().unwrap_or(""), slice.as_ref()))
        .collect();
    let mut requests = Vec::new();
    for slice in &wanted {
        match existing.get(slice.metadata.name.as_deref().unwrap_or("")) {
            None => requests.push(Request::Create(Box::new(slice.clone()))),
            Some(found)
                if found.endpoints != slice.endpoints || found.metadata.labels != slice.metadata.labels =>
            {
                let mut metadata = found.metadata.clone();
                metadata.labels = slice.metadata.labels.clone();
                requests.push(Request::Update(Box::new(EndpointSlice { metadata, ..slice.clone() })));
            }
            Some(_) => {}
        }
    }
    for name in existing.keys() {
        if !wanted.iter().any(|slice| slice.metadata.name.as_deref() == Some(name)) {
            requests.push(Request::Delete { name: (*name).into() });
        }
    }
    requests
}

/// The slices that a Service with a selector should have: per address family and set of resolved ports, at
/// most 100 endpoints each. A Service without selector, or of type ExternalName, has none of its own.
pub fn build<'a>(
    service: &Service,
    pods: &[Arc<Pod>],
    node: impl Fn(&str) -> Option<&'a Node>,
    zones: impl FnOnce() -> Zones,
) -> Vec<EndpointSlice> {
    let Some(spec) = service.spec.as_ref() else { return Vec::new() };
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        return Vec::new();
    };
    if service_type(service) == "ExternalName" {
        return Vec::new();
    }
    let mut selected: Vec<&Pod> =
        pods.iter().map(Arc::as_ref).filter(|pod| is_backend(service, selector, pod)).collect();
    selected.sort_by_key(|pod| &pod.metadata.name);
    let default = ["IPv4".to_owned()];
    let families = spec.ip_families.as_deref().filter(|families| !families.is_empty()).unwrap_or(&default);
    let distribution = Distribution::of(service);
    let zones = if distribution == Distribution::Auto { zones() } else { Zones::default() };
    let mut slices = Vec::new();
    for family in families {
        let (backends, mut endpoints): (Vec<&Pod>, Vec<Endpoint>) = selected
            .iter()
            .filter_map(|pod| endpoint_of(service, pod, family, &node).map(|endpoint| (*pod, endpoint)))
            .unzip();
        topology_hints::assign(distribution, &mut endpoints, &zones);
        // By the resolved ports, in an order that text gives.
        let mut groups: BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)> = BTreeMap::new();
        for (pod, endpoint) in backends.into_iter().zip(endpoints) {
            let ports = ports_of(spec.ports.as_deref().unwrap_or(&[]), pod);
            groups.entry(port_key(&ports)).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
        }
        for (key, (ports, endpoints)) in groups {
            for (index, endpoints) in endpoints.chunks(ENDPOINTS_PER_SLICE_MAX).enumerate() {
                slices.push(slice(service, family, &key, index, &ports, endpoints));
            }
        }
    }
    slices
}

fn is_backend(service: &Service, selector: &Labels, pod: &Pod) -> bool {
    pod.metadata.namespace == service.metadata.namespace
        && matches_labels(selector, pod.metadata.labels.as_ref())
        && !is_finished(pod)
}

/// The pod as an endpoint; none if it has no address of that family or its node is gone.
fn endpoint_of<'a>(
    service: &Service,
    pod: &Pod,
    family: &str,
    node: &impl Fn(&str) -> Option<&'a Node>,
) -> Option<Endpoint> {
    let spec = service.spec.as_ref()?;
    let is_of_family =
        |text: &&str| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (family == "IPv4"));
    let address = addresses(pod).into_iter().find(is_of_family)?.to_owned();
    let publish = spec.publish_not_ready_addresses == Some(true);
    let found = node_name(pod).and_then(node);
    // A pod whose Node object is gone is left out (kubernetes.md 4).
    if node_name(pod).is_some() && found.is_none() && !publish {
        return None;
    }
    let zone = found.and_then(|node| label(&node.metadata, ZONE_LABEL)).map(str::to_owned);
    let (serving, terminating) = (is_ready(pod), is_terminating(pod));
    let ready = publish || (serving && !terminating);
    let pod_spec = pod.spec.as_ref();
    let hostname = pod_spec.and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let subdomain = pod_spec.and_then(|spec| spec.subdomain.as_deref());
    let governed = subdomain.is_some() && subdomain == service.metadata.name.as_deref();
    Some(Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: None,
        hostname: hostname.filter(|_| governed),
        node_name: node_name(pod).map(str::to_owned),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            name: pod.metadata.name.clone(),
            namespace: pod.metadata.namespace.clone(),
            uid: pod.metadata.uid.clone(),
            ..Default::default()
        }),
        zone,
        deprecated_topology: None,
    })
}

/// The Service's ports as this pod has them. A named target port that no container of the pod has is left
/// out.
fn ports_of(ports: &[ServicePort], pod: &Pod) -> Vec<EndpointPort> {
    let resolved = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let number = match &port.target_port {
            None | Some(IntOrString::Int(0)) => port.port,
            Some(IntOrString::Int(number)) => *number,
            Some(IntOrString::String(name)) => container_port(pod, name, protocol)?,
        };
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(number),
            protocol: Some(protocol.into()),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.iter().filter_map(resolved).collect()
}

/// The number of the port of that name and protocol, in the containers or the restartable init containers.
fn container_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let restartable = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(restartable);
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .find(|port| {
            port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|port| port.container_port)
}

fn port_key(ports: &[EndpointPort]) -> String {
    let texts = ports.iter().map(|port| {
        let name = port.name.as_deref().unwrap_or("");
        format!("{name}:{}/{}", port.port.unwrap_or(0), port.protocol.as_deref().unwrap_or("TCP"))
    });
    texts.collect::<Vec<_>>().join(",")
}

fn slice(
    service: &Service,
    family: &str,
    key: &str,
    index: usize,
    ports: &[EndpointPort],
    endpoints: &[Endpoint],
) -> EndpointSlice {
    let name = service.metadata.name.as_deref().unwrap_or("");
    let mut labels = Labels::from([
        (SERVICE_NAME_LABEL.to_owned(), name.to_owned()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
    ]);
    if is_headless(service) {
        labels.insert("service.kubernetes.io/headless".into(), String::new());
    }
    EndpointSlice {
        address_type: family.into(),
        endpoints: Some(endpoints.to_vec()),
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", name_suffix(family, key, index))),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference("v1", "Service", &service.metadata)]),
            ..Default::default()
        },
        ports: Some(ports.to_vec()),
    }
}

/// A name for the slice of these ports that stays the same from pass to pass.
fn name_suffix(family: &str, key: &str, index: usize) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(format!("{family} {key} {index}").as_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        let mut spec = spec;
        spec["selector"] = json!({ "app": "broker" });
        serde_json::from_value(json!({ "metadata": { "name": "broker", "namespace": "ns" }, "spec": spec }))
            .unwrap()
    }

    fn pod(name: &str, address: &str, ready: bool) -> Pod {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "ns", "labels": { "app": "broker" } },
            "spec": {
                "nodeName": "node-0", "hostname": name, "subdomain": "broker",
                "containers": [{ "name": "c", "ports": [{ "name": "kafka", "containerPort": 9093 }] }]
            },
            "status": {
                "phase": "Running", "podIP": address,
                "conditions": [{ "type": "Ready", "status": status }]
            }
        }))
        .unwrap()
    }

    fn node() -> Node {
        serde_json::from_value(
            json!({ "metadata": { "name": "node-0", "labels": { ZONE_LABEL: "zone-a" } } }),
        )
        .unwrap()
    }

    fn built(service: &Service, pods: &[Pod]) -> Vec<EndpointSlice> {
        let node = node();
        let pods: Vec<Arc<Pod>> = pods.iter().cloned().map(Arc::new).collect();
        build(service, &pods, |name| Some(&node).filter(|_| name == "node-0"), Zones::default)
    }

    fn only(slices: &[EndpointSlice]) -> &Endpoint {
        assert_eq!(slices.len(), 1);
        &slices[0].endpoints.as_ref().unwrap()[0]
    }

    #[test]
    fn a_ready_pod_of_the_governing_service_has_hostname_zone_and_resolved_port() {
        let slices = built(
            &service(json!({ "ports": [{ "name": "k", "port": 9093, "targetPort": "kafka" }] })),
            &[pod("broker-0", "10.0.0.1", true)],
        );
        let endpoint = only(&slices);
        assert_eq!(endpoint.addresses, ["10.0.0.1"]);
        assert_eq!(endpoint.hostname.as_deref(), Some("broker-0"));
        assert_eq!(endpoint.zone.as_deref(), Some("zone-a"));
        assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(9093));
    }

    #[test]
    fn conditions_follow_readiness_termination_and_publishing() {
        for (ready, terminating, publish, expected) in [
            (true, false, false, (true, true, false)),
            (false, false, false, (false, false, false)),
            (true, true, false, (false, true, true)),
            (true, true, true, (true, true, true)),
            (false, false, true, (true, false, false)),
        ] {
            let mut pod = pod("broker-0", "10.0.0.1", ready);
            if terminating {
                pod.metadata.deletion_timestamp = Some(crate::store::timestamp(hopwise_engine::Time::ZERO));
            }
            let slices = built(&service(json!({ "publishNotReadyAddresses": publish })), &[pod]);
            let conditions = only(&slices).conditions.clone().unwrap();
            let found = (conditions.ready, conditions.serving, conditions.terminating);
            assert_eq!(found, (Some(expected.0), Some(expected.1), Some(expected.2)));
        }
    }

    #[test]
    fn pods_without_address_or_node_or_that_have_ended_are_left_out() {
        let mut ended = pod("broker-0", "10.0.0.1", true);
        ended.status.as_mut().unwrap().phase = Some("Succeeded".into());
        let mut lost = pod("broker-1", "10.0.0.2", true);
        lost.spec.as_mut().unwrap().node_name = Some("gone".into());
        let pending = pod("broker-2", "", false);
        let pods = [ended, lost, pending];
        assert_eq!(built(&service(json!({})), &pods), []);
        let published = built(&service(json!({ "publishNotReadyAddresses": true })), &pods);
        assert_eq!(only(&published).addresses, ["10.0.0.2"]);
    }

    #[test]
    fn pods_with_other_ports_are_in_other_slices_and_slices_are_bounded() {
        let mut pods: Vec<Pod> =
            (0..150).map(|n| pod(&format!("broker-{n:03}"), &format!("10.0.1.{n}"), true)).collect();
        pods[7].spec.as_mut().unwrap().containers[0].ports.as_mut().unwrap()[0].container_port = 9999;
        let slices = built(&service(json!({ "ports": [{ "port": 1, "targetPort": "kafka" }] })), &pods);
        let counts: Vec<_> = slices
            .iter()
            .map(|slice| {
                (slice.ports.as_ref().unwrap()[0].port.unwrap(), slice.endpoints.as_ref().unwrap().len())
            })
            .collect();
        assert_eq!(counts, [(9093, 100), (9093, 49), (9999, 1)]);
    }

    #[test]
    fn each_family_has_its_own_slice_and_a_second_pass_changes_nothing() {
        let mut both = pod("broker-0", "10.0.0.1", true);
        both.status.as_mut().unwrap().pod_ips = Some(
            ["10.0.0.1", "fd00::1"].map(|ip| k8s_openapi::api::core::v1::PodIP { ip: ip.into() }).to_vec(),
        );
        let service = service(json!({ "ipFamilies": ["IPv4", "IPv6"] }));
        let (node, pods) = (node(), [Arc::new(both)]);
        let requests = reconcile(&service, &pods, &[], |_| Some(&node), Zones::default);
        let slices: Vec<_> = requests
            .into_iter()
            .map(|request| match request {
                Request::Create(slice) => Arc::new(*slice),
                other => panic!("{other:?}"),
            })
            .collect();
        let types: Vec<_> = slices.iter().map(|slice| slice.address_type.as_str()).collect();
        assert_eq!(types, ["IPv4", "IPv6"]);
        assert_eq!(reconcile(&service, &pods, &slices, |_| Some(&node), Zones::default), []);
        assert_eq!(reconcile(&service, &[], &slices, |_| Some(&node), Zones::default).len(), 2);
    }
}
