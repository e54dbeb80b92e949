//! Writing a scenario to a file of its own.

use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::replaced_file::{self, directory_of};
use crate::scenario::{FaultKind, Scenario};

/// Writes `scenario`, which was read from the file `from`, to the file `to`, replaced at once or not at all. The paths
/// in it lead from the new place to the same files.
///
/// # Errors
/// If a directory is not there, or the file cannot be written.
pub fn save_scenario(scenario: &Scenario, from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (directory_of(from), directory_of(to));
    let moved = moved(scenario, &old.canonicalize()?, &new.canonicalize()?);
    let text = serde_saphyr::to_string(&moved).map_err(io::Error::other)?;
    replaced_file::replace(to, |file| file.write_all(text.as_bytes()))
}

/// The scenario with its paths relative to `new` instead of `old`.
fn moved(scenario: &Scenario, old: &Path, new: &Path) -> Scenario {
    let mut scenario = scenario.clone();
    let moved = |path: &str| path_between(new, &old.join(path)).display().to_string();
    if let Value::String(path) = &mut scenario.cluster {
        *path = moved(path);
    }
    for path in &mut scenario.manifests {
        *path = moved(path);
    }
    for fault in &mut scenario.faults {
        if let FaultKind::CreateStatefulSet(path) | FaultKind::Apply(path) = &mut fault.kind {
            *path = moved(path);
        }
    }
    scenario
}

/// The way from `directory` to `path`; both are absolute.
pub fn path_between(directory: &Path, path: &Path) -> PathBuf {
    let shared = path.components().zip(directory.components()).take_while(|(a, b)| a == b).count();
    let up = directory.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(path.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{LoadedScenario, load_scenario};

    #[test]
    fn a_scenario_leads_from_its_new_place_to_the_same_files() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let from = scenarios.join("pod-deletion.yaml");
        let original = load_scenario(&from).expect("sound");
        let directory = tempfile::tempdir().expect("a directory");
        let to = directory.path().join("copy.yaml");
        save_scenario(&original.scenario, &from, &to).expect("saved");
        let copy = load_scenario(&to).expect("sound");
        let sets = |loaded: &LoadedScenario| loaded.inputs.manifests.stateful_sets.len();
        assert_eq!((sets(&copy), copy.inputs.cluster.nodes.len()), (sets(&original), 3));
        assert_eq!(copy.scenario.faults, original.scenario.faults);
        assert_ne!(copy.scenario.manifests, original.scenario.manifests);
    }

    #[test]
    fn paths_go_up_as_far_as_they_must() {
        let way = |path: &str, directory: &str| path_between(Path::new(directory), Path::new(path));
        assert_eq!(way("/a/b/c.yaml", "/a/b"), Path::new("c.yaml"));
        assert_eq!(way("/a/b/c.yaml", "/a/d/e"), Path::new("../../b/c.yaml"));
        assert_eq!(way("/a/b/../c.yaml", "/a/b"), Path::new("../c.yaml"));
    }
}
