//! The command line. Words, JSON and exit statuses are fixed in the README.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
