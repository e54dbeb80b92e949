//! What happens to open connections: rules that change, pods that go, packets that vanish, conntrack entries that are
//! deleted. Each test is named after its row in linux.md 4, "Established connections".

mod network;

use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use hopwise_engine::log::Keep;
use hopwise_engine::{Simulation, host};
use hopwise_fabric::nat::rules::Choice;
use hopwise_fabric::net::{TcpListener, TcpStream, connect_traced};
use hopwise_fabric::{FabricWorld, NodeConfig, uninstall};
use network::cluster::{CLUSTER_IP, Cluster, NODE_PORT, NODE_PORT_LOCAL, cluster, pod_address};
use network::{address, echo, now_ns};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

/// So long the measurements waited for an answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs `test` in the cluster, with echo servers in q1 and r1 which are both endpoints if `endpoints` says so.
fn run<F>(
    endpoints: &'static [&'static str],
    change: fn(&mut NodeConfig),
    test: impl FnOnce(Cluster) -> F + 'static,
) where
    F: Future<Output = ()> + 'static,
{
    let run = Simulation::new(1).keep(Keep::Everything).run(FabricWorld, move || async move {
        let cluster = cluster(change);
        cluster.serve(endpoints, Choice::Random);
        host::spawn_on(cluster.hosts["q1"], echo("10.244.1.10:8080"));
        host::spawn_on(cluster.hosts["r1"], echo("10.244.1.11:8080"));
        sleep(Duration::from_millis(1)).await;
        test(cluster).await;
    });
    uninstall();
    run.expect("ends");
}

fn as_it_is(_: &mut NodeConfig) {}

/// A connection over which a few bytes have gone both ways.
async fn open(cluster: &Cluster, from: &str, to: &'static str) -> TcpStream {
    let connecting = host::spawn_on(cluster.hosts[from], connect_traced(address(to)));
    let mut stream = connecting.await.expect("runs").expect("connects");
    assert_eq!(try_echo(&mut stream).await, Echo::Works);
    stream
}

/// What became of a few bytes that were sent.
#[derive(Debug, PartialEq, Eq)]
enum Echo {
    Works,
    Fails(ErrorKind),
    /// No answer in 3 s.
    Silence,
}

async fn try_echo(stream: &mut TcpStream) -> Echo {
    if let Err(error) = stream.write_all(b"ping").await {
        return Echo::Fails(error.kind());
    }
    match timeout(PATIENCE, stream.read_exact(&mut [0; 4])).await {
        Err(_) => Echo::Silence,
        Ok(Ok(_)) => Echo::Works,
        Ok(Err(error)) => Echo::Fails(error.kind()),
    }
}

/// How a new connection fares.
async fn connect(cluster: &Cluster, from: &str, to: &'static str) -> Result<TcpStream, ErrorKind> {
    let connecting = host::spawn_on(cluster.hosts[from], timeout(PATIENCE, connect_traced(address(to))));
    match connecting.await.expect("runs") {
        Ok(connected) => connected.map_err(|error| error.error.kind()),
        Err(_) => Err(ErrorKind::TimedOut),
    }
}

fn reached(stream: &TcpStream) -> String {
    stream.route().and_then(|route| route.reached().map(|name| name.to_string())).expect("a pod was reached")
}

/// When stacks sent packets since `start_ns`, in ms after it.
fn sent_since(start_ns: u64) -> Vec<u64> {
    hopwise_engine::with_log(|log| {
        let sent = log.records().iter().filter(|record| record.kind.name == "packet.sent");
        let after = sent.filter_map(|record| record.at.as_nanos().checked_sub(start_ns));
        after.map(|after_ns| after_ns / 1_000_000).collect()
    })
}

/// The measured times, to within the phase of the kernel's ticks.
fn assert_close(times_ms: &[u64], measured_ms: &[u64]) {
    let close = |(time, measured): (&u64, &u64)| time.abs_diff(*measured) <= measured / 20 + 20;
    let all = times_ms.len() == measured_ms.len() && times_ms.iter().zip(measured_ms).all(close);
    assert!(all, "{times_ms:?} are not {measured_ms:?}");
}

#[test]
fn row_1_the_endpoints_rule_is_replaced_by_a_reject() {
    run(&["q1"], as_it_is, |cluster| async move {
        let ways = [("pe", CLUSTER_IP), ("cl", NODE_PORT[1]), ("cl", NODE_PORT_LOCAL)];
        let mut streams = Vec::new();
        for (from, to) in ways {
            streams.push(open(&cluster, from, to).await);
        }
        cluster.serve(&[], Choice::Random);
        for stream in &mut streams {
            assert_eq!(try_echo(stream).await, Echo::Works);
        }
        for (from, to) in ways {
            assert_eq!(connect(&cluster, from, to).await.err(), Some(ErrorKind::ConnectionRefused));
        }
    });
}

