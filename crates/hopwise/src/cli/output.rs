//! Where results go, and how they look there.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use hopwise_lab::replaced_file;
use hopwise_lab::report::Paper;
use miette::{IntoDiagnostic, Result, WrapErr};
use serde::Serialize;

/// Columns where there is no terminal.
const WIDTH_DEFAULT: u16 = 120;
/// Columns below which tables are of no use.
const WIDTH_MIN: u16 = 40;

/// What is printed on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Tables for people.
    Text,
    /// One JSON object.
    Json,
}

/// How much is said, and how.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    /// The format of results.
    pub format: Format,
    /// Whether reports for people and progress are left out.
    pub quiet: bool,
}

/// Prints a report in the format asked for; nothing if people asked for quiet.
pub fn print<T: Serialize>(
    report: &T,
    console: Console,
    text: impl FnOnce(&T, Paper) -> String,
) -> Result<()> {
    match console.format {
        Format::Text if console.quiet => Ok(()),
        Format::Text => print_text(&text(report, paper())),
        Format::Json => print_text(&json(report)?),
    }
}

/// Prints a text as it is, with an end of line after it.
pub fn print_text(printed: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(printed.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        // Whoever reads no further (`head`) has what it wants.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.into_diagnostic().wrap_err("writing to standard output"),
    }
}

/// Writes a report as JSON; the file is replaced at once or not at all.
pub fn write_json<T: Serialize>(report: &T, path: &Path) -> Result<()> {
    write_text(&(json(report)? + "\n"), path)
}

/// Writes a file, which is replaced at once or not at all.
pub fn write_text(text: &str, path: &Path) -> Result<()> {
    write_with(path, |out| out.write_all(text.as_bytes()))
}

/// Writes a file piece by piece; it is replaced at once or not at all.
pub fn write_with(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> std::io::Result<()>,
) -> Result<()> {
    let buffered = |file: &mut File| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    };
    replaced_file::replace(path, buffered)
        .into_diagnostic()
        .wrap_err_with(|| format!("writing {}", path.display()))
}

/// Whether `files` can be written and `directories` be written to, so that what takes long does not end in vain.
/// Directories are made.
pub fn try_out(files: &[Option<&PathBuf>], directories: &[Option<&PathBuf>]) -> Result<()> {
    let cannot = |path: &Path| format!("{} cannot be written", path.display());
    for path in files.iter().copied().flatten() {
        replaced_file::try_out(path).into_diagnostic().wrap_err_with(|| cannot(path))?;
    }
    for path in directories.iter().copied().flatten() {
        let made = std::fs::create_dir_all(path).and_then(|()| replaced_file::try_out(&path.join("capture")));
        made.into_diagnostic().wrap_err_with(|| cannot(path))?;
    }
    Ok(())
}

fn json<T: Serialize>(report: &T) -> Result<String> {
    serde_json::to_string_pretty(report).into_diagnostic()
}

/// Paper without colour, for lines among others on standard error.
pub fn plain() -> Paper {
    Paper { colour: false, ..paper() }
}

/// The terminal's width (or COLUMNS) and whether it takes colour; plain where there is none.
fn paper() -> Paper {
    let terminal = std::io::stdout().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none();
    let width =
        std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width > 0);
    let of_terminal = || console::Term::stdout().size_checked().map(|(_, columns)| columns);
    let width = width.or_else(of_terminal).unwrap_or(WIDTH_DEFAULT).max(WIDTH_MIN);
    Paper { width, colour }
}
