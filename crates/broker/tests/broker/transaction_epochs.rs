//! Clients at `transaction.version` 2 (KIP-890) over real sockets: records and offsets join transactions by themselves,
//! each end raises the epoch, and what belongs to no open transaction is refused.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, ApiKey, ApiVersionsRequest, ApiVersionsResponse,
    EndTxnRequest, EndTxnResponse, ProduceResponse,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion};
use kafka_protocol::records::RecordBatchDecoder;

use crate::support::{TestBroker, name, produce_request};
use crate::transactions::{
    Producer, batch, code, committed, contents, coordinator, leader, start, until_settled,
};

/// What there is to end and to write by these clients.
impl Producer {
    /// EndTxn 5; the answer's error, producer id and epoch.
    async fn try_end(&mut self, commit: bool) -> (i16, i64, i16) {
        let request = EndTxnRequest::default()
            .with_transactional_id(self.transactional_id.clone())
            .with_producer_id(self.id)
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        let answer = until_settled!(EndTxnResponse, self.client.ask(ApiKey::EndTxn, 5, &request).await);
        (answer.error_code, answer.producer_id.0, answer.producer_epoch)
    }

    /// Ends the transaction and goes on with what the answer says.
    async fn end_and_raise(&mut self, commit: bool) {
        let (error, id, epoch) = self.try_end(commit).await;
        assert_eq!((error, id, epoch), (0, self.id.0, self.epoch + 1));
        (self.epoch, self.sequence) = (epoch, 0);
    }

    /// Produce 12, again while the transaction before is not complete.
    async fn write(&mut self, brokers: &[TestBroker], topic: &str, value: &str) -> i16 {
        for _ in 0..300 {
            let code = self.produce_by(12, brokers, topic, value).await;
            if code != ResponseError::ConcurrentTransactions.code() {
                return code;
            }
            self.sequence -= 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the transaction before is not completed");
    }
}

#[tokio::test]
async fn clients_learn_the_transaction_version() {
    let brokers = start(1).await;
    let mut client = brokers[0].client().await;
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let answer: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, version, &request).await;
        let finalized = answer.finalized_features.iter();
        let finalized: Vec<_> =
            finalized.map(|one| (one.name.as_str(), one.min_version_level, one.max_version_level)).collect();
        let supported = answer.supported_features.iter();
        let supported: Vec<_> =
            supported.map(|one| (one.name.as_str(), one.min_version, one.max_version)).collect();
        if version < 3 {
            assert!(finalized.is_empty() && supported.is_empty());
            continue;
        }
        assert_eq!((finalized, answer.finalized_features_epoch), (vec![("transaction.version", 2, 2)], 0));
        // Clients of version 3 do not read levels from 0 on.
        let expected = if version == 3 { vec![] } else { vec![("transaction.version", 0, 2)] };
        assert_eq!(supported, expected);
        let most =
            |key: ApiKey| answer.api_keys.iter().find(|one| one.api_key == key as i16).unwrap().max_version;
        assert_eq!((most(ApiKey::EndTxn), most(ApiKey::TxnOffsetCommit)), (5, 5));
        assert!(most(ApiKey::Produce) >= 12);
    }
}

#[tokio::test]
async fn records_join_transactions_by_themselves_and_each_end_raises_the_epoch() {
    let brokers = start(3).await;
    for topic in ["orders", "bills"] {
        brokers[0].client().await.create_topic(topic, 1, 3).await;
    }
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let first = producer.epoch;
    for (commit, value) in [(true, "kept"), (false, "lost"), (true, "kept too")] {
        assert_eq!(producer.write(&brokers, "orders", value).await, 0);
        assert_eq!(producer.state().await, "Ongoing");
        let sequence = std::mem::take(&mut producer.sequence);
        assert_eq!(producer.write(&brokers, "bills", value).await, 0);
        producer.sequence = sequence;
        assert_eq!(producer.write(&brokers, "orders", "more").await, 0);
        producer.end_and_raise(commit).await;
    }
    producer.reaches("CompleteCommit").await;
    let expected = ["kept", "more", "commit", "lost", "more", "abort", "kept too", "more", "commit"];
    assert_eq!(contents(&brokers, "orders").await, expected);
    assert_eq!(contents(&brokers, "bills").await, ["kept", "commit", "lost", "abort", "kept too", "commit"]);
    let data = leader(&brokers, "orders").await.fetch("orders", 0, 0, 1000).await;
    let batches = RecordBatchDecoder::decode_all(&mut data.records.unwrap()).unwrap();
    let records = batches.into_iter().flat_map(|batch| batch.records);
    let markers: Vec<i16> =
        records.filter(|record| record.control).map(|record| record.producer_epoch).collect();
    assert_eq!(markers, [first + 1, first + 2, first + 3], "each is above the epoch of what it ends");
}

