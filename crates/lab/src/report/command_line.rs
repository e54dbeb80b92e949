//! Command lines that reports name, as a shell takes them.

/// The command that runs a scenario again.
pub fn replay(scenario_file: &str, seed: u64) -> String {
    format!("hopwise run {} --seed {seed}", shell_word(scenario_file))
}

/// A word that a POSIX shell reads as this text (Shell Command Language, 2.2.2 Single-Quotes).
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_shell_would_read_otherwise_are_quoted() {
        assert_eq!(replay("a/b.yaml", 7), "hopwise run a/b.yaml --seed 7");
        assert_eq!(replay("it's here.yaml", 7), r"hopwise run 'it'\''s here.yaml' --seed 7");
        assert_eq!(
            ["", "$x", "external=203.0.113.7"].map(shell_word),
            ["''", "'$x'", "external=203.0.113.7"]
        );
    }
}
