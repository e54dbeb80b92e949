//! Faults drawn from the seed.
//!
//! `draw` in a scenario says how many faults, of which kinds, on which objects, when, and how long each lasts. From it,
//! the objects of the cluster and a source of choices follows an ordinary timeline: every fault with the time after which it is undone, so
//! that all is healed when the window ends. The seed's own stream is the source in a run ([`Scenario::drawn`]); it is no
//! other consumer's, so that a new kind of fault shifts nothing else.
//!
//! Faults on the same object never overlap, and none that is asked of the API server comes while that is stopped:
//! one would undo what the other has done, or could not be undone at its time. A fault that passes by itself (a
//! deleted pod comes back) counts as lasting as long as any other. A fault that finds no free place is drawn again, and left
//! out at last.

mod choices;
mod kinds;
mod target;

use std::num::NonZeroU16;

use hopwise_engine::Span;
use hopwise_engine::random::stream_of;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use choices::{Choices, Listed};
use kinds::Making;
pub use kinds::{DrawnKind, KINDS};
pub use target::{Stock, Target};

use super::problems::Problems;
use super::references::near;
use super::{Duration, Fault, FaultKind, Scenario};
use crate::inputs::Inputs;

/// The stream that a run draws its faults from.
const STREAM: &str = "scenario/draw";
/// Times are whole milliseconds, which people can read.
const STEP_NS: u64 = 1_000_000;
/// The most faults of one draw.
const FAULTS_MAX: u32 = 1_000;
/// How often a place on the timeline is drawn before the first free one is taken.
const TRIES: u32 = 32;
/// How often another fault is drawn instead of one that has no free place at all.
const REDRAWS: u32 = 16;

/// Faults to be drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Draw {
    /// How many.
    pub faults: u32,
    /// They strike, and are undone, between these two times.
    pub within: [Duration; 2],
    /// How long a fault lasts: between these two.
    pub lasts: [Duration; 2],
    /// The kinds; all that are drawn unasked and that the cluster has objects for if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Kinds that are not drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The objects; all that there are if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Target>,
    /// The TCP ports that `blockPort` blocks; all that brokers' containers declare if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<NonZeroU16>,
    /// The most faults that last at the same time; as many as come together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
}

/// A fault at its place on the timeline.
struct Placed {
    drawn: &'static DrawnKind,
    target: Target,
    /// What happens; decided once the place is.
    kind: Option<FaultKind>,
    start_ns: u64,
    end_ns: u64,
}

impl Scenario {
    /// The scenario with its drawn faults as ordinary ones, and with this seed. The same seed gives the same timeline;
    /// a scenario that draws none is as it was but for the seed.
    pub fn drawn(&self, inputs: &Inputs, seed: u64) -> Scenario {
        let mut scenario = Scenario { seed, ..self.clone() };
        if let Some(draw) = scenario.draw.take() {
            let mut choices = stream_of(seed, STREAM);
            scenario.faults.extend(draw.timeline(&Stock::of(inputs), &mut choices));
        }
        scenario
    }

    pub(super) fn check_draw(&self, problems: &mut Problems) {
        let Some(draw) = &self.draw else { return };
        let (what, expected) =
            (format!("{} faults are drawn", draw.faults), format!("from 1 to {FAULTS_MAX}"));
        problems.unless((1..=FAULTS_MAX).contains(&draw.faults), "draw.faults", &what, &expected);
        problems.unless(draw.at_once != Some(0), "draw.atOnce", "no fault may last", "at least 1");
        for (field, [from, to]) in [("draw.within", draw.within), ("draw.lasts", draw.lasts)] {
            let what = format!("{to} is less than {from}");
            problems.unless(from <= to, field, &what, "two times, the later one second");
        }
        let [from, to] = draw.within.map(Duration::span);
        let longest = draw.lasts[1].span();
        let room = to.as_nanos().saturating_sub(from.as_nanos());
        let rounds = u64::from(draw.at_once.map_or(1, |at_once| draw.faults.div_ceil(at_once.max(1))));
        let needed = longest.as_nanos().saturating_mul(rounds);
        let what =
            format!("{} faults of up to {} do not fit between {from} and {to}", draw.faults, draw.lasts[1]);
        let expected = format!("a window of at least {}", Duration(Span::from_nanos(needed)));
        problems.unless(needed <= room, "draw.within", &what, &expected);
        let what = format!("the window ends after the run at {}", self.bounds.run);
        problems.unless(
            draw.within[1] < self.bounds.run,
            "draw.within[1]",
            &what,
            "a time before bounds.run",
        );
    }

