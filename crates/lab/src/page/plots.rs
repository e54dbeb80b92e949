//! The plots of a page, drawn by plotters as SVG.
//!
//! Each is a picture of numbers that stand in a table beside it, so that nothing is lost where a plot cannot be seen.

use plotters::chart::MeshStyle;
use plotters::coord::ranged1d::{SegmentValue, SegmentedCoord, ValueFormatter};
use plotters::coord::types::{RangedCoordf64, RangedCoordi32};
use plotters::prelude::*;

use super::legs::{Leg, Stack};
use super::palette::{Tone, category};
use super::timeline::{Lane, Load, Timeline};

const FONT: &str = "sans-serif";
const WIDTH: u32 = 1080;
/// Beside the bars and lanes: their names.
const LABELS: u32 = 190;
const BAR_HEIGHT: u32 = 36;
const LANE_HEIGHT: u32 = 28;
const LOAD_HEIGHT: u32 = 92;
const AXIS_HEIGHT: u32 = 44;
const PANEL_HEIGHT: u32 = 190;
/// Panels of distributions beside each other.
const PANELS: usize = 3;
/// Bars of one histogram.
const BINS: usize = 36;

/// Times of one way, to be drawn as a histogram.
pub(super) struct Distribution {
    /// Whose.
    pub label: String,
    /// Its category of colour.
    pub colour: usize,
    /// In nanoseconds, sorted; not empty.
    pub times: Vec<u64>,
}

/// Bars one below the other, of the same scale, each made of its legs. `shown` chooses legs; `legs` gives the colours.
pub(super) fn stacked(stacks: &[Stack], legs: &[String], shown: impl Fn(Leg) -> bool) -> Option<String> {
    let shares = |stack: &Stack| -> Vec<(usize, bool, f64)> {
        let shown = stack.legs.iter().filter(|share| shown(share.leg));
        let colour = |leg: Leg| legs.iter().position(|words| *words == leg.words()).unwrap_or(0);
        shown.map(|share| (colour(share.leg), share.back, share.mean_ns)).collect()
    };
    let longest =
        stacks.iter().map(|stack| shares(stack).iter().map(|(.., ns)| ns).sum::<f64>()).fold(0.0, f64::max);
    if longest <= 0.0 {
        return None;
    }
    let (scale, unit) = unit_of(longest);
    let rows = i32::try_from(stacks.len()).ok()?;
    let height = BAR_HEIGHT * u32::try_from(rows.max(2)).ok()? + AXIS_HEIGHT + 8;
    draw(height, |root| {
        let mut chart = ChartBuilder::on(root)
            .margin_right(24)
            .margin_top(4)
            .x_label_area_size(AXIS_HEIGHT)
            .y_label_area_size(LABELS)
            .build_cartesian_2d(0.0..longest / scale * 1.02, segments(rows))
            .ok()?;
        let name = |row: &SegmentValue<i32>| match row {
            SegmentValue::CenterOf(row) => stacks
                .get(usize::try_from(rows - 1 - row).unwrap_or(usize::MAX))
                .map_or(String::new(), |it| it.label.clone()),
            _ => String::new(),
        };
        let mut mesh = chart.configure_mesh();
        mesh.disable_y_mesh()
            .y_labels(stacks.len())
            .y_label_formatter(&name)
            .x_desc(format!("mean time, {unit}"))
            .axis_style(Tone::Grid.rgb())
            .bold_line_style(Tone::Grid.rgb())
            .light_line_style(TRANSPARENT)
            .label_style((FONT, 13).into_font().color(&Tone::Ink.rgb()))
            .axis_desc_style((FONT, 12).into_font().color(&Tone::Faint.rgb()));
        mesh.draw().ok()?;
        for (index, stack) in stacks.iter().enumerate() {
            let row = rows - 1 - i32::try_from(index).ok()?;
            let mut from = 0.0;
            for (colour, back, ns) in shares(stack) {
                let to = from + ns / scale;
                let ends = [(from, SegmentValue::Exact(row)), (to, SegmentValue::Exact(row + 1))];
                let paint = if back { category(colour).mix(0.6) } else { category(colour).to_rgba() };
                let mut bar = Rectangle::new(ends, paint.filled());
                bar.set_margin(5, 5, 0, 0);
                chart.draw_series(std::iter::once(bar)).ok()?;
                from = to;
            }
        }
        Some(())
    })
}

