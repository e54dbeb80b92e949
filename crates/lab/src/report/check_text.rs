//! `hopwise check` for people: the verdict, what is wrong, then every route and its hops.

use std::fmt::Write as _;

use comfy_table::Cell;

use super::check::{Broker, CheckReport, Hop, Outcome, Route, Service, Verdict};
use super::paper::{Paper, Tone, cell};
use super::units::{count, time_or_dash};
use crate::findings::{Finding, Severity};

/// The report as text.
pub fn check_text(report: &CheckReport, paper: Paper) -> String {
    let mut out = String::new();
    verdict(&mut out, report, paper);
    for finding in &report.findings {
        write_finding(&mut out, finding, &report.routes, paper);
    }
    brokers(&mut out, report, paper);
    routes(&mut out, report, paper);
    hops(&mut out, report, paper);
    services(&mut out, report, paper);
    pods(&mut out, report, paper);
    out
}

fn verdict(out: &mut String, report: &CheckReport, paper: Paper) {
    let (word, tone) = match report.verdict {
        Verdict::Pass => ("PASS", Tone::Good),
        Verdict::Fail => ("FAIL", Tone::Bad),
    };
    let ok = report.routes.iter().filter(|route| route.outcome == Outcome::Ok).count();
    let of = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    let _ = writeln!(
        out,
        "{}  {ok} of {} work; {}, {}, {}",
        paper.paint(word, tone),
        count(report.routes.len(), "route"),
        count(of(Severity::Error), "error"),
        count(of(Severity::Warning), "warning"),
        count(of(Severity::Note), "note"),
    );
}

/// A finding: what and where, why, what to change, and which routes it explains.
pub(super) fn write_finding(out: &mut String, finding: &Finding, routes: &[Route], paper: Paper) {
    let tone = match finding.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Doubtful,
        Severity::Note => Tone::Quiet,
    };
    let head = format!("{} {}", finding.severity.as_str(), finding.code);
    let _ = writeln!(out, "\n{}: {}", paper.paint(&head, tone), paper.paint(&finding.title, Tone::Strong));
    let mut place = finding.object.clone();
    if let Some(field) = &finding.field {
        let _ = write!(place, ", {field}");
    }
    match (&finding.file, finding.line) {
        (Some(file), Some(line)) => paper.paragraph(out, "   at: ", &format!("{file}:{line} ({place})")),
        (Some(file), None) => paper.paragraph(out, "   at: ", &format!("{file} ({place})")),
        (None, _) => paper.paragraph(out, "   at: ", &place),
    }
    paper.paragraph(out, "  why: ", &finding.explanation);
    paper.paragraph(out, "  fix: ", &finding.fix);
    if !finding.routes.is_empty() {
        let explained: Vec<String> = finding
            .routes
            .iter()
            .filter_map(|index| Some((index, routes.get(*index)?)))
            .map(|(index, route)| format!("#{index} {}", title(route)))
            .collect();
        const SHOWN: usize = 3;
        let mut text = explained[..explained.len().min(SHOWN)].join("; ");
        if explained.len() > SHOWN {
            let _ = write!(text, " and {} more", explained.len() - SHOWN);
        }
        paper.paragraph(out, "  for: ", &text);
    }
}

/// `external -> broker 0, kafka listener default (10.0.0.10:31092)`.
fn title(route: &Route) -> String {
    format!(
        "{} -> broker {}, {} listener {} ({})",
        route.from,
        route.broker,
        route.api.as_str(),
        route.listener,
        route.address
    )
}

fn brokers(out: &mut String, report: &CheckReport, paper: Paper) {
    if report.brokers.is_empty() {
        return;
    }
    paper.heading(out, "Brokers");
    let row = |broker: &Broker| {
        let advertised: Vec<String> = broker
            .listeners
            .iter()
            .filter_map(|listener| {
                let address = listener.advertised.as_ref()?;
                Some(format!("{} {}: {address}", listener.api.as_str(), listener.name))
            })
            .collect();
        let node = match (&broker.node, &broker.node_address) {
            (Some(node), Some(address)) => format!("{node} ({address})"),
            (Some(node), None) => node.clone(),
            (None, _) => "-".to_owned(),
        };
        [broker.id.to_string(), broker.pod.clone(), node, broker.volumes.join("\n"), advertised.join("\n")]
            .into_iter()
            .map(Cell::new)
            .collect()
    };
    let rows = report.brokers.iter().map(row).collect();
    paper.table(out, &["id", "pod", "node", "volumes", "advertised"], &[0], rows);
}

