//! How one load balancer is set up: the profile, what the cluster file declares, and the Service's annotations.
//!
//! All of it is decided here, as values; the rest of the cloud controller carries it out.

use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Idle;
use k8s_openapi::api::core::v1::Service;

use crate::cluster_file::{self, IdleEnd, SourceAddress};
use crate::controllers::service_defaults::needs_health_check_port;
use crate::profile::{self, Delivery, HealthPort, Ingress, IpMode, LoadBalancerKind};

/// How a load balancer moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It rewrites addresses.
    Nat,
    /// It ends connections and opens its own.
    Proxy,
    /// It delivers packets to a node as they are.
    Dsr,
    /// One elected node has the address.
    L2,
    /// The router spreads packets over the nodes.
    Bgp,
}

/// What a check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckPort {
    /// A port of the Service or of kube-proxy.
    Port(HealthPort),
    /// Whether the machine answers on this port at all; a refusal is an answer.
    Alive(u16),
}

/// How targets are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckPlan {
    /// What is asked.
    pub port: CheckPort,
    /// From one check of a target to the next.
    pub interval: Duration,
    /// When a check without an answer has failed.
    pub timeout: Duration,
    /// Consecutive successes until a target is healthy.
    pub healthy_threshold: u32,
    /// Consecutive failures until a target is unhealthy.
    pub unhealthy_threshold: u32,
}

/// How a load balancer is set up.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How it moves packets.
    pub kind: Kind,
    /// Whether targets see the client's address.
    pub keeps_source: bool,
    /// What the destination of a packet is when it leaves for its target.
    pub delivery: Delivery,
    /// Whether the network returns answers through it, whoever the client is.
    pub network_returns: bool,
    /// Whether it has no way to the internet.
    pub is_internal: bool,
    /// What is published.
    pub ingress: Ingress,
    /// `ipMode` of published addresses.
    pub ip_mode: IpMode,
    /// Whether each zone has a balancer and an address of its own.
    pub address_per_zone: bool,
    /// Whether each of them sends to targets of all zones.
    pub cross_zone: bool,
    /// Silence after which a flow is forgotten.
    pub idle_timeout: Span,
    /// What becomes of a forgotten flow that speaks again.
    pub idle: Idle,
    /// From a target's registration to its first check.
    pub registration_delay: Span,
    /// For how long the flows to a target that leaves go on untouched.
    pub deregistration_delay: Span,
    /// Whether they are cut off then.
    pub terminates_deregistered: bool,
    /// Whether flows to a target that becomes unhealthy are cut off.
    pub terminates_unhealthy: bool,
    /// Whether all targets receive connections when none is healthy.
    pub fails_open: bool,
    /// Whether a cordoned node leaves the pool.
    pub excludes_cordoned: bool,
    /// How targets are checked.
    pub check: CheckPlan,
}

/// hashicorp/memberlist, DefaultLANConfig: a probe each second that waits 500 ms; a node that did not answer is suspected
/// for four probes more (MetalLB finds lost nodes with it; "within a few seconds" by its documentation, layer 2).
const MEMBERLIST: CheckPlan = CheckPlan {
    port: CheckPort::Alive(7946),
    interval: Duration::from_secs(1),
    timeout: Duration::from_millis(500),
    healthy_threshold: 1,
    unhealthy_threshold: 5,
};
/// BGP's keepalive of 30 s and hold time of 90 s (RFC 4271 section 10; MetalLB's default), without BFD.
const BGP_SESSION: CheckPlan = CheckPlan {
    port: CheckPort::Alive(179),
    interval: Duration::from_secs(30),
    timeout: Duration::from_secs(30),
    healthy_threshold: 1,
    unhealthy_threshold: 3,
};

impl Settings {
    /// The settings that a profile gives to a Service's load balancer.
    pub fn of_profile(profile: &profile::LoadBalancer, service: &Service) -> Settings {
        let seconds = |value: u32| Span::from_secs(u64::from(value));
        Settings {
            kind: match profile.kind.value {
                LoadBalancerKind::Nat => Kind::Nat,
                LoadBalancerKind::Proxy => Kind::Proxy,
                LoadBalancerKind::Dsr => Kind::Dsr,
            },
            keeps_source: profile.keeps_source.value,
            delivery: profile.delivery.value,
            network_returns: profile.network_returns.value,
            is_internal: false,
            ingress: profile.ingress.value,
            ip_mode: profile.ip_mode.value,
            address_per_zone: profile.address_per_zone.value,
            cross_zone: profile.cross_zone.value,
            idle_timeout: seconds(profile.idle_timeout_s.value),
            idle: match (profile.idle_places.value, profile.idle_reset.value) {
                (true, _) => Idle::Place,
                (false, true) => Idle::Reset,
                (false, false) => Idle::Drop,
            },
            registration_delay: seconds(profile.registration_delay_s.value),
            deregistration_delay: seconds(profile.deregistration_delay_s.value),
            terminates_deregistered: profile.terminates_deregistered.value,
            terminates_unhealthy: profile.terminates_unhealthy.value,
            fails_open: profile.fails_open.value,
            excludes_cordoned: profile.excludes_cordoned.value,
            check: check_of_profile(&profile.health_check, needs_health_check_port(service)),
        }
    }

