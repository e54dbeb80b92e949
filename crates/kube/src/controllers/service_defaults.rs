//! What the API server fills into a Service that does not say it.
//!
//! Source: kubernetes.md 3, the Kubernetes page "Service".

use k8s_openapi::api::core::v1::{ClientIPConfig, Service, SessionAffinityConfig};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// How long ClientIP affinity lasts by default, in seconds.
pub const AFFINITY_TIMEOUT_SECONDS_DEFAULT: i32 = 10_800;

/// The Service's type.
pub fn service_type(service: &Service) -> &str {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP")
}

/// Whether the Service is headless: no cluster IP, no kube-proxy rule, only endpoints and DNS.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Whether the Service has a port on every node.
pub fn has_node_ports(service: &Service) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            service.spec.as_ref().and_then(|spec| spec.allocate_load_balancer_node_ports).unwrap_or(true)
        }
        _ => false,
    }
}

/// Whether the Service needs a health check port: type LoadBalancer with externalTrafficPolicy Local.
pub fn needs_health_check_port(service: &Service) -> bool {
    let policy = service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref());
    service_type(service) == "LoadBalancer" && policy == Some("Local")
}

/// Fills in the defaults. `families` are the cluster's IP families, the first one first (`IPv4`, `IPv6`).
pub fn admit(service: &mut Service, families: &[&str]) {
    let type_ = service_type(service).to_owned();
    let spec = service.spec.get_or_insert_default();
    spec.type_ = Some(type_.clone());
    for port in spec.ports.iter_mut().flatten() {
        port.protocol.get_or_insert_with(|| "TCP".into());
        if matches!(port.target_port, None | Some(IntOrString::Int(0))) {
            port.target_port = Some(IntOrString::Int(port.port));
        }
        port.node_port = port.node_port.filter(|port| *port != 0);
    }
    if spec.session_affinity.get_or_insert_with(|| "None".into()) == "ClientIP" {
        let config = spec.session_affinity_config.get_or_insert_with(SessionAffinityConfig::default);
        let client_ip = config.client_ip.get_or_insert_with(ClientIPConfig::default);
        client_ip.timeout_seconds.get_or_insert(AFFINITY_TIMEOUT_SECONDS_DEFAULT);
    }
    if type_ == "ExternalName" {
        return;
    }
    spec.internal_traffic_policy.get_or_insert_with(|| "Cluster".into());
    let external = spec.external_ips.as_ref().is_some_and(|addresses| !addresses.is_empty());
    if external || matches!(type_.as_str(), "NodePort" | "LoadBalancer") {
        spec.external_traffic_policy.get_or_insert_with(|| "Cluster".into());
    }
    if type_ == "LoadBalancer" {
        spec.allocate_load_balancer_node_ports.get_or_insert(true);
    }
    let policy = spec.ip_family_policy.get_or_insert_with(|| "SingleStack".into()).clone();
    let wanted = spec.ip_families.get_or_insert_default();
    if wanted.is_empty() {
        wanted.extend(families.iter().take(1).map(|family| (*family).to_owned()));
    }
    if policy != "SingleStack" {
        for family in families {
            if !wanted.iter().any(|wanted| wanted == family) {
                wanted.push((*family).to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn admitted(spec: serde_json::Value) -> Service {
        let mut service: Service =
            serde_json::from_value(json!({ "metadata": { "name": "s" }, "spec": spec })).unwrap();
        admit(&mut service, &["IPv4", "IPv6"]);
        service
    }

    #[test]
    fn a_bare_service_is_a_cluster_ip_over_tcp() {
        let service = admitted(json!({ "ports": [{ "port": 80, "targetPort": 0 }] }));
        let spec = service.spec.unwrap();
        assert_eq!(spec.type_.as_deref(), Some("ClusterIP"));
        assert_eq!(spec.internal_traffic_policy.as_deref(), Some("Cluster"));
        assert_eq!(spec.external_traffic_policy, None);
        assert_eq!(spec.ip_families, Some(vec!["IPv4".to_string()]));
        let port = &spec.ports.unwrap()[0];
        assert_eq!((port.protocol.as_deref(), &port.target_port), (Some("TCP"), &Some(IntOrString::Int(80))));
    }

    #[test]
    fn a_load_balancer_gets_node_ports_and_the_cluster_policy() {
        let service = admitted(
            json!({ "type": "LoadBalancer", "ports": [{ "port": 80 }], "sessionAffinity": "ClientIP" }),
        );
        assert!(has_node_ports(&service));
        assert!(!needs_health_check_port(&service));
        let spec = service.spec.unwrap();
        assert_eq!(spec.external_traffic_policy.as_deref(), Some("Cluster"));
        let timeout = spec.session_affinity_config.unwrap().client_ip.unwrap().timeout_seconds;
        assert_eq!(timeout, Some(AFFINITY_TIMEOUT_SECONDS_DEFAULT));
    }

    #[test]
    fn dual_stack_asks_for_both_families_and_what_is_said_stays() {
        let service = admitted(json!({
            "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"],
            "type": "NodePort", "externalTrafficPolicy": "Local"
        }));
        let spec = service.spec.unwrap();
        assert_eq!(spec.ip_families, Some(vec!["IPv6".to_string(), "IPv4".to_string()]));
        assert_eq!(spec.external_traffic_policy.as_deref(), Some("Local"));
    }
}
