//! Commands that act on the shell itself (Bash manual 4): `set`, `export`, `unset`, `shift`, `exit`, `exec`, `trap`,
//! `wait`, `break`, `continue`, `test`, `eval` and a few that do nothing.

use super::environment::{Flow, Shell, Stop, Value, Variable};

/// Signals a trap may name: none is ever sent, so the trap is noted and never runs.
const SIGNALS: [&str; 10] =
    ["TERM", "INT", "HUP", "QUIT", "USR1", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"];

impl Shell<'_> {
    /// Runs a builtin; `None` if there is none of this name.
    pub fn builtin(&mut self, name: &str, args: &[String]) -> Option<Flow<i32>> {
        Some(match name {
            ":" | "true" => Ok(0),
            "false" => Ok(1),
            "umask" | "sync" => Ok(0),
            "sleep" => self.sleep(args),
            "set" => self.set(args),
            "export" | "readonly" => self.export(name, args),
            "unset" => self.unset_variables(args),
            "shift" => self.shift(args),
            "exit" => self.exit(args).map_or_else(Err, |status| Err(Stop::Exit(status))),
            "break" => self.levels(args).map_or_else(Err, |levels| Err(Stop::Break(levels))),
            "continue" => self.levels(args).map_or_else(Err, |levels| Err(Stop::Continue(levels))),
            "exec" => self.exec(args),
            "eval" => self.eval(args),
            "trap" => self.trap(args),
            "wait" => self.wait(args),
            "test" => self.test(args),
            "[" => match args.split_last() {
                Some((last, args)) if last == "]" => self.test(args),
                _ => self.complain("[: missing `]'").map(|()| 2),
            },
            "command" if args.first().is_some_and(|arg| !arg.starts_with('-')) => {
                self.dispatch(&args[0], &args[1..])
            }
            _ => return None,
        })
    }

    /// Virtual time does not pass in a script unless its commands make it pass.
    fn sleep(&mut self, args: &[String]) -> Flow<i32> {
        let slept = self.commands.takes_time().then(|| self.external("sleep", args));
        slept.unwrap_or(Ok(0))
    }

    fn set(&mut self, args: &[String]) -> Flow<i32> {
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                self.state.positional = rest.cloned().collect();
                return Ok(0);
            }
            let on = arg.starts_with('-');
            let Some(letters) = arg.strip_prefix(['-', '+']).filter(|letters| !letters.is_empty()) else {
                self.state.positional = std::iter::once(arg).chain(rest).cloned().collect();
                return Ok(0);
            };
            for letter in letters.chars() {
                let option = match letter {
                    'o' => rest.next().map(String::as_str).unwrap_or_default(),
                    'e' => "errexit",
                    'u' => "nounset",
                    'x' => "xtrace",
                    _ => return Err(self.not_interpreted(format!("set {arg}"))),
                };
                match option {
                    "errexit" => self.state.errexit = on,
                    "nounset" => self.state.nounset = on,
                    "xtrace" => self.state.xtrace = on,
                    "pipefail" => self.state.pipefail = on,
                    _ => return Err(self.not_interpreted(format!("set {arg} {option}"))),
                }
            }
        }
        Ok(0)
    }

    fn export(&mut self, command: &str, args: &[String]) -> Flow<i32> {
        for arg in args {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg.as_str(), None),
            };
            if !is_name(name) {
                return Err(self.not_interpreted(format!("{command} {arg}")));
            }
            if let Some(value) = value {
                self.set_scalar(name, value.to_owned())?;
            }
            if command == "export" {
                let unset = Variable { value: Value::Array(Default::default()), exported: true };
                self.state.variables.entry(name.to_owned()).or_insert(unset).exported = true;
            }
        }
        Ok(0)
    }

    fn unset_variables(&mut self, args: &[String]) -> Flow<i32> {
        for arg in args {
            if !is_name(arg) {
                return Err(self.not_interpreted(format!("unset {arg}")));
            }
            self.state.variables.remove(arg);
        }
        Ok(0)
    }

    fn shift(&mut self, args: &[String]) -> Flow<i32> {
        let count = args.first().map_or(Some(1), |count| count.parse::<usize>().ok());
        match count {
            Some(count) if count <= self.state.positional.len() => {
                self.state.positional.drain(..count);
                Ok(0)
            }
            _ => Ok(1),
        }
    }

    fn exit(&mut self, args: &[String]) -> Flow<i32> {
        match args.first() {
            None => Ok(self.state.status),
            Some(text) => match text.parse::<i64>() {
                Ok(status) => Ok((status & 0xff) as i32),
                Err(_) => self.complain(&format!("exit: {text}: numeric argument required")).map(|()| 2),
            },
        }
    }

    fn levels(&mut self, args: &[String]) -> Flow<usize> {
        match args.first().map(|text| text.parse::<usize>()) {
            None => Ok(1),
            Some(Ok(levels)) if levels > 0 => Ok(levels),
            Some(_) => Err(self.not_interpreted(format!("break {}", args.join(" ")))),
        }
    }

    fn exec(&mut self, args: &[String]) -> Flow<i32> {
        match args.split_first() {
            None => Err(self.not_interpreted("exec without a command")),
            Some((name, _)) if name.starts_with('-') => Err(self.not_interpreted(format!("exec {name}"))),
            Some((name, args)) => {
                let status = self.program(name, args)?;
                Err(Stop::Exit(status))
            }
        }
    }

    fn eval(&mut self, args: &[String]) -> Flow<i32> {
        let text = args.join(" ");
        let offset = self.state.line_offset;
        self.state.line_offset = self.state.line.saturating_sub(1);
        self.state.status = 0;
        let result = self.deeper(|shell| shell.source(&text));
        self.state.line_offset = offset;
        result
    }

    fn trap(&mut self, args: &[String]) -> Flow<i32> {
        for signal in args.iter().skip(1) {
            if !SIGNALS.contains(&signal.as_str()) {
                return Err(self.not_interpreted(format!("trap on {signal}")));
            }
        }
        Ok(0)
    }

    fn wait(&mut self, args: &[String]) -> Flow<i32> {
        let mut status = 0;
        for arg in args {
            let job = arg.parse::<usize>().ok().and_then(|process| process.checked_sub(2));
            status = match job.and_then(|job| self.state.jobs.get(job)) {
                Some(status) => *status,
                None => {
                    self.complain(&format!("wait: pid {arg} is not a child of this shell"))?;
                    127
                }
            };
        }
        Ok(status)
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|character| character.is_ascii_alphanumeric() || character == '_')
}
