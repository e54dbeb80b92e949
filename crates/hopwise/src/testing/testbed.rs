//! What a test runs in, put together step by step.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hopwise_kube::source::Source;
use hopwise_lab::inputs::{InputError, Surroundings};
use hopwise_lab::run::{LoadedScenario, load_scenario, read_scenario};
use serde_json::json;

use super::failure::Outcome;
use super::here::Here;
use super::lab::Lab;
use super::run;

/// A cluster to be, and how a test runs in it. Each method is a setting of [`hopwise::test`](crate::test).
///
/// ```no_run
/// use hopwise::testing::{Lab, Testbed};
///
/// #[test]
/// fn without_the_attribute() {
///     let testbed = Testbed::new().manifests(["deploy/redpanda.yaml"]).nodes(3).seeds(0..10);
///     testbed.run(&hopwise::__here!(without_the_attribute), |lab: Lab| async move {
///         assert_eq!(lab.brokers().len(), 3);
///     });
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug)]
#[must_use = "a testbed does nothing until `run`"]
pub struct Testbed {
    manifests: Vec<PathBuf>,
    cluster: Option<PathBuf>,
    scenario: Option<PathBuf>,
    faults: Option<String>,
    nodes: Option<u16>,
    profile: Option<String>,
    seeds: Range<u64>,
    ready_within: Duration,
}

impl Default for Testbed {
    fn default() -> Self {
        Testbed {
            manifests: Vec::new(),
            cluster: None,
            scenario: None,
            faults: None,
            nodes: None,
            profile: None,
            seeds: 0..1,
            ready_within: Duration::from_secs(20 * 60),
        }
    }
}

impl Testbed {
    /// Nothing yet.
    pub fn new() -> Testbed {
        Testbed::default()
    }

    /// Manifest files and directories.
    pub fn manifests<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Testbed {
        self.manifests.extend(paths.into_iter().map(Into::into));
        self
    }

    /// A cluster file.
    pub fn cluster(mut self, path: impl Into<PathBuf>) -> Testbed {
        self.cluster = Some(path.into());
        self
    }

    /// A scenario file, of which the cluster, the manifests and the faults are taken.
    pub fn scenario(mut self, path: impl Into<PathBuf>) -> Testbed {
        self.scenario = Some(path.into());
        self
    }

    /// A timeline of faults, as under `faults:` in a scenario file.
    pub fn faults(mut self, yaml: impl Into<String>) -> Testbed {
        self.faults = Some(yaml.into());
        self
    }

    /// How many nodes there are, where the cluster file names none.
    pub fn nodes(mut self, nodes: u16) -> Testbed {
        self.nodes = Some(nodes);
        self
    }

    /// The profile: `bare-metal`, `aws`, `gcp` or `azure`.
    pub fn profile(mut self, name: impl Into<String>) -> Testbed {
        self.profile = Some(name.into());
        self
    }

    /// One seed.
    pub fn seed(self, seed: u64) -> Testbed {
        self.seeds(seed..seed.saturating_add(1))
    }

    /// Several seeds, a run each, in turn.
    pub fn seeds(mut self, seeds: Range<u64>) -> Testbed {
        self.seeds = seeds;
        self
    }

    /// Virtual time until everything has to be ready.
    pub fn ready_within(mut self, limit: Duration) -> Testbed {
        self.ready_within = limit;
        self
    }

    /// Runs `body` once for each seed.
    ///
    /// # Panics
    /// If a run fails, with all that is known of it; if the inputs are wrong, with the place of each error.
    pub fn run<B, F>(self, here: &Here, body: B)
    where
        B: Fn(Lab) -> F + Clone + 'static,
        F: Future + 'static,
        F::Output: Outcome,
    {
        let loaded = match self.load(here) {
            Ok(loaded) => loaded,
            Err(why) => panic!("{}: {why}", here.path()),
        };
        run::all(here, &loaded, self.seeds.clone(), self.ready_within, &body);
    }

    /// The cluster, the manifests and the faults as a scenario without clients.
    fn load(&self, here: &Here) -> Result<LoadedScenario, String> {
        let directory = Path::new(here.directory);
        let said = |error: InputError| format!("{:?}", miette::Report::new(error));
        match &self.scenario {
            Some(path) => {
                if !self.manifests.is_empty() || self.cluster.is_some() || self.faults.is_some() {
                    return Err(
                        "`scenario` brings its manifests, its cluster and its faults; leave out the others"
                            .into(),
                    );
                }
                load_scenario(&directory.join(path)).map_err(said)
            }
            None => {
                if self.manifests.is_empty() {
                    return Err("there is no cluster without manifests; set `manifests` or `scenario`".into());
                }
                let source = Source::new(&format!("(settings of {})", here.path()), &self.text(here));
                let surroundings =
                    Surroundings { cluster: None, nodes: self.nodes, profile: self.profile.clone() };
                read_scenario(&source, directory, &surroundings).map_err(said)
            }
        }
    }

    /// The settings as a scenario file.
    fn text(&self, here: &Here) -> String {
        let cluster = self.cluster.as_ref().map_or_else(|| json!({}), |path| json!(path));
        let mut text = format!(
            "name: {}\ncluster: {cluster}\nmanifests: {}\n",
            json!(here.path()),
            json!(self.manifests)
        );
        if let Some(faults) = &self.faults {
            text.push_str("faults:\n");
            for line in faults.lines() {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(testbed: &Testbed) -> Result<LoadedScenario, String> {
        let mut here = crate::__here!(test);
        here.directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios");
        testbed.load(&here)
    }

    #[test]
    fn settings_become_a_scenario() {
        let testbed = Testbed::new()
            .manifests(["manifests/brokers.yaml"])
            .nodes(3)
            .profile("aws")
            .faults("- {at: 10s, deletePod: redpanda/redpanda-1}\n- {at: 20s, cordonNode: node-2}");
        let loaded = loaded(&testbed).expect("it is sound");
        assert_eq!((loaded.inputs.cluster.nodes.len(), loaded.inputs.profile.name.as_str()), (3, "aws"));
        assert_eq!(loaded.scenario.faults.len(), 2);
    }

    #[test]
    fn wrong_settings_are_told_in_words() {
        let error = loaded(&Testbed::new()).map(drop).expect_err("there are no manifests");
        assert!(error.contains("set `manifests` or `scenario`"), "{error}");
        let both = Testbed::new().manifests(["manifests/brokers.yaml"]).scenario("in-cluster.yaml");
        assert!(loaded(&both).map(drop).expect_err("both").contains("leave out the others"));
        let wrong =
            Testbed::new().manifests(["manifests/brokers.yaml"]).faults("- {at: 10s, powerOffNode: node-9}");
        let error = loaded(&wrong).map(drop).expect_err("there is no such node");
        assert!(error.contains("node-9"), "{error}");
    }
}
