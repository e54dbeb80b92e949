//! Where results go, and how they look there.

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::ValueEnum;
use hopwise_lab::replaced_file;
use hopwise_lab::report::Paper;
use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Serialize;

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

/// Prints a report in the format asked for.
pub fn print<T: Serialize>(report: &T, format: Format, text: impl FnOnce(&T, Paper) -> String) -> Result<()> {
    let printed = match format {
        Format::Text => text(report, paper()),
        Format::Json => json(report)?,
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(printed.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        // Whoever reads no further (`head`) has what it wants.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.into_diagnostic().wrap_err("writing to standard output"),
    }
}

/// Writes a report as JSON; the file is replaced at once or not at all.
pub fn write_json<T: Serialize>(report: &T, path: &Path) -> Result<()> {
    let text = json(report)?;
    replaced_file::replace(path, |file| writeln!(file, "{text}"))
        .into_diagnostic()
        .wrap_err_with(|| format!("writing {}", path.display()))
}

fn json<T: Serialize>(report: &T) -> Result<String> {
    serde_json::to_string_pretty(report).into_diagnostic()
}

/// Paper without colour, for lines among others on standard error.
pub fn plain() -> Paper {
    Paper { colour: false, ..paper() }
}

/// The terminal's width and whether it takes colour; plain and 120 wide where there is none.
fn paper() -> Paper {
    let terminal = std::io::stdout().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let width =
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width >= 40);
    Paper { width: width.unwrap_or(120), colour }
}
