//! Name service in a running cluster: CoreDNS that is away, names for outside clients, a user's Corefile, what pods and
//! applications resolve by themselves.

use std::io::ErrorKind;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use hopwise_engine::host;
use hopwise_fabric::net::resolver::{QueryOutcome, QueryTrace, ResolverKind};
use hopwise_fabric::net::{lookup_explained, lookup_records};
use hopwise_kube::cluster::{ClientSite, Cluster, Place};
use hopwise_kube::store::Grace;
use hopwise_lab::simulate::{Start, simulate};
use hopwise_tests::Given;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: rp-0, namespace: demo, labels: {app: rp}}
spec:
  hostname: rp-0
  subdomain: rp
  containers: [{name: main, image: example/echo, ports: [{containerPort: 9092}]}]
---
apiVersion: v1
kind: Service
metadata:
  name: rp
  namespace: demo
  annotations:
    external-dns.alpha.kubernetes.io/hostname: kafka.example.com
    external-dns.alpha.kubernetes.io/ttl: 1m
    external-dns.alpha.kubernetes.io/endpoints-type: HostIP
spec: {clusterIP: None, selector: {app: rp}, ports: [{name: kafka, port: 9092}]}
";
const NAME: &str = "rp-0.rp.demo.svc.cluster.local.";

fn given() -> Given {
    Given::default().with("manifests.yaml", POD).nodes(2)
}

/// Runs `main` on the settled cluster with a client at `place`.
fn on_cluster<F>(
    given: &Given,
    place: &str,
    main: impl FnOnce(Cluster, ClientSite) -> F + 'static,
) -> F::Output
where
    F: Future + 'static,
    F::Output: 'static,
{
    let place: Place = place.parse().expect("a place");
    let ran = simulate(given.inputs(), Start::default(), move |started| async move {
        let site = started.cluster.place(&place, "client").await.expect("the place is there");
        main(started.cluster, site).await
    });
    ran.unwrap_or_else(|error| panic!("{error}"))
}

/// What a program gets for a name, how long it takes in milliseconds, and the queries.
async fn resolve(site: ClientSite, name: &str) -> (Result<Vec<String>, ErrorKind>, u64, Vec<QueryTrace>) {
    let (name, began) = (name.to_owned(), hopwise_engine::now());
    let looked_up = host::spawn_on(site.host, async move { lookup_explained(&name).await });
    let (result, trace) = looked_up.await.expect("runs");
    let milliseconds = (hopwise_engine::now() - began).as_nanos() / 1_000_000;
    let found = result.map(|found| found.iter().map(ToString::to_string).collect());
    (found.map_err(|error| error.kind()), milliseconds, trace)
}

/// The pods of CoreDNS.
fn core_dns(cluster: &Cluster) -> Vec<String> {
    cluster.api().read(|store| {
        let pods = store.list_in::<Pod>("kube-system");
        pods.filter_map(|pod| pod.metadata.name.clone()).filter(|name| name.starts_with("coredns")).collect()
    })
}

fn scale_core_dns(cluster: &Cluster, replicas: i32) {
    let scaled = cluster.api().write(|store, now| {
        store.patch::<Deployment>("kube-system", "coredns", now, |deployment| {
            deployment.spec.as_mut().expect("a specification").replicas = Some(replicas);
        })
    });
    scaled.expect("CoreDNS is there");
}

