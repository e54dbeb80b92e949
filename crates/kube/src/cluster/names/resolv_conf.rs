//! /etc/resolv.conf and /etc/hosts as the kubelet writes them (kubernetes.md 5.4).
//!
//! Source: the Kubernetes pages "DNS for Services and Pods" (dnsPolicy, dnsConfig) and "Adding entries to Pod /etc/hosts
//! with HostAliases"; limits in the kubelet's pkg/kubelet/network/dns. Left out: the entry of a pod's own name in its
//! hosts file, and dnsConfig that the API server would reject.

use std::net::IpAddr;

use hopwise_fabric::net::resolver::ResolverConfig;
use k8s_openapi::api::core::v1::PodSpec;

/// Servers and search domains at most.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 32;

/// What the resolvers of a cluster's pods and nodes are made from.
#[derive(Clone, Debug)]
pub struct ResolvConf {
    /// The cluster's domain, without a final dot.
    pub domain: String,
    /// What pods ask: the kube-dns Service, or the cache on their node.
    pub cluster_dns: IpAddr,
    /// What nodes ask.
    pub node_dns: IpAddr,
}

/// The lines of a resolv.conf.
#[derive(Default)]
struct Lines {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<(String, Option<String>)>,
}

impl ResolvConf {
    /// A node's own resolver.
    pub fn of_node(&self) -> ResolverConfig {
        self.node_lines().parsed()
    }

    /// A pod's resolver.
    pub fn of_pod(&self, namespace: &str, spec: &PodSpec) -> ResolverConfig {
        let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
        let host_network = spec.host_network.unwrap_or(false);
        let mut lines = match policy {
            "None" => Lines::default(),
            "Default" => self.node_lines(),
            "ClusterFirst" if host_network => self.node_lines(),
            _ => self.cluster_lines(namespace),
        };
        if let Some(config) = &spec.dns_config {
            lines.add(&config.nameservers, &config.searches);
            for option in config.options.iter().flatten() {
                let Some(name) = option.name.clone() else { continue };
                lines.options.retain(|(known, _)| *known != name);
                lines.options.push((name, option.value.clone()));
            }
        }
        let mut config = lines.parsed();
        for alias in spec.host_aliases.iter().flatten() {
            let Ok(ip) = alias.ip.parse() else { continue };
            for name in alias.hostnames.iter().flatten() {
                config.hosts.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default().push(ip);
            }
        }
        config
    }

    fn node_lines(&self) -> Lines {
        Lines { servers: vec![self.node_dns.to_string()], ..Lines::default() }
    }

    fn cluster_lines(&self, namespace: &str) -> Lines {
        let domain = &self.domain;
        Lines {
            servers: vec![self.cluster_dns.to_string()],
            search: vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()],
            options: vec![("ndots".to_owned(), Some("5".to_owned()))],
        }
    }
}

impl Lines {
    fn add(&mut self, servers: &Option<Vec<String>>, search: &Option<Vec<String>>) {
        for server in servers.iter().flatten().filter(|server| server.parse::<IpAddr>().is_ok()) {
            if !self.servers.contains(server) {
                self.servers.push(server.clone());
            }
        }
        for domain in search.iter().flatten() {
            if !self.search.contains(domain) {
                self.search.push(domain.clone());
            }
        }
    }

    /// The configuration as a resolver reads it. Options whose number is none are as if absent.
    fn parsed(&self) -> ResolverConfig {
        let mut text = String::new();
        for server in self.servers.iter().take(SERVERS_MAX) {
            text += &format!("nameserver {server}\n");
        }
        let search: Vec<&str> = self.search.iter().take(SEARCH_MAX).map(String::as_str).collect();
        text += &format!("search {}\n", search.join(" "));
        for (name, value) in &self.options {
            let option = value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}"));
            let line = format!("options {option}\n");
            if ResolverConfig::parse(&line).is_ok() {
                text += &line;
            }
        }
        ResolverConfig::parse(&text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolver(spec: &str) -> ResolverConfig {
        let conf = ResolvConf {
            domain: "cluster.local".to_owned(),
            cluster_dns: [10, 96, 0, 10].into(),
            node_dns: [198, 51, 100, 53].into(),
        };
        conf.of_pod("demo", &serde_json::from_str(spec).expect("a pod's spec"))
    }

    #[test]
    fn policies_choose_servers_and_search_lists() {
        let cluster = ("10.96.0.10".to_owned(), 3, 5);
        let node = ("198.51.100.53".to_owned(), 0, 1);
        for (spec, expected) in [
            (r#"{"containers": []}"#, &cluster),
            (r#"{"containers": [], "hostNetwork": true}"#, &node),
            (r#"{"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}"#, &cluster),
            (r#"{"containers": [], "dnsPolicy": "Default"}"#, &node),
        ] {
            let config = resolver(spec);
            let got = (config.nameservers[0].to_string(), config.search.len(), config.ndots);
            assert_eq!(got, *expected, "{spec}");
        }
    }

    #[test]
    fn a_pods_own_configuration_is_added_and_its_options_win() {
        let config = resolver(
            r#"{"containers": [], "dnsConfig": {"nameservers": ["10.96.0.10", "192.0.2.1"],
                "searches": ["corp.example"], "options": [{"name": "ndots", "value": "2"}, {"name": "use-vc"}]},
                "hostAliases": [{"ip": "10.0.0.5", "hostnames": ["Broker.example."]}]}"#,
        );
        assert_eq!(config.nameservers.len(), 2);
        assert_eq!(config.search.last().map(String::as_str), Some("corp.example"));
        assert_eq!((config.ndots, config.use_tcp), (2, true));
        assert_eq!(config.hosts["broker.example"], [IpAddr::from([10, 0, 0, 5])]);
        let own = resolver(
            r#"{"containers": [], "dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}}"#,
        );
        assert_eq!((own.nameservers, own.search.len()), (vec![IpAddr::from([192, 0, 2, 1])], 0));
    }
}
