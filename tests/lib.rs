//! What the tests have in common: fixtures and edits of them, checks of what results, and the parts of a report that
//! tests ask for.
//!
//! A fixture is a file under `tests/fixtures`. Tests state the difference that they are about as an edit of its text,
//! so that the rest of the cluster is the same for all of them. Everything here panics where a test is mistaken: a
//! fixture that is not there, an edit that changes nothing, a report without the finding that is asked for.

pub mod dialing;
pub mod runs;
pub mod sets;

use std::path::{Path, PathBuf};

use hopwise_kube::cluster::Place;
use hopwise_kube::source::Source;
use hopwise_lab::check::{CheckOptions, check};
use hopwise_lab::findings::{Code, Finding};
use hopwise_lab::inputs::{InputError, Inputs, Surroundings};
use hopwise_lab::report::check::{Api, CheckReport, Outcome, Route};
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};

/// The directory of the fixtures.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The directory of the example scenarios.
pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// The text of a fixture.
pub fn fixture(name: &str) -> String {
    let path = fixtures().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The example scenarios: the files of the directory, and of those below it, that name manifests. The others are cluster
/// files and the manifests themselves. The catalogue's scenarios are not among them: they are there to fail.
pub fn scenario_files() -> Vec<PathBuf> {
    let mut files = files_below(&scenarios());
    files.retain(|path| {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let has_manifests = |text: String| text.lines().any(|line| line.starts_with("manifests:"));
        !path.starts_with(scenarios().join("catalogue"))
            && is_yaml
            && std::fs::read_to_string(path).is_ok_and(has_manifests)
    });
    files.sort();
    files
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the repository has scenarios");
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// A cluster to examine: manifests, and what surrounds them.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The manifests' texts, by the names that errors and findings call them.
    pub manifests: Vec<(String, String)>,
    /// The cluster file's text. Errors call it `cluster.yaml`.
    pub cluster: Option<String>,
    /// How many nodes, where there is no cluster file.
    pub nodes: Option<u16>,
    /// The profile.
    pub profile: Option<String>,
}

impl Given {
    /// The manifests of these fixtures.
    pub fn fixtures(names: &[&str]) -> Given {
        let manifests = names.iter().map(|name| ((*name).to_owned(), fixture(name)));
        Given { manifests: manifests.collect(), ..Given::default() }
    }

    /// Another manifest.
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Given {
        self.manifests.push((name.to_owned(), text.into()));
        self
    }

    /// With `to` wherever the manifests say `from`.
    pub fn edit(mut self, from: &str, to: &str) -> Given {
        let mut edited = false;
        for (_, text) in &mut self.manifests {
            edited |= text.contains(from);
            *text = text.replace(from, to);
        }
        assert!(edited, "no manifest says {from:?}");
        self
    }

    /// With this cluster file.
    pub fn cluster(mut self, text: impl Into<String>) -> Given {
        self.cluster = Some(text.into());
        self
    }

    /// With so many nodes.
    pub fn nodes(mut self, nodes: u16) -> Given {
        self.nodes = Some(nodes);
        self
    }

    /// With this profile.
    pub fn profile(mut self, name: &str) -> Given {
        self.profile = Some(name.to_owned());
        self
    }

    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong with the texts.
    pub fn load(&self) -> Result<Inputs, InputError> {
        let source = |(name, text): &(String, String)| Source::new(name, text);
        let manifests: Vec<Source> = self.manifests.iter().map(source).collect();
        let surroundings = Surroundings {
            cluster: self.cluster.as_ref().map(|text| Source::new("cluster.yaml", text)),
            nodes: self.nodes,
            profile: self.profile.clone(),
        };
        Inputs::load(&manifests, &surroundings)
    }

    /// The inputs, of texts that are sound.
    pub fn inputs(&self) -> Inputs {
        self.load().unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)))
    }

    /// What `hopwise check` reports.
    pub fn check(&self) -> CheckReport {
        check(self.inputs(), &CheckOptions::default()).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Everything as a reader of a failure wants it: each text under its name.
    pub fn listing(&self) -> String {
        let mut listing = String::new();
        for (name, text) in &self.manifests {
            listing.push_str(&format!("# {name}\n{text}\n"));
        }
        if let Some(cluster) = &self.cluster {
            listing.push_str(&format!("# cluster.yaml\n{cluster}\n"));
        }
        listing + &format!("# --nodes {:?} --profile {:?}\n", self.nodes, self.profile)
    }
}

/// The routes from a place to the listeners of that API and name, by broker.
pub fn routes<'a>(report: &'a CheckReport, from: &str, api: Api, listener: &str) -> Vec<&'a Route> {
    let from: Place = from.parse().unwrap_or_else(|error| panic!("{error}"));
    let routes = report.routes.iter();
    let mut found: Vec<&Route> =
        routes.filter(|it| it.from == from && it.api == api && it.listener == listener).collect();
    assert!(!found.is_empty(), "no route from {from} to {} {listener}: {:#?}", api.as_str(), report.routes);
    found.sort_by_key(|route| route.broker);
    found
}

/// How the routes to the Kafka listener `listener` end, by broker.
pub fn kafka_outcomes(report: &CheckReport, from: &str, listener: &str) -> Vec<Outcome> {
    routes(report, from, Api::Kafka, listener).iter().map(|route| route.outcome).collect()
}

/// The findings of a code.
pub fn findings(report: &CheckReport, code: Code) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.code == code).collect()
}

/// The first finding of a code, which the report has to have.
pub fn finding(report: &CheckReport, code: Code) -> &Finding {
    let found = findings(report, code).first().copied();
    found.unwrap_or_else(|| panic!("no finding {code}; the findings are {:#?}", report.findings))
}

/// The routes that a finding explains.
pub fn explained<'a>(report: &'a CheckReport, finding: &Finding) -> Vec<&'a Route> {
    finding.routes.iter().map(|index| &report.routes[*index]).collect()
}

/// The routes that fail and that no finding explains.
pub fn unexplained(report: &CheckReport) -> Vec<&Route> {
    let failed = report.routes.iter().enumerate().filter(|(_, route)| route.outcome.is_failure());
    let unexplained = failed.filter(|(index, _)| !report.findings.iter().any(|it| it.routes.contains(index)));
    unexplained.map(|(_, route)| route).collect()
}

/// The line, counted from one, of the first line of `text` that holds `part`.
pub fn line_of(text: &str, part: &str) -> u32 {
    let line = text.lines().position(|line| line.contains(part));
    let line = line.unwrap_or_else(|| panic!("no line holds {part:?}"));
    u32::try_from(line + 1).expect("fixtures are short")
}

/// How properties are drawn: `cases` of them unless `PROPTEST_CASES` says otherwise, the same ones each time unless
/// `PROPTEST_RNG_SEED` says otherwise. Failures are printed whole, so no file keeps them.
pub fn drawing(cases: u32) -> Config {
    fn asked<T: std::str::FromStr>(variable: &str) -> Option<T> {
        std::env::var(variable).ok()?.parse().ok()
    }
    Config {
        cases: asked("PROPTEST_CASES").unwrap_or(cases),
        rng_seed: RngSeed::Fixed(asked("PROPTEST_RNG_SEED").unwrap_or(1)),
        // Each step of shrinking is a simulation.
        max_shrink_iters: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    }
}
