//! Transactions over real sockets: commit, abort, fencing, time-outs, offsets, a coordinator that restarts.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    ApiKey, DescribeTransactionsRequest, DescribeTransactionsResponse, EndTxnRequest, EndTxnResponse,
    FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId,
    InitProducerIdRequest, InitProducerIdResponse, ListTransactionsRequest, ListTransactionsResponse,
    OffsetFetchRequest, OffsetFetchResponse, ProducerId, TransactionalId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::support::{Client, TestBroker, name, new_cluster, produce_request};

/// Few partitions, so that they are opened soon.
const BOOTSTRAP: &str =
    "alive_timeout_ms: 1000\ntransaction_coordinator_partitions: 4\ngroup_topic_partitions: 4\n";

pub async fn start(count: usize) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    for broker in &mut brokers {
        broker.bootstrap = BOOTSTRAP.to_owned();
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn code(error: ResponseError) -> i16 {
    error.code()
}

/// Asks again while the answer is one that clients repeat their request after.
macro_rules! until_settled {
    ($answer:ty, $ask:expr) => {{
        let again = [
            ResponseError::ConcurrentTransactions,
            ResponseError::NotCoordinator,
            ResponseError::CoordinatorNotAvailable,
            ResponseError::CoordinatorLoadInProgress,
        ];
        let mut left = 300;
        loop {
            let answer: $answer = $ask;
            if left == 0 || !again.iter().any(|error| error.code() == answer.error_code) {
                break answer;
            }
            left -= 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }};
}

pub(crate) use until_settled;

pub async fn coordinator(brokers: &[TestBroker], key: &str, key_type: i8) -> Client {
    let mut any = brokers[0].client().await;
    for _ in 0..500 {
        let request = FindCoordinatorRequest::default().with_key(text(key)).with_key_type(key_type);
        let found =
            until_settled!(FindCoordinatorResponse, any.ask(ApiKey::FindCoordinator, 2, &request).await);
        assert_eq!(found.error_code, 0, "{:?}", found.error_message);
        // One that was killed may be named for a while.
        if let Some(broker) = brokers.iter().find(|broker| broker.id() == found.node_id.0) {
            return broker.client().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} has no coordinator");
}

/// A transactional producer, as its client keeps it.
pub struct Producer {
    pub client: Client,
    pub transactional_id: TransactionalId,
    pub id: ProducerId,
    pub epoch: i16,
    pub sequence: i32,
}

impl Producer {
    pub async fn new(brokers: &[TestBroker], id: &str, timeout_ms: i32) -> Producer {
        let mut producer = Producer {
            client: coordinator(brokers, id, 1).await,
            transactional_id: TransactionalId(text(id)),
            id: ProducerId(-1),
            epoch: -1,
            sequence: 0,
        };
        assert_eq!(producer.init(timeout_ms).await, 0);
        producer
    }

    pub async fn init(&mut self, timeout_ms: i32) -> i16 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(self.transactional_id.clone()))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch);
        let answer = until_settled!(
            InitProducerIdResponse,
            self.client.ask(ApiKey::InitProducerId, 4, &request).await
        );
        if answer.error_code == 0 {
            (self.id, self.epoch, self.sequence) = (answer.producer_id, answer.producer_epoch, 0);
        }
        answer.error_code
    }

    pub async fn add(&mut self, topic: &str, partitions: Vec<i32>) -> i16 {
        let topic = AddPartitionsToTxnTopic::default().with_name(name(topic)).with_partitions(partitions);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.transactional_id.clone())
            .with_v3_and_below_producer_id(self.id)
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let mut left = 300;
        loop {
            let answer: AddPartitionsToTxnResponse =
                self.client.ask(ApiKey::AddPartitionsToTxn, 3, &request).await;
            let code = answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code;
            if code != ResponseError::ConcurrentTransactions.code() || left == 0 {
                return code;
            }
            left -= 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Writes a value in the transaction; partition 0.
    pub async fn produce(&mut self, brokers: &[TestBroker], topic: &str, value: &str) -> i16 {
        self.produce_by(9, brokers, topic, value).await
    }

    /// The same by a version of the request.
    pub async fn produce_by(
        &mut self,
        version: i16,
        brokers: &[TestBroker],
        topic: &str,
        value: &str,
    ) -> i16 {
        let batch = batch(self.id.0, self.epoch, self.sequence, value);
        self.sequence += 1;
        let mut client = leader(brokers, topic).await;
        let request = produce_request(topic, 0, -1, batch);
        let request = request.with_transactional_id(Some(self.transactional_id.clone()));
        let answer = client.ask(ApiKey::Produce, version, &request).await;
        answer.responses[0].partition_responses[0].error_code
    }

    /// Commits an offset of group `g` for partition 0 of `orders` in the transaction, by a version of the request.
    pub async fn commit_offset(&mut self, group: &mut Client, version: i16, offset: i64) -> i16 {
        let partition =
            TxnOffsetCommitRequestPartition::default().with_partition_index(0).with_committed_offset(offset);
        let topic =
            TxnOffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.transactional_id.clone())
            .with_group_id(GroupId(text("g")))
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch)
            .with_generation_id(-1)
            .with_topics(vec![topic]);
        let again = [ResponseError::CoordinatorLoadInProgress, ResponseError::ConcurrentTransactions];
        loop {
            let answer: TxnOffsetCommitResponse = group.ask(ApiKey::TxnOffsetCommit, version, &request).await;
            let code = answer.topics[0].partitions[0].error_code;
            if !again.iter().any(|error| error.code() == code) {
                return code;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn end(&mut self, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.transactional_id.clone())
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        let answer = until_settled!(EndTxnResponse, self.client.ask(ApiKey::EndTxn, 3, &request).await);
        answer.error_code
    }

    pub async fn state(&mut self) -> String {
        let request = DescribeTransactionsRequest::default()
            .with_transactional_ids(vec![self.transactional_id.clone()]);
        let answer: DescribeTransactionsResponse =
            self.client.ask(ApiKey::DescribeTransactions, 0, &request).await;
        assert_eq!(answer.transaction_states[0].error_code, 0);
        answer.transaction_states[0].transaction_state.to_string()
    }

    pub async fn reaches(&mut self, state: &str) {
        for _ in 0..300 {
            if self.state().await == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the transaction is {} and not {state}", self.state().await);
    }
}

pub async fn leader(brokers: &[TestBroker], topic: &str) -> Client {
    let mut any = brokers[0].client().await;
    let metadata = any.metadata(Some(&[topic])).await;
    let id = metadata.topics[0].partitions[0].leader_id.0;
    brokers.iter().find(|broker| broker.id() == id).unwrap().client().await
}

pub fn batch(producer_id: i64, producer_epoch: i16, sequence: i32, value: &str) -> Bytes {
    let record = Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: 1000,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

/// What a partition holds: values, and for ends of transactions their kind.
pub async fn contents(brokers: &[TestBroker], topic: &str) -> Vec<String> {
    let mut client = leader(brokers, topic).await;
    let data = client.fetch(topic, 0, 0, 1000).await;
    let mut records = data.records.unwrap();
    let word = |record: Record| match (record.control, record.key, record.value) {
        (true, Some(key), Some(value)) => {
            assert_eq!((&key[..2], value.len()), (&[0, 0][..], 6));
            if key[3] == 1 { "commit".to_owned() } else { "abort".to_owned() }
        }
        (_, _, value) => String::from_utf8(value.unwrap().to_vec()).unwrap(),
    };
    let batches = RecordBatchDecoder::decode_all(&mut records).unwrap();
    batches.into_iter().flat_map(|batch| batch.records).map(word).collect()
}

/// What a reader of committed records gets.
async fn committed_only(brokers: &[TestBroker], topic: &str) -> PartitionData {
    let partition = FetchPartition::default()
        .with_partition(0)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(0)
        .with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(100)
        .with_min_bytes(1)
        .with_max_bytes(10 << 20)
        .with_isolation_level(1)
        .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition])]);
    let mut client = leader(brokers, topic).await;
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    answer.responses[0].partitions[0].clone()
}

