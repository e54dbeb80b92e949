//! Properties of any cluster: every route works or a finding lists it, and every request of a client inside ends at
//! its partition's leader, unless a finding explains why that client cannot get there.
//!
//! A failure prints the draw with its seed, and the texts of the smallest cluster that fails. `PROPTEST_CASES` sets
//! how many clusters are drawn.

mod drawn;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use drawn::Draw;
use hopwise_client::{
    Acks, Client, ClientError, FetchOptions, HostPort, Operation, Options, Outcome, Record, RequestRecord,
};
use hopwise_engine::host;
use hopwise_kube::cluster::Place;
use hopwise_kube::store::Grace;
use hopwise_lab::check::{CheckOptions, check};
use hopwise_lab::report::check::{Api, CheckReport};
use hopwise_lab::simulate::{Start, Started, simulate};
use hopwise_tests::{drawing, unexplained};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Clusters that are drawn unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 10;
/// Requests of each kind per partition: some before the pod is deleted, some while it is away, some after.
const ROUNDS: usize = 4;
const TOPIC: &str = "orders";

/// What became of one request.
#[derive(Debug)]
struct Ended {
    operation: Operation,
    partition: i32,
    result: Result<(), ClientError>,
}

/// What became of the workload.
#[derive(Debug, Default)]
struct Worked {
    /// Why the topic could not be made.
    no_topic: Option<ClientError>,
    ended: Vec<Ended>,
    attempts: Vec<RequestRecord>,
}

/// Produces to and fetches from each partition in turn.
async fn work(client: Client, partitions: i32) -> (Option<ClientError>, Vec<Ended>) {
    if let Err(error) = client.create_topic(TOPIC, partitions, 1).await {
        return (Some(error), Vec::new());
    }
    let mut ended = Vec::new();
    for round in 0..ROUNDS {
        for partition in 0..partitions {
            let record = Record::new(format!("{round}"), format!("round {round}"));
            let produced = client.produce(TOPIC, partition, &[record], Acks::Leader).await.map(drop);
            ended.push(Ended { operation: Operation::Produce, partition, result: produced });
            let fetched = client.fetch(TOPIC, partition, 0, FetchOptions::default()).await.map(drop);
            ended.push(Ended { operation: Operation::Fetch, partition, result: fetched });
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    (None, ended)
}

async fn work_through_deletion(started: Started, draw: Draw) -> Worked {
    let Started { cluster, brokers, .. } = started;
    let site = cluster.place(&Place::InCluster, "client").await.expect("a client pod always runs");
    let bootstrap =
        (0..draw.brokers).map(|it| HostPort::new(format!("rp-{it}.rp.kafka.svc.cluster.local."), 9092));
    let attempts: Arc<Mutex<Vec<RequestRecord>>> = Arc::default();
    let noted = attempts.clone();
    let observer =
        move |record: &RequestRecord| noted.lock().expect("nobody panics with it").push(record.clone());
    let options = Options {
        whois: Some(brokers.whois()),
        observer: Some(Arc::new(observer)),
        seed: draw.seed,
        base: hopwise_engine::now(),
        ..Options::new(bootstrap.collect())
    };
    let client = Client::new(options).expect("a bootstrap address");
    let working = host::spawn_on(site.host, work(client, i32::from(draw.brokers)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    if let Some(ordinal) = draw.deleted {
        cluster.delete_pod("kafka", &format!("rp-{ordinal}"), Grace::AsDeclared).expect("the pod is there");
    }
    let (no_topic, ended) = working.await.expect("the client runs");
    let attempts = std::mem::take(&mut *attempts.lock().expect("nobody panics with it"));
    Worked { no_topic, ended, attempts }
}

/// Whether the report says why some client inside cannot get to the brokers.
fn explains_failures_inside(report: &CheckReport) -> bool {
    report.routes.iter().enumerate().any(|(index, route)| {
        route.from == Place::InCluster
            && route.api == Api::Kafka
            && route.outcome.is_failure()
            && report.findings.iter().any(|finding| finding.routes.contains(&index))
    })
}

fn holds(draw: &Draw) -> Result<(), TestCaseError> {
    let given = draw.given();
    let listing = given.listing();
    let options = CheckOptions { seed: draw.seed, ..CheckOptions::default() };
    let report = check(given.inputs(), &options).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let open = unexplained(&report);
    prop_assert!(open.is_empty(), "seed {}: no finding explains {open:#?}\n{listing}", draw.seed);
    prop_assert_eq!(report.brokers.len(), usize::from(draw.brokers));

    let start = Start { seed: draw.seed, ..Start::default() };
    let drawn = draw.clone();
    let worked = simulate(given.inputs(), start, move |started| work_through_deletion(started, drawn));
    let worked = worked.map_err(|error| TestCaseError::fail(error.to_string()))?;
    let excused = explains_failures_inside(&report);
    let failed: Vec<&Ended> = worked.ended.iter().filter(|it| it.result.is_err()).collect();
    prop_assert!(
        excused || (failed.is_empty() && worked.no_topic.is_none()),
        "seed {}: no finding explains {:?} {failed:#?}\n{listing}",
        draw.seed,
        worked.no_topic
    );
    ended_at_leaders(&worked)
        .map_err(|what| TestCaseError::fail(format!("seed {}: {what}\n{listing}", draw.seed)))
}

/// Every request that succeeded has an attempt that its partition's leader took, and no broker took another's.
fn ended_at_leaders(worked: &Worked) -> Result<(), String> {
    for operation in [Operation::Produce, Operation::Fetch] {
        let succeeded = worked.ended.iter().filter(|it| it.operation == operation && it.result.is_ok());
        let mut of_partitions = std::collections::BTreeMap::<i32, usize>::new();
        for ended in succeeded {
            *of_partitions.entry(ended.partition).or_default() += 1;
        }
        for (partition, wanted) in of_partitions {
            let attempts = worked.attempts.iter().filter(|it| it.operation == operation);
            let at_leader =
                attempts.filter(|it| it.partition == Some(partition) && it.reached_leader()).count();
            if at_leader != wanted {
                return Err(format!(
                    "{wanted} requests ({operation}, {partition}), {at_leader} at the leader"
                ));
            }
        }
    }
    let stray = worked.attempts.iter().find(|it| {
        it.outcome == Outcome::Ok && it.broker.is_some() && it.reached.is_some() && it.reached != it.broker
    });
    stray.map_or(Ok(()), |it| Err(format!("broker {:?} answered for {:?}", it.reached, it.broker)))
}

#[test]
fn every_route_and_every_request_is_accounted_for() {
    proptest!(drawing(CASES), |(draw in Draw::any())| holds(&draw)?);
}
