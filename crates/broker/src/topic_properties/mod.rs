//! A topic's properties: what they are called, which values they take, what they are when nobody set them.
//!
//! Creating, describing and altering topics, and all who obey a property, read the one table ([`table::ALL`]).

mod table;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::properties;

/// What values a property takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Int {
        min: i32,
        max: i32,
    },
    Long {
        min: i64,
        max: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words, with commas between them.
    List(&'static [&'static str]),
}

/// What a property is when it was not set for the topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Default {
    Fixed(&'static str),
    /// The value of this cluster property.
    Cluster(&'static str),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// Whether it changes anything.
    pub obeyed: bool,
    pub documentation: &'static str,
}

/// Every property, by name.
pub(crate) fn all() -> impl Iterator<Item = &'static Property> {
    table::ALL.iter()
}

/// A property by its name.
pub(crate) fn find(name: &str) -> Option<&'static Property> {
    let index = table::ALL.binary_search_by(|property| property.name.cmp(name)).ok()?;
    Some(&table::ALL[index])
}

/// The value that holds for a topic: `configs` are the topic's own, `cluster` the cluster properties that are
/// set. `None` for a name that is no property.
pub(crate) fn effective(
    cluster: &BTreeMap<String, Value>,
    configs: &BTreeMap<String, String>,
    name: &str,
) -> Option<String> {
    match configs.get(name) {
        Some(value) => Some(value.clone()),
        None => find(name).map(|property| property.default_value(cluster)),
    }
}

/// The value of a number that holds for a topic; `None` if it is no number.
pub(crate) fn effective_number(
    cluster: &BTreeMap<String, Value>,
    configs: &BTreeMap<String, String>,
    name: &str,
) -> Option<i64> {
    effective(cluster, configs, name)?.parse().ok()
}

/// Whether only the newest record of a key is sure to be kept.
pub(crate) fn compacts(cluster: &BTreeMap<String, Value>, configs: &BTreeMap<String, String>) -> bool {
    effective(cluster, configs, "cleanup.policy")
        .is_some_and(|policy| policy.split(',').any(|word| word.trim() == "compact"))
}

/// Whether records get the time of their append.
pub(crate) fn log_append_time(cluster: &BTreeMap<String, Value>, configs: &BTreeMap<String, String>) -> bool {
    effective(cluster, configs, "message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime")
}

impl Property {
    /// What the property is when it was not set for the topic.
    pub fn default_value(&self, cluster: &BTreeMap<String, Value>) -> String {
        match self.default {
            Default::Fixed(value) => value.to_owned(),
            Default::Cluster(name) => match properties::value_of(cluster, name) {
                Value::String(text) => text,
                // No limit.
                Value::Null => "-1".to_owned(),
                other => other.to_string(),
            },
        }
    }

    /// The code of the property's type (Kafka: `ConfigResponse.ConfigType`).
    pub fn type_code(&self) -> i8 {
        match self.kind {
            Kind::Boolean => 1,
            Kind::Text | Kind::Choice(_) => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Ratio => 6,
            Kind::List(_) => 7,
        }
    }

    /// Whether values are lists, which can be appended to.
    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// Whether a value is taken.
    ///
    /// # Errors
    /// What is wrong with it, and what is taken.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let name = self.name;
        let number = |min: i64, max: i64| match value.trim().parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            Ok(number) => Err(format!("{name} is {number}; use {min} to {max}")),
            Err(_) => Err(format!("{name} is {value:?}; use a whole number")),
        };
        let word = |word: &str, words: &[&str]| match words.contains(&word) {
            true => Ok(()),
            false => Err(format!("{name} is {word:?}; use one of {}", words.join(", "))),
        };
        match self.kind {
            Kind::Boolean => word(value, &["true", "false"]),
            Kind::Int { min, max } => number(min.into(), max.into()),
            Kind::Long { min, max } => number(min, max),
            Kind::Ratio => match value.trim().parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err(format!("{name} is {value:?}; use a number from 0 to 1")),
            },
            Kind::Text => Ok(()),
            Kind::Choice(words) => word(value, words),
            Kind::List(words) => value.split(',').try_for_each(|item| word(item.trim(), words)),
        }
    }
}

/// Checks a topic's properties.
///
/// # Errors
/// The first that is not known or has a value that is not taken.
pub(crate) fn check<'a>(configs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
    configs.into_iter().try_for_each(|(name, value)| match find(name) {
        Some(property) => property.check(value),
        None => Err(format!("the topic property \"{name}\" is not known")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_values() {
        let names: Vec<&str> = all().map(|property| property.name).collect();
        assert!(names.is_sorted(), "{:?}", names.windows(2).find(|pair| pair[0] >= pair[1]));
        let set = BTreeMap::new();
        for property in all() {
            assert!(property.documentation.ends_with('.'), "{}", property.name);
            assert_eq!(find(property.name).unwrap().name, property.name);
            if let Default::Cluster(name) = property.default {
                assert!(properties::find(name).is_some(), "{name}");
            }
            assert_eq!(property.check(&property.default_value(&set)), Ok(()), "{}", property.name);
        }
    }

    #[test]
    fn the_topic_comes_before_the_cluster_and_the_cluster_before_the_default() {
        let (mut cluster, mut configs) = (BTreeMap::new(), BTreeMap::new());
        let retention = |cluster: &_, configs: &_| effective_number(cluster, configs, "retention.ms");
        assert_eq!(retention(&cluster, &configs), Some(604_800_000));
        cluster.insert("log_retention_ms".to_owned(), json!(5000));
        assert_eq!(retention(&cluster, &configs), Some(5000));
        configs.insert("retention.ms".to_owned(), "-1".to_owned());
        assert_eq!(retention(&cluster, &configs), Some(-1));
        assert_eq!(effective_number(&cluster, &configs, "retention.bytes"), Some(-1));
        assert_eq!(effective(&cluster, &configs, "no.such"), None);
    }

    #[test]
    fn values_are_checked_by_their_kind() {
        let problem = |name, value| check([(name, value)]).err();
        assert_eq!(problem("cleanup.policy", "compact,delete"), None);
        assert!(problem("cleanup.policy", "shred").unwrap().contains("compact, delete"));
        assert!(problem("max.message.bytes", "0").unwrap().contains("use 1 to"));
        assert!(problem("max.message.bytes", "4294967296").is_some());
        assert!(problem("retention.ms", "soon").unwrap().contains("whole number"));
        assert!(problem("min.cleanable.dirty.ratio", "2").is_some());
        assert!(problem("no.such", "1").unwrap().contains("not known"));
        assert!(compacts(
            &BTreeMap::new(),
            &BTreeMap::from([("cleanup.policy".into(), "delete, compact".into())])
        ));
    }
}
