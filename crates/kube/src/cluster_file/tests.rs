//! Cluster files that are right, and what is wrong with others.

use insta::assert_snapshot;

use super::{
    ClusterFile, DetectLocalMode, LoadBalancerKind, NodePortAddresses, OutsideTarget, ProxyMode,
    SourceAddress,
};
use crate::source::Source;

fn load(text: &str) -> ClusterFile {
    ClusterFile::load(&Source::new("cluster.yaml", text))
        .unwrap_or_else(|errors| panic!("{:#?}", errors.errors()))
}

/// Each error of `text` on a line of its own.
fn errors(text: &str) -> String {
    let errors = ClusterFile::load(&Source::new("cluster.yaml", text)).expect_err("an error");
    let lines = errors.errors().iter().map(|error| format!("{error} ({})", error.fix()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_example_loads() {
    let page = include_str!("../../../../docs/cluster-file.md");
    let example =
        page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let cluster = load(example);
    assert_eq!(cluster.nodes.len(), 3);
    assert_eq!(cluster.proxy_mode, ProxyMode::Nftables);
    assert_eq!(cluster.nodes[2].allocatable.as_ref().and_then(|of| of.cpu.as_deref()), Some("8"));
    assert_eq!(cluster.load_balancers[1].kind, LoadBalancerKind::Proxy);
    assert_eq!(cluster.load_balancers[1].source_address(), SourceAddress::Rewritten);
    assert_eq!(
        cluster.resolve_outside("redpanda-0.example.com."),
        Some([OutsideTarget::Node("node-0".to_owned())].as_slice())
    );
    assert_eq!(cluster.resolve_outside("b.apps.Example.com").map(<[_]>::len), Some(2));
    assert_eq!(cluster.resolve_outside("example.com"), None);
    assert_eq!(cluster.locate("nodes[1].zone").expect("a file").line, 6);
}

#[test]
fn every_field_is_documented() {
    let page = include_str!("../../../../docs/cluster-file.md");
    let listed = errors("x: 1");
    let fields: Vec<&str> = listed.split('`').skip(3).step_by(2).collect();
    assert!(fields.len() > 5, "{listed}");
    for field in fields {
        assert!(page.contains(&format!("| `{field}` |")), "{field} is not in the table");
    }
}

#[test]
fn nodes_without_a_file() {
    let cluster = ClusterFile::with_nodes(4);
    let shown: Vec<_> = cluster
        .nodes
        .iter()
        .map(|node| format!("{} {} {}", node.name, node.address(), node.zone.as_deref().unwrap_or("-")))
        .collect();
    assert_eq!(
        shown,
        [
            "node-0 10.0.0.10 zone-a",
            "node-1 10.0.0.11 zone-b",
            "node-2 10.0.0.12 zone-c",
            "node-3 10.0.0.13 zone-a"
        ]
    );
    assert_eq!(cluster.service_networks()[0].to_string(), "10.96.0.0/12");
    assert_eq!(ClusterFile::with_nodes(u16::MAX).nodes.len(), 65_000);
    let mut named = load("nodes: [{name: a, address: 10.0.0.1}]");
    named.add_nodes(3);
    assert_eq!(named.nodes.len(), 1);
}

#[test]
fn networks_follow_the_nodes() {
    let cluster = load("nodes: [{name: a, address: 2001:db8::1}]");
    assert_eq!(cluster.pod_networks()[0].to_string(), "fd00:10:244::/56");
    assert_eq!(cluster.service_networks()[0].to_string(), "fd00:10:96::/112");
}

#[test]
fn nodes_of_two_families_have_networks_of_both() {
    let cluster = load("nodes: [{name: a, address: [10.0.0.1, '2001:db8::1'], podCIDR: [10.244.7.0/24]}]");
    let shown = |networks: Vec<ipnet::IpNet>| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(cluster.pod_networks()), ["10.244.0.0/16", "fd00:10:244::/56"]);
    assert_eq!(shown(cluster.service_networks()), ["10.96.0.0/12", "fd00:10:96::/112"]);
    assert_eq!(cluster.nodes[0].address().to_string(), "10.0.0.1");
    let given = load(
        "serviceCIDR: ['fd00::/112', 10.9.0.0/16]\nnodes: [{name: a, address: [10.0.0.1, '2001:db8::1']}]",
    );
    assert_eq!(shown(given.service_networks()), ["fd00::/112", "10.9.0.0/16"]);
    assert_snapshot!(errors("nodes: [{name: a, address: [10.0.0.1, 10.0.0.2]}]"), @"cluster.yaml:1:19: nodes[0].address: expected one address per address family, got 10.0.0.1 and 10.0.0.2 (change the value to what is expected)");
    assert_snapshot!(errors("nodes: [{name: a, address: []}]"), @"cluster.yaml:1:19: nodes[0].address: expected at least one address, got an empty list (change the value to what is expected)");
    assert_snapshot!(errors("nodes: [{name: a, address: [10.0.0.1, '2001:db8::1']}, {name: b, address: 10.0.0.2}]"), @r"
    cluster.yaml:1:19: nodes[0].address: the addresses are of two families, and not those of all nodes are (give all nodes the same families, in the same order)
    cluster.yaml:1:75: nodes[1].address: 10.0.0.2 is IPv4, and other nodes are not (use one address family for all nodes)
    ");
    assert_snapshot!(errors("podCIDR: [10.0.0.0/16, 10.1.0.0/16]"), @"cluster.yaml:1:1: podCIDR: expected one network per address family, got 10.0.0.0 and 10.1.0.0 (change the value to what is expected)");
    assert_snapshot!(errors("serviceCIDR: 'fd00::/112'\nnodes: [{name: a, address: 10.0.0.1}]"), @"cluster.yaml:1:14: serviceCIDR: fd00::/112 is IPv6, and the nodes are IPv4 (use the address family of the nodes)");
}

#[test]
fn kube_proxy_is_configured_as_its_own_file_has_it() {
    let cluster = load(
        "proxyMode: ipvs\nkubeProxy: {detectLocalMode: NodeCIDR, masqueradeAll: true, nodePortAddresses: [primary]}",
    );
    assert_eq!(cluster.kube_proxy.detect_local_mode, DetectLocalMode::NodeCIDR);
    assert_eq!(cluster.kube_proxy.node_port_addresses, Some(NodePortAddresses::Primary));
    assert!(cluster.kube_proxy.masquerade_all && cluster.kube_proxy.localhost_node_ports);
    assert_snapshot!(errors("kubeProxy: {nodePortAddresses: [primary, 10.0.0.0/8]}"), @"cluster.yaml:1:13: kubeProxy.nodePortAddresses: expected networks such as 192.168.0.0/24, or [primary] alone, got primary beside others (change the value to what is expected)");
    assert_snapshot!(errors("kubeProxy: {detectLocalMode: Nodes}"), @"cluster.yaml:1:30: kubeProxy.detectLocalMode: unknown value `Nodes` (known: `ClusterCIDR`, `NodeCIDR`, `BridgeInterface`, `InterfaceNamePrefix`)");
    assert_snapshot!(errors("kubeProxy: {masquerade: true}"), @"cluster.yaml:1:13: kubeProxy.masquerade: unknown field `masquerade` (did you mean `masqueradeAll`? Known: `detectLocalMode`, `masqueradeAll`, `nodePortAddresses`, `localhostNodePorts`, `tcpBeLiberal`)");
}

#[test]
fn the_longest_wildcard_wins_over_shorter_ones() {
    let cluster = load(
        "externalNames:\n  '*.com': 192.0.2.1\n  '*.example.com': 192.0.2.2\n  a.example.com: [192.0.2.3]\n",
    );
    let resolved = |name: &str| cluster.resolve_outside(name).map(|targets| format!("{targets:?}"));
    assert!(resolved("x.com").is_some_and(|targets| targets.contains("192.0.2.1")));
    assert!(resolved("x.y.example.com").is_some_and(|targets| targets.contains("192.0.2.2")));
    assert!(resolved("a.example.com").is_some_and(|targets| targets.contains("192.0.2.3")));
    assert_eq!(resolved("com"), None);
}

#[test]
fn fields_that_do_not_fit() {
    assert_snapshot!(errors("proxymode: nftables\n"), @"cluster.yaml:1:1: proxymode: unknown field `proxymode` (did you mean `proxyMode`? Known: `nodes`, `profile`, `overrides`, `proxyMode`, `defaultDisk`, `nodeMonitorGracePeriodS`, `kubeProxy`, `serviceCIDR`, `podCIDR`, `podNetwork`, `clusterDomain`, `nodeLocalDNS`, `externalNames`, `loadBalancers`)");
    assert_snapshot!(errors("proxyMode: userspace\n"), @"cluster.yaml:1:12: proxyMode: unknown value `userspace` (known: `iptables`, `nftables`, `ipvs`)");
    assert_snapshot!(errors("nodes:\n  - name: a\n"), @"cluster.yaml:2:5: nodes[0].address: missing field `address` (add `address`; it has no default)");
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0}\n"), @r#"cluster.yaml:2:24: nodes[0].address: expected an IP address, got the text "10.0.0" (write an address such as 192.0.2.1)"#);
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0.1, adress: x}\n"), @"cluster.yaml:2:34: nodes[0].adress: unknown field `adress` (did you mean `address`? Known: `name`, `zone`, `region`, `address`, `podCIDR`, `labels`, `taints`, `allocatable`)");
    assert_snapshot!(errors("podCIDR: 10.244.0.0\n"), @r#"cluster.yaml:1:10: podCIDR: expected a network such as 10.244.0.0/16, got "10.244.0.0" (change the value to what is expected)"#);
    assert_snapshot!(errors("podCIDR: 10.244.1.0/16\n"), @"cluster.yaml:1:10: podCIDR: expected the address of a network, got 10.244.1.0/16, which is inside of 10.244.0.0/16 (change the value to what is expected)");
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0.1, allocatable: {cpu: four}}\n"), @r#"cluster.yaml:2:53: nodes[0].allocatable.cpu: expected a quantity such as 4, 500m or 16Gi, got "four" (change the value to what is expected)"#);
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0.1, taints: [{key: k, effect: No}]}\n"), @"cluster.yaml:2:60: nodes[0].taints[0].effect: expected one of NoSchedule, PreferNoSchedule, NoExecute, got the boolean false (write one of NoSchedule, PreferNoSchedule, NoExecute here)");
    assert_snapshot!(errors("externalNames:\n  a_b.example.com: 192.0.2.1\n"), @r#"cluster.yaml:2:20: externalNames["a_b.example.com"]: expected a DNS name such as broker-0.example.com, or *.example.com, got "a_b.example.com" (change the value to what is expected)"#);
    assert_snapshot!(errors("externalNames:\n  a.example.com: nodes/a\n"), @r#"cluster.yaml:2:18: externalNames["a.example.com"]: expected an address, node/NAME or service/NAMESPACE/NAME, got "nodes/a" (change the value to what is expected)"#);
    assert_snapshot!(errors("externalNames:\n  a.example.com: []\n"), @r#"cluster.yaml:2:3: externalNames["a.example.com"]: expected at least one target, got an empty list (change the value to what is expected)"#);
    assert_snapshot!(errors("externalNames:\n  a.example.com: 5\n"), @r#"cluster.yaml:2:18: externalNames["a.example.com"]: expected an address, node/NAME or service/NAMESPACE/NAME, or a list of them, got the number 5 (write an address, node/NAME or service/NAMESPACE/NAME, or a list of them here)"#);
    assert_snapshot!(errors("loadBalancers:\n  - {service: web, address: 192.0.2.1}\n"), @r#"cluster.yaml:2:15: loadBalancers[0].service: expected a Service as NAMESPACE/NAME, got "web" (change the value to what is expected)"#);
    assert_snapshot!(errors("overrides: {link.delay: fast}\n"), @r#"cluster.yaml:1:25: overrides["link.delay"]: expected a number, got "fast" (write the number in the unit that the profile uses)"#);
    assert_snapshot!(errors("- nodes\n"), @"cluster.yaml:1:1: expected a mapping, got a list (remove the `- `)");
}

#[test]
fn values_that_do_not_fit_together() {
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0.1}\n  - {name: a, address: 10.0.0.1}\n"), @r"
    cluster.yaml:3:12: nodes[1].name: nodes[0] has the name a already (give each node a name of its own)
    cluster.yaml:3:24: nodes[1].address: a has the address 10.0.0.1 already (give each node an address of its own)
    ");
    assert_snapshot!(errors("nodes:\n  - {name: A, address: 10.244.0.1}\n  - {name: b, address: 10.96.0.1}\n"), @r#"
    cluster.yaml:2:12: nodes[0].name: expected a DNS name, got "A" (use lower-case letters, digits, `-` and `.`, with a letter or digit at both ends)
    cluster.yaml:2:24: nodes[0].address: 10.244.0.1 is inside of the podCIDR 10.244.0.0/16 (use an address outside of it, or change podCIDR)
    cluster.yaml:3:24: nodes[1].address: 10.96.0.1 is inside of the serviceCIDR 10.96.0.0/12 (use an address outside of it, or change serviceCIDR)
    "#);
    assert_snapshot!(errors("nodes:\n  - {name: a, address: 10.0.0.1}\n  - {name: b, address: '::1'}\n"), @r"
    cluster.yaml:2:24: nodes[0].address: 10.0.0.1 is IPv4, and other nodes are not (use one address family for all nodes)
    cluster.yaml:3:24: nodes[1].address: expected the address of a machine, got ::1 (use an address that other machines can reach)
    cluster.yaml:3:24: nodes[1].address: ::1 is IPv6, and other nodes are not (use one address family for all nodes)
    ");
    assert_snapshot!(errors("podCIDR: 10.96.0.0/16\n"), @"cluster.yaml:1:10: podCIDR: the podCIDR 10.96.0.0/16 and the serviceCIDR 10.96.0.0/12 overlap (choose networks without a common address)");
    assert_snapshot!(errors("nodes: [{name: a, address: 10.0.0.1}]\npodCIDR: fd00::/56\n"), @"cluster.yaml:2:10: podCIDR: fd00::/56 is IPv6, and the nodes are IPv4 (use the address family of the nodes)");
    assert_snapshot!(
        errors(
            "nodes:\n  - {name: a, address: 10.0.0.1, podCIDR: 10.244.0.0/24}\n  \
             - {name: b, address: 10.0.0.2, podCIDR: 10.244.0.0/25}\n  \
             - {name: c, address: 10.0.0.3, podCIDR: 10.1.0.0/24}\n"
        ),
        @r"
        cluster.yaml:3:43: nodes[1].podCIDR: 10.244.0.0/25 overlaps with 10.244.0.0/24 of a (give each node a network of its own)
        cluster.yaml:4:43: nodes[2].podCIDR: 10.1.0.0/24 is outside of the cluster's podCIDR 10.244.0.0/16 (use a part of it, or change podCIDR)
        "
    );
    assert_snapshot!(errors("nodes: [{name: node-0, address: 10.0.0.1}]\nexternalNames: {a.b: node/nod-0}\n"), @r#"cluster.yaml:2:22: externalNames["a.b"]: there is no node nod-0 (did you mean node/node-0?)"#);
    assert_snapshot!(
        errors(
            "loadBalancers:\n  - {service: a/b, address: 192.0.2.1}\n  \
             - {service: a/b, address: 192.0.2.1, kind: proxy, source: kept}\n"
        ),
        @r"
        cluster.yaml:3:15: loadBalancers[1].service: the Service a/b has a load balancer already (declare one load balancer per Service)
        cluster.yaml:3:29: loadBalancers[1].address: 192.0.2.1 is the address of a node or another load balancer (give each load balancer an address of its own)
        cluster.yaml:3:61: loadBalancers[1].source: a proxy opens connections of its own, so that nodes see its address (use kind: nat, or source: rewritten)
        "
    );
    assert_snapshot!(errors("clusterDomain: Cluster_Local\n"), @r#"cluster.yaml:1:16: clusterDomain: expected a DNS name, got "Cluster_Local" (write a domain such as cluster.local)"#);
}

#[test]
fn disks_and_the_grace_period_are_read_and_checked() {
    let cluster = load("defaultDisk: local\nnodeMonitorGracePeriodS: 40\n");
    assert_eq!(cluster.default_disk, Some(crate::volumes::Disk::Local));
    assert_eq!(cluster.node_monitor_grace_period(), hopwise_engine::Span::from_secs(40));
    assert_eq!(load("{}").node_monitor_grace_period(), hopwise_engine::Span::from_secs(50));
    assert_snapshot!(errors("nodeMonitorGracePeriodS: 19\n"), @"cluster.yaml:1:26: nodeMonitorGracePeriodS: expected at least 20 s, got 19 (kubelets renew their leases every 10 s; leave room for two renewals)");
    assert!(errors("defaultDisk: cloud\n").contains("defaultDisk"));
}

#[test]
fn the_pod_network_has_choices_and_a_point_to_point_link_has_no_bridge() {
    use super::{PodLinks, PodMasquerade};
    let cluster = load("podNetwork:\n  hairpin: false\n  masquerade: rfc1918\n");
    let bridge =
        |hairpin| hopwise_fabric::PodLinks::Bridge { addresses: Vec::new(), netfilter: true, hairpin };
    assert_eq!(cluster.pod_network.pod_links(bridge(true)), bridge(false));
    assert_eq!(cluster.pod_network.unmasqueraded_networks().len(), 3);
    let cluster = load("podNetwork: { links: pointToPoint, masquerade: none }\n");
    assert_eq!(cluster.pod_network.links, PodLinks::PointToPoint);
    assert_eq!(cluster.pod_network.pod_links(bridge(true)), hopwise_fabric::PodLinks::PointToPoint);
    assert_eq!(
        (cluster.pod_network.masquerade, cluster.pod_network.masquerades()),
        (PodMasquerade::None, false)
    );
    let told = errors("podNetwork:\n  links: pointToPoint\n  hairpin: true\n  bridgeNetfilter: false\n");
    assert!(told.contains("hairpin is a setting of a bridge"), "{told}");
    assert!(told.contains("bridgeNetfilter is a setting of a bridge"), "{told}");
    let told = errors("podNetwork:\n  link: bridge\n");
    assert!(told.contains("link"), "{told}");
}
