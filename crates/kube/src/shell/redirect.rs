//! Redirections of standard input, output and error (Bash manual 3.6). Here-documents are left out.

use brush_parser::ast::{IoFileRedirectKind, IoFileRedirectTarget, IoRedirect};

use super::environment::{Flow, Shell, absolute, is_directory};

/// Where what a command writes goes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sink {
    Output,
    Error,
    File(String),
    Nothing,
}

struct Plan {
    stdin: Option<Vec<u8>>,
    output: Sink,
    error: Sink,
}

impl Shell<'_> {
    /// Runs `body` with its streams redirected. A redirection that fails makes the command fail with status 1.
    pub fn redirected(
        &mut self,
        redirects: &[&IoRedirect],
        body: impl FnOnce(&mut Self) -> Flow<i32>,
    ) -> Flow<i32> {
        if redirects.is_empty() {
            return body(self);
        }
        let mut plan = Plan { stdin: None, output: Sink::Output, error: Sink::Error };
        for redirect in redirects {
            if let Err(message) = self.plan(redirect, &mut plan)? {
                self.complain(&message)?;
                return Ok(1);
            }
        }
        let Plan { stdin, output, error } = plan;
        let outer_input = stdin.map(|stdin| std::mem::replace(&mut self.streams.stdin, stdin));
        let outer_output = std::mem::take(&mut self.streams.stdout);
        let outer_error = std::mem::take(&mut self.streams.stderr);
        let result = body(self);
        let written_output = std::mem::replace(&mut self.streams.stdout, outer_output);
        let written_error = std::mem::replace(&mut self.streams.stderr, outer_error);
        if let Some(outer) = outer_input {
            self.streams.stdin = outer;
        }
        self.deliver(&output, written_output);
        self.deliver(&error, written_error);
        result
    }

    fn deliver(&mut self, sink: &Sink, bytes: Vec<u8>) {
        match sink {
            Sink::Output => self.streams.stdout.extend(bytes),
            Sink::Error => self.streams.stderr.extend(bytes),
            Sink::File(path) => self.files.entry(path.clone()).or_default().extend(bytes),
            Sink::Nothing => {}
        }
    }

    fn plan(&mut self, redirect: &IoRedirect, plan: &mut Plan) -> Flow<Result<(), String>> {
        match redirect {
            IoRedirect::HereString(None | Some(0), word) => {
                plan.stdin = Some(format!("{}\n", self.word_text(&word.value)?).into_bytes());
            }
            IoRedirect::OutputAndError(word, append) => {
                let path = self.word_text(&word.value)?;
                match self.open(&path, *append) {
                    Ok(sink) => (plan.output, plan.error) = (sink.clone(), sink),
                    Err(message) => return Ok(Err(message)),
                }
            }
            IoRedirect::File(descriptor, kind, target) => {
                return self.plan_file(*descriptor, kind, target, plan);
            }
            _ => return Err(self.not_interpreted("here-document")),
        }
        Ok(Ok(()))
    }

    fn plan_file(
        &mut self,
        descriptor: Option<i32>,
        kind: &IoFileRedirectKind,
        target: &IoFileRedirectTarget,
        plan: &mut Plan,
    ) -> Flow<Result<(), String>> {
        let word = match target {
            IoFileRedirectTarget::Filename(word) | IoFileRedirectTarget::Duplicate(word) => {
                self.word_text(&word.value)?
            }
            IoFileRedirectTarget::Fd(number) => number.to_string(),
            IoFileRedirectTarget::ProcessSubstitution(..) => {
                return Err(self.not_interpreted("process substitution"));
            }
        };
        let sink = match kind {
            IoFileRedirectKind::Read if matches!(descriptor, None | Some(0)) => {
                plan.stdin = match self.files.get(&absolute(&word)) {
                    Some(content) => Some(content.clone()),
                    None if word == "/dev/null" => Some(Vec::new()),
                    None => return Ok(Err(format!("{word}: No such file or directory"))),
                };
                return Ok(Ok(()));
            }
            IoFileRedirectKind::Write | IoFileRedirectKind::Clobber => self.open(&word, false),
            IoFileRedirectKind::Append => self.open(&word, true),
            IoFileRedirectKind::DuplicateOutput => match word.as_str() {
                "1" => Ok(plan.output.clone()),
                "2" => Ok(plan.error.clone()),
                "-" => Ok(Sink::Nothing),
                _ => return Err(self.not_interpreted(format!(">&{word}"))),
            },
            _ => return Err(self.not_interpreted("this redirection")),
        };
        let sink = match sink {
            Ok(sink) => sink,
            Err(message) => return Ok(Err(message)),
        };
        match descriptor {
            None | Some(1) => plan.output = sink,
            Some(2) => plan.error = sink,
            Some(number) => return Err(self.not_interpreted(format!("file descriptor {number}"))),
        }
        Ok(Ok(()))
    }

    /// Opens a file for writing, empty unless appending.
    fn open(&mut self, path: &str, append: bool) -> Result<Sink, String> {
        match path {
            "" => return Err(": No such file or directory".to_owned()),
            "/dev/null" => return Ok(Sink::Nothing),
            "/dev/stdout" => return Ok(Sink::Output),
            "/dev/stderr" => return Ok(Sink::Error),
            _ if path.ends_with('/') || is_directory(self.files, path) => {
                return Err(format!("{path}: Is a directory"));
            }
            _ => {}
        }
        let path = absolute(path);
        let content = self.files.entry(path.clone()).or_default();
        if !append {
            content.clear();
        }
        Ok(Sink::File(path))
    }
}
