//! Where requests go, on loopback: bootstrap, leaders that move, brokers that break, addresses that lead elsewhere.

mod fake;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use fake::{locked, make_topic};
use hopwise_client::behaviour::{Behaviour, Patience, Wait};
use hopwise_client::{
    Acks, Client, ClientError, Consumer, FetchOptions, HostPort, OffsetSpec, Operation, Options, Outcome,
    Producer, Record, RequestRecord, Reset,
};
use hopwise_engine::{Span, Time};
use kafka_protocol::messages::ApiKey;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// Quick retries, and limits far above what loopback needs.
fn options(bootstrap: Vec<HostPort>) -> (Options, UnboundedReceiver<RequestRecord>) {
    let (sender, records) = unbounded_channel();
    let options = Options { observer: Some(Arc::new(sender)), ..Options::new(bootstrap) };
    let quick = Wait::doubling(Duration::from_millis(5), Duration::from_millis(20));
    let behaviour = Behaviour { retry_backoff: quick, reconnect_backoff: quick, ..options.behaviour };
    (Options { behaviour, ..options }, records)
}

/// As `options`, but with so many retries.
fn retrying(retries: u32, options: Options) -> Options {
    let limited = |patience: Patience| Patience { retries: Some(retries), ..patience };
    let Behaviour { produce, fetch, others, .. } = options.behaviour;
    let (produce, fetch, others) = (limited(produce), limited(fetch), limited(others));
    Options { behaviour: Behaviour { produce, fetch, others, ..options.behaviour }, ..options }
}

/// As `options`, but giving an answer so long.
fn waiting(longest: Duration, options: Options) -> Options {
    Options { behaviour: Behaviour { request_timeout: longest, ..options.behaviour }, ..options }
}

fn advertised(cluster: &fake::Shared, id: i32) -> HostPort {
    locked(cluster).advertised[&id].clone()
}

fn drain(records: &mut UnboundedReceiver<RequestRecord>) -> Vec<RequestRecord> {
    std::iter::from_fn(|| records.try_recv().ok()).collect()
}

fn value(text: &'static str) -> Vec<Record> {
    vec![Record::new("key", text)]
}

#[tokio::test]
async fn requests_go_to_each_partition_s_leader() {
    let cluster = fake::start(2).await;
    let dead = fake::closed_port().await;
    let (options, mut records) = options(vec![dead.clone(), advertised(&cluster, 0)]);
    let client =
        Client::new(Options { base: Time::from_nanos(1_000), ..options }).expect("has a bootstrap address");
    client.create_topic("t", 2, 1).await.expect("is made");
    for partition in 0..2 {
        let batch = [Record::new("a", "1"), Record::new("b", "2")];
        assert_eq!(client.produce("t", partition, &batch, Acks::All).await, Ok(0));
        let fetched = client.fetch("t", partition, 1, FetchOptions::default()).await.expect("is read");
        assert_eq!(fetched.high_watermark, 2);
        assert_eq!(fetched.records.len(), 1, "the record before the offset is left out");
        assert_eq!(fetched.records[0].record.value.as_deref(), Some(&b"2"[..]));
        assert_eq!(client.list_offsets("t", partition, OffsetSpec::Latest).await, Ok(2));
    }
    let records = drain(&mut records);
    let first = &records[0];
    assert_eq!(
        (first.operation, first.outcome, &first.address),
        (Operation::Metadata, Outcome::Refused, &dead)
    );
    assert!(first.connect.is_some() && first.handshake.is_none() && first.error_code.is_none());
    let produced: Vec<_> = records.iter().filter(|record| record.operation == Operation::Produce).collect();
    assert_eq!(produced.iter().map(|record| record.broker).collect::<Vec<_>>(), [Some(0), Some(1)]);
    for record in &records {
        assert!(record.started_at >= Time::from_nanos(1_000));
        assert!(record.total >= record.request && record.route.is_none() && record.reached.is_none());
        assert_eq!(record.connect.is_some(), record.handshake.is_some() || record.address == dead);
    }
    let counters = client.counters();
    assert_eq!((counters.to_leader, counters.misrouted, counters.failed), (6, 0, 0));
    assert_eq!(counters.requests, records.len() as u64);
    assert_eq!(counters.operations, 7);
    assert_eq!(counters.connections_opened, 3, "one bootstrap connection and one to each broker");
}

