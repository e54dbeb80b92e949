//! A drawn case: a cluster, what clients do in it, and what goes wrong, as an ordinary scenario with its manifests.

use std::io;
use std::path::{Path, PathBuf};

use hopwise_client::Profile;
use hopwise_engine::Span;
use proptest::prelude::*;
use serde_json::json;

use super::topology::{Entrance, Topology};
use crate::inputs::{InputError, Inputs, Surroundings};
use crate::run::{LoadedScenario, load_scenario};
use crate::scenario::{
    Acks, BrokerBug, Client, ClientBug, ClientProfile, Consumers, Draw, Duration, Fault, Listed, Producers,
    Scenario, Stock, Topic, Workload,
};
use hopwise_kube::source::Source;

/// The name of the file with the manifests, beside the scenario.
const MANIFESTS: &str = "manifests.yaml";
/// The name of the scenario's file.
const SCENARIO: &str = "scenario.yaml";

/// What a property is tried on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The cluster.
    pub topology: Topology,
    /// What every client does.
    pub workload: Workload,
    /// The clients: as which each behaves.
    pub profiles: Vec<Profile>,
    /// How many faults, within which time, and how long each lasts.
    pub draw: Draw,
    /// The numbers that the faults come from.
    pub choices: Vec<u64>,
    /// The seed of the simulation.
    pub seed: u64,
    /// A rule of routing that the clients break.
    pub client_bug: Option<ClientBug>,
    /// A promise that the brokers break.
    pub broker_bug: Option<BrokerBug>,
}

/// The most numbers that the faults of a case come from: a fault takes some ten, and more where there is little room.
const CHOICES_MAX: usize = 100;

impl Case {
    /// Any: up to `brokers_max` brokers and `faults_max` faults.
    pub fn any(brokers_max: u16, faults_max: u32) -> impl Strategy<Value = Case> {
        let choices = prop::collection::vec(any::<u64>(), 0..CHOICES_MAX);
        let clients = prop::collection::vec(profile(), 1..=3);
        let faults = (0..=faults_max, choices);
        (Topology::any(brokers_max), workload(), clients, faults, any::<u64>()).prop_map(
            |(topology, mut workload, profiles, (faults, choices), seed)| {
                // An odd number, as Redpanda wants it.
                let most = topology.brokers - (topology.brokers + 1) % 2;
                for topic in &mut workload.topics {
                    topic.replication = topic.replication.min(most);
                }
                let draw = draw(faults, &topology);
                Case { topology, workload, profiles, draw, choices, seed, client_bug: None, broker_bug: None }
            },
        )
    }

    /// The scenario, with its faults as ordinary ones.
    ///
    /// # Errors
    /// If the manifests are wrong, which is a mistake of the strategies.
    pub fn scenario(&self) -> Result<Scenario, InputError> {
        let cluster = self.topology.cluster_file();
        let surroundings = Surroundings {
            cluster: Some(Source::new("cluster.yaml", &cluster.to_string())),
            ..Surroundings::default()
        };
        let inputs = Inputs::load(&[Source::new(MANIFESTS, &self.topology.manifests())], &surroundings)?;
        let faults: Vec<Fault> = match self.draw.faults {
            0 => Vec::new(),
            _ => self.draw.timeline(&Stock::of(&inputs), &mut Listed::new(&self.choices)),
        };
        let inside = self.topology.entrance == Entrance::Headless;
        let client = |(index, profile): (usize, &Profile)| Client {
            name: format!("client-{index}"),
            place: if inside { crate::place::Place::InCluster } else { crate::place::Place::External(None) },
            bootstrap: self.topology.bootstrap(),
            listener: Some(self.topology.listener().to_owned()),
            profile: ClientProfile(*profile),
            resolver: None,
            bug: self.client_bug,
        };
        let base = json!({ "name": "property", "cluster": cluster, "manifests": [MANIFESTS] });
        let base: Scenario = serde_json::from_value(base).unwrap_or_else(|error| unreachable!("{error}"));
        Ok(Scenario {
            about: Some("Drawn by a property test.".to_owned()),
            seed: self.seed,
            clients: self.profiles.iter().enumerate().map(client).collect(),
            workload: Some(self.workload.clone()),
            faults,
            broker_bug: self.broker_bug,
            ..base
        })
    }

    /// Writes the scenario and its manifests into a directory; gives the scenario's path.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn write(&self, scenario: &Scenario, directory: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(directory)?;
        std::fs::write(directory.join(MANIFESTS), self.topology.manifests())?;
        let path = directory.join(SCENARIO);
        std::fs::write(&path, serde_saphyr::to_string(scenario).map_err(io::Error::other)?)?;
        Ok(path)
    }

    /// Writes the case into a directory and reads it as any scenario is read.
    ///
    /// # Errors
    /// If the files cannot be written, or are wrong, which is a mistake of the strategies.
    pub fn load(&self, directory: &Path) -> Result<(PathBuf, LoadedScenario), InputError> {
        let scenario = self.scenario()?;
        let path = self
            .write(&scenario, directory)
            .map_err(|error| InputError::Profile(format!("{}: {error}", directory.display())))?;
        let loaded = load_scenario(&path)?;
        Ok((path, loaded))
    }
}

fn profile() -> impl Strategy<Value = Profile> {
    prop_oneof![
        Just(Profile::Hopwise),
        Just(Profile::Librdkafka),
        Just(Profile::Java),
        Just(Profile::FranzGo)
    ]
}

/// Some topics, and requests for half a minute.
fn workload() -> impl Strategy<Value = Workload> {
    let sizes = (1..=2_usize, 1..=4_u32, prop_oneof![Just(1_u16), Just(3)]);
    let producers = (10..=30_u32, 1..=5_u32, 1..=2_000_u32, any::<bool>());
    (sizes, producers, any::<bool>()).prop_map(
        |((topics, partitions, replication), (requests, records, record_size, idempotent), fetches)| {
            let interval = Duration(Span::from_secs(1));
            let topic = |index| Topic { name: format!("topic-{index}"), partitions, replication };
            let producers = Producers {
                requests,
                records,
                record_size,
                acks: Acks::All,
                interval,
                idempotent,
                transactions: None,
            };
            let consumers = Consumers { requests, interval, max_wait: Duration::default() };
            Workload {
                topics: (0..topics).map(topic).collect(),
                producers: Some(producers),
                consumers: fetches.then_some(consumers),
            }
        },
    )
}

/// Kinds of fault that end what runs inside the cluster: a client's pod, which nobody starts again.
const FATAL_INSIDE: [&str; 7] = [
    "powerOffNode",
    "powerOffZone",
    "rebootNode",
    "shutDownNode",
    "drainNode",
    "taintNode",
    // The container of a client, too, is on a node whose kubelet judges it.
    "stopKubelet",
];

/// Faults within the half minute of the workload.
fn draw(faults: u32, topology: &Topology) -> Draw {
    let seconds = |seconds| Duration(Span::from_secs(seconds));
    let inside = topology.entrance == Entrance::Headless;
    Draw {
        faults,
        within: [seconds(2), seconds(30)],
        lasts: [seconds(1), seconds(8)],
        kinds: Vec::new(),
        except: FATAL_INSIDE.iter().filter(|_| inside).map(ToString::to_string).collect(),
        on: Vec::new(),
        ports: Vec::new(),
        at_once: None,
    }
}
