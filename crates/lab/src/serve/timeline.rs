//! A scenario's faults in real time: those that end a broker's process or its machine, and those that bring it back.
//!
//! A served broker has no Kubernetes around it, so a fault is taken for what it does to brokers. What does nothing to a
//! process on loopback sockets (kube-proxy, the API server, taints, packets lost between nodes) is a problem of the
//! scenario, told with its field.

use std::collections::BTreeSet;
use std::time::Duration;

use super::planned::PlannedBroker;
use crate::scenario::{self, FaultKind, Problem, Scenario};

/// How long the process of a pod that was deleted, or whose container exited, is away: the order of magnitude that a
/// StatefulSet's controller, the scheduler and a kubelet with the image need.
const REPLACED_AFTER: Duration = Duration::from_secs(1);

/// Something done to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, after the timeline's start, which is when all brokers are ready.
    pub at: Duration,
    /// The broker, by its place among the planned ones.
    pub broker: usize,
    /// What.
    pub action: Action,
    /// The fault's field, `deletePod`.
    pub fault: String,
}

/// What is done to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Its process ends.
    Kill,
    /// Its machine loses power: what was not synced is lost.
    LosePower,
    /// Its process starts.
    Start,
}

/// The steps of a scenario's faults, in their order.
///
/// # Errors
/// The faults that cannot be applied to these brokers, with their fields.
pub fn steps(scenario: &Scenario, brokers: &[PlannedBroker]) -> Result<Vec<Step>, Vec<Problem>> {
    let mut steps = Vec::new();
    let mut problems = Vec::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        if fault.when.is_some() {
            let field = format!("faults[{index}].when");
            let what = "events of a cluster do not come to brokers that are served on loopback".to_owned();
            problems.push(Problem {
                field,
                what,
                expected: "`at`; `hopwise run` plays the others".to_owned(),
            });
            continue;
        }
        let undo = fault.lasts.and_then(|lasts| Some((fault.at.plus(lasts), fault.kind.undo()?)));
        for (at, kind) in [(fault.at, fault.kind.clone())].into_iter().chain(undo) {
            match steps_of(at, &kind, brokers) {
                Ok(some) => steps.extend(some),
                Err((what, expected)) => {
                    let field = format!("faults[{index}].{}", fault.kind.field());
                    problems.push(Problem { field, what, expected });
                    break;
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    // Faults of one time keep the file's order.
    steps.sort_by_key(|step| step.at);
    Ok(steps)
}

fn steps_of(
    at: scenario::Duration,
    kind: &FaultKind,
    brokers: &[PlannedBroker],
) -> Result<Vec<Step>, (String, String)> {
    use Action::{Kill, LosePower, Start};
    use FaultKind as F;
    let at = Duration::from(at.span());
    let pod = |name: &str| chosen(brokers, |broker| broker.pod == name, &format!("pod {name}"));
    let node =
        |name: &str| chosen(brokers, |broker| broker.node.as_deref() == Some(name), &format!("node {name}"));
    let zone =
        |name: &str| chosen(brokers, |broker| broker.zone.as_deref() == Some(name), &format!("zone {name}"));
    let (hit, actions): (Vec<usize>, Vec<(Duration, Action)>) = match kind {
        F::DeletePod(name) | F::EvictPod(name) => {
            (pod(&name.to_string())?, vec![(at, Kill), (at + REPLACED_AFTER, Start)])
        }
        F::ExitContainer(exit) => {
            (pod(&exit.pod.to_string())?, vec![(at, Kill), (at + REPLACED_AFTER, Start)])
        }
        F::PowerOffNode(name) => (node(name)?, vec![(at, LosePower)]),
        F::PowerOnNode(name) => (node(name)?, vec![(at, Start)]),
        F::RebootNode(reboot) => {
            let back = at + Duration::from(reboot.down_for.span());
            (node(&reboot.node)?, vec![(at, LosePower), (back, Start)])
        }
        F::ShutDownNode(name) => (node(name)?, vec![(at, Kill)]),
        F::PowerOffZone(name) => (zone(name)?, vec![(at, LosePower)]),
        F::PowerOnZone(name) => (zone(name)?, vec![(at, Start)]),
        _ => {
            return Err((
                "it does nothing to the process of a broker that is served on loopback".to_owned(),
                "a fault that ends or starts brokers (deletePod, evictPod, exitContainer, powerOffNode, powerOnNode, \
                 rebootNode, shutDownNode, powerOffZone, powerOnZone); `hopwise run` plays the others"
                    .to_owned(),
            ));
        }
    };
    let step = |broker: usize, (at, action)| Step { at, broker, action, fault: kind.field().to_owned() };
    Ok(actions.iter().flat_map(|action| hit.iter().map(move |broker| step(*broker, *action))).collect())
}

fn chosen(
    brokers: &[PlannedBroker],
    is_hit: impl Fn(&PlannedBroker) -> bool,
    name: &str,
) -> Result<Vec<usize>, (String, String)> {
    let hit: Vec<usize> =
        brokers.iter().enumerate().filter(|(_, broker)| is_hit(broker)).map(|(index, _)| index).collect();
    if !hit.is_empty() {
        return Ok(hit);
    }
    let pods: BTreeSet<&str> = brokers.iter().map(|broker| broker.pod.as_str()).collect();
    let pods = pods.into_iter().collect::<Vec<_>>().join(", ");
    Err((format!("{name} has no broker that is served"), format!("where one of {pods} is")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::planned::{PlainCluster, plain};

    fn scenario(faults: &str) -> Scenario {
        let text = format!("name: x\ncluster: {{}}\nmanifests: [m]\nfaults:\n{faults}expect: {{}}\n");
        serde_saphyr::from_str(&text).expect("a scenario")
    }

    fn brokers() -> Vec<PlannedBroker> {
        let mut brokers =
            plain(&PlainCluster { brokers: 3, ..PlainCluster::default() }).expect("no properties");
        for (broker, zone) in brokers.iter_mut().zip(["a", "b", "b"]) {
            broker.zone = Some(zone.to_owned());
        }
        brokers
    }

    #[test]
    fn faults_become_steps_in_the_order_of_their_times() {
        let scenario = scenario(
            "  - {at: 5s, powerOffZone: b}
  - {at: 2s, deletePod: plain/redpanda-0}
  - {at: 9s, rebootNode: {node: node-1, downFor: 3s}}
  - {at: 20s, for: 5s, powerOffNode: node-0}
",
        );
        let steps = steps(&scenario, &brokers()).expect("all apply");
        let lines: Vec<String> = steps
            .iter()
            .map(|step| format!("{}s {:?} {} {}", step.at.as_secs(), step.action, step.broker, step.fault))
            .collect();
        assert_eq!(
            lines,
            [
                "2s Kill 0 deletePod",
                "3s Start 0 deletePod",
                "5s LosePower 1 powerOffZone",
                "5s LosePower 2 powerOffZone",
                "9s LosePower 1 rebootNode",
                "12s Start 1 rebootNode",
                "20s LosePower 0 powerOffNode",
                "25s Start 0 powerOnNode",
            ]
        );
    }

    #[test]
    fn what_does_not_apply_is_told_with_its_field() {
        let scenario = scenario(
            "  - {at: 1s, stopKubeProxy: node-0}
  - {at: 2s, deletePod: other/redpanda-0}
  - {at: 3s, powerOffNode: node-2}
",
        );
        let problems = steps(&scenario, &brokers()).expect_err("two do not apply");
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["faults[0].stopKubeProxy", "faults[1].deletePod"]);
        assert!(problems[1].expected.contains("plain/redpanda-0"), "{}", problems[1]);
    }
}