#[tokio::test]
async fn a_moved_leader_is_found_by_new_metadata() {
    let cluster = fake::start(2).await;
    make_topic(&cluster, "t", &[0]);
    let (options, mut records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    client.produce("t", 0, &value("1"), Acks::All).await.expect("broker 0 leads");
    {
        let mut cluster = locked(&cluster);
        cluster.really.insert(("t".to_owned(), 0), 1);
        // The first new answer still names the old leader, as in an election.
        cluster.told_late = 2;
    }
    drain(&mut records);
    assert_eq!(client.produce("t", 0, &value("2"), Acks::All).await, Ok(1));
    let produced = drain(&mut records).into_iter().filter(|record| record.operation == Operation::Produce);
    let seen: Vec<_> =
        produced.map(|record| (record.attempt, record.broker, record.outcome, record.error_code)).collect();
    let denied = |attempt| (attempt, Some(0), Outcome::Ok, Some(6));
    assert_eq!(seen, [denied(1), denied(2), (3, Some(1), Outcome::Ok, Some(0))]);
    let counters = client.counters();
    assert_eq!((counters.misrouted, counters.retried, counters.to_leader, counters.failed), (2, 2, 2, 0));
    assert_eq!(counters.metadata_refreshes, 3);
}

#[tokio::test]
async fn an_address_that_leads_to_another_broker_is_a_wrong_broker() {
    let cluster = fake::start(2).await;
    make_topic(&cluster, "t", &[1]);
    let first = advertised(&cluster, 0);
    locked(&cluster).advertised.insert(1, first.clone());
    let (options, mut records) = options(vec![first]);
    let client = Client::new(retrying(5, options)).expect("has a bootstrap address");
    let error = client.produce("t", 0, &value("1"), Acks::All).await.expect_err("nobody there leads");
    assert_eq!((error.outcome(), error.error_code()), (Some(Outcome::WrongBroker), Some(6)), "{error}");
    let produced: Vec<_> =
        drain(&mut records).into_iter().filter(|record| record.operation == Operation::Produce).collect();
    let outcomes: Vec<_> = produced.iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes[..2], [Outcome::Ok; 2], "two denials may be an election");
    assert!(outcomes[2..].iter().all(|&outcome| outcome == Outcome::WrongBroker) && outcomes.len() == 6);
    assert_eq!((client.counters().misrouted, client.counters().failed), (6, 1));
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_request_is_opened_again() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    let (options, mut records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    locked(&cluster).faults.close = Some((ApiKey::Produce, 1));
    client.produce("t", 0, &value("1"), Acks::Leader).await.expect("the second attempt succeeds");
    let produced: Vec<_> =
        drain(&mut records).into_iter().filter(|record| record.operation == Operation::Produce).collect();
    assert_eq!(
        produced.iter().map(|record| record.outcome).collect::<Vec<_>>(),
        [Outcome::Refused, Outcome::Ok]
    );
    assert!(produced[0].explanation.contains("closed the connection"), "{}", produced[0].explanation);
    assert_eq!(client.counters().connections_opened, 3, "bootstrap, the broker, the broker again");
}

#[tokio::test]
async fn requests_on_one_connection_are_in_flight_together() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    assert_eq!(client.list_offsets("t", 0, OffsetSpec::Earliest).await, Ok(0));
    // The broker answers none of the three before it has all.
    locked(&cluster).faults.hold = Some((ApiKey::Produce, 3));
    let (one, two, three) = (value("1"), value("2"), value("3"));
    let sent = tokio::join!(
        client.produce("t", 0, &one, Acks::All),
        client.produce("t", 0, &two, Acks::All),
        client.produce("t", 0, &three, Acks::All),
    );
    assert_eq!(sent, (Ok(0), Ok(1), Ok(2)));
    assert_eq!(client.counters().retried, 0);
}

