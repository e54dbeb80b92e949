//! The course of a run inside the simulation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hopwise_client::FetchOptions;
use hopwise_engine::{Span, Time, host};
use hopwise_kube::admission::Rejection;
use hopwise_kube::manifest::Manifests;
use k8s_openapi::api::apps::v1::StatefulSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::checks::Seen;
use super::checks::consumed::Consumed;
use super::checks::transactions::Transactions;
use super::clients::{self, RunningClient, failed};
use super::faults::{self, LOOK_AHEAD, Played, Stakes};
use super::findings::{self, Evidence};
use super::times::Times;
use super::verify::Stored;
use super::workload::{Partition, Sent};
use super::{
    bill, checks, examine, history, measure, name_servers, observe, readiness, record, recovery, verify,
    workload,
};
use crate::inputs::Inputs;
use crate::latency::Latencies;
use crate::limits::Passed;
use crate::recording::Recording;
use crate::report::check::Verdict;
use crate::report::run::{Check, Data, Event, PlayedFault, Routing, RunReport};
use crate::scenario::{PodIdentity, Scenario, Workload, check_pods, check_report};
use crate::simulate::{SimulationError, Started, capture_all};

/// How long nothing may change after the workload until a pod that is not back never comes back: longer than the
/// longest wait before a container starts again (kubernetes.md 8: 300 s).
const QUIET: Duration = Duration::from_secs(310);

/// How long a record that its leader alone has acknowledged may take until consumers can read it: a majority of the
/// replicas has to have it, and a follower that was away has to come back for it.
const REPLICATION_WAIT: Duration = Duration::from_secs(10);
/// From one look for missing records to the next.
const REPLICATION_POLL: Duration = Duration::from_millis(500);

/// What is run.
pub(super) struct Plan {
    /// The scenario.
    pub scenario: Scenario,
    /// The StatefulSets that faults create, by their files.
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    /// What faults apply, by its files.
    pub applied: BTreeMap<String, Manifests>,
    /// What the cluster was made from: prices, objects that the API server rejects, and what findings point at.
    pub inputs: Inputs,
    /// The seed.
    pub seed: u64,
    /// Where captures go.
    pub captures: Option<PathBuf>,
}

/// Runs the scenario on a cluster that has started.
///
/// # Errors
/// If captures cannot be written.
pub(super) async fn run(started: Started, plan: Plan) -> Result<(RunReport, Recording), SimulationError> {
    let mut report = empty_report(&plan);
    let mut recording = Recording::default();
    let mut evidence = Evidence::default();
    report.checks.extend(plan.inputs.rejections.iter().map(rejected));
    match readiness::check(&started) {
        Some(check) => report.checks.push(check),
        None => match Stage::set(&started, &plan, &mut evidence).await? {
            Err(check) => report.checks.push(check),
            Ok(stage) => {
                let changes = RefCell::default();
                tokio::select! {
                    biased;
                    () = stage.perform(&mut report, &mut evidence, &mut recording) => {}
                    () = record::endpoints(&started.cluster, &changes) => {}
                }
                recording.endpoints = changes.into_inner();
            }
        },
    }
    let mut report = finished(report);
    if report.verdict == Verdict::Fail {
        report.findings = findings::of(&started, &plan, &evidence);
    }
    recording.topology = record::topology(&started, &plan.inputs);
    recording.elections = record::elections(&started.brokers.lives());
    recording.end = hopwise_engine::now();
    Ok((report, recording))
}

/// The clients at their places, ready to begin.
struct Stage<'a> {
    started: &'a Started,
    plan: &'a Plan,
    clients: Vec<RunningClient>,
    /// Reads everything back; none without clients.
    verifier: Option<RunningClient>,
    partitions: Rc<[Partition]>,
    /// What consumers have read.
    consumed: Rc<RefCell<Consumed>>,
    /// What was read back; none before that, or if it could not be.
    stored: RefCell<Option<Stored>>,
}

