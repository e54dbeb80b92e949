//! `hopwise completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use miette::Result;

use super::output::print_text;
use super::{Cli, Ending};

/// Print a completion script: `hopwise completions bash > /etc/bash_completion.d/hopwise`.
#[derive(Args)]
pub struct CompletionsArguments {
    /// The shell.
    shell: Shell,
}

/// Prints it.
pub fn completions(arguments: CompletionsArguments) -> Result<Ending> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "hopwise", &mut script);
    print_text(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Ending::Well)
}
