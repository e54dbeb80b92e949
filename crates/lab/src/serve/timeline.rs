//! A scenario's faults in real time: what each does to brokers that are served on loopback.
//!
//! A served broker has no Kubernetes around it, so a fault is taken for what it does to brokers, their disks, and the
//! ways between them and to clients. What does nothing to those (kube-proxy, the API server, taints, name servers) is a
//! problem of the scenario, told with its field.

mod targets;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::admin::AdminRequest;
use super::deed::{Deed, ProcessDeed};
use super::disk::DiskChange;
use super::links::{LinkChange, LinkTrouble};
use super::planned::PlannedBroker;
use crate::scenario::{self, FaultKind, LinkAspect, Problem, Scenario};
use targets::{Refused, Targets};

/// How long the process of a pod that was deleted, or whose container exited, is away: the order of magnitude that a
/// StatefulSet's controller, the scheduler and a kubelet with the image need.
pub(super) const REPLACED_AFTER: Duration = Duration::from_secs(1);

/// Something that is done at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// When, after the timeline's start, which is when all brokers are ready.
    pub at: Duration,
    /// What.
    pub deed: Deed,
    /// The fault, as a line of a scenario file has it: `deletePod: redpanda/redpanda-1`.
    pub fault: String,
}

/// Whether some step acts on the ways between brokers or to clients.
pub fn needs_relays(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.deed, Deed::Links(..)))
}

/// Whether some machine loses power.
pub fn loses_power(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step.deed, Deed::Process(_, ProcessDeed::LosePower)))
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
) -> Result<Vec<Step>, Refused> {
    let at = Duration::from(at.span());
    let targets = Targets(brokers);
    let deeds = match process_deeds(at, kind, targets)? {
        Some(deeds) => deeds,
        None => {
            let deed = |deed| (at, deed);
            other_deeds(kind, targets)?.into_iter().map(deed).collect()
        }
    };
    let step = |(at, deed)| Step { at, deed, fault: kind.line() };
    Ok(deeds.into_iter().map(step).collect())
}

/// What a fault does to processes; `None` for another kind of fault.
fn process_deeds(
    at: Duration,
    kind: &FaultKind,
    targets: Targets<'_>,
) -> Result<Option<Vec<(Duration, Deed)>>, Refused> {
    use FaultKind as F;
    use ProcessDeed::{Hang, Kill, LosePower, Resume, SetClock, Slow, Start};
    let replaced = at + REPLACED_AFTER;
    let (hit, deeds): (Vec<usize>, Vec<(Duration, ProcessDeed)>) = match kind {
        F::DeletePod(name) | F::EvictPod(name) => (targets.pod(name)?, vec![(at, Kill), (replaced, Start)]),
        F::ExitContainer(exit) => (targets.pod(&exit.pod)?, vec![(at, Kill), (replaced, Start)]),
        F::HangContainer(name) => (targets.pod(&name.pod)?, vec![(at, Hang)]),
        F::ResumeContainer(name) => (targets.pod(&name.pod)?, vec![(at, Resume)]),
        F::SlowContainer(slow) => (targets.pod(&slow.pod)?, vec![(at, Slow(slow.times.get()))]),
        F::PowerOffNode(name) => (targets.node(name)?, vec![(at, LosePower)]),
        F::PowerOnNode(name) => (targets.node(name)?, vec![(at, Start)]),
        F::RebootNode(reboot) => {
            let back = at + Duration::from(reboot.down_for.span());
            (targets.node(&reboot.node)?, vec![(at, LosePower), (back, Start)])
        }
        F::ShutDownNode(name) => (targets.node(name)?, vec![(at, Kill)]),
        F::PowerOffZone(name) => (targets.zone(name)?, vec![(at, LosePower)]),
        F::PowerOnZone(name) => (targets.zone(name)?, vec![(at, Start)]),
        F::SkewClock(clock) => (targets.node(&clock.node)?, vec![(at, SetClock(clock.skew.ahead_ms()))]),
        F::SetClock(name) => (targets.node(name)?, vec![(at, SetClock(0))]),
        _ => return Ok(None),
    };
    let deed = |(at, deed): &(Duration, ProcessDeed)| {
        let (at, deed) = (*at, *deed);
        hit.iter().map(move |broker| (at, Deed::Process(*broker, deed))).collect::<Vec<_>>()
    };
    Ok(Some(deeds.iter().flat_map(deed).collect()))
}

