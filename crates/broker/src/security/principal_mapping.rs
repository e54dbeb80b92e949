//! From the subject of a client's certificate to a user, by `kafka_mtls_principal_mapping_rules`.
//!
//! A rule is `DEFAULT` (the subject as it is) or `RULE:pattern/replacement/[LU]` (KIP-371): the first whose
//! pattern matches the subject from its beginning decides; `$1` in the replacement is the first group, `L` and
//! `U` change the case.

use regex::Regex;

/// The rules, in order. Without any, the subject is the user.
#[derive(Clone, Debug, Default)]
pub(crate) struct PrincipalRules(Vec<Rule>);

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Replace { pattern: Regex, replacement: String, case: Case },
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// Largest compiled pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl PrincipalRules {
    /// Reads rules.
    ///
    /// # Errors
    /// What is wrong with which rule.
    pub fn parse(rules: &[String]) -> Result<PrincipalRules, String> {
        rules.iter().map(|text| rule(text.trim())).collect::<Result<_, _>>().map(PrincipalRules)
    }

    /// The user of a subject; `None` if no rule matches.
    pub fn user(&self, subject: &str) -> Option<String> {
        if self.0.is_empty() {
            return Some(subject.to_owned());
        }
        self.0.iter().find_map(|rule| rule.user(subject))
    }
}

fn rule(text: &str) -> Result<Rule, String> {
    if text == "DEFAULT" {
        return Ok(Rule::Default);
    }
    let wrong = || format!("\"{text}\" is not a rule");
    let rest = text.strip_prefix("RULE:").ok_or_else(wrong)?;
    let (pattern, rest) = rest.split_once('/').ok_or_else(wrong)?;
    let (text_of, case) = rest.split_once('/').ok_or_else(wrong)?;
    let case = match case {
        "" => Case::Kept,
        "L" => Case::Lower,
        "U" => Case::Upper,
        _ => return Err(wrong()),
    };
    let pattern = regex::RegexBuilder::new(&format!("^(?:{pattern})"))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| format!("\"{text}\": {error}"))?;
    // `$1` followed by a letter would be another group's name to the library.
    let numbers = Regex::new(r"\$(\d+)").map_err(|error| error.to_string())?;
    let replacement = numbers.replace_all(text_of, "$${$1}").into_owned();
    Ok(Rule::Replace { pattern, replacement, case })
}

impl Rule {
    fn user(&self, subject: &str) -> Option<String> {
        let (pattern, replacement, case) = match self {
            Rule::Default => return Some(subject.to_owned()),
            Rule::Replace { pattern, replacement, case } => (pattern, replacement, case),
        };
        let captures = pattern.captures(subject)?;
        let mut user = String::new();
        captures.expand(replacement, &mut user);
        Some(match case {
            Case::Kept => user,
            Case::Lower => user.to_lowercase(),
            Case::Upper => user.to_uppercase(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &[&str], subject: &str) -> Option<String> {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        PrincipalRules::parse(&rules).unwrap().user(subject)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let subject = "CN=Alice,OU=Test,O=example";
        assert_eq!(user(&[], subject).as_deref(), Some(subject));
        assert_eq!(user(&["DEFAULT"], subject).as_deref(), Some(subject));
        assert_eq!(user(&["RULE:CN=([^,]+),.*/$1/"], subject).as_deref(), Some("Alice"));
        assert_eq!(user(&["RULE:.*CN=([^,]+),.*/$1x/L", "DEFAULT"], subject).as_deref(), Some("alicex"));
        assert_eq!(user(&["RULE:^CN=(.*?),OU=(.*?),.*$/$1@$2/U"], subject).as_deref(), Some("ALICE@TEST"));
        assert_eq!(user(&["RULE:OU=(.*)/$1/"], subject), None);
        assert_eq!(user(&["RULE:OU=(.*)/$1/", "DEFAULT"], subject).as_deref(), Some(subject));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for rule in ["", "default", "RULE:a", "RULE:a/b", "RULE:a/b/X", "RULE:(/b/"] {
            assert!(PrincipalRules::parse(&[rule.to_owned()]).is_err(), "{rule}");
        }
    }
}
