//! Programs that work on lines and characters: `echo`, `cut`, `tr`, `grep`.

use super::super::regular_expression::{Syntax, compile};
use super::super::{Files, Outcome, printf};
use super::{Filtered, Unsupported, input, lines, options};

/// bash's `echo`: `-n`, `-e`, `-E`; anything else that looks like an option is text.
pub(super) fn echo(args: &[String]) -> Outcome {
    let (mut newline, mut escapes) = (true, false);
    let mut words = args;
    while let Some((first, rest)) = words.split_first() {
        let letters = first.strip_prefix('-').unwrap_or_default();
        if letters.is_empty() || !letters.chars().all(|letter| "neE".contains(letter)) {
            break;
        }
        for letter in letters.chars() {
            match letter {
                'n' => newline = false,
                letter => escapes = letter == 'e',
            }
        }
        words = rest;
    }
    let mut text = words.join(" ");
    if escapes {
        let (expanded, stopped) = printf::echo_escapes(&text);
        text = expanded;
        newline &= !stopped;
    }
    if newline {
        text.push('\n');
    }
    Outcome::success(text)
}

/// `cut -d C -f LIST`, `cut -c LIST`, `cut -b LIST`, with `-s`.
pub(super) fn cut(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (found, names) = options("cut", args, "s", "dfcb")?;
    let value =
        |wanted: char| found.iter().rev().find(|(letter, _)| *letter == wanted).map(|(_, value)| value);
    let content = match input("cut", &names, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(failure),
    };
    let mut output = Vec::new();
    if let Some(list) = value('c').or(value('b')) {
        let ranges = ranges(list)?;
        for line in lines(&content) {
            let kept = line.iter().enumerate().filter(|(index, _)| selected(&ranges, index + 1));
            output.extend(kept.map(|(_, byte)| *byte));
            output.push(b'\n');
        }
        return Ok(Outcome::success(output));
    }
    let Some(list) = value('f') else { return Err(Unsupported("cut without -f, -c or -b".to_owned())) };
    let ranges = ranges(list)?;
    let delimiter = match value('d').map(|text| text.as_bytes()) {
        None => b'\t',
        Some([byte]) => *byte,
        Some(_) => return Ok(Outcome::failure(1, "cut: the delimiter must be a single character")),
    };
    let only_delimited = found.iter().any(|(letter, _)| *letter == 's');
    for line in lines(&content) {
        if !line.contains(&delimiter) {
            if !only_delimited {
                output.extend_from_slice(line);
                output.push(b'\n');
            }
            continue;
        }
        let parts = line.split(|&byte| byte == delimiter).enumerate();
        let kept: Vec<&[u8]> =
            parts.filter(|(index, _)| selected(&ranges, index + 1)).map(|(_, part)| part).collect();
        output.extend(kept.join(&delimiter));
        output.push(b'\n');
    }
    Ok(Outcome::success(output))
}

/// `1,3-5,7-` as pairs of first and last.
fn ranges(list: &str) -> Result<Vec<(usize, usize)>, Unsupported> {
    let unsupported = || Unsupported(format!("cut with the list {list}"));
    let number = |text: &str| text.parse::<usize>().ok().filter(|&number| number > 0).ok_or_else(unsupported);
    list.split(',')
        .map(|part| match part.split_once('-') {
            None => number(part).map(|number| (number, number)),
            Some(("", "")) => Err(unsupported()),
            Some(("", last)) => Ok((1, number(last)?)),
            Some((first, "")) => Ok((number(first)?, usize::MAX)),
            Some((first, last)) => Ok((number(first)?, number(last)?)),
        })
        .collect()
}

fn selected(ranges: &[(usize, usize)], position: usize) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&position))
}

/// `tr SET1 SET2`, `tr -d SET1`, `tr -s SET1 [SET2]`, each with `-c`, over bytes.
pub(super) fn translate(args: &[String], stdin: &[u8]) -> Filtered {
    let (found, sets) = options("tr", args, "dscC", "")?;
    let has = |letters: &str| found.iter().any(|(letter, _)| letters.contains(*letter));
    let sets = sets.iter().map(|set| byte_set(set)).collect::<Result<Vec<_>, _>>()?;
    let (delete, squeeze, complement) = (has("d"), has("s"), has("cC"));
    let (from, to) = match (sets.as_slice(), delete, squeeze) {
        ([from], true, false) | ([from], false, true) => (from, None),
        ([from, to], false, _) => (from, Some(to)),
        _ => return Err(Unsupported(format!("tr {}", args.join(" ")))),
    };
    if to.is_some_and(Vec::is_empty) {
        return Ok(Outcome::failure(1, "tr: when not truncating set1, string2 must be non-empty"));
    }
    let position = |byte: u8| match (complement, from.iter().rposition(|&other| other == byte)) {
        (false, position) => position,
        (true, None) => Some(usize::MAX),
        (true, Some(_)) => None,
    };
    let squeezed = to.unwrap_or(from);
    let mut output: Vec<u8> = Vec::new();
    for &byte in stdin {
        let place = position(byte);
        if delete && place.is_some() {
            continue;
        }
        let mapped = match (place, to) {
            (Some(place), Some(to)) => to.get(place).or(to.last()).copied().unwrap_or(byte),
            _ => byte,
        };
        let repeated =
            output.last() == Some(&mapped) && (squeezed.contains(&mapped) != (complement && to.is_none()));
        if !(squeeze && repeated) {
            output.push(mapped);
        }
    }
    Ok(Outcome::success(output))
}