impl<'a> Stage<'a> {
    /// Puts the clients at their places and starts the captures, which hold all that the clients do from then on.
    async fn set(
        started: &'a Started,
        plan: &'a Plan,
        evidence: &mut Evidence,
    ) -> Result<Result<Stage<'a>, Check>, SimulationError> {
        let (cluster, scenario) = (&started.cluster, &plan.scenario);
        let clients = match clients::place_all(cluster, &started.brokers, scenario).await {
            Ok(clients) => clients,
            Err(check) => return Ok(Err(check)),
        };
        evidence.clients.clone_from(&clients);
        let verifier = match clients::place_verifier(cluster, &started.brokers, scenario).await {
            Ok(verifier) => verifier,
            Err(check) => return Ok(Err(check)),
        };
        observe::place_all(cluster, scenario).await;
        if let Some(directory) = &plan.captures {
            capture_all(directory)?;
        }
        let topics = scenario.workload.iter().flat_map(|workload| &workload.topics).cloned();
        let topics = &topics.collect::<Vec<_>>();
        if let Err(check) = clients::make_ready(&clients, topics).await {
            return Ok(Err(check));
        }
        let partitions = workload::partitions_of(topics).into();
        let (consumed, stored) = Default::default();
        Ok(Ok(Stage { started, plan, clients, verifier, partitions, consumed, stored }))
    }

    /// Runs workload and faults, reads back, and fills the report.
    async fn perform(self, report: &mut RunReport, evidence: &mut Evidence, recording: &mut Recording) {
        // Pods are looked at some time before their fault, which may come at the very beginning.
        let begin = Instant::now() + LOOK_AHEAD;
        let start = hopwise_engine::now() + Span::from(LOOK_AHEAD);
        evidence.start = Some(start);
        let scenario = &self.plan.scenario;
        let times = Times::new(scenario, start);
        let opened: Vec<u64> =
            self.clients.iter().map(|client| client.client.counters().connections_opened).collect();
        let end = begin + Duration::from(scenario.watched_for().span());
        let cluster = &self.started.cluster;
        let (works, ceases) = tokio::sync::oneshot::channel::<()>();
        let worked = async {
            let unfinished = self.work(begin).await;
            drop(works);
            (unfinished, hopwise_engine::now() - start)
        };
        // What faults did shows after the last of them, so names are watched for as long as anybody works.
        let over = async {
            sleep_until(end).await;
            let _ = ceases.await;
        };
        let ((unfinished, lasted), played, looks, histories, names) = tokio::join!(
            worked,
            self.play((begin, end), &times),
            observe::all(cluster, scenario, &times, end),
            history::record(cluster, scenario, end),
            name_servers::watch(cluster, over)
        );
        report.checks.extend(unfinished);
        report.checks.extend(played.failures.iter().cloned());
        evidence.failures.clone_from(&played.failures);
        for (check, failed) in looks {
            report.checks.push(check);
            evidence.looks.extend(failed.map(|look| *look));
        }
        report.checks.extend(times.check(&history::Histories(histories), hopwise_engine::now()));
        if scenario.workload.is_some() {
            report.clients = recovery::courses(&self.clients, &opened, &times.strikes(), start);
            self.look_back(report, &played, (start, lasted), evidence).await;
        }
        report.checks.extend(self.always(&times, names, (start, start + lasted)));
        recording.start = start;
        recording.clients = record::clients(&self.clients);
        recording.faults = record::faults(times.strikes());
    }

    /// What the workload did, what became of its records, and of the pods that were hit.
    async fn look_back(
        &self,
        report: &mut RunReport,
        played: &Played,
        (start, lasted): (Time, Span),
        evidence: &mut Evidence,
    ) {
        self.measure(report, start, lasted);
        let after = self.settle_and_look(played).await;
        match self.read_back().await {
            Ok(data) => report.data = data,
            Err(why) => report.checks.push(failed("every partition can be read back", &why)),
        }
        let expect = &self.plan.scenario.expect;
        let failures: Vec<Span> =
            self.clients.iter().flat_map(|client| measure::failures(client, start)).collect();
        report.checks.extend(check_report(expect, report, &failures));
        let before: Vec<PodIdentity> =
            played.before.values().filter_map(|before| before.identity.clone()).collect();
        report.checks.extend(check_pods(expect, &before, &after));
        (evidence.before, evidence.after) = (before, after);
    }

    /// The workload of all clients; a failed check if it does not end in time, or if requests were given up.
    async fn work(&self, begin: Instant) -> Vec<Check> {
        let bound = self.plan.scenario.bounds.run;
        let Some(wanted) = &self.plan.scenario.workload else { return Vec::new() };
        let tasks: Vec<_> = self
            .clients
            .iter()
            .map(|client| {
                let work = workload::run(client.clone(), wanted.clone(), begin, self.consumed.clone());
                host::spawn_on(client.site.host, work)
            })
            .collect();
        let mut checks = Vec::new();
        let deadline = begin + Duration::from(bound.span());
        for (client, mut task) in self.clients.iter().zip(tasks) {
            let left = deadline.saturating_duration_since(Instant::now());
            let name = format!("client {} does its work within {bound}", client.name);
            match timeout(left, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => checks.push(failed(&name, &error.to_string())),
                Err(_) => {
                    task.abort();
                    let begun = client.tally.borrow().begun;
                    checks.push(failed(
                        &name,
                        &format!("it had begun {begun} requests when the time was over"),
                    ));
                }
            }
        }
        checks.extend(self.clients.iter().filter_map(given_up));
        checks
    }

    async fn play(&self, span: (Instant, Instant), times: &Times<'_>) -> Played {
        let Started { cluster, brokers, .. } = self.started;
        let (partitions, verifier) = (self.partitions.clone(), self.verifier.as_ref());
        let expected = &self.plan.scenario.expect.pods_return;
        let watched = expected.iter().map(|expected| expected.pod.clone()).collect();
        let Plan { stateful_sets, applied, inputs, .. } = self.plan;
        let stakes =
            Stakes { cluster, brokers, inputs, verifier, partitions, stateful_sets, applied, watched };
        faults::play(&stakes, &self.plan.scenario.faults, times, span).await
    }

    fn measure(&self, report: &mut RunReport, start: Time, lasted: Span) {
        let mut latencies = Latencies::new();
        let mut routing = Routing::default();
        let Plan { scenario, inputs, .. } = self.plan;
        for client in &self.clients {
            measure::record_latency(&mut latencies, client);
            measure::add_routing(&mut routing, client, start);
            report.outages.push(measure::outage(client, scenario.last_fault(), start, lasted));
            report.ways.extend(measure::way(client, start));
        }
        report.latency = latencies.rows();
        report.routing = routing;
        report.cost = bill::bills(&self.started.cluster, &self.clients, scenario, &inputs.profile, lasted);
    }

    /// After faults: waits until all pods are back, and looks at those that were hit.
    async fn settle_and_look(&self, played: &Played) -> Vec<PodIdentity> {
        let Started { cluster, brokers, .. } = self.started;
        if !played.before.is_empty() {
            cluster.settle(QUIET, self.plan.scenario.bounds.start.span().into()).await;
        }
        match &self.verifier {
            Some(verifier) => faults::look_again(cluster, brokers, verifier, played).await,
            None => Vec::new(),
        }
    }

    /// The checks that are made after every run.
    fn always(&self, times: &Times<'_>, names: Seen, (start, end): (Time, Time)) -> Vec<Check> {
        let Started { cluster, brokers, .. } = self.started;
        let (scenario, brokers) = (&self.plan.scenario, brokers.lives());
        let mut examined = examine::cluster(scenario, &cluster.container_lives(), &brokers);
        examined.push((checks::dns::RULE, names));
        if scenario.workload.is_some() {
            let everyone: Vec<&RunningClient> = self.clients.iter().chain(&self.verifier).collect();
            examined.extend(examine::attempts(&everyone, &brokers, start));
            examined.extend(examine::progress(scenario, &self.clients, &times.strikes(), end));
            if let Some(stored) = &*self.stored.borrow() {
                let (sent, transactions) = (self.sent(), self.transactions());
                let consumed = self.consumed.borrow();
                examined.extend(examine::records(scenario, &sent, &transactions, &consumed, stored));
            }
        }
        checks::report(examined, &scenario.checks)
    }

    /// The records of each client.
    fn sent(&self) -> Vec<(String, Vec<Sent>)> {
        let sent = |client: &RunningClient| (client.name.clone(), client.tally.borrow().sent.clone());
        self.clients.iter().map(sent).collect()
    }

    /// The transactions of each client.
    fn transactions(&self) -> Transactions {
        let of = |client: &RunningClient| (client.name.clone(), client.tally.borrow().transactions.clone());
        self.clients.iter().map(of).collect()
    }

    /// Reads every partition, and again while something is missing that followers may still be copying.
    async fn read_back(&self) -> Result<Data, String> {
        let Some(verifier) = &self.verifier else { return Ok(Data::default()) };
        let sent = self.sent();
        let read_committed = self.plan.scenario.workload.as_ref().is_some_and(Workload::reads_committed);
        let options = FetchOptions { read_committed, ..FetchOptions::default() };
        let deadline = Instant::now() + REPLICATION_WAIT;
        loop {
            let (client, partitions) = (verifier.client.clone(), self.partitions.clone());
            let stored =
                verifier.run(async move { verify::read_all(&client, &partitions, options).await }).await?;
            let data = verify::judge(&sent, &stored);
            if data.lost == 0 || Instant::now() >= deadline {
                self.stored.replace(Some(stored));
                return Ok(data);
            }
            tokio::time::sleep(REPLICATION_POLL).await;
        }
    }
}

