//! Services over whole clusters, beyond the list of what naive simulators get wrong: kube-proxy's modes and its
//! failures, network policies, endpoints by hand, and clusters of two address families.

use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::UdpSocket;
use hopwise_kube::cluster::{Cluster, Place};
use hopwise_tests::dialing::{
    CLUSTER_IP, Echoing, POD_PORT, dial, dial_often, on_cluster, pod, service, three_nodes,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

const SERVICE: &str = "10.96.77.1:80";
const CLIENT: &str = "pod/default/client";

/// Longer than a change takes to be in every node's rules.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

async fn shown(cluster: &Cluster, from: &str, address: &str) -> String {
    dial(cluster, from, address).await.to_string()
}

fn change_service(cluster: &Cluster, change: impl FnOnce(&mut Service)) {
    cluster.api().write(|store, now| store.patch("default", "echo", now, change)).expect("the Service");
}

fn select(cluster: &Cluster, app: &str) {
    change_service(cluster, |service| {
        let selector = service.spec.get_or_insert_default().selector.get_or_insert_default();
        selector.insert("app".to_owned(), app.to_owned());
    });
}

#[test]
fn a_node_keeps_its_last_rules_while_its_kube_proxy_is_stopped() {
    let pods =
        [pod("a", "node-0", "echo"), pod("b", "node-0", "spare"), pod("client", "node-1", "client")].concat();
    on_cluster(&(pods + &service(CLUSTER_IP)), &three_nodes(""), |cluster| async move {
        cluster.stop_kube_proxy("node-1").expect("it runs");
        assert!(cluster.stop_kube_proxy("node-1").is_err());
        assert!(cluster.stop_kube_proxy("node-9").is_err());
        assert_eq!(shown(&cluster, "node/node-0", "10.0.0.11:10256").await, "refused");
        select(&cluster, "spare");
        settle().await;
        assert_eq!(dial(&cluster, CLIENT, SERVICE).await.pod(), Some("a"), "frozen");
        assert_eq!(dial(&cluster, "node/node-2", SERVICE).await.pod(), Some("b"));
        cluster.start_kube_proxy("node-1").expect("it does not run");
        assert!(cluster.start_kube_proxy("node-1").is_err());
        settle().await;
        assert_eq!(dial(&cluster, CLIENT, SERVICE).await.pod(), Some("b"), "it writes all rules anew");
        cluster.lag_kube_proxy("node-1", Duration::from_secs(20)).expect("a node");
        select(&cluster, "echo");
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(dial(&cluster, CLIENT, SERVICE).await.pod(), Some("b"), "late");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(dial(&cluster, CLIENT, SERVICE).await.pod(), Some("a"));
    });
}

#[test]
fn ipvs_takes_turns_and_refuses_where_there_is_nobody() {
    let pods =
        [pod("a", "node-0", "echo"), pod("b", "node-1", "echo"), pod("client", "node-2", "client")].concat();
    let spec = format!("{CLUSTER_IP}\n  type: NodePort\n  externalTrafficPolicy: Local");
    let manifests = pods + &service(&spec).replace("port: 80,", "port: 80, nodePort: 30080,");
    on_cluster(&manifests, &three_nodes("proxyMode: ipvs"), |cluster| async move {
        let answers = dial_often(&cluster, CLIENT, SERVICE, 4).await;
        assert!(answers == ["a", "b", "a", "b"] || answers == ["b", "a", "b", "a"], "{answers:?}");
        assert_eq!(shown(&cluster, "external=198.51.100.9", "10.0.0.10:30080").await, "a sees 198.51.100.9");
        // Without a local endpoint all are used, for clients inside.
        assert!(dial(&cluster, "node/node-2", "10.0.0.12:30080").await.pod().is_some());
        assert_eq!(shown(&cluster, "node/node-2", "127.0.0.1:30080").await, "refused", "never on loopback");
        select(&cluster, "nobody");
        settle().await;
        assert_eq!(shown(&cluster, CLIENT, SERVICE).await, "refused");
    });
}

#[test]
fn only_the_node_itself_passes_the_reject_of_an_empty_load_balancer_address() {
    let manifests =
        [pod("client", "node-1", "client"), service(&format!("{CLUSTER_IP}\n  externalIPs: [203.0.113.77]"))]
            .concat();
    let dials = |mode: &'static str| {
        on_cluster(&manifests, &three_nodes(&format!("proxyMode: {mode}")), |cluster| async move {
            let address = "203.0.113.77:80";
            (shown(&cluster, CLIENT, address).await, shown(&cluster, "node/node-1", address).await)
        })
    };
    let (pod, node) = dials("iptables");
    assert_eq!(pod, "refused");
    assert_ne!(node, "refused", "the packet leaves for whoever has the address (linux.md, K13)");
    assert_eq!(dials("nftables"), ("refused".to_owned(), "refused".to_owned()));
}

