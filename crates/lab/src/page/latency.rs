//! Latency: what the time of each way is made of, how it is distributed, and the numbers.

use std::collections::BTreeMap;

use hopwise_client::Operation;
use maud::{Markup, PreEscaped, html};

use super::Section;
use super::legs::{Leg, Stack};
use super::palette::category_class;
use super::plots::{self, Distribution};
use crate::device::Role;
use crate::recording::{Recording, is_failed};
use crate::report::compare;
use crate::report::run::RunReport;
use crate::report::units::time;

/// Operations whose times are drawn, in this order.
const DRAWN: [Operation; 3] = [Operation::Produce, Operation::Fetch, Operation::Metadata];
/// Fewer times than these are a table, not a distribution.
const TIMES_MIN: usize = 10;

pub(super) fn of_run(report: &RunReport, recording: &Recording, stacks: &[Stack]) -> Option<Section> {
    if report.latency.is_empty() {
        return None;
    }
    let content = html! {
        (made_of(stacks, "The mean time of a request that was served, hop by hop: there, at the broker, and (paler) back."))
        @for operation in DRAWN {
            @if let Some(svg) = distribution(recording, operation) {
                figure {
                    figcaption { "How long " strong { (operation) } " takes, way by way. Each has its own scale; the line is the median." }
                    (plot(&svg, &format!("Histograms of {operation} per client; the table of latencies has their percentiles")))
                }
            }
        }
        (numbers(report))
        @for comparison in compare(report) {
            div .compare {
                p { strong { (comparison.lower) " before " (comparison.higher) } }
                ul { @for reason in &comparison.reasons { li { (reason) } } }
            }
        }
    };
    Some(Section { id: "latency", title: "Latency", content })
}

pub(super) fn of_check(stacks: &[Stack]) -> Option<Section> {
    if stacks.is_empty() {
        return None;
    }
    let content = made_of(
        stacks,
        "The mean time of one packet from the client to a broker's Kafka listener, hop by hop.",
    );
    Some(Section { id: "latency", title: "Latency", content })
}

/// The stacked bars with their legend and their table; a second time without what is far larger than the rest.
fn made_of(stacks: &[Stack], caption: &str) -> Markup {
    let mut legs: Vec<String> = Vec::new();
    for share in stacks.iter().flat_map(|stack| &stack.legs) {
        let words = share.leg.words();
        if !legs.contains(&words) {
            legs.push(words);
        }
    }
    let is_internet = |leg: Leg| leg.words() == Leg::Between(Role::Client, Role::Edge).words();
    let internet = stacks.iter().flat_map(|stack| &stack.legs).any(|share| is_internet(share.leg));
    let Some(whole) = plots::stacked(stacks, &legs, |_| true) else { return html! {} };
    let near = internet.then(|| plots::stacked(stacks, &legs, |leg| !is_internet(leg))).flatten();
    html! {
        figure {
            figcaption { (caption) }
            (legend(&legs))
            (plot(&whole, "Stacked bars of mean times; the table below has the numbers"))
        }
        @if let Some(near) = near {
            figure {
                figcaption { "The same without the way over the internet, which hides the rest." }
                (legend(&legs))
                (plot(&near, "Stacked bars of mean times without the internet; the table below has the numbers"))
            }
        }
        details {
            summary { "These bars as a table" }
            div .wide tabindex="0" role="region" aria-label="Mean times, hop by hop" {
                table {
                    thead { tr {
                        th scope="col" { "way" } th scope="col" .number { "requests" }
                        @for leg in &legs { th scope="col" .number { (leg) } }
                        th scope="col" .number { "in all" }
                    } }
                    tbody { @for stack in stacks { (row(stack, &legs)) } }
                }
            }
        }
    }
}

fn row(stack: &Stack, legs: &[String]) -> Markup {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for share in &stack.legs {
        *sums.entry(share.leg.words()).or_default() += share.mean_ns;
    }
    html! {
        tr {
            th scope="row" { (stack.label) }
            td .number { (stack.count) }
            @for leg in legs { td .number { @if let Some(sum) = sums.get(leg) { (time(*sum as u64)) } @else { "–" } } }
            td .number { (time(stack.total_ns() as u64)) }
        }
    }
}

fn legend(legs: &[String]) -> Markup {
    html! {
        ul .legend aria-hidden="true" {
            @for (index, leg) in legs.iter().enumerate() {
                li .(category_class(index)) { span .swatch {} (leg) }
            }
        }
    }
}

fn distribution(recording: &Recording, operation: Operation) -> Option<String> {
    let panels = recording.clients.iter().enumerate().filter_map(|(colour, client)| {
        let of = client.attempts.iter().filter(|it| it.operation == operation && !is_failed(it));
        let mut times: Vec<u64> = of.map(|attempt| attempt.request.as_nanos()).collect();
        times.sort_unstable();
        let label = format!("{}: {operation}", client.name);
        (times.len() >= TIMES_MIN).then_some(Distribution { label, colour, times })
    });
    let panels: Vec<Distribution> = panels.collect();
    if panels.is_empty() { None } else { plots::distributions(&panels) }
}

fn numbers(report: &RunReport) -> Markup {
    html! {
        div .wide tabindex="0" role="region" aria-label="Latencies" {
            table {
                caption { "Latencies" }
                thead { tr {
                    th scope="col" { "way" } th scope="col" { "operation" }
                    @for name in ["count", "hops", "p50", "p90", "p99", "p99.9", "max"] { th scope="col" .number { (name) } }
                } }
                tbody {
                    @for row in &report.latency {
                        tr {
                            th scope="row" { (row.route) }
                            td { (row.operation) }
                            td .number { (row.count) }
                            td .number { (row.hops) }
                            @for ns in [row.p50_ns, row.p90_ns, row.p99_ns, row.p999_ns, row.max_ns] { td .number { (time(ns)) } }
                        }
                    }
                }
            }
        }
    }
}

/// A plot; whoever cannot see it is told what it is of.
pub(super) fn plot(svg: &str, label: &str) -> Markup {
    html! { div .plot role="img" aria-label=(label) { (PreEscaped(svg)) } }
}
