//! What a page tells in words and tables: numbers that matter, problems, the timeline, cost, checks, the cluster.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Section;
use super::latency::plot;
use super::plots;
use super::timeline::Timeline;
use crate::cost::{CostItem, total};
use crate::findings::Finding;
use crate::report::check::{CheckReport, Verdict};
use crate::report::run::{Check, RunReport};
use crate::report::units::{count, dollars, quantity};

type Tiles = Vec<(&'static str, String, bool)>;

pub(super) fn run_tiles(report: &RunReport) -> Tiles {
    let (routing, data) = (&report.routing, &report.data);
    // Under faults some requests go astray; it is the checks that say whether more did than may.
    let is_failed = report.verdict == Verdict::Fail;
    let bad = |name, number: u64| (name, number.to_string(), number > 0 && is_failed);
    let plain = |name, number: u64| (name, number.to_string(), false);
    let mut tiles = Vec::new();
    if routing.requests > 0 {
        tiles.extend([
            plain("requests", routing.requests),
            plain("at their leader", routing.to_leader),
            bad("misrouted", routing.misrouted),
            plain("retried", routing.retried),
            bad("given up", routing.failed),
        ]);
    }
    if data.acknowledged > 0 {
        tiles.extend([plain("records acknowledged", data.acknowledged), bad("lost", data.lost)]);
        tiles.extend([
            bad("duplicated", data.duplicated - data.duplicated_by_retry),
            bad("reordered", data.reordered),
        ]);
    }
    let failed = report.checks.iter().filter(|check| !check.ok).count() as u64;
    tiles.push(bad("failed checks", failed));
    tiles
}

pub(super) fn check_tiles(report: &CheckReport, tried: usize, failed: usize) -> Tiles {
    let ready = report.pods.iter().filter(|pod| pod.ready).count();
    vec![
        ("brokers", report.brokers.len().to_string(), report.brokers.is_empty()),
        ("pods ready", format!("{ready} of {}", report.pods.len()), ready < report.pods.len()),
        ("routes tried", tried.to_string(), false),
        ("routes that fail", failed.to_string(), failed > 0),
    ]
}

/// Checks that failed, and findings.
pub(super) fn problems(checks: &[Check], findings: &[Finding]) -> Option<Section> {
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
    if failed.is_empty() && findings.is_empty() {
        return None;
    }
    let content = html! {
        @for check in failed {
            article .finding .error { h3 { span .severity { "failed check" } " " (check.name) } p { (check.detail) } }
        }
        @for finding in findings { (finding_article(finding)) }
    };
    Some(Section { id: "problems", title: "Problems", content })
}

fn finding_article(finding: &Finding) -> Markup {
    let place = match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.clone(),
        _ => String::new(),
    };
    html! {
        article .finding .(finding.severity.as_str()) {
            h3 { span .severity { (finding.severity.as_str()) } " " (finding.title) " " span .code { (finding.code) } }
            p .where { (finding.object) @if let Some(field) = &finding.field { " · " code { (field) } } @if !place.is_empty() { " · " (place) } }
            p { (finding.explanation) }
            p { strong { "Fix: " } (finding.fix) }
        }
    }
}

pub(super) fn timeline(timeline: &Timeline) -> Option<Section> {
    let marks: usize = timeline.lanes.iter().map(|lane| lane.marks.len()).sum();
    if marks == 0 && timeline.loads.is_empty() {
        return None;
    }
    let svg = plots::timeline(timeline)?;
    let left_out: usize = timeline.lanes.iter().map(|lane| lane.left_out).sum();
    let content = html! {
        figure {
            figcaption {
                "Faults, elections and changes over the requests of each client. Red is what fails or breaks; a bar lasts as long as its fault."
                @if left_out > 0 { " " (count(left_out, "later change")) " are left out." }
            }
            (plot(&svg, "Lanes of what happened over requests per second; the table below tells each"))
        }
        details {
            summary { "What happened, as a table (" (marks) ")" }
            div .wide tabindex="0" role="region" aria-label="What happened" {
                table {
                    thead { tr { th scope="col" .number { "seconds" } th scope="col" { "lane" } th scope="col" { "what" } } }
                    tbody { @for (at, lane, text, bad) in in_order(timeline) {
                        tr .ends[bad] { td .number { (format!("{at:.3}")) } td { (lane) } td { (text) } }
                    } }
                }
            }
        }
        @if !timeline.loads.is_empty() {
            details {
                summary { "Requests of each client in ten equal parts of the time, as a table" }
                div .wide tabindex="0" role="region" aria-label="Requests over time" { (loads(timeline)) }
            }
        }
    };
    Some(Section { id: "timeline", title: "Timeline", content })
}