/// A set of `tr`: escapes, ranges and character classes.
fn byte_set(text: &str) -> Result<Vec<u8>, Unsupported> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(class) = rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
            bytes.extend(class_bytes(class.0).ok_or_else(|| Unsupported(format!("tr with the set {text}")))?);
            rest = class.1;
            continue;
        }
        if !rest.is_ascii() || rest.starts_with("[=") {
            return Err(Unsupported(format!("tr with the set {text}")));
        }
        let (byte, width) = escaped_byte(rest).unwrap_or((first as u8, 1));
        rest = &rest[width..];
        match rest
            .strip_prefix('-')
            .and_then(|after| Some((after, escaped_byte(after).or(plain_byte(after))?)))
        {
            Some((after, (last, width))) if last >= byte => {
                bytes.extend(byte..=last);
                rest = &after[width..];
            }
            Some(_) => return Err(Unsupported(format!("tr with the set {text}"))),
            None => bytes.push(byte),
        }
    }
    Ok(bytes)
}

fn plain_byte(text: &str) -> Option<(u8, usize)> {
    text.bytes().next().map(|byte| (byte, 1))
}

fn escaped_byte(text: &str) -> Option<(u8, usize)> {
    let byte = match text.strip_prefix('\\')?.bytes().next()? {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        byte => byte,
    };
    Some((byte, 2))
}

fn class_bytes(class: &str) -> Option<Vec<u8>> {
    let test: fn(&u8) -> bool = match class {
        "upper" => u8::is_ascii_uppercase,
        "lower" => u8::is_ascii_lowercase,
        "alpha" => u8::is_ascii_alphabetic,
        "digit" => u8::is_ascii_digit,
        "alnum" => u8::is_ascii_alphanumeric,
        "punct" => u8::is_ascii_punctuation,
        "xdigit" => u8::is_ascii_hexdigit,
        "cntrl" => u8::is_ascii_control,
        "space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        "blank" => |byte| matches!(byte, b' ' | b'\t'),
        _ => return None,
    };
    Some((0..=127).filter(test).collect())
}

/// `grep [-viqcoEF] [-e] PATTERN [FILE]`.
pub(super) fn grep(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (found, mut operands) = options("grep", args, "viqcoEF", "e")?;
    let has = |wanted: char| found.iter().any(|(letter, _)| *letter == wanted);
    let mut patterns: Vec<String> =
        found.iter().filter(|(letter, _)| *letter == 'e').map(|(_, value)| value.clone()).collect();
    if patterns.is_empty() {
        if operands.is_empty() {
            return Ok(Outcome::failure(2, "grep: no pattern"));
        }
        patterns.push(operands.remove(0));
    }
    if operands.len() > 1 {
        return Err(Unsupported("grep over several files".to_owned()));
    }
    let syntax = if has('F') {
        Syntax::Fixed
    } else if has('E') {
        Syntax::Extended
    } else {
        Syntax::Basic
    };
    let patterns =
        patterns.iter().map(|pattern| compile(pattern, syntax, has('i'))).collect::<Result<Vec<_>, _>>()?;
    let content = match input("grep", &operands, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(Outcome { status: 2, ..failure }),
    };
    let mut output = Vec::new();
    let mut count = 0_usize;
    for line in lines(&content) {
        if patterns.iter().any(|pattern| pattern.is_match(line)) == has('v') {
            continue;
        }
        count += 1;
        if has('o') && !has('v') {
            for found in patterns.iter().flat_map(|pattern| pattern.find_iter(line)).filter(|m| !m.is_empty())
            {
                output.extend_from_slice(found.as_bytes());
                output.push(b'\n');
            }
        } else {
            output.extend_from_slice(line);
            output.push(b'\n');
        }
    }
    if has('q') {
        output.clear();
    } else if has('c') {
        output = format!("{count}\n").into_bytes();
    }
    Ok(Outcome { status: i32::from(count == 0), stdout: output, stderr: Vec::new() })
}
