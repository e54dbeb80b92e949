//! Reading a scenario file and what it refers to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use hopwise_kube::cluster_file::ClusterFile;
use hopwise_kube::manifest::Manifests;
use hopwise_kube::source::{self, Document, FileError, LoadErrors, Source, SourceError};
use k8s_openapi::api::apps::v1::StatefulSet;
use twox_hash::XxHash3_128;

use crate::inputs::{InputError, Inputs, Surroundings};
use crate::scenario::{FaultKind, Problem, Scenario};

/// A scenario with everything that it refers to.
#[derive(Clone, Debug)]
pub struct LoadedScenario {
    /// The scenario.
    pub scenario: Scenario,
    /// Its manifests, cluster and profile.
    pub inputs: Inputs,
    /// The StatefulSets that its faults create, by the files they are read from.
    pub stateful_sets: BTreeMap<String, StatefulSet>,
    /// What its faults apply, by the files it is read from.
    pub applied: BTreeMap<String, Manifests>,
    /// A hash of the texts of the scenario and of all files that it refers to, in hexadecimal.
    pub hash: String,
    /// The file, to point at its lines.
    document: Document,
}

impl LoadedScenario {
    /// Whether `problems` is empty, where a user of the scenario asks for more than that it can be run.
    ///
    /// # Errors
    /// All of them, each with its place in the file.
    pub fn check(&self, problems: &[Problem]) -> Result<(), InputError> {
        let errors = problems.iter().map(|problem| point_at(&self.document, problem)).collect();
        Ok(LoadErrors::check(errors)?)
    }
}

/// Reads the scenario file at `path`. The paths in it are relative to its directory.
///
/// # Errors
/// Everything that is wrong with the scenario, its cluster file and its manifests, each with its place.
pub fn load_scenario(path: &Path) -> Result<LoadedScenario, InputError> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let mut texts = Texts::default();
    let document = source::read_one(texts.add(&only_file(path)?)).map_err(LoadErrors::from)?;
    read(document, texts, directory, &Surroundings::default(), Scenario::problems)
}

/// Reads a scenario that the caller looks at, so that it need not expect anything itself. Its paths are relative to
/// `directory`; `surroundings` says what its cluster file leaves open.
///
/// # Errors
/// As [`load_scenario`].
pub fn read_scenario(
    source: &Source,
    directory: &Path,
    surroundings: &Surroundings,
) -> Result<LoadedScenario, InputError> {
    let mut texts = Texts::default();
    let document = source::read_one(texts.add(source)).map_err(LoadErrors::from)?;
    read(document, texts, directory, surroundings, Scenario::problems_of_parts)
}

fn read(
    document: Document,
    mut texts: Texts,
    directory: &Path,
    surroundings: &Surroundings,
    problems: fn(&Scenario) -> Vec<Problem>,
) -> Result<LoadedScenario, InputError> {
    let scenario: Scenario = document.parse().map_err(LoadErrors::from)?;
    let problems = problems(&scenario);
    LoadErrors::check(problems.iter().map(|problem| point_at(&document, problem)).collect())?;
    let cluster = load_cluster(&document, &scenario, directory, &mut texts)?;
    let manifests: Vec<PathBuf> =
        scenario.manifests.iter().map(|manifest| directory.join(manifest)).collect();
    let manifests = source::read_paths(&manifests, &mut io::empty())?;
    for manifest in &manifests {
        texts.add(manifest);
    }
    let manifests = Manifests::load(&manifests)?;
    let mut inputs = Inputs::of(manifests, cluster, surroundings)?;
    inputs.scale(&scenario.replicas);
    let unknown = scenario.unknown_objects(&inputs);
    LoadErrors::check(unknown.iter().map(|problem| point_at(&document, problem)).collect())?;
    let stateful_sets = load_stateful_sets(&document, &scenario, directory, &mut texts)?;
    let applied = load_applied(&scenario, directory, &mut texts)?;
    Ok(LoadedScenario { scenario, inputs, stateful_sets, applied, hash: texts.hash(), document })
}

/// Hashes the texts that a scenario is made of, in the order in which they are read.
#[derive(Default)]
struct Texts(XxHash3_128);

