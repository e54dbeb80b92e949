//! `hopwise explain`: a finding at length, and the list of all.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::paper::{Paper, Tone};
use crate::findings::{Code, Severity};

/// One code at length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The code.
    pub code: Code,
    /// How bad it is, as a rule.
    pub severity: Severity,
    /// A few words.
    pub title: String,
    /// What users and clients see.
    pub sees: String,
    /// Why it happens.
    pub why: String,
    /// How to tell that it is this.
    pub tell: String,
    /// What to change.
    pub fix: String,
    /// An entry of the catalogue that has it.
    pub example: Option<ExampleEntry>,
    /// Where it is known from.
    pub sources: Vec<String>,
}

/// An entry of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExampleEntry {
    /// Its folder, from the root of the repository.
    pub path: String,
    /// The lines in which what is broken (`-`) differs from what is sound (`+`).
    pub difference: String,
}

/// Every code in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingList {
    /// The codes, in order.
    pub findings: Vec<Heading>,
}

/// One code in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// The code.
    pub code: Code,
    /// How bad it is, as a rule.
    pub severity: Severity,
    /// A few words.
    pub title: String,
}

/// What the catalogue says of a code.
pub fn explain(code: Code) -> Explanation {
    let entry = code.entry();
    let example = code.example().map(|it| ExampleEntry { path: it.path(), difference: it.difference() });
    Explanation {
        code,
        severity: entry.severity,
        title: entry.title.to_owned(),
        sees: entry.sees.to_owned(),
        why: entry.why.to_owned(),
        tell: entry.tell.to_owned(),
        fix: entry.fix.to_owned(),
        example,
        sources: entry.sources.iter().map(ToString::to_string).collect(),
    }
}

/// All codes.
pub fn list() -> FindingList {
    let heading = |code: &Code| {
        let entry = code.entry();
        Heading { code: *code, severity: entry.severity, title: entry.title.to_owned() }
    };
    FindingList { findings: Code::ALL.iter().map(heading).collect() }
}

/// A code for people.
pub fn explain_text(explanation: &Explanation, paper: Paper) -> String {
    let mut out = String::new();
    let head = format!("{} {}", explanation.severity.as_str(), explanation.code);
    let tone = tone(explanation.severity);
    let _ = writeln!(out, "{}: {}", paper.paint(&head, tone), paper.paint(&explanation.title, Tone::Strong));
    let parts = [
        ("What you see", &explanation.sees),
        ("Why", &explanation.why),
        ("How to tell", &explanation.tell),
        ("What to change", &explanation.fix),
    ];
    for (title, text) in parts {
        paper.heading(&mut out, title);
        paper.paragraph(&mut out, "  ", text);
    }
    if let Some(example) = &explanation.example {
        paper.heading(&mut out, "An example");
        paper.paragraph(&mut out, "  ", &format!("{} (- broken, + sound):", example.path));
        for line in example.difference.lines() {
            let _ = writeln!(out, "    {line}");
        }
    }
    paper.heading(&mut out, "Sources");
    for source in &explanation.sources {
        paper.paragraph(&mut out, "  ", source);
    }
    out.truncate(out.trim_end().len());
    out
}

/// The list for people.
pub fn list_text(list: &FindingList, paper: Paper) -> String {
    let mut out = String::new();
    for Heading { code, severity, title } in &list.findings {
        let severity_word = format!("{:<7}", severity.as_str());
        let _ = writeln!(out, "{code}  {}  {title}", paper.paint(&severity_word, tone(*severity)));
    }
    out.push_str("\nhopwise explain CODE tells more of one.");
    out
}

fn tone(severity: Severity) -> Tone {
    match severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Doubtful,
        Severity::Note => Tone::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Paper = Paper { width: 100, colour: false };

    #[test]
    fn a_code_is_told_at_length() {
        let text = explain_text(&explain(Code::BarePodNameAdvertised), PLAIN);
        let heads = ["What you see", "Why", "How to tell", "What to change", "An example", "Sources"];
        let mut rest = text.as_str();
        for head in heads {
            let at = rest.find(head).unwrap_or_else(|| panic!("{head} is missing or misplaced in\n{text}"));
            rest = &rest[at..];
        }
        assert!(text.starts_with("error HW0001: A bare pod name is advertised\n"), "{text}");
        assert!(text.contains("scenarios/catalogue/redpanda-1864-bare-pod-name"), "{text}");
    }

    #[test]
    fn the_list_has_a_line_for_each_code() {
        let text = list_text(&list(), PLAIN);
        assert_eq!(text.lines().filter(|line| line.starts_with("HW")).count(), Code::ALL.len());
        assert!(text.starts_with("HW0001  error    A bare pod name is advertised\n"), "{text}");
    }

    #[test]
    fn the_json_is_read_back() {
        let explanation = explain(Code::AddressOfAnotherBroker);
        let text = serde_json::to_string(&explanation).expect("plain data");
        assert_eq!(serde_json::from_str::<Explanation>(&text).expect("the same"), explanation);
        let text = serde_json::to_string(&list()).expect("plain data");
        assert_eq!(serde_json::from_str::<FindingList>(&text).expect("the same"), list());
    }
}
