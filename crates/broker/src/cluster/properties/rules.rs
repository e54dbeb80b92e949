//! What a set of property values must keep as a whole.
//!
//! Source: redpanda.md 3.1.1 (`PUT /v1/cluster_config` answers 400 with a message per property).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{find, flag, integer, value_of};

/// What stands for the value of a secret.
const HIDDEN: &str = "[secret]";

/// What is wrong with these values together, by property.
pub(crate) fn problems(set: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let mut problems = BTreeMap::new();
    let mut problem = |name: &str, text: String| {
        problems.entry(name.to_owned()).or_insert(text);
    };
    let superusers = value_of(set, "superusers");
    if flag(set, "admin_api_require_auth") && superusers.as_array().is_none_or(Vec::is_empty) {
        let text = "no superusers are defined; name one before the Admin API asks for credentials";
        problem("admin_api_require_auth", text.to_owned());
    }
    if value_of(set, "sasl_mechanisms").as_array().is_none_or(Vec::is_empty) {
        problem("sasl_mechanisms", "at least one mechanism is needed".to_owned());
    }
    for name in ["default_topic_replications", "internal_topic_replication_factor"] {
        if integer(set, name).is_some_and(|factor| factor % 2 == 0) {
            problem(name, "a replication factor must be odd".to_owned());
        }
    }
    ordered(set, "minimum_topic_replications", "default_topic_replications", &mut problem);
    ordered(set, "log_segment_size_min", "log_segment_size", &mut problem);
    ordered(set, "log_segment_size", "log_segment_size_max", &mut problem);
    ordered(set, "group_min_session_timeout_ms", "group_max_session_timeout_ms", &mut problem);
    ordered(set, "raft_heartbeat_interval_ms", "raft_election_timeout_ms", &mut problem);
    problems
}

/// The first property must not be above the second, unless one of them is null. The one that was set is to
/// blame.
fn ordered(set: &BTreeMap<String, Value>, low: &str, high: &str, problem: &mut impl FnMut(&str, String)) {
    if let (Some(least), Some(most)) = (integer(set, low), integer(set, high))
        && least > most
    {
        let blamed = if set.contains_key(high) { high } else { low };
        problem(
            blamed,
            format!("{low} is {least} and {high} is {most}; the first must not be above the second"),
        );
    }
}

/// The values with those of secrets replaced, for anybody who asks.
pub(crate) fn secrets_hidden(mut values: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    for (name, value) in &mut values {
        let secret = find(name).is_some_and(|property| property.secret);
        if secret && !value.is_null() {
            *value = json!(HIDDEN);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[(&str, Value)]) -> BTreeMap<String, Value> {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn defaults_have_no_problem() {
        assert_eq!(problems(&BTreeMap::new()), BTreeMap::new());
    }

    #[test]
    fn nobody_locks_everybody_out() {
        let alone = set(&[("admin_api_require_auth", json!(true))]);
        assert!(problems(&alone)["admin_api_require_auth"].contains("superusers"));
        let with = set(&[("admin_api_require_auth", json!(true)), ("superusers", json!(["admin"]))]);
        assert_eq!(problems(&with), BTreeMap::new());
    }

    #[test]
    fn bounds_must_not_cross() {
        let crossed =
            set(&[("log_segment_size", json!(1_048_576)), ("log_segment_size_min", json!(16 << 20))]);
        assert!(problems(&crossed)["log_segment_size"].contains("log_segment_size_min is 16777216"));
        let even = set(&[("default_topic_replications", json!(2))]);
        assert!(problems(&even)["default_topic_replications"].contains("odd"));
    }

    #[test]
    fn secrets_are_not_told() {
        let shown =
            secrets_hidden(set(&[("cloud_storage_secret_key", json!("s3cr3t")), ("cluster_id", json!("x"))]));
        assert_eq!(shown["cloud_storage_secret_key"], json!(HIDDEN));
        assert_eq!(shown["cluster_id"], json!("x"));
    }
}
