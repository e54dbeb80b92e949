//! One entry: its files, how it is run, and what it expects.
//!
//! A folder holds `entry.yaml` and what its twins consist of: `broken.yaml` and `healthy.yaml` (manifests, or scenarios if
//! the entry is run), `broken-cluster.yaml` and `healthy-cluster.yaml` if the difference is around the manifests, and
//! what both have: `common.yaml` (manifests), `cluster.yaml`. What many entries have is in `scenarios/catalogue/base`.

use std::fmt;
use std::path::{Path, PathBuf};

use hopwise_kube::cluster::Place;
use hopwise_kube::source::{Source, read_paths};
use hopwise_lab::check::{CheckOptions, check};
use hopwise_lab::findings::{Code, Finding};
use hopwise_lab::inputs::{Inputs, Surroundings};
use hopwise_lab::report::check::Verdict;
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use libtest_mimic::Failed;
use serde::Deserialize;

/// An entry of the catalogue.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of its folder.
    pub name: String,
    /// What is wrong, in a line.
    pub title: String,
    /// Where it is known from.
    pub sources: Vec<String>,
    /// The rows of docs/facts/redpanda.md that it shows: `L4` of section 1.7, `12` of section 5.
    pub rows: Vec<String>,
    /// The findings of the broken twin.
    pub expect: Vec<Expected>,
    how: How,
}

/// How its twins are looked at.
#[derive(Clone, Debug)]
enum How {
    Check { base: Vec<String>, cluster: String, from: Vec<Place> },
    Run,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twin {
    /// What goes wrong.
    Broken,
    /// The same without the mistake.
    Healthy,
}

/// A finding as far as an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Its code.
    pub code: Code,
    /// Its object.
    pub object: String,
    /// Its field.
    #[serde(default)]
    pub field: Option<String>,
}

/// `entry.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    title: String,
    /// What people see of it, for readers of the file.
    about: String,
    sources: Vec<String>,
    rows: Vec<String>,
    #[serde(default)]
    run: bool,
    #[serde(default)]
    base: Vec<String>,
    #[serde(default)]
    cluster: Option<String>,
    #[serde(default)]
    from: Vec<Place>,
    expect: Vec<Expected>,
}

/// The folder of the catalogue.
pub fn folder() -> PathBuf {
    hopwise_tests::scenarios().join("catalogue")
}

/// All entries, by name.
pub fn all() -> Result<Vec<Entry>, String> {
    let told = |path: &Path, error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let listed = std::fs::read_dir(folder()).map_err(|error| told(&folder(), &error))?;
    let mut names: Vec<String> = listed
        .filter_map(|found| found.ok().filter(|it| it.path().is_dir())?.file_name().into_string().ok())
        .filter(|name| name != "base")
        .collect();
    names.sort();
    let read = |name: String| {
        let path = folder().join(&name).join("entry.yaml");
        let text = std::fs::read_to_string(&path).map_err(|error| told(&path, &error))?;
        let written: Written = serde_saphyr::from_str(&text).map_err(|error| told(&path, &error))?;
        Entry::of(name, written).map_err(|error| told(&path, &error))
    };
    names.into_iter().map(read).collect()
}

impl Entry {
    fn of(name: String, written: Written) -> Result<Entry, String> {
        let Written { title, about, sources, rows, run, base, cluster, from, expect } = written;
        if about.trim().is_empty() || sources.is_empty() || rows.is_empty() || expect.is_empty() {
            return Err("about, sources, rows and expect have to say something".to_owned());
        }
        if run && (!base.is_empty() || cluster.is_some() || !from.is_empty()) {
            return Err("an entry that is run says `base`, `cluster` and `from` in its scenarios".to_owned());
        }
        let from = if from.is_empty() { CheckOptions::default().from } else { from };
        let cluster = cluster.unwrap_or_else(|| "cluster".to_owned());
        let how = if run { How::Run } else { How::Check { base, cluster, from } };
        Ok(Entry { name, title, sources, rows, expect, how })
    }