#[test]
fn row_1b_an_endpoint_is_replaced() {
    run(&["q1"], as_it_is, |cluster| async move {
        let mut established = open(&cluster, "pe", CLUSTER_IP).await;
        cluster.serve(&["r1"], Choice::Random);
        assert_eq!(try_echo(&mut established).await, Echo::Works);
        assert_eq!(reached(&established), "q1");
        assert_eq!(reached(&open(&cluster, "pe", CLUSTER_IP).await), "r1");
    });
}

#[test]
fn row_2a_the_process_is_killed_behind_a_service() {
    run(&["q1"], as_it_is, |cluster| async move {
        let mut stream = open(&cluster, "pe", CLUSTER_IP).await;
        hopwise_fabric::with(|fabric| fabric.kill_host(cluster.hosts["q1"]));
        assert_eq!(stream.read(&mut [0; 4]).await.expect("end of file at once"), 0);
        stream.write_all(b"a").await.expect("the first write is answered by RST");
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stream.write(b"b").await.expect_err("over").kind(), ErrorKind::BrokenPipe);
        assert_eq!(connect(&cluster, "pe", CLUSTER_IP).await.err(), Some(ErrorKind::ConnectionRefused));
    });
}

#[test]
fn row_2c_the_link_is_deleted_first() {
    run(&["q1"], as_it_is, |cluster| async move {
        let mut stream = open(&cluster, "pe", CLUSTER_IP).await;
        // The last acknowledgment is on its way.
        sleep(Duration::from_secs(1)).await;
        cluster.delete_link("q1");
        let idle = timeout(Duration::from_secs(31), stream.read(&mut [0; 4])).await;
        assert!(idle.is_err(), "an idle client hears nothing: {idle:?}");
        // The neighbour table notices after a minute: the rest happens in that time.
        let start_ns = now_ns();
        stream.write_all(b"hello").await.expect("goes out");
        let heard = timeout(Duration::from_secs(28), stream.read(&mut [0; 4])).await;
        assert!(heard.is_err(), "the client hears nothing: {heard:?}");
        assert_close(&sent_since(start_ns), &[0, 210, 420, 830, 1_660, 3_330, 6_720, 13_370, 26_690]);
    });
}

#[test]
fn row_2d_the_link_is_deleted_and_the_neighbour_entry_forgotten() {
    run(&["q1"], as_it_is, |cluster| async move {
        let mut stream = open(&cluster, "pe", CLUSTER_IP).await;
        sleep(Duration::from_secs(1)).await;
        cluster.delete_link("q1");
        cluster.node("n1", |node| node.forget_neighbour(pod_address("q1").ip()));
        let start_ns = now_ns();
        stream.write_all(b"hello").await.expect("goes out");
        let heard = timeout(Duration::from_secs(31), stream.read(&mut [0; 4])).await;
        assert!(heard.is_err(), "an established connection only notes the ICMP errors: {heard:?}");
        let sent = sent_since(start_ns);
        assert_close(&sent[..5], &[0, 210, 420, 850, 1_680]);
        // Each error takes one doubling back (RFC 6069): segments keep coming every few hundred milliseconds.
        let until = |ms: u64| sent.iter().filter(|at| **at < ms).count();
        assert!(until(31_000) > 20, "{sent:?}");
    });
}

#[test]
fn rows_3a_and_3b_packets_of_one_direction_vanish() {
    for towards in [false, true] {
        run(&["q1"], as_it_is, move |cluster| async move {
            let mut stream = open(&cluster, "pe", CLUSTER_IP).await;
            sleep(Duration::from_secs(1)).await;
            // What the client sends, or what the server sends to it.
            cluster.cut("pe", towards, true);
            let start_ns = now_ns();
            stream.write_all(b"ping").await.expect("goes out");
            let waited = timeout(Duration::from_secs(29), stream.read_exact(&mut [0; 4])).await;
            assert!(waited.is_err());
            cluster.cut("pe", towards, false);
            stream.read_exact(&mut [0; 4]).await.expect("the answer comes in the end");
            let answered_ms = (now_ns() - start_ns) / 1_000_000;
            assert!((52_000..56_000).contains(&answered_ms), "towards: {towards}, {answered_ms} ms");
            if !towards {
                let sent: Vec<u64> = sent_since(start_ns).into_iter().filter(|at| *at < 29_000).collect();
                assert_close(&sent, &[0, 200, 420, 840, 1_670, 3_330, 6_760, 13_410, 26_720]);
            }
        });
    }
}

