//! What commands are given: manifests, a cluster, a profile.

use std::path::PathBuf;

use clap::Args;
use hopwise_kube::source::{Source, read_paths};
use hopwise_lab::inputs::{Inputs, Surroundings};
use hopwise_lab::report::shell_word;
use miette::{Report, Result, miette};

/// The cluster to examine.
#[derive(Args)]
pub struct ClusterArguments {
    /// A manifest file, a directory (its *.yaml and *.yml), or `-` for standard input; may be given again.
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    surroundings: SurroundingsArguments,
}

/// What surrounds the objects of manifests.
#[derive(Args)]
pub struct SurroundingsArguments {
    /// What manifests do not hold: nodes, profile, names that outside clients can resolve, load balancers.
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// How many nodes, if the cluster file names none (default: as many as the largest StatefulSet needs).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: Option<u16>,
    /// bare-metal, aws, gcp or azure (default: the cluster file's, or bare-metal).
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl ClusterArguments {
    /// The manifest files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// As the command line has it, each argument after a blank.
    pub fn as_typed(&self) -> String {
        let word = |path: &PathBuf| shell_word(&path.display().to_string());
        let mut typed = String::new();
        for file in &self.files {
            typed.push_str(&format!(" -f {}", word(file)));
        }
        let SurroundingsArguments { cluster, nodes, profile } = &self.surroundings;
        let cluster = cluster.as_ref().map(|cluster| format!(" --cluster {}", word(cluster)));
        let nodes = nodes.map(|nodes| format!(" --nodes {nodes}"));
        let profile = profile.as_ref().map(|profile| format!(" --profile {}", shell_word(profile)));
        typed.extend([cluster, nodes, profile].into_iter().flatten());
        typed
    }

    /// What surrounds them.
    pub fn surroundings(&self) -> &SurroundingsArguments {
        &self.surroundings
    }

    /// Reads everything.
    pub fn load(&self) -> Result<Inputs> {
        self.surroundings.load(&self.files)
    }
}

impl SurroundingsArguments {
    /// The cluster file.
    pub fn cluster(&self) -> Option<&PathBuf> {
        self.cluster.as_ref()
    }

    /// Whether anything is said beside the cluster file.
    pub fn says_more(&self) -> bool {
        self.nodes.is_some() || self.profile.is_some()
    }

    /// Reads manifests, and what surrounds them.
    pub fn load(&self, files: &[PathBuf]) -> Result<Inputs> {
        let manifests = read(files)?;
        let cluster = match &self.cluster {
            Some(path) => Some(read_one(path)?),
            None => None,
        };
        let surroundings = Surroundings { cluster, nodes: self.nodes, profile: self.profile.clone() };
        Ok(Inputs::load(&manifests, &surroundings)?)
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Source>> {
    read_paths(paths, &mut std::io::stdin().lock()).map_err(Report::from)
}

/// Reads a file that must be one file.
fn read_one(path: &PathBuf) -> Result<Source> {
    let mut sources = read(std::slice::from_ref(path))?;
    match (sources.pop(), sources.is_empty()) {
        (Some(source), true) => Ok(source),
        _ => Err(miette!("{}: expected one file, found a directory", path.display())),
    }
}
