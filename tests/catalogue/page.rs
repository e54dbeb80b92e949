//! `docs/catalogue.md`: each row of the facts with the entries that show it, or why none does.
//!
//! The rows are read from docs/facts/redpanda.md, so that a row that is added there is missed here.

use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use serde::Deserialize;

use super::entry::{Entry, folder};

/// A row that no entry shows.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotShown {
    row: String,
    why: String,
}

/// A row of the facts.
struct Row {
    name: String,
    text: String,
}

/// Compares the page with the folder; rewrites it if `UPDATE_DOCS` is set.
pub fn compare(entries: &[Entry]) -> Result<(), Failed> {
    let (rows, not_shown) = (rows()?, not_shown()?);
    let known = |name: &String| rows.iter().any(|row| row.name == *name);
    let named = entries.iter().flat_map(|entry| &entry.rows).chain(not_shown.iter().map(|it| &it.row));
    let unknown: Vec<&String> = named.filter(|name| !known(name)).collect();
    if !unknown.is_empty() {
        return Err(format!("the facts have no rows {unknown:?}").into());
    }
    let mut page = head(entries);
    let mut wrong = Vec::new();
    for row in &rows {
        let shown: Vec<&Entry> = entries.iter().filter(|entry| entry.rows.contains(&row.name)).collect();
        match (shown.as_slice(), not_shown.iter().find(|it| it.row == row.name)) {
            ([], None) => {
                wrong.push(format!("row {} ({}) has no entry, and no reason why not", row.name, row.text))
            }
            ([], Some(reason)) => {
                page.push_str(&format!("| {} | {} | none: {} | |\n", row.name, row.text, reason.why));
            }
            (_, Some(_)) => {
                wrong.push(format!("row {} is shown, and not-shown.yaml says it is not", row.name))
            }
            (shown, None) => shown.iter().for_each(|entry| page.push_str(&line(row, entry))),
        }
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n").into());
    }
    let path = root().join("docs/catalogue.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page)?;
    }
    if std::fs::read_to_string(&path).unwrap_or_default() == page {
        return Ok(());
    }
    Err("docs/catalogue.md differs; rewrite it with UPDATE_DOCS=1 cargo test -p hopwise-tests --test catalogue the_page".into())
}

fn head(entries: &[Entry]) -> String {
    // The first rule that is about the order of addresses: an entry that is checked, with few files.
    let shown = entries.iter().find(|entry| entry.rows.iter().any(|row| row == "L8"));
    let command = shown.map(|entry| entry.command(super::Twin::Broken)).unwrap_or_default();
    format!(
        "# The catalogue of what goes wrong\n\n\
         What is known to go wrong with Kafka clients and Redpanda on Kubernetes: the rules of section 1.7 and the rows of\n\
         section 5 of [the facts](facts/redpanda.md), each as a folder of `scenarios/catalogue` with a broken twin, which gives\n\
         the findings named here, and a healthy one, which gives none. There are {} entries. Findings are explained in\n\
         [findings.md](findings.md) and by `hopwise explain CODE`. Looking at a twin by hand:\n\n    {command}\n\n\
         `tests/catalogue.rs` runs all of them and compares this page with the folder\n\
         (`UPDATE_DOCS=1 cargo test -p hopwise-tests --test catalogue the_page` rewrites it).\n\n\
         | row | symptom, or what renders | entry | findings |\n|---|---|---|---|\n",
        entries.len()
    )
}

fn line(row: &Row, entry: &Entry) -> String {
    let mut findings: Vec<String> = Vec::new();
    for expected in &entry.expect {
        let field = expected.field.as_ref().map(|field| format!(" `{field}`")).unwrap_or_default();
        findings.push(format!("{} {}{field}", expected.code, expected.object));
    }
    let sources = entry.sources.join(", ");
    format!(
        "| {} | {} | `{}`: {} ({sources}) | {} |\n",
        row.name,
        row.text,
        entry.name,
        entry.title,
        findings.join("<br>")
    )
}

/// The rules of section 1.7 and the rows of section 5: name, and condition or symptom.
fn rows() -> Result<Vec<Row>, Failed> {
    let text = std::fs::read_to_string(root().join("docs/facts/redpanda.md"))?;
    let mut rows = Vec::new();
    for (section, is_row) in [
        ("### 1.7", (|name| name.strip_prefix('L').is_some_and(is_number)) as fn(&str) -> bool),
        ("## 5.", is_number),
    ] {
        let level = section.split(' ').next().unwrap_or_default();
        let ends = |line: &&str| line.starts_with(&format!("{level} ")) || line.starts_with("## ");
        let lines =
            text.lines().skip_while(|line| !line.starts_with(section)).skip(1).take_while(|line| !ends(line));
        for line in lines {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if let [_, name, text, ..] = cells.as_slice()
                && is_row(name)
            {
                rows.push(Row { name: (*name).to_owned(), text: (*text).to_owned() });
            }
        }
    }
    // The tables are there: fewer rows would mean that they are not read any more.
    if rows.len() < 60 {
        return Err(format!("only {} rows are found in the facts", rows.len()).into());
    }
    Ok(rows)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn not_shown() -> Result<Vec<NotShown>, Failed> {
    let text = std::fs::read_to_string(folder().join("not-shown.yaml"))?;
    Ok(serde_saphyr::from_str(&text)?)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