#[tokio::test]
async fn readers_of_committed_records_wait_for_the_end_and_learn_what_was_aborted() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "lost").await, 0);
    let open = committed_only(&brokers, "orders").await;
    assert_eq!((open.last_stable_offset, open.records.unwrap_or_default().len()), (0, 0));
    assert_eq!(contents(&brokers, "orders").await, ["lost"], "others see it");
    assert_eq!(producer.end(false).await, 0);
    producer.reaches("CompleteAbort").await;
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "kept").await, 0);
    assert_eq!(producer.end(true).await, 0);
    producer.reaches("CompleteCommit").await;
    let ended = committed_only(&brokers, "orders").await;
    assert_eq!(ended.last_stable_offset, 4);
    let aborted = ended.aborted_transactions.unwrap();
    let aborted: Vec<(i64, i64)> = aborted.iter().map(|one| (one.producer_id.0, one.first_offset)).collect();
    assert_eq!(aborted, [(producer.id.0, 0)]);
}

#[tokio::test]
async fn a_transaction_is_committed_and_another_aborted() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.end(true).await, code(ResponseError::InvalidTxnState), "nothing is open");
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.state().await, "Ongoing");
    assert_eq!(producer.produce(&brokers, "orders", "kept").await, 0);
    assert_eq!(producer.end(true).await, 0);
    producer.reaches("CompleteCommit").await;
    assert_eq!(producer.end(true).await, 0, "again, as a client does that has not heard the answer");
    assert_eq!(producer.end(false).await, code(ResponseError::InvalidTxnState));
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "lost").await, 0);
    assert_eq!(producer.end(false).await, 0);
    producer.reaches("CompleteAbort").await;
    assert_eq!(contents(&brokers, "orders").await, ["kept", "commit", "lost", "abort"]);
}