    /// Changes what the cluster file says otherwise.
    pub fn declare(&mut self, declared: &cluster_file::LoadBalancer) {
        self.kind = match declared.kind {
            cluster_file::LoadBalancerKind::Nat => Kind::Nat,
            cluster_file::LoadBalancerKind::Proxy => Kind::Proxy,
            cluster_file::LoadBalancerKind::Dsr => Kind::Dsr,
            cluster_file::LoadBalancerKind::L2 => Kind::L2,
            cluster_file::LoadBalancerKind::Bgp => Kind::Bgp,
        };
        self.keeps_source = declared.source_address() == SourceAddress::Kept;
        self.delivery = declared.delivery.unwrap_or(match self.kind {
            Kind::Dsr | Kind::L2 | Kind::Bgp => Delivery::VirtualIp,
            Kind::Nat | Kind::Proxy if self.delivery == Delivery::Pod => Delivery::Pod,
            Kind::Nat | Kind::Proxy => Delivery::NodePort,
        });
        (self.ingress, self.address_per_zone, self.cross_zone) = (Ingress::Ip, false, true);
        let default_mode = if self.delivery == Delivery::VirtualIp { IpMode::Vip } else { self.ip_mode };
        self.ip_mode = declared.ip_mode.unwrap_or(default_mode);
        match self.kind {
            Kind::L2 => self.check = MEMBERLIST,
            Kind::Bgp => self.check = BGP_SESSION,
            Kind::Nat | Kind::Proxy | Kind::Dsr => {}
        }
        if matches!(self.kind, Kind::L2 | Kind::Bgp) {
            // A node that is lost is out at once, and there is nobody to remember flows.
            (self.registration_delay, self.deregistration_delay) = (Span::ZERO, Span::ZERO);
            (self.fails_open, self.idle) = (false, Idle::Place);
        }
        self.declare_flows(declared);
        self.declare_check(&declared.health_check);
    }

    fn declare_flows(&mut self, declared: &cluster_file::LoadBalancer) {
        if let Some(seconds) = declared.idle_timeout_s {
            self.idle_timeout = Span::from_secs(u64::from(seconds));
        }
        if let Some(end) = declared.idle_end {
            self.idle = match end {
                IdleEnd::Drop => Idle::Drop,
                IdleEnd::Reset => Idle::Reset,
                IdleEnd::Place => Idle::Place,
            };
        }
        if let Some(seconds) = declared.deregistration_delay_s {
            self.deregistration_delay = Span::from_secs(u64::from(seconds));
        }
        if let Some(terminates) = declared.terminates_flows {
            (self.terminates_deregistered, self.terminates_unhealthy) = (terminates, terminates);
        }
    }

    fn declare_check(&mut self, declared: &cluster_file::LoadBalancerCheck) {
        let check = &mut self.check;
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        check.port = declared.port.map_or(check.port, CheckPort::Port);
        check.interval = declared.interval_s.map_or(check.interval, seconds);
        check.timeout = declared.timeout_s.map_or(check.timeout, seconds);
        check.healthy_threshold = declared.healthy_threshold.unwrap_or(check.healthy_threshold);
        check.unhealthy_threshold = declared.unhealthy_threshold.unwrap_or(check.unhealthy_threshold);
    }

    /// Whether a load balancer that is set up like this can become one like `other` without being made anew: what its
    /// devices, addresses and publication depend on is the same.
    pub fn keeps_devices_of(&self, other: &Settings) -> bool {
        let devices = |it: &Settings| {
            (
                it.kind,
                it.keeps_source,
                it.network_returns,
                it.is_internal,
                it.address_per_zone,
                it.idle_timeout,
                it.idle,
            )
        };
        devices(self) == devices(other) && (self.ingress, self.ip_mode) == (other.ingress, other.ip_mode)
    }

    /// Why such a load balancer cannot serve `service`, in words for the user.
    ///
    /// Without node ports only balancers work that reach pods or leave the destination as it is (kubernetes.md 3).
    pub fn obstacle(&self, service: &Service) -> Option<String> {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let missing: Vec<i32> = ports.filter(|port| port.node_port.is_none()).map(|port| port.port).collect();
        let first = missing.first()?;
        let without = format!("port {first} has no node port (allocateLoadBalancerNodePorts: false)");
        match (self.delivery, self.check.port) {
            (Delivery::NodePort, _) => Some(format!(
                "{without}, and the load balancer delivers to node ports; allocate them, or use one that delivers to pods or \
                 with its own address as the destination"
            )),
            (Delivery::VirtualIp, CheckPort::Port(HealthPort::Traffic)) => Some(format!(
                "{without}, and the load balancer's health check asks it; allocate node ports, or let the check ask \
                 kube-proxy"
            )),
            _ => None,
        }
    }
}

