//! Refusals and unreachable pods, and how long they take. Each test is named after its row in linux.md 4, "Refused,
//! unreachable".

mod network;

use std::collections::BTreeMap;
use std::future::Future;
use std::io::ErrorKind;
use std::time::Duration;

use hopwise_engine::{Simulation, host};
use hopwise_fabric::nat::rules::Choice;
use hopwise_fabric::net::TcpStream;
use hopwise_fabric::{FabricWorld, uninstall};
use network::cluster::{ABSENT_POD, CLUSTER_IP, Cluster, NODE_PORT, cluster};
use network::{address, now_ns};
use tokio::time::timeout;

fn run<F>(test: impl FnOnce(Cluster) -> F + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let run = Simulation::new(1).run(FabricWorld, move || async move { test(cluster(|_| {})).await });
    uninstall();
    run.expect("ends");
}

/// How `connect` ends, and after how many ms.
async fn connect(cluster: &Cluster, from: &str, to: &'static str) -> (Option<i32>, u64) {
    let started_ns = now_ns();
    let connecting = host::spawn_on(cluster.hosts[from], TcpStream::connect(address(to)));
    let error = connecting.await.expect("runs").err();
    (error.and_then(|error| error.raw_os_error()), (now_ns() - started_ns) / 1_000_000)
}

#[test]
fn address_of_a_pod_that_does_not_exist() {
    const EHOSTUNREACH: Option<i32> = Some(113);
    run(|cluster| async move {
        cluster.serve(&[ABSENT_POD], Choice::Random);
        let ways = [
            ("pe", CLUSTER_IP),
            ("cl", NODE_PORT[1]),
            ("n1", CLUSTER_IP),
            ("q1", "10.244.1.99:8080"),
            ("q1", CLUSTER_IP),
        ];
        for (from, to) in ways {
            let (error, took_ms) = connect(&cluster, from, to).await;
            assert!(
                error == EHOSTUNREACH && (3_060..3_090).contains(&took_ms),
                "{from} {to}: {error:?}, {took_ms} ms"
            );
        }
    });
}

#[test]
fn a_refusal_fails_a_connect_that_does_not_block_at_once() {
    const ECONNREFUSED: Option<i32> = Some(111);
    run(|cluster| async move {
        // RST from the pod, then ICMP from the own node, from another node, and a local reject.
        cluster.serve(&["q1"], Choice::Random);
        assert_eq!(connect(&cluster, "pe", CLUSTER_IP).await, (ECONNREFUSED, 0));
        cluster.serve(&[], Choice::Random);
        for (from, to) in [("pe", CLUSTER_IP), ("cl", NODE_PORT[0]), ("n1", CLUSTER_IP)] {
            assert_eq!(connect(&cluster, from, to).await, (ECONNREFUSED, 0), "{from} {to}");
        }
    });
}

/// When each of 40 connects at once was refused within 12 s, in ms: how many at each time.
async fn forty_at_once(cluster: &Cluster, from: &str, to: &'static str) -> BTreeMap<u64, usize> {
    let started_ns = now_ns();
    let connects: Vec<_> = (0..40)
        .map(|_| {
            host::spawn_on(cluster.hosts[from], async move {
                let refused =
                    timeout(Duration::from_secs(12), TcpStream::connect(address(to))).await.ok()?.err()?;
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
                Some((now_ns() - started_ns) / 1_000_000)
            })
        })
        .collect();
    let mut times = BTreeMap::new();
    for connect in connects {
        if let Some(at_ms) = connect.await.expect("runs") {
            *times.entry(at_ms).or_default() += 1;
        }
    }
    times
}

#[test]
fn forty_connects_at_once() {
    run(|cluster| async move {
        cluster.serve(&[], Choice::Random);
        for (from, to) in [("pe", CLUSTER_IP), ("cl", NODE_PORT[0])] {
            let times = forty_at_once(&cluster, from, to).await;
            assert_eq!(times.first_key_value(), Some((&0, &6)), "{from}: {times:?}");
            // Later ones when their SYN is repeated; Linux refused 13 and 17 in all.
            let later: usize = times.range(1..).map(|(_, count)| count).sum();
            assert!((6..=12).contains(&later), "{from}: {times:?}");
            // The limit is full again.
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        // Neither rejects to own processes nor RSTs are limited.
        assert_eq!(forty_at_once(&cluster, "n1", CLUSTER_IP).await, BTreeMap::from([(0, 40)]));
        cluster.serve(&["q1"], Choice::Random);
        assert_eq!(forty_at_once(&cluster, "pe", CLUSTER_IP).await, BTreeMap::from([(0, 40)]));
    });
}
