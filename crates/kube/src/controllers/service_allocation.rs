//! Cluster IPs and node ports for Services.
//!
//! Values that manifests name are reserved first, the others are taken from the dynamic band, lowest free
//! first, and from the static band when it is full. (The real allocator picks at random in the band; lowest
//! first keeps runs equal.)
//! Source: kubernetes.md 3.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;

use super::service_defaults::{has_node_ports, is_headless, needs_health_check_port, service_type};

/// The node ports of a cluster that does not say otherwise.
pub const NODE_PORTS_DEFAULT: RangeInclusive<u16> = 30_000..=32_767;

/// Hands out cluster IPs and node ports.
#[derive(Clone, Debug)]
pub struct Allocator {
    service_networks: Vec<IpNet>,
    node_ports: RangeInclusive<u16>,
    addresses: BTreeMap<IpAddr, String>,
    /// By protocol and port.
    ports: BTreeMap<(String, u16), String>,
}

/// A value that cannot be given to a Service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// `spec.clusterIP` is no IP address.
    #[error(
        "Service {service}: clusterIP {value:?} is not an IP address; write an address, None, or leave it out"
    )]
    NotAnAddress {
        /// The Service, as `namespace/name`.
        service: String,
        /// What the field says.
        value: String,
    },
    /// `spec.clusterIP` is not in the service network.
    #[error(
        "Service {service}: clusterIP {address} is outside the service network {networks}; \
         choose an address inside it or leave the field out"
    )]
    AddressOutside {
        /// The Service.
        service: String,
        /// The address.
        address: IpAddr,
        /// The service networks.
        networks: String,
    },
    /// Another Service has the address.
    #[error(
        "Service {service}: clusterIP {address} is already used by Service {holder}; \
         leave the field out in one of them"
    )]
    AddressTaken {
        /// The Service.
        service: String,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: String,
    },
    /// The service network is full, or the cluster has none of that family.
    #[error("Service {service}: no {family} address is left in the service network")]
    NoAddressLeft {
        /// The Service.
        service: String,
        /// `IPv4` or `IPv6`.
        family: String,
    },
    /// `nodePort` is outside the range.
    #[error("Service {service}: {field} {port} is outside the node port range {first}-{last}")]
    PortOutside {
        /// The Service.
        service: String,
        /// The field.
        field: &'static str,
        /// The port.
        port: i32,
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
    /// The port is used already.
    #[error(
        "Service {service}: {field} {port}/{protocol} is already used by Service {holder}; \
         choose another port in one of them"
    )]
    PortTaken {
        /// The Service.
        service: String,
        /// The field.
        field: &'static str,
        /// The protocol.
        protocol: String,
        /// The port.
        port: u16,
        /// Who has it.
        holder: String,
    },
    /// All node ports are used.
    #[error("Service {service}: no node port is left in {first}-{last}")]
    NoPortLeft {
        /// The Service.
        service: String,
        /// The first port of the range.
        first: u16,
        /// The last port of the range.
        last: u16,
    },
}

impl Allocator {
    /// An allocator over the cluster's service networks (at most one per family counts) and node port range.
    pub fn new(service_networks: Vec<IpNet>, node_ports: RangeInclusive<u16>) -> Self {
        Allocator { service_networks, node_ports, addresses: BTreeMap::new(), ports: BTreeMap::new() }
    }

