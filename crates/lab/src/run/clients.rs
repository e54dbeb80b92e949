//! The scenario's clients: put at their places, connected, and told of the topics.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hopwise_client::{Client, ClientError, HostPort, Options, Profile};
use hopwise_engine::host;
use hopwise_kube::cluster::{ClientSite, Cluster};
use rand::Rng;
use tokio::time::Instant;

use super::journal::Journal;
use super::workload::Tally;
use crate::credentials;
use crate::place::Place;
use crate::programs::Brokers;
use crate::report::run::Check;
#[cfg(feature = "bugs")]
use crate::scenario::ClientBug;
use crate::scenario::{self, ClientProfile, Scenario, Topic};

/// How long a client asks for metadata until every partition has a leader.
const LEADERS_WAIT: Duration = Duration::from_secs(120);
/// From one look at the metadata to the next.
const LEADERS_POLL: Duration = Duration::from_millis(100);

/// A client that runs.
#[derive(Clone)]
pub(super) struct RunningClient {
    /// Its name, which is its route's.
    pub name: String,
    /// Where it stands.
    pub place: Place,
    /// Which client it behaves as.
    pub profile: Profile,
    /// The host of its tasks.
    pub site: ClientSite,
    /// The client.
    pub client: Client,
    /// Its attempts.
    pub journal: Journal,
    /// What came of its requests.
    pub tally: Rc<RefCell<Tally>>,
}

/// Puts the clients at their places.
///
/// # Errors
/// A failed check that says which client cannot stand where it should.
pub(super) async fn place_all(
    cluster: &Cluster,
    brokers: &Brokers,
    scenario: &Scenario,
) -> Result<Vec<RunningClient>, Check> {
    let mut clients = Vec::new();
    for client in &scenario.clients {
        clients.push(place(cluster, brokers, &client.name, client).await?);
    }
    Ok(clients)
}

/// Puts the client that reads everything back where the first client inside the cluster stands, or else the first; none
/// in a scenario without clients.
///
/// # Errors
/// As [`place_all`].
pub(super) async fn place_verifier(
    cluster: &Cluster,
    brokers: &Brokers,
    scenario: &Scenario,
) -> Result<Option<RunningClient>, Check> {
    let inside = scenario.clients.iter().find(|client| !client.place.is_external());
    let Some(client) = inside.or(scenario.clients.first()) else { return Ok(None) };
    // It looks at what others did, so it behaves as well as can be.
    let sound =
        scenario::Client { profile: ClientProfile::default(), resolver: None, bug: None, ..client.clone() };
    place(cluster, brokers, "hopwise-verifier", &sound).await.map(Some)
}

async fn place(
    cluster: &Cluster,
    brokers: &Brokers,
    name: &str,
    declared: &scenario::Client,
) -> Result<RunningClient, Check> {
    let place = &declared.place;
    let expected = format!("client {name} stands at {place}");
    let site = cluster.place(place, name).await.map_err(|error| failed(&expected, &error.to_string()))?;
    site.use_resolver(declared.resolver());
    let bootstrap: Result<Vec<HostPort>, _> =
        declared.bootstrap.iter().map(|address| address.parse()).collect();
    let bootstrap = bootstrap.map_err(|error| failed(&expected, &error.to_string()))?;
    let security = credentials::for_bootstrap(cluster, brokers, &bootstrap, name)
        .map_err(|error| failed(&expected, &error))?;
    let journal = Journal::default();
    let options = Options {
        security,
        client_id: name.to_owned(),
        behaviour: declared.profile.0.behaviour(),
        seed: hopwise_engine::stream(&format!("client/{name}")).next_u64(),
        base: hopwise_engine::now(),
        whois: Some(brokers.whois()),
        observer: Some(Arc::new(journal.clone())),
        ..Options::new(bootstrap)
    };
    let client = make(options, declared).map_err(|error| failed(&expected, &error.to_string()))?;
    let (name, place, profile) = (name.to_owned(), place.clone(), declared.profile.0);
    Ok(RunningClient { name, place, profile, site, client, journal, tally: Rc::default() })
}

#[cfg(feature = "bugs")]
fn make(options: Options, declared: &scenario::Client) -> Result<Client, ClientError> {
    Client::new_with_bugs(options, declared.bug.map(ClientBug::bugs).unwrap_or_default())
}

#[cfg(not(feature = "bugs"))]
fn make(options: Options, _: &scenario::Client) -> Result<Client, ClientError> {
    Client::new(options)
}

/// Makes the topics, by the first client, and waits until every client knows a leader of every partition.
///
/// # Errors
/// A failed check that says which client did not get that far, and why.
pub(super) async fn make_ready(clients: &[RunningClient], topics: &[Topic]) -> Result<(), Check> {
    if let Some(first) = clients.first() {
        let created = first.run(create_topics(first.client.clone(), topics.to_vec())).await;
        created.map_err(|why| failed(&format!("client {} creates the topics", first.name), &why))?;
    }
    let waits: Vec<_> = clients
        .iter()
        .map(|client| (client, client.run(know_leaders(client.client.clone(), topics.to_vec()))))
        .collect();
    for (client, wait) in waits {
        let expected = format!("client {} learns a leader of every partition", client.name);
        wait.await.map_err(|why| failed(&expected, &why))?;
    }
    Ok(())
}

impl RunningClient {
    /// Runs `work` among the client's tasks.
    pub fn run<T, F>(&self, work: F) -> impl Future<Output = Result<T, String>> + use<T, F>
    where
        T: 'static,
        F: Future<Output = Result<T, String>> + 'static,
    {
        let task = host::spawn_on(self.site.host, work);
        async move { task.await.unwrap_or_else(|_| Err("the client was stopped".to_owned())) }
    }
}

async fn create_topics(client: Client, topics: Vec<Topic>) -> Result<(), String> {
    for topic in topics {
        let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
        let replicas = i16::try_from(topic.replication).unwrap_or(i16::MAX);
        client
            .create_topic(&topic.name, partitions, replicas)
            .await
            .map_err(|error| format!("{}: {error}", topic.name))?;
    }
    Ok(())
}

async fn know_leaders(client: Client, topics: Vec<Topic>) -> Result<(), String> {
    let deadline = Instant::now() + LEADERS_WAIT;
    loop {
        let seen = client.metadata().await.map_err(|error: ClientError| error.to_string())?;
        let missing = topics.iter().find_map(|topic| {
            let view = seen.topics.get(&topic.name);
            (0..topic.partitions).find_map(|partition| {
                let index = i32::try_from(partition).ok()?;
                let leader = view.and_then(|view| view.partitions.get(&index)?.leader);
                leader.is_none().then(|| format!("{}/{partition} has no leader", topic.name))
            })
        });
        match missing {
            None => return Ok(()),
            Some(missing) if Instant::now() >= deadline => return Err(missing),
            Some(_) => tokio::time::sleep(LEADERS_POLL).await,
        }
    }
}

/// A check that failed.
pub(super) fn failed(expected: &str, why: &str) -> Check {
    Check { name: expected.to_owned(), ok: false, detail: why.to_owned() }
}