/// Histograms beside each other, each with a scale of its own: they show shapes, and their medians are marked.
pub(super) fn distributions(panels: &[Distribution]) -> Option<String> {
    let rows = panels.len().div_ceil(PANELS);
    draw(PANEL_HEIGHT * u32::try_from(rows).ok()?, |root| {
        let areas = root.split_evenly((rows, PANELS));
        for (area, panel) in areas.iter().zip(panels) {
            histogram(area, panel)?;
        }
        Some(())
    })
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn histogram(area: &Area<'_>, panel: &Distribution) -> Option<()> {
    let (first, last) = (*panel.times.first()? as f64, *panel.times.last()? as f64);
    // Times that are all the same still take some room.
    let spread = (last - first).max(first * 0.02).max(1.0);
    let (low, width) = ((first - spread * 0.02).max(0.0), spread * 1.04 / BINS as f64);
    let mut counts = [0_u32; BINS];
    for time in &panel.times {
        counts[(((*time as f64 - low) / width) as usize).min(BINS - 1)] += 1;
    }
    let most = f64::from(counts.iter().copied().max()?);
    let (scale, unit) = unit_of(last);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(&panel.label, (FONT, 14).into_font().color(&Tone::Ink.rgb()))
        .x_label_area_size(AXIS_HEIGHT - 4)
        .y_label_area_size(38)
        .build_cartesian_2d(low / scale..(low + width * BINS as f64) / scale, 0.0..most * 1.1)
        .ok()?;
    // Where all times are near each other, whole steps of a few digits would all look the same.
    let digits = ((scale / width).log10().ceil().max(0.0) as usize).saturating_sub(1).min(4);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(4)
        .y_labels(4)
        .x_label_formatter(&|time| format!("{time:.digits$}"))
        .y_label_formatter(&|count| format!("{count:.0}"))
        .x_desc(unit)
        .axis_style(Tone::Grid.rgb())
        .bold_line_style(Tone::Grid.rgb())
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 12).into_font().color(&Tone::Faint.rgb()))
        .draw()
        .ok()?;
    let bars = counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, count)| {
        let from = (low + width * bin as f64) / scale;
        let ends = [(from, 0.0), (from + width * 0.9 / scale, f64::from(*count))];
        Rectangle::new(ends, category(panel.colour).filled())
    });
    chart.draw_series(bars).ok()?;
    let median = crate::latency::nearest_rank(&panel.times, 500)? as f64 / scale;
    let line = PathElement::new([(median, 0.0), (median, most * 1.1)], Tone::Ink.rgb().stroke_width(1));
    chart.draw_series(std::iter::once(line)).ok()?;
    Some(())
}

/// Lanes of what happened, over what each client's requests came to.
pub(super) fn timeline(timeline: &Timeline) -> Option<String> {
    let lanes = u32::try_from(timeline.lanes.len()).ok()?;
    let loads = u32::try_from(timeline.loads.len()).ok()?;
    let lanes_height = lanes * LANE_HEIGHT + 12;
    draw(lanes_height + loads * LOAD_HEIGHT + AXIS_HEIGHT, |root| {
        let (upper, mut rest) = root.split_vertically(lanes_height);
        draw_lanes(&upper, timeline, loads == 0)?;
        for (index, load) in timeline.loads.iter().enumerate() {
            let is_last = index + 1 == timeline.loads.len();
            let height = LOAD_HEIGHT + if is_last { AXIS_HEIGHT } else { 0 };
            let (area, below) = rest.split_vertically(height);
            draw_load(&area, timeline, load, is_last)?;
            rest = below;
        }
        Some(())
    })
}