#[tokio::test]
async fn what_has_ended_gets_no_further_records_and_answers_its_end_again() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.write(&brokers, "orders", "kept").await, 0);
    let first = producer.try_end(true).await;
    assert_eq!(first, (0, producer.id.0, producer.epoch + 1));
    producer.reaches("CompleteCommit").await;
    assert_eq!(producer.try_end(true).await, first, "the answer was lost");
    assert_eq!(producer.try_end(false).await, (code(ResponseError::InvalidTxnState), -1, -1));
    for version in [9, 11, 12] {
        let late = producer.produce_by(version, &brokers, "orders", "late").await;
        assert_eq!(late, code(ResponseError::InvalidProducerEpoch), "Produce {version}");
    }
    assert_eq!(contents(&brokers, "orders").await, ["kept", "commit"]);
    // The abort of a transaction that has no record yet.
    (producer.epoch, producer.sequence) = (first.2, 0);
    assert_eq!(producer.try_end(true).await.0, code(ResponseError::InvalidTxnState));
    producer.end_and_raise(false).await;
    assert_eq!(producer.write(&brokers, "orders", "kept too").await, 0);
    producer.end_and_raise(true).await;
    producer.reaches("CompleteCommit").await;
    assert_eq!(contents(&brokers, "orders").await, ["kept", "commit", "kept too", "commit"]);
}

/// Older clients add their partitions themselves; what comes without that would never be ended.
#[tokio::test]
async fn records_of_older_clients_are_taken_in_their_open_transaction_alone() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let errors = [(9, ResponseError::InvalidTxnState), (11, ResponseError::TransactionAbortable)];
    for (version, error) in errors {
        assert_eq!(producer.produce_by(version, &brokers, "orders", "early").await, code(error));
        producer.sequence = 0;
    }
    assert_eq!(producer.add("orders", vec![0]).await, 0);
    assert_eq!(producer.produce_by(11, &brokers, "orders", "kept").await, 0);
    assert_eq!(producer.end(true).await, 0);
    producer.reaches("CompleteCommit").await;
    for (version, error) in errors {
        assert_eq!(producer.produce_by(version, &brokers, "orders", "late").await, code(error));
        producer.sequence -= 1;
    }
    let mut unknown = Producer { client: brokers[0].client().await, ..producer };
    unknown.id.0 += 1;
    let error = unknown.produce_by(12, &brokers, "orders", "of nobody").await;
    assert_eq!(error, code(ResponseError::InvalidProducerIdMapping));
    assert_eq!(contents(&brokers, "orders").await, ["kept", "commit"]);
}

#[tokio::test]
async fn offsets_join_transactions_by_themselves() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let mut group = coordinator(&brokers, "g", 0).await;
    for (version, error) in [(3, ResponseError::InvalidTxnState), (4, ResponseError::TransactionAbortable)] {
        assert_eq!(producer.commit_offset(&mut group, version, 5).await, code(error));
    }
    assert_eq!(committed(&mut group, true).await, (0, -1));
    for (commit, offset, expected) in [(true, 5, 5), (false, 9, 5), (true, 7, 7)] {
        assert_eq!(producer.commit_offset(&mut group, 5, offset).await, 0);
        let open = committed(&mut group, true).await;
        assert_eq!(open.0, code(ResponseError::UnstableOffsetCommit));
        let before = producer.epoch;
        producer.end_and_raise(commit).await;
        producer.reaches(if commit { "CompleteCommit" } else { "CompleteAbort" }).await;
        assert_eq!(committed(&mut group, true).await, (0, expected));
        let next = std::mem::replace(&mut producer.epoch, before);
        let late = producer.commit_offset(&mut group, 5, 99).await;
        assert_eq!(late, code(ResponseError::InvalidProducerEpoch));
        producer.epoch = next;
    }
}

#[tokio::test]
async fn a_producer_goes_on_after_a_time_out_by_aborting() {
    let brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let mut producer = Producer::new(&brokers, "t", 100).await;
    assert_eq!(producer.write(&brokers, "orders", "late").await, 0);
    producer.reaches("CompleteAbort").await;
    let refused = producer.produce_by(12, &brokers, "orders", "later").await;
    assert_eq!(refused, code(ResponseError::InvalidProducerEpoch));
    assert_eq!(producer.try_end(true).await.0, code(ResponseError::InvalidTxnState));
    producer.end_and_raise(false).await;
    assert_eq!(producer.write(&brokers, "orders", "kept").await, 0);
    producer.end_and_raise(true).await;
    producer.reaches("CompleteCommit").await;
    assert_eq!(contents(&brokers, "orders").await, ["late", "abort", "kept", "commit"]);
}

