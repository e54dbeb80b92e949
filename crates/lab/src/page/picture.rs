//! The picture of the cluster with every route drawn on it, as SVG.

use maud::{Markup, html};

use super::layout::{Item, Kind, Layout, Rect};
use super::palette::category_class;
use super::ways::Way;
use crate::device::Role;
use crate::report::check::Hop;

/// The widest text of a box, in letters; longer ones lose their beginning, where names are alike.
const LETTERS: f64 = 6.9;

/// The picture; `colours` gives each way's category. The routes are numbered as the list beside it numbers them.
pub(super) fn picture(layout: &Layout, ways: &[Way], colours: &[usize]) -> Markup {
    let view = format!("0 0 {:.0} {:.0}", layout.width, layout.height);
    html! {
        svg #picture .picture viewBox=(view) role="group" aria-labelledby="picture-title picture-about" {
            title #picture-title { "The cluster and the selected route" }
            desc #picture-about { "Clients, the internet, load balancers, zones, nodes, pods and volumes. The list of routes selects; the table of hops tells what is drawn." }
            defs {
                marker #arrow viewBox="0 0 10 10" refX="8" refY="5" markerWidth="5" markerHeight="5" orient="auto-start-reverse" {
                    path d="M0 0 L10 5 L0 10 z" {}
                }
            }
            g .standing aria-hidden="true" { @for item in &layout.items { (stands(item)) } }
            g .routes { @for (index, way) in ways.iter().enumerate() { (route(layout, way, index, colours[index])) } }
            g .words aria-hidden="true" { @for item in &layout.items { (words(item)) } }
        }
    }
}

/// The box of an item.
fn stands(item: &Item) -> Markup {
    let Rect { x, y, width, height } = item.at;
    let radius = match item.kind {
        Kind::Internet => 18,
        Kind::Switch | Kind::Edge | Kind::Balancer => 10,
        _ => 8,
    };
    html! {
        g class=(class(item.kind)) {
            title { (item.title) @if !item.below.is_empty() { ", " (item.below) } }
            @if item.kind == Kind::Volume {
                // A disk from the side.
                path d=(cylinder(item.at)) {}
            } @else {
                rect x=(num(x)) y=(num(y)) width=(num(width)) height=(num(height)) rx=(radius) {}
                @if let Some(sign) = sign(item.kind) {
                    path .sign d=(sign) transform=(format!("translate({x:.1} {y:.1})")) {}
                }
            }
        }
    }
}

/// The words of an item, which lie above the lines of routes.
fn words(item: &Item) -> Markup {
    let Rect { x, y, width, height } = item.at;
    let indent = 16.0;
    let fits = |text: &str, scale: f64| {
        shortened(text, ((width - indent - 8.0) / (LETTERS * scale)).max(6.0) as usize)
    };
    html! {
        g class=(class(item.kind)) {
            @match item.kind {
                Kind::Volume => { text .small x=(num(x + 12.0)) y=(num(y + 14.0)) { (fits(&item.title, 0.8)) } }
                Kind::Switch | Kind::Edge | Kind::Balancer => {
                    text .middle .name x=(num(x + width / 2.0)) y=(num(y + height + 15.0)) { (shortened(&item.title, 26)) }
                    text .middle .small x=(num(x + width / 2.0)) y=(num(y + height + 30.0)) { (shortened(&item.below, 26)) }
                }
                Kind::Internet | Kind::Zone | Kind::Node => {
                    text x=(num(x + indent)) y=(num(y + 20.0)) {
                        tspan .name { (fits(&item.title, 0.6)) }
                        @if !item.below.is_empty() { tspan .small dx="8" { (item.below) } }
                    }
                }
                Kind::Client | Kind::Pod | Kind::Broker => {
                    text .name x=(num(x + indent)) y=(num(y + 19.0)) { (fits(&item.title, 1.0)) }
                    text .small x=(num(x + indent)) y=(num(y + 36.0)) { (fits(&item.below, 0.86)) }
                }
            }
        }
    }
}

fn class(kind: Kind) -> &'static str {
    match kind {
        Kind::Internet => "internet",
        Kind::Client => "client",
        Kind::Edge => "edge",
        Kind::Balancer => "balancer",
        Kind::Zone => "zone",
        Kind::Switch => "switch",
        Kind::Node => "node",
        Kind::Pod => "pod",
        Kind::Broker => "broker",
        Kind::Volume => "volume",
    }
}

