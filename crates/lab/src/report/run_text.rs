//! `hopwise run` for people: the verdict, the checks, latency and cost per route, and how the routes compare.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::Cell;

use super::check::Verdict;
use super::check_text::{write_finding, write_hops};
use super::paper::{Paper, Tone, cell};
use super::routes::{Route, Routes};
use super::run::{Recovery, RunReport, Way};
use super::units::{count, dollars, quantity, time};
use crate::cost::CostItem;
use crate::latency::LatencyRow;

/// The operation that routes are compared by.
const COMPARED: &str = "produce";

/// Two routes side by side.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The route with the lower median.
    pub lower: String,
    /// The other.
    pub higher: String,
    /// One sentence per thing that differs, with numbers and the reason.
    pub reasons: Vec<String>,
}

/// The report as text.
pub fn run_text(report: &RunReport, paper: Paper) -> String {
    let mut out = String::new();
    verdict(&mut out, report, paper);
    checks(&mut out, report, paper);
    for finding in &report.findings {
        write_finding(&mut out, finding, &[], paper);
    }
    faults(&mut out, report);
    latency(&mut out, report, paper);
    clients(&mut out, report, paper);
    ways(&mut out, report, paper);
    bill(&mut out, report, paper);
    comparisons(&mut out, report, paper);
    events(&mut out, report, paper);
    out
}

/// Every pair of neighbours in the order of their medians, so that the chain from the lowest to the highest is told.
pub fn compare(report: &RunReport) -> Vec<Comparison> {
    let mut rows: Vec<&LatencyRow> = report.latency.iter().filter(|row| row.operation == COMPARED).collect();
    rows.sort_by(|a, b| (a.p50_ns, a.hops, &a.route).cmp(&(b.p50_ns, b.hops, &b.route)));
    let routes = Routes::of(report);
    rows.windows(2).map(|pair| compare_pair(&routes, pair[0], pair[1])).collect()
}

fn verdict(out: &mut String, report: &RunReport, paper: Paper) {
    let (word, tone) = match report.verdict {
        Verdict::Pass => ("PASS", Tone::Good),
        Verdict::Fail => ("FAIL", Tone::Bad),
    };
    let failed = report.checks.iter().filter(|check| !check.ok).count();
    let _ = writeln!(
        out,
        "{}  {} (seed {}): {} of {} hold",
        paper.paint(word, tone),
        report.scenario,
        report.seed,
        report.checks.len() - failed,
        count(report.checks.len(), "check"),
    );
    let routing = &report.routing;
    // A scenario without clients has no requests to tell of.
    let requests = match routing.requests {
        0 if report.latency.is_empty() => String::new(),
        requests => format!(
            "{}: {} to the leader, {} misrouted, {} retried, {} failed; metadata refreshed {} times. ",
            count(usize::try_from(requests).unwrap_or(usize::MAX), "request"),
            routing.to_leader,
            routing.misrouted,
            routing.retried,
            routing.failed,
            routing.metadata_refreshes,
        ),
    };
    let (simulated, wall) = (time(report.simulated_ns), time(report.wall_ns));
    let text = format!("{requests}{simulated} simulated in {wall}; trace {}.", report.trace_hash);
    paper.paragraph(out, "      ", &text);
}

fn checks(out: &mut String, report: &RunReport, paper: Paper) {
    if report.checks.is_empty() {
        return;
    }
    paper.heading(out, "Checks");
    // What failed comes first.
    for ok in [false, true] {
        for check in report.checks.iter().filter(|check| check.ok == ok) {
            let (mark, tone) = if ok { ("  ok   ", Tone::Good) } else { ("  FAIL ", Tone::Bad) };
            let mut text = String::new();
            paper.paragraph(&mut text, mark, &format!("{} ({})", check.name, check.detail));
            out.push_str(&text.replacen(mark, &paper.paint(mark, tone), 1));
        }
    }
}

/// The timeline, which the scenario file does not show where it is drawn from the seed.
fn faults(out: &mut String, report: &RunReport) {
    if report.faults.is_empty() {
        return;
    }
    out.push_str("\nFaults\n");
    for fault in &report.faults {
        let lasts = fault.for_ns.map_or_else(String::new, |lasts| format!(" for {}", time(lasts)));
        let _ = writeln!(out, "  {:>9}  {fault}{lasts}", time(fault.at_ns));
    }
}

fn latency(out: &mut String, report: &RunReport, paper: Paper) {
    if report.latency.is_empty() {
        return;
    }
    paper.heading(out, "Latency");
    let row = |row: &LatencyRow| {
        let times =
            [row.p50_ns, row.p90_ns, row.p99_ns, row.max_ns].map(|nanoseconds| Cell::new(time(nanoseconds)));
        let mut cells =
            vec![Cell::new(&row.route), Cell::new(&row.operation), Cell::new(row.count), Cell::new(row.hops)];
        cells.extend(times);
        cells
    };
    let rows = report.latency.iter().map(row).collect();
    let header = ["route", "operation", "count", "hops", "p50", "p90", "p99", "max"];
    paper.table(out, &header, &[2, 3, 4, 5, 6, 7], rows);
}

/// How each client came through the faults; nothing where there were none.
fn clients(out: &mut String, report: &RunReport, paper: Paper) {
    if report.clients.iter().all(|client| client.recoveries.is_empty()) {
        return;
    }
    paper.heading(out, "Clients (how long each took to recover from each fault)");
    let rows = report.clients.iter().map(|client| {
        let recoveries: Vec<String> = client.recoveries.iter().map(recovery).collect();
        let numbers = [client.misrouted, client.connections_opened, client.metadata_requests, client.retries];
        let words = [client.client.clone(), client.profile.clone(), recoveries.join("\n")];
        words.into_iter().map(Cell::new).chain(numbers.map(Cell::new)).collect()
    });
    let header = ["client", "profile", "recovered", "misrouted", "connections", "metadata", "retries"];
    paper.table(out, &header, &[3, 4, 5, 6], rows.collect());
}

