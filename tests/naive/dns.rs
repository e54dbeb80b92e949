//! Points 8 to 12: names.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::RecordType;
use hopwise_engine::host;
use hopwise_fabric::net::resolver::{QueryOutcome, QueryTrace, ResolverKind};
use hopwise_fabric::net::{connect_traced, lookup_ip, lookup_records};
use hopwise_kube::cluster::{ClientSite, Cluster, Place};
use hopwise_kube::store::Grace;
use hopwise_lab::dns::{DnsOptions, dns};
use hopwise_lab::report::dns::{DnsQuery, DnsReport};
use hopwise_lab::simulate::{Start, simulate};
use hopwise_tests::Given;
use k8s_openapi::api::core::v1::Service;

const DOMAIN: &str = "demo.svc.cluster.local.";

/// Pods rp-0 and rp-1, which run, and rp-2, which waits for a ConfigMap that never comes: it has an address and is not
/// ready. Services that differ in what they say about that.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: rp-0, namespace: demo, labels: {app: rp}}
spec:
  hostname: rp-0
  subdomain: rp
  containers: [{name: main, image: example/echo, ports: [{containerPort: 9092}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: rp-1, namespace: demo, labels: {app: rp}}
spec:
  hostname: rp-1
  subdomain: rp
  containers: [{name: main, image: example/echo, ports: [{containerPort: 9092}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: rp-2, namespace: demo, labels: {app: rp, waits: "yes"}}
spec:
  hostname: rp-2
  subdomain: rp
  containers:
    - name: main
      image: example/echo
      env: [{name: X, valueFrom: {configMapKeyRef: {name: never, key: x}}}]
---
apiVersion: v1
kind: Service
metadata: {name: rp, namespace: demo}
spec: {clusterIP: None, selector: {app: rp}, ports: [{name: kafka, port: 9092}]}
---
apiVersion: v1
kind: Service
metadata: {name: rp-all, namespace: demo}
spec: {selector: {app: rp}, publishNotReadyAddresses: true, ports: [{name: kafka, port: 9092}]}
---
apiVersion: v1
kind: Service
metadata: {name: rp-all-headless, namespace: demo}
spec: {clusterIP: None, selector: {app: rp}, publishNotReadyAddresses: true, ports: [{name: kafka, port: 9092}]}
---
apiVersion: v1
kind: Service
metadata: {name: waiting, namespace: demo}
spec: {selector: {waits: "yes"}, ports: [{name: kafka, port: 9092}]}
---
apiVersion: v1
kind: Service
metadata: {name: waiting-headless, namespace: demo}
spec: {clusterIP: None, selector: {waits: "yes"}, ports: [{name: kafka, port: 9092}]}
"#;

fn given() -> Given {
    Given::default().with("manifests.yaml", MANIFESTS).nodes(3)
}

fn options(from: &str, name: &str) -> DnsOptions {
    DnsOptions {
        from: from.parse().expect("a place"),
        name: name.to_owned(),
        record_type: None,
        resolver: ResolverKind::Glibc,
        seed: 1,
    }
}

fn ask(from: &str, name: &str) -> DnsReport {
    dns(given().inputs(), &options(from, name)).unwrap_or_else(|error| panic!("{error}"))
}

fn query<'a>(report: &'a DnsReport, kind: &str) -> &'a DnsQuery {
    report.queries.iter().find(|query| query.r#type == kind).expect("a query of that type")
}

/// Runs `main` on the settled cluster with a client in a pod.
fn on_cluster<F>(given: &Given, main: impl FnOnce(Cluster, ClientSite) -> F + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let ran = simulate(given.inputs(), Start::default(), |started| async move {
        let site = started.cluster.place(&Place::InCluster, "client").await.expect("a client pod");
        main(started.cluster, site).await
    });
    ran.unwrap_or_else(|error| panic!("{error}"))
}

async fn resolve(site: ClientSite, name: String) -> Result<usize, std::io::ErrorKind> {
    let found = host::spawn_on(site.host, async move { lookup_ip(&name).await });
    found.await.expect("runs").map(|addresses| addresses.len()).map_err(|error| error.kind())
}

#[test]
fn point_08_a_headless_name_exists_only_while_its_pod_is_ready_and_a_cluster_ip_name_always() {
    for from in ["in-cluster", "pod/demo/rp-0", "pod/demo/rp-2"] {
        let report = ask(from, &format!("rp-2.rp.{DOMAIN}"));
        let query = query(&report, "A");
        assert_eq!((query.rcode.as_str(), report.addresses.len()), ("NXDOMAIN", 0), "from {from}");
        assert!(query.why.contains("rp-2 is not ready"), "{}", query.why);
        assert!(query.why.contains("publishNotReadyAddresses of Service demo/rp is off"), "{}", query.why);
    }
    assert_eq!(ask("in-cluster", &format!("rp.{DOMAIN}")).addresses.len(), 2);
    assert_eq!(ask("in-cluster", &format!("rp-all-headless.{DOMAIN}")).addresses.len(), 3);
    let nobody = ask("in-cluster", &format!("waiting-headless.{DOMAIN}"));
    assert_eq!(query(&nobody, "A").rcode, "NXDOMAIN");
    assert!(query(&nobody, "A").why.contains("none of its endpoints is ready"));
    let always = ask("in-cluster", &format!("waiting.{DOMAIN}"));
    assert_eq!(always.addresses.len(), 1);
    assert!(query(&always, "A").why.contains("although none of its 1 endpoint is ready"));
}

#[test]
fn point_09_publish_not_ready_addresses_keeps_terminating_pods_in_dns_and_in_kube_proxys_set() {
    on_cluster(&given(), |cluster, site| async move {
        cluster.delete_pod("demo", "rp-1", Grace::AsDeclared).expect("the pod is there");
        // Past the slice and kube-proxy, before the pod has ended.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(resolve(site, format!("rp.{DOMAIN}")).await, Ok(1));
        assert_eq!(resolve(site, format!("rp-all-headless.{DOMAIN}")).await, Ok(3));
        let chosen = targets(&cluster, site, "rp-all").await;
        assert!(chosen.contains("demo/rp-1"), "{chosen:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(resolve(site, format!("rp-all-headless.{DOMAIN}")).await, Ok(2));
        assert!(!targets(&cluster, site, "rp-all").await.contains("demo/rp-1"));
    });
}

/// The pods that connections to a Service's cluster address reach.
async fn targets(cluster: &Cluster, site: ClientSite, service: &str) -> BTreeSet<String> {
    let address: IpAddr = cluster.api().read(|store| {
        let service = store.get::<Service>("demo", service).expect("the Service is there");
        service
            .spec
            .as_ref()
            .and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok())
            .expect("a cluster address")
    });
    let connections = host::spawn_on(site.host, async move {
        let mut reached = BTreeSet::new();
        for _ in 0..40 {
            let route = match connect_traced(SocketAddr::new(address, 9092)).await {
                Ok(stream) => stream.route(),
                Err(error) => error.route,
            };
            reached.extend(route.and_then(|route| route.forward.last().map(|hop| hop.device.to_string())));
        }
        reached
    });
    connections.await.expect("runs")
}

#[test]
fn point_10_a_family_that_a_broker_lacks_is_no_data_and_a_broker_that_is_not_there_is_nxdomain() {
    let report = ask("in-cluster", &format!("rp-0.rp.{DOMAIN}"));
    let (a, aaaa) = (query(&report, "A"), query(&report, "AAAA"));
    assert_eq!((a.rcode.as_str(), a.answers.len()), ("NOERROR", 1));
    assert_eq!((aaaa.rcode.as_str(), aaaa.answers.len(), aaaa.authority.len()), ("NOERROR", 0, 1));
    assert!(aaaa.why.starts_with("NODATA") && aaaa.why.contains("IPv4 address only"), "{}", aaaa.why);
    let absent = ask("in-cluster", &format!("rp-9.rp.{DOMAIN}"));
    assert_eq!(query(&absent, "AAAA").rcode, "NXDOMAIN");
}

#[test]
fn point_11_a_services_full_name_pays_three_rounds_without_its_final_dot_and_a_pods_does_not() {
    let bare = DOMAIN.trim_end_matches('.');
    let rounds = |name: &str| {
        let report = ask("in-cluster", name);
        assert!(report.course.resolved, "{name}");
        (report.rounds(), report.queries.len(), report.course.advice.join(" "))
    };
    let (asked, queries, advice) = rounds(&format!("rp.{bare}"));
    assert_eq!((asked, queries), (4, 8));
    assert!(
        advice.contains("3 rounds were in vain") && advice.contains("`rp.demo.svc.cluster.local.`"),
        "{advice}"
    );
    assert_eq!(rounds(&format!("rp.{DOMAIN}")), (1, 2, String::new()));
    assert_eq!(rounds(&format!("rp-0.rp.{bare}")), (1, 2, String::new()));
}

#[test]
fn point_12_coredns_keeps_no_cluster_name_whatever_its_time_to_live_says_and_a_nodes_cache_does() {
    let name = || format!("rp-1.rp.{DOMAIN}");
    on_cluster(&given(), move |cluster, site| async move {
        assert_eq!(time_to_live(site, name()).await, Some(30));
        cluster.delete_pod("demo", "rp-1", Grace::Forced).expect("the pod is there");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(time_to_live(site, name()).await, None);
    });
    let cached = given().cluster(
        "nodes: [{name: node-0, address: 10.0.0.10}, {name: node-1, address: 10.0.0.11}]\nnodeLocalDNS: true\n",
    );
    on_cluster(&cached, move |cluster, site| async move {
        assert_eq!(time_to_live(site, name()).await, Some(30));
        cluster.delete_pod("demo", "rp-1", Grace::Forced).expect("the pod is there");
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(time_to_live(site, name()).await, Some(10));
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(time_to_live(site, name()).await, None);
    });
}

/// The time to live of a name's address as the client is told it; `None` if the name does not exist.
async fn time_to_live(site: ClientSite, name: String) -> Option<u32> {
    let looked_up = host::spawn_on(site.host, async move { lookup_records(&name, &[RecordType::A]).await.1 });
    let trace: Vec<QueryTrace> = looked_up.await.expect("runs");
    match trace.into_iter().next()?.outcome {
        Some(QueryOutcome::Reply { answers, .. }) => answers.first()?.split(' ').nth(1)?.parse().ok(),
        _ => None,
    }
}
