//! Faults on brokers that are served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::admin::AdminRequest;
use super::deed::{Deed, ProcessDeed};
use super::disk::DiskChange;
use super::links::{End, LinkChange, LinkTrouble};
use super::planned::{PlainCluster, plain};
use super::*;

/// Of what answers.
const LONG: Duration = Duration::from_secs(10);
/// Of what does not.
const SHORT: Duration = Duration::from_millis(600);

/// How long a Kafka listener takes to answer ApiVersions v0; `None` if it does not within a time.
async fn answers(address: SocketAddr, within: Duration) -> Option<Duration> {
    let started = Instant::now();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        // Length, key 18, version 0, correlation 7, no client id.
        stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff]).await.ok()?;
        let mut head = [0; 8];
        stream.read_exact(&mut head).await.ok()?;
        (head[4..] == [0, 0, 0, 7]).then(|| started.elapsed())
    };
    timeout(within, exchange).await.ok().flatten()
}

async fn played(served: &mut Served, deed: Deed) -> String {
    let mut told = Vec::new();
    let step = Step { at: Duration::ZERO, deed, fault: "fault".to_owned() };
    served.play(&step, &mut |line| told.push(line)).await;
    told.join("\n")
}

async fn served(brokers: u16) -> Served {
    let planned = plain(&PlainCluster { brokers, ..PlainCluster::default() }).expect("no properties");
    let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let options = ServeOptions { host, ports: Ports::Free, data: None, relays: true, lose_power: true };
    Served::start(&planned, &options).await.expect("the brokers start")
}

fn kafka(served: &Served, broker: usize) -> SocketAddr {
    let listeners = served.processes[broker].config.listeners();
    let is_kafka = |listener: &&Listener| listener.api == hopwise_broker::Api::Kafka;
    listeners.iter().find(is_kafka).expect("a Kafka listener").bind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_and_links_of_a_running_broker_fail_and_recover() {
    let mut served = served(1).await;
    let address = kafka(&served, 0);
    assert!(answers(address, LONG).await.is_some());

    played(&mut served, Deed::Process(0, ProcessDeed::Hang)).await;
    assert_eq!(answers(address, SHORT).await, None, "it hangs");
    played(&mut served, Deed::Process(0, ProcessDeed::Resume)).await;
    assert!(answers(address, LONG).await.is_some());

    let ways = vec![(End::Outside, End::Broker(0)), (End::Broker(0), End::Outside)];
    let delay = LinkTrouble::Delay(Duration::from_millis(300), Duration::ZERO);
    played(&mut served, Deed::Links(ways.clone(), LinkChange::Impair(delay))).await;
    let took = answers(address, LONG).await.expect("it is only late");
    assert!(took >= Duration::from_millis(600), "{took:?} there and back");
    played(&mut served, Deed::Links(ways.clone(), LinkChange::Mend(None))).await;
    played(&mut served, Deed::Links(ways[1..].to_vec(), LinkChange::Impair(LinkTrouble::Cut))).await;
    assert_eq!(answers(address, SHORT).await, None, "the way back is cut");
    played(&mut served, Deed::Links(ways, LinkChange::Mend(None))).await;
    assert!(answers(address, LONG).await.is_some());

    played(&mut served, Deed::Process(0, ProcessDeed::Kill)).await;
    let refused = TcpStream::connect(address).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    played(&mut served, Deed::Process(0, ProcessDeed::Start)).await;
    served.all_ready().await.expect("it starts again");
    // The relay listens as soon as it sees the broker do so.
    let again = async { while answers(address, SHORT).await.is_none() {} };
    timeout(LONG, again).await.expect("it answers again");

    let told = played(&mut served, Deed::Disk(0, DiskChange::Fill)).await;
    assert_eq!(told, "0 s: fault; the disk of plain/redpanda-0 is full");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_requests_are_carried_out_and_a_rolling_restart_ends_ready() {
    let mut served = served(3).await;
    let told = played(&mut served, Deed::Admin(1, AdminRequest::StartMaintenance)).await;
    assert!(told.contains("the broker of plain/redpanda-1 is in maintenance"), "{told}");
    let told = played(&mut served, Deed::Admin(2, AdminRequest::StartMaintenance)).await;
    assert!(told.contains("is not in maintenance") && told.contains("400"), "one broker at a time: {told}");
    let told = played(&mut served, Deed::Admin(1, AdminRequest::EndMaintenance)).await;
    assert!(told.contains("is out of maintenance"), "{told}");
    let told = played(&mut served, Deed::Restart(2)).await;
    assert!(told.contains("has restarted and is ready"), "{told}");

    // Cut off from the others, a broker is dead to them.
    let around: Vec<(End, End)> = [0, 1]
        .into_iter()
        .flat_map(|other| [(End::Broker(2), End::Broker(other)), (End::Broker(other), End::Broker(2))])
        .collect();
    let told = played(&mut served, Deed::Links(around.clone(), LinkChange::Impair(LinkTrouble::Cut))).await;
    let way = "the way is cut: plain/redpanda-2 to plain/redpanda-0, plain/redpanda-0 to plain/redpanda-2";
    assert!(told.contains(way), "{told}");
    let admin = served.processes[0].config.listeners();
    let admin =
        admin.iter().find(|listener| listener.api == hopwise_broker::Api::Admin).expect("an Admin API").bind;
    let seen_down = |wanted: bool| async move {
        loop {
            let mut stream = TcpStream::connect(admin).await.expect("it runs");
            let request = "GET /v1/cluster/health_overview HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.expect("it reads");
            let mut text = String::new();
            stream.read_to_string(&mut text).await.expect("it answers");
            if text.contains(r#""nodes_down":[2]"#) == wanted && text.contains("nodes_down") {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // `alive_timeout_ms` is 5 s.
    timeout(3 * LONG, seen_down(true)).await.expect("broker 2 is down to broker 0");
    played(&mut served, Deed::Links(around, LinkChange::Mend(None))).await;
    timeout(3 * LONG, seen_down(false)).await.expect("broker 2 is back");
    served.stop().await;
}