    /// The findings of a twin.
    pub fn findings(&self, twin: Twin) -> Result<Vec<Finding>, Failed> {
        match &self.how {
            How::Check { from, .. } => {
                let (manifests, cluster) = self.files(twin);
                let manifests = read(&manifests)?;
                let surroundings =
                    Surroundings { cluster: read(&[cluster])?.pop(), ..Surroundings::default() };
                let inputs = Inputs::load(&manifests, &surroundings).map_err(shown)?;
                let options = CheckOptions { from: from.clone(), ..CheckOptions::default() };
                Ok(check(inputs, &options)?.findings)
            }
            How::Run => {
                let loaded = load_scenario(&self.path(&format!("{twin}.yaml"))).map_err(shown)?;
                let report = run_scenario(loaded, RunOptions::default())?;
                let wanted = if twin == Twin::Broken { Verdict::Fail } else { Verdict::Pass };
                if report.verdict == wanted {
                    return Ok(report.findings);
                }
                let checks: Vec<String> = report
                    .checks
                    .iter()
                    .map(|it| format!("  {} {} ({})", it.ok, it.name, it.detail))
                    .collect();
                let verdict = format!("the run of the {twin} twin ends with {:?}", report.verdict);
                Err(format!("{verdict}:\n{}\n{}", checks.join("\n"), self.command(twin)).into())
            }
        }
    }

    /// What to type to see the same.
    pub fn command(&self, twin: Twin) -> String {
        let below = |path: &Path| {
            let path = path.strip_prefix(folder()).unwrap_or(path);
            format!("scenarios/catalogue/{}", path.display())
        };
        match &self.how {
            How::Run => format!("hopwise run {}", below(&self.path(&format!("{twin}.yaml")))),
            How::Check { from, .. } => {
                let (manifests, cluster) = self.files(twin);
                let mut command = "hopwise check".to_owned();
                manifests.iter().for_each(|path| command.push_str(&format!(" -f {}", below(path))));
                command.push_str(&format!(" --cluster {}", below(&cluster)));
                from.iter().for_each(|place| command.push_str(&format!(" --from {place}")));
                command
            }
        }
    }

    /// The manifests and the cluster file of a twin.
    fn files(&self, twin: Twin) -> (Vec<PathBuf>, PathBuf) {
        let How::Check { base, cluster, .. } = &self.how else { return Default::default() };
        let in_base = |name: &String| folder().join("base").join(format!("{name}.yaml"));
        let own = |file: &str| Some(self.path(file)).filter(|path| path.exists());
        let mut manifests: Vec<PathBuf> = base.iter().map(in_base).collect();
        manifests.extend(own("common.yaml"));
        manifests.extend(own(&format!("{twin}.yaml")));
        let around = own(&format!("{twin}-cluster.yaml")).or_else(|| own("cluster.yaml"));
        (manifests, around.unwrap_or_else(|| in_base(cluster)))
    }

    fn path(&self, file: &str) -> PathBuf {
        folder().join(&self.name).join(file)
    }
}

impl Expected {
    /// What an entry would have to say of a finding.
    pub fn of(finding: &Finding) -> Expected {
        Expected { code: finding.code, object: finding.object.clone(), field: finding.field.clone() }
    }

    /// Whether it is that finding.
    pub fn is(&self, finding: &Finding) -> bool {
        *self == Expected::of(finding)
    }
}

fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failed> {
    read_paths(paths, &mut std::io::empty()).map_err(shown)
}

fn shown(error: impl Into<miette::Report>) -> Failed {
    format!("{:?}", error.into()).into()
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.object)?;
        self.field.iter().try_for_each(|field| write!(f, ", {field}"))
    }
}

impl fmt::Display for Twin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Twin::Broken => "broken",
            Twin::Healthy => "healthy",
        })
    }
}
