//! Points 13, 14, 17, 18, 21 and 24: kube-proxy.

use std::net::SocketAddr;
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::UdpSocket;
use hopwise_kube::cluster::{Cluster, Place};
use hopwise_tests::dialing::{
    Answer, CLUSTER_IP, Echoing, POD_PORT, ask, dial, dial_often, on_cluster, pod, service, three_nodes,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// The cluster IP and port of the Service.
const SERVICE: &str = "10.96.77.1:80";

/// Dials and shows the answer.
async fn shown(cluster: &Cluster, from: &str, address: &str) -> String {
    dial(cluster, from, address).await.to_string()
}

fn node_port(policy: &str) -> String {
    let spec = format!("{CLUSTER_IP}\n  type: NodePort\n  externalTrafficPolicy: {policy}");
    service(&spec).replace("port: 80,", "port: 80, nodePort: 30080,")
}

#[test]
fn point_13_policy_local_is_for_outside_traffic_only_and_drops_where_an_empty_service_rejects() {
    let pods = [pod("a", "node-0", "echo"), pod("client", "node-1", "client")].concat();
    let empty = "---\napiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec:\n  type: NodePort\n  externalTrafficPolicy: \
                 Local\n  selector: {app: nobody}\n  ports: [{port: 80, nodePort: 30090}]\n";
    let manifests = [&*pods, &node_port("Local"), empty].concat();
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        let outside = "external=198.51.100.9";
        assert_eq!(shown(&cluster, outside, "10.0.0.10:30080").await, "a sees 198.51.100.9");
        assert_eq!(shown(&cluster, outside, "10.0.0.11:30080").await, "timed out");
        for inside in ["pod/default/client", "node/node-1"] {
            assert_eq!(dial(&cluster, inside, "10.0.0.11:30080").await.pod(), Some("a"), "{inside}");
        }
        for node in ["10.0.0.10:30090", "10.0.0.11:30090"] {
            assert_eq!(shown(&cluster, outside, node).await, "refused");
        }
        assert_eq!(shown(&cluster, "node/node-1", "10.0.0.11:30090").await, "refused");
    });
}

#[test]
fn point_14_source_ranges_filter_pods_too_and_do_not_protect_node_ports() {
    let further = format!("{CLUSTER_IP}\n  type: LoadBalancer\n  loadBalancerSourceRanges: [192.0.2.0/24]");
    let service = service(&further).replace("port: 80,", "port: 80, nodePort: 30080,");
    let manifests = [pod("a", "node-0", "echo"), pod("client", "node-1", "client"), service].concat();
    let balancer = "loadBalancers: [{service: default/echo, address: 203.0.113.20}]";
    on_cluster(&manifests, &three_nodes(balancer), |cluster| async move {
        let inside = "pod/default/client";
        for from in [inside, "node/node-1"] {
            assert_eq!(shown(&cluster, from, "203.0.113.20:80").await, "timed out", "{from}");
        }
        assert_eq!(dial(&cluster, "external", "10.0.0.11:30080").await.pod(), Some("a"));
        assert_eq!(dial(&cluster, inside, SERVICE).await.pod(), Some("a"));
        let allow = |service: &mut Service| {
            let ranges = &mut service.spec.get_or_insert_default().load_balancer_source_ranges;
            *ranges = Some(vec!["10.244.0.0/16".to_owned()]);
        };
        cluster.api().write(|store, now| store.patch("default", "echo", now, allow)).expect("the Service");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(dial(&cluster, inside, "203.0.113.20:80").await.pod(), Some("a"));
    });
}

/// Lets the Service select other pods.
fn select(cluster: &Cluster, app: &str) {
    let change = |service: &mut Service| {
        let selector = service.spec.get_or_insert_default().selector.get_or_insert_default();
        selector.insert("app".to_owned(), app.to_owned());
    };
    cluster.api().write(|store, now| store.patch("default", "echo", now, change)).expect("the Service");
}

#[test]
fn point_17_established_tcp_survives_the_removal_of_its_endpoint_and_udp_is_cleaned_up() {
    let pods =
        [pod("a", "node-0", "echo"), pod("b", "node-2", "spare"), pod("client", "node-1", "client")].concat();
    let ports = format!("port: 80, targetPort: {POD_PORT}}}, {{name: udp, protocol: UDP, port: 81,");
    let manifests = pods + &service(CLUSTER_IP).replace("port: 80,", &ports);
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        let place = Place::Pod { namespace: "default".into(), name: "client".into() };
        let client = cluster.place(&place, "client").await.expect("the pod runs").host;
        host::spawn_on(client, async move {
            let (tcp, udp): (SocketAddr, SocketAddr) =
                (SERVICE.parse().expect("an address"), "10.96.77.1:81".parse().expect("an address"));
            let mut open = Echoing::connect(tcp).await.expect("the Service answers");
            assert_eq!(open.greeting.pod(), Some("a"));
            let socket =
                UdpSocket::bind("0.0.0.0:5000".parse().expect("an address")).await.expect("a socket");
            assert_eq!(ask(&socket, udp).await.as_ref().and_then(Answer::pod), Some("a"));
            select(&cluster, "spare");
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(open.echoes().await, "the connection goes on with the pod that it was made to");
            let again = Echoing::connect(tcp).await.expect("the Service answers");
            assert_eq!(again.greeting.pod(), Some("b"), "new connections go to the new endpoint");
            let answer = ask(&socket, udp).await;
            assert_eq!(
                answer.as_ref().and_then(Answer::pod),
                Some("b"),
                "the old flow of the same port is forgotten"
            );
            select(&cluster, "nobody");
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert!(open.echoes().await, "also when there is no endpoint at all");
        })
        .await
        .expect("the client runs");
    });
}

