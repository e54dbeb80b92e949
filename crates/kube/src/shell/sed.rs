//! `sed` with substitutions: `sed [-n] [-E] [-e] 's/PATTERN/REPLACEMENT/FLAGS'` over standard input or a file.
//!
//! Flags: `g`, `p`, `I`, a number. Addresses and the other commands are left out.

use regex::bytes::{Captures, Regex};

use super::filter::{Filtered, Unsupported, input, lines, options};
use super::regular_expression::{Syntax, compile};
use super::{Files, Outcome};

enum Part {
    Text(Vec<u8>),
    Group(usize),
}

struct Substitution {
    pattern: Regex,
    replacement: Vec<Part>,
    every: bool,
    print: bool,
    first: usize,
}

pub(super) fn run(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (found, mut operands) = options("sed", args, "nEr", "e")?;
    let has = |letters: &str| found.iter().any(|(letter, _)| letters.contains(*letter));
    let mut scripts: Vec<String> =
        found.iter().filter(|(letter, _)| *letter == 'e').map(|(_, script)| script.clone()).collect();
    if scripts.is_empty() {
        if operands.is_empty() {
            return Ok(Outcome::failure(1, "sed: no script"));
        }
        scripts.push(operands.remove(0));
    }
    let syntax = if has("Er") { Syntax::Extended } else { Syntax::Basic };
    let mut commands = Vec::new();
    for script in &scripts {
        parse(script, syntax, &mut commands)?;
    }
    let content = match input("sed", &operands, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(Outcome { status: 2, ..failure }),
    };
    let mut output = Vec::new();
    let (count, last) = (lines(&content).count(), content.last() == Some(&b'\n'));
    for (index, line) in lines(&content).enumerate() {
        let newline: &[u8] = if index + 1 < count || last { b"\n" } else { b"" };
        let mut line = line.to_vec();
        for command in &commands {
            if let Some(changed) = command.apply(&line) {
                line = changed;
                if command.print {
                    output.extend_from_slice(&line);
                    output.push(b'\n');
                }
            }
        }
        if !has("n") {
            output.extend_from_slice(&line);
            output.extend_from_slice(newline);
        }
    }
    Ok(Outcome::success(output))
}

impl Substitution {
    /// The line with the replacements, or `None` if nothing matched.
    fn apply(&self, line: &[u8]) -> Option<Vec<u8>> {
        let mut result = Vec::new();
        let mut copied = 0;
        let mut replaced = false;
        for (index, captures) in self.pattern.captures_iter(line).enumerate() {
            let Some(whole) = captures.get(0) else { continue };
            if index + 1 < self.first {
                continue;
            }
            result.extend_from_slice(&line[copied..whole.start()]);
            self.expand(&captures, &mut result);
            copied = whole.end();
            replaced = true;
            if !self.every {
                break;
            }
        }
        result.extend_from_slice(&line[copied..]);
        replaced.then_some(result)
    }

    fn expand(&self, captures: &Captures<'_>, result: &mut Vec<u8>) {
        for part in &self.replacement {
            match part {
                Part::Text(text) => result.extend_from_slice(text),
                Part::Group(number) => {
                    result.extend_from_slice(
                        captures.get(*number).map_or(b"".as_slice(), |group| group.as_bytes()),
                    );
                }
            }
        }
    }
}

/// Parses `s` commands separated by `;` or newlines.
fn parse(script: &str, syntax: Syntax, commands: &mut Vec<Substitution>) -> Result<(), Unsupported> {
    let unsupported = || Unsupported(format!("sed {script}"));
    let mut rest = script.trim_start_matches([' ', ';', '\n', '\t']);
    while !rest.is_empty() {
        let mut characters = rest.chars();
        let delimiter = match (characters.next(), characters.next()) {
            (Some('s'), Some(delimiter)) if delimiter != '\\' && delimiter != '\n' => delimiter,
            _ => return Err(unsupported()),
        };
        let body = characters.as_str();
        let (pattern, body) = until(body, delimiter, true).ok_or_else(unsupported)?;
        let (replacement, body) = until(body, delimiter, false).ok_or_else(unsupported)?;
        let end = body.find([';', '\n']).unwrap_or(body.len());
        let (mut every, mut print, mut ignore_case, mut digits) = (false, false, false, String::new());
        for flag in body[..end].trim().chars() {
            match flag {
                'g' => every = true,
                'p' => print = true,
                'I' | 'i' => ignore_case = true,
                digit if digit.is_ascii_digit() => digits.push(digit),
                _ => return Err(unsupported()),
            }
        }
        let first = if digits.is_empty() { 1 } else { digits.parse().map_err(|_| unsupported())? };
        let pattern = compile(&pattern, syntax, ignore_case)?;
        let replacement = parts(&replacement, pattern.captures_len()).ok_or_else(unsupported)?;
        commands.push(Substitution { pattern, replacement, every, print, first });
        rest = body[end..].trim_start_matches([' ', ';', '\n', '\t']);
    }
    Ok(())
}

/// Text up to an unescaped delimiter, and what follows. In a pattern a bracket expression hides the delimiter.
fn until(text: &str, delimiter: char, pattern: bool) -> Option<(String, &str)> {
    let mut part = String::new();
    let mut bracket = 0_usize;
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' if bracket == 0 => match characters.next()?.1 {
                next if next == delimiter => part.push(next),
                next => part.extend(['\\', next]),
            },
            '[' if pattern && bracket == 0 => {
                bracket = 1;
                part.push('[');
            }
            ']' if bracket > 1 => {
                bracket = 0;
                part.push(']');
            }
            character if character == delimiter && bracket == 0 => {
                return Some((part, &text[index + character.len_utf8()..]));
            }
            character => {
                bracket += usize::from(bracket > 0 && !(bracket == 1 && character == '^'));
                part.push(character);
            }
        }
    }
    None
}

/// The parts of a replacement: `&`, `\1` to `\9`, `\n` and text.
fn parts(text: &str, groups: usize) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut plain = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let group = match character {
            '&' => 0,
            '\\' => match characters.next()? {
                digit @ '0'..='9' => digit.to_digit(10)? as usize,
                escaped => {
                    let escaped = if escaped == 'n' { '\n' } else { escaped };
                    if matches!(escaped, 'U' | 'L' | 'u' | 'l' | 'E') {
                        return None;
                    }
                    plain.extend(escaped.encode_utf8(&mut [0; 4]).bytes());
                    continue;
                }
            },
            character => {
                plain.extend(character.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
        };
        if group >= groups {
            return None;
        }
        parts.push(Part::Text(std::mem::take(&mut plain)));
        parts.push(Part::Group(group));
    }
    parts.push(Part::Text(plain));
    Some(parts)
}