fn in_order(timeline: &Timeline) -> Vec<(f64, &'static str, &str, bool)> {
    let lanes = timeline.lanes.iter();
    let mut marks: Vec<(f64, &'static str, &str, bool)> = lanes
        .flat_map(|lane| lane.marks.iter().map(|mark| (mark.at_s, lane.name, mark.text.as_str(), mark.bad)))
        .collect();
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks
}

fn loads(timeline: &Timeline) -> Markup {
    let tenth = (timeline.to_s - timeline.from_s) / 10.0;
    html! {
        table {
            thead { tr { th scope="col" { "client" } @for part in 0..10 {
                th scope="col" .number { (format!("from {:.1} s", timeline.from_s + tenth * f64::from(part))) }
            } } }
            tbody { @for load in &timeline.loads {
                tr {
                    th scope="row" { (load.name) }
                    @for part in load.bins.chunks(load.bins.len().div_ceil(10)) {
                        @let well: u32 = part.iter().map(|bin| bin.0).sum();
                        @let failed: u32 = part.iter().map(|bin| bin.1).sum();
                        td .number { (well) @if failed > 0 { " and " (failed) " failed" } }
                    }
                }
            } }
        }
    }
}

pub(super) fn cost(items: &[CostItem]) -> Option<Section> {
    if items.is_empty() {
        return None;
    }
    let mut routes: BTreeMap<&str, Vec<&CostItem>> = BTreeMap::new();
    for item in items {
        routes.entry(&item.route).or_default().push(item);
    }
    let content = html! {
        p .lead { "Per month, from what the run moved and the profile's prices." }
        div .wide tabindex="0" role="region" aria-label="What each way costs" {
            table {
                thead { tr {
                    th scope="col" { "way" } th scope="col" { "item" } th scope="col" .number { "quantity" } th scope="col" .number { "per month" }
                    th scope="col" { "source of the price" }
                } }
                @for (route, of_route) in &routes {
                    tbody {
                        @for item in of_route {
                            tr {
                                th scope="row" { (route) }
                                td { (item.item) }
                                td .number { (quantity(item.quantity)) " " (item.unit) }
                                td .number { (dollars(item.usd_per_month)) }
                                td .why { (item.source) }
                            }
                        }
                        tr .sum { th scope="row" { (route) } td { "in all" } td {} td .number { (dollars(total(of_route.iter().copied()))) } td {} }
                    }
                }
            }
        }
    };
    Some(Section { id: "cost", title: "Cost", content })
}

pub(super) fn checks(checks: &[Check]) -> Option<Section> {
    if checks.is_empty() {
        return None;
    }
    let content = html! {
        div .wide tabindex="0" role="region" aria-label="Every check" {
            table {
                thead { tr { th scope="col" { "holds" } th scope="col" { "what" } th scope="col" { "numbers" } } }
                tbody { @for check in checks {
                    tr .ends[!check.ok] { td { (if check.ok { "yes" } else { "no" }) } th scope="row" { (check.name) } td { (check.detail) } }
                } }
            }
        }
    };
    Some(Section { id: "checks", title: "Checks", content })
}

/// The listeners of each broker, and the Services.
pub(super) fn cluster(report: &CheckReport) -> Option<Section> {
    let content = html! {
        div .wide tabindex="0" role="region" aria-label="Listeners" {
            table {
                caption { "Listeners" }
                thead { tr { @for name in ["broker", "API", "listener", "bound to", "advertised", "TLS", "authentication"] { th scope="col" { (name) } } } }
                tbody { @for broker in &report.brokers { @for listener in &broker.listeners {
                    tr {
                        th scope="row" { (broker.id) " · " (broker.pod) }
                        td { (listener.api.as_str()) } td { (listener.name) } td { (listener.bind) }
                        td { (listener.advertised.as_deref().unwrap_or("–")) }
                        td { (if listener.tls { "yes" } else { "no" }) } td { (listener.authentication) }
                    }
                } } }
            }
        }
        div .wide tabindex="0" role="region" aria-label="Services" {
            table {
                caption { "Services" }
                thead { tr { @for name in ["Service", "type", "cluster IP", "node ports", "published"] { th scope="col" { (name) } } } }
                tbody { @for service in &report.services {
                    tr {
                        th scope="row" { (service.service) }
                        td { (service.r#type) } td { (service.cluster_ip.as_deref().unwrap_or("–")) }
                        td { @for (name, port) in &service.node_ports { (name) " " (port) " " } }
                        td { (service.ingress.join(", ")) }
                    }
                } }
            }
        }
    };
    Some(Section { id: "cluster", title: "Cluster", content })
}