#[tokio::test]
async fn a_broker_that_stays_silent_is_a_timeout() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    locked(&cluster).faults.ignore = Some(ApiKey::Produce);
    let (options, mut records) = options(vec![advertised(&cluster, 0)]);
    let options = retrying(1, waiting(Duration::from_millis(200), options));
    let client = Client::new(options).expect("has a bootstrap address");
    let error = client.produce("t", 0, &value("1"), Acks::All).await.expect_err("no answer comes");
    assert_eq!(error.outcome(), Some(Outcome::Timeout), "{error}");
    assert!(matches!(error, ClientError::GaveUp { attempts: 2, .. }), "{error}");
    let produced: Vec<_> =
        drain(&mut records).into_iter().filter(|record| record.operation == Operation::Produce).collect();
    assert!(produced.iter().all(|record| record.request >= Span::from_millis(190)));
    assert_eq!(client.counters().connections_opened, 3, "a connection that timed out is not used again");
}

#[tokio::test]
async fn each_way_not_to_reach_a_broker_has_its_word() {
    let cases = [
        (
            fake::server(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")).await,
            Outcome::ProtocolMismatch,
            "HTTP response",
        ),
        (fake::server(Some(&[0x15, 3, 3, 0, 2, 2, 0x46])).await, Outcome::ProtocolMismatch, "352518912"),
        (fake::server(Some(b"")).await, Outcome::Refused, "closed the connection"),
        (fake::server(None).await, Outcome::Timeout, "did not answer"),
        (fake::closed_port().await, Outcome::Refused, "connecting to"),
        (HostPort::new("redpanda-0", 9094), Outcome::NameNotFound, "`redpanda-0`"),
        (HostPort::new("", 30887), Outcome::NameNotFound, "empty host"),
    ];
    for (address, outcome, words) in cases {
        let (options, mut records) = options(vec![address.clone()]);
        let options = Options {
            names: Some(Arc::new(|_| Some(Err(io::ErrorKind::NotFound.into())))),
            ..retrying(0, waiting(Duration::from_millis(200), options))
        };
        let client = Client::new(options).expect("has a bootstrap address");
        let error = client.metadata().await.expect_err("no broker is there");
        assert_eq!(error.outcome(), Some(outcome), "{address}: {error}");
        assert!(error.to_string().contains(words), "{address}: {error}");
        let record = drain(&mut records).pop().expect("an attempt is recorded");
        assert_eq!((record.outcome, record.broker, record.error_code), (outcome, None, None));
        assert_eq!(client.counters().failed, 1);
    }
}

#[tokio::test]
async fn each_address_of_a_name_is_tried() {
    let cluster = fake::start(1).await;
    let port = advertised(&cluster, 0).port;
    let (options, mut records) = options(vec![HostPort::new("seed", port)]);
    // Nothing listens on the other loopback address.
    let addresses = vec!["127.0.0.99".parse().expect("valid"), "127.0.0.1".parse().expect("valid")];
    let options = Options { names: Some(Arc::new(move |_| Some(Ok(addresses.clone())))), ..options };
    let client = Client::new(options).expect("has a bootstrap address");
    let seen = client.metadata().await.expect("the second address answers");
    assert_eq!(seen.id.as_deref(), Some("redpanda.fake"));
    let record = drain(&mut records).remove(0);
    assert_eq!(record.ip, Some("127.0.0.1".parse().expect("valid")));
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_version_0() {
    let cluster = fake::start(1).await;
    locked(&cluster).faults.api_versions_max = Some(2);
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    client.metadata().await.expect("the broker is understood");
    let asked = locked(&cluster).seen.iter().filter(|(_, key)| *key == ApiKey::ApiVersions).count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn a_request_that_is_not_offered_is_not_tried_again() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    locked(&cluster).faults.not_offered = vec![ApiKey::Produce];
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    let error = client.produce("t", 0, &value("1"), Acks::All).await.expect_err("not offered");
    assert!(matches!(error, ClientError::Rejected { outcome: Outcome::ProtocolMismatch, .. }), "{error}");
}

#[tokio::test]
async fn metadata_is_asked_for_again_at_its_age() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let behaviour = Behaviour { metadata_max_age: Some(Duration::ZERO), ..options.behaviour };
    let client = Client::new(Options { behaviour, ..options }).expect("has an address");
    for _ in 0..3 {
        client.list_offsets("t", 0, OffsetSpec::Latest).await.expect("the leader answers");
    }
    assert_eq!(client.counters().metadata_refreshes, 3);
}

#[tokio::test]
async fn an_unknown_topic_is_waited_for_and_given_up() {
    let cluster = fake::start(1).await;
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(retrying(3, options)).expect("has a bootstrap address");
    let error = client.produce("absent", 0, &value("1"), Acks::All).await.expect_err("nobody made it");
    assert!(matches!(error, ClientError::GaveUp { attempts: 0, error_code: Some(3), .. }), "{error}");
    assert_eq!(client.counters().metadata_refreshes, 4);
    client.create_topic("late", 1, 1).await.expect("is made");
    let again = client.create_topic("late", 1, 1).await.expect_err("exists");
    assert!(matches!(again, ClientError::Rejected { error_code: Some(36), .. }), "{again}");
}

#[tokio::test]
async fn without_acks_a_request_ends_when_it_is_written() {
    let cluster = fake::start(1).await;
    make_topic(&cluster, "t", &[0]);
    let (options, mut records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    assert_eq!(client.produce("t", 0, &value("1"), Acks::None).await, Ok(-1));
    // The connection's next answer comes after it, so the record is in the log by then.
    assert_eq!(client.list_offsets("t", 0, OffsetSpec::Latest).await, Ok(1));
    let record = drain(&mut records).into_iter().find(|record| record.operation == Operation::Produce);
    assert_eq!(record.map(|record| (record.outcome, record.error_code)), Some((Outcome::Ok, None)));
}

#[tokio::test]
async fn a_coordinator_comes_with_its_address() {
    let cluster = fake::start(1).await;
    let (options, _records) = options(vec![advertised(&cluster, 0)]);
    let client = Client::new(options).expect("has a bootstrap address");
    // Spawned, since callers do so: every operation's future can be.
    let asked = tokio::spawn(async move { client.find_coordinator("group").await });
    let coordinator = asked.await.expect("ends").expect("is told");
    assert_eq!((coordinator.id, coordinator.address), (0, advertised(&cluster, 0)));
}

#[tokio::test]
async fn producers_and_consumers_meet() {
    let cluster = fake::start(2).await;
    make_topic(&cluster, "t", &[0, 1, 0]);
    let (options, _records) = options(vec![advertised(&cluster, 1)]);
    let client = Client::new(options).expect("has a bootstrap address");
    let producer = Producer::new(client.clone(), "t", Acks::All);
    for number in 0..30_u32 {
        let record = Record::new(number.to_be_bytes().to_vec(), number.to_string());
        producer.send(record).await.expect("is taken");
    }
    let mut read = Vec::new();
    for partition in 0..3 {
        let mut consumer = Consumer::new(client.clone(), "t", partition, 1_000).with_reset(Reset::Earliest);
        assert_eq!(consumer.poll().await, Ok(Vec::new()), "offset 1000 is out of range");
        assert_eq!(consumer.offset(), 0);
        let records = consumer.poll().await.expect("is read");
        assert!(!records.is_empty(), "the keys spread over all partitions");
        assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == offset));
        assert_eq!(consumer.poll().await, Ok(Vec::new()));
        read.extend(records.into_iter().filter_map(|read| read.record.value));
    }
    read.sort();
    let mut sent: Vec<_> = (0..30).map(|number: u32| number.to_string()).collect();
    sent.sort();
    assert_eq!(read, sent);
}
