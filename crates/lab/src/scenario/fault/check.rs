//! What is wrong with the faults of a scenario, each for itself and with one another.
//!
//! Asking for what is so already is no mistake: `powerOnNode` of a node that is on changes nothing, as with `kubectl`.
//! Contradictory are faults that say two things of one time: one that lasts `for` a while and another of the same effect
//! on the same object in that while (which of the two ends would count?), and one that is undone at the very time at
//! which it happens.

use std::collections::BTreeSet;

use super::{Fault, FaultKind};
use crate::scenario::problems::Problems;
use crate::scenario::{Duration, Scenario};

impl Scenario {
    pub(in crate::scenario) fn check_faults(&self, problems: &mut Problems) {
        let (end, of_end) = match self.duration {
            Some(duration) => (duration, "duration"),
            None => (self.bounds.run, "bounds.run"),
        };
        for (index, fault) in self.faults.iter().enumerate() {
            let field = |name: &str| format!("faults[{index}].{name}");
            let what = format!("{} is after the end of the run at {end}", fault.at);
            problems.unless(fault.at < end, &field("at"), &what, &format!("a time before {of_end}"));
            if let Some(lasts) = fault.lasts {
                let over = fault.at.plus(lasts);
                let what = format!("it is over at {over}, after the end of the run at {end}");
                problems.unless(
                    over < end || fault.at >= end,
                    &field("for"),
                    &what,
                    &format!("an end before {of_end}, or no `for`"),
                );
                let what = "it lasts for no time";
                problems.unless(lasts > Duration::default(), &field("for"), what, "a time above 0");
            }
            if let Some(grace) = fault.grace_period {
                // The API counts the grace period in whole seconds.
                let whole = grace.span().as_nanos().is_multiple_of(1_000_000_000);
                let what = format!("{grace} is not whole seconds");
                problems.unless(whole, &field("gracePeriod"), &what, "whole seconds");
            }
        }
        self.check_contradictions(problems);
    }

    fn check_contradictions(&self, problems: &mut Problems) {
        for (later, fault) in self.faults.iter().enumerate() {
            for (earlier, other) in self.faults[..later].iter().enumerate() {
                if fault.when != other.when {
                    continue;
                }
                let known = format!("faults[{earlier}], {} at {}", other.kind, other.at);
                if overlap(fault, other) {
                    let over = other.lasts.or(fault.lasts).unwrap_or_default();
                    let what = format!(
                        "{} falls into the time of {known}, one of which lasts for {over}",
                        fault.kind
                    );
                    let expected = "times that do not overlap, or one fault for both";
                    problems.unless(
                        false,
                        &format!("faults[{later}].{}", fault.kind.field()),
                        &what,
                        expected,
                    );
                }
                if fault.at == other.at
                    && (undoes(&fault.kind, &other.kind) || undoes(&other.kind, &fault.kind))
                {
                    let what = format!("{} is the opposite of {known}, at the same time", fault.kind);
                    problems.unless(false, &format!("faults[{later}].at"), &what, "another time");
                }
            }
        }
    }
}

/// Whether one of two faults with the same effect on the same object falls into the time that the other lasts.
fn overlap(one: &Fault, other: &Fault) -> bool {
    let falls_into = |start: Duration, fault: &Fault| {
        fault.lasts.is_some_and(|lasts| start >= fault.at && start < fault.at.plus(lasts))
    };
    (falls_into(one.at, other) || falls_into(other.at, one))
        && !effects(&one.kind).is_disjoint(&effects(&other.kind))
}

/// What a fault does to which object, as far as it can be undone: two faults that share one are undone by the same.
fn effects(kind: &FaultKind) -> BTreeSet<(&'static str, String, String)> {
    let Some(undo) = kind.undo() else { return BTreeSet::new() };
    let part = match &undo {
        FaultKind::MendLink(mended) => mended.of.map(|of| format!("{of:?}")).unwrap_or_default(),
        FaultKind::MendDisk(mended) => mended.of.map(|of| format!("{of:?}")).unwrap_or_default(),
        FaultKind::RemoveTaint(taint) => taint.key.clone(),
        _ => String::new(),
    };
    undo.objects().map(|object| (undo.field(), part.clone(), object)).collect()
}

/// Whether `undo` is what undoes `kind`.
fn undoes(undo: &FaultKind, kind: &FaultKind) -> bool {
    kind.undo().is_some_and(|expected| expected == *undo)
}