/// What a fault does to something else than processes.
fn other_deeds(kind: &FaultKind, targets: Targets<'_>) -> Result<Vec<Deed>, Refused> {
    use FaultKind as F;
    let disk = |claim, change: DiskChange| -> Result<Vec<Deed>, Refused> {
        let hit = targets.claim(claim)?;
        Ok(hit.into_iter().map(|broker| Deed::Disk(broker, change.clone())).collect())
    };
    let admin = |pod, request| -> Result<Vec<Deed>, Refused> {
        Ok(targets.pod(pod)?.into_iter().map(|broker| Deed::Admin(broker, request)).collect())
    };
    let impair = |way, trouble| Ok(vec![Deed::Links(targets.way(way)?, LinkChange::Impair(trouble))]);
    let around = |hit, change| vec![Deed::Links(targets.around(hit), change)];
    let (cut, mended) = (LinkChange::Impair(LinkTrouble::Cut), LinkChange::Mend(Some(LinkAspect::Cut)));
    match kind {
        F::RestartRollout(object) => {
            // The controller goes from the highest ordinal down.
            let set = targets.set(object)?;
            Ok(set.into_iter().rev().map(Deed::Restart).collect())
        }
        F::FillDisk(claim) => disk(claim, DiskChange::Fill),
        F::SlowDisk(slow) => disk(&slow.claim, DiskChange::Slow(slow.by.span().into())),
        F::FailDisk(failing) => disk(&failing.claim, DiskChange::Fail(failing.share)),
        F::CorruptDisk(failing) => disk(&failing.claim, DiskChange::Corrupt(failing.share)),
        F::MendDisk(mended) => disk(&mended.claim, DiskChange::Mend(mended.of)),
        F::DecommissionBroker(pod) => admin(pod, AdminRequest::Decommission),
        F::RecommissionBroker(pod) => admin(pod, AdminRequest::Recommission),
        F::StartMaintenance(pod) => admin(pod, AdminRequest::StartMaintenance),
        F::EndMaintenance(pod) => admin(pod, AdminRequest::EndMaintenance),
        F::CutNodeFromNetwork(name) => Ok(around(targets.node(name)?, cut)),
        F::ReconnectNodeToNetwork(name) => Ok(around(targets.node(name)?, mended)),
        F::CutZoneFromNetwork(name) => Ok(around(targets.zone(name)?, cut)),
        F::ReconnectZoneToNetwork(name) => Ok(around(targets.zone(name)?, mended)),
        F::DelayLink(delayed) => {
            let trouble = LinkTrouble::Delay(delayed.by.span().into(), delayed.jitter.span().into());
            impair(&delayed.link, trouble)
        }
        F::LoseOnLink(impaired) => impair(&impaired.link, LinkTrouble::Lose(impaired.share)),
        F::ReorderOnLink(reordered) => {
            impair(&reordered.link, LinkTrouble::Reorder(reordered.share, reordered.by.span().into()))
        }
        F::LimitLink(limited) => impair(&limited.link, LinkTrouble::Limit(limited.per_second.0)),
        F::CutLink(way) => impair(way, LinkTrouble::Cut),
        F::BlackHoleLink(hole) => impair(&hole.link, LinkTrouble::BlackHole(hole.above)),
        F::MendLink(mended) => {
            Ok(vec![Deed::Links(targets.way(&mended.link)?, LinkChange::Mend(mended.of))])
        }
        F::DuplicateOnLink(_) => Err((
            "TCP hides packets that arrive twice from the programs at both ends".to_owned(),
            "another fault of a link; `hopwise run` plays this one".to_owned(),
        )),
        F::BlockPort(_) | F::UnblockPort(_) => Err((
            "the ports of served brokers are the loopback sockets', not those that their manifests name".to_owned(),
            "cutLink, or cutNodeFromNetwork; `hopwise run` plays this one".to_owned(),
        )),
        F::Apply(_) => Err((
            "the addresses of served brokers, also those that they advertise, are their loopback sockets', which no \
             manifest changes"
                .to_owned(),
            "to start `hopwise serve` with the changed manifests; `hopwise run` plays this one".to_owned(),
        )),
        _ => Err((
            "it does nothing to brokers that are served on loopback, which have no Kubernetes around them".to_owned(),
            "a fault of processes (deletePod, evictPod, exitContainer, hangContainer, slowContainer, restartRollout, \
             powerOffNode, rebootNode, shutDownNode, powerOffZone, skewClock), of links (cutLink, delayLink, \
             loseOnLink, reorderOnLink, limitLink, blackHoleLink, cutNodeFromNetwork, cutZoneFromNetwork), of disks \
             (fillDisk, slowDisk, failDisk, corruptDisk) or of brokers (decommissionBroker, startMaintenance), or what \
             undoes one; `hopwise run` plays the others"
                .to_owned(),
        )),
    }
}