const POLICIES: &str = "---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-clients}
spec:
  podSelector: {matchLabels: {app: echo}}
  ingress:
    - from:
        - podSelector: {matchLabels: {app: client}}
        - ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}
      ports: [{port: tcp}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut-in}
spec:
  podSelector: {matchLabels: {app: shut-in}}
  policyTypes: [Egress]
  egress:
    - to: [{podSelector: {matchLabels: {app: client}}}]
";

#[test]
fn network_policies_judge_by_the_pods_addresses_on_both_sides() {
    let pods = [
        pod("a", "node-0", "echo"),
        pod("client", "node-1", "client"),
        pod("other", "node-1", "other"),
        pod("prisoner", "node-2", "shut-in"),
    ]
    .concat();
    let spec = format!("{CLUSTER_IP}\n  type: NodePort\n  externalTrafficPolicy: Local");
    let service = service(&spec).replace("port: 80,", "port: 80, nodePort: 30080,");
    on_cluster(&[&*pods, &service, POLICIES].concat(), &three_nodes(""), |cluster| async move {
        let a = cluster.api().read(|store| {
            let pod = store.get::<Pod>("default", "a").expect("the pod");
            pod.status.clone().and_then(|status| status.pod_ip).expect("an address")
        });
        let direct = format!("{a}:{POD_PORT}");
        // After the translation: by the Service or directly makes no difference.
        for address in [SERVICE, &direct] {
            assert_eq!(dial(&cluster, CLIENT, address).await.pod(), Some("a"), "{address}");
            assert_eq!(shown(&cluster, "pod/default/other", address).await, "timed out", "{address}");
            assert_eq!(shown(&cluster, "pod/default/prisoner", address).await, "timed out", "{address}");
        }
        // Its own node may, for kubelets probe; another node is a stranger.
        assert_eq!(dial(&cluster, "node/node-0", &direct).await.pod(), Some("a"));
        assert_eq!(shown(&cluster, "node/node-1", &direct).await, "timed out");
        // Policy Local keeps the client's address, which the network is compared with.
        assert_eq!(shown(&cluster, "external=198.51.100.9", "10.0.0.10:30080").await, "a sees 198.51.100.9");
        assert_eq!(shown(&cluster, "external=198.51.100.200", "10.0.0.10:30080").await, "timed out");
        // A pod becomes a client by its label.
        let label = |pod: &mut Pod| {
            pod.metadata.labels.get_or_insert_default().insert("app".into(), "client".into());
        };
        cluster.api().write(|store, now| store.patch("default", "other", now, label)).expect("the pod");
        settle().await;
        assert_eq!(dial(&cluster, "pod/default/other", SERVICE).await.pod(), Some("a"));
    });
}

#[test]
fn endpoints_by_hand_lead_where_they_say() {
    let by_hand = "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: echo}\nsubsets:\n  - addresses: [{ip: \
                   10.0.0.10}]\n    ports: [{name: tcp, port: 10256}]\n";
    let service = service(CLUSTER_IP).replace("  selector: {app: echo}\n", "");
    let manifests = [&*pod("client", "node-1", "client"), &service, by_hand].concat();
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        let slices = cluster.api().read(|store| {
            store.list_in::<EndpointSlice>("default").map(|it| it.metadata.name.clone()).collect::<Vec<_>>()
        });
        assert_eq!(slices, [Some("echo-mirror-0-ipv4".to_owned())]);
        // kube-proxy's own health endpoint, which waits for a request.
        assert_eq!(shown(&cluster, CLIENT, SERVICE).await, "timed out");
        assert_eq!(shown(&cluster, CLIENT, "10.96.77.1:81").await, "timed out");
    });
}

