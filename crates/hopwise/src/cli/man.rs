//! `hopwise man`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use hopwise_lab::replaced_file;
use miette::{IntoDiagnostic, Result, WrapErr};

use super::output::{Console, Format, print_text};
use super::{Cli, Ending};

/// Write the manual pages, one for hopwise and one for each command, into a directory: `hopwise man /usr/local/share/man/man1`.
#[derive(Args)]
pub struct ManArguments {
    /// The directory; it is made if it is not there.
    directory: PathBuf,
}

/// Writes them.
pub fn man(arguments: ManArguments, console: Console) -> Result<Ending> {
    let directory = arguments.directory;
    std::fs::create_dir_all(&directory)
        .into_diagnostic()
        .wrap_err_with(|| format!("making {}", directory.display()))?;
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    for command in std::iter::once(command).chain(commands) {
        let page = Man::new(command);
        let path = directory.join(page.get_filename());
        let mut text = Vec::new();
        page.render(&mut text)
            .and_then(|()| replaced_file::replace(&path, |file| file.write_all(&text)))
            .into_diagnostic()
            .wrap_err_with(|| format!("writing {}", path.display()))?;
        if !console.quiet && console.format == Format::Text {
            print_text(&path.display().to_string())?;
        }
    }
    Ok(Ending::Well)
}