impl Texts {
    fn add<'a>(&mut self, source: &'a Source) -> &'a Source {
        // With its length, no text runs on into the next.
        self.0.write(&(source.text.len() as u64).to_le_bytes());
        self.0.write(source.text.as_bytes());
        source
    }

    fn hash(&self) -> String {
        format!("{:032x}", self.0.finish_128())
    }
}

/// The StatefulSets that faults create.
fn load_stateful_sets(
    document: &Document,
    scenario: &Scenario,
    directory: &Path,
    texts: &mut Texts,
) -> Result<BTreeMap<String, StatefulSet>, InputError> {
    let mut sets = BTreeMap::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let FaultKind::CreateStatefulSet(file) = &fault.kind else { continue };
        let manifests = Manifests::load(std::slice::from_ref(texts.add(&only_file(&directory.join(file))?)))?;
        let mut found = manifests.stateful_sets.into_iter().map(|object| object.value);
        let (Some(set), None) = (found.next(), found.next()) else {
            let problem = Problem {
                field: format!("faults[{index}].createStatefulSet"),
                what: format!("{file} does not hold exactly one"),
                expected: "a file with one StatefulSet".to_owned(),
            };
            return Err(LoadErrors::from(point_at(document, &problem)).into());
        };
        sets.insert(file.clone(), set);
    }
    Ok(sets)
}

/// What faults apply.
fn load_applied(
    scenario: &Scenario,
    directory: &Path,
    texts: &mut Texts,
) -> Result<BTreeMap<String, Manifests>, InputError> {
    let mut applied = BTreeMap::new();
    for fault in &scenario.faults {
        let FaultKind::Apply(file) = &fault.kind else { continue };
        let source = only_file(&directory.join(file))?;
        applied.insert(file.clone(), Manifests::load(std::slice::from_ref(texts.add(&source)))?);
    }
    Ok(applied)
}

/// The text of one file, where a directory would be several.
fn only_file(path: &Path) -> Result<Source, InputError> {
    if path.is_dir() {
        return Err(InputError::Directory { path: path.to_owned() });
    }
    let missing = || FileError::Missing { path: path.to_owned() };
    let read = source::read_paths(&[path], &mut io::stdin())?;
    Ok(read.into_iter().next().ok_or_else(missing)?)
}

fn load_cluster(
    document: &Document,
    scenario: &Scenario,
    directory: &Path,
    texts: &mut Texts,
) -> Result<ClusterFile, InputError> {
    Ok(match (scenario.cluster.as_str(), document.part("cluster")) {
        (None, Some(inline)) => ClusterFile::from_document(inline)?,
        (path, _) => ClusterFile::load(texts.add(&only_file(&directory.join(path.unwrap_or_default()))?))?,
    })
}

