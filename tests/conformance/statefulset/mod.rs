//! Cases of `statefulset.json`: sequences of Kubernetes' own tests through the StatefulSet controller.
//!
//! Most cases are a world (a set with its pods, claims and revisions) that events change and that each `sync` step
//! reconciles once. Others are about one rule: the bookkeeping of revisions, the owners of claims, adoption. The
//! timelines run in a whole simulated cluster.

mod adoption;
mod claims;
mod format;
mod revisions;
mod sequence;
mod timeline;
mod world;

use libtest_mimic::Trial;

use crate::case::{Difference, read, trial};
use format::{Case, File};

const FILE: &str = "statefulset";

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = read("statefulset.json");
    assert_eq!(file.format, "k8s-statefulset/1");
    let cases = file.cases.into_iter();
    cases.map(|case| trial(FILE, &case.id.clone(), case.origin.to_string(), move || run(&case))).collect()
}

/// Which kind of case it is, by what it has.
fn run(case: &Case) -> Result<(), Difference> {
    let has_expectations = case.steps.iter().any(|step| step.expect.is_some());
    match (&case.timeline, &case.revisions, &case.pvc) {
        (Some(timeline), None, None) => timeline::run(timeline, &case.expect),
        (None, Some(revisions), None) => revisions::run(revisions, &case.expect),
        (None, None, Some(pvc)) => claims::run(pvc, &case.expect),
        (None, None, None) if has_expectations => adoption::run(&case.steps),
        (None, None, None) if case.set.is_some() => sequence::run(case),
        _ => Err(not_understood("the case", "a set with steps, a timeline, revisions or a pvc")),
    }
}

/// Something in a case that this program has no meaning for.
fn not_understood(what: &str, text: &str) -> Difference {
    Difference::new(format!("{what} in words that are known"), format!("not understood: {text:?}"))
}
