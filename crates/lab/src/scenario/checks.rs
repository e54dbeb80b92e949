//! Which of the checks that are always made a scenario turns off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::problems::Problems;
use super::references::near;
use super::{BrokerBug, ClusterBug, Scenario};
use crate::run::always_on;

/// The checks that a scenario names: `false` turns one off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checks(BTreeMap<String, bool>);

impl Checks {
    /// Whether the check is made.
    pub fn is_on(&self, name: &str) -> bool {
        self.0.get(name).copied().unwrap_or(true)
    }

    /// The same checks with one more turned off.
    pub fn without(mut self, name: &str) -> Checks {
        self.0.insert(name.to_owned(), false);
        self
    }

    pub(super) fn is_default(&self) -> bool {
        self.0.is_empty()
    }
}

impl Scenario {
    pub(super) fn check_checks(&self, problems: &mut Problems) {
        let names = || always_on().iter().map(|rule| rule.name);
        for name in self.checks.0.keys() {
            let what = format!("there is no check `{name}`");
            problems.unless(
                names().any(|known| known == name),
                &format!("checks.{name}"),
                &what,
                &near(name, names()),
            );
        }
        let what = "this build has no bugs: they are for tests of the checks";
        let built = [
            ("brokerBug", self.broker_bug.is_none() || BrokerBug::BUILT),
            ("clusterBug", self.cluster_bug.is_none() || ClusterBug::BUILT),
        ];
        for (field, built) in built {
            problems.unless(built, field, what, "no bug, or a build with feature `bugs`");
        }
    }
}
