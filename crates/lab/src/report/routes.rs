//! What a report says of each route, found by the route's name: a run has as many routes as it has clients, so that looking
//! through all rows for each of them is not affordable.

use std::collections::BTreeMap;

use super::run::{RunReport, Way};
use crate::cost::{CostItem, total};

/// The rows of one route.
#[derive(Debug, Default)]
pub(super) struct Route<'a> {
    pub cost: Vec<&'a CostItem>,
    pub ways: Vec<&'a Way>,
}

impl Route<'_> {
    /// What the route pays for `item` per month, in United States dollars.
    pub fn pays_for(&self, item: &str) -> f64 {
        total(self.cost.iter().copied().filter(|own| own.item == item))
    }

    /// What the route pays per month, in United States dollars.
    pub fn pays(&self) -> f64 {
        total(self.cost.iter().copied())
    }
}

/// The routes of a report.
#[derive(Debug, Default)]
pub(super) struct Routes<'a> {
    by_name: BTreeMap<&'a str, Route<'a>>,
    /// The names, those with latencies first, each where it is first met.
    names: Vec<&'a str>,
}

impl<'a> Routes<'a> {
    /// The routes that have a latency, a cost or a way.
    pub fn of(report: &'a RunReport) -> Routes<'a> {
        let mut routes = Routes::default();
        for row in &report.latency {
            routes.entry(&row.route);
        }
        for item in &report.cost {
            routes.entry(&item.route).cost.push(item);
        }
        for way in &report.ways {
            routes.entry(&way.route).ways.push(way);
        }
        routes
    }

    /// All, in the order of the report.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Route<'a>)> {
        self.names.iter().map(|name| (*name, &self.by_name[name]))
    }

    /// The route of a row of the report.
    pub fn get(&self, name: &str) -> &Route<'a> {
        &self.by_name[name]
    }

    fn entry(&mut self, name: &'a str) -> &mut Route<'a> {
        self.by_name.entry(name).or_insert_with(|| {
            self.names.push(name);
            Route::default()
        })
    }
}
