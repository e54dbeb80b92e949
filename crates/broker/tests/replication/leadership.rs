//! What becomes of a partition when its leader is cut off or down, step by step rather than drawn.

use std::time::Duration;

use hopwise_broker::Bugs;
use hopwise_engine::{Simulation, Span, host};
use hopwise_fabric::FabricWorld;
use hopwise_fabric::net::TcpStream;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, ElectLeadersRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use crate::client::{Connection, batch};
use crate::cluster::{ADMIN_PORT, BROKERS, Cluster, Trouble, bootstrap};
use crate::workload::{self, NOBODY, PARTITIONS, Workload};

/// No run takes longer, in virtual time.
const LIMIT: Span = Span::from_secs(900);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// The time that a leader without its followers goes on leading, and what comes on top of it: it looks at every
/// heartbeat (redpanda.md 4.4: election timeout 1.5 s, heartbeats every 150 ms).
const STEPS_DOWN_WITHIN: Duration = Duration::from_millis(1_500 + 150 + 50);

/// The balancers' rests and rounds, and some time for the moves (redpanda.md 4.4: 30 s before the first round).
const SPREADS_WITHIN: Duration = Duration::from_secs(180);

/// Runs a test on the host of the clients, with a cluster that has the topic.
fn with_cluster<F: Future<Output = ()> + 'static>(test: impl FnOnce(Cluster) -> F + Send + 'static) {
    let run = Simulation::new(1).limit(LIMIT).run(FabricWorld, move || async move {
        let cluster = Cluster::start(1, Bugs::default(), [Duration::ZERO; BROKERS]);
        let clients = cluster.clients;
        let test = async move {
            Workload::default().create_topic().await;
            test(cluster).await;
        };
        host::spawn_on(clients, test).await.expect("the test does not panic");
    });
    hopwise_fabric::uninstall();
    run.unwrap_or_else(|stalled| panic!("{stalled}"));
}

async fn connect(machine: usize) -> Connection {
    let (host, port) = &bootstrap()[machine];
    Connection::open(host, *port).await.expect("clients reach every broker")
}

/// The machines that lead the partitions, as one machine tells.
async fn leaders(asked: usize) -> Vec<Option<usize>> {
    let told = workload::partitions(&mut connect(asked).await, workload::topic()).await;
    told.expect("every broker that runs answers").into_iter().map(|partition| partition.leader).collect()
}

/// The machine that leads partition 0, as all machines but `except` tell; waits for it.
async fn leader(except: Option<usize>) -> usize {
    loop {
        let mut told = Vec::new();
        for machine in (0..BROKERS).filter(|machine| Some(*machine) != except) {
            told.push(leaders(machine).await[0]);
        }
        match told[0] {
            Some(leader) if told.iter().all(|it| *it == told[0]) && told[0] != except => return leader,
            _ => sleep(PAUSE).await,
        }
    }
}

/// Produces one record to partition 0 at a machine: its offset, or the error.
async fn produce_at(machine: usize, value: &str) -> Result<i64, String> {
    let mut connection = connect(machine).await;
    let produced = workload::produce_at(&mut connection, 0, &batch(value, NOBODY)).await;
    produced.map_err(|error| error.to_string())
}

#[test]
fn a_leader_that_is_cut_off_from_the_others_stops_acknowledging_and_keeps_nothing() {
    with_cluster(|mut cluster| async move {
        let old = leader(None).await;
        let first = produce_at(old, "once/0/0").await.expect("the leader takes it");
        cluster.link_to_brokers(old, Some(Trouble::Cut));
        let cut_at = Instant::now();
        // Clients reach it still, and it believes that it leads. No record is acknowledged.
        let mut refused = 0;
        while cut_at.elapsed() < Duration::from_secs(10) {
            let asked_after = cut_at.elapsed();
            let answer = produce_at(old, &format!("once/0/{}", refused + 1)).await;
            let error = answer.expect_err("a record is acknowledged that no other replica has");
            let not_leader = ResponseError::NotLeaderOrFollower.to_string();
            if asked_after > STEPS_DOWN_WITHIN {
                assert!(error.contains(&not_leader), "asked {asked_after:?} after the cut: {error}");
            }
            refused += 1;
            sleep(PAUSE).await;
        }
        let new = leader(Some(old)).await;
        let second = produce_at(new, "once/0/1000").await.expect("the new leader has a majority");
        cluster.link_to_brokers(old, None);
        let leads = leader(None).await;
        let third = produce_at(leads, "once/0/1001").await.expect("all is well");
        let log = Workload::default().read_all(0).await;
        let at = |offset| log.iter().find(|(at, _)| *at == offset).map(|(_, value)| value.as_str());
        assert_eq!(
            (at(first), at(second), at(third)),
            (Some("once/0/0"), Some("once/0/1000"), Some("once/0/1001"))
        );
        assert_eq!(log.len(), 3, "a record that was refused is there: {log:?}");
    });
}

