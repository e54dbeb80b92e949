//! Evaluation of commands: lists, pipelines, compound and simple commands (Bash manual 3.2, 3.7).

use std::collections::BTreeMap;

use brush_parser::ast::{
    self, AndOr, AndOrList, Assignment, AssignmentName, AssignmentValue, Command, CommandPrefixOrSuffixItem,
    CompoundCommand, CompoundList, IoRedirect, Pipeline, SeparatorOperator, SimpleCommand, SourceLocation,
};

use super::environment::{Flow, Shell, Stop, Value, Variable};
use super::{Invocation, Outcome, filter};

/// Largest index of an array.
const INDEX_MAX: i64 = 1_000_000;

/// The part of a path after the last slash.
pub(super) fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl Shell<'_> {
    pub fn list(&mut self, list: &CompoundList) -> Flow<i32> {
        for item in &list.0 {
            match item.1 {
                SeparatorOperator::Sequence => self.and_or(&item.0)?,
                SeparatorOperator::Async => self.background(&item.0)?,
            };
        }
        Ok(self.state.status)
    }

    /// A background command runs to its end at once: nothing here waits for signals.
    fn background(&mut self, list: &AndOrList) -> Flow<i32> {
        let stdin = std::mem::take(&mut self.streams.stdin);
        let state = self.state.clone();
        let result = self.subshell(state, |shell| shell.and_or(list));
        self.streams.stdin = stdin;
        self.state.jobs.push(result?);
        self.state.status = 0;
        Ok(0)
    }

    fn and_or(&mut self, list: &AndOrList) -> Flow<i32> {
        let mut status = self.pipeline(&list.first, !list.additional.is_empty())?;
        for (index, next) in list.additional.iter().enumerate() {
            let (pipeline, wanted) = match next {
                AndOr::And(pipeline) => (pipeline, status == 0),
                AndOr::Or(pipeline) => (pipeline, status != 0),
            };
            if wanted {
                status = self.pipeline(pipeline, index + 1 < list.additional.len())?;
            }
        }
        Ok(status)
    }

    /// Runs a pipeline; `condition` says that its failure is looked at by `&&` or `||`.
    fn pipeline(&mut self, pipeline: &Pipeline, condition: bool) -> Flow<i32> {
        if pipeline.timed.is_some() {
            return Err(self.not_interpreted("time"));
        }
        let checked = condition || pipeline.bang;
        self.state.conditions += usize::from(checked);
        let result = match pipeline.seq.as_slice() {
            [command] => self.command(command),
            commands => self.pipe(commands),
        };
        self.state.conditions -= usize::from(checked);
        let mut status = result?;
        if pipeline.bang {
            status = i32::from(status == 0);
        }
        self.state.status = status;
        if status != 0 && !checked && self.state.errexit && self.state.conditions == 0 {
            let name = pipeline.seq.last().map_or_else(String::new, described);
            self.record_failure(&name, status);
            return Err(Stop::Exit(status));
        }
        Ok(status)
    }

    fn pipe(&mut self, commands: &[Command]) -> Flow<i32> {
        let mut statuses = Vec::new();
        let outer = std::mem::take(&mut self.streams.stdout);
        let stdin = std::mem::take(&mut self.streams.stdin);
        let mut result = Ok(0);
        for (index, command) in commands.iter().enumerate() {
            self.streams.stdin =
                if index == 0 { stdin.clone() } else { std::mem::take(&mut self.streams.stdout) };
            let state = self.state.clone();
            // Each command of a pipeline is a subshell, and `-e` looks at its status only there.
            result = self.subshell(state, |shell| {
                let status = shell.command(command)?;
                if status != 0 && shell.state.errexit && shell.state.conditions == 0 {
                    return Err(Stop::Exit(status));
                }
                Ok(status)
            });
            match result {
                Ok(status) => statuses.push(status),
                Err(_) => break,
            }
        }
        let output = std::mem::replace(&mut self.streams.stdout, outer);
        self.streams.stdout.extend(output);
        self.streams.stdin = Vec::new();
        result?;
        let last = statuses.last().copied().unwrap_or(0);
        let failed = statuses.iter().rev().copied().find(|&status| status != 0);
        Ok(if self.state.pipefail { failed.unwrap_or(0) } else { last })
    }

    fn command(&mut self, command: &Command) -> Flow<i32> {
        self.step()?;
        match command {
            Command::Simple(simple) => self.simple(simple),
            Command::Compound(compound, redirects) => {
                let redirects: Vec<&IoRedirect> = redirects.iter().flat_map(|list| &list.0).collect();
                self.redirected(&redirects, |shell| shell.compound(compound))
            }
            Command::ExtendedTest(test, redirects) => {
                self.locate(Some(test.loc.start.line));
                let redirects: Vec<&IoRedirect> = redirects.iter().flat_map(|list| &list.0).collect();
                self.redirected(&redirects, |shell| shell.extended_test(&test.expr))
            }
            Command::Function(function) => {
                self.locate(function.location().map(|location| location.start.line));
                Err(self.not_interpreted(format!("function {}", function.fname.value)))
            }
        }
    }

    fn locate(&mut self, line: Option<usize>) {
        if let Some(line) = line.filter(|&line| line > 0) {
            self.state.line = self.state.line_offset + line;
        }
    }

    fn condition(&mut self, list: &CompoundList) -> Flow<bool> {
        self.state.conditions += 1;
        let result = self.list(list);
        self.state.conditions -= 1;
        Ok(result? == 0)
    }

    fn compound(&mut self, compound: &CompoundCommand) -> Flow<i32> {
        self.locate(compound.location().map(|location| location.start.line));
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list),
            CompoundCommand::Subshell(subshell) => {
                let state = self.state.clone();
                self.subshell(state, |shell| shell.list(&subshell.list))
            }
            CompoundCommand::ForClause(clause) => self.for_clause(clause),
            CompoundCommand::IfClause(clause) => self.if_clause(clause),
            CompoundCommand::CaseClause(clause) => self.case_clause(clause),
            CompoundCommand::WhileClause(clause) => self.while_clause(&clause.0, &clause.1.list, true),
            CompoundCommand::UntilClause(clause) => self.while_clause(&clause.0, &clause.1.list, false),
            CompoundCommand::Arithmetic(command) => {
                let value = self.arithmetic(&command.expr.value)?;
                Ok(i32::from(value == 0))
            }
            CompoundCommand::ArithmeticForClause(_) => Err(self.not_interpreted("for (( ... ))")),
            CompoundCommand::Coprocess(_) => Err(self.not_interpreted("coproc")),
        }
    }

    fn if_clause(&mut self, clause: &ast::IfClauseCommand) -> Flow<i32> {
        if self.condition(&clause.condition)? {
            return self.list(&clause.then);
        }
        for part in clause.elses.iter().flatten() {
            let taken = match &part.condition {
                Some(condition) => self.condition(condition)?,
                None => true,
            };
            if taken {
                return self.list(&part.body);
            }
        }
        self.state.status = 0;
        Ok(0)
    }

    fn case_clause(&mut self, clause: &ast::CaseClauseCommand) -> Flow<i32> {
        let value = self.word_text(&clause.value.value)?;
        for item in &clause.cases {
            if !matches!(item.post_action, ast::CaseItemPostAction::ExitCase) {
                return Err(self.not_interpreted(";& or ;;& in case"));
            }
            for pattern in &item.patterns {
                if self.word_pattern(&pattern.value)?.matches(&value) {
                    self.state.status = 0;
                    return item.cmd.as_ref().map_or(Ok(0), |list| self.list(list));
                }
            }
        }
        self.state.status = 0;
        Ok(0)
    }

    fn for_clause(&mut self, clause: &ast::ForClauseCommand) -> Flow<i32> {
        let values = match &clause.values {
            Some(words) => {
                let mut values = Vec::new();
                for word in words {
                    values.extend(self.fields(&word.value)?);
                }
                values
            }
            None => self.state.positional.clone(),
        };
        let mut status = 0;
        for value in values {
            self.step()?;
            self.set_scalar(&clause.variable_name, value)?;
            match self.list(&clause.body.list) {
                Ok(last) => status = last,
                Err(stop) => {
                    if leaves_loop(stop)? {
                        status = 0;
                        break;
                    }
                    status = 0;
                }
            }
        }
        self.state.status = status;
        Ok(status)
    }

    fn while_clause(&mut self, condition: &CompoundList, body: &CompoundList, wanted: bool) -> Flow<i32> {
        let mut status = 0;
        loop {
            self.step()?;
            let round = match self.condition(condition) {
                Ok(holds) if holds == wanted => self.list(body),
                Ok(_) => break,
                Err(stop) => Err(stop),
            };
            match round {
                Ok(last) => status = last,
                Err(stop) => {
                    status = 0;
                    if leaves_loop(stop)? {
                        break;
                    }
                }
            }
        }
        self.state.status = status;
        Ok(status)
    }

    fn simple(&mut self, simple: &SimpleCommand) -> Flow<i32> {
        self.locate(first_line(simple));
        self.state.substitution_status = 0;
        let mut words = Vec::new();
        let mut assignments = Vec::new();
        let mut redirects = Vec::new();
        let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = simple.suffix.iter().flat_map(|suffix| &suffix.0);
        for item in prefix {
            match item {
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                    assignments.push((assignment, word))
                }
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => redirects.push(redirect),
                _ => return Err(self.not_interpreted("process substitution")),
            }
        }
        if let Some(word) = &simple.word_or_name {
            words.extend(self.fields(&word.value)?);
        }
        let declaration = words.first().is_some_and(|name| matches!(name.as_str(), "export" | "readonly"));
        for item in suffix {
            match item {
                CommandPrefixOrSuffixItem::Word(word) => words.extend(self.fields(&word.value)?),
                CommandPrefixOrSuffixItem::AssignmentWord(assignment, word) => {
                    if matches!(assignment.value, AssignmentValue::Array(_)) {
                        return Err(self.not_interpreted(word.value.clone()));
                    }
                    if declaration {
                        words.push(self.word_text(&word.value)?);
                    } else {
                        words.extend(self.fields(&word.value)?);
                    }
                }
                CommandPrefixOrSuffixItem::IoRedirect(redirect) => redirects.push(redirect),
                CommandPrefixOrSuffixItem::ProcessSubstitution(..) => {
                    return Err(self.not_interpreted("process substitution"));
                }
            }
        }
        let Some((name, args)) = words.split_first() else {
            return self.redirected(&redirects, |shell| {
                for (assignment, word) in &assignments {
                    shell.assign(assignment, &word.value)?;
                }
                Ok(shell.state.substitution_status)
            });
        };
        let before: Vec<(String, Option<Variable>)> = self.assign_for_command(&assignments)?;
        self.trace(&words)?;
        let line = self.state.line;
        let result = self.redirected(&redirects, |shell| shell.dispatch(name, args));
        self.state.line = line;
        for (name, variable) in before {
            match variable {
                Some(variable) => self.state.variables.insert(name, variable),
                None => self.state.variables.remove(&name),
            };
        }
        result
    }

    /// `NAME=value command`: exported to that command alone. Returns what to restore.
    fn assign_for_command(
        &mut self,
        assignments: &[(&Assignment, &ast::Word)],
    ) -> Flow<Vec<(String, Option<Variable>)>> {
        let mut before = Vec::new();
        for (assignment, word) in assignments {
            let AssignmentName::VariableName(name) = &assignment.name else {
                return Err(self.not_interpreted(word.value.clone()));
            };
            before.push((name.clone(), self.state.variables.get(name).cloned()));
            self.assign(assignment, &word.value)?;
            if let Some(variable) = self.state.variables.get_mut(name) {
                variable.exported = true;
            }
        }
        before.reverse();
        Ok(before)
    }

    fn assign(&mut self, assignment: &Assignment, source: &str) -> Flow<()> {
        match (&assignment.name, &assignment.value) {
            (AssignmentName::VariableName(name), AssignmentValue::Scalar(word)) => {
                let value = self.word_text(&word.value)?;
                let operator = if assignment.append { "+=" } else { "=" };
                self.trace_text(&format!("{name}{operator}{}", super::expand::requoted(&value)))?;
                let before = if assignment.append { self.scalar(name).unwrap_or_default() } else { "" };
                let value = format!("{before}{value}");
                self.set_scalar(name, value)
            }
            (AssignmentName::ArrayElementName(name, index), AssignmentValue::Scalar(word)) => {
                let value = self.word_text(&word.value)?;
                let index = self.arithmetic(index)?;
                self.trace_text(&format!("{name}[{index}]={}", super::expand::requoted(&value)))?;
                self.set_element(name, index, value, assignment.append)
            }
            (AssignmentName::VariableName(name), AssignmentValue::Array(words)) => {
                self.trace_text(source)?;
                self.assign_array(name, words, assignment.append)
            }
            (AssignmentName::ArrayElementName(name, _), AssignmentValue::Array(_)) => {
                Err(self.not_interpreted(format!("{name}[...]=(...)")))
            }
        }
    }

    fn set_element(&mut self, name: &str, index: i64, value: String, append: bool) -> Flow<()> {
        self.count_bytes(value.len())?;
        self.check_assignable(name)?;
        let mut elements = self.elements(name);
        let index = if index < 0 {
            elements.keys().next_back().map_or(0, |last| last + 1).saturating_add(index)
        } else {
            index
        };
        self.check_index(name, index)?;
        let element = elements.entry(index).or_default();
        *element = if append { format!("{element}{value}") } else { value };
        self.set_array(name, elements);
        Ok(())
    }

    fn assign_array(
        &mut self,
        name: &str,
        words: &[(Option<ast::Word>, ast::Word)],
        append: bool,
    ) -> Flow<()> {
        self.check_assignable(name)?;
        let mut elements = if append { self.elements(name) } else { BTreeMap::new() };
        let mut next = elements.keys().next_back().map_or(0, |last| last + 1);
        for (key, word) in words {
            if let Some(key) = key {
                next = self.arithmetic(&key.value)?;
                self.check_index(name, next)?;
                let value = self.word_text(&word.value)?;
                elements.insert(next, value);
                next = next.saturating_add(1);
                continue;
            }
            for value in self.fields(&word.value)? {
                self.count_bytes(value.len())?;
                elements.insert(next, value);
                next = next.saturating_add(1);
            }
        }
        self.set_array(name, elements);
        Ok(())
    }

    fn check_index(&self, name: &str, index: i64) -> Flow<()> {
        if (0..=INDEX_MAX).contains(&index) {
            return Ok(());
        }
        Err(self.not_interpreted(format!("{name}[{index}], an index outside 0 to {INDEX_MAX},")))
    }

    /// The variable as an array: a scalar is its element 0.
    pub fn elements(&self, name: &str) -> BTreeMap<i64, String> {
        match self.state.variables.get(name).map(|variable| &variable.value) {
            Some(Value::Array(elements)) => elements.clone(),
            Some(Value::Scalar(value)) => BTreeMap::from([(0, value.clone())]),
            None => BTreeMap::new(),
        }
    }

    fn set_array(&mut self, name: &str, elements: BTreeMap<i64, String>) {
        let exported = self.state.variables.get(name).is_some_and(|variable| variable.exported);
        self.state.variables.insert(name.to_owned(), Variable { value: Value::Array(elements), exported });
    }

    /// Runs a command by name: a builtin, a filter, a script, or a program of the image.
    pub fn dispatch(&mut self, name: &str, args: &[String]) -> Flow<i32> {
        if let Some(result) = self.builtin(name, args) {
            return result;
        }
        self.program(name, args)
    }

    /// A command that is neither builtin nor script.
    pub fn external(&mut self, name: &str, args: &[String]) -> Flow<i32> {
        if let Some(result) = filter::run(name, args, &self.streams.stdin, self.files) {
            return match result {
                Ok(outcome) => self.finish(outcome),
                Err(filter::Unsupported(construct)) => Err(self.not_interpreted(construct)),
            };
        }
        let invocation = Invocation {
            name: name.to_owned(),
            args: args.to_vec(),
            env: self.exported(),
            stdin: self.streams.stdin.clone(),
            line: self.state.line,
        };
        if let Some(outcome) = self.commands.run(&invocation, self.files) {
            if self.commands.is_over() {
                return Err(self.not_interpreted(format!("the rest after {name}")));
            }
            return self.finish(outcome);
        }
        if filter::is_left_out(name) {
            return Err(self.not_interpreted(format!("command {name}")));
        }
        let reason = if name.contains('/') { "No such file or directory" } else { "command not found" };
        self.complain(&format!("{name}: {reason}"))?;
        Ok(127)
    }

    fn finish(&mut self, outcome: Outcome) -> Flow<i32> {
        self.write_stdout(&outcome.stdout)?;
        self.write_stderr(&outcome.stderr)?;
        Ok(outcome.status)
    }

    fn trace(&mut self, words: &[String]) -> Flow<()> {
        if self.state.xtrace {
            let text: Vec<String> = words.iter().map(|word| super::expand::requoted(word)).collect();
            self.trace_text(&text.join(" "))?;
        }
        Ok(())
    }

    fn trace_text(&mut self, text: &str) -> Flow<()> {
        if self.state.xtrace {
            let plus = "+".repeat(self.state.trace_depth + 1);
            self.write_stderr(format!("{plus} {text}\n").as_bytes())?;
        }
        Ok(())
    }
}

