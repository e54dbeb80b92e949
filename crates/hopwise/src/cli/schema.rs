//! `hopwise schema`.

use clap::{Args, ValueEnum};
use hopwise_lab::scenario::{cluster_schema, scenario_schema};
use miette::{IntoDiagnostic, Result};

use super::Ending;
use super::output::print_text;

/// Print the JSON Schema of a kind of file, so that editors complete and check it.
///
/// With the YAML language server: a line `# yaml-language-server: $schema=PATH` at the top of a scenario.
#[derive(Args)]
pub struct SchemaArguments {
    /// Of which files.
    of: SchemaOf,
}

/// A kind of file.
#[derive(Clone, Copy, ValueEnum)]
enum SchemaOf {
    /// Scenario files.
    Scenario,
    /// Cluster files.
    Cluster,
}

/// Prints it.
pub fn schema(arguments: SchemaArguments) -> Result<Ending> {
    let schema = match arguments.of {
        SchemaOf::Scenario => scenario_schema(),
        SchemaOf::Cluster => cluster_schema(),
    };
    print_text(&serde_json::to_string_pretty(&schema).into_diagnostic()?)?;
    Ok(Ending::Well)
}
