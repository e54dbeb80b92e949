//! The routes: the picture, the list that selects one, and every hop of the selected one.

use maud::{Markup, html};

use super::Section;
use super::layout;
use super::palette::category_class;
use super::picture::picture;
use super::ways::{WAYS_MAX, Way};
use crate::recording::Topology;
use crate::report::check::Hop;
use crate::report::units::{count, time};

/// The routes; `clients` gives each client the category of its colour.
pub(super) fn section(topology: &Topology, mut ways: Vec<Way>, clients: &[&str]) -> Option<Section> {
    if ways.is_empty() && topology.nodes.is_empty() {
        return None;
    }
    let left_out = ways.len().saturating_sub(WAYS_MAX);
    ways.truncate(WAYS_MAX);
    let layout = layout::of(topology, &ways);
    let colour = |way: &Way| clients.iter().position(|client| *client == way.client).unwrap_or(0);
    let colours: Vec<usize> = ways.iter().map(colour).collect();
    let failed = ways.iter().filter(|way| way.failed).count();
    // What fails comes first; if nothing does, the longest way shows the most.
    let selected = if failed > 0 { 0 } else { longest(&ways) };
    let content = html! {
        p .lead {
            "Choose a route to see it on the picture, and what each hop did to the packet. "
            @match failed {
                0 => "All of them work.",
                _ => { (failed) " of " (ways.len()) " failed." }
            }
            @if left_out > 0 { " " (count(left_out, "route")) " more that work are left out." }
            @if layout.left_out > 0 { " " (count(layout.left_out, "node")) " without a part are not drawn." }
        }
        div .canvas tabindex="0" role="region" aria-label="Picture of the cluster" { (picture(&layout, &ways, &colours)) }
        @if !ways.is_empty() {
            div .chooser {
                fieldset .list {
                    legend { "Routes" }
                    @if failed > 0 && failed < ways.len() {
                        label .filter { input #only-failed type="checkbox"; " only those that fail" }
                    }
                    div .scroll {
                        @for (index, way) in ways.iter().enumerate() { (entry(way, index, colours[index], index == selected)) }
                    }
                }
                div .detail {
                    @for (index, way) in ways.iter().enumerate() { (detail(way, index, index == selected)) }
                }
            }
        }
    };
    Some(Section { id: "routes", title: "Routes", content })
}

fn longest(ways: &[Way]) -> usize {
    let longest = ways.iter().enumerate().rev().max_by_key(|(_, way)| way.hops.len());
    longest.map_or(0, |(index, _)| index)
}

fn entry(way: &Way, index: usize, colour: usize, selected: bool) -> Markup {
    html! {
        label .way .failed[way.failed] .(category_class(colour)) {
            input type="radio" name="route" value=(index) checked[selected];
            span .swatch aria-hidden="true" {}
            span .names {
                span .from { (way.client) " → " (way.to) }
                span .address { (breakable(&way.address)) }
            }
            span .outcome { (way.outcome) }
        }
    }
}

fn detail(way: &Way, index: usize, selected: bool) -> Markup {
    html! {
        article .hops .failed[way.failed] data-detail=(index) hidden[!selected] aria-label=(format!("Route {}", index + 1)) {
            h3 { (way.client) " → " (way.to) " " span .outcome { (way.outcome) } }
            p .address { (way.address) }
            @for reason in &way.reasons {
                div .reason {
                    p { strong { (reason.title) } }
                    p { (reason.explanation) }
                    @if let Some(fix) = &reason.fix { p { strong { "Fix: " } (fix) } }
                }
            }
            @if !way.facts.is_empty() {
                dl .facts { @for (name, value) in &way.facts { div { dt { (name) } dd { (value) } } } }
            }
            @if way.hops.is_empty() {
                p { "No packet of it was followed: it ended before one was sent, or on a connection that was open." }
            } @else {
                (hops("There", &way.hops))
                @if !way.reply.is_empty() { (hops("And back", &way.reply)) }
            }
        }
    }
}

fn hops(caption: &str, hops: &[Hop]) -> Markup {
    let first = hops.first().map_or(0, |hop| hop.at_ns);
    html! {
        div .wide tabindex="0" role="region" aria-label=(format!("{caption}, hop by hop")) {
            table {
                caption { (caption) }
                thead { tr {
                    th scope="col" { "#" } th scope="col" { "device" } th scope="col" { "what it did" }
                    th scope="col" { "source" } th scope="col" { "destination" } th scope="col" .number { "after" }
                } }
                tbody {
                    @for (index, hop) in hops.iter().enumerate() {
                        @let before = index.checked_sub(1).map(|before| &hops[before]);
                        tr .ends[matches!(hop.action.as_str(), "dropped" | "rejected" | "lost")] {
                            td { (index + 1) }
                            th scope="row" { (hop.device) }
                            td { (did(&hop.action)) @if let Some(why) = &hop.detail { br; span .why { (why) } } }
                            td { (address(&hop.src, before.map(|before| &before.src))) }
                            td { (address(&hop.dst, before.map(|before| &before.dst))) }
                            td .number { (time(hop.at_ns.saturating_sub(first))) }
                        }
                    }
                }
            }
        }
    }
}

/// A name that may go on in the next line after each point.
fn breakable(name: &str) -> Markup {
    html! { @for part in name.split_inclusive('.') { (part) wbr; } }
}

/// An address, marked where this hop wrote another than the one before had.
fn address(address: &str, before: Option<&String>) -> Markup {
    html! {
        @if before.is_some_and(|before| before != address) { mark { (address) } } @else { (address) }
    }
}

/// What an action is, in words.
fn did(action: &str) -> &str {
    match action {
        "sent" => "sent it",
        "forwarded" => "forwarded it",
        "switched" => "passed it on",
        "dnat" => "rewrote its destination",
        "snat" => "rewrote its source",
        "dnat+snat" => "rewrote source and destination",
        "proxied" => "ended the connection and opened another",
        "delivered" => "took it",
        "dropped" => "dropped it without a word",
        "rejected" => "rejected it",
        "lost" => "lost it on the link",
        other => other,
    }
}
