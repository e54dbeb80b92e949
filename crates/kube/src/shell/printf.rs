//! `printf`, and the escapes of `echo -e` and `$'...'` (Bash manual 3.1.2.4, 4.2).

use super::Outcome;
use super::filter::{Filtered, Unsupported};

/// Width and precision of one conversion.
const WIDTH_MAX: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `$'...'` and printf formats: `\NNN` is octal.
    Format,
    /// `echo -e` and `%b`: octal is `\0NNN`, and `\c` ends the output.
    Echo,
}

/// Expands the escapes of `$'...'`.
pub(super) fn ansi_c(text: &str) -> String {
    escapes(text, Dialect::Format).0
}

/// Expands the escapes of `echo -e`; the flag says that `\c` ended the output.
pub(super) fn echo_escapes(text: &str) -> (String, bool) {
    escapes(text, Dialect::Echo)
}

fn escapes(text: &str, dialect: Dialect) -> (String, bool) {
    let mut result = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if character != '\\' {
            result.push(character);
            continue;
        }
        let Some(letter) = rest.chars().next() else {
            result.push('\\');
            break;
        };
        if dialect == Dialect::Echo && letter == 'c' {
            return (result, true);
        }
        let (value, width) = escape(rest, letter, dialect);
        match value {
            Some(value) => result.push(value),
            None => {
                result.push('\\');
                result.push(letter);
            }
        }
        rest = &rest[width..];
    }
    (result, false)
}

/// The character an escape stands for, and its length after the backslash.
fn escape(rest: &str, letter: char, dialect: Dialect) -> (Option<char>, usize) {
    let digits = |skip: usize, radix: u32, most: usize| {
        let text: String = rest[skip..].chars().take(most).take_while(|c| c.is_digit(radix)).collect();
        let value = u32::from_str_radix(&text, radix).ok().and_then(char::from_u32);
        (value, skip + text.len())
    };
    let plain = match letter {
        'a' => '\x07',
        'b' => '\x08',
        'e' | 'E' => '\x1b',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        '\'' | '"' | '?' if dialect == Dialect::Format => letter,
        'x' => return digits(1, 16, 2),
        'u' => return digits(1, 16, 4),
        'U' => return digits(1, 16, 8),
        '0' if dialect == Dialect::Echo => {
            let (value, width) = digits(1, 8, 3);
            return (value.or(Some('\0')), width);
        }
        '0'..='7' if dialect == Dialect::Format => return digits(0, 8, 3),
        _ => return (None, letter.len_utf8()),
    };
    (Some(plain), letter.len_utf8())
}

