//! A run or a check as one page that a browser shows without a network: the cluster as a picture with the routes drawn on
//! it hop by hop, where the time goes, what happened when, what is wrong and why, and what it costs.
//!
//! The page holds aggregates: one route for each way that was gone, histograms, bins of time. So it stays small however
//! many requests there were, and what is left out is said. Everything from the inputs passes through `maud`, which escapes
//! it; the page's own policy (Content-Security-Policy) forbids it to load anything.

mod latency;
mod layout;
mod legs;
mod palette;
mod picture;
mod plots;
mod routes;
mod tables;
mod timeline;
mod ways;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::recording::{Recording, Topology};
use crate::report::check::{CheckReport, Verdict};
use crate::report::replay;
use crate::report::run::RunReport;
use crate::report::units::{count, time};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Nothing from anywhere else, and nothing sent anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What a page begins with.
struct Head<'a> {
    kind: &'a str,
    title: &'a str,
    verdict: Verdict,
    summary: String,
    /// Numbers that matter most, with their names, and whether they are bad.
    tiles: Vec<(&'static str, String, bool)>,
    /// The command that makes the same page.
    command: String,
}

/// A part of the page.
struct Section {
    id: &'static str,
    title: &'static str,
    content: Markup,
}

/// The page of a run of the scenario in `scenario_file`.
pub fn run_page(report: &RunReport, recording: &Recording, scenario_file: &str) -> String {
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    let head = Head {
        kind: "hopwise run",
        title: &report.scenario,
        verdict: report.verdict,
        summary: format!(
            "Seed {}: {} of {} hold. {} of virtual time; trace {}.",
            report.seed,
            report.checks.len() - failed,
            count(report.checks.len(), "check"),
            time(report.simulated_ns),
            report.trace_hash
        ),
        tiles: tables::run_tiles(report),
        command: replay(scenario_file, report.seed),
    };
    let ways = ways::of_run(recording);
    let clients: Vec<&str> = recording.clients.iter().map(|client| client.name.as_str()).collect();
    let stacks = legs::of_run(recording);
    let sections = [
        tables::problems(&report.checks, &report.findings),
        routes::section(&recording.topology, ways, &clients),
        latency::of_run(report, recording, &stacks),
        tables::timeline(&timeline::of(report, recording)),
        tables::cost(&report.cost),
        tables::checks(&report.checks),
    ];
    page(&head, sections.into_iter().flatten().collect())
}

/// The page of a check; `topology` is the cluster that was checked, and `command` what makes the page again.
pub fn check_page(report: &CheckReport, topology: &Topology, command: &str) -> String {
    let tried = report.routes.iter().filter(|it| it.outcome != crate::report::check::Outcome::NotExposed);
    let (tried, failed) = (tried.clone().count(), tried.filter(|route| route.outcome.is_failure()).count());
    let head = Head {
        kind: "hopwise check",
        title: "Who reaches which broker",
        verdict: report.verdict,
        summary: format!(
            "{} tried, {failed} of them fail; {}.",
            count(tried, "route"),
            count(report.findings.len(), "finding")
        ),
        tiles: tables::check_tiles(report, tried, failed),
        command: command.to_owned(),
    };
    let ways = ways::of_check(report);
    let places: std::collections::BTreeSet<String> =
        report.routes.iter().map(|route| route.from.to_string()).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let stacks = legs::of_check(report);
    let sections = [
        tables::problems(&[], &report.findings),
        routes::section(topology, ways, &places),
        latency::of_check(&stacks),
        tables::cluster(report),
    ];
    page(&head, sections.into_iter().flatten().collect())
}

fn page(head: &Head<'_>, sections: Vec<Section>) -> String {
    let (word, class) = match head.verdict {
        Verdict::Pass => ("pass", "pass"),
        Verdict::Fail => ("fail", "fail"),
    };
    let style = format!("{}{STYLE}", palette::style());
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content="hopwise";
                title { (head.title) " · " (word) " · " (head.kind) }
                style { (PreEscaped(style)) }
            }
            body {
                a .skip href="#main" { "Skip to the results" }
                header .top {
                    p .kind { (head.kind) }
                    h1 { (head.title) " " span .verdict .(class) { (word) } }
                    p .summary { (head.summary) }
                    dl .tiles {
                        @for (name, value, bad) in &head.tiles {
                            div .bad[*bad] { dt { (name) } dd { (value) } }
                        }
                    }
                    nav aria-label="Parts of this page" {
                        @for section in &sections { a href=(format!("#{}", section.id)) { (section.title) } }
                    }
                }
                main #main {
                    @for section in &sections {
                        section id=(section.id) aria-labelledby=(format!("{}-title", section.id)) {
                            h2 id=(format!("{}-title", section.id)) { (section.title) }
                            (section.content)
                        }
                    }
                }
                footer {
                    p { "The same again: " code #replay { (head.command) } " " button #copy type="button" { "Copy" } }
                    p #said .said role="status" aria-live="polite" {}
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    document.into_string()
}

#[cfg(test)]
mod tests;
