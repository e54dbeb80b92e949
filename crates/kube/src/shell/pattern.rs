//! Shell patterns: `*`, `?`, `[...]` (Bash manual 3.5.8.1). Extended patterns such as `@(a|b)` are left out.

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// `*`.
    Any,
    /// `?`.
    One,
    Literal(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    items: Vec<Item>,
}

impl Pattern {
    /// Compiles characters of which the quoted ones stand for themselves; `None` for an extended pattern or a
    /// character class.
    pub fn new(characters: &[(char, bool)]) -> Option<Pattern> {
        let mut items = Vec::new();
        let mut at = 0;
        while let Some(&(character, quoted)) = characters.get(at) {
            let next = characters.get(at + 1).copied();
            at += 1;
            if quoted {
                items.push(Item::Literal(character));
                continue;
            }
            match character {
                '?' | '*' | '+' | '@' | '!' if next == Some(('(', false)) => return None,
                '*' if items.last() == Some(&Item::Any) => {}
                '*' => items.push(Item::Any),
                '?' => items.push(Item::One),
                '[' => match set(&characters[at..]) {
                    Some((Item::Set { ranges, .. }, _)) if ranges.is_empty() => return None,
                    Some((item, width)) => {
                        items.push(item);
                        at += width;
                    }
                    None => items.push(Item::Literal('[')),
                },
                '\\' if next.is_some() => {
                    items.push(Item::Literal(next.map_or('\\', |(character, _)| character)));
                    at += 1;
                }
                character => items.push(Item::Literal(character)),
            }
        }
        Some(Pattern { items })
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let characters: Vec<char> = text.chars().collect();
        matches(&self.items, &characters)
    }

    /// A name that starts with a dot is only matched by a pattern that does so in plain sight.
    pub fn starts_with_dot(&self) -> bool {
        self.items.first() == Some(&Item::Literal('.'))
    }

    /// End of the shortest or longest prefix that matches, in bytes.
    pub fn prefix(&self, text: &str, longest: bool) -> Option<usize> {
        let mut ends: Vec<usize> = boundaries(text);
        if longest {
            ends.reverse();
        }
        ends.into_iter().find(|&end| self.matches(&text[..end]))
    }

    /// Start of the shortest or longest suffix that matches, in bytes.
    pub fn suffix(&self, text: &str, longest: bool) -> Option<usize> {
        let mut starts: Vec<usize> = boundaries(text);
        if !longest {
            starts.reverse();
        }
        starts.into_iter().find(|&start| self.matches(&text[start..]))
    }

    /// `${text#pattern}` and `${text##pattern}`.
    pub fn without_prefix(&self, text: &str, longest: bool) -> String {
        text[self.prefix(text, longest).unwrap_or(0)..].to_owned()
    }

    /// `${text%pattern}` and `${text%%pattern}`.
    pub fn without_suffix(&self, text: &str, longest: bool) -> String {
        text[..self.suffix(text, longest).unwrap_or(text.len())].to_owned()
    }

    /// `${text/pattern/by}`: the longest match at each place, from the left, at most `count` times.
    pub fn replace(&self, text: &str, by: &str, count: usize) -> String {
        let mut result = String::new();
        let mut rest = text;
        let mut replaced = 0;
        while let Some(first) = rest.chars().next() {
            match self.prefix(rest, true).filter(|&end| end > 0 && replaced < count) {
                Some(end) => {
                    result.push_str(by);
                    rest = &rest[end..];
                    replaced += 1;
                }
                None => {
                    result.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        result
    }
}

fn boundaries(text: &str) -> Vec<usize> {
    text.char_indices().map(|(index, _)| index).chain([text.len()]).collect()
}

/// Parses what follows `[`; the width includes the closing bracket. A set with a class such as `[:alpha:]` has no
/// ranges.
fn set(characters: &[(char, bool)]) -> Option<(Item, usize)> {
    let mut at = 0;
    let negated = matches!(characters.first(), Some(('!' | '^', false)));
    at += usize::from(negated);
    let start = at;
    let mut ranges = Vec::new();
    loop {
        let &(character, quoted) = characters.get(at)?;
        if character == ']' && !quoted && at > start {
            return Some((Item::Set { negated, ranges }, at + 1));
        }
        if character == '[' && matches!(characters.get(at + 1), Some((':' | '.' | '=', false))) {
            return Some((Item::Set { negated, ranges: Vec::new() }, at));
        }
        let dash = characters.get(at + 1) == Some(&('-', false));
        match characters.get(at + 2) {
            Some(&(last, quoted)) if dash && (last != ']' || quoted) => {
                ranges.push((character, last));
                at += 3;
            }
            _ => {
                ranges.push((character, character));
                at += 1;
            }
        }
    }
}

/// Matches with one point to come back to: the last `*`.
fn matches(items: &[Item], text: &[char]) -> bool {
    let (mut item, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let matched = match (items.get(item), text.get(at)) {
            (None, None) => return true,
            (Some(Item::Any), _) => {
                retry = Some((item, at));
                item += 1;
                continue;
            }
            (Some(Item::One), Some(_)) => true,
            (Some(Item::Literal(wanted)), Some(character)) => wanted == character,
            (Some(Item::Set { negated, ranges }), Some(character)) => {
                ranges.iter().any(|(first, last)| first <= character && character <= last) != *negated
            }
            _ => false,
        };
        if matched {
            item += 1;
            at += 1;
            continue;
        }
        match retry {
            Some((star, from)) if from < text.len() => {
                retry = Some((star, from + 1));
                item = star + 1;
                at = from + 1;
            }
            _ => return false,
        }
    }
}
