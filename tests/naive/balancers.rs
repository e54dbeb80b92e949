//! Points 15, 16, 19, 20 and 25: load balancers, and what node ports and health checks have to do with them; and the
//! load balancer rows of linux.md 1, each cell of them that a whole cluster can show.
//!
//! The cluster is that of linux.md: pods pa and pb on node-0 and pc on node-1 are endpoints, node-2 has none; pe, on
//! node-2, is a client. A pod answers with its name and the address that it sees.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_engine::host;
use hopwise_fabric::net::TcpStream;
use hopwise_kube::cluster::{Assumption, Cluster, Place};
use hopwise_kube::store::Grace;
use hopwise_lab::simulate::{Start, simulate};
use hopwise_tests::Given;
use k8s_openapi::api::core::v1::{Node, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

const VIP: &str = "192.0.2.100";
const PORT: u16 = 9094;
const NODE_PORT: u16 = 30_094;
/// As in linux.md 7: no answer within 4.3 s is a timeout.
const PATIENCE: Duration = Duration::from_millis(4_300);
/// Enough connections for each of three targets to be met.
const TRIES: usize = 18;

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Came {
    /// This pod answered, and saw this source.
    Answer {
        pod: String,
        source: String,
    },
    Refused,
    Timeout,
    /// The connection stood, and was reset before an answer.
    AcceptedThenReset,
    Other(String),
}

fn cluster_file(extra: &str) -> String {
    let nodes = ["a", "b", "c"].iter().enumerate().map(|(index, zone)| {
        format!(
            "  - {{name: node-{index}, address: 10.0.0.1{index}, zone: zone-{zone}, podCIDR: 10.244.{index}.0/24}}\n"
        )
    });
    format!("nodes:\n{}{extra}", nodes.collect::<String>())
}

fn pod(name: &str, node: u32, app: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: web, labels: {{app: {app}, pod: {name}}}}}\n\
         spec:\n  nodeSelector: {{kubernetes.io/hostname: node-{node}}}\n  containers:\n    \
         - {{name: echo, image: example.com/echo, ports: [{{containerPort: {PORT}}}]}}\n---\n"
    )
}

/// A Service `web/lb` with these fields beside its type and port.
fn given(spec: &str, extra: &str) -> Given {
    let pods = [("pa", 0, "web"), ("pb", 0, "web"), ("pc", 1, "web"), ("pe", 2, "client")];
    let pods: String = pods.iter().map(|(name, node, app)| pod(name, *node, app)).collect();
    let target = if spec.contains("targetPort") { "" } else { ", targetPort: 9094" };
    let spec = spec.replace("targetPort: ", "wrongPort: ");
    let (wrong, spec) = match spec.split_once("wrongPort: ") {
        Some((before, after)) => (format!(", targetPort: {}", &after[..4]), before.to_owned() + &after[4..]),
        None => (String::new(), spec),
    };
    let selector = if spec.contains("selector") { "" } else { "  selector: {app: web}\n" };
    let node_port = if spec.contains("allocateLoadBalancerNodePorts") {
        String::new()
    } else {
        format!(", nodePort: {NODE_PORT}")
    };
    let service = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: lb, namespace: web}}\nspec:\n  type: LoadBalancer\n{selector}  \
         {spec}\n  ports: [{{name: kafka, port: {PORT}{node_port}{target}{wrong}}}]\n"
    );
    let given = Given::default().with("web.yaml", format!("{pods}{service}"));
    given.cluster(cluster_file(extra))
}

/// A load balancer of this kind before `web/lb`.
fn declared(fields: &str) -> String {
    format!("loadBalancers:\n  - {{service: web/lb, address: {VIP}, {fields}}}\n")
}

