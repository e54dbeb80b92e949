//! `rpk redpanda config set`: the one command of Redpanda's tool that the configurator script calls (redpanda.md 1.6).
//!
//! `rpk redpanda tune` succeeds without effect: nothing of the machine is modelled that it could tune. Other rpk
//! commands fail and say so.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use super::environment::absolute;
use super::{Commands, Files, Invocation, Outcome};

/// Where rpk looks when no `--config` is given.
const DEFAULT_FILE: &str = "/etc/redpanda/redpanda.yaml";
/// Segments of a key.
const DEPTH_MAX: usize = 32;
/// Texts of which the parsed form is kept, for the whole process.
const PARSED_MAX: usize = 256;
/// The longest of them, in bytes.
const PARSED_BYTES_MAX: usize = 16 << 10;

static PARSED: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());

/// The image's `rpk`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rpk;

impl Commands for Rpk {
    fn run(&mut self, invocation: &Invocation, files: &mut Files) -> Option<Outcome> {
        if super::command::basename(&invocation.name) != "rpk" {
            return None;
        }
        Some(match call(&invocation.args, files) {
            Ok(()) => Outcome::default(),
            Err(message) => Outcome::failure(1, format!("rpk: {message}")),
        })
    }
}

fn call(args: &[String], files: &mut Files) -> Result<(), String> {
    let mut file = DEFAULT_FILE.to_owned();
    let mut words: Vec<&str> = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if let Some(path) = arg.strip_prefix("--config=") {
            file = path.to_owned();
        } else if arg == "--config" {
            file = rest.next().ok_or("--config needs a file")?.clone();
        } else if matches!(arg.as_str(), "-v" | "--verbose") {
            continue;
        } else if arg.starts_with('-') && words.len() < 3 && words.get(1) != Some(&"tune") {
            return Err(format!("the option {arg} is not interpreted"));
        } else {
            words.push(arg);
        }
    }
    match words.as_slice() {
        ["redpanda", "tune", ..] => Ok(()),
        ["redpanda", "config", "set", key, value] => set(&absolute(&file), key, value, files),
        ["redpanda", "config", "set", ..] => Err("config set needs a key and a value".to_owned()),
        _ => Err(format!("the command '{}' is not interpreted", words.join(" "))),
    }
}

fn set(path: &str, key: &str, value: &str, files: &mut Files) -> Result<(), String> {
    let content = files.get(path).ok_or_else(|| format!("{path}: no such file"))?;
    let text = std::str::from_utf8(content).map_err(|_| format!("{path} is not text"))?;
    let mut document: Value = if text.trim().is_empty() {
        Value::Null
    } else {
        parsed(text).map_err(|error| format!("{path} is not YAML: {error}"))?
    };
    let segments = segments(key)?;
    let value: Value = if value.is_empty() {
        Value::String(String::new())
    } else {
        parsed(value).map_err(|error| format!("{key}: the value is not YAML: {error}"))?
    };
    *place(&mut document, &segments, key)? = value;
    let written = serde_saphyr::to_string(&document).map_err(|error| format!("{path}: {error}"))?;
    files.insert(path.to_owned(), written.into_bytes());
    Ok(())
}

/// Parses YAML. Every pod's script sets the same keys of nearly the same file, in each simulation of a sweep, and to parse
/// it is most of what that costs: what was parsed is kept. It depends on the text alone, so no simulation sees another.
fn parsed(text: &str) -> Result<Value, serde_saphyr::Error> {
    let kept = || PARSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = kept().get(text) {
        return Ok(value.clone());
    }
    let value: Value = serde_saphyr::from_str(text)?;
    if text.len() <= PARSED_BYTES_MAX {
        let mut kept = kept();
        if kept.len() >= PARSED_MAX {
            kept.clear();
        }
        kept.insert(text.to_owned(), value.clone());
    }
    Ok(value)
}

#[derive(Debug, PartialEq, Eq)]
enum Segment<'a> {
    Field(&'a str),
    Index(usize),
}

/// `a.b[0].c` taken apart.
fn segments(key: &str) -> Result<Vec<Segment<'_>>, String> {
    let wrong = || format!("the key '{key}' is not of the form section.property or section.list[0]");
    let mut segments = Vec::new();
    for part in key.split('.') {
        let (field, mut indexes) = part.split_at(part.find('[').unwrap_or(part.len()));
        if field.is_empty() {
            return Err(wrong());
        }
        segments.push(Segment::Field(field));
        while !indexes.is_empty() {
            let (digits, rest) =
                indexes.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(wrong)?;
            segments.push(Segment::Index(digits.parse().map_err(|_| wrong())?));
            indexes = rest;
        }
    }
    if segments.len() > DEPTH_MAX { Err(wrong()) } else { Ok(segments) }
}

/// The place a key names; missing sections and the element after a list's last are created.
fn place<'a>(document: &'a mut Value, segments: &[Segment<'_>], key: &str) -> Result<&'a mut Value, String> {
    let mut place = document;
    for segment in segments {
        place = match segment {
            Segment::Field(field) => {
                if place.is_null() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let Value::Object(fields) = place else {
                    return Err(format!("{key}: '{field}' lies below a value that is not a section"));
                };
                fields.entry((*field).to_owned()).or_insert(Value::Null)
            }
            Segment::Index(index) => {
                if place.is_null() {
                    *place = Value::Array(Vec::new());
                }
                let Value::Array(elements) = place else {
                    return Err(format!("{key}: [{index}] is asked of a value that is not a list"));
                };
                let length = elements.len();
                if *index == length {
                    elements.push(Value::Null);
                }
                elements.get_mut(*index).ok_or_else(|| {
                    format!("{key}: index {index} is out of range, the list has {length} elements")
                })?
            }
        };
    }
    Ok(place)
}
