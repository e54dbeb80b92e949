//! At most one pod of an ordinal runs at a time.
//!
//! What counts is what really runs: two pods of a name whose processes overlap, whatever the API server's objects say. A
//! person who deletes a pod by force, or its node, vouches that it does not run; then Kubernetes no longer promises it, and
//! neither does this check.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::Time;
use hopwise_kube::cluster::ContainerLife;

use super::{Rule, Seen};
use crate::scenario::{Fault, FaultKind};

pub(in super::super) const RULE: Rule = Rule {
    name: "at-most-one",
    promise: "at most one pod of a name runs at a time",
    follows: "Kubernetes' at-most-one semantics of StatefulSets (\"Force Delete StatefulSet Pods\")",
    advice: "Two pods of one ordinal are two brokers of one identity; look at who replaced the first before it had ended.",
};

/// What took the promise away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Forced {
    pods: BTreeSet<(String, String)>,
    /// Whether a node was deleted, or declared out of service, so that its pods are deleted by force.
    nodes: bool,
}

impl Forced {
    /// What a timeline does by force.
    pub fn by(faults: &[Fault]) -> Forced {
        let mut forced = Forced::default();
        for fault in faults {
            match &fault.kind {
                FaultKind::DeletePod(pod) if fault.force => {
                    forced.pods.insert((pod.namespace.clone(), pod.name.clone()));
                }
                FaultKind::DeleteNode(_) => forced.nodes = true,
                // kubernetes.md 9: pods on a node with this taint are deleted by force.
                FaultKind::TaintNode(taint) if taint.key == "node.kubernetes.io/out-of-service" => {
                    forced.nodes = true;
                }
                _ => {}
            }
        }
        forced
    }
}

/// Looks for lives of containers that overlap though they are of different pods of one name.
pub(in super::super) fn check(lives: &[ContainerLife], forced: &Forced) -> Seen {
    let mut of_name: BTreeMap<(&str, &str, &str), Vec<&ContainerLife>> = BTreeMap::new();
    for life in lives {
        let name = (life.namespace.as_str(), life.pod.as_str(), life.container.as_str());
        of_name.entry(name).or_default().push(life);
    }
    let mut seen = Seen::default();
    let mut apart = BTreeSet::new();
    for ((namespace, pod, _), mut lives) in of_name {
        lives.sort_by_key(|life| life.began);
        // The one that ends last of those that have begun.
        let mut last: Option<&ContainerLife> = None;
        for life in lives {
            let overlaps = last.filter(|last| last.uid != life.uid && end_of(last) > life.began);
            let excused = forced.nodes || forced.pods.contains(&(namespace.to_owned(), pod.to_owned()));
            match overlaps {
                Some(_) if excused => {
                    apart
                        .insert(format!("{namespace}/{pod} ran twice at once after it was deleted by force"));
                }
                _ => seen.unless(overlaps.is_none(), || {
                    let other = overlaps.map_or_else(String::new, tell);
                    format!("two pods {namespace}/{pod} run at {}: {other}, and {}", life.began, tell(life))
                }),
            }
            if last.is_none_or(|last| end_of(last) < end_of(life)) {
                last = Some(life);
            }
        }
    }
    seen.apart.extend(apart);
    seen
}

fn end_of(life: &ContainerLife) -> Time {
    life.ended.unwrap_or(Time::MAX)
}

fn tell(life: &ContainerLife) -> String {
    let until = life.ended.map_or_else(|| "the end".to_owned(), |ended| ended.to_string());
    format!("{} on {} from {} to {until}", life.uid, life.node, life.began)
}

#[cfg(test)]
mod tests {
    use super::super::sample::at;
    use super::*;

    fn life(uid: &str, began: u64, ended: Option<u64>) -> ContainerLife {
        ContainerLife {
            namespace: "n".into(),
            pod: "p-0".into(),
            uid: uid.into(),
            container: "c".into(),
            node: "node-1".into(),
            began: at(began),
            ended: ended.map(at),
        }
    }

    #[test]
    fn one_pod_after_the_other_and_restarts_are_well() {
        let lives = [life("a", 0, Some(5)), life("a", 4, Some(6)), life("b", 6, None)];
        assert_eq!(check(&lives, &Forced::default()), Seen { examined: 3, ..Seen::default() });
    }

    #[test]
    fn two_at_once_are_told_and_excused_by_force() {
        let lives = [life("a", 0, None), life("b", 6, Some(7))];
        let seen = check(&lives, &Forced::default());
        assert_eq!((seen.examined, seen.violations), (2, 1));
        let first = seen.first.expect("one");
        assert!(
            first.starts_with("two pods n/p-0 run at 6") && first.contains("a on node-1 from"),
            "{first}"
        );
        let forced = Forced { pods: [("n".to_owned(), "p-0".to_owned())].into(), nodes: false };
        let seen = check(&lives, &forced);
        assert_eq!((seen.examined, seen.violations, seen.apart.len()), (1, 0, 1));
    }
}
