//! An ordinal, its claims and its broker's id stay together.
//!
//! A broker is what is on its volume: its id, its logs. So a volume belongs to one pod's name and to one id for as long as
//! it exists, and an id is not taken by another pod. Ids are not ordinals, and need not be equal to them.

use std::collections::BTreeMap;

use super::{Rule, Seen};
use crate::programs::BrokerLife;

pub(in super::super) const RULE: Rule = Rule {
    name: "identity",
    promise: "each ordinal keeps its claims, each volume its pod and its broker's id",
    follows: "kubernetes.md 1.1 and 1.7 (identity and volumes of StatefulSets) and redpanda.md 2.3 (the id is on the volume)",
    advice: "A broker that comes back with a new id is a new broker and the old one's replicas stay lost; see that its data \
             directory is on the volume of its own claim.",
};

/// Compares the brokers that ran.
pub(in super::super) fn check(lives: &[BrokerLife]) -> Seen {
    let mut seen = Seen::default();
    let mut of_volume: BTreeMap<&str, (&str, Option<i32>)> = BTreeMap::new();
    let mut of_id: BTreeMap<i32, (&str, Option<&str>)> = BTreeMap::new();
    let mut of_pod: BTreeMap<&str, &str> = BTreeMap::new();
    for life in lives {
        let (pod, id, began) = (life.pod.as_str(), life.id, life.began);
        let volume = life.volume.as_ref().map(|(_, volume)| volume.as_str());
        if let Some((claim, volume)) = &life.volume {
            let (owner, known) = of_volume.entry(volume).or_insert((pod, id));
            seen.unless(*owner == pod, || {
                format!("volume {volume} is {owner}'s, and {pod} mounts it by claim {claim} at {began}")
            });
            let (known, kept) = (known.or(id), known.zip(id).is_none_or(|(known, id)| known == id));
            seen.unless(kept, || {
                let id = id.unwrap_or(-1);
                format!(
                    "the broker on volume {volume} of {pod} was {}, and the one started at {began} is {id}",
                    known.unwrap_or(-1)
                )
            });
            of_volume.insert(volume, (of_volume[volume.as_str()].0, known));
            let first = of_pod.entry(pod).or_insert(claim);
            seen.unless(*first == claim, || {
                format!("{pod} had its data on claim {first}, and has it on {claim} from {began} on")
            });
        }
        if let Some(id) = id {
            let (owner, _) = *of_id.entry(id).or_insert((pod, volume));
            seen.unless(owner == pod, || {
                format!("broker {id} was in {owner}, and is in {pod} from {began} on")
            });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::sample::at;
    use super::*;

    fn start(pod: &str, claim: &str, volume: &str, id: i32) -> BrokerLife {
        let volume = Some((claim.to_owned(), volume.to_owned()));
        BrokerLife {
            pod: pod.to_owned(),
            volume,
            id: Some(id),
            tenures: Vec::new(),
            began: at(9),
            ended: None,
        }
    }

    #[test]
    fn brokers_that_come_back_to_their_volumes_are_well_whatever_their_ids() {
        let lives = [
            start("n/p-0", "d-p-0", "v1", 2),
            start("n/p-1", "d-p-1", "v2", 0),
            start("n/p-0", "d-p-0", "v1", 2),
        ];
        let seen = check(&lives);
        assert_eq!((seen.examined, seen.violations), (12, 0), "{seen:?}");
        // The claim was deleted: another volume, another broker.
        assert_eq!(
            check(&[start("n/p-0", "d-p-0", "v1", 2), start("n/p-0", "d-p-0", "v3", 3)]).violations,
            0
        );
    }

    #[test]
    fn what_does_not_stay_together_is_told() {
        let first = |lives: &[BrokerLife]| check(lives).first.expect("one is told");
        let (one, moved) = (start("n/p-0", "d-p-0", "v1", 2), start("n/p-1", "d-p-0", "v1", 2));
        let when = at(9);
        assert_eq!(
            first(&[one.clone(), moved]),
            format!("volume v1 is n/p-0's, and n/p-1 mounts it by claim d-p-0 at {when}")
        );
        let renamed = start("n/p-0", "d-p-0", "v1", 5);
        assert_eq!(
            first(&[one.clone(), renamed]),
            format!("the broker on volume v1 of n/p-0 was 2, and the one started at {when} is 5")
        );
        let claimed = start("n/p-0", "d-p-7", "v7", 6);
        assert_eq!(
            first(&[one.clone(), claimed]),
            format!("n/p-0 had its data on claim d-p-0, and has it on d-p-7 from {when} on")
        );
        let same = start("n/p-1", "d-p-1", "v2", 2);
        assert_eq!(first(&[one, same]), format!("broker 2 was in n/p-0, and is in n/p-1 from {when} on"));
    }
}
