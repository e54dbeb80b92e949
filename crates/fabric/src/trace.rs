//! Traces: what a traced packet gathers on its way, and where it is reported when its path ends.
//!
//! A connection has one report for both directions. A proxy opens a connection of its own on behalf of a client;
//! its report then continues the client's, so that the client's route leads on to the server behind the proxy.

use std::cell::RefCell;
use std::rc::Rc;

use crate::{Action, Hop, Route};

/// The path of one traced packet, and where it is reported when it ends.
pub struct Trace {
    /// The hops so far.
    pub hops: Vec<Hop>,
    /// Where the path goes when it ends.
    pub report: TraceReport,
}

/// Where the packets of one direction of a connection report their paths; the last path counts.
#[derive(Clone, Default)]
pub struct TraceReport {
    connection: Rc<RefCell<Leg>>,
    reply: bool,
}

/// One connection of a route.
#[derive(Default)]
struct Leg {
    route: Route,
    /// The connection by which the proxy at this one's end goes on.
    onward: Option<TraceReport>,
}

impl TraceReport {
    /// A report for the packets of a client, and of its peer through [`TraceReport::reply`].
    pub fn new() -> Self {
        Self::default()
    }

    /// The same connection, the other direction.
    pub fn reply(&self) -> Self {
        TraceReport { connection: self.connection.clone(), reply: !self.reply }
    }

    /// A report for a connection that a proxy opens on behalf of this one. It takes the place of an earlier one.
    pub fn onward(&self) -> Self {
        let onward = TraceReport::new();
        self.connection.borrow_mut().onward = Some(onward.clone());
        onward
    }

    /// Reports a path that has ended.
    pub fn end(&self, hops: Vec<Hop>) {
        let route = &mut self.connection.borrow_mut().route;
        let place = if self.reply { &mut route.reply } else { &mut route.forward };
        *place = hops;
    }

    /// The way of the connection, through its proxies.
    pub fn route(&self) -> Route {
        let leg = self.connection.borrow();
        let Some(onward) = &leg.onward else { return leg.route.clone() };
        let onward = onward.route();
        Route {
            forward: joined(&leg.route.forward, &onward.forward),
            reply: joined(&onward.reply, &leg.route.reply),
        }
    }
}

/// Two paths in a row: the proxy took what the first delivered and sent what the second carries.
fn joined(first: &[Hop], second: &[Hop]) -> Vec<Hop> {
    let mut hops = first.to_vec();
    if let Some(end) = hops.last_mut() {
        if end.action != Action::Delivered {
            return hops;
        }
        end.action = Action::Proxied;
    }
    hops.extend_from_slice(second);
    hops
}