/// An EndpointSlice of two endpoints, in this state: ready, serving, terminating.
fn slice(a: [bool; 3], b: [bool; 3]) -> EndpointSlice {
    let endpoint = |ip: &str, node: &str, [ready, serving, terminating]: [bool; 3]| {
        serde_json::json!({
            "addresses": [ip], "nodeName": node,
            "conditions": { "ready": ready, "serving": serving, "terminating": terminating }
        })
    };
    let slice = serde_json::json!({
        "metadata": {
            "name": "echo-1", "namespace": "default", "labels": { "kubernetes.io/service-name": "echo" }
        },
        "addressType": "IPv4", "ports": [{ "name": "tcp", "port": POD_PORT, "protocol": "TCP" }],
        "endpoints": [endpoint("10.244.0.2", "node-0", a), endpoint("10.244.1.2", "node-1", b)]
    });
    serde_json::from_value(slice).expect("an EndpointSlice")
}

#[test]
fn point_18_the_fallback_to_terminating_endpoints_is_one_for_the_cluster_and_one_for_each_node() {
    const READY: [bool; 3] = [true, true, false];
    const DRAINING: [bool; 3] = [false, true, true];
    let pods = [pod("a", "node-0", "x"), pod("b", "node-1", "x"), pod("client", "node-2", "client")].concat();
    let service = node_port("Local").replace("  selector: {app: echo}\n", "");
    let slice_text = serde_json::to_string(&slice(READY, READY)).expect("JSON");
    let manifests = [pods, service, format!("---\n{slice_text}\n")].concat();
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        let inside = "pod/default/client";
        let from_all = dial_often(&cluster, inside, SERVICE, 20).await;
        assert!(["a", "b"].iter().all(|pod| from_all.iter().any(|it| it == pod)), "{from_all:?}");
        let put = async |slice: EndpointSlice| {
            let change = |stored: &mut EndpointSlice| stored.endpoints = slice.endpoints;
            cluster
                .api()
                .write(|store, now| store.patch("default", "echo-1", now, change))
                .expect("the slice");
            tokio::time::sleep(Duration::from_secs(3)).await;
        };
        // The cluster has a ready endpoint, the node of the other has none: only the node falls back.
        put(slice(DRAINING, READY)).await;
        assert_eq!(dial_often(&cluster, inside, SERVICE, 20).await, ["b"; 20]);
        assert_eq!(dial(&cluster, "external", "10.0.0.10:30080").await.pod(), Some("a"));
        assert_eq!(dial(&cluster, "external", "10.0.0.11:30080").await.pod(), Some("b"));
        // Nobody is ready: the cluster falls back, too.
        put(slice(DRAINING, DRAINING)).await;
        let from_all = dial_often(&cluster, inside, SERVICE, 20).await;
        assert!(["a", "b"].iter().all(|pod| from_all.iter().any(|it| it == pod)), "{from_all:?}");
        // A node whose only endpoint does not even serve drops.
        put(slice([false, false, true], READY)).await;
        assert_eq!(shown(&cluster, "external", "10.0.0.10:30080").await, "timed out");
    });
}

#[test]
fn point_21_nodes_disagree_while_a_change_makes_its_way() {
    let manifests = [pod("a", "node-0", "echo"), pod("b", "node-0", "spare"), service(CLUSTER_IP)].concat();
    on_cluster(&manifests, &three_nodes(""), |cluster| async move {
        select(&cluster, "spare");
        let changed_at = hopwise_engine::now();
        let mut switched = [None; 3];
        while switched.contains(&None) {
            for (node, at) in switched.iter_mut().enumerate().filter(|(_, at)| at.is_none()) {
                let answer = dial(&cluster, &format!("node/node-{node}"), SERVICE).await;
                match answer.pod() {
                    Some("b") => *at = Some(hopwise_engine::now() - changed_at),
                    other => assert_eq!(other, Some("a")),
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(hopwise_engine::now() - changed_at < hopwise_engine::Span::from_secs(3), "{switched:?}");
        }
        let first = switched.iter().flatten().min().expect("three nodes");
        let last = switched.iter().flatten().max().expect("three nodes");
        assert!(
            *last > *first + hopwise_engine::Span::from_millis(50),
            "nodes switch one after the other: {switched:?}"
        );
    });
}

#[test]
fn point_24_an_unused_port_of_a_cluster_ip_is_lost_in_iptables_mode_and_refused_in_nftables_mode() {
    let manifests =
        [pod("a", "node-0", "echo"), pod("client", "node-1", "client"), service(CLUSTER_IP)].concat();
    // In IPVS mode the address is the node's own, and nothing listens there.
    let modes = [("iptables", "timed out"), ("nftables", "refused"), ("ipvs", "refused")];
    for (mode, expected) in modes {
        on_cluster(&manifests, &three_nodes(&format!("proxyMode: {mode}")), move |cluster| async move {
            let inside = "pod/default/client";
            assert_eq!(dial(&cluster, inside, SERVICE).await.pod(), Some("a"), "{mode}");
            assert_eq!(shown(&cluster, inside, "10.96.77.1:81").await, expected, "{mode}");
            if mode == "nftables" {
                // An address that no Service has.
                assert_eq!(shown(&cluster, inside, "10.96.99.99:80").await, "timed out");
            }
        });
    }
}
