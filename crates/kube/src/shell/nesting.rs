//! A bound on nesting, checked before a script is parsed.
//!
//! The parser is recursive and tries alternatives again at each level, so a script nested deep enough would exhaust
//! the stack or the hour. Real scripts nest a few levels.

use super::ShellErrorKind;

/// Substitutions, groups and double quotes inside each other.
const OPEN_MAX: usize = 8;
/// `if`, `for`, `while`, `until`, `case` inside each other.
const CLAUSES_MAX: usize = 16;
/// Length of a script in bytes.
const LENGTH_MAX: usize = 256 << 10;
/// Digits in one number: the parser holds file descriptors in 32 bits.
const DIGITS_MAX: usize = 9;

/// A place where a script goes beyond the bounds, or is not interpreted.
pub(super) struct Excess {
    pub line: usize,
    pub construct: &'static str,
    pub kind: ShellErrorKind,
}

/// Checks a script's nesting.
pub(super) fn check(script: &str) -> Result<(), Excess> {
    let limit = |line, construct, limit, what| {
        Err(Excess { line, construct, kind: ShellErrorKind::Limit { limit, what } })
    };
    if script.len() > LENGTH_MAX {
        return limit(1, "the script", LENGTH_MAX, "bytes of script");
    }
    let mut scan = Scan {
        characters: script.chars().collect(),
        at: 0,
        line: 1,
        open: Vec::new(),
        clauses: 0,
        negations: 0,
    };
    while let Some(character) = scan.characters.get(scan.at).copied() {
        scan.advance(character)?;
        if scan.open.len() > OPEN_MAX {
            return limit(scan.line, "substitution", OPEN_MAX, "nested substitutions and groups");
        }
        if scan.clauses > CLAUSES_MAX || scan.negations > CLAUSES_MAX {
            return limit(scan.line, "compound command", CLAUSES_MAX, "nested compound commands");
        }
    }
    Ok(())
}

struct Scan {
    characters: Vec<char>,
    at: usize,
    line: usize,
    /// The closing character of each open construct.
    open: Vec<char>,
    clauses: usize,
    /// `!` in a row.
    negations: usize,
}

impl Scan {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.at + ahead).copied()
    }

    fn advance(&mut self, character: char) -> Result<(), Excess> {
        let in_quotes = self.open.last() == Some(&'"');
        let mut width = 1;
        match character {
            '\n' => self.line += 1,
            '\\' => {
                width = 2;
                self.line += usize::from(self.peek(1) == Some('\n'));
            }
            '"' if in_quotes => {
                self.open.pop();
            }
            '"' => self.open.push('"'),
            '$' if matches!(self.peek(1), Some('(' | '{' | '[')) => {
                self.open.push(match self.peek(1) {
                    Some('(') => ')',
                    Some('{') => '}',
                    _ => ']',
                });
                width = 2;
            }
            '`' if self.open.last() == Some(&'`') => {
                self.open.pop();
            }
            '`' => self.open.push('`'),
            ')' | '}' | ']' if self.open.last() == Some(&character) => {
                self.open.pop();
            }
            _ if in_quotes => {}
            '\'' => width = self.single_quoted(),
            '#' if self.starts_word() => {
                width = self.characters[self.at..].iter().take_while(|&&other| other != '\n').count();
            }
            '(' => self.open.push(')'),
            '<' if self.peek(1) == Some('<') && self.peek(2) == Some('<') => width = 3,
            '<' if self.peek(1) == Some('<') && !self.open.contains(&')') => {
                let kind = ShellErrorKind::NotInterpreted;
                return Err(Excess { line: self.line, construct: "here-document (<<)", kind });
            }
            '{' if self.starts_word() => self.open.push('}'),
            '!' => {
                self.negations += 1;
                self.at += 1;
                return Ok(());
            }
            c if c.is_ascii_alphanumeric() && self.starts_word() => return self.word(),
            _ => {}
        }
        if !character.is_whitespace() {
            self.negations = 0;
        }
        self.at += width;
        Ok(())
    }

    fn single_quoted(&mut self) -> usize {
        let text = &self.characters[self.at + 1..];
        let inside = text.iter().take_while(|&&character| character != '\'').count();
        self.line += text[..inside].iter().filter(|&&character| character == '\n').count();
        inside + 2
    }

    fn starts_word(&self) -> bool {
        let before = self.at.checked_sub(1).and_then(|at| self.characters.get(at));
        before.is_none_or(|c| {
            c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '`' | '{' | '}' | '!')
        })
    }

    fn word(&mut self) -> Result<(), Excess> {
        let rest = &self.characters[self.at..];
        let word: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric()).collect();
        match word.as_str() {
            "if" | "for" | "while" | "until" | "case" | "coproc" => self.clauses += 1,
            "fi" | "done" | "esac" => self.clauses = self.clauses.saturating_sub(1),
            _ => {}
        }
        self.negations = 0;
        self.at += word.len();
        if word.len() > DIGITS_MAX
            && word.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(self.peek(0), Some('<' | '>'))
        {
            let kind = ShellErrorKind::Limit { limit: DIGITS_MAX, what: "digits in a file descriptor" };
            return Err(Excess { line: self.line, construct: "redirection", kind });
        }
        Ok(())
    }
}
