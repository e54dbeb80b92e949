//! `hopwise probe` for people: how it ended, who took it out of whom, what each hop did, and why it ended so.

use std::fmt::Write as _;

use super::check::{Hop, Outcome};
use super::check_text::write_finding;
use super::paper::{Paper, Tone};
use super::probe::Probe;
use super::units::{count, time};
use crate::probe::Transport;

/// The probe as text.
pub fn probe_text(probe: &Probe, paper: Paper) -> String {
    let mut out = String::new();
    verdict(&mut out, probe, paper);
    servers(&mut out, probe, paper);
    hops(&mut out, probe, paper);
    for finding in &probe.findings {
        write_finding(&mut out, finding, &[], paper);
    }
    out
}

fn verdict(out: &mut String, probe: &Probe, paper: Paper) {
    let report = &probe.report;
    let (word, tone) = match report.outcome {
        Outcome::Ok => ("OK", Tone::Good),
        outcome => (outcome.as_str(), Tone::Bad),
    };
    let resolved = match probe.addresses.as_slice() {
        [only] if probe.to.contains(only.as_str()) => String::new(),
        [] => String::new(),
        addresses => format!(" ({})", addresses.join(", ")),
    };
    let _ = writeln!(
        out,
        "{}  {} -> {}{resolved} by {}",
        paper.paint(word, tone),
        probe.from,
        probe.to,
        probe.transport.as_str().to_uppercase(),
    );
    if !probe.said.is_empty() {
        paper.paragraph(out, "    ", &probe.said);
    }
    let tries: u64 = probe.outcomes.values().sum();
    if tries > 1 {
        let each: Vec<String> =
            probe.outcomes.iter().map(|(word, number)| format!("{number} {word}")).collect();
        let tries = count(usize::try_from(tries).unwrap_or(usize::MAX), "connection");
        paper.paragraph(out, "    ", &format!("{tries}: {}", each.join(", ")));
    }
    if let Some(connect) = report.connect_ns.filter(|_| report.outcome == Outcome::Ok) {
        let what = match probe.transport {
            Transport::Tcp => "connected",
            Transport::Udp => "answered",
        };
        let _ = writeln!(out, "    {what} in {}", time(connect));
    }
    if let Some(source) = &report.source_seen {
        let whose = if report.masqueraded { "not the client's own" } else { "the client's own" };
        let ttl = report.ttl_seen.map(|ttl| format!(", time to live {ttl}")).unwrap_or_default();
        let _ = writeln!(out, "    the server sees {source} ({whose}{ttl})");
    }
}

fn servers(out: &mut String, probe: &Probe, paper: Paper) {
    let report = &probe.report;
    if report.candidates.is_empty() && report.served_by.is_empty() {
        return;
    }
    paper.heading(out, "Who could be chosen, and who served");
    let others = report.served_by.keys().filter(|server| !report.candidates.contains(server));
    for pod in report.candidates.iter().chain(others) {
        let served = report.served_by.get(pod).copied().unwrap_or(0);
        let served = match served {
            0 => "-".to_owned(),
            served => count(usize::try_from(served).unwrap_or(usize::MAX), "connection"),
        };
        let _ = writeln!(out, "  {pod}  {served}");
    }
}

fn hops(out: &mut String, probe: &Probe, paper: Paper) {
    let hops = &probe.report.hops;
    let Some(first) = hops.first() else { return };
    paper.heading(out, "The way of the first packet");
    for (index, hop) in hops.iter().enumerate() {
        let at = time(hop.at_ns.saturating_sub(first.at_ns));
        let before = index.checked_sub(1).and_then(|before| hops.get(before));
        let text = format!("{}: {}", hop.device, what(probe, before, hop));
        paper.paragraph(out, &format!("  {at:>10}  "), &text);
    }
}

/// What a hop did to the packet, in words.
fn what(probe: &Probe, before: Option<&Hop>, hop: &Hop) -> String {
    let why = hop.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let (was_from, was_to) = before.map_or(("", ""), |before| (before.src.as_str(), before.dst.as_str()));
    match hop.action.as_str() {
        "sent" => match probe.transport {
            Transport::Tcp => format!("opens a connection from {} to {}", hop.src, hop.dst),
            Transport::Udp => format!("sends a datagram from {} to {}", hop.src, hop.dst),
        },
        "forwarded" => "forwards it by its routes; the time to live goes down by one".to_owned(),
        "switched" => "passes it on within its network, unchanged".to_owned(),
        "dnat" => format!("rewrites the destination {was_to} to {}{why}", hop.dst),
        "snat" => format!("rewrites the source {was_from} to {}{why}", hop.src),
        "dnat+snat" => format!(
            "rewrites the destination {was_to} to {} and the source {was_from} to {}{why}",
            hop.dst, hop.src
        ),
        "proxied" => format!("takes the connection as its end and opens another one{why}"),
        "delivered" => format!("a socket on {} takes it, from {}", hop.dst, hop.src),
        "dropped" => format!("DROPS it: no answer is sent{why}"),
        "rejected" => format!("REJECTS it: an error is sent back at once{why}"),
        "lost" => format!("the link loses it{why}"),
        other => format!("{other} {} -> {}{why}", hop.src, hop.dst),
    }
}

#[cfg(test)]
mod tests;
