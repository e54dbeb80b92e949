//! A deterministic interpreter for the shell scripts of init containers.
//!
//! The Redpanda chart does not render the addresses a broker advertises: a bash script in a Secret writes them into
//! redpanda.yaml when the pod starts (redpanda.md 0.3, 1.6). Here that script is parsed with bash's grammar
//! (`brush-parser`) and evaluated over an in-memory file system; nothing is executed by the machine.
//!
//! Interpreted: variables, indexed arrays, quoting, parameter expansion (`${x}`, `:-`, `#`, `%`, `/`, `:offset`),
//! command and arithmetic substitution, field splitting, pathname expansion, pipelines, lists, redirections of
//! file descriptors 0 to 2, `if`, `for`, `while`, `case`, groups and subshells, `set -e`, `-u`, `-x`, `-o pipefail`,
//! and the commands listed in `builtin` and `filter`. Left out, and answered with a [`ShellError`] that names
//! the line: functions, here-documents, process substitution, brace and tilde expansion, associative arrays,
//! a changed `IFS`, traps on `EXIT`, `ERR` and `DEBUG`, and every command or option not listed. Background commands
//! run to their end before the next command. Names of other programs are offered to [`Commands`].
//!
//! Source: the Bash Reference Manual, sections 3.5 (expansions), 3.6 (redirections), 3.7 (execution) and 4.

mod arithmetic;
mod builtin;
mod command;
mod condition;
mod environment;
mod error;
mod expand;
mod filter;
mod nesting;
mod node_query;
mod parameter;
mod pattern;
mod printf;
mod redirect;
mod regular_expression;
mod rpk;
mod script;
mod sed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::{ShellError, ShellErrorKind};
pub use node_query::{NodeMetadata, NodeQuery};
pub use rpk::Rpk;

use environment::{Shell, Stop};

/// The container's file system: absolute path to content. Parent directories exist by implication.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A call of a program that is not part of the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program as the script names it, e.g. `rpk`.
    pub name: String,
    /// Its arguments, after expansion.
    pub args: Vec<String>,
    /// The exported variables.
    pub env: BTreeMap<String, String>,
    /// What it can read from standard input.
    pub stdin: Vec<u8>,
    /// The script line of the call, from 1.
    pub line: usize,
}

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Exit status, 0 is success.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Success with this standard output.
    pub fn success(stdout: impl Into<Vec<u8>>) -> Outcome {
        Outcome { status: 0, stdout: stdout.into(), stderr: Vec::new() }
    }

    /// Failure with this status and a message on standard error (a newline is added).
    pub fn failure(status: i32, message: impl std::fmt::Display) -> Outcome {
        Outcome { status, stdout: Vec::new(), stderr: format!("{message}\n").into_bytes() }
    }
}

/// The programs of the container's image.
pub trait Commands {
    /// Runs a program, or returns `None` if there is none of this name.
    fn run(&mut self, invocation: &Invocation, files: &mut Files) -> Option<Outcome>;

    /// Whether `sleep` is one of the programs; otherwise it does nothing.
    fn takes_time(&self) -> bool {
        false
    }

    /// Whether the script is not to go on: it ends with an error then.
    fn is_over(&self) -> bool {
        false
    }
}

/// No programs at all.
impl Commands for () {
    fn run(&mut self, _: &Invocation, _: &mut Files) -> Option<Outcome> {
        None
    }
}

/// The programs of the first, then those of the second.
impl<A: Commands, B: Commands> Commands for (A, B) {
    fn run(&mut self, invocation: &Invocation, files: &mut Files) -> Option<Outcome> {
        self.0.run(invocation, files).or_else(|| self.1.run(invocation, files))
    }

    fn is_over(&self) -> bool {
        self.0.is_over() || self.1.is_over()
    }
}

impl<C: Commands + ?Sized> Commands for &mut C {
    fn run(&mut self, invocation: &Invocation, files: &mut Files) -> Option<Outcome> {
        (**self).run(invocation, files)
    }

    fn is_over(&self) -> bool {
        (**self).is_over()
    }
}

/// How a container's command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Exit status, 0 is success.
    pub status: i32,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, with the trace of `set -x`.
    pub stderr: Vec<u8>,
    /// The command that ended a script under `set -e`, when the status is not 0.
    pub failed: Option<Failure>,
}

/// The command that ended a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The script's path, or `bash -c`.
    pub script: String,
    /// Its line, from 1.
    pub line: usize,
    /// The command's name, or the variable assigned to.
    pub command: String,
    /// Its exit status.
    pub status: i32,
}

/// Runs a container's command: a shell with its arguments (`/bin/bash -c TEXT NAME ARGS`, `sh FILE ARGS`), the path
/// of a script in `files`, or a single program.
///
/// # Errors
/// [`ShellError`] if a script uses what is not interpreted, is not valid shell, or goes beyond the limits on steps,
/// output and depth. A script that merely fails is an [`Exit`] with its status.
pub fn run(
    command: &[String],
    env: &BTreeMap<String, String>,
    files: &mut Files,
    commands: &mut dyn Commands,
) -> Result<Exit, ShellError> {
    let mut shell = Shell::new(env, files, commands);
    let status = match shell.launch(command) {
        Ok(status) | Err(Stop::Exit(status)) => status,
        Err(Stop::Break(_) | Stop::Continue(_)) => 0,
        Err(Stop::Error(error)) => return Err(*error),
    };
    Ok(shell.into_exit(status))
}