/// What a device does, as a sign of 40 by 40: a fork, two ways past each other, four ways.
fn sign(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Balancer => Some("M9 20 H17 M17 20 C23 20 21 11 31 11 M17 20 H31 M17 20 C23 20 21 29 31 29"),
        Kind::Switch => Some("M10 15 H30 l-5 -4 M30 25 H10 l5 4"),
        Kind::Edge => Some(
            "M20 9 V31 M9 20 H31 M16 13 l4 -4 l4 4 M16 27 l4 4 l4 -4 M13 16 l-4 4 l4 4 M27 16 l4 4 l-4 4",
        ),
        _ => None,
    }
}

fn cylinder(at: Rect) -> String {
    let Rect { x, y, width, height } = at;
    let (right, bottom, bend) = (x + width, y + height, 5.0);
    format!(
        "M{x:.1} {y:.1} H{right:.1} C{0:.1} {y:.1} {0:.1} {bottom:.1} {right:.1} {bottom:.1} H{x:.1} C{1:.1} {bottom:.1} {1:.1} {y:.1} {x:.1} {y:.1} Z",
        right + bend,
        x - bend,
    )
}

/// A route: a line through the devices of its hops, and a number at each.
fn route(layout: &Layout, way: &Way, index: usize, colour: usize) -> Markup {
    let stops = stops(layout, &way.hops, index);
    if stops.len() < 2 {
        return html! {};
    }
    let line = curve(&stops);
    let label = format!("Route {}: {} to {}, {}", index + 1, way.client, way.to, way.outcome);
    let failed = way.failed;
    html! {
        g .route .failed[failed] .(category_class(colour)) data-route=(index) {
            title { (label) }
            // A wide line that cannot be seen is easier to hit.
            path .hit d=(line) {}
            path .line d=(line) marker-end=[(!failed).then_some("url(#arrow)")] {}
            g .stops aria-hidden="true" {
                @for (number, (x, y)) in stops.iter().enumerate() {
                    @if failed && number + 1 == stops.len() {
                        path .cross d=(format!("M{:.1} {:.1} l14 14 m0 -14 l-14 14", x - 7.0, y - 7.0)) {}
                    } @else {
                        circle cx=(num(*x)) cy=(num(*y)) r="8.5" {}
                        text .middle x=(num(*x)) y=(num(y + 3.5)) { (number + 1) }
                    }
                }
            }
        }
    }
}

/// Where a path passes; what passes a device a second time does so a little beside.
fn stops(layout: &Layout, hops: &[Hop], index: usize) -> Vec<(f64, f64)> {
    let mut passed: Vec<&str> = Vec::new();
    let lane = (index % 5) as f64 * 3.0 - 6.0;
    let mut stops = Vec::new();
    for hop in hops {
        let device = hop.device.as_str();
        let role = Role::of(device);
        // One place stands for all clients outside, and for all switches where there are no zones.
        let shared = match role {
            Role::Client => layout.anchors.get("external"),
            Role::Switch => layout.anchors.get("switch"),
            _ => None,
        };
        let Some((x, y)) = layout.anchors.get(device).or(shared) else { continue };
        let again = passed.iter().filter(|before| **before == device).count() as f64;
        passed.push(device);
        // Lines to pods end on their edge.
        let lane = if role == Role::Pod { lane * 0.2 } else { lane };
        stops.push((x + again * 20.0, y + lane + again * 6.0));
    }
    stops
}

/// A smooth line through the stops: level where it passes from left to right, a bow where it goes up or down.
fn curve(stops: &[(f64, f64)]) -> String {
    let (x, y) = stops[0];
    let mut line = format!("M{x:.1} {y:.1}");
    for pair in stops.windows(2) {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        let away = x1 - x0;
        let (a, b) = if away.abs() < 30.0 {
            let bow = ((y1 - y0).abs() * 0.35).clamp(18.0, 60.0);
            (x0.min(x1) - bow, x0.min(x1) - bow)
        } else {
            (x0 + away / 2.0, x1 - away / 2.0)
        };
        line.push_str(&format!(" C{a:.1} {y0:.1} {b:.1} {y1:.1} {x1:.1} {y1:.1}"));
    }
    line
}

fn shortened(text: &str, letters: usize) -> String {
    let count = text.chars().count();
    if count <= letters {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(count + 1 - letters.max(2)).collect();
    format!("…{kept}")
}

fn num(value: f64) -> String {
    format!("{value:.1}")
}