    /// Reserves what all of `services` name, then fills in what they leave out, in their order. Services are
    /// expected to have their defaults. Each error is about one Service, which is left as it was; the others
    /// are served all the same.
    pub fn allocate_all<'a>(
        &mut self,
        services: impl IntoIterator<Item = &'a mut Service>,
    ) -> Vec<AllocationError> {
        let mut errors = Vec::new();
        let mut accepted = Vec::new();
        for service in services {
            match self.reserve(service) {
                Ok(()) => accepted.push(service),
                Err(error) => errors.push(error),
            }
        }
        for service in accepted {
            if let Err(error) = self.fill_in(service) {
                errors.push(error);
            }
        }
        errors
    }

    /// Reserves what one Service names and fills in what it leaves out.
    pub fn allocate(&mut self, service: &mut Service) -> Result<(), AllocationError> {
        self.reserve(service)?;
        self.fill_in(service)
    }

    /// Gives back all that a deleted Service had.
    pub fn release(&mut self, service: &Service) {
        let name = full_name(service);
        self.addresses.retain(|_, holder| *holder != name);
        self.ports.retain(|_, holder| *holder != name);
    }

    fn reserve(&mut self, service: &Service) -> Result<(), AllocationError> {
        let name = full_name(service);
        let Some(spec) = service.spec.as_ref() else { return Ok(()) };
        let mut addresses = Vec::new();
        if has_cluster_ip(service) {
            for text in named_addresses(service) {
                addresses.push(self.check_address(&name, text)?);
            }
        }
        let mut ports = Vec::new();
        let named_ports = spec.ports.iter().flatten().filter_map(|port| {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            Some(("nodePort", protocol, port.node_port.filter(|port| *port != 0)?))
        });
        let health =
            spec.health_check_node_port.filter(|port| *port != 0 && needs_health_check_port(service));
        for (field, protocol, port) in
            named_ports.chain(health.map(|port| ("healthCheckNodePort", "TCP", port)))
        {
            let port = self.check_port(&name, field, protocol, port)?;
            if ports.contains(&(protocol.to_owned(), port)) {
                let (protocol, holder) = (protocol.to_owned(), name.clone());
                return Err(AllocationError::PortTaken { service: name, field, protocol, port, holder });
            }
            ports.push((protocol.to_owned(), port));
        }
        self.addresses.extend(addresses.into_iter().map(|address| (address, name.clone())));
        self.ports.extend(ports.into_iter().map(|port| (port, name.clone())));
        Ok(())
    }

    fn check_address(&self, service: &str, text: &str) -> Result<IpAddr, AllocationError> {
        let service = service.to_owned();
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(AllocationError::NotAnAddress { service, value: text.into() });
        };
        if !self.service_networks.iter().any(|network| network.contains(&address)) {
            let networks: Vec<String> = self.service_networks.iter().map(ToString::to_string).collect();
            return Err(AllocationError::AddressOutside { service, address, networks: networks.join(", ") });
        }
        match self.addresses.get(&address) {
            Some(holder) if *holder != service => {
                Err(AllocationError::AddressTaken { service, address, holder: holder.clone() })
            }
            _ => Ok(address),
        }
    }

    fn check_port(
        &self,
        service: &str,
        field: &'static str,
        protocol: &str,
        number: i32,
    ) -> Result<u16, AllocationError> {
        let service = service.to_owned();
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        let port = u16::try_from(number).ok().filter(|port| self.node_ports.contains(port));
        let Some(port) = port else {
            return Err(AllocationError::PortOutside { service, field, port: number, first, last });
        };
        match self.ports.get(&(protocol.to_owned(), port)) {
            Some(holder) if *holder != service => {
                let (protocol, holder) = (protocol.to_owned(), holder.clone());
                Err(AllocationError::PortTaken { service, field, protocol, port, holder })
            }
            _ => Ok(port),
        }
    }

    fn fill_in(&mut self, service: &mut Service) -> Result<(), AllocationError> {
        let name = full_name(service);
        if has_cluster_ip(service) {
            self.fill_in_addresses(&name, service)?;
        }
        let (node_ports, health) = (has_node_ports(service), needs_health_check_port(service));
        let spec = service.spec.get_or_insert_default();
        for port in spec.ports.iter_mut().flatten() {
            if node_ports && port.node_port.unwrap_or(0) == 0 {
                let protocol = port.protocol.as_deref().unwrap_or("TCP");
                port.node_port = Some(i32::from(self.take_port(&name, protocol)?));
            }
        }
        if health && spec.health_check_node_port.unwrap_or(0) == 0 {
            spec.health_check_node_port = Some(i32::from(self.take_port(&name, "TCP")?));
        }
        Ok(())
    }

    fn fill_in_addresses(&mut self, name: &str, service: &mut Service) -> Result<(), AllocationError> {
        let mut addresses: Vec<String> = named_addresses(service).map(str::to_owned).collect();
        let spec = service.spec.get_or_insert_default();
        let default = || vec![family_of(self.service_networks.first()).to_owned()];
        let families =
            spec.ip_families.clone().filter(|families| !families.is_empty()).unwrap_or_else(default);
        for family in families {
            let has =
                |text: &String| text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4() == (family == "IPv4"));
            if !addresses.iter().any(has) {
                addresses.push(self.take_address(name, &family)?.to_string());
            }
        }
        spec.cluster_ip = addresses.first().cloned();
        spec.cluster_ips = Some(addresses);
        Ok(())
    }

    fn take_address(&mut self, service: &str, family: &str) -> Result<IpAddr, AllocationError> {
        let network = self.service_networks.iter().find(|network| family_of(Some(network)) == family);
        let free = network.and_then(|network| free_address(network, &self.addresses));
        let Some(address) = free else {
            return Err(AllocationError::NoAddressLeft { service: service.into(), family: family.into() });
        };
        self.addresses.insert(address, service.into());
        Ok(address)
    }

    fn take_port(&mut self, service: &str, protocol: &str) -> Result<u16, AllocationError> {
        let (first, last) = (*self.node_ports.start(), *self.node_ports.end());
        let size = u32::from(last).saturating_sub(u32::from(first)) + 1;
        // The static band: the lowest min(max(16, size/32), 128) ports.
        let band = if size <= 16 { 0 } else { (size / 32).clamp(16, 128) };
        let dynamic = first.saturating_add(u16::try_from(band).unwrap_or(u16::MAX));
        let is_free = |port: &u16| !self.ports.contains_key(&(protocol.to_owned(), *port));
        let Some(port) = (dynamic..=last).chain(first..dynamic).find(is_free) else {
            return Err(AllocationError::NoPortLeft { service: service.into(), first, last });
        };
        self.ports.insert((protocol.into(), port), service.into());
        Ok(port)
    }
}

