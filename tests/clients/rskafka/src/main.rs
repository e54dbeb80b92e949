//! rskafka: the checks. driver/harness.py tells what the environment holds.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeZone, Utc};
use rskafka::BackoffConfig;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;
type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

const PARTITIONS: i32 = 6;
const RECORDS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an election takes at most, as a rule.
const ELECTION: Duration = Duration::from_secs(5);

/// How the mode's clients log in, and what they trust.
#[derive(Clone, Default)]
struct Security {
    sasl: Option<(&'static str, String)>,
    tls: bool,
}

fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn brokers() -> BTreeMap<i32, String> {
    let entry = |text: &str| {
        let (id, address) = text.split_once('=')?;
        Some((id.parse().ok()?, address.to_owned()))
    };
    environment("HOPWISE_BROKERS").split(',').filter_map(entry).collect()
}

fn replicas() -> i16 {
    brokers().len().clamp(1, 3) as i16
}

/// About now, so that no retention takes the records away.
fn base() -> DateTime<Utc> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
    // A whole hour, so that writing and reading agree on it.
    Utc.timestamp_millis_opt(now / 3_600_000 * 3_600_000).unwrap()
}

fn equal<T: PartialEq + Debug>(got: T, wanted: T, what: &str) -> Outcome {
    if got == wanted {
        return Ok(());
    }
    let short = |value: &T| format!("{value:?}").chars().take(200).collect::<String>();
    Err(format!("{what}: got {}, expected {}", short(&got), short(&wanted)).into())
}

async fn client(security: &Security) -> Result<Client, Box<dyn Error + Send + Sync>> {
    patient_client(security, PATIENCE).await
}

/// A client that goes on trying for this long.
async fn patient_client(
    security: &Security,
    deadline: Duration,
) -> Result<Client, Box<dyn Error + Send + Sync>> {
    let bootstrap = environment("HOPWISE_BOOTSTRAP").split(',').map(str::to_owned).collect();
    // By default the waits treble without end, so that it gives up long before the deadline while leaders are elected.
    let max_backoff = Duration::from_millis(500);
    let backoff = BackoffConfig { max_backoff, deadline: Some(deadline), ..BackoffConfig::default() };
    let mut builder = ClientBuilder::new(bootstrap).client_id("rskafka").backoff_config(backoff);
    if let Some((mechanism, password)) = &security.sasl {
        let user = if *mechanism == "SCRAM-SHA-512" { "HOPWISE_USER_512" } else { "HOPWISE_USER" };
        let credentials = Credentials::new(environment(user), password.clone());
        builder = builder.sasl_config(match *mechanism {
            "SCRAM-SHA-256" => SaslConfig::ScramSha256(credentials),
            "SCRAM-SHA-512" => SaslConfig::ScramSha512(credentials),
            _ => SaslConfig::Plain(credentials),
        });
    }
    if security.tls {
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(environment("HOPWISE_CA"))?;
        for certificate in rustls_pemfile::certs(&mut pem.as_slice()) {
            roots.add(certificate?)?;
        }
        let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        builder = builder.tls_config(Arc::new(config));
    }
    Ok(tokio::time::timeout(PATIENCE, builder.build()).await??)
}

async fn create(security: &Security, topic: &str, partitions: i32) -> Outcome {
    let client = client(security).await?;
    client.controller_client()?.create_topic(topic, partitions, replicas(), 10_000).await?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let topics = client.list_topics().await?;
        if topics.iter().any(|it| it.name == topic && it.partitions.len() == partitions as usize) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(format!("topic {topic} is not known within {PATIENCE:?}").into())
}

/// A client of a partition. rskafka keeps the metadata that it bootstraps with for ever where that says that a partition has
/// no leader yet (`PartitionClient` takes it from `MetadataCache`, which only a failed connection invalidates), so a client
/// that came before the election is given up for a new one.
async fn partition(
    security: &Security,
    topic: &str,
    partition: i32,
) -> Result<PartitionClient, Box<dyn Error + Send + Sync>> {
    let end = Instant::now() + PATIENCE;
    loop {
        let client = patient_client(security, ELECTION).await?;
        let opened = client.partition_client(topic, partition, UnknownTopicHandling::Retry).await;
        match opened {
            Err(_) if Instant::now() < end => {}
            opened => return Ok(opened?),
        }
    }
}

