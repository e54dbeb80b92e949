//! The broker's assignors: who gets which partitions.
//!
//! `uniform` spreads all partitions evenly and leaves them where they are if it can; `range` gives each member a
//! piece of every topic, the same piece of topics with the same number of partitions. Source: KIP-848, and
//! `group.consumer.assignors` of Apache Kafka, whose first one counts where members have no preference.

mod range;
mod uniform;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Assignment;
use super::subscription::Subscription;

/// The names of all, the default first.
pub(crate) const ALL: [&str; 2] = [UNIFORM, RANGE];
const UNIFORM: &str = "uniform";
const RANGE: &str = "range";

/// A member as an assignor sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    pub instance: Option<String>,
    /// The topics that it is subscribed to and that there are, with their partitions.
    pub topics: BTreeMap<Uuid, i32>,
    /// What it was to have before.
    pub before: Assignment,
}

/// What each member is to have.
pub(crate) fn assign(assignor: &str, members: &BTreeMap<String, Candidate>) -> BTreeMap<String, Assignment> {
    match assignor {
        RANGE => range::assign(members),
        _ => uniform::assign(members),
    }
}

/// The assignor that most members prefer.
pub(crate) fn preferred<'a>(members: impl Iterator<Item = &'a Subscription>) -> &'static str {
    let mut votes = [0usize; ALL.len()];
    for name in members.filter_map(|subscription| subscription.assignor.as_deref()) {
        if let Some(index) = ALL.iter().position(|assignor| *assignor == name) {
            votes[index] += 1;
        }
    }
    // The first of equals is the default.
    let most = votes.iter().max().copied().unwrap_or(0);
    votes.iter().position(|count| *count == most).map_or(UNIFORM, |index| ALL[index])
}

/// The members of each topic.
fn subscribers(members: &BTreeMap<String, Candidate>) -> BTreeMap<Uuid, (i32, Vec<&str>)> {
    let mut topics: BTreeMap<Uuid, (i32, Vec<&str>)> = BTreeMap::new();
    for (id, member) in members {
        for (topic, partitions) in &member.topics {
            topics.entry(*topic).or_insert((*partitions, Vec::new())).1.push(id);
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assignor_that_most_prefer_is_taken() {
        let prefer = |names: &[Option<&str>]| {
            let subscription = |name: &Option<&str>| Subscription {
                assignor: name.map(str::to_owned),
                ..Subscription::default()
            };
            preferred(names.iter().map(subscription).collect::<Vec<_>>().iter())
        };
        assert_eq!(prefer(&[]), "uniform");
        assert_eq!(prefer(&[None, Some("range"), None]), "range");
        assert_eq!(prefer(&[Some("uniform"), Some("range")]), "uniform");
        assert_eq!(prefer(&[Some("uniform"), Some("range"), Some("range")]), "range");
    }
}
