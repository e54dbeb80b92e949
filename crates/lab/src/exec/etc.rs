//! The files of a place that programs resolve names by.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use hopwise_fabric::net::resolver::ResolverConfig;

/// Where glibc looks up which sources names come from.
const SWITCH: &str = "/etc/nsswitch.conf";

/// `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, and an nsswitch.conf whose names come from the first two alone: a
/// resolver daemon of the machine would answer with the machine's names.
pub(super) fn files(
    host_name: &str,
    addresses: &[IpAddr],
    resolver: &ResolverConfig,
) -> Vec<(PathBuf, String)> {
    let switch = std::fs::read_to_string(SWITCH).unwrap_or_default();
    vec![
        ("/etc/hosts".into(), hosts(host_name, addresses, resolver)),
        ("/etc/resolv.conf".into(), resolv_conf(resolver)),
        ("/etc/hostname".into(), format!("{host_name}\n")),
        (SWITCH.into(), with_hosts_from_files(&switch)),
    ]
}

/// The host file (hosts(5)).
fn hosts(host_name: &str, addresses: &[IpAddr], resolver: &ResolverConfig) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (name, addresses) in &resolver.hosts {
        for address in addresses {
            let _ = writeln!(text, "{address} {name}");
        }
    }
    if !resolver.hosts.contains_key(&host_name.to_lowercase()) {
        for address in addresses {
            let _ = writeln!(text, "{address} {host_name}");
        }
    }
    text
}

/// The resolver's file (resolv.conf(5)).
fn resolv_conf(resolver: &ResolverConfig) -> String {
    let mut text = String::new();
    for server in &resolver.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.search.is_empty() {
        let _ = writeln!(text, "search {}", resolver.search.join(" "));
    }
    let timeout_s = resolver.timeout.as_nanos().div_ceil(1_000_000_000);
    let ResolverConfig { ndots, attempts, .. } = resolver;
    let _ = write!(text, "options ndots:{ndots} timeout:{timeout_s} attempts:{attempts}");
    let flags = [(resolver.use_tcp, " use-vc"), (resolver.one_by_one, " single-request")];
    flags.iter().filter(|(set, _)| *set).for_each(|(_, word)| text.push_str(word));
    text.push('\n');
    text
}

/// The file with `hosts: files dns` in place of its own line (nsswitch.conf(5)).
fn with_hosts_from_files(switch: &str) -> String {
    let others = switch.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    let mut text: String = others.map(|line| format!("{line}\n")).collect();
    text.push_str("hosts: files dns\n");
    text
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;

    use super::*;

    #[test]
    fn a_pods_resolver_is_written_as_the_kubelet_writes_it() {
        let resolver = ResolverConfig {
            nameservers: vec![IpAddr::from([10, 96, 0, 10])],
            search: vec!["default.svc.cluster.local".into(), "cluster.local".into()],
            ndots: 5,
            timeout: Span::from_secs(5),
            one_by_one: true,
            ..ResolverConfig::default()
        };
        assert_eq!(
            resolv_conf(&resolver),
            "nameserver 10.96.0.10\nsearch default.svc.cluster.local cluster.local\n\
             options ndots:5 timeout:5 attempts:2 single-request\n"
        );
    }

    #[test]
    fn the_host_file_names_the_host_itself_unless_it_does_already() {
        let address = IpAddr::from([10, 244, 0, 7]);
        let mut resolver = ResolverConfig::default();
        let itself = "10.244.0.7 client\n";
        assert!(hosts("client", &[address], &resolver).ends_with(itself));
        resolver.hosts.insert("client".into(), vec![address]);
        assert_eq!(hosts("client", &[address], &resolver).matches(itself).count(), 1);
    }

    #[test]
    fn other_sources_of_host_names_are_left_out_and_other_lines_stay() {
        let switch = "passwd: files systemd\nhosts: mymachines resolve [!UNAVAIL=return] files dns\n";
        assert_eq!(with_hosts_from_files(switch), "passwd: files systemd\nhosts: files dns\n");
    }
}
