//! Leaders that die, disks that are slow, replicas that move.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, ApiKey, BrokerId, CreateTopicsRequest, CreateTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use tokio::time::{Instant, sleep, timeout};
use turmoil_fs::{Fs, FsConfig};

use crate::support::{Client, PATIENCE, TestBroker, batch, leader_of, name, new_cluster};

/// Elections take a third of their usual time.
const FAST: &str = "raft_election_timeout_ms: 500\nraft_heartbeat_interval_ms: 50\n";

async fn start(count: usize, properties: &str) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    for broker in &mut brokers {
        broker.bootstrap.push_str(properties);
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

async fn create(client: &mut Client, topic: &str, replicas: &[i32], configs: &[(&str, &str)]) {
    use kafka_protocol::messages::create_topics_request::CreatableReplicaAssignment;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = |(name, value): &(&str, &str)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let ids = replicas.iter().copied().map(BrokerId).collect();
    let assignment = CreatableReplicaAssignment::default().with_partition_index(0).with_broker_ids(ids);
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assignment])
        .with_configs(configs.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

/// A producer that is told of every broker, and tries until one takes its record.
struct Producer {
    addresses: Vec<std::net::IpAddr>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    stops: Arc<AtomicBool>,
}

impl Producer {
    async fn run(self) {
        let mut next = 0;
        let mut at = 0;
        while !self.stops.load(Ordering::Relaxed) {
            let value = format!("record {next}");
            let records = batch(&[&value], Compression::None);
            let attempt = timeout(Duration::from_secs(4), self.produce(at, records));
            match attempt.await {
                Ok(Some(0)) => {
                    self.acknowledged.lock().unwrap().push(value);
                    next += 1;
                }
                _ => {
                    // The record may be kept or not; another one follows.
                    next += 1;
                    at = (at + 1) % self.addresses.len();
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn produce(&self, at: usize, records: Bytes) -> Option<i16> {
        let stream = tokio::net::TcpStream::connect((self.addresses[at], 9093)).await.ok()?;
        let mut client = Client::over(stream);
        let request = crate::support::produce_request("orders", 0, -1, records);
        client.send(ApiKey::Produce, 9, &request).await;
        let bytes = client.receive().await?;
        // Header, one topic "orders", one partition: its index, then the error.
        let body = &bytes[4 + 1 + 1 + 1 + 6 + 1 + 4..];
        Some(i16::from_be_bytes([body[0], body[1]]))
    }
}

#[tokio::test]
async fn every_acknowledged_record_survives_the_deaths_of_leaders() {
    let mut brokers = start(3, FAST).await;
    create(&mut brokers[0].client().await, "orders", &[0, 1, 2], &[]).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stops = Arc::new(AtomicBool::new(false));
    let producer = Producer {
        addresses: brokers.iter().map(|broker| broker.ip).collect(),
        acknowledged: Arc::clone(&acknowledged),
        stops: Arc::clone(&stops),
    };
    let producer = tokio::spawn(producer.run());
    let mut leaders = BTreeSet::new();
    for _ in 0..3 {
        sleep(Duration::from_millis(300)).await;
        let before = acknowledged.lock().unwrap().len();
        let leader = leader_of(&brokers, "orders", 0).await;
        leaders.insert(leader);
        brokers[leader].kill().await;
        let others = leader_of(&brokers, "orders", 0).await;
        assert_ne!(others, leader);
        let more = async {
            while acknowledged.lock().unwrap().len() < before + 20 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, more).await.expect("the two others go on");
        brokers[leader].start();
        brokers[leader].ready().await;
    }
    stops.store(true, Ordering::Relaxed);
    producer.await.unwrap();
    assert!(leaders.len() > 1, "{leaders:?}");
    let leader = leader_of(&brokers, "orders", 0).await;
    let mut client = brokers[leader].client().await;
    let mut kept = BTreeSet::new();
    let mut next = 0;
    loop {
        let values = client.values("orders", 0, next).await;
        let Some((last, _)) = values.last() else { break };
        next = last + 1;
        kept.extend(values.into_iter().map(|(_, value)| value));
    }
    let acknowledged = acknowledged.lock().unwrap();
    let lost: Vec<&String> = acknowledged.iter().filter(|value| !kept.contains(*value)).collect();
    assert!(
        acknowledged.len() >= 60 && lost.is_empty(),
        "{} acknowledged, lost {lost:?}",
        acknowledged.len()
    );
}

fn slow_disk(seed: u64, latency: Duration) -> Fs {
    let mut config = FsConfig::default();
    config.io_latency().min_latency(latency).max_latency(latency);
    Fs::builder().config(config).seed(seed).build()
}

#[tokio::test]
async fn acknowledgements_wait_for_the_disks_of_a_majority_unless_writes_are_cached() {
    let latency = Duration::from_millis(150);
    let mut brokers = new_cluster(3);
    for (index, broker) in brokers.iter_mut().enumerate() {
        // One quick disk of three is no majority.
        if index > 0 {
            broker.volume = slow_disk(index as u64, latency);
        }
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    let mut client = brokers[0].client().await;
    create(&mut client, "kept", &[0, 1, 2], &[]).await;
    create(&mut client, "cached", &[0, 1, 2], &[("write.caching", "true")]).await;
    assert_eq!(leader_of(&brokers, "kept", 0).await, 0);
    assert_eq!(leader_of(&brokers, "cached", 0).await, 0);
    let mut took = async |topic: &str, acks: i16| {
        let begin = Instant::now();
        let answer = client.produce(topic, 0, acks, batch(&["a"], Compression::None)).await;
        assert_eq!(answer.error_code, 0, "{topic}");
        begin.elapsed()
    };
    assert!(took("kept", -1).await >= latency);
    assert!(took("kept", 1).await < latency);
    assert!(took("cached", -1).await < latency);
    // What was not waited for becomes durable soon all the same.
    sleep(Duration::from_millis(100) + latency * 4).await;
    for broker in &mut brokers {
        broker.kill().await;
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    let leader = leader_of(&brokers, "cached", 0).await;
    assert_eq!(brokers[leader].client().await.values("cached", 0, 0).await.len(), 1);
}

async fn reassign(client: &mut Client, topic: &str, replicas: &[i32]) {
    let partition = ReassignablePartition::default()
        .with_partition_index(0)
        .with_replicas(Some(replicas.iter().copied().map(BrokerId).collect()));
    let topic = ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request =
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    let answer = client.ask(ApiKey::AlterPartitionReassignments, 0, &request).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0), "{:?}", partition.error_message);
}

async fn wait_for_replicas(client: &mut Client, topic: &str, replicas: &[i32]) {
    let wait = async {
        loop {
            let metadata = client.metadata(Some(&[topic])).await;
            let has: Vec<i32> =
                metadata.topics[0].partitions[0].replica_nodes.iter().map(|id| id.0).collect();
            if has == replicas {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("the replicas move");
}

#[tokio::test]
async fn a_partition_moves_to_other_brokers_and_back_with_its_records() {
    let mut brokers = start(5, FAST).await;
    let mut client = brokers[4].client().await;
    create(&mut client, "orders", &[0, 1], &[]).await;
    let leader = leader_of(&brokers, "orders", 0).await;
    let mut producer = brokers[leader].client().await;
    for index in 0..50 {
        let value = format!("{index}");
        let answer = producer.produce("orders", 0, -1, batch(&[&value], Compression::None)).await;
        assert_eq!(answer.error_code, 0);
    }
    reassign(&mut client, "orders", &[2, 3, 4]).await;
    wait_for_replicas(&mut client, "orders", &[2, 3, 4]).await;
    brokers[0].kill().await;
    brokers[1].kill().await;
    let leader = leader_of(&brokers, "orders", 0).await;
    assert!([2, 3, 4].contains(&leader), "{leader}");
    let mut producer = brokers[leader].client().await;
    assert_eq!(producer.values("orders", 0, 0).await.len(), 50);
    for broker in &mut brokers[..2] {
        broker.start();
        broker.ready().await;
    }
    // The brokers that had a replica have none that starts by itself when they get one again.
    reassign(&mut client, "orders", &[0, 1]).await;
    wait_for_replicas(&mut client, "orders", &[0, 1]).await;
    let leader = leader_of(&brokers, "orders", 0).await;
    assert!([0, 1].contains(&leader), "{leader}");
    let answer =
        brokers[leader].client().await.produce("orders", 0, -1, batch(&["last"], Compression::None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 50));
}

#[tokio::test]
async fn nothing_is_decided_without_a_majority_of_the_controller_group() {
    let mut brokers = start(3, FAST).await;
    brokers[0].client().await.create_topic("before", 1, 3).await;
    brokers[1].kill().await;
    brokers[2].kill().await;
    let mut client = brokers[0].client().await;
    let topic =
        CreatableTopic::default().with_name(name("during")).with_num_partitions(1).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(2000);
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).await;
    let error = ResponseError::try_from_code(answer.topics[0].error_code);
    assert!(
        matches!(error, Some(ResponseError::RequestTimedOut | ResponseError::NotController)),
        "{error:?}"
    );
    brokers[1].start();
    brokers[1].ready().await;
    brokers[0].client().await.create_topic("after", 1, 2).await;
    // The two agree, also on what became of the topic that nobody was told about.
    sleep(Duration::from_millis(500)).await;
    let mut known = Vec::new();
    for broker in &brokers[..2] {
        let metadata = broker.client().await.metadata(None).await;
        let names: BTreeSet<String> =
            metadata.topics.into_iter().map(|topic| topic.name.unwrap().to_string()).collect();
        assert!(names.contains("before") && names.contains("after"), "{names:?}");
        known.push(names);
    }
    assert_eq!(known[0], known[1]);
}