#[test]
fn records_stay_deleted_when_a_replica_leads_that_was_down_meanwhile() {
    with_cluster(|mut cluster| async move {
        let first = leader(None).await;
        for count in 0..5 {
            produce_at(first, &format!("once/0/{count}")).await.expect("the leader takes it");
        }
        cluster.kill(first);
        let second = leader(Some(first)).await;
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(3);
        let asked =
            DeleteRecordsTopic::default().with_name(workload::topic()).with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(5_000);
        let answer = connect(second).await.call(&request, 2).await.expect("the leader answers");
        let deleted = &answer.topics[0].partitions[0];
        assert_eq!((deleted.error_code, deleted.low_watermark), (0, 3));
        cluster.start_broker(first);
        let preferred = ElectLeadersRequest::default().with_timeout_ms(5_000);
        while leader(None).await != first {
            // It fails for as long as the replica is behind.
            let _ = connect(second).await.call(&preferred, 2).await;
            sleep(PAUSE).await;
        }
        let (start, high_watermark) =
            workload::offsets_at(&mut connect(first).await, 0).await.expect("it leads");
        assert_eq!((start, high_watermark), (3, 5));
        let values: Vec<String> =
            Workload::default().read_from(0, 3).await.into_iter().map(|it| it.1).collect();
        assert_eq!(values, ["once/0/3", "once/0/4"]);
    });
}

/// redpanda.md 4.5: leaders are spread again after a broker has come back.
#[test]
fn leaders_are_spread_again_after_a_broker_was_away() {
    with_cluster(|mut cluster| async move {
        cluster.kill(0);
        sleep(Duration::from_secs(10)).await;
        let without = leaders(1).await;
        assert_eq!(without.len(), PARTITIONS as usize);
        assert!(without.iter().all(|leader| matches!(leader, Some(1 | 2))), "{without:?}");
        cluster.start_broker(0);
        let within = Instant::now() + SPREADS_WITHIN;
        loop {
            let mut spread = leaders(1).await;
            spread.sort_unstable();
            if spread == [Some(0), Some(1), Some(2)] {
                break;
            }
            assert!(Instant::now() < within, "{spread:?}");
            sleep(PAUSE).await;
        }
    });
}

/// redpanda.md 4.5: replicas are spread again when somebody asks for it.
#[test]
fn replicas_are_spread_on_demand_to_a_broker_that_holds_none() {
    with_cluster(|mut cluster| async move {
        let own = TopicName(StrBytes::from_static_str("single"));
        cluster.kill(0);
        // Until it counts as gone.
        sleep(Duration::from_secs(10)).await;
        let topic = CreatableTopic::default()
            .with_name(own.clone())
            .with_num_partitions(6)
            .with_replication_factor(1);
        workload::create(topic).await;
        cluster.start_broker(0);
        let holds = async || -> usize {
            let told = workload::partitions(&mut connect(1).await, own.clone()).await.expect("it runs");
            assert_eq!(told.len(), 6);
            told.into_iter().filter(|partition| partition.replicas.contains(&0)).count()
        };
        sleep(Duration::from_secs(10)).await;
        assert_eq!(holds().await, 0, "nobody has asked yet");
        for machine in 0..BROKERS {
            post(machine, "/v1/partitions/rebalance").await;
        }
        let within = Instant::now() + SPREADS_WITHIN;
        while holds().await != 2 {
            assert!(Instant::now() < within, "replicas stay where they are");
            sleep(PAUSE).await;
        }
    });
}

/// One request to a broker's Admin API; the answer does not matter.
async fn post(machine: usize, path: &str) {
    let address = (bootstrap()[machine].0.parse::<std::net::IpAddr>().expect("an address"), ADMIN_PORT);
    let mut stream = TcpStream::connect(address.into()).await.expect("every broker runs");
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: broker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
}