#[tokio::test]
async fn a_new_instance_aborts_what_the_old_one_left_and_fences_it() {
    let brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let mut old = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(old.add("orders", vec![0]).await, 0);
    assert_eq!(old.produce(&brokers, "orders", "half").await, 0);
    let mut new = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(new.id, old.id);
    assert!(new.epoch > old.epoch);
    assert_eq!(old.add("orders", vec![0]).await, code(ResponseError::ProducerFenced));
    assert_eq!(old.end(true).await, code(ResponseError::ProducerFenced));
    assert_eq!(contents(&brokers, "orders").await, ["half", "abort"]);
    assert_eq!(new.add("orders", vec![0]).await, 0);
    assert_eq!(new.produce(&brokers, "orders", "whole").await, 0);
    assert_eq!(new.end(true).await, 0);
    new.reaches("CompleteCommit").await;
    assert_eq!(contents(&brokers, "orders").await, ["half", "abort", "whole", "commit"]);
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_aborted() {
    let brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let mut producer = Producer::new(&brokers, "t", 100).await;
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "late").await, 0);
    producer.reaches("CompleteAbort").await;
    assert_eq!(producer.end(true).await, code(ResponseError::ProducerFenced));
    assert_eq!(contents(&brokers, "orders").await, ["late", "abort"]);
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text("t"))))
        .with_transaction_timeout_ms(900_001)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    let answer: InitProducerIdResponse = producer.client.ask(ApiKey::InitProducerId, 4, &request).await;
    assert_eq!(answer.error_code, code(ResponseError::InvalidTransactionTimeout));
}

#[tokio::test]
async fn offsets_count_once_their_transaction_is_committed() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let mut group = coordinator(&brokers, "g", 0).await;
    for (commit, offset, expected) in [(true, 5, 5), (false, 9, 5)] {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(producer.transactional_id.clone())
            .with_producer_id(producer.id)
            .with_producer_epoch(producer.epoch)
            .with_group_id(GroupId(text("g")));
        let answer = until_settled!(
            AddOffsetsToTxnResponse,
            producer.client.ask(ApiKey::AddOffsetsToTxn, 3, &request).await
        );
        assert_eq!(answer.error_code, 0);
        let result = producer.commit_offset(&mut group, 3, offset).await;
        assert_eq!(result, 0);
        let again = producer.commit_offset(&mut group, 3, offset).await;
        assert_eq!(again, 0, "a second one in the same transaction");
        let before = committed(&mut group, true).await;
        assert_eq!(before.0, code(ResponseError::UnstableOffsetCommit));
        assert_ne!(committed(&mut group, false).await.1, offset, "not yet");
        assert_eq!(producer.end(commit).await, 0);
        producer.reaches(if commit { "CompleteCommit" } else { "CompleteAbort" }).await;
        assert_eq!(committed(&mut group, true).await, (0, expected));
    }
}

