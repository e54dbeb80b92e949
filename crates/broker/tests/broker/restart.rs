//! What a killed broker comes back with.

use hopwise_broker::Counter;
use kafka_protocol::ResponseError;
use kafka_protocol::records::Compression;
use turmoil_fs::shim::std::fs;

use crate::support::{TestBroker, batch, leader_of, start_cluster};

/// The one segment of a partition's log.
fn log_file(broker: &TestBroker, topic: &str) -> std::path::PathBuf {
    let _inside = broker.volume.enter();
    let partition = fs::read_dir(format!("/var/lib/redpanda/data/kafka/{topic}")).unwrap().next().unwrap();
    let mut files = fs::read_dir(partition.unwrap().path()).unwrap().map(|entry| entry.unwrap().path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap()
}

async fn restart(broker: &mut TestBroker) {
    broker.kill().await;
    broker.start();
    broker.ready().await;
}

#[tokio::test]
async fn id_records_and_offsets_stay() {
    let mut brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 3, 1).await;
    client.produce("orders", 1, -1, batch(&["a", "b"], Compression::Zstd)).await;
    restart(&mut brokers[0]).await;
    assert_eq!(brokers[0].id(), 0);
    let mut client = brokers[0].client().await;
    assert_eq!(client.values("orders", 1, 0).await.len(), 2);
    let answer = client.produce("orders", 1, -1, batch(&["c"], Compression::None)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 2));
}

#[tokio::test]
async fn acks_all_needs_a_majority_and_a_returning_follower_catches_up() {
    let mut brokers = start_cluster(3).await;
    let leaders = brokers[0].client().await.create_topic("orders", 1, 3).await;
    assert_eq!(leaders, [0]);
    let mut client = brokers[0].client().await;
    let mut produce = async |value: &str| {
        let answer = client.produce("orders", 0, -1, batch(&[value], Compression::None)).await;
        ResponseError::try_from_code(answer.error_code)
    };
    brokers[2].kill().await;
    assert_eq!(produce("two of three").await, None);
    brokers[1].kill().await;
    assert_eq!(produce("one of three").await, Some(ResponseError::RequestTimedOut));
    brokers[1].start();
    brokers[1].ready().await;
    // Broker 0 lost its majority and is elected again: nobody else has all records.
    assert_eq!(leader_of(&brokers, "orders", 0).await, 0);
    assert_eq!(produce("two again").await, None);
    let values: Vec<String> =
        client.values("orders", 0, 0).await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["two of three", "one of three", "two again"]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_told() {
    let mut brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    client.produce("orders", 0, -1, batch(&["kept"], Compression::None)).await;
    client.produce("orders", 0, -1, batch(&["torn"], Compression::None)).await;
    let file = log_file(&brokers[0], "orders");
    brokers[0].kill().await;
    {
        let _inside = brokers[0].volume.enter();
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    }
    brokers[0].start();
    brokers[0].ready().await;
    assert!(brokers[0].status.count(Counter::RecoveryCutBytes) > 60);
    let mut client = brokers[0].client().await;
    assert_eq!(client.values("orders", 0, 0).await, [(0, "kept".to_owned())]);
}

#[tokio::test]
async fn a_leader_gets_back_from_its_followers_what_recovery_cut() {
    let mut brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    assert_eq!(client.create_topic("orders", 1, 3).await, [0]);
    for value in ["one", "two", "three"] {
        let answer = client.produce("orders", 0, -1, batch(&[value], Compression::None)).await;
        assert_eq!(answer.error_code, 0);
    }
    let file = log_file(&brokers[0], "orders");
    brokers[0].kill().await;
    {
        let _inside = brokers[0].volume.enter();
        let mut bytes = fs::read(&file).unwrap();
        // Damage in the second of three batches of about equal size takes the last two.
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        fs::write(&file, &bytes).unwrap();
    }
    brokers[0].start();
    brokers[0].ready().await;
    assert!(brokers[0].status.count(Counter::RecoveryCutBytes) > 0);
    let leader = leader_of(&brokers, "orders", 0).await;
    assert_ne!(leader, 0, "a replica that lacks records was elected");
    // With that leader gone, broker 0 is needed for a majority, and must have got back what it lacked.
    brokers[3 - leader].kill().await;
    let mut client = brokers[leader].client().await;
    let answer = client.produce("orders", 0, -1, batch(&["four"], Compression::None)).await;
    assert_eq!(answer.error_code, 0);
    brokers[leader].kill().await;
    let other = 3 - leader;
    brokers[other].start();
    brokers[other].ready().await;
    assert_eq!(leader_of(&brokers, "orders", 0).await, 0);
    let mut client = brokers[0].client().await;
    let values: Vec<String> =
        client.values("orders", 0, 0).await.into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["one", "two", "three", "four"]);
}

#[tokio::test]
async fn a_leader_that_hears_no_majority_does_not_serve() {
    let mut brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    assert_eq!(client.create_topic("orders", 1, 3).await, [0]);
    client.produce("orders", 0, -1, batch(&["one"], Compression::None)).await;
    for broker in &mut brokers {
        broker.kill().await;
    }
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    let data = client.fetch("orders", 0, 0, 200).await;
    // redpanda.md 4.3: Fetch at a replica that does not lead.
    assert_eq!(data.error_code, ResponseError::NotLeaderOrFollower.code());
    brokers[1].start();
    brokers[1].ready().await;
    let leader = leader_of(&brokers, "orders", 0).await;
    let mut client = brokers[leader].client().await;
    assert_eq!(client.values("orders", 0, 0).await, [(0, "one".to_owned())]);
}