fn routes(out: &mut String, report: &CheckReport, paper: Paper) {
    if report.routes.is_empty() {
        return;
    }
    paper.heading(out, "Routes");
    let row = |(index, route): (usize, &Route)| {
        let tone = match route.outcome {
            Outcome::Ok => Tone::Good,
            Outcome::NotExposed => Tone::Quiet,
            _ => Tone::Bad,
        };
        let between = route.hops.iter().filter(|hop| hop.is_between()).count();
        vec![
            Cell::new(index),
            Cell::new(&route.from),
            Cell::new(format!("{} {}", route.api.as_str(), route.listener)),
            Cell::new(route.broker),
            Cell::new(&route.address),
            cell(route.outcome.as_str(), tone),
            Cell::new(between),
            Cell::new(time_or_dash(route.connect_ns)),
            Cell::new(time_or_dash(route.request_ns)),
        ]
    };
    let rows = report.routes.iter().enumerate().map(row).collect();
    let header = ["#", "from", "listener", "broker", "address", "outcome", "hops", "connect", "request"];
    paper.table(out, &header, &[0, 3, 6, 7, 8], rows);
}

/// One way of each kind (place, listener, outcome), device by device.
fn hops(out: &mut String, report: &CheckReport, paper: Paper) {
    let mut shown: Vec<(&Route, usize)> = Vec::new();
    for (index, route) in report.routes.iter().enumerate().filter(|(_, route)| !route.hops.is_empty()) {
        let alike = |(known, _): &(&Route, usize)| {
            known.from == route.from
                && known.api == route.api
                && known.listener == route.listener
                && known.outcome == route.outcome
        };
        if !shown.iter().any(alike) {
            shown.push((route, index));
        }
    }
    if shown.is_empty() {
        return;
    }
    paper.heading(out, "Ways (one for each place, listener and outcome)");
    for (route, index) in shown {
        paper.paragraph(
            out,
            &format!("  #{index} "),
            &format!("{}: {}", title(route), route.outcome.as_str()),
        );
        write_hops(out, &route.hops, paper);
    }
}

/// The hops of one way, a line each, with the time since the first.
pub(super) fn write_hops(out: &mut String, hops: &[Hop], paper: Paper) {
    let start = hops.first().map_or(0, |hop| hop.at_ns);
    for hop in hops {
        let at = super::units::time(hop.at_ns.saturating_sub(start));
        let mut text = format!("{} {} {} -> {}", hop.device, hop.action, hop.src, hop.dst);
        if let Some(detail) = &hop.detail {
            let _ = write!(text, " ({detail})");
        }
        paper.paragraph(out, &format!("    {at:>10}  "), &text);
    }
}

fn services(out: &mut String, report: &CheckReport, paper: Paper) {
    if report.services.is_empty() {
        return;
    }
    paper.heading(out, "Services");
    let row = |service: &Service| {
        let ports: Vec<String> =
            service.node_ports.iter().map(|(name, port)| format!("{name} {port}")).collect();
        let ingress = if service.ingress.is_empty() { "-".to_owned() } else { service.ingress.join("\n") };
        let cluster_ip = service.cluster_ip.clone().unwrap_or_else(|| "-".to_owned());
        [service.service.clone(), service.r#type.clone(), cluster_ip, ports.join("\n"), ingress]
            .into_iter()
            .map(Cell::new)
            .collect()
    };
    let rows = report.services.iter().map(row).collect();
    paper.table(out, &["service", "type", "cluster IP", "node ports", "ingress"], &[], rows);
}

/// Only pods that are not well: the others are in the brokers' table.
fn pods(out: &mut String, report: &CheckReport, paper: Paper) {
    let unwell: Vec<Vec<Cell>> = report
        .pods
        .iter()
        .filter(|pod| !pod.ready)
        .map(|pod| {
            let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            let node = or_dash(&pod.node);
            vec![
                Cell::new(&pod.pod),
                cell(&pod.phase, Tone::Bad),
                Cell::new(node),
                Cell::new(or_dash(&pod.ip)),
                Cell::new(or_dash(&pod.reason)),
            ]
        })
        .collect();
    if !unwell.is_empty() {
        paper.heading(out, "Pods that are not ready");
        paper.table(out, &["pod", "phase", "node", "ip", "reason"], &[], unwell);
    }
}

#[cfg(test)]
mod tests;
