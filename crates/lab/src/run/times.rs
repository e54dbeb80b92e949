//! The times that expectations count from, and the expectations on events and states.

use std::cell::RefCell;
use std::collections::BTreeMap;

use std::time::Duration;

use hopwise_engine::Time;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::clients::failed;
use super::course::{events_from, events_so_far};
use super::history::Histories;
use crate::report::run::{Check, Event};
use crate::scenario::{Scenario, Trigger, TriggerEvent, When, seconds};

/// When the faults of a scenario struck and the events came that times count from.
pub(super) struct Times<'a> {
    scenario: &'a Scenario,
    start: Time,
    struck: RefCell<BTreeMap<String, Time>>,
    /// Every fault that struck, in order.
    strikes: RefCell<Vec<Strike>>,
    /// Wakes at every fault.
    news: watch::Sender<()>,
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
        let (struck, strikes) = Default::default();
        Times { scenario, start, struck, strikes, news: watch::Sender::new(()) }
    }

    /// A fault strikes now.
    pub(super) fn strike(&self, fault: String) {
        self.strikes.borrow_mut().push(Strike { fault: fault.clone(), at: hopwise_engine::now() });
        self.struck.borrow_mut().entry(fault).or_insert_with(hopwise_engine::now);
        self.news.send_replace(());
    }

    /// Waits for what a fault waits for; when that came.
    ///
    /// # Errors
    /// What did not come until it had to, or until `end`.
    pub(super) async fn wait_for(&self, trigger: &Trigger, end: Instant) -> Result<Instant, String> {
        let after = match &trigger.after {
            None => self.start,
            Some(name) => {
                let struck = timeout_at(end, self.wait_for_fault(name)).await;
                struck.map_err(|_| format!("{name} never came, and it waits for that"))?
            }
        };
        let Some(event) = &trigger.event else { return Ok(instant_of(after)) };
        let [from, to] = event.within.map_or([after, Time::MAX], |window| window.map(|it| after + it.span()));
        let deadline = event.within.map_or(end, |_| end.min(instant_of(to)));
        let object = event.object.as_ref().map(|object| format!(" of {object}")).unwrap_or_default();
        let missing = |why: String| format!("{}{object} {why}, and it waits for that", event.kind);
        // What comes at the last moment counts.
        let came = timeout_at(deadline + Duration::from_millis(1), wait_for_event(event, after)).await;
        let came = came.map_err(|_| missing("did not come in time".to_owned()))?;
        if came < from || came > to {
            return Err(missing(format!("came {}", seconds(came - after))));
        }
        Ok(instant_of(came))
    }

    async fn wait_for_fault(&self, name: &str) -> Time {
        let mut news = self.news.subscribe();
        loop {
            if let Some(struck) = self.struck.borrow().get(name) {
                return *struck;
            }
            // The sender lives as long as this does.
            let _ = news.changed().await;
        }
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

/// The first event that fits, from `after` on; only what is new is looked at.
async fn wait_for_event(wanted: &TriggerEvent, after: Time) -> Time {
    let mut news = hopwise_engine::watch_notable();
    let mut seen = 0;
    loop {
        let events = events_from(seen);
        seen += events.len();
        let fits = |event: &&Event| event.at_ns >= after.as_nanos() && wanted.fits(event);
        if let Some(event) = events.iter().find(fits) {
            return Time::from_nanos(event.at_ns);
        }
        if news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A time of the simulation as tokio counts it; one in the past is now.
pub(super) fn instant_of(time: Time) -> Instant {
    let now = hopwise_engine::now();
    let ahead = if time > now { Duration::from(time - now) } else { Duration::ZERO };
    Instant::now() + ahead
}

/// The check of something whose time never began.
pub(super) fn missing(title: &str, when: &When) -> Check {
    failed(title, &format!("{} never came, and the time counts from it", when.reference()))
}
