//! The catalogue of what goes wrong: every folder below `scenarios/catalogue` is an entry, and each of its twins a test.
//!
//! The broken twin has to give the findings that `entry.yaml` expects and no other error; the healthy one none of them and
//! no error. Entries are checked (`hopwise check`) or, where something has to happen first, run (`hopwise run`). Other
//! tests keep `docs/catalogue.md` and the examples of `hopwise explain` in step with the folder.

#[path = "catalogue/entry.rs"]
mod entry;
#[path = "catalogue/page.rs"]
mod page;

use std::collections::BTreeSet;
use std::process::ExitCode;

use hopwise_lab::findings::{Code, Finding, Severity};
use libtest_mimic::{Arguments, Failed, Trial};

use entry::{Entry, Expected, Twin};

fn main() -> ExitCode {
    let entries = match entry::all() {
        Ok(entries) => entries,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for entry in &entries {
        for twin in [Twin::Broken, Twin::Healthy] {
            let (name, entry) = (format!("{}::{twin}", entry.name), entry.clone());
            trials.push(Trial::test(name, move || judge(&entry, twin)));
        }
    }
    let all = entries.clone();
    trials.push(Trial::test("every_finding_with_an_entry_has_its_example", move || examples(&all)));
    trials.push(Trial::test("the_page_lists_every_row_of_the_facts", move || page::compare(&entries)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Runs one twin and compares its findings.
fn judge(entry: &Entry, twin: Twin) -> Result<(), Failed> {
    let findings = entry.findings(twin)?;
    let is_expected = |finding: &&Finding| entry.expect.iter().any(|it| it.is(finding));
    let mut differences = Vec::new();
    match twin {
        Twin::Broken => {
            let missing = entry.expect.iter().filter(|it| !findings.iter().any(|finding| it.is(finding)));
            differences.extend(missing.map(|it| format!("- missing: {it}")));
            let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
            differences.extend(errors.filter(|it| !is_expected(it)).map(|it| surplus("not expected", it)));
        }
        Twin::Healthy => {
            let codes: BTreeSet<Code> = entry.expect.iter().map(|it| it.code).collect();
            let wrong =
                findings.iter().filter(|it| it.severity == Severity::Error || codes.contains(&it.code));
            differences.extend(wrong.map(|it| surplus("should not be here", it)));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let others = findings.iter().filter(|it| it.severity != Severity::Error && !is_expected(it));
    differences.extend(others.map(|it| surplus("also there, and no error", it)));
    differences.push(format!("try it with:\n  {}", entry.command(twin)));
    Err(differences.join("\n").into())
}

fn surplus(what: &str, finding: &Finding) -> String {
    let expected = Expected::of(finding);
    format!("+ {what}: {expected}\n      {} {}", finding.severity.as_str(), finding.explanation)
}

/// An example of `hopwise explain` is an entry that has the finding, and every code with an entry has one.
fn examples(entries: &[Entry]) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for code in Code::ALL {
        let having: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.expect.iter().any(|it| it.code == *code))
            .map(|entry| entry.name.as_str())
            .collect();
        match code.example() {
            None if having.is_empty() => {}
            None => wrong.push(format!("{code} has no example and could have {}", having[0])),
            Some(example) if having.contains(&example.entry) => {
                if example.difference().is_empty() {
                    wrong.push(format!("the twins of {} are equal", example.entry));
                }
            }
            Some(example) => wrong.push(format!("{code}: {} does not expect it", example.entry)),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
