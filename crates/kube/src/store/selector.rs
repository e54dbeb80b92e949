//! Label selectors.
//!
//! Source: the Kubernetes page "Labels and Selectors".

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` has every pair of `wanted` (a Service's or a node's selector). Nothing wanted matches
/// all.
pub fn matches_labels(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether `labels` satisfies a selector. The empty selector matches all; an unknown operator matches
/// nothing.
pub fn matches_selector(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    selector.match_labels.as_ref().is_none_or(|wanted| matches_labels(wanted, labels))
        && selector.match_expressions.iter().flatten().all(|requirement| meets(requirement, labels))
}

fn meets(requirement: &LabelSelectorRequirement, labels: Option<&Labels>) -> bool {
    let value = labels.and_then(|labels| labels.get(&requirement.key));
    let listed = |value: &String| requirement.values.iter().flatten().any(|listed| listed == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn requirement(operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "app".into(),
                operator: operator.into(),
                values: Some(values.iter().map(|value| value.to_string()).collect()),
            }]),
        }
    }

    #[test]
    fn all_pairs_have_to_match() {
        let object = labels(&[("app", "broker"), ("zone", "a")]);
        assert!(matches_labels(&labels(&[("app", "broker")]), Some(&object)));
        assert!(!matches_labels(&labels(&[("app", "broker"), ("zone", "b")]), Some(&object)));
        assert!(!matches_labels(&labels(&[("app", "broker")]), None));
        assert!(matches_labels(&Labels::new(), None));
    }

    #[test]
    fn expressions_see_absent_labels() {
        let object = labels(&[("app", "broker")]);
        for (operator, values, with, without) in [
            ("In", &["broker", "other"][..], true, false),
            ("NotIn", &["broker"][..], false, true),
            ("Exists", &[][..], true, false),
            ("DoesNotExist", &[][..], false, true),
            ("Near", &["broker"][..], false, false),
        ] {
            assert_eq!(matches_selector(&requirement(operator, values), Some(&object)), with, "{operator}");
            assert_eq!(matches_selector(&requirement(operator, values), None), without, "{operator}");
        }
    }
}