#[tokio::test]
async fn an_end_is_answered_again_by_a_coordinator_that_has_restarted() {
    let mut brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    assert_eq!(producer.write(&brokers, "orders", "kept").await, 0);
    let first = producer.try_end(true).await;
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    producer.client = coordinator(&brokers, "t", 1).await;
    assert_eq!(producer.try_end(true).await, first);
    let late = producer.produce_by(12, &brokers, "orders", "late").await;
    assert_eq!(late, code(ResponseError::InvalidProducerEpoch));
    (producer.epoch, producer.sequence) = (first.2, 0);
    assert_eq!(producer.write(&brokers, "orders", "kept too").await, 0);
    producer.end_and_raise(true).await;
    producer.reaches("CompleteCommit").await;
    let contents = contents(&brokers, "orders").await;
    assert_eq!(contents, ["kept", "commit", "kept too", "commit"], "no marker is there twice");
}

/// The producer goes on as soon as its end is decided, while the markers are on their way to the partitions that its next
/// records are for.
#[tokio::test]
async fn the_next_transaction_begins_while_the_last_ones_markers_are_written() {
    let brokers = start(3).await;
    for topic in ["orders", "bills"] {
        brokers[0].client().await.create_topic(topic, 1, 3).await;
    }
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    for round in 0..30 {
        for topic in ["orders", "bills"] {
            assert_eq!(producer.write(&brokers, topic, "kept").await, 0, "round {round}");
            producer.sequence = 0;
        }
        producer.end_and_raise(round % 2 == 0).await;
    }
    producer.reaches("CompleteAbort").await;
    let contents = contents(&brokers, "orders").await;
    assert_eq!(contents, ["kept", "commit", "kept", "abort"].repeat(15));
}

/// Requests overlap on a connection, and the first one waits for the coordinator.
#[tokio::test]
async fn records_that_are_sent_at_once_keep_their_order() {
    let brokers = start(3).await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let mut client = leader(&brokers, "orders").await;
    let values: Vec<String> = (0..20).map(|number| format!("v{number}")).collect();
    for (sequence, value) in (0..).zip(&values) {
        let request = produce_request("orders", 0, -1, batch(producer.id.0, producer.epoch, sequence, value));
        let request = request.with_transactional_id(Some(producer.transactional_id.clone()));
        client.send(ApiKey::Produce, 12, &request).await;
    }
    for value in &values {
        let mut bytes = client.receive().await.unwrap();
        let header = ProduceResponse::header_version(12);
        kafka_protocol::messages::ResponseHeader::decode(&mut bytes, header).unwrap();
        let answer = ProduceResponse::decode(&mut bytes, 12).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "{value}");
    }
    producer.end_and_raise(true).await;
    producer.reaches("CompleteCommit").await;
    let contents = contents(&brokers, "orders").await;
    assert_eq!(contents[..20], values);
}

#[tokio::test]
async fn brokers_add_and_verify_partitions_of_many_transactions() {
    let brokers = start(1).await;
    brokers[0].client().await.create_topic("orders", 2, 1).await;
    let mut producer = Producer::new(&brokers, "t", 60_000).await;
    let topics = |partitions: &[i32]| {
        vec![
            AddPartitionsToTxnTopic::default().with_name(name("orders")).with_partitions(partitions.to_vec()),
        ]
    };
    let transaction = AddPartitionsToTxnTransaction::default()
        .with_transactional_id(producer.transactional_id.clone())
        .with_producer_id(producer.id)
        .with_producer_epoch(producer.epoch);
    let unknown = transaction.clone().with_transactional_id(kafka_protocol::messages::TransactionalId(
        crate::transactions::text("unknown"),
    ));
    let abortable = code(ResponseError::TransactionAbortable);
    let mapping = code(ResponseError::InvalidProducerIdMapping);
    let steps = [
        (5, true, vec![0, 1], vec![abortable, abortable]),
        (4, true, vec![0], vec![code(ResponseError::InvalidTxnState)]),
        (5, false, vec![0], vec![0]),
        (5, true, vec![0, 1], vec![0, abortable]),
    ];
    for (version, verify_only, partitions, expected) in steps {
        let of = |transaction: &AddPartitionsToTxnTransaction| {
            transaction.clone().with_verify_only(verify_only).with_topics(topics(&partitions))
        };
        let request =
            AddPartitionsToTxnRequest::default().with_transactions(vec![of(&transaction), of(&unknown)]);
        let codes = loop {
            let answer: AddPartitionsToTxnResponse =
                producer.client.ask(ApiKey::AddPartitionsToTxn, version, &request).await;
            assert_eq!(answer.error_code, 0);
            let codes = answer.results_by_transaction.iter().map(|one| {
                let results = one.topic_results[0].results_by_partition.iter();
                results.map(|result| result.partition_error_code).collect::<Vec<_>>()
            });
            let codes: Vec<Vec<i16>> = codes.collect();
            // The coordinator of the other id may have just begun to be one.
            if codes[1][0] != code(ResponseError::CoordinatorLoadInProgress) {
                break codes;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_eq!(
            codes,
            [expected, vec![mapping; partitions.len()]],
            "{version} {verify_only} {partitions:?}"
        );
    }
    assert_eq!(producer.state().await, "Ongoing");
}