pub async fn committed(client: &mut Client, require_stable: bool) -> (i16, i64) {
    let topics =
        OffsetFetchRequestTopics::default().with_name(name("orders")).with_partition_indexes(vec![0]);
    let one =
        OffsetFetchRequestGroup::default().with_group_id(GroupId(text("g"))).with_topics(Some(vec![topics]));
    let request = OffsetFetchRequest::default().with_groups(vec![one]).with_require_stable(require_stable);
    let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 8, &request).await;
    let partition = &answer.groups[0].topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

#[tokio::test]
async fn an_open_transaction_survives_its_coordinator() {
    let mut brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "kept").await, 0);
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    producer.client = coordinator(&brokers, "t", 1).await;
    assert_eq!(producer.end(true).await, 0);
    producer.reaches("CompleteCommit").await;
    assert_eq!(contents(&brokers, "orders").await, ["kept", "commit"]);
    let listed: ListTransactionsResponse = producer
        .client
        .ask(ApiKey::ListTransactions, 1, &ListTransactionsRequest::default().with_duration_filter(-1))
        .await;
    assert_eq!(listed.transaction_states[0].transactional_id, producer.transactional_id);
    let unknown = ListTransactionsRequest::default().with_state_filters(vec![text("Idle")]);
    let listed: ListTransactionsResponse = producer.client.ask(ApiKey::ListTransactions, 0, &unknown).await;
    assert_eq!((listed.transaction_states.len(), listed.unknown_state_filters), (0, vec![text("Idle")]));
}

#[tokio::test]
async fn a_transaction_is_completed_by_another_coordinator() {
    let mut brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce(&brokers, "orders", "kept").await, 0);
    let request = FindCoordinatorRequest::default().with_key(text("t")).with_key_type(1);
    let found: FindCoordinatorResponse =
        brokers[0].client().await.ask(ApiKey::FindCoordinator, 2, &request).await;
    let place = brokers.iter().position(|broker| broker.id() == found.node_id.0).unwrap();
    // It decides, and may or may not have told the partition when it dies.
    assert_eq!(producer.end(true).await, 0);
    let mut killed = brokers.remove(place);
    killed.kill().await;
    producer.client = coordinator(&brokers, "t", 1).await;
    assert_eq!(producer.end(true).await, 0, "the same end, asked for again");
    let after = until_open(&mut producer).await;
    assert_eq!(after, 0, "the next transaction can begin");
    let contents = settled_contents(&brokers, "orders").await;
    assert_eq!(contents[..2], ["kept", "commit"]);
    assert!(contents[2..].iter().all(|other| other == "commit"), "{contents:?}");
}

/// Begins a transaction as soon as the one before is complete.
async fn until_open(producer: &mut Producer) -> i16 {
    for _ in 0..100 {
        match producer.add("orders", vec![0]).await {
            0 => return 0,
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    producer.add("orders", vec![0]).await
}

/// The contents of a partition whose leader may have to be elected first.
async fn settled_contents(brokers: &[TestBroker], topic: &str) -> Vec<String> {
    for _ in 0..200 {
        let mut any = brokers[0].client().await;
        let metadata = any.metadata(Some(&[topic])).await;
        let leader = metadata.topics[0].partitions[0].leader_id.0;
        if let Some(broker) = brokers.iter().find(|broker| broker.id() == leader) {
            let data = broker.client().await.fetch(topic, 0, 0, 100).await;
            if data.error_code == 0 && data.high_watermark >= 2 {
                return contents(brokers, topic).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the partition has no leader");
}

#[tokio::test]
async fn producer_ids_differ_on_every_broker() {
    let brokers = start(3).await;
    let mut ids = std::collections::BTreeSet::new();
    for broker in &brokers {
        let mut client = broker.client().await;
        for version in 0..=5 {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            let answer = until_settled!(
                InitProducerIdResponse,
                client.ask(ApiKey::InitProducerId, version, &request).await
            );
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            assert!(ids.insert(answer.producer_id.0), "{} was handed out twice", answer.producer_id.0);
        }
    }
}
