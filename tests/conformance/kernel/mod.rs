//! Cases of `kernel.json`: what a Linux kernel did, with kube-proxy's rules, between sockets.
//!
//! Each case is run in a network of its own: its topology and environment on the fabric, the rules that kube-proxy's compiler makes of
//! the file's Services on each node, real sockets. How much has to be equal is told in `compare`.

mod compare;
mod dial;
mod file;
mod rules;
mod topology;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use hopwise_fabric::nat::rules::RuleSet;
use libtest_mimic::Trial;

use crate::case;
use file::File;

const NAME: &str = "kernel";

/// The rules of every node, by environment; made when a case first asks.
type Rules = BTreeMap<String, OnceLock<Arc<BTreeMap<String, RuleSet>>>>;

/// The cases.
///
/// # Panics
/// If the file is not there or not of the format.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("kernel.json");
    assert_eq!(file.format, file::FORMAT, "kernel.json: {}", file.about);
    let rules: Rules = file.environments.keys().map(|name| (name.clone(), OnceLock::new())).collect();
    let (file, rules) = (Arc::new(file), Arc::new(rules));
    let trial = |case: &file::Case| {
        let origin =
            file.environments.get(&case.env).map_or("no such environment", |known| &*known.description);
        let (file, rules, case) = (file.clone(), rules.clone(), case.clone());
        case::trial(NAME, &case.id.clone(), origin, move || {
            let environment = &file.environments[&case.env];
            let made = rules[&case.env].get_or_init(|| Arc::new(rules::rules(&file, environment)));
            compare::judge(&file, &case, |seed, tries| dial::observe(&file, made, &case, seed, tries))
        })
    };
    file.cases.iter().map(trial).collect()
}
