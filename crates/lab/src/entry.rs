//! Where a client of an API dials a broker, by the place it stands.
//!
//! Kafka and HTTP Proxy tell their clients an address; Admin API, Schema Registry and RPC do not (redpanda.md 0.5), so
//! their clients are configured with whatever leads to the listener: the pod's name inside, a node port or a load
//! balancer outside.

use crate::findings::facts::{
    Advertised, Broker, Cluster, Listener, Service, ServiceKind, ServicePort, Tls, covers, is_address,
};
use crate::report::check::Api;

/// The address at which a client, outside or inside the cluster, dials `listener` of `broker`. `None` if the listener
/// is not exposed to that side: nothing leads there, or it is meant for the other side.
pub fn entry(cluster: &Cluster, broker: &Broker, listener: &Listener, outside: bool) -> Option<Advertised> {
    match (&listener.advertised, outside) {
        (Some(address), true) => cluster.is_for_outside(listener).then(|| address.clone()),
        (Some(address), false) => {
            // A listener for outside is tried from inside only where the API has no other.
            let has_inner = broker.listeners.iter().any(|other| {
                other.api == listener.api && other.advertised.is_some() && !cluster.is_for_outside(other)
            });
            (!cluster.is_for_outside(listener) || !has_inner).then(|| address.clone())
        }
        (None, true) if listener.api == Api::Rpc => None,
        (None, true) => outside_entry(cluster, broker, listener)
            .map(|address| by_name(cluster, broker, listener, address)),
        (None, false) => inside_entry(cluster, broker, listener),
    }
}

/// With TLS a name is dialled where there is one, because certificates hold names: the name that the broker
/// advertises to Kafka clients outside, if it leads to the same address (redpanda.md 3.1.3 redirects to it too).
fn by_name(cluster: &Cluster, broker: &Broker, listener: &Listener, address: Advertised) -> Advertised {
    if listener.tls.is_none() {
        return address;
    }
    let advertised = broker.listeners.iter().filter(|other| cluster.is_for_outside(other));
    let mut hosts = advertised.filter_map(|other| Some(&other.advertised.as_ref()?.host));
    let host =
        hosts.find(|host| !is_address(host) && cluster.external_addresses(host).contains(&address.host));
    match host {
        Some(host) => Advertised { host: host.clone(), ..address },
        None => address,
    }
}

/// A load balancer's address, or the broker's node with the node port.
fn outside_entry(cluster: &Cluster, broker: &Broker, listener: &Listener) -> Option<Advertised> {
    let pod = broker.pod_key();
    let ways = || {
        cluster
            .services
            .iter()
            .filter(|service| service.selected.contains(&pod))
            .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
            .filter(|(_, port)| port.target_port == listener.port)
    };
    let balancer = |(service, port): (&Service, &ServicePort)| {
        let host = service.ingress.first().filter(|_| service.kind == ServiceKind::LoadBalancer)?;
        Some(Advertised { host: host.clone(), port: port.port })
    };
    let node_port = |(service, port): (&Service, &ServicePort)| {
        let number = port.node_port.filter(|_| service.kind == ServiceKind::NodePort)?;
        let node = cluster.node(broker.node.as_deref()?)?;
        Some(Advertised { host: node.addresses.first()?.clone(), port: number })
    };
    ways().find_map(balancer).or_else(|| ways().find_map(node_port))
}

/// The pod's own name, which exists in the headless Service of its StatefulSet (kubernetes.md 5).
fn inside_entry(cluster: &Cluster, broker: &Broker, listener: &Listener) -> Option<Advertised> {
    let set = broker.pod.rsplit_once('-').map(|(set, _)| set)?;
    let set = cluster
        .stateful_sets
        .iter()
        .find(|candidate| candidate.namespace == broker.namespace && candidate.name == set)?;
    let host = format!("{}.{}.{}.svc.{}.", broker.pod, set.service_name, broker.namespace, cluster.domain);
    let is_for_inside = |listener: &Listener| match &listener.tls {
        Some(Tls { names: Some(names) }) => names.iter().any(|name| covers(name, host.trim_end_matches('.'))),
        _ => true,
    };
    // A certificate with names outside alone tells that the listener is for clients outside; it is tried from
    // inside only where the API has no other.
    let has_inner = broker.listeners.iter().any(|other| other.api == listener.api && is_for_inside(other));
    (is_for_inside(listener) || !has_inner).then(|| Advertised { host: host.clone(), port: listener.port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::lint::fixture::{port, sound};

    fn admin(name: &str, number: u16) -> Listener {
        Listener {
            api: Api::Admin,
            name: name.into(),
            port: number,
            advertised: None,
            tls: None,
            authentication: false,
        }
    }

    fn dial(cluster: &Cluster, listener: &Listener, outside: bool) -> Option<String> {
        entry(cluster, &cluster.brokers[1], listener, outside).map(|address| address.to_string())
    }

    #[test]
    fn advertised_listeners_are_for_one_side() {
        let cluster = sound();
        let [internal, external] = [&cluster.brokers[1].listeners[0], &cluster.brokers[1].listeners[1]];
        assert_eq!(dial(&cluster, external, true).as_deref(), Some("10.0.0.11:31092"));
        assert_eq!(dial(&cluster, external, false), None);
        assert_eq!(dial(&cluster, internal, true), None);
        let inside = "redpanda-1.redpanda.redpanda.svc.cluster.local.:9093";
        assert_eq!(dial(&cluster, internal, false).as_deref(), Some(inside));
    }

    #[test]
    fn a_lone_listener_for_outside_is_tried_from_inside() {
        let mut cluster = sound();
        cluster.brokers[1].listeners.remove(0);
        let only = cluster.brokers[1].listeners[0].clone();
        assert_eq!(dial(&cluster, &only, false).as_deref(), Some("10.0.0.11:31092"));
    }

    #[test]
    fn listeners_that_advertise_nothing_are_dialled_by_what_leads_there() {
        let mut cluster = sound();
        let inside = "redpanda-1.redpanda.redpanda.svc.cluster.local.:9644";
        assert_eq!(dial(&cluster, &admin("internal", 9644), false).as_deref(), Some(inside));
        assert_eq!(dial(&cluster, &admin("default", 9645), true), None);
        cluster.services[1].ports.push(port("admin-default", 9645, 9645, Some(31644)));
        assert_eq!(dial(&cluster, &admin("default", 9645), true).as_deref(), Some("10.0.0.11:31644"));
        cluster.services[1].kind = ServiceKind::LoadBalancer;
        cluster.services[1].ingress = vec!["198.51.100.7".into()];
        assert_eq!(dial(&cluster, &admin("default", 9645), true).as_deref(), Some("198.51.100.7:9645"));
        assert_eq!(dial(&cluster, &Listener { api: Api::Rpc, ..admin("rpc", 9645) }, true), None);
    }
}