    pub(super) fn check_drawn_objects(&self, inputs: &Inputs, problems: &mut Problems) {
        let Some(draw) = &self.draw else { return };
        let stock = Stock::of(inputs);
        for (index, name) in draw.kinds.iter().enumerate() {
            let field = format!("draw.kinds[{index}]");
            let expected = near(name, KINDS.iter().map(|kind| kind.name));
            let Some(kind) = kinds::kind_called(name) else {
                problems.unless(false, &field, &format!("no fault called `{name}` can be drawn"), &expected);
                continue;
            };
            let what = format!("the cluster has nothing that `{name}` could hit");
            problems.unless(
                !(kind.targets)(&stock).is_empty(),
                &field,
                &what,
                "a kind that suits the cluster",
            );
        }
        for (index, name) in draw.except.iter().enumerate() {
            let what = format!("no fault called `{name}` can be drawn");
            let expected = near(name, KINDS.iter().map(|kind| kind.name));
            let known = kinds::kind_called(name).is_some();
            problems.unless(known, &format!("draw.except[{index}]"), &what, &expected);
        }
        for (index, port) in draw.ports.iter().enumerate() {
            let known = stock.ports();
            let expected = known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let what = format!("no broker's container declares TCP port {port}");
            problems.unless(known.contains(port), &format!("draw.ports[{index}]"), &what, &expected);
        }
        let all = stock.all();
        for (index, target) in draw.on.iter().enumerate() {
            let known: Vec<String> = all.iter().map(Target::to_string).collect();
            let expected = near(&target.to_string(), known.iter().map(String::as_str));
            let what = format!("there is no {target}");
            problems.unless(all.contains(target), &format!("draw.on[{index}]"), &what, &expected);
        }
        let suiting = draw.suiting(&stock);
        let what = "none of the kinds can hit any of the objects";
        problems.unless(!suiting.is_empty(), "draw", what, "kinds and objects that go together");
    }
}

impl Draw {
    /// The timeline that follows from the objects and the choices, by time.
    pub fn timeline(&self, stock: &Stock, choices: &mut dyn Choices) -> Vec<Fault> {
        let suiting = self.suiting(stock);
        let mut placed: Vec<Placed> = Vec::new();
        for _ in 0..self.faults {
            let fault = (0..REDRAWS).find_map(|_| self.place(&suiting, &placed, stock, choices));
            placed.extend(fault);
        }
        placed.sort_by_key(|fault| fault.start_ns);
        placed.iter().enumerate().filter_map(|(index, placed)| placed.fault(index + 1)).collect()
    }

