//! From the labels of an object to the objects whose selectors select it.
//!
//! A selector is kept under one of the labels that it asks for, the one under which the fewest are kept, so that
//! Services which share all labels but one are told apart by that one. A look-up costs by the number of labels and
//! of selectors that share a label, not by the number of selectors.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::{Labels, matches_labels};

/// Selectors by who has them: namespace and name.
#[derive(Clone, Debug, Default)]
pub struct SelectorIndex {
    selectors: BTreeMap<(String, String), Kept>,
    /// By namespace and one label: the names of the owners of selectors that ask for it.
    by_label: BTreeMap<(String, String, String), BTreeSet<String>>,
}

#[derive(Clone, Debug)]
struct Kept {
    selector: Labels,
    under: (String, String),
}

impl SelectorIndex {
    /// Keeps the selector of an object, instead of the one it had. An empty one selects nothing.
    pub fn set(&mut self, namespace: &str, name: &str, selector: &Labels) {
        let owner = (namespace.to_owned(), name.to_owned());
        if self.selectors.get(&owner).is_some_and(|kept| kept.selector == *selector) {
            return;
        }
        self.remove(namespace, name);
        let place = |label: &(String, String)| (namespace.to_owned(), label.0.clone(), label.1.clone());
        let labels = selector.iter().map(|(key, value)| (key.clone(), value.clone()));
        let fewest = labels.min_by_key(|label| self.by_label.get(&place(label)).map_or(0, BTreeSet::len));
        let Some(under) = fewest else { return };
        self.by_label.entry(place(&under)).or_default().insert(name.to_owned());
        self.selectors.insert(owner, Kept { selector: selector.clone(), under });
    }

    /// Forgets an object.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        let Some(kept) = self.selectors.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let place = (namespace.to_owned(), kept.under.0, kept.under.1);
        if let Some(names) = self.by_label.get_mut(&place) {
            names.remove(name);
            if names.is_empty() {
                self.by_label.remove(&place);
            }
        }
    }

    /// The names of the objects in a namespace whose selectors select `labels`.
    pub fn selecting(&self, namespace: &str, labels: Option<&Labels>) -> BTreeSet<&str> {
        let selects = |name: &&String| {
            let kept = self.selectors.get(&(namespace.to_owned(), (*name).clone()));
            kept.is_some_and(|kept| matches_labels(&kept.selector, labels))
        };
        let candidates = labels.into_iter().flatten().filter_map(|(key, value)| {
            self.by_label.get(&(namespace.to_owned(), key.clone(), value.clone()))
        });
        candidates.flatten().filter(selects).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn selecting(index: &SelectorIndex, pairs: &[(&str, &str)]) -> Vec<String> {
        index.selecting("ns", Some(&labels(pairs))).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn only_selectors_that_match_wholly_are_found() {
        let mut index = SelectorIndex::default();
        index.set("ns", "all", &labels(&[("app", "db")]));
        index.set("ns", "first", &labels(&[("app", "db"), ("pod", "db-0")]));
        index.set("ns", "none", &Labels::new());
        index.set("other", "all", &labels(&[("app", "db")]));
        assert_eq!(selecting(&index, &[("app", "db"), ("pod", "db-0")]), ["all", "first"]);
        assert_eq!(selecting(&index, &[("app", "db"), ("pod", "db-1")]), ["all"]);
        assert!(selecting(&index, &[("pod", "db-0")]).is_empty());
        assert!(index.selecting("ns", None).is_empty());
        index.set("ns", "first", &labels(&[("app", "web")]));
        index.remove("ns", "all");
        assert!(selecting(&index, &[("app", "db"), ("pod", "db-0")]).is_empty());
        assert_eq!(selecting(&index, &[("app", "web")]), ["first"]);
    }

    #[test]
    fn selectors_that_share_a_label_are_kept_apart_by_another() {
        let mut index = SelectorIndex::default();
        for ordinal in 0..100 {
            let pod = format!("db-{ordinal}");
            index.set("ns", &pod, &labels(&[("app", "db"), ("pod", &pod)]));
        }
        assert_eq!(index.by_label.values().map(BTreeSet::len).max(), Some(1));
        assert_eq!(selecting(&index, &[("app", "db"), ("pod", "db-7")]), ["db-7"]);
    }
}