fn check_of_profile(check: &profile::HealthCheck, is_local: bool) -> CheckPlan {
    let figure = |general: &profile::Sourced<u32>, local: &Option<profile::Sourced<u32>>| {
        local.as_ref().filter(|_| is_local).map_or(general.value, |local| local.value)
    };
    let seconds = |value: u32| Duration::from_secs(u64::from(value));
    let local = &check.local;
    CheckPlan {
        port: CheckPort::Port(if is_local { check.port_local.value } else { check.port_cluster.value }),
        interval: seconds(figure(&check.interval_s, &local.interval_s)),
        timeout: seconds(figure(&check.timeout_s, &local.timeout_s)),
        healthy_threshold: figure(&check.healthy_threshold, &local.healthy_threshold),
        unhealthy_threshold: figure(&check.unhealthy_threshold, &local.unhealthy_threshold),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster_file::ClusterFile;
    use crate::profile::Profile;
    use crate::source::Source;

    fn service(policy: &str, node_port: Option<i32>) -> Service {
        let port = json!({"port": 9094, "nodePort": node_port});
        let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": policy, "ports": [port]});
        serde_json::from_value(json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec}))
            .expect("a Service")
    }

    fn of(profile: &str, service: &Service) -> Settings {
        Settings::of_profile(&Profile::named(profile).expect("embedded").load_balancer, service)
    }

    fn declared(profile: &str, fields: &str) -> Settings {
        let text = format!("loadBalancers:\n  - {{service: b/a, address: 192.0.2.1, {fields}}}\n");
        let file =
            ClusterFile::load(&Source::new("cluster.yaml", &text)).unwrap_or_else(|error| panic!("{error}"));
        let mut settings = of(profile, &service("Cluster", Some(30_094)));
        settings.declare(&file.load_balancers[0]);
        settings
    }

    #[test]
    fn the_policy_chooses_port_and_figures_of_the_check() {
        let plans = ["Cluster", "Local"].map(|policy| of("aws", &service(policy, Some(30_094))).check);
        assert_eq!(plans[0].port, CheckPort::Port(HealthPort::Traffic));
        assert_eq!((plans[0].interval, plans[0].unhealthy_threshold), (Duration::from_secs(30), 3));
        assert_eq!(plans[1].port, CheckPort::Port(HealthPort::HealthCheckNodePort));
        assert_eq!((plans[1].interval, plans[1].unhealthy_threshold), (Duration::from_secs(10), 2));
        let gcp = of("gcp", &service("Cluster", Some(30_094)));
        assert_eq!(gcp.check.port, CheckPort::Port(HealthPort::KubeProxy));
        assert_eq!((gcp.kind, gcp.delivery, gcp.idle), (Kind::Dsr, Delivery::VirtualIp, Idle::Place));
    }

    #[test]
    fn a_declaration_goes_before_the_profile() {
        let plain = declared("bare-metal", "kind: nat");
        assert_eq!((plain.kind, plain.keeps_source, plain.delivery), (Kind::Nat, true, Delivery::NodePort));
        let l2 = declared("aws", "kind: l2");
        assert_eq!((l2.kind, l2.delivery, l2.check), (Kind::L2, Delivery::VirtualIp, MEMBERLIST));
        assert_eq!((l2.registration_delay, l2.ip_mode), (Span::ZERO, IpMode::Vip));
        let fields = "kind: proxy, idleTimeoutS: 7, idleEnd: reset, terminatesFlows: true, \
                      healthCheck: {port: kube-proxy, intervalS: 2}";
        let proxy = declared("gcp", fields);
        assert_eq!(
            (proxy.kind, proxy.keeps_source, proxy.delivery),
            (Kind::Proxy, false, Delivery::NodePort)
        );
        assert_eq!((proxy.idle_timeout, proxy.idle), (Span::from_secs(7), Idle::Reset));
        assert!(proxy.terminates_deregistered && proxy.terminates_unhealthy);
        assert_eq!(
            (proxy.check.interval, proxy.check.timeout),
            (Duration::from_secs(2), Duration::from_secs(1))
        );
    }

    #[test]
    fn without_node_ports_the_delivery_has_to_do_without_them() {
        let service = service("Cluster", None);
        let said = |profile: &str| of(profile, &service).obstacle(&service);
        assert!(said("aws").is_some_and(|why| why.contains("delivers to node ports")));
        assert!(said("azure").is_some_and(|why| why.contains("health check asks it")));
        assert_eq!(said("gcp"), None);
        let mut pods = of("aws", &service);
        pods.delivery = Delivery::Pod;
        assert_eq!(pods.obstacle(&service), None);
    }
}