    /// The kinds with the objects that each may hit.
    fn suiting(&self, stock: &Stock) -> Vec<(&'static DrawnKind, Vec<Target>)> {
        let wanted = |kind: &&DrawnKind| {
            let asked_for = match self.kinds.is_empty() {
                true => kind.asked_for_because.is_none(),
                false => self.kinds.iter().any(|it| it == kind.name),
            };
            asked_for && !self.except.iter().any(|it| it == kind.name)
        };
        let targets = |kind: &'static DrawnKind| {
            let mut targets = (kind.targets)(stock);
            targets.retain(|target| self.on.is_empty() || self.on.contains(target));
            (kind, targets)
        };
        KINDS.iter().filter(wanted).map(targets).filter(|(_, targets)| !targets.is_empty()).collect()
    }

    /// The ports that can be blocked.
    fn ports(&self, stock: &Stock) -> Vec<NonZeroU16> {
        if self.ports.is_empty() { stock.ports() } else { self.ports.clone() }
    }

    /// A fault beside those that are placed; none if there is no room for the one that was drawn.
    fn place(
        &self,
        suiting: &[(&'static DrawnKind, Vec<Target>)],
        placed: &[Placed],
        stock: &Stock,
        choices: &mut dyn Choices,
    ) -> Option<Placed> {
        let (drawn_kind, targets) = suiting.get(index(choices, suiting.len()))?;
        let target = targets.get(index(choices, targets.len()))?.clone();
        let [shortest, longest] = self.lasts.map(nanoseconds);
        let [from, to] = self.within.map(nanoseconds);
        let lasts = shortest + steps(choices, longest.saturating_sub(shortest));
        let latest = to.saturating_sub(lasts).max(from);
        let at = |start_ns| Placed {
            drawn: drawn_kind,
            target: target.clone(),
            kind: None,
            start_ns,
            end_ns: start_ns + lasts,
        };
        let is_free = |candidate: &Placed| {
            candidate.end_ns <= to && self.has_room(placed, candidate) && !clashes(placed, candidate, stock)
        };
        let drawn = (0..TRIES).map(|_| at(from + steps(choices, latest - from))).find(&is_free);
        // The first free place begins at the window's start or where another fault ends.
        let mut found = drawn.or_else(|| {
            let mut starts: Vec<u64> = placed.iter().map(|other| other.end_ns).chain([from]).collect();
            starts.sort_unstable();
            starts.into_iter().map(at).find(is_free)
        })?;
        let lasts = Duration(Span::from_nanos(lasts));
        let making = &mut Making { stock, ports: self.ports(stock), lasts, choices };
        found.kind = Some((drawn_kind.make)(&target, making));
        Some(found)
    }

    /// Whether no more faults would last at the same time than may.
    fn has_room(&self, placed: &[Placed], candidate: &Placed) -> bool {
        let Some(at_once) = self.at_once else { return true };
        // Most last together at the moment when one of them begins.
        let meeting: Vec<&Placed> = placed.iter().filter(|other| other.meets(candidate)).collect();
        let most = meeting
            .iter()
            .map(|first| first.start_ns.max(candidate.start_ns))
            .map(|moment| meeting.iter().filter(|it| it.start_ns <= moment && moment < it.end_ns).count())
            .max();
        most.unwrap_or(0) < at_once as usize
    }
}

impl Placed {
    fn meets(&self, other: &Placed) -> bool {
        // A fault that lasts no time meets those that last while it strikes.
        let until = |fault: &Placed| fault.end_ns.max(fault.start_ns + 1);
        self.start_ns < until(other) && other.start_ns < until(self)
    }

    /// The fault as the timeline has it; `number` tells it from others of its kind.
    fn fault(&self, number: usize) -> Option<Fault> {
        let lasts = Duration(Span::from_nanos(self.end_ns - self.start_ns));
        let kind = self.kind.clone()?;
        Some(Fault {
            name: Some(format!("{} {number}", kind.field())),
            lasts: kind.undo().map(|_| lasts),
            may_miss: true,
            ..Fault::at(Duration(Span::from_nanos(self.start_ns)), kind)
        })
    }
}

/// Whether `candidate` would get into the way of another fault.
fn clashes(placed: &[Placed], candidate: &Placed, stock: &Stock) -> bool {
    let stops_api_server = |fault: &Placed| fault.target == Target::ApiServer;
    placed.iter().filter(|other| other.meets(candidate)).any(|other| {
        stock.overlap(&other.target, &candidate.target)
            || stops_api_server(other) && candidate.drawn.needs_api_server
            || stops_api_server(candidate) && other.drawn.needs_api_server
    })
}

fn index(choices: &mut dyn Choices, length: usize) -> usize {
    usize::try_from(choices.below(length as u64)).unwrap_or(0)
}

/// A whole number of steps up to `most_ns`, in nanoseconds.
fn steps(choices: &mut dyn Choices, most_ns: u64) -> u64 {
    choices.below(most_ns / STEP_NS + 1) * STEP_NS
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.span().as_nanos()
}

#[cfg(test)]
mod tests;
