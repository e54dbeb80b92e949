//! `hopwise init`.

use std::path::{Path, PathBuf};

use clap::Args;
use hopwise_lab::check::{CheckOptions, check};
use hopwise_lab::first_scenario::{Files, first_scenario};
use hopwise_lab::run::path_between;
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::Ending;
use super::check::tell;
use super::input::ClusterArguments;
use super::output::{self, Console};
use super::progress::Progress;

/// Write a first scenario for manifests: its clients are the ways in over which every broker is reached.
///
/// The manifests are checked to find these ways, so that `hopwise run` passes with what is written.
#[derive(Args)]
pub struct InitArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Where the scenario goes; the paths in it are relative to its directory (default: standard output, and paths
    /// relative to the current directory).
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace FILE if it is there.
    #[arg(long, requires = "out")]
    force: bool,
}

/// Writes it.
pub fn init(arguments: InitArguments, console: Console) -> Result<Ending> {
    let InitArguments { cluster, out, force } = arguments;
    let files = files(&cluster, out.as_deref())?;
    if let Some(file) = out.as_deref().filter(|file| !force && file.exists()) {
        return Err(miette!(
            help = "give another file, or --force to replace it",
            "{} is there already",
            file.display()
        ));
    }
    let inputs = cluster.load()?;
    output::try_out(&[out.as_ref()], &[])?;
    let progress = Progress::begin("checking every listener", console);
    let report = check(inputs.clone(), &CheckOptions::default()).map_err(tell)?;
    progress.end();
    let text = match first_scenario(&inputs, &report, &files) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("{why}");
            return Ok(Ending::NotWell);
        }
    };
    match &out {
        None => output::print_text(text.trim_end())?,
        Some(file) => {
            output::write_text(&text, file)?;
            if !console.quiet {
                output::print_text(&format!("{} is written; hopwise run {0} runs it", file.display()))?;
            }
        }
    }
    Ok(Ending::Well)
}

/// What the scenario refers to, as it is to stand in it.
fn files(cluster: &ClusterArguments, out: Option<&Path>) -> Result<Files> {
    let directory = out.and_then(Path::parent).unwrap_or(Path::new(""));
    if cluster.files().iter().any(|file| file == Path::new("-")) {
        return Err(miette!(
            "-f -: a scenario refers to its manifests by their paths, and standard input has none"
        ));
    }
    let surroundings = cluster.surroundings();
    if surroundings.cluster().is_some() && surroundings.says_more() {
        return Err(miette!(
            help = "write them into the cluster file",
            "--nodes and --profile beside --cluster cannot be written into a scenario"
        ));
    }
    let place = |path: &Path| relative(path, directory);
    let name = out.and_then(Path::file_stem).map_or("first".into(), |stem| stem.to_string_lossy());
    Ok(Files {
        name: name.into_owned(),
        manifests: cluster.files().iter().map(|path| place(path)).collect::<Result<_>>()?,
        cluster: surroundings.cluster().map(|path| place(path)).transpose()?,
    })
}

/// The way from `directory` to `path`.
fn relative(path: &Path, directory: &Path) -> Result<String> {
    let absolute = |path: &Path| {
        let path = if path == Path::new("") { Path::new(".") } else { path };
        path.canonicalize().into_diagnostic().wrap_err_with(|| format!("finding {}", path.display()))
    };
    Ok(path_between(&absolute(directory)?, &absolute(path)?).display().to_string())
}