struct Conversion {
    left: bool,
    zero: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

enum Piece {
    Text(String),
    Conversion(Conversion),
}

/// `printf FORMAT ARGUMENT...`: the format is used again while arguments remain.
pub(super) fn run(args: &[String]) -> Filtered {
    let args = if args.first().is_some_and(|arg| arg == "--") { &args[1..] } else { args };
    let Some((format, mut values)) = args.split_first() else {
        return Ok(Outcome::failure(2, "printf: usage: printf format [arguments]"));
    };
    if format.starts_with('-') && format.len() > 1 {
        return Err(Unsupported(format!("printf {format}")));
    }
    let pieces = parse(format)?;
    let conversions = pieces.iter().filter(|piece| matches!(piece, Piece::Conversion(_))).count();
    let mut output = String::new();
    let mut status = 0;
    let mut stderr = String::new();
    loop {
        for piece in &pieces {
            match piece {
                Piece::Text(text) => output.push_str(text),
                Piece::Conversion(conversion) => {
                    let value = values.first().map(String::as_str);
                    values = values.get(1..).unwrap_or_default();
                    let (text, stop) = conversion.apply(value.unwrap_or_default());
                    if let Some(text) = text {
                        output.push_str(&text);
                    } else {
                        stderr.push_str(&format!("printf: {}: invalid number\n", value.unwrap_or_default()));
                        status = 1;
                        output.push_str(&conversion.pad("0".to_owned()));
                    }
                    if stop {
                        return Ok(Outcome {
                            status,
                            stdout: output.into_bytes(),
                            stderr: stderr.into_bytes(),
                        });
                    }
                }
            }
        }
        if values.is_empty() || conversions == 0 {
            return Ok(Outcome { status, stdout: output.into_bytes(), stderr: stderr.into_bytes() });
        }
    }
}

fn parse(format: &str) -> Result<Vec<Piece>, Unsupported> {
    let unsupported = || Unsupported(format!("printf {format}"));
    let mut pieces = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        pieces.push(Piece::Text(ansi_c(&rest[..at])));
        rest = &rest[at + 1..];
        let mut conversion =
            Conversion { left: false, zero: false, plus: false, width: 0, precision: None, letter: 's' };
        let flags = rest.len() - rest.trim_start_matches(['-', '0', '+']).len();
        for flag in rest[..flags].chars() {
            match flag {
                '-' => conversion.left = true,
                '0' => conversion.zero = true,
                _ => conversion.plus = true,
            }
        }
        rest = &rest[flags..];
        conversion.width = number(&mut rest).ok_or_else(unsupported)?.unwrap_or(0);
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            conversion.precision = Some(number(&mut rest).ok_or_else(unsupported)?.unwrap_or(0));
        }
        conversion.letter = rest.chars().next().ok_or_else(unsupported)?;
        rest = &rest[conversion.letter.len_utf8()..];
        match conversion.letter {
            '%' => pieces.push(Piece::Text("%".to_owned())),
            's' | 'd' | 'i' | 'u' | 'x' | 'X' | 'o' | 'c' | 'b' => pieces.push(Piece::Conversion(conversion)),
            _ => return Err(unsupported()),
        }
    }
    pieces.push(Piece::Text(ansi_c(rest)));
    Ok(pieces)
}

/// A number at the start of `rest`; the outer `None` is a number beyond the bound.
fn number(rest: &mut &str) -> Option<Option<usize>> {
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let text = &rest[..digits];
    *rest = &rest[digits..];
    if text.is_empty() {
        return Some(None);
    }
    text.parse().ok().filter(|&number| number <= WIDTH_MAX).map(Some)
}

impl Conversion {
    /// The text, or `None` if the value is not a number; the flag says that `\c` ended the output.
    fn apply(&self, value: &str) -> (Option<String>, bool) {
        let cut = |text: &str| match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        match self.letter {
            's' => (Some(self.pad(cut(value))), false),
            'c' => (Some(self.pad(value.chars().take(1).collect())), false),
            'b' => {
                let (text, stop) = echo_escapes(value);
                (Some(self.pad(cut(&text))), stop)
            }
            letter => (integer(value).map(|number| self.pad(self.digits(letter, number))), false),
        }
    }

    fn digits(&self, letter: char, number: i64) -> String {
        let digits = match letter {
            'x' => format!("{number:x}"),
            'X' => format!("{number:X}"),
            'o' => format!("{number:o}"),
            'u' => (number as u64).to_string(),
            _ => number.unsigned_abs().to_string(),
        };
        let zeros = self.precision.unwrap_or(0).saturating_sub(digits.len());
        let sign = match letter {
            'd' | 'i' if number < 0 => "-",
            'd' | 'i' if self.plus => "+",
            _ => "",
        };
        format!("{sign}{}{digits}", "0".repeat(zeros))
    }

    fn pad(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        if self.zero && self.precision.is_none() && !matches!(self.letter, 's' | 'c' | 'b') {
            let sign = text.len() - text.trim_start_matches(['-', '+']).len();
            return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
        }
        format!("{}{text}", " ".repeat(missing))
    }
}

/// A number as printf reads it: decimal, `0x` hexadecimal, `0` octal, or `'c` for a character's code.
fn integer(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    if let Some(quoted) = text.strip_prefix(['\'', '"']) {
        return quoted.chars().next().map(|character| i64::from(u32::from(character)));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = match (digits.strip_prefix("0x").or(digits.strip_prefix("0X")), digits.strip_prefix('0')) {
        (Some(hexadecimal), _) => i64::from_str_radix(hexadecimal, 16),
        (None, Some(octal)) if !octal.is_empty() => i64::from_str_radix(octal, 8),
        _ => digits.parse(),
    };
    value.ok().map(|value| if negative { -value } else { value })
}
