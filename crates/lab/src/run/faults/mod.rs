//! The timeline of faults, and what the pods were that they hit.
//!
//! Each fault waits for its time (or for what it waits for, and then its time), strikes, and is undone after its `for`.

mod brokers;
mod certificates;
mod disks;
mod links;
mod pods;
mod strike;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use hopwise_kube::cluster::Cluster;
use hopwise_kube::manifest::Manifests;
use k8s_openapi::api::apps::v1::StatefulSet;
use tokio::time::{Instant, sleep_until};

use super::clients::{RunningClient, failed};
use super::times::Times;
use super::workload::Partition;
use crate::inputs::Inputs;
use crate::programs::Brokers;
use crate::report::run::Check;
use crate::scenario::{self, Fault, FaultKind, PodName};
pub(super) use pods::{Before, LOOK_AHEAD, look_again};
use strike::strike;

/// What faults act on, and what looks at it before.
pub(super) struct Stakes<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its brokers.
    pub brokers: &'a Brokers,
    /// What the cluster was made from.
    pub inputs: &'a Inputs,
    /// The client that reads records back; none without a workload.
    pub verifier: Option<&'a RunningClient>,
    /// The workload's partitions.
    pub partitions: Rc<[Partition]>,
    /// The StatefulSets that faults create, by their files.
    pub stateful_sets: &'a BTreeMap<String, StatefulSet>,
    /// What faults apply, by its files.
    pub applied: &'a BTreeMap<String, Manifests>,
    /// The pods of which something is expected that has to be seen before they are hit.
    pub watched: BTreeSet<PodName>,
}

/// What the timeline did.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    /// The pods that were hit.
    pub before: BTreeMap<PodName, Before>,
    /// Faults that could not be played.
    pub failures: Vec<Check>,
}

/// Plays the faults at their times after `start`, which has to be at least [`LOOK_AHEAD`] from now. A fault that takes
/// its time (a drain) does not hold up the next, and is given up when it is undone, or at `end`.
pub(super) async fn play(
    stakes: &Stakes<'_>,
    faults: &[Fault],
    times: &Times<'_>,
    (start, end): (Instant, Instant),
) -> Played {
    let played = RefCell::new(Played::default());
    let mut faults: Vec<&Fault> = faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let ends = |fault: &Fault| match undone_at(&faults, fault) {
        Some(at) => end.min(start + Duration::from(at.span())),
        None => end,
    };
    let all = faults.iter().map(|fault| play_one(stakes, fault, times, (start, end, ends(fault)), &played));
    join_all(all).await;
    played.into_inner()
}

/// When another fault undoes this one.
fn undone_at(faults: &[&Fault], fault: &Fault) -> Option<scenario::Duration> {
    let undo = fault.kind.undo()?;
    let undoes = |other: &&&Fault| other.at > fault.at && other.when == fault.when && other.kind == undo;
    faults.iter().find(undoes).map(|other| other.at)
}

async fn play_one(
    stakes: &Stakes<'_>,
    fault: &Fault,
    times: &Times<'_>,
    (start, end, given_up): (Instant, Instant, Instant),
    played: &RefCell<Played>,
) {
    let fail = |expected: &str, why: &str| {
        if fault.may_miss {
            hopwise_engine::notable("fault.missed", fault.name(), why);
            return;
        }
        played.borrow_mut().failures.push(failed(expected, why));
    };
    let start = match &fault.when {
        None => start,
        Some(trigger) => match times.wait_for(trigger, end).await {
            Ok(came) => came,
            Err(why) => return fail(&format!("{} happens", fault.name()), &why),
        },
    };
    let due = start + Duration::from(fault.at.span());
    if let (FaultKind::DeletePod(pod), Some(verifier)) = (&fault.kind, stakes.verifier)
        && stakes.watched.contains(pod)
    {
        sleep_until(due.checked_sub(LOOK_AHEAD).unwrap_or(due)).await;
        if !played.borrow().before.contains_key(pod) {
            let seen = pods::look(stakes, verifier, pod, due).await;
            played.borrow_mut().before.insert(pod.clone(), seen);
        }
    }
    sleep_until(due).await;
    times.strike(fault.name());
    let has_failed = Cell::new(false);
    // What waits for an event is undone by its own `for` alone.
    let given_up = if fault.when.is_some() { end } else { given_up };
    let given_up = fault.lasts.map_or(given_up, |lasts| given_up.min(due + Duration::from(lasts.span())));
    let struck = async {
        if let Err(why) = strike(stakes, fault, &fault.kind, given_up).await {
            has_failed.set(true);
            fail(&format!("{} happens at {}", fault.name(), fault.at), &why);
        }
    };
    let undone = async {
        let (Some(lasts), Some(undo), Some(name)) = (fault.lasts, fault.kind.undo(), fault.end_name()) else {
            return;
        };
        sleep_until(due + Duration::from(lasts.span())).await;
        // What did not come about is not undone.
        if has_failed.get() {
            return;
        }
        times.strike(name);
        if let Err(why) = strike(stakes, fault, &undo, end).await {
            fail(&format!("{} is over after {lasts}", fault.name()), &why);
        }
    };
    tokio::join!(struck, undone);
}
