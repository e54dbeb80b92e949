//! The cluster's properties: values, changes, what they mean, and how far they have spread.
//!
//! Source: redpanda.md 3.1.1, 3.1.3 (a change is sent on to the controller).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, json_of, ok, read};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::{Applied, Command};
use crate::cluster::membership::{ConfigStatus, Registered};
use crate::cluster::properties;
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/cluster_config", access.superuser(get(values).put(change)))
        .route("/v1/cluster_config/status", access.superuser(get(status)))
        .route("/v1/cluster_config/schema", access.public(get(schema)))
        .route("/v1/config", access.superuser(get(everything)))
}

#[derive(Deserialize)]
struct Asked {
    key: Option<String>,
    include_defaults: Option<bool>,
}

async fn values(State(node): State<Arc<Node>>, Query(asked): Query<Asked>) -> Answer {
    let set = node.with_cluster(|cluster| cluster.state.properties.clone());
    if let Some(key) = asked.key {
        let known = properties::find(&key).is_some() || set.contains_key(&key);
        if !known {
            return Err(AdminError::not_found(format!("there is no property '{key}'")));
        }
        let value = properties::value_of(&set, &key);
        return ok(properties::secrets_hidden(BTreeMap::from([(key, value)])));
    }
    // All properties are told unless the client wants only those that are set.
    let with_defaults = asked.include_defaults.unwrap_or(true);
    ok(properties::secrets_hidden(if with_defaults { filled(set) } else { set }))
}

fn filled(set: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let defaults = properties::all().map(|property| (property.name.to_owned(), property.default_value()));
    let mut values: BTreeMap<String, Value> = defaults.collect();
    values.extend(set);
    values
}

/// What the broker runs with: the cluster's properties and its own.
async fn everything(State(node): State<Arc<Node>>) -> Answer {
    let set = node.with_cluster(|cluster| cluster.state.properties.clone());
    let mut values = properties::secrets_hidden(filled(set));
    if let Value::Object(own) = super::node_config::values(&node) {
        values.extend(own);
    }
    ok(values)
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    upsert: BTreeMap<String, Value>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
struct How {
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default)]
    force: Option<bool>,
}

async fn change(
    State(node): State<Arc<Node>>,
    Query(how): Query<How>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let change: Change = read(&body)?;
    let (set, version) =
        node.with_cluster(|cluster| (cluster.state.properties.clone(), cluster.state.config_version));
    let (changes, problems) = checked(change, set, how.force == Some(true));
    if !problems.is_empty() {
        return json_of(StatusCode::BAD_REQUEST, &json!(problems));
    }
    if how.dry_run == Some(true) {
        return ok(json!({"config_version": version}));
    }
    match super::submit(&node, Command::AlterClusterConfig { properties: changes }).await? {
        Applied::ConfigVersion(version) => ok(json!({"config_version": version})),
        other => Err(AdminError::unavailable(format!("the controller answers otherwise: {other:?}"))),
    }
}

type Changes = BTreeMap<String, Option<Value>>;

/// The changes to make, and what is wrong with them by property. By force, values are taken as they are.
fn checked(change: Change, set: BTreeMap<String, Value>, force: bool) -> (Changes, BTreeMap<String, String>) {
    let mut problems = BTreeMap::new();
    let mut changes = Changes::new();
    for (name, value) in change.upsert {
        match properties::find(&name).map(|property| property.read(&value)) {
            Some(Ok(value)) => {
                changes.insert(name, Some(value));
            }
            _ if force => {
                changes.insert(name, Some(value));
            }
            Some(Err(problem)) => {
                problems.insert(name, problem);
            }
            None => {
                problems.insert(name, "Unknown property".to_owned());
            }
        }
    }
    for name in change.remove {
        let known = properties::find(&name).is_some() || set.contains_key(&name);
        if known || force {
            changes.insert(name, None);
        } else {
            problems.insert(name, "Unknown property".to_owned());
        }
    }
    if !force {
        let mut next = set.clone();
        for (name, value) in &changes {
            match value {
                Some(value) => next.insert(name.clone(), value.clone()),
                None => next.remove(name),
            };
        }
        // What was wrong before is not this change's fault.
        let before = properties::problems(&set);
        let new = properties::problems(&next).into_iter().filter(|(name, _)| !before.contains_key(name));
        problems.extend(new);
    }
    (changes, problems)
}

async fn status(State(node): State<Arc<Node>>) -> Answer {
    let entry = |(id, member): (&i32, &Registered)| {
        let status = member.config.clone().unwrap_or_default();
        let ConfigStatus { version, restart, invalid, unknown } = status;
        json!({
            "node_id": id, "restart": restart, "config_version": version, "invalid": invalid, "unknown": unknown,
        })
    };
    ok(node.with_cluster(|cluster| cluster.state.members.iter().map(entry).collect::<Vec<_>>()))
}

async fn schema(State(_): State<Arc<Node>>) -> Answer {
    let schema = properties::all().map(|property| (property.name.to_owned(), property.schema()));
    ok(json!({"properties": schema.collect::<serde_json::Map<_, _>>()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(upsert: Value, remove: &[&str], force: bool) -> (Changes, BTreeMap<String, String>) {
        let upsert = serde_json::from_value(upsert).unwrap();
        let remove = remove.iter().map(|name| (*name).to_owned()).collect();
        checked(Change { upsert, remove }, BTreeMap::from([("old".to_owned(), json!(1))]), force)
    }

    #[test]
    fn each_property_is_judged() {
        let (changes, problems) =
            check(json!({"log_segment_size": "2097152", "nonsense": 1, "alive_timeout_ms": "x"}), &[], false);
        assert_eq!(changes, Changes::from([("log_segment_size".to_owned(), Some(json!(2_097_152)))]));
        assert_eq!(problems["nonsense"], "Unknown property");
        assert!(problems["alive_timeout_ms"].contains("whole number"));
    }

    #[test]
    fn force_takes_what_is_there() {
        let (changes, problems) = check(json!({"nonsense": 1, "alive_timeout_ms": "x"}), &["gone"], true);
        assert_eq!(problems, BTreeMap::new());
        assert_eq!(changes["nonsense"], Some(json!(1)));
        assert_eq!(changes["gone"], None);
    }

    #[test]
    fn what_is_stored_can_always_be_removed() {
        assert_eq!(check(json!({}), &["old", "log_segment_size"], false).1, BTreeMap::new());
        assert_eq!(check(json!({}), &["gone"], false).1["gone"], "Unknown property");
    }

    #[test]
    fn values_are_also_judged_together() {
        let (_, problems) = check(json!({"admin_api_require_auth": true}), &[], false);
        assert!(problems["admin_api_require_auth"].contains("superusers"));
    }
}
