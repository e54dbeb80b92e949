//! Replacing numbers of a profile from a cluster file, by dotted path.
//!
//! `latency.zoneToZone: 0.8` replaces the value and keeps the unit; `latency.zoneToZone.spread: 0.1` replaces one
//! part; a mapping replaces the whole entry. A replaced value's source becomes the cluster file.

use serde_json::{Map, Value, json};

use super::{Profile, ProfileError};

/// The source that a report prints for a replaced value.
const SOURCE: &str = "set in the cluster file";

/// Why a profile cannot be changed as asked.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum OverrideError {
    /// The path leads nowhere.
    #[error("the profile has no `{path}`; {} has {}", place(parent), known.join(", "))]
    UnknownPath {
        /// The path as given.
        path: String,
        /// The part of it that exists.
        parent: String,
        /// The fields that exist there.
        known: Vec<String>,
    },
    /// The value has the wrong type or is out of range.
    #[error("`{path}` cannot be {value}: {fault}")]
    Value {
        /// The path as given.
        path: String,
        /// The value as given.
        value: Value,
        /// What is expected.
        fault: String,
    },
}

impl Profile {
    /// The profile with the values at dotted paths replaced.
    ///
    /// # Errors
    /// A path that leads nowhere, a value of the wrong type or out of range; each names the path and what is expected.
    pub fn with_overrides<'a>(
        &self,
        overrides: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<Profile, OverrideError> {
        let mut profile = self.clone();
        for (path, value) in overrides {
            profile = profile.with_override(path, value)?;
        }
        // Kind and delivery may both be replaced, so that they are compared once all is said.
        match profile.load_balancer.delivery_fault() {
            Some(fault) => Err(OverrideError::Value {
                path: "loadBalancer.delivery".to_owned(),
                value: json!(profile.load_balancer.delivery.value),
                fault: fault.to_owned(),
            }),
            None => Ok(profile),
        }
    }

    fn with_override(&self, path: &str, value: &Value) -> Result<Profile, OverrideError> {
        let fault =
            |fault: String| OverrideError::Value { path: path.to_owned(), value: value.clone(), fault };
        let mut tree = serde_json::to_value(self).map_err(|error| fault(error.to_string()))?;
        replace(&mut tree, path, value)?;
        let profile: Profile =
            serde_path_to_error::deserialize(tree).map_err(|error| fault(error.inner().to_string()))?;
        match profile.validate() {
            Ok(()) => Ok(profile),
            Err(ProfileError::Value { fault: why, .. }) => Err(fault(why)),
            Err(other) => Err(fault(other.to_string())),
        }
    }
}

fn replace(tree: &mut Value, path: &str, value: &Value) -> Result<(), OverrideError> {
    let mut steps = path.split('.').peekable();
    let mut parent = String::new();
    let mut entry = tree;
    while let Some(step) = steps.next() {
        let unknown = |known: &Map<String, Value>| OverrideError::UnknownPath {
            path: path.to_owned(),
            parent: parent.clone(),
            known: known.keys().cloned().collect(),
        };
        let Value::Object(fields) = entry else {
            return Err(unknown(&Map::new()));
        };
        if !fields.contains_key(step) {
            return Err(unknown(fields));
        }
        let is_value = step == "value" && steps.peek().is_none();
        if is_value {
            set_value(fields, value);
            return Ok(());
        }
        // The key exists: it was looked up above.
        let Some(next) = fields.get_mut(step) else { return Err(unknown(&Map::new())) };
        entry = next;
        if !parent.is_empty() {
            parent.push('.');
        }
        parent.push_str(step);
    }
    match entry {
        Value::Object(fields) if fields.contains_key("value") && !value.is_object() => {
            set_value(fields, value)
        }
        Value::Null if !value.is_object() => *entry = json!({"value": value, "source": SOURCE}),
        _ => *entry = value.clone(),
    }
    Ok(())
}

fn set_value(fields: &mut Map<String, Value>, value: &Value) {
    fields.insert("value".to_owned(), value.clone());
    fields.insert("source".to_owned(), json!(SOURCE));
    fields.insert("assumed".to_owned(), json!(false));
    fields.insert("date".to_owned(), Value::Null);
    fields.insert("note".to_owned(), Value::Null);
}

fn place(parent: &str) -> String {
    if parent.is_empty() { "it".to_owned() } else { format!("`{parent}`") }
}
