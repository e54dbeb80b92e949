//! What a load balancer tells the world: the Service's status, and the addresses behind its name.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::setup::Settings;
use crate::cluster::state::Shared;
use crate::profile::{Ingress, IpMode};
use crate::proxy::ServiceName;
use crate::store::timestamp;

/// The annotation with the addresses behind what is published, as the internet's DNS has them.
const ADDRESS_ANNOTATION: &str = "hopwise.io/load-balancer-address";
/// The condition that says why a Service has no load balancer.
const CONDITION: &str = "hopwise.io/LoadBalancerProvisioned";

/// Publishes a new load balancer.
pub fn created(shared: &Shared, name: &ServiceName, settings: &Settings, addresses: &[IpAddr]) {
    let ingress: Vec<LoadBalancerIngress> = match settings.ingress {
        Ingress::Ip => addresses.iter().map(|address| with_address(*address, settings.ip_mode)).collect(),
        Ingress::Hostname => vec![LoadBalancerIngress {
            hostname: Some(format!("{}-{}.elb.hopwise.example", name.name, name.namespace)),
            ..LoadBalancerIngress::default()
        }],
    };
    hopwise_engine::notable("load_balancer.created", format!("service {name}"), listed(addresses));
    patch(shared, name, |service| {
        annotate(service, addresses);
        let load_balancer = Some(LoadBalancerStatus { ingress: Some(ingress) });
        service.status = Some(ServiceStatus { load_balancer, ..ServiceStatus::default() });
    });
}

/// Says why there is no load balancer.
pub fn refused(shared: &Shared, name: &ServiceName, why: &str) {
    let known = shared.api.read(|store| {
        store.get::<Service>(&name.namespace, &name.name).is_some_and(|service| problem(service) == Some(why))
    });
    if known {
        return;
    }
    hopwise_engine::notable("load_balancer.refused", format!("service {name}"), why.to_owned());
    patch(shared, name, |service| {
        let condition = Condition {
            type_: CONDITION.into(),
            status: "False".into(),
            reason: "NotProvisioned".into(),
            message: why.to_owned(),
            last_transition_time: timestamp(hopwise_engine::now()),
            observed_generation: None,
        };
        service.status.get_or_insert_default().conditions = Some(vec![condition]);
    });
}

/// Takes back what was published of a load balancer that is gone.
pub fn withdrawn(shared: &Shared, name: &ServiceName) {
    patch(shared, name, |service| {
        service.metadata.annotations.get_or_insert_default().remove(ADDRESS_ANNOTATION);
        if let Some(status) = &mut service.status {
            status.load_balancer = None;
        }
    });
}

/// Publishes which addresses serve now.
pub fn addresses(shared: &Shared, name: &ServiceName, addresses: &[IpAddr]) {
    hopwise_engine::notable("load_balancer.addresses", format!("service {name}"), listed(addresses));
    patch(shared, name, |service| annotate(service, addresses));
}

/// The addresses by which a Service's load balancer is reached.
pub fn addresses_of(service: &Service) -> Vec<IpAddr> {
    let annotations = service.metadata.annotations.as_ref();
    let addresses = annotations.and_then(|all| all.get(ADDRESS_ANNOTATION));
    addresses.iter().flat_map(|all| all.split(',')).filter_map(|address| address.parse().ok()).collect()
}

/// The host names that a Service's load balancer has published, with their addresses.
pub fn published_names(service: &Service) -> Vec<(String, Vec<IpAddr>)> {
    let ingress =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    ingress.filter_map(|entry| Some((entry.hostname.clone()?, addresses_of(service)))).collect()
}

/// Why a Service has no load balancer, if it was refused one.
pub fn problem(service: &Service) -> Option<&str> {
    let conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|it| it.type_ == CONDITION).map(|condition| condition.message.as_str()).next()
}

fn with_address(address: IpAddr, mode: IpMode) -> LoadBalancerIngress {
    let ip_mode = match mode {
        IpMode::Vip => "VIP",
        IpMode::Proxy => "Proxy",
    };
    LoadBalancerIngress {
        ip: Some(address.to_string()),
        ip_mode: Some(ip_mode.into()),
        ..LoadBalancerIngress::default()
    }
}

fn annotate(service: &mut Service, addresses: &[IpAddr]) {
    service.metadata.annotations.get_or_insert_default().insert(ADDRESS_ANNOTATION.into(), listed(addresses));
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn patch(shared: &Shared, name: &ServiceName, change: impl FnOnce(&mut Service)) {
    // The Service may be deleted at this very moment; the next pass removes the instance then.
    let _ = shared.api.write(|store, now| store.patch::<Service>(&name.namespace, &name.name, now, change));
}