#[test]
fn without_a_ready_coredns_a_query_is_refused_at_once_and_musl_waits_all_the_same() {
    on_cluster(&given(), "in-cluster", |cluster, site| async move {
        scale_core_dns(&cluster, 0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(core_dns(&cluster).is_empty());
        let (result, milliseconds, trace) = resolve(site, NAME).await;
        assert_eq!((result, milliseconds), (Err(ErrorKind::Other), 0));
        assert!(trace.iter().all(|query| query.outcome == Some(QueryOutcome::Unreachable)), "{trace:?}");
        site.use_resolver(ResolverKind::Musl);
        let (result, milliseconds, _) = resolve(site, NAME).await;
        assert_eq!((result, milliseconds), (Err(ErrorKind::TimedOut), 5000));
    });
}

#[test]
fn a_coredns_pod_that_vanishes_costs_five_seconds_where_kube_proxy_still_leads_to_it() {
    on_cluster(&given(), "in-cluster", |cluster, site| async move {
        for pod in core_dns(&cluster) {
            cluster.delete_pod("kube-system", &pod, Grace::Forced).expect("the pod is there");
        }
        // The pods are gone; slices and rules are not there yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let (result, milliseconds, trace) = resolve(site, NAME).await;
        assert_eq!(result, Ok(vec![address_of(&cluster, "rp-0")]));
        assert!((5000..5100).contains(&milliseconds), "{milliseconds} ms");
        assert_eq!(trace[0].outcome, Some(QueryOutcome::TimedOut));
    });
}

fn address_of(cluster: &Cluster, pod: &str) -> String {
    let address = cluster
        .api()
        .read(|store| store.get::<Pod>("demo", pod).and_then(|pod| pod.status.as_ref()?.pod_ip.clone()));
    address.expect("the pod has an address")
}

#[test]
fn external_dns_publishes_within_a_minute_with_the_time_to_live_that_is_asked() {
    on_cluster(&given(), "external", |cluster, site| async move {
        let node = |_: &str| {
            let pod = cluster.api().read(|store| store.get::<Pod>("demo", "rp-0").cloned()).expect("the pod");
            pod.status.as_ref().and_then(|status| status.host_ip.clone()).expect("its node's address")
        };
        for name in ["kafka.example.com", "rp-0.kafka.example.com"] {
            let (found, _, trace) = resolve(site, name).await;
            assert_eq!(found, Ok(vec![node(name)]), "{name}");
            let Some(QueryOutcome::Reply { answers, .. }) = &trace[0].outcome else { panic!("{trace:?}") };
            assert_eq!(answers[0], format!("{name}. 60 A {}", node(name)));
        }
        assert_eq!(resolve(site, "rp-1.kafka.example.com").await.0, Err(ErrorKind::NotFound));
        // A pod that goes keeps its name until external-dns looks again.
        cluster.delete_pod("demo", "rp-0", Grace::Forced).expect("the pod is there");
        let gone_after = async {
            let began = hopwise_engine::now();
            while resolve(site, "rp-0.kafka.example.com").await.0.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            (hopwise_engine::now() - began).as_nanos() / 1_000_000_000
        };
        let seconds = gone_after.await;
        assert!((1..=61).contains(&seconds), "{seconds} s");
    });
}

#[test]
fn a_users_corefile_changes_what_is_answered_and_what_is_not_understood_is_told() {
    let config = "
apiVersion: v1
kind: ConfigMap
metadata: {name: coredns, namespace: kube-system}
data:
  Corefile: |
    .:53 {
        rewrite name exact broker.example.com rp-0.rp.demo.svc.cluster.local
        hosts {
            192.0.2.7 legacy.example.com
            fallthrough
        }
        kubernetes cluster.local in-addr.arpa ip6.arpa {
            pods disabled
            ttl 7
        }
        template IN A example.net
        forward . /etc/resolv.conf
    }
";
    on_cluster(&given().with("coredns.yaml", config), "in-cluster", |cluster, site| async move {
        let first = |trace: &[QueryTrace]| match &trace[0].outcome {
            Some(QueryOutcome::Reply { answers, .. }) => answers.first().cloned(),
            _ => None,
        };
        let address = address_of(&cluster, "rp-0");
        assert_eq!(first(&resolve(site, NAME).await.2), Some(format!("{NAME} 7 A {address}")));
        assert_eq!(resolve(site, "broker.example.com.").await.0, Ok(vec![address]));
        assert_eq!(resolve(site, "legacy.example.com.").await.0, Ok(vec!["192.0.2.7".to_owned()]));
        let pod = resolve(site, "10-0-0-1.demo.pod.cluster.local.").await.0;
        assert_eq!(pod, Err(ErrorKind::NotFound));
        let told: Vec<String> = cluster.assumptions().iter().map(|it| format!("{it:?}")).collect();
        assert!(told.iter().any(|it| it.contains("template IN A example.net")), "{told:?}");
    });
}

#[test]
fn java_keeps_an_address_for_thirty_seconds_and_go_asks_again() {
    for (kind, kept) in [(ResolverKind::Jvm, true), (ResolverKind::Go, false)] {
        on_cluster(&given(), "in-cluster", move |cluster, site| async move {
            site.use_resolver(kind);
            let address = address_of(&cluster, "rp-0");
            assert_eq!(resolve(site, NAME).await.0, Ok(vec![address.clone()]), "{kind}");
            cluster.delete_pod("demo", "rp-0", Grace::Forced).expect("the pod is there");
            tokio::time::sleep(Duration::from_secs(29)).await;
            let (found, _, trace) = resolve(site, NAME).await;
            let expected = if kept { Ok(vec![address]) } else { Err(ErrorKind::NotFound) };
            assert_eq!((found, trace.is_empty()), (expected, kept), "{kind}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(resolve(site, NAME).await.0, Err(ErrorKind::NotFound), "{kind}");
        });
    }
}

#[test]
fn pods_resolve_by_their_own_dns_policy_configuration_and_host_aliases() {
    let pods = r#"
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: demo}
spec:
  dnsConfig: {options: [{name: ndots, value: "1"}], searches: [rp.demo.svc.cluster.local]}
  hostAliases: [{ip: 192.0.2.9, hostnames: [old-broker.example.com]}]
  containers: [{name: main, image: example/echo}]
---
apiVersion: v1
kind: Pod
metadata: {name: outsider, namespace: demo}
spec:
  dnsPolicy: Default
  containers: [{name: main, image: example/echo}]
"#;
    let given = given().with("pods.yaml", pods);
    on_cluster(&given, "pod/demo/client", |cluster, site| async move {
        let (found, _, trace) = resolve(site, "old-broker.example.com").await;
        assert_eq!((found, trace.len()), (Ok(vec!["192.0.2.9".to_owned()]), 0));
        let (_, _, trace) = resolve(site, "rp.demo").await;
        assert_eq!(trace[0].name, "rp.demo.", "one dot is enough for ndots 1");
        assert_eq!(resolve(site, "rp-0").await.0, Ok(vec![address_of(&cluster, "rp-0")]));
    });
    on_cluster(&given, "pod/demo/outsider", |_, site| async move {
        assert_eq!(resolve(site, NAME).await.0, Err(ErrorKind::NotFound));
        assert!(resolve(site, "kafka.example.com").await.0.is_ok());
    });
}

#[test]
fn a_long_answer_comes_over_tcp() {
    let pod = |number: u8| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: many-{number}, namespace: demo, labels: {{app: rp}}}}\nspec: \
             {{containers: [{{name: main, image: example/echo}}]}}\n---\n"
        )
    };
    let many: String = (0..40).map(pod).collect();
    on_cluster(&given().with("many.yaml", many), "in-cluster", |_, site| async move {
        let looked_up = host::spawn_on(site.host, async {
            lookup_records("rp.demo.svc.cluster.local.", &[RecordType::A]).await
        });
        let (found, trace) = looked_up.await.expect("runs");
        assert_eq!(found.map(|found| found.len()).ok(), Some(41));
        let cut: Vec<bool> = trace
            .iter()
            .map(|query| matches!(query.outcome, Some(QueryOutcome::Reply { truncated: true, .. })))
            .collect();
        assert_eq!(cut, [true, false], "a cut reply by datagram, then the whole by TCP");
    });
}