#[test]
fn two_families_have_an_address_each_all_the_way() {
    let cluster = "nodes:\n  - {name: node-0, address: [10.0.0.10, 'fd00:a::10']}\n  - {name: node-1, address: [10.0.0.11, \
                   'fd00:a::11']}\n";
    let spec = "ipFamilyPolicy: RequireDualStack\n  clusterIPs: [10.96.77.1, 'fd00:10:96::77']\n  clusterIP: \
                10.96.77.1\n  type: NodePort\n  externalTrafficPolicy: Local";
    let service = service(spec).replace("port: 80,", "port: 80, nodePort: 30080,");
    let manifests = [pod("a", "node-0", "echo"), pod("client", "node-1", "client"), service].concat();
    on_cluster(&manifests, cluster, |cluster| async move {
        let families = cluster.api().read(|store| {
            store.list_in::<EndpointSlice>("default").map(|it| it.address_type.clone()).collect::<Vec<_>>()
        });
        assert_eq!(families.len(), 2, "{families:?}");
        for address in [SERVICE, "[fd00:10:96::77]:80"] {
            assert_eq!(dial(&cluster, CLIENT, address).await.pod(), Some("a"), "{address}");
        }
        assert_eq!(shown(&cluster, "external=2001:db8::9", "[fd00:a::10]:30080").await, "a sees 2001:db8::9");
        assert_eq!(shown(&cluster, "external=2001:db8::9", "[fd00:a::11]:30080").await, "timed out");
        assert_eq!(dial(&cluster, "node/node-1", "[fd00:a::11]:30080").await.pod(), Some("a"));
    });
}

#[test]
fn traffic_stays_in_the_zone_while_the_zone_has_somebody() {
    let pods =
        [pod("a", "node-0", "echo"), pod("b", "node-1", "echo"), pod("client", "node-1", "client")].concat();
    let manifests = pods + &service(&format!("{CLUSTER_IP}\n  trafficDistribution: PreferSameZone"));
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        assert_eq!(dial_often(&cluster, CLIENT, SERVICE, 12).await, ["b"; 12]);
        let elsewhere = dial_often(&cluster, "node/node-2", SERVICE, 20).await;
        assert!(["a", "b"].iter().all(|pod| elsewhere.iter().any(|it| it == pod)), "{elsewhere:?}");
        let relabel = |pod: &mut Pod| {
            pod.metadata.labels.get_or_insert_default().insert("app".into(), "spare".into());
        };
        cluster.api().write(|store, now| store.patch("default", "b", now, relabel)).expect("the pod");
        settle().await;
        assert_eq!(dial(&cluster, CLIENT, SERVICE).await.pod(), Some("a"), "nobody is left in the zone");
    });
}

#[test]
fn ipvs_forgets_an_idle_connection_after_fifteen_minutes_and_resets_it() {
    let manifests =
        [pod("a", "node-0", "echo"), pod("client", "node-1", "client"), service(CLUSTER_IP)].concat();
    for (mode, survives) in [("iptables", true), ("ipvs", false)] {
        on_cluster(&manifests, &three_nodes(&format!("proxyMode: {mode}")), move |cluster| async move {
            let place = Place::Pod { namespace: "default".into(), name: "client".into() };
            let client = cluster.place(&place, "client").await.expect("the pod runs").host;
            let run = async move {
                let mut open =
                    Echoing::connect(SERVICE.parse().expect("an address")).await.expect("an answer");
                tokio::time::sleep(Duration::from_secs(880)).await;
                assert!(open.echoes().await, "{mode}");
                tokio::time::sleep(Duration::from_secs(920)).await;
                assert_eq!(open.echoes().await, survives, "{mode}");
            };
            host::spawn_on(client, run).await.expect("the client runs");
        });
    }
}

#[test]
fn a_query_to_a_dns_service_without_pods_fails_at_once() {
    on_cluster(&pod("client", "node-1", "client"), &three_nodes(""), |cluster| async move {
        let none = |deployment: &mut Deployment| {
            deployment.spec.get_or_insert_default().replicas = Some(0);
        };
        let patched = cluster.api().write(|store, now| store.patch("kube-system", "coredns", now, none));
        patched.expect("the Deployment");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let place = Place::Pod { namespace: "default".into(), name: "client".into() };
        let client = cluster.place(&place, "client").await.expect("the pod runs").host;
        let query = async {
            let socket = UdpSocket::bind("0.0.0.0:0".parse().expect("an address")).await?;
            socket.connect("10.96.0.10:53".parse().expect("an address")).await?;
            socket.send(b"a query").await?;
            socket.recv(&mut [0; 512]).await
        };
        let asked_at = hopwise_engine::now();
        let answer = host::spawn_on(client, query).await.expect("the client runs");
        assert_eq!(answer.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionRefused));
        assert!(hopwise_engine::now() - asked_at < hopwise_engine::Span::from_secs(1));
    });
}
