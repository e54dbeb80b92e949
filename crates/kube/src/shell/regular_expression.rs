//! POSIX regular expressions, translated to the syntax of the `regex` crate.
//!
//! Left out: back-references inside a pattern. Where alternatives both match, the first is taken, not the longest.
//! Source: POSIX.1-2017, Base Definitions 9.3 and 9.4, with GNU's `\+`, `\?`, `\|`.

use regex::bytes::{Regex, RegexBuilder};

use super::filter::Unsupported;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `grep`, `sed`.
    Basic,
    /// `grep -E`, `sed -E`.
    Extended,
    /// `grep -F`.
    Fixed,
}

/// Compiles a POSIX pattern.
pub(super) fn compile(pattern: &str, syntax: Syntax, ignore_case: bool) -> Result<Regex, Unsupported> {
    let unsupported = || Unsupported(format!("regular expression {pattern}"));
    let translated = match syntax {
        Syntax::Fixed => regex::escape(pattern),
        Syntax::Basic => translate(pattern, true).ok_or_else(unsupported)?,
        Syntax::Extended => translate(pattern, false).ok_or_else(unsupported)?,
    };
    let mut builder = RegexBuilder::new(&translated);
    builder.case_insensitive(ignore_case).size_limit(1 << 20).nest_limit(32);
    builder.build().map_err(|_| unsupported())
}

fn translate(pattern: &str, basic: bool) -> Option<String> {
    let characters: Vec<char> = pattern.chars().collect();
    let mut result = String::new();
    let mut at = 0;
    // At the start of the pattern, of a group or of an alternative.
    let mut start = true;
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1).copied();
        at += 1;
        let was_start = std::mem::replace(&mut start, false);
        match character {
            '\\' => {
                let next = next?;
                at += 1;
                match next {
                    '(' | ')' | '{' | '}' | '+' | '?' | '|' if basic => {
                        result.push(next);
                        start = matches!(next, '(' | '|');
                    }
                    '0'..='9' => return None,
                    'n' => result.push_str("\\n"),
                    't' => result.push_str("\\t"),
                    'w' | 'W' | 's' | 'S' | 'b' | 'B' | '<' | '>' => {
                        result.push('\\');
                        result.push(next);
                    }
                    next => result.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                }
            }
            '[' => at += bracket(&characters[at..], &mut result)?,
            '(' | ')' | '{' | '}' | '+' | '?' | '|' if basic => {
                result.push('\\');
                result.push(character);
            }
            '(' | '|' => {
                result.push(character);
                start = true;
            }
            '*' if was_start && basic => result.push_str("\\*"),
            '^' if basic && !was_start => result.push_str("\\^"),
            '^' => {
                result.push('^');
                start = basic;
            }
            '$' if basic && !ends(&characters[at..]) => result.push_str("\\$"),
            '.' | '*' | '$' | ')' | '+' | '?' | '{' | '}' => result.push(character),
            other => result.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Some(result)
}

/// Whether `$` here anchors a basic pattern: at its end, or before `\)` or `\|`.
fn ends(rest: &[char]) -> bool {
    matches!(rest, [] | ['\\', ')' | '|', ..])
}

/// Translates a bracket expression after its `[`; returns its length with the `]`.
fn bracket(characters: &[char], result: &mut String) -> Option<usize> {
    let mut at = 0;
    result.push('[');
    if characters.first() == Some(&'^') {
        result.push('^');
        at += 1;
    }
    let start = at;
    loop {
        let character = *characters.get(at)?;
        match character {
            ']' if at > start => {
                result.push(']');
                return Some(at + 1);
            }
            '[' if characters.get(at + 1) == Some(&':') => {
                let length = characters[at..].windows(2).position(|pair| pair == [':', ']'].as_slice())?;
                result.extend(&characters[at..at + length + 2]);
                at += length + 2;
                continue;
            }
            '[' if matches!(characters.get(at + 1), Some('.' | '=')) => return None,
            // A backslash is plain in POSIX; GNU takes \n and \t all the same.
            '\\' if matches!(characters.get(at + 1), Some('n' | 't')) => result.push('\\'),
            ']' | '[' | '\\' | '&' | '~' | '^' => {
                result.push('\\');
                result.push(character);
                at += 1;
                continue;
            }
            _ => {}
        }
        result.push(character);
        at += 1;
    }
}
