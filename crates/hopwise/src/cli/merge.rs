//! `hopwise merge`.

use clap::Args;
use hopwise_lab::sweep::{Format as Table, Location, merge as merge_results};
use miette::{Result, miette};

use super::Ending;
use super::output::Console;
use super::sweep::{ending, result_place};

/// Join the results of all shards of a sweep to one.
#[derive(Args)]
pub struct MergeArguments {
    /// Results of `hopwise sweep`: paths, URLs, directories, or URLs that end in `/` for all objects right under them.
    #[arg(required = true, value_name = "FILE|URL", value_parser = place)]
    files: Vec<Location>,
    /// Where the joined rows go: a path or a URL ending in .parquet or .jsonl.
    #[arg(long, value_name = "FILE|URL", value_parser = result_place)]
    out: (Location, Table),
}

/// Joins them.
pub fn merge(arguments: MergeArguments, console: Console) -> Result<Ending> {
    let (out, table) = &arguments.out;
    let report = merge_results(&arguments.files, out, *table).map_err(|error| miette!("{error}"))?;
    ending(&report, console)
}

fn place(text: &str) -> Result<Location, String> {
    Location::parse(text).map_err(|error| error.to_string())
}