/// Runs `main` on the settled cluster.
fn on<F, R>(given: &Given, main: impl FnOnce(Cluster) -> F + 'static) -> R
where
    F: Future<Output = R> + 'static,
    R: 'static,
{
    let start = Start::default();
    simulate(given.inputs(), start, |started| main(started.cluster)).unwrap_or_else(|error| panic!("{error}"))
}

fn to(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

async fn connect(target: SocketAddr) -> Result<(TcpStream, String, String), Came> {
    let stream = match timeout(PATIENCE, TcpStream::connect(target)).await {
        Err(_) => return Err(Came::Timeout),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Err(Came::Refused),
        Ok(Err(error)) => return Err(Came::Other(error.to_string())),
        Ok(Ok(stream)) => stream,
    };
    let mut stream = stream;
    let mut buffer = [0; 256];
    // A proxy waits for its own target first.
    match timeout(2 * PATIENCE, stream.read(&mut buffer)).await {
        Err(_) => Err(Came::Timeout),
        Ok(Err(_) | Ok(0)) => Err(Came::AcceptedThenReset),
        Ok(Ok(length)) => {
            let greeting = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let (pod, source) = greeting.trim().split_once(" sees ").expect("a greeting");
            let source = source.parse::<SocketAddr>().expect("a socket address").ip().to_string();
            Ok((stream, pod.trim_start_matches("web/").to_owned(), source))
        }
    }
}

/// What comes of so many connections from `place`, one after the other.
async fn dial(cluster: &Cluster, place: &str, target: SocketAddr, tries: usize) -> Vec<Came> {
    let place: Place = place.parse().unwrap_or_else(|error| panic!("{error}"));
    let site = cluster.place(&place, "dialler").await.unwrap_or_else(|error| panic!("{error}"));
    let dialling = host::spawn_on(site.host, async move {
        let mut came = Vec::new();
        for _ in 0..tries {
            came.push(match connect(target).await {
                Ok((_, pod, source)) => Came::Answer { pod, source },
                Err(other) => other,
            });
        }
        came
    });
    dialling.await.expect("the client runs")
}

/// A connection from outside that stays open.
async fn open(cluster: &Cluster, target: SocketAddr) -> (TcpStream, String) {
    let site = cluster.place(&Place::External(None), "keeper").await.expect("a place");
    let (stream, pod, _) =
        host::spawn_on(site.host, connect(target)).await.expect("the client runs").expect("an answer");
    (stream, pod)
}

/// Whether the echo still answers; the error's kind if not, `None` if there is silence.
async fn echoes(stream: &mut TcpStream) -> Option<Result<(), std::io::ErrorKind>> {
    let mut buffer = [0; 16];
    let exchange = async {
        stream.write_all(b"still there").await?;
        match stream.read(&mut buffer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    };
    timeout(Duration::from_secs(20), exchange)
        .await
        .ok()
        .map(|done| done.map_err(|error: std::io::Error| error.kind()))
}

fn pods(came: &[Came]) -> BTreeSet<&str> {
    let pods = came.iter().filter_map(|came| match came {
        Came::Answer { pod, .. } => Some(pod.as_str()),
        _ => None,
    });
    pods.collect()
}

fn sources(came: &[Came]) -> BTreeSet<&str> {
    let sources = came.iter().filter_map(|came| match came {
        Came::Answer { source, .. } => Some(source.as_str()),
        _ => None,
    });
    sources.collect()
}

fn others(came: &[Came]) -> BTreeSet<Came> {
    came.iter().filter(|came| !matches!(came, Came::Answer { .. })).cloned().collect()
}

const ALL: [&str; 3] = ["pa", "pb", "pc"];
/// The addresses of nodes and of their bridges.
fn is_node(source: &str) -> bool {
    source.starts_with("10.0.0.1") || (source.starts_with("10.244.") && source.ends_with(".1"))
}

fn is_client(source: &str) -> bool {
    source.starts_with("198.51.100.")
}

/// The rows of linux.md 1 for one kind of load balancer: the fields of its declaration, the source that pods see with
/// policy Local, and what comes of a connection that is dropped and of one that is refused behind it.
struct Row {
    fields: &'static str,
    local_source: fn(&str) -> bool,
    dropped: Came,
    refused: Came,
}

fn rows() -> Vec<Row> {
    let is_balancer: fn(&str) -> bool = |source| source == VIP;
    let row = |fields, local_source, dropped, refused| Row { fields, local_source, dropped, refused };
    vec![
        row("kind: nat, source: rewritten", is_balancer, Came::Timeout, Came::Refused),
        row("kind: nat, source: kept", is_client, Came::Timeout, Came::Refused),
        row("kind: proxy", is_balancer, Came::AcceptedThenReset, Came::AcceptedThenReset),
        row("kind: dsr", is_client, Came::Timeout, Came::Refused),
        row("kind: bgp", is_client, Came::Timeout, Came::Refused),
    ]
}

/// Declared with a check that every node passes.
fn careless(fields: &str) -> String {
    declared(&format!("{fields}, healthCheck: {{port: kube-proxy, intervalS: 5, timeoutS: 5}}"))
}

async fn from_outside(cluster: Cluster) -> Vec<Came> {
    dial(&cluster, "external", to(VIP, PORT), TRIES).await
}

#[test]
fn with_policy_cluster_every_pod_answers_and_sees_a_node() {
    for row in rows() {
        let came = on(&given("externalTrafficPolicy: Cluster", &careless(row.fields)), from_outside);
        assert_eq!(pods(&came), ALL.into(), "{}: {came:?}", row.fields);
        assert!(sources(&came).into_iter().all(is_node), "{}: {came:?}", row.fields);
        assert_eq!(others(&came), BTreeSet::new(), "{}", row.fields);
    }
}

#[test]
fn with_policy_local_and_health_checks_nothing_is_lost_and_the_source_is_the_kind_s() {
    for row in rows() {
        let came = on(&given("externalTrafficPolicy: Local", &declared(row.fields)), from_outside);
        if row.fields.contains("bgp") {
            // Only nodes with an endpoint announce, which takes no check of the Service.
            assert_eq!(others(&came), BTreeSet::new());
        }
        assert_eq!(pods(&came), ALL.into(), "{}: {came:?}", row.fields);
        assert!(sources(&came).into_iter().all(row.local_source), "{}: {came:?}", row.fields);
        assert_eq!(others(&came), BTreeSet::new(), "{}", row.fields);
    }
}

#[test]
fn with_policy_local_and_health_checks_that_know_nothing_connections_are_lost() {
    for row in rows().into_iter().filter(|row| !row.fields.contains("bgp")) {
        let came = on(&given("externalTrafficPolicy: Local", &careless(row.fields)), from_outside);
        assert!(!pods(&came).is_empty(), "{}: {came:?}", row.fields);
        assert!(sources(&came).into_iter().all(row.local_source), "{}: {came:?}", row.fields);
        assert_eq!(others(&came), BTreeSet::from([row.dropped]), "{}: {came:?}", row.fields);
    }
}

#[test]
fn without_endpoints_and_with_a_wrong_target_port_the_client_is_refused_or_accepted_and_reset() {
    for row in rows() {
        for spec in ["selector: {app: nobody}", "targetPort: 9999"] {
            let spec = format!("{spec}\n  externalTrafficPolicy: Cluster");
            let came = on(&given(&spec, &careless(row.fields)), |cluster| async move {
                dial(&cluster, "external", to(VIP, PORT), 4).await
            });
            let expected = if row.fields.contains("bgp") && spec.contains("nobody") {
                Came::Timeout
            } else {
                row.refused.clone()
            };
            assert_eq!(came, vec![expected; 4], "{} {spec}", row.fields);
        }
    }
}

#[test]
fn pods_as_targets_see_the_balancer_or_the_client() {
    for (fields, sees) in
        [("source: rewritten", (|source| source == VIP) as fn(&str) -> bool), ("source: kept", is_client)]
    {
        let fields = format!("kind: nat, delivery: pod, {fields}");
        let came = on(&given("externalTrafficPolicy: Cluster", &declared(&fields)), from_outside);
        assert_eq!(pods(&came), ALL.into(), "{came:?}");
        assert!(sources(&came).into_iter().all(sees), "{came:?}");
    }
}

/// What comes of connections to the address from inside: from pod pe, and from node-0.
fn from_inside(fields: &'static str, policy: &'static str, tries: usize) -> [Vec<Came>; 2] {
    let given = given(&format!("externalTrafficPolicy: {policy}"), &careless(fields));
    on(&given, move |cluster| async move {
        let pod = dial(&cluster, "pod/web/pe", to(VIP, PORT), tries).await;
        [pod, dial(&cluster, "node/node-0", to(VIP, PORT), tries).await]
    })
}

#[test]
fn with_ip_mode_vip_clients_inside_never_leave_the_cluster() {
    for policy in ["Cluster", "Local"] {
        let [pod, node] = from_inside("kind: nat, source: kept, ipMode: VIP", policy, TRIES);
        for came in [&pod, &node] {
            assert_eq!((pods(came), others(came)), (ALL.into(), BTreeSet::new()), "{policy}: {came:?}");
        }
        let is_pod = |source: &str| source.starts_with("10.244.2.") && !source.ends_with(".1");
        assert!(
            sources(&pod).into_iter().all(|it| if policy == "Local" { is_pod(it) } else { is_node(it) }),
            "{pod:?}"
        );
        assert!(sources(&node).into_iter().all(is_node), "{node:?}");
    }
}

#[test]
fn point_20_with_ip_mode_proxy_clients_inside_really_go_through_the_balancer() {
    // The balancer's address is what pods see with policy Local, so the packets have been there.
    let [pod, node] = from_inside("kind: proxy, ipMode: Proxy", "Cluster", TRIES);
    for came in [&pod, &node] {
        assert_eq!(pods(came), ALL.into(), "{came:?}");
        assert!(sources(came).into_iter().all(is_node), "{came:?}");
    }
    let given =
        given("externalTrafficPolicy: Local", &declared("kind: nat, source: rewritten, ipMode: Proxy"));
    let came = on(&given, |cluster| async move { dial(&cluster, "pod/web/pe", to(VIP, PORT), TRIES).await });
    assert_eq!((pods(&came), sources(&came)), (ALL.into(), [VIP].into()), "{came:?}");
    // One that keeps the source gets no answer back: the nodes answer the client's node directly.
    for came in from_inside("kind: nat, source: kept, ipMode: Proxy", "Cluster", 3) {
        assert_eq!(came, vec![Came::Timeout; 3]);
    }
}

#[test]
fn a_cloud_s_network_returns_answers_except_to_the_node_that_was_chosen() {
    let extra = format!(
        "overrides: {{loadBalancer.networkReturns: true}}\n{}",
        careless("kind: nat, source: kept, ipMode: Proxy")
    );
    let came = on(&given("externalTrafficPolicy: Cluster", &extra), |cluster| async move {
        dial(&cluster, "pod/web/pe", to(VIP, PORT), TRIES).await
    });
    assert_eq!(pods(&came), ALL.into(), "{came:?}");
    assert_eq!(others(&came), BTreeSet::from([Came::Timeout]), "hairpin at the client's own node: {came:?}");
}

#[test]
fn point_15_behind_a_node_port_with_policy_cluster_the_pod_sees_a_node() {
    let came = on(&given("externalTrafficPolicy: Cluster", ""), |cluster| async move {
        dial(&cluster, "external", to("10.0.0.12", NODE_PORT), TRIES).await
    });
    assert_eq!((pods(&came), sources(&came)), (ALL.into(), ["10.0.0.12"].into()), "{came:?}");
    let came = on(&given("externalTrafficPolicy: Local", ""), |cluster| async move {
        dial(&cluster, "external", to("10.0.0.10", NODE_PORT), TRIES).await
    });
    assert_eq!(pods(&came), ["pa", "pb"].into());
    assert!(sources(&came).into_iter().all(is_client), "{came:?}");
}

#[test]
fn point_16_a_pod_that_reaches_itself_through_a_service_sees_its_node() {
    let spec = "selector: {pod: pa}\n  externalTrafficPolicy: Cluster";
    let came = on(&given(spec, ""), |cluster| async move {
        let address = cluster.api().read(|store| {
            let service = store.get::<Service>("web", "lb").expect("the Service");
            service.spec.as_ref().and_then(|spec| spec.cluster_ip.clone()).expect("a cluster IP")
        });
        dial(&cluster, "pod/web/pa", to(&address, PORT), 3).await
    });
    assert_eq!((pods(&came), sources(&came)), (["pa"].into(), ["10.244.0.1"].into()), "{came:?}");
}

#[test]
fn point_19_the_health_check_says_503_while_a_terminating_pod_still_answers() {
    let spec = "selector: {pod: pc}\n  externalTrafficPolicy: Local";
    on(&given(spec, &declared("kind: nat")), |cluster| async move {
        let port = cluster.api().read(|store| {
            let service = store.get::<Service>("web", "lb").expect("the Service");
            service.spec.as_ref().and_then(|spec| spec.health_check_node_port).expect("a health check port")
        });
        let check = to("10.0.0.11", u16::try_from(port).expect("a port"));
        assert_eq!(status(&cluster, check).await, "200");
        cluster.delete_pod("web", "pc", Grace::AsDeclared).expect("the pod is there");
        sleep(Duration::from_millis(500)).await;
        assert_eq!(status(&cluster, check).await, "503");
        let came = dial(&cluster, "external", to(VIP, PORT), 1).await;
        assert_eq!(
            pods(&came),
            ["pc"].into(),
            "the balancer has not noticed, the node still serves it: {came:?}"
        );
        sleep(Duration::from_secs(40)).await;
        assert_eq!(dial(&cluster, "external", to(VIP, PORT), 1).await, [Came::Timeout]);
    });
}

/// The status of a health check port.
async fn status(cluster: &Cluster, address: SocketAddr) -> String {
    let site = cluster.place(&Place::External(None), "checker").await.expect("a place");
    let asking = host::spawn_on(site.host, async move {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = "GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("").to_owned()
    });
    asking.await.expect("the client runs")
}

#[test]
fn point_25_clients_behind_one_address_stick_together() {
    let reached = |fields: &'static str| {
        let spec = "externalTrafficPolicy: Local\n  sessionAffinity: ClientIP";
        let came = on(&given(spec, &declared(fields)), |cluster| async move {
            exclude(&cluster, "node-1");
            sleep(Duration::from_secs(1)).await;
            let mut came = Vec::new();
            for client in 1..=12 {
                came.extend(dial(&cluster, &format!("external=203.0.113.{client}"), to(VIP, PORT), 2).await);
            }
            came
        });
        let pairs_agree = came.chunks(2).all(|pair| pods(pair).len() == 1);
        assert!(pairs_agree, "each client stays with its pod: {came:?}");
        pods(&came).len()
    };
    assert_eq!(reached("kind: nat, source: rewritten"), 1, "all clients have the balancer's address");
    assert_eq!(reached("kind: nat, source: kept"), 2, "twelve addresses, two pods");
}

fn exclude(cluster: &Cluster, node: &str) {
    cluster.api().write(|store, now| {
        let label = ("node.kubernetes.io/exclude-from-external-load-balancers".to_owned(), String::new());
        let change =
            |node: &mut Node| drop(node.metadata.labels.get_or_insert_default().insert(label.0, label.1));
        store.patch::<Node>("", node, now, change).expect("the node is there");
    });
}

#[test]
fn a_node_that_leaves_the_pool_keeps_its_flows_for_the_deregistration_delay() {
    for (terminates, ending) in
        [(false, Some(Ok(()))), (true, Some(Err(std::io::ErrorKind::ConnectionReset)))]
    {
        let fields =
            format!("kind: nat, idleEnd: reset, deregistrationDelayS: 30, terminatesFlows: {terminates}");
        on(&given("externalTrafficPolicy: Local", &declared(&fields)), move |cluster| async move {
            let (mut stream, pod) = open(&cluster, to(VIP, PORT)).await;
            let (node, rest) =
                if pod == "pc" { ("node-1", vec!["pa", "pb"]) } else { ("node-0", vec!["pc"]) };
            exclude(&cluster, node);
            sleep(Duration::from_secs(1)).await;
            let came = dial(&cluster, "external", to(VIP, PORT), TRIES).await;
            assert_eq!(pods(&came), rest.into_iter().collect(), "new connections go elsewhere at once");
            assert_eq!(echoes(&mut stream).await, Some(Ok(())), "the old one goes on");
            sleep(Duration::from_secs(40)).await;
            assert_eq!(echoes(&mut stream).await, ending, "terminates: {terminates}");
        });
    }
}

#[test]
fn an_idle_flow_ends_in_silence_or_with_a_reset_or_not_at_all() {
    for (end, expected) in
        [("drop", None), ("reset", Some(Err(std::io::ErrorKind::ConnectionReset))), ("place", Some(Ok(())))]
    {
        for kind in ["nat", "dsr"].into_iter().filter(|kind| !(*kind == "nat" && end == "place")) {
            let fields = format!("kind: {kind}, idleTimeoutS: 10, idleEnd: {end}");
            on(&given("externalTrafficPolicy: Local", &declared(&fields)), move |cluster| async move {
                let (mut stream, _) = open(&cluster, to(VIP, PORT)).await;
                sleep(Duration::from_secs(5)).await;
                assert_eq!(echoes(&mut stream).await, Some(Ok(())), "{kind} {end}: not idle for long enough");
                sleep(Duration::from_secs(11)).await;
                assert_eq!(echoes(&mut stream).await, expected, "{kind} {end}");
            });
        }
    }
}

#[test]
fn in_layer_2_one_node_has_the_address_and_another_one_takes_over() {
    let given = given("externalTrafficPolicy: Local", &declared("kind: l2"));
    on(&given, |cluster| async move {
        let first = dial(&cluster, "external", to(VIP, PORT), 8).await;
        assert!(sources(&first).into_iter().all(is_client), "{first:?}");
        let (node, other) =
            if pods(&first) == ["pc"].into() { ("node-1", vec!["pa", "pb"]) } else { ("node-0", vec!["pc"]) };
        assert_eq!(
            pods(&first).is_subset(&["pa", "pb"].into()),
            node == "node-0",
            "one node's pods: {first:?}"
        );
        exclude(&cluster, node);
        sleep(Duration::from_secs(1)).await;
        let second = dial(&cluster, "external", to(VIP, PORT), 16).await;
        assert_eq!((pods(&second), others(&second)), (other.into_iter().collect(), BTreeSet::new()));
        let inside = dial(&cluster, "pod/web/pe", to(VIP, PORT), TRIES).await;
        assert_eq!(pods(&inside), ALL.into(), "kube-proxy takes it on the client's own node");
    });
}

#[test]
fn in_layer_2_a_lost_node_is_replaced_within_seconds_and_not_at_once() {
    let given = given("externalTrafficPolicy: Local", &declared("kind: l2"));
    on(&given, |cluster| async move {
        let first = dial(&cluster, "external", to(VIP, PORT), 1).await;
        let (node, other) =
            if pods(&first) == ["pc"].into() { ("node-1", vec!["pa", "pb"]) } else { ("node-0", vec!["pc"]) };
        cluster.cut_node_from_network(node).expect("the node is there");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(dial(&cluster, "external", to(VIP, PORT), 1).await, [Came::Timeout], "nobody has noticed");
        sleep(Duration::from_secs(5)).await;
        let came = dial(&cluster, "external", to(VIP, PORT), 16).await;
        assert_eq!((pods(&came), others(&came)), (other.into_iter().collect(), BTreeSet::new()), "{came:?}");
    });
}

#[test]
fn without_node_ports_only_some_load_balancers_work_and_the_others_say_why() {
    let spec = "allocateLoadBalancerNodePorts: false\n  externalTrafficPolicy: Cluster";
    for (fields, works) in [
        ("kind: nat", false),
        ("kind: proxy", false),
        ("kind: dsr", false),
        ("kind: dsr, healthCheck: {port: kube-proxy}", true),
        ("kind: l2", true),
        ("kind: bgp", true),
        ("kind: nat, delivery: pod", true),
    ] {
        on(&given(spec, &declared(fields)), move |cluster| async move {
            let problem = cluster.load_balancer_problems().remove("web/lb");
            assert_eq!(problem.is_none(), works, "{fields}: {problem:?}");
            if works {
                let came = dial(&cluster, "external", to(VIP, PORT), TRIES).await;
                assert_eq!(pods(&came), ALL.into(), "{fields}: {came:?}");
            } else {
                assert!(problem.is_some_and(|why| why.contains("port 9094 has no node port")), "{fields}");
                assert_eq!(cluster.load_balancer_addresses("web", "lb"), [] as [IpAddr; 0]);
            }
        });
    }
}

#[test]
fn without_cross_zone_each_zone_s_address_leads_to_its_own_zone() {
    let annotation = "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled";
    let unknown = "service.beta.kubernetes.io/aws-load-balancer-quantum";
    let with = |cross_zone: bool| {
        let metadata = format!(
            "metadata: {{name: lb, namespace: web, annotations: {{{annotation}: \"{cross_zone}\", {unknown}: x}}}}"
        );
        given("externalTrafficPolicy: Local", "")
            .edit("metadata: {name: lb, namespace: web}", &metadata)
            .profile("aws")
    };
    for (cross_zone, zones) in [(false, vec![vec!["pa", "pb"], vec!["pc"]]), (true, vec![ALL.to_vec(); 3])] {
        on(&with(cross_zone), move |cluster| async move {
            let addresses = cluster.load_balancer_addresses("web", "lb");
            assert_eq!(
                addresses.len(),
                zones.len(),
                "a zone without a healthy target leaves the name: {addresses:?}"
            );
            assert_eq!(cluster.resolve_outside("lb-web.elb.hopwise.example"), addresses);
            for (address, expected) in addresses.into_iter().zip(zones) {
                let came = dial(&cluster, "external", SocketAddr::new(address, PORT), TRIES).await;
                assert_eq!(pods(&came), expected.into_iter().collect(), "{address}: {came:?}");
                assert!(sources(&came).into_iter().all(is_client), "{came:?}");
            }
            let ignored = cluster.assumptions().into_iter().filter_map(|assumption| match assumption {
                Assumption::BalancerIgnores { annotation, .. } => Some(annotation),
                _ => None,
            });
            assert_eq!(ignored.collect::<Vec<_>>(), [format!("{unknown}: x")]);
        });
    }
}

#[test]
fn an_internal_load_balancer_is_not_reached_from_outside() {
    let annotations =
        "metadata: {name: lb, namespace: web, annotations: {networking.gke.io/load-balancer-type: Internal}}";
    let given = given("externalTrafficPolicy: Cluster", "");
    let given = given.edit("metadata: {name: lb, namespace: web}", annotations).profile("gcp");
    on(&given, |cluster| async move {
        let address = SocketAddr::new(cluster.load_balancer_addresses("web", "lb")[0], PORT);
        let outside = dial(&cluster, "external", address, 1).await;
        assert!(matches!(outside[0], Came::Other(_)), "no route leads there: {outside:?}");
        let inside = dial(&cluster, "pod/web/pe", address, TRIES).await;
        assert_eq!(pods(&inside), ALL.into(), "{inside:?}");
    });
}
