//! The times that expectations count from, and the expectations on events and states.

use std::cell::RefCell;
use std::collections::BTreeMap;

use hopwise_engine::Time;

use super::clients::failed;
use super::course::events_so_far;
use super::history::Histories;
use crate::report::run::{Check, Event};
use crate::scenario::{Scenario, When};

/// When the faults of a scenario struck and the events came that times count from.
pub(super) struct Times<'a> {
    scenario: &'a Scenario,
    start: Time,
    struck: RefCell<BTreeMap<String, Time>>,
    /// Every fault that struck, in order.
    strikes: RefCell<Vec<Strike>>,
}

/// A fault that struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// The fault's name.
    pub fault: String,
    /// When.
    pub at: Time,
}

impl<'a> Times<'a> {
    /// A timeline that starts at `start`.
    pub(super) fn new(scenario: &'a Scenario, start: Time) -> Self {
        Times { scenario, start, struck: RefCell::default(), strikes: RefCell::default() }
    }

    /// A fault strikes now.
    pub(super) fn strike(&self, fault: String) {
        self.strikes.borrow_mut().push(Strike { fault: fault.clone(), at: hopwise_engine::now() });
        self.struck.borrow_mut().entry(fault).or_insert_with(hopwise_engine::now);
    }

    /// Every fault that has struck, in order.
    pub(super) fn strikes(&self) -> Vec<Strike> {
        self.strikes.borrow().clone()
    }

    /// The time that `when` counts from; none if that has not come yet.
    pub(super) fn start_of(&self, when: &When) -> Option<Time> {
        match &when.after {
            None => Some(self.start),
            Some(name) => self.time_of(name, &events_so_far()),
        }
    }

    fn time_of(&self, name: &str, events: &[Event]) -> Option<Time> {
        if let Some(struck) = self.struck.borrow().get(name) {
            return Some(*struck);
        }
        // An event counts from one that stands before it in the scenario, so this ends.
        let event = self.scenario.expect.events.iter().find(|event| event.name.as_deref() == Some(name))?;
        let start = match &event.when.after {
            None => self.start,
            Some(after) => self.time_of(after, events)?,
        };
        event.first(events, start).map(|event| Time::from_nanos(event.at_ns))
    }

    /// Compares what was expected of events and states with what was.
    pub(super) fn check(&self, histories: &Histories, end: Time) -> Vec<Check> {
        let events = events_so_far();
        let expect = &self.scenario.expect;
        let start = |when: &When| match &when.after {
            None => Some(self.start),
            Some(name) => self.time_of(name, &events),
        };
        let of_events = expect.events.iter().map(|event| match start(&event.when) {
            Some(start) => event.check(&events, start, end),
            None => missing(&event.title(), &event.when),
        });
        let of_states = expect.states.iter().map(|state| match start(&state.when) {
            Some(start) => state.check(histories.of(&state.object), start, end),
            None => missing(&state.title(), &state.when),
        });
        of_events.chain(of_states).collect()
    }
}

/// The check of something whose time never began.
pub(super) fn missing(title: &str, when: &When) -> Check {
    failed(title, &format!("{} never came, and the time counts from it", when.reference()))
}
