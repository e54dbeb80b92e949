//! The words of a timeline: when, what is done, and what has come about.

use std::time::Duration;

use serde_json::Value;

use crate::case::Difference;
use crate::statefulset::format::Moment;
use crate::statefulset::not_understood;

/// A pod's name, `SET-ORDINAL`.
pub struct PodName {
    pub name: String,
    pub set: String,
    pub ordinal: u16,
}

/// When something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// In this window after the fault.
    Between(Duration, Duration),
    /// So long after the moment before.
    After(Duration),
    /// In this window after the moment called `T`.
    T(Duration, Duration),
    /// As soon as the controller looks.
    Next,
    /// For ever.
    ForEver,
}

/// What a clause means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    Deed(Deed),
    Fact(Fact),
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    KubeletStops { node: String },
    NodeDeleted,
    KubeletReturns,
    PodForced,
    OutOfService,
}

/// What has come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    NodeUnknown,
    /// The node has both taints of an unreachable node, or none of them.
    Unreachable(bool),
    PodsNotReady,
    EndpointDown,
    Terminating,
    /// The pod's object is the one that it was.
    SamePod,
    /// ... and was not asked to go.
    Spared,
    Gone,
    CreatedAgain,
}

/// The pod that a timeline is about: the first word that ends in an ordinal and is no node.
pub fn pod_in(timeline: &[Moment]) -> Option<PodName> {
    let words =
        timeline.iter().flat_map(|moment| moment.what.split(|it: char| !it.is_alphanumeric() && it != '-'));
    words.filter(|word| !word.starts_with("node-")).find_map(|word| {
        let (set, ordinal) = word.rsplit_once('-')?;
        let ordinal = ordinal.parse().ok().filter(|_| !set.is_empty())?;
        Some(PodName { name: word.to_owned(), set: set.to_owned(), ordinal })
    })
}

/// Reads a moment.
pub fn read(moment: &Moment, pod: &str) -> Result<(When, Vec<Meaning>), Difference> {
    let when = when(&moment.t_s).ok_or_else(|| not_understood("a time", &moment.t_s.to_string()))?;
    let ordinal = pod.rsplit_once('-').map_or("", |(_, ordinal)| ordinal);
    // Names are replaced, so that the words are the same for all pods.
    let text = moment.what.replace(pod, "POD").replace(&format!("ordinal {ordinal} "), "ordinal N ");
    let mut meanings = Vec::new();
    for clause in clauses(&text) {
        meanings.extend(meaning(clause).ok_or_else(|| not_understood("a clause", clause))?);
    }
    Ok((when, meanings))
}

/// The parts between semicolons; those in brackets are not cut.
fn clauses(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0i32, 0, Vec::new());
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ';' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn meaning(clause: &str) -> Option<Vec<Meaning>> {
    let deed = |deed| Some(vec![Meaning::Deed(deed)]);
    let fact = |fact| Some(vec![Meaning::Fact(fact)]);
    if let Some(node) = clause.strip_prefix("kubelet of ").and_then(|rest| rest.strip_suffix(" stops")) {
        return deed(Deed::KubeletStops { node: node.to_owned() });
    }
    match clause {
        // That the pod runs on the node that loses power is how every timeline begins.
        "pod POD runs there" => fact(Fact::SamePod),
        "Node object deleted" => deed(Deed::NodeDeleted),
        "POD is force-deleted by hand" | "kubectl delete pod --force --grace-period=0" => {
            deed(Deed::PodForced)
        }
        "taint node.kubernetes.io/out-of-service added" | "out-of-service taint added" => {
            deed(Deed::OutOfService)
        }
        "kubelet returns" => deed(Deed::KubeletReturns),
        "kubelet returns, sees deletionTimestamp, kills the old containers, removes the object" => {
            Some(vec![Meaning::Deed(Deed::KubeletReturns), Meaning::Fact(Fact::Gone)])
        }
        "node Ready=Unknown" => fact(Fact::NodeUnknown),
        "taints unreachable NoSchedule and NoExecute" => fact(Fact::Unreachable(true)),
        "taints removed" | "taints go" => fact(Fact::Unreachable(false)),
        "eviction is cancelled" | "same pod continues" => fact(Fact::Spared),
        "Ready condition of its pods set False" => fact(Fact::PodsNotReady),
        "endpoint ready=false, serving=false" => fact(Fact::EndpointDown),
        "taint eviction deletes POD: deletionTimestamp set, object stays (Terminating)" => {
            fact(Fact::Terminating)
        }
        "StatefulSet creates nothing: ordinal N still exists" => fact(Fact::SamePod),
        "pod GC (20 s period, 40 s quarantine) force-deletes POD" | "pod GC force-deletes POD" => {
            fact(Fact::Gone)
        }
        "POD is created again"
        | "POD is created again, same PVC name"
        | "POD is created again (any feasible node; with a local PV only the same node)" => {
            fact(Fact::CreatedAgain)
        }
        _ => None,
    }
}

fn when(text: &Value) -> Option<When> {
    let seconds = |text: &str| text.trim().parse().ok().map(Duration::from_secs);
    if let Some(at) = text.as_u64().map(Duration::from_secs) {
        return Some(When::Between(at, at));
    }
    let text = text.as_str()?;
    if let Some(window) = text.strip_prefix("T+") {
        let (from, to) = window.split_once("..").unwrap_or((window, window));
        return Some(When::T(seconds(from)?, seconds(to)?));
    }
    if let Some(span) = text.strip_prefix('+') {
        return Some(When::After(seconds(span)?));
    }
    match text {
        "T" => Some(When::T(Duration::ZERO, Duration::ZERO)),
        "next reconcile" => Some(When::Next),
        "infinity" => Some(When::ForEver),
        _ => {
            let (window, late) = match text.split_once(" (+<=") {
                Some((window, late)) => (window, seconds(late.strip_suffix(')')?)?),
                None => (text, Duration::ZERO),
            };
            let (from, to) = window.split_once('-').unwrap_or((window, window));
            Some(When::Between(seconds(from)?, seconds(to)? + late))
        }
    }
}