fn record(i: usize) -> Record {
    let mut value = format!("value-{i}-").into_bytes();
    value.extend((0..i % 300).map(|j| j as u8));
    let headers = [("number", i.to_string().into_bytes()), ("bytes", vec![0, 255, i as u8])];
    Record {
        key: Some(format!("key-{i}").into_bytes()),
        value: Some(value),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        timestamp: base() + chrono::TimeDelta::milliseconds(i as i64),
    }
}

fn plain(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
    Record {
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: BTreeMap::new(),
        timestamp: base(),
    }
}

fn simple(count: usize) -> Vec<Record> {
    let of = |i: usize| Record {
        timestamp: base() + chrono::TimeDelta::milliseconds(i as i64),
        ..plain(Some(format!("k{i}").as_bytes()), Some(format!("v{i}").as_bytes()))
    };
    (0..count).map(of).collect()
}

async fn read(
    partition: &PartitionClient,
    from: i64,
    count: usize,
) -> Result<Vec<Record>, Box<dyn Error + Send + Sync>> {
    let (mut records, mut offset) = (Vec::new(), from);
    let end = Instant::now() + PATIENCE;
    while records.len() < count {
        if Instant::now() > end {
            return Err(format!("{} of {count} records within {PATIENCE:?}", records.len()).into());
        }
        let (some, _) = partition.fetch_records(offset, 1..4_000_000, 500).await?;
        for found in some {
            if found.offset < offset {
                return Err(format!("offset {} after {offset}", found.offset).into());
            }
            offset = found.offset + 1;
            records.push(found.record);
        }
    }
    Ok(records)
}

async fn metadata(security: Security) -> Outcome {
    // The client shows no brokers; that it reaches every leader is what it needs their addresses for.
    create(&security, "rs-metadata", PARTITIONS).await?;
    for index in 0..PARTITIONS {
        let partition = partition(&security, "rs-metadata", index).await?;
        equal(partition.get_offset(OffsetAt::Latest).await?, 0, "the latest offset by the leader")?;
    }
    Ok(())
}

async fn create_topic(security: Security) -> Outcome {
    create(&security, "rs-create", PARTITIONS).await?;
    let again = create(&security, "rs-create", 1).await;
    let said = again.err().map(|error| error.to_string()).unwrap_or_default();
    equal(said.contains("TopicAlreadyExists"), true, &format!("creating it again: {said}"))
}

async fn produce_fetch(security: Security) -> Outcome {
    create(&security, "rs-records", PARTITIONS).await?;
    for index in 0..PARTITIONS as usize {
        let partition = partition(&security, "rs-records", index as i32).await?;
        let wanted: Vec<Record> = (index..RECORDS).step_by(PARTITIONS as usize).map(record).collect();
        let offsets = partition.produce(wanted.clone(), Compression::NoCompression).await?;
        equal(offsets, (0..wanted.len() as i64).collect(), "offsets")?;
        equal(read(&partition, 0, wanted.len()).await?, wanted, "records")?;
    }
    Ok(())
}

async fn codec(security: Security, name: &'static str, compression: Compression) -> Outcome {
    let topic = format!("rs-codec-{name}");
    create(&security, &topic, 1).await?;
    let partition = partition(&security, &topic, 0).await?;
    let text = |i: usize| format!("{i}-{}", "compressible ".repeat(50));
    let wanted: Vec<Record> = (0..100).map(|i| plain(None, Some(text(i).as_bytes()))).collect();
    partition.produce(wanted.clone(), compression).await?;
    equal(read(&partition, 0, 100).await?, wanted, "records")
}

async fn list_offsets(security: Security) -> Outcome {
    create(&security, "rs-offsets", 1).await?;
    let partition = partition(&security, "rs-offsets", 0).await?;
    partition.produce(simple(100), Compression::NoCompression).await?;
    equal(partition.get_offset(OffsetAt::Earliest).await?, 0, "earliest")?;
    equal(partition.get_offset(OffsetAt::Latest).await?, 100, "latest")?;
    let when = base() + chrono::TimeDelta::milliseconds(42);
    equal(partition.get_offset(OffsetAt::Timestamp(when)).await?, 42, "by time")
}

