//! Words, lines and braces of a Corefile.

use super::CorefileError;

/// A line, and the block behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    /// Line, from 1.
    pub line: usize,
    /// Its words; the first is the plugin, or the first zone of a server block.
    pub words: Vec<String>,
    /// The lines in its braces.
    pub block: Vec<Directive>,
}

/// Reads the whole text.
pub(super) fn parse(text: &str) -> Result<Vec<Directive>, CorefileError> {
    let lines: Vec<(usize, Vec<String>)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, words(line)))
        .filter(|(_, words)| !words.is_empty())
        .collect();
    let mut rest = lines.as_slice();
    let directives = block(&mut rest)?;
    match rest.first() {
        Some((line, _)) => Err(CorefileError { line: *line, what: "`}` without `{`".to_owned() }),
        None => Ok(directives),
    }
}

/// Directives up to a closing brace, which stays.
fn block(rest: &mut &[(usize, Vec<String>)]) -> Result<Vec<Directive>, CorefileError> {
    let mut directives = Vec::new();
    while let Some((line, words)) = rest.first() {
        if words[0] == "}" {
            break;
        }
        *rest = &rest[1..];
        let (mut words, mut inner) = (words.clone(), Vec::new());
        if words.last().is_some_and(|word| word == "{") {
            words.pop();
            inner = block(rest)?;
            match rest.first() {
                Some((_, closing)) if closing[0] == "}" => *rest = &rest[1..],
                _ => return Err(CorefileError { line: *line, what: "`{` without `}`".to_owned() }),
            }
        }
        directives.push(Directive { line: *line, words, block: inner });
    }
    Ok(directives)
}

/// The words of a line; `#` starts a comment, quotes keep spaces.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '"' => (quoted, any) = (!quoted, true),
            '#' if !quoted && word.is_empty() => break,
            c if c.is_whitespace() && !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}
