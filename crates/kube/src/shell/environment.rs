//! The state of the shell: variables, options, streams and limits.

use std::collections::BTreeMap;

use super::error::{ShellError, ShellErrorKind};
use super::{Commands, Exit, Failure, Files};

/// Commands, loop rounds and expanded words in one run.
const STEPS_MAX: usize = 200_000;
/// Bytes written to streams, files and variables in one run.
const BYTES_MAX: usize = 8 << 20;
/// Scripts, substitutions and subshells inside each other.
const DEPTH_MAX: usize = 12;

/// Why evaluation does not go on with the next command.
#[derive(Debug)]
pub(super) enum Stop {
    Error(Box<ShellError>),
    Exit(i32),
    Break(usize),
    Continue(usize),
}

pub(super) type Flow<T> = Result<T, Stop>;

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(String),
    Array(BTreeMap<i64, String>),
}

#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub value: Value,
    pub exported: bool,
}

/// What a subshell copies and a new process starts afresh.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub variables: BTreeMap<String, Variable>,
    /// `$0`.
    pub name: String,
    /// `$1` and on.
    pub positional: Vec<String>,
    pub errexit: bool,
    pub nounset: bool,
    pub xtrace: bool,
    pub pipefail: bool,
    /// Started as `sh`: command substitutions inherit `-e` (Bash manual 6.11, item 8).
    pub posix: bool,
    /// Inside a condition: a failure does not end the script.
    pub conditions: usize,
    /// `$?`.
    pub status: i32,
    /// Status of the last command substitution in an assignment.
    pub substitution_status: i32,
    /// Exit status of each background command; the index is its process id - 2.
    pub jobs: Vec<i32>,
    /// The file, for messages.
    pub script: String,
    pub line: usize,
    /// Added to the parser's line numbers inside a substitution.
    pub line_offset: usize,
    /// Number of `+` in the trace, less one.
    pub trace_depth: usize,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    pub stdin: Vec<u8>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

pub(super) struct Shell<'a> {
    pub state: State,
    pub streams: Streams,
    pub files: &'a mut Files,
    pub commands: &'a mut dyn Commands,
    pub failure: Option<Failure>,
    steps: usize,
    bytes: usize,
    depth: usize,
}

impl State {
    /// A new process: the exported variables and nothing else.
    pub fn process(env: &BTreeMap<String, String>, script: &str, name: &str, args: &[String]) -> State {
        let exported = |value: &String| Variable { value: Value::Scalar(value.clone()), exported: true };
        State {
            variables: env.iter().map(|(name, value)| (name.clone(), exported(value))).collect(),
            name: name.to_owned(),
            positional: args.to_vec(),
            script: script.to_owned(),
            line: 1,
            ..State::default()
        }
    }
}

impl<'a> Shell<'a> {
    pub fn new(
        env: &BTreeMap<String, String>,
        files: &'a mut Files,
        commands: &'a mut dyn Commands,
    ) -> Shell<'a> {
        let state = State::process(env, "command", "bash", &[]);
        Shell {
            state,
            streams: Streams::default(),
            files,
            commands,
            failure: None,
            steps: 0,
            bytes: 0,
            depth: 0,
        }
    }

    pub fn into_exit(self, status: i32) -> Exit {
        let failed = self.failure.filter(|_| status != 0);
        Exit { status, stdout: self.streams.stdout, stderr: self.streams.stderr, failed }
    }

    /// An error at the current line.
    pub fn error(&self, construct: impl Into<String>, kind: ShellErrorKind) -> Stop {
        let State { script, line, .. } = &self.state;
        Stop::Error(Box::new(ShellError {
            script: script.clone(),
            line: *line,
            construct: construct.into(),
            kind,
        }))
    }

    pub fn not_interpreted(&self, construct: impl Into<String>) -> Stop {
        self.error(construct, ShellErrorKind::NotInterpreted)
    }

    pub fn step(&mut self) -> Flow<()> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.error("the script", ShellErrorKind::Limit { limit: STEPS_MAX, what: "steps" }));
        }
        Ok(())
    }

    pub fn count_bytes(&mut self, bytes: usize) -> Flow<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > BYTES_MAX {
            return Err(self.error("the script", ShellErrorKind::Limit { limit: BYTES_MAX, what: "bytes" }));
        }
        Ok(())
    }

    /// Runs `body` one level deeper.
    pub fn deeper<T>(&mut self, body: impl FnOnce(&mut Self) -> Flow<T>) -> Flow<T> {
        if self.depth >= DEPTH_MAX {
            return Err(
                self.error("nesting", ShellErrorKind::Limit { limit: DEPTH_MAX, what: "nested shells" })
            );
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    /// Runs `body` as a child process that shares the streams: its variables are dropped, its exit is its status.
    pub fn subshell(&mut self, state: State, body: impl FnOnce(&mut Self) -> Flow<i32>) -> Flow<i32> {
        let parent = std::mem::replace(&mut self.state, state);
        let result = self.deeper(body);
        self.state = parent;
        match result {
            Err(Stop::Exit(status)) => Ok(status),
            Err(Stop::Break(_) | Stop::Continue(_)) => Ok(0),
            other => other,
        }
    }

    pub fn write_stdout(&mut self, bytes: &[u8]) -> Flow<()> {
        self.count_bytes(bytes.len())?;
        self.streams.stdout.extend_from_slice(bytes);
        Ok(())
    }

    pub fn write_stderr(&mut self, bytes: &[u8]) -> Flow<()> {
        self.count_bytes(bytes.len())?;
        self.streams.stderr.extend_from_slice(bytes);
        Ok(())
    }

    /// A message as bash prefixes it.
    pub fn complain(&mut self, message: &str) -> Flow<()> {
        let text = format!("{}: line {}: {message}\n", self.state.name, self.state.line);
        self.write_stderr(text.as_bytes())
    }

    pub fn set_scalar(&mut self, name: &str, value: String) -> Flow<()> {
        self.count_bytes(value.len())?;
        self.check_assignable(name)?;
        match self.state.variables.get_mut(name) {
            Some(Variable { value: Value::Array(elements), .. }) => {
                elements.insert(0, value);
            }
            Some(variable) => variable.value = Value::Scalar(value),
            None => {
                let variable = Variable { value: Value::Scalar(value), exported: false };
                self.state.variables.insert(name.to_owned(), variable);
            }
        }
        Ok(())
    }

    /// `IFS` changes how every later word is split, which is not interpreted.
    pub fn check_assignable(&self, name: &str) -> Flow<()> {
        if name == "IFS" { Err(self.not_interpreted("assignment to IFS")) } else { Ok(()) }
    }

    /// The variable's value as `$name` gives it: an array's element 0.
    pub fn scalar(&self, name: &str) -> Option<&str> {
        match &self.state.variables.get(name)?.value {
            Value::Scalar(value) => Some(value),
            Value::Array(elements) => elements.get(&0).map(String::as_str),
        }
    }

    pub fn exported(&self) -> BTreeMap<String, String> {
        let variables = self.state.variables.iter().filter(|(_, variable)| variable.exported);
        variables.filter_map(|(name, _)| Some((name.clone(), self.scalar(name)?.to_owned()))).collect()
    }
}

/// An absolute path without `.`, `..` and doubled slashes; the working directory is the root.
pub(super) fn absolute(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether some file lies below `path`.
pub(super) fn is_directory(files: &Files, path: &str) -> bool {
    let path = absolute(path);
    if path == "/" {
        return true;
    }
    let prefix = format!("{path}/");
    files.range(prefix.clone()..).next().is_some_and(|(name, _)| name.starts_with(&prefix))
}