async fn out_of_range_reset(security: Security) -> Outcome {
    create(&security, "rs-range", 1).await?;
    let partition = partition(&security, "rs-range", 0).await?;
    partition.produce(simple(10), Compression::NoCompression).await?;
    let error = partition.fetch_records(1000, 1..1000, 100).await.err().map(|error| error.to_string());
    let error = error.unwrap_or_default();
    equal(error.contains("OffsetOutOfRange"), true, &format!("an offset out of range: {error}"))?;
    let from = partition.get_offset(OffsetAt::Earliest).await?;
    equal(read(&partition, from, 10).await?, simple(10), "records after the reset")
}

async fn delete_records(security: Security) -> Outcome {
    create(&security, "rs-delete-records", 1).await?;
    let partition = partition(&security, "rs-delete-records", 0).await?;
    partition.produce(simple(50), Compression::NoCompression).await?;
    partition.delete_records(30, 10_000).await?;
    equal(partition.get_offset(OffsetAt::Earliest).await?, 30, "earliest")?;
    equal(read(&partition, 30, 20).await?, simple(50)[30..].to_vec(), "records that are left")
}

async fn delete_topic(security: Security) -> Outcome {
    create(&security, "rs-delete", 1).await?;
    let client = client(&security).await?;
    client.controller_client()?.delete_topic("rs-delete", 10_000).await?;
    let end = Instant::now() + PATIENCE;
    while client.list_topics().await?.iter().any(|topic| topic.name == "rs-delete") {
        equal(Instant::now() < end, true, "whether it is gone in time")?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn large_record(security: Security) -> Outcome {
    create(&security, "rs-large", 1).await?;
    let partition = partition(&security, "rs-large", 0).await?;
    // Bytes that do not repeat.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let value: Vec<u8> = (0..900 * 1024).map(|_| next()).collect();
    let wanted = vec![plain(None, Some(&value))];
    partition.produce(wanted.clone(), Compression::NoCompression).await?;
    equal(read(&partition, 0, 1).await? == wanted, true, "whether the value is as it was sent")
}

async fn tombstones(security: Security) -> Outcome {
    create(&security, "rs-tombstones", 1).await?;
    let partition = partition(&security, "rs-tombstones", 0).await?;
    let wanted = vec![
        plain(Some(b"a"), None),
        plain(Some(b"b"), Some(b"")),
        plain(None, Some(b"c")),
        plain(Some(b""), Some(b"d")),
        plain(None, None),
    ];
    partition.produce(wanted.clone(), Compression::NoCompression).await?;
    equal(read(&partition, 0, wanted.len()).await?, wanted, "keys and values")
}

async fn unknown_topic(security: Security) -> Outcome {
    let client = client(&security).await?;
    let opened = client.partition_client("rs-nowhere", 0, UnknownTopicHandling::Error).await;
    let error = match opened {
        Ok(partition) => {
            partition.produce(simple(1), Compression::NoCompression).await.err().map(|e| e.to_string())
        }
        Err(error) => Some(error.to_string()),
    };
    let error = error.unwrap_or_default();
    equal(error.contains("UnknownTopicOrPartition"), true, &format!("an unknown topic: {error}"))
}

async fn round_trip(security: Security, topic: String) -> Outcome {
    create(&security, &topic, 1).await?;
    let partition = partition(&security, &topic, 0).await?;
    partition.produce(simple(10), Compression::NoCompression).await?;
    equal(read(&partition, 0, 10).await?, simple(10), "records")
}

async fn wrong_password() -> Outcome {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let security = Security { sasl: Some((mechanism, "wrong".to_owned())), tls: false };
        let client = patient_client(&security, Duration::from_secs(1)).await;
        let error = client.err().map(|error| error.to_string()).unwrap_or_default();
        let said = error.to_lowercase();
        equal(said.contains("sasl") || said.contains("authenticat"), true, &format!("{mechanism}: {error}"))?;
    }
    Ok(())
}

async fn restart_write(security: Security) -> Outcome {
    create(&security, "rs-restart", 1).await?;
    let offsets =
        partition(&security, "rs-restart", 0).await?.produce(simple(20), Compression::NoCompression).await?;
    equal(offsets.len(), 20, "offsets")
}

async fn restart_read(security: Security) -> Outcome {
    let partition = partition(&security, "rs-restart", 0).await?;
    let values: Vec<_> = read(&partition, 0, 20).await?.into_iter().map(|record| record.value).collect();
    equal(values, simple(20).into_iter().map(|record| record.value).collect(), "values")
}

/// A check, or why there is none.
enum Check {
    Run(Running),
    NotApplicable(&'static str),
}

fn checks(mode: &str) -> Vec<(String, Check)> {
    let mut all: Vec<(String, Check)> = Vec::new();
    let none = Security::default();
    macro_rules! run {
        ($name:expr, $future:expr) => {
            all.push(($name.to_owned(), Check::Run(Box::pin($future))))
        };
    }
    match mode {
        "sasl" => {
            for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
                let security =
                    Security { sasl: Some((mechanism, environment("HOPWISE_PASSWORD"))), tls: false };
                let name = mechanism.to_lowercase();
                run!(format!("sasl-{name}"), round_trip(security, format!("rs-{name}")));
            }
            run!("sasl-wrong-password", wrong_password());
        }
        "tls" => run!("tls", round_trip(Security { sasl: None, tls: true }, "rs-tls".to_owned())),
        "restart-write" => run!("restart-write", restart_write(none)),
        "restart-read" => run!("restart-read", restart_read(none)),
        _ => {
            run!("metadata", metadata(none.clone()));
            run!("create-topic", create_topic(none.clone()));
            run!("produce-fetch", produce_fetch(none.clone()));
            let codecs = [
                ("none", Compression::NoCompression),
                ("gzip", Compression::Gzip),
                ("snappy", Compression::Snappy),
                ("lz4", Compression::Lz4),
                ("zstd", Compression::Zstd),
            ];
            for (name, compression) in codecs {
                run!(format!("codec-{name}"), codec(none.clone(), name, compression));
            }
            run!("list-offsets", list_offsets(none.clone()));
            run!("out-of-range-reset", out_of_range_reset(none.clone()));
            run!("delete-records", delete_records(none.clone()));
            run!("delete-topic", delete_topic(none.clone()));
            run!("large-record", large_record(none.clone()));
            run!("tombstones", tombstones(none.clone()));
            run!("unknown-topic", unknown_topic(none));
            let missing = [
                ("idempotent-producer", "the client's producer has no idempotence and no transactions"),
                ("transaction-commit", "the client's producer has no idempotence and no transactions"),
                ("transaction-abort", "the client's producer has no idempotence and no transactions"),
                ("transaction-offsets", "the client's producer has no idempotence and no transactions"),
                ("fetch-session", "the client does not use fetch sessions"),
                ("group-rebalance", "the client has no groups"),
                ("group-static", "the client has no groups"),
                ("group-cooperative", "the client has no groups"),
                ("group-offsets", "the client has no groups"),
                ("list-groups", "the client has no groups"),
                ("describe-groups", "the client has no groups"),
                ("delete-groups", "the client has no groups"),
                ("alter-group-offsets", "the client has no groups"),
                ("kip-848", "the client has no groups"),
                (
                    "describe-configs",
                    "the client's only admin requests create and delete topics and delete records",
                ),
                (
                    "alter-configs",
                    "the client's only admin requests create and delete topics and delete records",
                ),
                (
                    "create-partitions",
                    "the client's only admin requests create and delete topics and delete records",
                ),
                ("acls", "the client's only admin requests create and delete topics and delete records"),
                (
                    "scram-users",
                    "the client's only admin requests create and delete topics and delete records",
                ),
                (
                    "describe-cluster",
                    "the client's only admin requests create and delete topics and delete records",
                ),
            ];
            all.extend(missing.map(|(name, why)| (name.to_owned(), Check::NotApplicable(why))));
        }
    }
    all
}

fn say(check: &str, outcome: &str, detail: &str) {
    let words: Vec<&str> = detail.split_whitespace().collect();
    let line: String = words.join(" ").chars().take(500).collect();
    println!("{check}\t{outcome}\t{line}");
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "plain".to_owned());
    let only: Vec<String> = arguments.collect();
    // Which of rustls's providers; there is only one here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for (name, check) in checks(&mode) {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        match check {
            Check::NotApplicable(why) => say(&name, "n/a", why),
            Check::Run(running) => match tokio::time::timeout(Duration::from_secs(120), running).await {
                Ok(Ok(())) => say(&name, "pass", ""),
                Ok(Err(error)) => say(&name, "fail", &error.to_string()),
                Err(_) => say(&name, "fail", "it hangs: not ended after two minutes"),
            },
        }
    }
}