fn given_up(client: &RunningClient) -> Option<Check> {
    let tally = client.tally.borrow();
    let error = tally.first_error.as_ref()?;
    let detail = format!("{} of {} were given up; the first: {error}", tally.given_up, tally.begun);
    Some(failed(&format!("every request of client {} is served", client.name), &detail))
}

fn rejected(rejection: &Rejection) -> Check {
    let Rejection { object, field, location, what, .. } = rejection;
    failed("the API server takes every object", &format!("{location}: {object}: {field}: {what}"))
}

/// The report of a run that has used more than it may.
pub(super) fn limited(report: RunReport, passed: &Passed) -> RunReport {
    let check = failed("the run stays within its bounds", &passed.to_string());
    RunReport {
        checks: vec![check],
        simulated_ns: passed.at.as_nanos(),
        trace_hash: passed.trace_hash.clone(),
        ..report
    }
}

/// A report of nothing yet.
pub(super) fn empty_report(plan: &Plan) -> RunReport {
    let faults = plan.scenario.faults.iter().map(PlayedFault::from).collect();
    RunReport { faults, ..RunReport::empty(&plan.scenario.name, plan.seed) }
}

/// The report with what only the end of the simulation tells.
fn finished(mut report: RunReport) -> RunReport {
    report.events = events_so_far();
    report.verdict = RunReport::verdict_of(&report.checks);
    report.simulated_ns = hopwise_engine::now().as_nanos();
    report.trace_hash = hopwise_engine::trace_hash();
    report
}

/// What has happened to the cluster so far.
pub(super) fn events_so_far() -> Vec<Event> {
    events_from(0)
}

/// What has happened to the cluster so far, but for the first so many events.
pub(super) fn events_from(first: usize) -> Vec<Event> {
    let event = |event: &hopwise_engine::log::Notable| Event {
        at_ns: event.at.as_nanos(),
        kind: event.kind.to_owned(),
        object: event.object.clone(),
        detail: event.detail.clone(),
    };
    hopwise_engine::with_log(|log| log.notable_events().iter().skip(first).map(event).collect())
}
