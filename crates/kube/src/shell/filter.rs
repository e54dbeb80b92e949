//! The small programs scripts are made of, as functions from arguments and standard input to output: `echo`,
//! `printf`, `cat`, `cp`, `head`, `tail`, `cut`, `tr`, `grep`, `sed`, `sha256sum`, `expr`, `wc`, `basename`,
//! `dirname`, `mkdir`, `rm`, `touch` and, without effect, `chmod` and `chown`.
//!
//! Source: GNU coreutils, grep and sed manuals; an option they have and this module lacks is [`Unsupported`].

mod expression;
mod file;
mod text;

use super::{Files, Outcome, printf, sed};

/// A command or option that is not interpreted.
#[derive(Debug)]
pub(super) struct Unsupported(pub String);

pub(super) type Filtered = Result<Outcome, Unsupported>;

/// Programs that exist on a usual image, so that calling one is not "command not found" but beyond this interpreter.
const LEFT_OUT: [&str; 40] = [
    "awk", "gawk", "sort", "uniq", "find", "xargs", "date", "ls", "ln", "mv", "tee", "seq", "env", "id",
    "whoami", "hostname", "uname", "ps", "kill", "jq", "perl", "python", "python3", "md5sum", "sha1sum",
    "base64", "od", "rev", "paste", "nl", "timeout", "getent", "cd", "pwd", "read", "source", ".", "declare",
    "local", "mapfile",
];

/// Whether a command is known to exist and not interpreted.
pub(super) fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name)
        || matches!(name, "typeset" | "getopts" | "let" | "return" | "type" | "hash" | "alias")
}

/// Runs a program; `None` if it is not one of those here.
pub(super) fn run(name: &str, args: &[String], stdin: &[u8], files: &mut Files) -> Option<Filtered> {
    Some(match name {
        "echo" => Ok(text::echo(args)),
        "printf" => printf::run(args),
        "cat" => file::cat(args, stdin, files),
        "cp" => file::copy(args, files),
        "mkdir" | "chmod" | "chown" => Ok(Outcome::default()),
        "rm" => file::remove(args, files),
        "touch" => file::touch(args, files),
        "head" => file::head(args, stdin, files),
        "tail" => file::tail(args, stdin, files),
        "wc" => file::count(args, stdin, files),
        "sha256sum" => file::sha256sum(args, stdin, files),
        "cut" => text::cut(args, stdin, files),
        "tr" => text::translate(args, stdin),
        "grep" => text::grep(args, stdin, files),
        "sed" => sed::run(args, stdin, files),
        "expr" => expression::run(args),
        "basename" => file::basename(args),
        "dirname" => file::dirname(args),
        _ => return None,
    })
}

/// The concatenation of the named files, or standard input if there are none; `Err` is the failed outcome.
pub(super) fn input(
    program: &str,
    names: &[String],
    stdin: &[u8],
    files: &Files,
) -> Result<Vec<u8>, Outcome> {
    if names.is_empty() {
        return Ok(stdin.to_vec());
    }
    let mut content = Vec::new();
    for name in names {
        match (name.as_str(), files.get(&super::environment::absolute(name))) {
            ("-", _) => content.extend_from_slice(stdin),
            (_, Some(bytes)) => content.extend_from_slice(bytes),
            ("/dev/null", None) => {}
            (name, None) => {
                return Err(Outcome::failure(1, format!("{program}: {name}: No such file or directory")));
            }
        }
    }
    Ok(content)
}

/// The lines of a text, each without its newline.
pub(super) fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    let content =
        content.strip_suffix(b"\n").map_or((content, content.is_empty()), |content| (content, false));
    let empty = content.1;
    content.0.split(|&byte| byte == b'\n').filter(move |_| !empty)
}

/// Options with their values, and operands.
type Arguments = (Vec<(char, String)>, Vec<String>);

/// Takes options apart the way getopt does: letters with a value named in `valued`.
pub(super) fn options(
    program: &str,
    args: &[String],
    flags: &str,
    valued: &str,
) -> Result<Arguments, Unsupported> {
    let mut found = Vec::new();
    let mut operands = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--" {
            operands.extend(rest.cloned());
            break;
        }
        let Some(letters) = arg.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            operands.push(arg.clone());
            continue;
        };
        for (index, letter) in letters.char_indices() {
            if flags.contains(letter) {
                found.push((letter, String::new()));
            } else if valued.contains(letter) {
                let inline = &letters[index + letter.len_utf8()..];
                let value = match (inline, rest.as_slice()) {
                    ("", [value, ..]) => {
                        rest.next();
                        value.clone()
                    }
                    ("", []) => return Err(Unsupported(format!("{program} -{letter} without a value"))),
                    (inline, _) => inline.to_owned(),
                };
                found.push((letter, value));
                break;
            } else {
                return Err(Unsupported(format!("{program} {arg}")));
            }
        }
    }
    Ok((found, operands))
}
