//! Endpoints that somebody writes by hand, mirrored into EndpointSlices.
//!
//! Source: the Kubernetes page "EndpointSlices" (mirroring): only for Services without a selector; at most 1000
//! addresses per subset; a slice per subset and address family.

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::controller_reference;
use super::endpoint_slices::{MANAGED_BY_LABEL, SERVICE_NAME_LABEL};
use crate::store::Labels;

/// The label of objects that must not be mirrored.
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";
const ADDRESSES_MAX: usize = 1000;

/// The slices that mirror `endpoints`, whose Service is `service`; none where nothing is to be mirrored.
pub fn mirror(endpoints: &Endpoints, service: Option<&Service>) -> Vec<EndpointSlice> {
    let selects = |service: &Service| {
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| !selector.is_empty())
    };
    let labels = endpoints.metadata.labels.as_ref();
    let skipped = labels.and_then(|labels| labels.get(SKIP_LABEL)).is_some_and(|value| value == "true");
    if skipped || service.is_none_or(selects) {
        return Vec::new();
    }
    let mut slices = Vec::new();
    for (index, subset) in endpoints.subsets.iter().flatten().enumerate() {
        for family in ["IPv4", "IPv6"] {
            let mirrored = of_family(subset, family);
            if !mirrored.is_empty() {
                slices.push(slice(endpoints, index, family, subset, mirrored));
            }
        }
    }
    slices
}

fn of_family(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
    let is_of_family = |address: &EndpointAddress| {
        address.ip.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (family == "IPv4"))
    };
    let all = ready.chain(not_ready).take(ADDRESSES_MAX).filter(|(address, _)| is_of_family(address));
    all.map(|(address, ready)| endpoint(address, ready)).collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn slice(
    of: &Endpoints,
    index: usize,
    family: &str,
    subset: &EndpointSubset,
    endpoints: Vec<Endpoint>,
) -> EndpointSlice {
    let name = of.metadata.name.clone().unwrap_or_default();
    let labels = Labels::from([
        (SERVICE_NAME_LABEL.to_owned(), name.clone()),
        (MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned()),
    ]);
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        address_type: family.into(),
        endpoints: Some(endpoints),
        metadata: ObjectMeta {
            name: Some(format!("{name}-mirror-{index}-{}", family.to_lowercase())),
            namespace: of.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference("v1", "Endpoints", &of.metadata)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports.collect()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_without_selector_gets_a_slice_per_family_and_no_other_one_does() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": { "name": "outside", "namespace": "ns" },
            "subsets": [{
                "addresses": [{ "ip": "192.0.2.1" }, { "ip": "2001:db8::1" }],
                "notReadyAddresses": [{ "ip": "192.0.2.2" }],
                "ports": [{ "name": "kafka", "port": 9092 }]
            }]
        }))
        .unwrap();
        let service = |selector| -> Service {
            serde_json::from_value(
                json!({ "metadata": { "name": "outside" }, "spec": { "selector": selector } }),
            )
            .unwrap()
        };
        let slices = mirror(&endpoints, Some(&service(json!(null))));
        let ready = |slice: &EndpointSlice| {
            let endpoints = slice.endpoints.iter().flatten();
            endpoints
                .map(|it| (it.addresses[0].clone(), it.conditions.clone().unwrap().ready))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            slices.iter().map(|slice| slice.address_type.as_str()).collect::<Vec<_>>(),
            ["IPv4", "IPv6"]
        );
        assert_eq!(ready(&slices[0]), [("192.0.2.1".into(), Some(true)), ("192.0.2.2".into(), Some(false))]);
        assert_eq!(slices[1].ports.as_ref().unwrap()[0].protocol.as_deref(), Some("TCP"));
        assert_eq!(mirror(&endpoints, Some(&service(json!({ "app": "x" })))), []);
        assert_eq!(mirror(&endpoints, None), []);
    }
}