/// Whether `break` or `continue` ends the innermost loop; those for outer loops go on outwards.
fn leaves_loop(stop: Stop) -> Flow<bool> {
    match stop {
        Stop::Break(0 | 1) => Ok(true),
        Stop::Break(levels) => Err(Stop::Break(levels - 1)),
        Stop::Continue(0 | 1) => Ok(false),
        Stop::Continue(levels) => Err(Stop::Continue(levels - 1)),
        other => Err(other),
    }
}

fn first_line(simple: &SimpleCommand) -> Option<usize> {
    let line = |item: &CommandPrefixOrSuffixItem| match item {
        CommandPrefixOrSuffixItem::AssignmentWord(assignment, _) => Some(assignment.loc.start.line),
        other => other.location().map(|location| location.start.line),
    };
    let prefix = simple.prefix.iter().flat_map(|prefix| &prefix.0).find_map(line);
    let word = simple.word_or_name.as_ref().and_then(|word| word.loc.as_ref()).map(|loc| loc.start.line);
    prefix.or(word)
}

/// How a failed command is called in a message.
fn described(command: &Command) -> String {
    let Command::Simple(simple) = command else { return "compound command".to_owned() };
    let assigned = simple.prefix.iter().flat_map(|prefix| &prefix.0).find_map(|item| match item {
        CommandPrefixOrSuffixItem::AssignmentWord(_, word) => word.value.split('=').next().map(str::to_owned),
        _ => None,
    });
    simple.word_or_name.as_ref().map(|word| word.value.clone()).or(assigned).unwrap_or_default()
}