fn recovery(recovery: &Recovery) -> String {
    let outcome = match recovery.recovered_ns {
        _ if recovery.failures == 0 => "not affected".to_owned(),
        Some(recovered) => time(recovered),
        None => "never".to_owned(),
    };
    format!("{}: {outcome}", recovery.fault)
}

fn ways(out: &mut String, report: &RunReport, paper: Paper) {
    if report.ways.is_empty() {
        return;
    }
    paper.heading(out, "Hops (one way of each route)");
    for way in &report.ways {
        paper.paragraph(out, "  ", &format!("{} -> {}", way.route, way.to));
        write_hops(out, &way.hops, paper);
    }
}

fn bill(out: &mut String, report: &RunReport, paper: Paper) {
    if report.cost.is_empty() {
        return;
    }
    paper.heading(out, "Cost per month");
    let mut rows = Vec::new();
    let mut sources = BTreeSet::new();
    for (name, route) in Routes::of(report).iter() {
        for item in &route.cost {
            sources.insert(format!("{}: {}", item.item, item.source));
            rows.push(vec![
                Cell::new(name),
                Cell::new(&item.item),
                Cell::new(format!("{} {}", quantity(item.quantity), item.unit)),
                Cell::new(dollars(item.usd_per_month)),
            ]);
        }
        let sum = Cell::new(dollars(route.pays()));
        rows.push(vec![Cell::new(name), cell("total", Tone::Strong), Cell::new(""), sum]);
    }
    paper.table(out, &["route", "item", "quantity", "per month"], &[2, 3], rows);
    for source in sources {
        paper.paragraph(out, "  price of ", &source);
    }
}

fn comparisons(out: &mut String, report: &RunReport, paper: Paper) {
    let comparisons = compare(report);
    if comparisons.is_empty() {
        return;
    }
    paper.heading(out, "Comparison");
    for comparison in comparisons {
        let _ = writeln!(out, "  {} is faster than {}:", comparison.lower, comparison.higher);
        for reason in &comparison.reasons {
            paper.paragraph(out, "    - ", reason);
        }
    }
}

fn events(out: &mut String, report: &RunReport, paper: Paper) {
    if report.events.is_empty() {
        return;
    }
    paper.heading(out, "Events");
    for event in &report.events {
        let text = format!("{} {} {}", event.kind, event.object, event.detail);
        paper.paragraph(out, &format!("  {:>10}  ", time(event.at_ns)), &text);
    }
}

fn compare_pair(routes: &Routes<'_>, lower: &LatencyRow, higher: &LatencyRow) -> Comparison {
    let (low, high) = (routes.get(&lower.route), routes.get(&higher.route));
    let mut reasons = vec![format!(
        "{COMPARED} takes {} against {} in the median ({} less), p99 {} against {}",
        time(lower.p50_ns),
        time(higher.p50_ns),
        time(higher.p50_ns - lower.p50_ns),
        time(lower.p99_ns),
        time(higher.p99_ns),
    )];
    reasons.push(format!("{} hops against {}{}", lower.hops, higher.hops, detour(&higher.route, low, high)));
    let (less, more) = (low.pays(), high.pays());
    if less != 0.0 || more != 0.0 {
        let verb = if less < more { "costs less" } else { "does not cost less" };
        let only = items_beyond(high, low);
        let because = if less < more && !only.is_empty() {
            format!("; {} also pays for {}", higher.route, only.join(", "))
        } else {
            String::new()
        };
        reasons.push(format!(
            "{} {verb}: {} against {} per month{because}",
            lower.route,
            dollars(less),
            dollars(more)
        ));
    }
    Comparison { lower: lower.route.clone(), higher: higher.route.clone(), reasons }
}

/// The devices that only the second route passes on the way to the same broker, as the end of a sentence.
fn detour(name: &str, lower: &Route<'_>, higher: &Route<'_>) -> String {
    let same = |low: &Way| higher.ways.iter().find(|high| reached(high) == reached(low));
    let pair = lower.ways.iter().find_map(|low| same(low).map(|high| (*low, *high)));
    let Some((low, high)) = pair.or_else(|| Some((*lower.ways.first()?, *higher.ways.first()?))) else {
        return String::new();
    };
    let passed = devices(low);
    let mut beyond: Vec<&str> = Vec::new();
    for device in devices(high) {
        if !passed.contains(&device) && !beyond.contains(&device) {
            beyond.push(device);
        }
    }
    if beyond.is_empty() { String::new() } else { format!("; only {name} passes {}", beyond.join(", ")) }
}

/// The device that takes the packets of a way.
fn reached(way: &Way) -> Option<&str> {
    way.hops.last().filter(|hop| hop.action == "delivered").map(|hop| hop.device.as_str())
}

/// The devices between the ends of a way.
fn devices(way: &Way) -> Vec<&str> {
    way.hops.iter().filter(|hop| hop.is_between()).map(|hop| hop.device.as_str()).collect()
}

/// What `route` pays for beyond `other`, with the difference.
fn items_beyond(route: &Route<'_>, other: &Route<'_>) -> Vec<String> {
    let beyond = |item: &&CostItem| {
        let difference = route.pays_for(&item.item) - other.pays_for(&item.item);
        (difference >= 0.005).then(|| format!("{} ({})", item.item, dollars(difference)))
    };
    route.cost.iter().filter_map(beyond).collect()
}

#[cfg(test)]
mod tests;