fn point_at(document: &Document, problem: &Problem) -> SourceError {
    let what = format!("expected {}, but {}", problem.expected, problem.what);
    document.error(
        problem.field.as_str(),
        what,
        "the fields of a scenario are described in docs/scenario-file.md",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example scenarios of the repository.
    fn scenarios() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
    }

    fn load(text: &str) -> Result<LoadedScenario, InputError> {
        // A file of its own per test: tests run at the same time.
        let name = format!("hopwise-load-{}-{:p}.yaml", std::process::id(), text);
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("the temporary directory can be written");
        let loaded = load_scenario(&path);
        std::fs::remove_file(&path).expect("it was written");
        loaded
    }

    #[test]
    fn cluster_files_and_inline_clusters_are_read() {
        let file = load_scenario(&scenarios().join("nodeport-vs-loadbalancer.yaml")).expect("sound");
        assert_eq!((file.inputs.cluster.nodes.len(), file.inputs.profile.name.as_str()), (3, "aws"));
        let inline = load_scenario(&scenarios().join("in-cluster.yaml")).expect("sound");
        assert_eq!(
            (inline.inputs.cluster.nodes.len(), inline.inputs.profile.name.as_str()),
            (3, "bare-metal")
        );
    }

    #[test]
    fn problems_point_at_their_lines() {
        let text = "name: x\ncluster: {nodes: []}\nmanifests: [m.yaml]\n\
            clients:\n  - {name: a, place: external, bootstrap: [nowhere]}\n\
            workload:\n  topics: [{name: t, partitions: 0, replication: 1}]\n  consumers: {requests: 1, interval: 1s}\n";
        let Err(InputError::Load(errors)) = load(text) else { panic!("a load error") };
        let lines: Vec<_> =
            errors.errors().iter().map(|error| (error.location().line, error.field().to_string())).collect();
        assert_eq!(
            lines,
            [(5, "clients[0].bootstrap[0]".to_owned()), (7, "workload.topics[0].partitions".to_owned())]
        );
    }

    #[test]
    fn an_inline_cluster_is_checked_where_it_is_written() {
        let text = "name: x\ncluster:\n  nodes:\n    - {name: a, address: 10.0.0.1}\n    - {name: a, address: 10.0.0.2}\n\
            manifests: [m.yaml]\nclients:\n  - {name: a, place: external, bootstrap: ['a:1']}\n\
            workload:\n  topics: [{name: t, partitions: 1, replication: 1}]\n  consumers: {requests: 1, interval: 1s}\n";
        let Err(InputError::Load(errors)) = load(text) else { panic!("a load error") };
        assert_eq!(errors.errors()[0].location().line, 5);
    }

    #[test]
    fn the_hash_follows_every_text_and_no_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let copy = |from: &str, to: &str, edit: (&str, &str)| {
            let text = std::fs::read_to_string(scenarios().join(from)).expect(from);
            assert!(text.contains(edit.0), "{from}");
            let path = directory.path().join(to);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(&path, text.replace(edit.0, edit.1)).expect("written");
        };
        let hash = || load_scenario(&directory.path().join("renamed.yaml")).expect("sound").hash;
        let original = load_scenario(&scenarios().join("in-cluster.yaml")).expect("sound").hash;
        copy("in-cluster.yaml", "renamed.yaml", ("name", "name"));
        copy("manifests/brokers.yaml", "manifests/brokers.yaml", ("kind", "kind"));
        assert_eq!(hash(), original);
        copy(
            "manifests/brokers.yaml",
            "manifests/brokers.yaml",
            ("kind: StatefulSet", "# one\nkind: StatefulSet"),
        );
        assert_ne!(hash(), original);
        copy("manifests/brokers.yaml", "manifests/brokers.yaml", ("kind", "kind"));
        copy("in-cluster.yaml", "renamed.yaml", ("seed: ", "seed: 1"));
        assert_ne!(hash(), original);
    }

    #[test]
    fn faults_on_what_is_not_there_point_at_their_lines() {
        let file = |name: &str| scenarios().join(name).display().to_string();
        let text = format!(
            "name: x\ncluster: {}\nmanifests: [{}]\nexpect: {{events: [{{kind: pod.ready, within: [0s, 1s]}}]}}\nfaults:\n  \
             - {{at: 1s, cutLink: node/node-9 -> external}}\n  \
             - {{at: 1s, delayLink: {{link: zone/zone-a <-> zone/zone-d, by: 1s}}}}\n  \
             - {{at: 1s, fillDisk: persistentVolumeClaim redpanda/datadir-redpanda-x}}\n  \
             - {{at: 1s, stopLoadBalancer: service redpanda/lb}}\n  \
             - {{at: 1s, hangContainer: {{pod: redpanda/redpanda-0, container: redpand}}}}\n  \
             - {{at: 1s, fillConntrack: nod-1}}\n",
            file("three-zones.yaml"),
            file("manifests/brokers.yaml"),
        );
        let Err(InputError::Load(errors)) = load(&text) else { panic!("a load error") };
        let told: Vec<_> =
            errors.errors().iter().map(|error| (error.location().line, error.field().to_string())).collect();
        let expected = [
            (6, "faults[0].cutLink"),
            (7, "faults[1].delayLink.link"),
            (8, "faults[2].fillDisk"),
            (9, "faults[3].stopLoadBalancer"),
            (10, "faults[4].hangContainer.container"),
            (11, "faults[5].fillConntrack"),
        ];
        assert_eq!(told, expected.map(|(line, field)| (line, field.to_owned())));
        let last = errors.errors().last().expect("six").to_string();
        assert!(last.contains("expected `node-1` perhaps"), "{last}");
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        assert!(matches!(load_scenario(Path::new("nowhere.yaml")), Err(InputError::File(_))));
        assert!(matches!(load_scenario(&scenarios()), Err(InputError::Directory { .. })));
    }
}
