//! What a YAML scalar means: the rules of YAML 1.1 as `kubectl` applies them.
//!
//! Source: kubectl and Helm read YAML through sigs.k8s.io/yaml, which is built on go-yaml v2 (its
//! `resolve` rules); YAML 1.1 types at yaml.org/type.

use std::borrow::Cow;

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::Number;

use super::node::Data;

/// The value of a scalar written as `text` in `style`, with `tag` if it has one.
///
/// # Errors
///
/// What is wrong: the tag is not known, or the text is not of the type that the tag names.
pub fn resolve(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>) -> Result<Data, String> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { plain(text) } else { Data::Text(text.into_owned()) });
    };
    if tag.handle == "!" && tag.suffix.is_empty() {
        return Ok(Data::Text(text.into_owned()));
    }
    if !tag.is_yaml_core_schema() {
        return Err(format!("the tag {tag} is not known"));
    }
    match tag.suffix.as_str() {
        "str" => Ok(Data::Text(text.into_owned())),
        "int" | "float" | "bool" | "null" => {
            let shown = text.to_string();
            let data = plain(text);
            let fits = match tag.suffix.as_str() {
                "int" => matches!(&data, Data::Number(number) if !number.is_f64()),
                "float" => matches!(data, Data::Number(_)),
                "bool" => matches!(data, Data::Bool(_)),
                _ => matches!(data, Data::Null),
            };
            if fits { Ok(data) } else { Err(format!("{shown:?} is not a value of the tag !!{}", tag.suffix)) }
        }
        other => Err(format!("the tag !!{other} is not known")),
    }
}

/// The value of an unquoted scalar.
fn plain(text: Cow<'_, str>) -> Data {
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Data::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Data::Bool(false);
        }
        _ => {}
    }
    match number(&text) {
        Some(number) => Data::Number(number),
        None => Data::Text(text.into_owned()),
    }
}

/// The number that `text` denotes: decimal, `0x` hexadecimal, `0b` binary, octal as `017` or `0o17`, or a
/// decimal fraction; `_` between digits is ignored. Infinity and not-a-number have no JSON form and stay text.
fn number(text: &str) -> Option<Number> {
    let first = text.strip_prefix(['+', '-']).unwrap_or(text).chars().next()?;
    if !first.is_ascii_digit() && first != '.' {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| fraction(&digits))
}

fn integer(text: &str) -> Option<Number> {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, radix) = match magnitude.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&magnitude[2..], 16),
        [b'0', b'b' | b'B', ..] => (&magnitude[2..], 2),
        [b'0', b'o' | b'O', ..] => (&magnitude[2..], 8),
        [b'0', _, ..] => (&magnitude[1..], 8),
        _ => (magnitude, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(value).map(Number::from) } else { Some(Number::from(value)) }
}

fn fraction(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_sound = match mantissa.split_once('.') {
        Some(("", after)) => is_digits(after),
        Some((before, after)) => is_digits(before) && (after.is_empty() || is_digits(after)),
        None => is_digits(mantissa),
    };
    let exponent_is_sound =
        exponent.is_none_or(|digits| is_digits(digits.strip_prefix(['+', '-']).unwrap_or(digits)));
    if !mantissa_is_sound || !exponent_is_sound {
        return None;
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match plain(text.into()) {
            Data::Null => "null".to_owned(),
            Data::Bool(value) => value.to_string(),
            Data::Number(number) => number.to_string(),
            Data::Text(text) => format!("{text:?}"),
            Data::List(_) | Data::Map(_) => unreachable!("a scalar is not a collection"),
        }
    }

    #[test]
    fn yaml_1_1_booleans_and_nulls() {
        for text in ["y", "Yes", "on", "TRUE"] {
            assert_eq!(shown(text), "true", "{text}");
        }
        for text in ["n", "NO", "Off", "false"] {
            assert_eq!(shown(text), "false", "{text}");
        }
        for text in ["", "~", "null", "Null"] {
            assert_eq!(shown(text), "null", "{text}");
        }
        assert_eq!(shown("yEs"), "\"yEs\"");
    }

    #[test]
    fn numbers() {
        let cases = [
            ("0644", "420"),
            ("0o644", "420"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("1_000", "1000"),
            ("-5", "-5"),
            ("+5", "5"),
            ("1e3", "1000.0"),
            (".5", "0.5"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551616", "1.8446744073709552e+19"),
            ("089", "89.0"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_looks_like_a_number_but_is_text() {
        for text in [
            "10.0.0.10",
            "1:30",
            "500m",
            "1Gi",
            "0x",
            "0xZZ",
            "-",
            "+",
            ".",
            ".inf",
            ".nan",
            "1e",
            "_1",
            "1.2.3",
        ] {
            assert_eq!(shown(text), format!("{text:?}"));
        }
    }
}