/// What is left of a connection from `from` to `to` when its entry on `node` is deleted, several times.
async fn after_deletion(
    cluster: &Cluster,
    (from, to): (&str, &'static str),
    node: &str,
    times: usize,
) -> Vec<Echo> {
    let mut outcomes = Vec::new();
    for _ in 0..times {
        let mut stream = open(cluster, from, to).await;
        let client = stream.local_addr().expect("an address");
        let deleted = cluster.delete_flows(node, |flow| flow.original.source == client);
        assert_eq!(deleted, 1);
        outcomes.push(try_echo(&mut stream).await);
    }
    outcomes
}

fn all_work(outcomes: &[Echo]) -> bool {
    outcomes.iter().all(|outcome| *outcome == Echo::Works)
}

#[test]
fn row_4_conntrack_entry_deleted_cluster_ip_one_endpoint() {
    run(&["q1"], as_it_is, |cluster| async move {
        assert!(all_work(&after_deletion(&cluster, ("pe", CLUSTER_IP), "n3", 5).await));
        // On the pod's node, where no address is rewritten.
        assert!(all_work(&after_deletion(&cluster, ("pe", CLUSTER_IP), "n1", 5).await));
    });
}

#[test]
fn row_4_cluster_ip_two_endpoints() {
    run(&["q1", "r1"], as_it_is, |cluster| async move {
        let outcomes = after_deletion(&cluster, ("pe", CLUSTER_IP), "n3", 24).await;
        let count = |wanted: Echo| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        let (works, reset) = (count(Echo::Works), count(Echo::Fails(ErrorKind::ConnectionReset)));
        // Linux: 15 and 9. The endpoint is drawn anew.
        assert!(works + reset == 24 && works >= 6 && reset >= 6, "{outcomes:?}");
    });
}

#[test]
fn row_4_node_port_local() {
    run(&["q1"], as_it_is, |cluster| async move {
        assert!(all_work(&after_deletion(&cluster, ("cl", NODE_PORT_LOCAL), "n1", 5).await));
    });
}

#[test]
fn row_4_node_port_cluster_with_a_drawn_source_port() {
    run(&["q1"], as_it_is, |cluster| async move {
        let outcomes = after_deletion(&cluster, ("cl", NODE_PORT[1]), "n3", 8).await;
        let reset = Echo::Fails(ErrorKind::ConnectionReset);
        assert!(outcomes.iter().all(|outcome| *outcome == reset), "{outcomes:?}");
    });
}

#[test]
fn row_4_node_port_cluster_keeping_the_source_port() {
    run(
        &["q1"],
        |config| config.masquerade_random_port = false,
        |cluster| async move {
            assert!(all_work(&after_deletion(&cluster, ("cl", NODE_PORT[1]), "n3", 8).await));
        },
    );
}

#[test]
fn row_4_cluster_ip_the_server_speaks_first() {
    run(&[], as_it_is, |cluster| async move {
        host::spawn_on(cluster.hosts["pe"], async {
            let listener = TcpListener::bind(address("10.244.3.10:8080")).await.expect("listens");
            let (mut stream, _) = listener.accept().await.expect("accepts");
            stream.write_all(b"hi").await.expect("writes");
            sleep(Duration::from_secs(2)).await;
            // The client has reset the connection by the time of the second one.
            let _ = stream.write_all(b"news").await;
            sleep(Duration::from_secs(60)).await;
        });
        sleep(Duration::from_millis(1)).await;
        cluster.serve(&["pe"], Choice::Random);
        let connecting = host::spawn_on(cluster.hosts["q1"], TcpStream::connect(address(CLUSTER_IP)));
        let mut stream = connecting.await.expect("runs").expect("connects");
        stream.read_exact(&mut [0; 2]).await.expect("the greeting");
        let client = stream.local_addr().expect("an address");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.delete_flows("n1", |flow| flow.original.source == client), 1);
        // The packet carries the pod's own address: it is not the client's connection.
        let heard = timeout(PATIENCE, stream.read(&mut [0; 4])).await;
        assert!(heard.is_err(), "{heard:?}");
        stream.write_all(b"ping").await.expect("goes out");
        let error = stream.read(&mut [0; 4]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn row_4_cluster_ip_without_loose_tracking() {
    run(
        &["q1"],
        |config| config.conntrack.tcp_loose = false,
        |cluster| async move {
            for outcome in after_deletion(&cluster, ("pe", CLUSTER_IP), "n3", 3).await {
                assert_eq!(outcome, Echo::Silence);
            }
        },
    );
}
