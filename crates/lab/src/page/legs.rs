//! Where the time of a way goes: the legs between hops, added up by what lies at their ends.

use std::collections::BTreeMap;

use hopwise_client::{Operation, RequestRecord};

use crate::device::Role;
use crate::recording::{Recording, is_failed};
use crate::report::check::{Api, CheckReport, Outcome};

/// A kind of leg, or what is no leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leg {
    /// From one device to the next.
    Between(Role, Role),
    /// At the broker, and whatever else no hop tells of.
    Broker,
}

/// One bar: a way, and what its mean time is made of.
pub(super) struct Stack {
    /// Whose, and what.
    pub label: String,
    /// How many requests.
    pub count: u64,
    /// Its legs in order: there, the broker, and back.
    pub legs: Vec<Share>,
}

/// A part of a bar.
pub(super) struct Share {
    pub leg: Leg,
    /// Whether it is on the way back.
    pub back: bool,
    pub mean_ns: f64,
}

impl Stack {
    /// The mean of the whole.
    pub fn total_ns(&self) -> f64 {
        self.legs.iter().map(|share| share.mean_ns).sum()
    }
}

impl Leg {
    /// In words, for legends.
    pub fn words(self) -> String {
        match self {
            Leg::Broker => "at the broker".to_owned(),
            Leg::Between(Role::Switch, Role::Switch) => "between zones".to_owned(),
            Leg::Between(a, b) if a > b => Leg::Between(b, a).words(),
            Leg::Between(Role::Client, Role::Edge) => "internet".to_owned(),
            Leg::Between(a, b) => format!("{} to {}", a.word(), b.word()),
        }
    }
}

/// Means as they are added up.
#[derive(Default)]
struct Sums {
    count: u64,
    /// By direction and leg: the sum of the times, and of the places in the path, which give the order.
    legs: BTreeMap<(bool, Leg), (f64, f64, f64)>,
    broker_ns: f64,
}

/// The bars of a run: produce and fetch of each client.
pub(super) fn of_run(recording: &Recording) -> Vec<Stack> {
    let mut stacks = Vec::new();
    for operation in [Operation::Produce, Operation::Fetch] {
        for client in &recording.clients {
            let mut sums = Sums::default();
            let of = client.attempts.iter().filter(|it| it.operation == operation && !is_failed(it));
            for attempt in of.filter(|attempt| attempt.started_at >= recording.start) {
                sums.add_request(attempt);
            }
            stacks.extend(sums.stack(&format!("{}: {operation}", client.name)));
        }
    }
    stacks
}

/// The bars of a check: opening a connection to a Kafka listener, one way.
pub(super) fn of_check(report: &CheckReport) -> Vec<Stack> {
    let mut by_way: BTreeMap<(String, &str), Sums> = BTreeMap::new();
    for route in report.routes.iter().filter(|it| it.outcome == Outcome::Ok && it.api == Api::Kafka) {
        let hops: Vec<(&str, u64)> = route.hops.iter().map(|hop| (hop.device.as_str(), hop.at_ns)).collect();
        let sums = by_way.entry((route.from.to_string(), &route.listener)).or_default();
        sums.add_path(false, &hops);
        sums.count += 1;
    }
    let stack = |((from, listener), sums): ((String, &str), Sums)| sums.stack(&format!("{from}: {listener}"));
    by_way.into_iter().filter_map(stack).collect()
}

impl Sums {
    fn add_request(&mut self, attempt: &RequestRecord) {
        let Some(route) = &attempt.route else { return };
        let mut on_the_way = 0.0;
        for (back, path) in [(false, &route.forward), (true, &route.reply)] {
            let hops: Vec<(&str, u64)> = path.iter().map(|hop| (&*hop.device, hop.at.as_nanos())).collect();
            on_the_way += self.add_path(back, &hops);
        }
        // What a proxy's second connection took is in its legs and may pass the request's own time.
        self.broker_ns += (attempt.request.as_nanos() as f64 - on_the_way).max(0.0);
        self.count += 1;
    }

    fn add_path(&mut self, back: bool, hops: &[(&str, u64)]) -> f64 {
        let mut whole = 0.0;
        for (place, pair) in hops.windows(2).enumerate() {
            let ends = [pair[0].0, pair[1].0].map(Role::of);
            let lasts = pair[1].1.saturating_sub(pair[0].1) as f64;
            let sums = self.legs.entry((back, Leg::Between(ends[0], ends[1]))).or_default();
            sums.0 += lasts;
            sums.1 += place as f64;
            sums.2 += 1.0;
            whole += lasts;
        }
        whole
    }

    fn stack(self, label: &str) -> Option<Stack> {
        if self.count == 0 {
            return None;
        }
        let count = self.count as f64;
        let mut legs: Vec<(bool, f64, Share)> = self
            .legs
            .into_iter()
            .map(|((back, leg), (sum, places, seen))| {
                (back, places / seen, Share { leg, back, mean_ns: sum / count })
            })
            .collect();
        legs.sort_by(|a, b| (a.0, a.1).partial_cmp(&(b.0, b.1)).unwrap_or(std::cmp::Ordering::Equal));
        let way_back = legs.iter().position(|(back, ..)| *back).unwrap_or(legs.len());
        let mut legs: Vec<Share> = legs.into_iter().map(|(_, _, share)| share).collect();
        if self.broker_ns > 0.0 {
            legs.insert(way_back, Share { leg: Leg::Broker, back: false, mean_ns: self.broker_ns / count });
        }
        Some(Stack { label: label.to_owned(), count: self.count, legs })
    }
}
