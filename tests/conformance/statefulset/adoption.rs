//! Cases about pods that lose their owner or their labels.

use std::collections::BTreeMap;

use hopwise_kube::controllers::stateful_set::Gates;
use hopwise_kube::store::Labels;

use super::format::{Event, PodState, Set, Step};
use super::not_understood;
use super::world::World;
use crate::case::{Difference, equal};

/// A set of one pod that is ready, what happens to it, and what a pass makes of that.
pub fn run(steps: &[Step]) -> Result<(), Difference> {
    let mut world = World::new(&Set { replicas: 1, ..Set::default() }, Gates::default(), "datadir");
    world.reconcile().1.map_err(|error| Difference::new("a pod", error.to_string()))?;
    let ready = PodState { phase: Some("Running".into()), ready: Some(true), ..PodState::default() };
    world.set_pod(0, &ready).map_err(|what| Difference::new("a pod", what))?;
    let mut labels = BTreeMap::new();
    let mut pod = None;
    for step in steps {
        match (&step.event, &step.expect) {
            (Some(event), None) => pod = Some(change(&mut world, event, &mut labels)?),
            (None, Some(expected)) => {
                let pod = pod.ok_or_else(|| not_understood("a case of adoption", "no event before it"))?;
                check(&mut world, pod, expected)?;
            }
            _ => return Err(not_understood("a step", "an event or an expectation, one of them")),
        }
    }
    Ok(())
}

/// Carries out an event; the ordinal that it is about.
fn change(
    world: &mut World,
    event: &Event,
    labels: &mut BTreeMap<u64, Option<Labels>>,
) -> Result<u64, Difference> {
    let ordinal = event.pod.ok_or_else(|| not_understood("an event", "no pod"))?;
    let pod = world.pod(ordinal).map_err(|what| Difference::new("a pod that is there", what))?;
    match (event.owner_removed, event.labels_removed, event.labels_restored) {
        (true, false, false) => pod.metadata.owner_references = None,
        (false, true, false) => drop(labels.insert(ordinal, pod.metadata.labels.take())),
        (false, false, true) => pod.metadata.labels = labels.remove(&ordinal).flatten(),
        _ => {
            return Err(not_understood(
                "an event",
                "not one of owner_removed, labels_removed, labels_restored",
            ));
        }
    }
    Ok(ordinal)
}

/// One pass, and what has come of it.
fn check(world: &mut World, ordinal: u64, expected: &str) -> Result<(), Difference> {
    let uid = |world: &mut World| world.pod(ordinal).map(|pod| pod.metadata.uid.clone());
    let before = uid(world);
    let (words, done) = world.reconcile();
    let owned = world.pod(ordinal).is_ok_and(|pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.filter(|owner| owner.controller == Some(true)).any(|owner| owner.uid == "set-uid")
    });
    for clause in expected.split("; ") {
        match clause.split_once(' ') {
            _ if clause == "adopted again" => equal(&true, &owned)?,
            _ if clause == "the name stays taken, so no replacement can be created" => {
                equal(&(before.clone(), true), &(uid(world), done.is_err()))?;
                equal(&Vec::<String>::new(), &words)?;
            }
            Some(("pod", rest)) if rest == format!("{ordinal} gets the controller reference back") => {
                equal(&true, &owned)?;
            }
            Some(("pod", rest)) if rest == format!("{ordinal} loses its controller reference") => {
                equal(&false, &owned)?;
            }
            _ => return Err(not_understood("an expectation", clause)),
        }
    }
    Ok(())
}