fn full_name(service: &Service) -> String {
    let meta = &service.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or("default"), meta.name.as_deref().unwrap_or(""))
}

fn has_cluster_ip(service: &Service) -> bool {
    service_type(service) != "ExternalName" && !is_headless(service)
}

/// The addresses a Service names: `clusterIPs`, or `clusterIP`.
fn named_addresses(service: &Service) -> impl Iterator<Item = &str> {
    let spec = service.spec.as_ref();
    let listed = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or(&[]);
    let single = spec.and_then(|spec| spec.cluster_ip.as_deref()).filter(|_| listed.is_empty());
    listed.iter().map(String::as_str).chain(single).filter(|text| !text.is_empty())
}

fn family_of(network: Option<&IpNet>) -> &'static str {
    match network {
        Some(IpNet::V6(_)) => "IPv6",
        _ => "IPv4",
    }
}

/// The lowest free address of the dynamic band, then of the static band (the lowest min(max(16, size/16),
/// 256) addresses). The network's own and, for IPv4, its last address are never given.
fn free_address(network: &IpNet, taken: &BTreeMap<IpAddr, String>) -> Option<IpAddr> {
    let (base, bits) = match network {
        IpNet::V4(network) => (u128::from(u32::from(network.network())), 32 - network.prefix_len()),
        IpNet::V6(network) => (u128::from(network.network()), 128 - network.prefix_len()),
    };
    let address = |number: u128| match network {
        IpNet::V4(_) => u32::try_from(number).map(|number| IpAddr::V4(Ipv4Addr::from(number))).ok(),
        IpNet::V6(_) => Some(IpAddr::V6(Ipv6Addr::from(number))),
    };
    // Beyond 2^16 addresses nothing would change but the time it takes to find the network full.
    let size = 1u128 << bits.min(16);
    let usable = if network.addr().is_ipv4() && bits <= 16 { size.saturating_sub(2) } else { size - 1 };
    let band = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
    let numbers = (band + 1..=usable).chain(1..=band.min(usable));
    numbers.filter_map(|offset| address(base + offset)).find(|address| !taken.contains_key(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, spec: serde_json::Value) -> Service {
        let meta = json!({ "name": name, "namespace": "ns" });
        let mut service = serde_json::from_value(json!({ "metadata": meta, "spec": spec })).unwrap();
        super::super::service_defaults::admit(&mut service, &["IPv4", "IPv6"]);
        service
    }

    fn allocator() -> Allocator {
        let networks = ["10.96.0.0/12", "fd00:96::/108"].map(|network| network.parse().unwrap());
        Allocator::new(networks.to_vec(), NODE_PORTS_DEFAULT)
    }

    fn cluster_ip(service: &Service) -> &str {
        service.spec.as_ref().unwrap().cluster_ip.as_deref().unwrap()
    }

    #[test]
    fn explicit_values_are_reserved_before_others_are_chosen() {
        let mut services = [
            service("a", json!({ "type": "NodePort", "ports": [{ "port": 80 }, { "port": 81 }] })),
            service(
                "b",
                json!({ "type": "NodePort", "clusterIP": "10.96.1.1", "ports": [{ "port": 80, "nodePort": 30086 }] }),
            ),
        ];
        assert_eq!(allocator().allocate_all(&mut services), []);
        assert_eq!(cluster_ip(&services[0]), "10.96.1.2");
        assert_eq!(cluster_ip(&services[1]), "10.96.1.1");
        let ports: Vec<_> =
            services[0].spec.as_ref().unwrap().ports.iter().flatten().map(|p| p.node_port).collect();
        assert_eq!(ports, [Some(30087), Some(30088)]);
    }

    #[test]
    fn bad_values_name_the_service_and_the_holder() {
        let node_port = |port| json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": port }] });
        let mut services = [
            service("a", node_port(31000)),
            service("b", node_port(31000)),
            service("c", node_port(80)),
            service("d", json!({ "clusterIP": "192.168.0.1" })),
            service("e", json!({ "clusterIP": "ten" })),
        ];
        let errors: Vec<String> =
            allocator().allocate_all(&mut services).iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4);
        assert!(errors[0].starts_with("Service ns/b: nodePort 31000/TCP is already used by Service ns/a"));
        assert!(
            errors[1].starts_with("Service ns/c: nodePort 80 is outside the node port range 30000-32767")
        );
        assert!(errors[2].contains("192.168.0.1 is outside the service network 10.96.0.0/12, fd00:96::/108"));
        assert!(errors[3].contains("\"ten\" is not an IP address"));
    }

    #[test]
    fn headless_and_external_name_services_get_nothing() {
        let mut services =
            [service("a", json!({ "clusterIP": "None" })), service("b", json!({ "type": "ExternalName" }))];
        assert_eq!(allocator().allocate_all(&mut services), []);
        assert_eq!(cluster_ip(&services[0]), "None");
        assert_eq!(services[1].spec.as_ref().unwrap().cluster_ip, None);
    }

    #[test]
    fn the_health_check_port_belongs_to_the_local_policy() {
        let spec = |policy| {
            json!({
                "type": "LoadBalancer", "externalTrafficPolicy": policy,
                "allocateLoadBalancerNodePorts": false, "ports": [{ "port": 80 }]
            })
        };
        let mut services = [service("a", spec("Local")), service("b", spec("Cluster"))];
        assert_eq!(allocator().allocate_all(&mut services), []);
        let health = |service: &Service| service.spec.as_ref().unwrap().health_check_node_port;
        assert_eq!((health(&services[0]), health(&services[1])), (Some(30086), None));
    }

    #[test]
    fn a_small_network_runs_full_and_recovers() {
        let mut allocator = Allocator::new(vec!["10.0.0.0/30".parse().unwrap()], NODE_PORTS_DEFAULT);
        let mut services = ["a", "b", "c"].map(|name| service(name, json!({})));
        let errors = allocator.allocate_all(&mut services);
        assert!(matches!(errors[..], [AllocationError::NoAddressLeft { .. }]), "{errors:?}");
        allocator.release(&services[0]);
        assert_eq!(allocator.allocate(&mut services[2]), Ok(()));
        assert_eq!(cluster_ip(&services[2]), "10.0.0.1");
    }

    #[test]
    fn dual_stack_services_get_one_address_of_each_family() {
        let mut both = service("a", json!({ "ipFamilyPolicy": "RequireDualStack" }));
        allocator().allocate(&mut both).unwrap();
        let addresses = both.spec.unwrap().cluster_ips.unwrap();
        assert_eq!(addresses, ["10.96.1.1", "fd00:96::101"]);
    }
}
