//! Starting programs: a shell with its options, a script file, `bash -c` text.

use super::command::basename;
use super::environment::{Flow, Shell, State, absolute};
use super::error::ShellErrorKind;
use super::{Failure, nesting};

use brush_parser::{ParseError, Parser, ParserOptions};

/// How a shell was called.
#[derive(Default)]
struct Options {
    text: bool,
    errexit: bool,
    nounset: bool,
    xtrace: bool,
    pipefail: bool,
    posix: bool,
}

/// Tilde expansion stays off in the parser: it is not interpreted, and the parser's numbers in `~1` are unchecked.
pub(super) fn parser_options() -> ParserOptions {
    ParserOptions { tilde_expansion_at_word_start: false, ..ParserOptions::default() }
}

impl Shell<'_> {
    /// Runs a container's command line.
    pub fn launch(&mut self, command: &[String]) -> Flow<i32> {
        let Some((name, args)) = command.split_first() else {
            return Err(self.error("the command is empty", ShellErrorKind::Syntax));
        };
        self.program(name, args)
    }

    /// Starts `name` as a child process and waits for it.
    pub fn program(&mut self, name: &str, args: &[String]) -> Flow<i32> {
        if is_shell(basename(name)) {
            return self.start_shell(name, args);
        }
        if name.contains('/') {
            if self.files.contains_key(&absolute(name)) {
                return self.script_file(name, args, Options::default());
            }
            let base = if in_program_folder(name) { basename(name) } else { name };
            return self.external(base, args);
        }
        self.external(name, args)
    }

    fn start_shell(&mut self, shell: &str, args: &[String]) -> Flow<i32> {
        let mut options = Options { posix: basename(shell) != "bash", ..Options::default() };
        let mut rest = args;
        while let Some((arg, after)) = rest.split_first() {
            let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else { break };
            rest = after;
            if letters == "-" {
                break;
            }
            if letters == "o" {
                match rest.split_first() {
                    Some((name, after)) if name == "pipefail" => {
                        options.pipefail = true;
                        rest = after;
                    }
                    _ => return Err(self.not_interpreted(format!("{shell} -o"))),
                }
                continue;
            }
            self.shell_letters(shell, letters, &mut options)?;
        }
        match rest.split_first() {
            Some((text, after)) if options.text => {
                let (name, args) =
                    after.split_first().map_or(("bash", after), |(name, args)| (name.as_str(), args));
                self.process("bash -c", name, args, options, |shell| shell.source(text))
            }
            Some((file, args)) => self.script_file(file, args, options),
            None => Err(self.not_interpreted(format!("{shell} without a script"))),
        }
    }

    fn shell_letters(&self, shell: &str, letters: &str, options: &mut Options) -> Flow<()> {
        for letter in letters.chars() {
            match letter {
                'c' => options.text = true,
                'e' => options.errexit = true,
                'u' => options.nounset = true,
                'x' => options.xtrace = true,
                _ => return Err(self.not_interpreted(format!("{shell} -{letters}"))),
            }
        }
        Ok(())
    }

    fn script_file(&mut self, path: &str, args: &[String], mut options: Options) -> Flow<i32> {
        let Some(content) = self.files.get(&absolute(path)) else {
            self.complain(&format!("{path}: No such file or directory"))?;
            return Ok(127);
        };
        let Ok(text) = String::from_utf8(content.clone()) else {
            return Err(self.not_interpreted(format!("{path}, which is not text,")));
        };
        if let Some(line) = text.strip_prefix("#!").map(|rest| rest.lines().next().unwrap_or_default()) {
            let mut words = line.split_whitespace().skip_while(|word| basename(word) == "env");
            if !words.next().is_some_and(|word| is_shell(basename(word))) {
                return Err(self.not_interpreted(format!("{path}, a script for {line},")));
            }
            for word in words {
                self.shell_letters(path, word.trim_start_matches('-'), &mut options)?;
            }
        }
        self.process(path, path, args, options, |shell| shell.source(&text))
    }

    fn process(
        &mut self,
        script: &str,
        name: &str,
        args: &[String],
        options: Options,
        body: impl FnOnce(&mut Self) -> Flow<i32>,
    ) -> Flow<i32> {
        let Options { errexit, nounset, xtrace, pipefail, posix, .. } = options;
        let state = State {
            errexit,
            nounset,
            xtrace,
            pipefail,
            posix,
            ..State::process(&self.exported(), script, name, args)
        };
        self.subshell(state, body)
    }

    /// Evaluates a script's text in this shell.
    pub fn source(&mut self, text: &str) -> Flow<i32> {
        self.count_bytes(text.len())?;
        if let Err(excess) = nesting::check(text) {
            self.state.line = self.state.line_offset + excess.line;
            return Err(self.error(excess.construct, excess.kind));
        }
        let program = Parser::new(text.as_bytes(), &parser_options()).parse_program();
        let program = match program {
            Ok(program) => program,
            Err(error) => {
                let line = match &error {
                    ParseError::ParsingNear(position) => position.line,
                    ParseError::Tokenizing { position: Some(position), .. } => position.line,
                    _ => text.lines().count().max(1),
                };
                self.state.line = self.state.line_offset + line;
                let lines: Vec<&str> = text.lines().collect();
                let construct = lines.get(line.saturating_sub(1)).map_or("end of script", |line| line.trim());
                return Err(self.error(construct.to_owned(), ShellErrorKind::Syntax));
            }
        };
        for list in &program.complete_commands {
            self.list(list)?;
        }
        Ok(self.state.status)
    }

    /// Remembers the command that ends the script under `set -e`.
    pub fn record_failure(&mut self, command: &str, status: i32) {
        let (script, line) = (self.state.script.clone(), self.state.line);
        self.failure = Some(Failure { script, line, command: command.to_owned(), status });
    }
}

fn is_shell(name: &str) -> bool {
    matches!(name, "bash" | "sh" | "dash" | "ash")
}

/// `/usr/bin/grep` is `grep`.
fn in_program_folder(path: &str) -> bool {
    let folders = ["/bin/", "/usr/bin/", "/usr/local/bin/", "/opt/redpanda/bin/"];
    folders.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')))
}