fn draw_lanes(area: &Area<'_>, timeline: &Timeline, with_axis: bool) -> Option<()> {
    let rows = i32::try_from(timeline.lanes.len()).ok()?;
    let mut chart = ChartBuilder::on(area)
        .margin_right(24)
        .margin_top(4)
        .x_label_area_size(if with_axis { AXIS_HEIGHT } else { 0 })
        .y_label_area_size(LABELS)
        .build_cartesian_2d(timeline.from_s..timeline.to_s, segments(rows))
        .ok()?;
    let lane = |row: i32| timeline.lanes.get(usize::try_from(rows - 1 - row).unwrap_or(usize::MAX));
    let name = |row: &SegmentValue<i32>| match row {
        SegmentValue::CenterOf(row) => lane(*row).map_or(String::new(), |lane| lane.name.to_owned()),
        _ => String::new(),
    };
    axes(&mut chart.configure_mesh()).y_labels(timeline.lanes.len()).y_label_formatter(&name).draw().ok()?;
    for (index, Lane { marks, .. }) in timeline.lanes.iter().enumerate() {
        let row = rows - 1 - i32::try_from(index).ok()?;
        for mark in marks {
            let colour = if mark.bad { Tone::Bad.rgb() } else { category(index + 1) };
            if mark.to_s > mark.at_s {
                let ends = [(mark.at_s, SegmentValue::Exact(row)), (mark.to_s, SegmentValue::Exact(row + 1))];
                let mut bar = Rectangle::new(ends, colour.mix(0.35).filled());
                bar.set_margin(7, 7, 0, 0);
                chart.draw_series(std::iter::once(bar)).ok()?;
            }
            let dot = Circle::new((mark.at_s, SegmentValue::CenterOf(row)), 5, colour.filled());
            chart.draw_series(std::iter::once(dot)).ok()?;
        }
    }
    Some(())
}

fn draw_load(area: &Area<'_>, timeline: &Timeline, load: &Load, with_axis: bool) -> Option<()> {
    let most = load.bins.iter().map(|(well, failed)| well + failed).max()?.max(1);
    let per_s = 1.0 / timeline.bin_s;
    let mut chart = ChartBuilder::on(area)
        .margin_right(24)
        .margin_top(10)
        .x_label_area_size(if with_axis { AXIS_HEIGHT } else { 0 })
        .y_label_area_size(LABELS)
        .build_cartesian_2d(timeline.from_s..timeline.to_s, 0.0..f64::from(most) * per_s * 1.08)
        .ok()?;
    let mut mesh = chart.configure_mesh();
    axes(&mut mesh)
        .y_labels(3)
        .y_label_formatter(&|rate| format!("{rate:.0}/s"))
        .x_desc(if with_axis { "seconds since the workload began" } else { "" })
        .axis_desc_style((FONT, 12).into_font().color(&Tone::Faint.rgb()))
        .draw()
        .ok()?;
    let bars = load.bins.iter().enumerate().flat_map(|(bin, (well, failed))| {
        let from = timeline.from_s + timeline.bin_s * bin as f64;
        let to = from + timeline.bin_s * 0.92;
        let (well, all) = (f64::from(*well) * per_s, f64::from(well + failed) * per_s);
        let well =
            (well > 0.0).then(|| Rectangle::new([(from, 0.0), (to, well)], category(load.colour).filled()));
        let failed = (*failed > 0).then(|| {
            let from_y = all - f64::from(*failed) * per_s;
            Rectangle::new([(from, from_y), (to, all)], Tone::Bad.rgb().filled())
        });
        well.into_iter().chain(failed)
    });
    chart.draw_series(bars).ok()?;
    let (left, top) = (18, 10);
    let style = (FONT, 13).into_font().color(&Tone::Ink.rgb());
    area.draw(&Text::new(load.name.clone(), (left, top), style)).ok()?;
    Some(())
}

/// So many rows, the first one at the bottom. Plotters knows no axis of a single segment, so that one row has room for two.
fn segments(rows: i32) -> SegmentedCoord<RangedCoordi32> {
    (0..(rows - 1).max(1)).into_segmented()
}

/// The look that all plots over time share.
fn axes<'m, 'a, 'b, 'c, Y>(
    mesh: &'m mut MeshStyle<'a, 'b, RangedCoordf64, Y, SVGBackend<'c>>,
) -> &'m mut MeshStyle<'a, 'b, RangedCoordf64, Y, SVGBackend<'c>>
where
    Y: Ranged + ValueFormatter<Y::ValueType>,
{
    mesh.x_labels(12)
        .axis_style(Tone::Grid.rgb())
        .bold_line_style(Tone::Grid.rgb())
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 12).into_font().color(&Tone::Faint.rgb()))
}

/// What `paint` paints, as SVG.
fn draw(height: u32, paint: impl FnOnce(&Area<'_>) -> Option<()>) -> Option<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        paint(&root)?;
        root.present().ok()?;
    }
    Some(svg)
}

/// The unit for times of this size: nanoseconds in one, and its name.
fn unit_of(nanoseconds: f64) -> (f64, &'static str) {
    match nanoseconds {
        ns if ns < 1e3 => (1.0, "ns"),
        ns if ns < 1e6 => (1e3, "µs"),
        ns if ns < 1e9 => (1e6, "ms"),
        _ => (1e9, "s"),
    }
}
