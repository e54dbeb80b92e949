//! Programs that read and write files: `cat`, `cp`, `rm`, `touch`, `head`, `tail`, `wc`, `sha256sum`, `basename`, `dirname`.

use sha2::{Digest, Sha256};

use super::super::environment::{absolute, is_directory};
use super::super::{Files, Outcome, command};
use super::{Filtered, Unsupported, input, options};

pub(super) fn cat(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (_, names) = options("cat", args, "", "")?;
    Ok(input("cat", &names, stdin, files).map_or_else(|failure| failure, Outcome::success))
}

/// `cp [-fpa] SOURCE... TARGET`.
pub(super) fn copy(args: &[String], files: &mut Files) -> Filtered {
    let (_, mut names) = options("cp", args, "fpa", "")?;
    let target = match (names.pop(), names.len()) {
        (Some(target), 1..) => target,
        _ => return Ok(Outcome::failure(1, "cp: missing file operand")),
    };
    let into_folder = target.ends_with('/') || is_directory(files, &target);
    if names.len() > 1 && !into_folder {
        return Ok(Outcome::failure(1, format!("cp: target '{target}': No such file or directory")));
    }
    for name in names {
        let Some(content) = files.get(&absolute(&name)).cloned() else {
            return Ok(Outcome::failure(1, format!("cp: cannot stat '{name}': No such file or directory")));
        };
        let path =
            if into_folder { format!("{target}/{}", command::basename(&name)) } else { target.clone() };
        files.insert(absolute(&path), content);
    }
    Ok(Outcome::default())
}

pub(super) fn remove(args: &[String], files: &mut Files) -> Filtered {
    let (found, names) = options("rm", args, "rRf", "")?;
    let recursive = found.iter().any(|(letter, _)| matches!(letter, 'r' | 'R'));
    let force = found.iter().any(|(letter, _)| *letter == 'f');
    for name in names {
        let path = absolute(&name);
        let folder = format!("{}/", path.trim_end_matches('/'));
        if files.remove(&path).is_some() {
            continue;
        }
        if is_directory(files, &path) && recursive {
            files.retain(|file, _| !file.starts_with(&folder));
        } else if !force {
            return Ok(Outcome::failure(1, format!("rm: cannot remove '{name}'")));
        }
    }
    Ok(Outcome::default())
}

pub(super) fn touch(args: &[String], files: &mut Files) -> Filtered {
    let (_, names) = options("touch", args, "", "")?;
    for name in names {
        files.entry(absolute(&name)).or_default();
    }
    Ok(Outcome::default())
}

/// `head -c N` and `head -n N`; a negative N is left out.
pub(super) fn head(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (bytes, count, names) = amount("head", args)?;
    let content = match input("head", &names, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(failure),
    };
    let end = if bytes {
        count.min(content.len())
    } else {
        let newlines = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        match count.checked_sub(1) {
            None => 0,
            Some(last) => newlines.map(|(index, _)| index + 1).nth(last).unwrap_or(content.len()),
        }
    };
    Ok(Outcome::success(&content[..end]))
}

pub(super) fn tail(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (bytes, count, names) = amount("tail", args)?;
    let content = match input("tail", &names, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(failure),
    };
    let start = if bytes {
        content.len().saturating_sub(count)
    } else {
        let starts: Vec<usize> = std::iter::once(0)
            .chain(content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(index, _)| index + 1))
            .filter(|&start| start < content.len())
            .collect();
        starts.len().checked_sub(count).map_or(0, |line| starts.get(line).copied().unwrap_or(content.len()))
    };
    Ok(Outcome::success(&content[start..]))
}

/// Whether bytes are counted, how many, and the files; `-5` is `-n 5`.
fn amount(program: &str, args: &[String]) -> Result<(bool, usize, Vec<String>), Unsupported> {
    let args: Vec<String> = args
        .iter()
        .map(|arg| match arg.strip_prefix('-') {
            Some(digits) if digits.parse::<usize>().is_ok() => format!("-n{digits}"),
            _ => arg.clone(),
        })
        .collect();
    let (found, names) = options(program, &args, "", "cn")?;
    if names.len() > 1 {
        return Err(Unsupported(format!("{program} of several files")));
    }
    let Some((letter, value)) = found.last() else { return Ok((false, 10, names)) };
    let count = value.parse::<usize>().map_err(|_| Unsupported(format!("{program} -{letter} {value}")))?;
    Ok((*letter == 'c', count, names))
}

/// `wc` with one of `-l`, `-c`, `-w` over standard input.
pub(super) fn count(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (found, names) = options("wc", args, "lcw", "")?;
    let [(letter, _)] = found.as_slice() else {
        return Err(Unsupported("wc without exactly one option".to_owned()));
    };
    if names.len() > 1 {
        return Err(Unsupported("wc of several files".to_owned()));
    }
    let content = match input("wc", &names, stdin, files) {
        Ok(content) => content,
        Err(failure) => return Ok(failure),
    };
    let count = match letter {
        'l' => content.iter().filter(|&&byte| byte == b'\n').count(),
        'w' => content.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).count(),
        _ => content.len(),
    };
    let name = names.first().map(|name| format!(" {name}")).unwrap_or_default();
    Ok(Outcome::success(format!("{count}{name}\n")))
}

pub(super) fn sha256sum(args: &[String], stdin: &[u8], files: &Files) -> Filtered {
    let (_, mut names) = options("sha256sum", args, "b", "")?;
    if names.is_empty() {
        names.push("-".to_owned());
    }
    let mut output = String::new();
    for name in names {
        let content = match input("sha256sum", std::slice::from_ref(&name), stdin, files) {
            Ok(content) => content,
            Err(failure) => return Ok(failure),
        };
        for byte in Sha256::digest(&content) {
            output.push_str(&format!("{byte:02x}"));
        }
        output.push_str(&format!("  {name}\n"));
    }
    Ok(Outcome::success(output))
}

pub(super) fn basename(args: &[String]) -> Filtered {
    let (name, suffix) = match args {
        [name] if !name.starts_with('-') => (name, ""),
        [name, suffix] if !name.starts_with('-') => (name, suffix.as_str()),
        _ => return Err(Unsupported(format!("basename {}", args.join(" ")))),
    };
    let trimmed = name.trim_end_matches('/');
    let base = if trimmed.is_empty() && !name.is_empty() { "/" } else { command::basename(trimmed) };
    let base = base.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(base);
    Ok(Outcome::success(format!("{base}\n")))
}

pub(super) fn dirname(args: &[String]) -> Filtered {
    let [name] = args else { return Err(Unsupported(format!("dirname {}", args.join(" ")))) };
    let trimmed = name.trim_end_matches('/');
    let folder = match trimmed.rsplit_once('/') {
        _ if trimmed.is_empty() && !name.is_empty() => "/",
        None => ".",
        Some((folder, _)) => match folder.trim_end_matches('/') {
            "" => "/",
            folder => folder,
        },
    };
    Ok(Outcome::success(format!("{folder}\n")))
}
