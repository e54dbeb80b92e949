//! A pod as the EndpointSlice controller shows it.

use std::sync::Arc;

use hopwise_kube::controllers::endpoint_slices::{Request, ZONE_LABEL, reconcile};
use hopwise_kube::controllers::topology_hints::Zones;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::FILE;
use crate::case::{self, Difference, equal};
use crate::upstream::Origin;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the case have to be known, too")]
pub struct Case {
    id: String,
    title: String,
    pod: PodCase,
    service: ServiceCase,
    expect: Expect,
    origin: Origin,
    derived: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PodCase {
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    terminating: bool,
    #[serde(default = "some_address")]
    ip: Option<String>,
    node: Option<String>,
    node_zone: Option<String>,
    node_exists: Option<bool>,
    hostname: Option<String>,
    subdomain: Option<String>,
    phase: Option<String>,
}

fn some_address() -> Option<String> {
    Some("1.2.3.5".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCase {
    name: String,
    publish_not_ready: bool,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Expect {
    /// `absent`.
    Word(String),
    Endpoint(Endpoint),
}

/// Fields that are not named are not compared.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    ready: bool,
    serving: bool,
    terminating: bool,
    #[serde(default, deserialize_with = "named")]
    hostname: Option<Value>,
    #[serde(default, deserialize_with = "named")]
    zone: Option<Value>,
}

/// A field that is there, be it null.
fn named<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

pub fn trial(case: Case) -> Trial {
    let (id, origin) = (case.id.clone(), case.origin.clone());
    case::trial(FILE, &id, origin, move || run(&case))
}

fn run(case: &Case) -> Result<(), Difference> {
    let node_name = case.pod.node.as_deref().unwrap_or("node-1");
    let service: Service = object(json!({
        "metadata": { "name": case.service.name, "namespace": "ns" },
        "spec": { "selector": { "app": "x" }, "publishNotReadyAddresses": case.service.publish_not_ready }
    }));
    let expected_zone = match &case.expect {
        Expect::Endpoint(Endpoint { zone: Some(Value::String(zone)), .. }) => Some(zone),
        _ => None,
    };
    // The expectation names the zone also where the pod's row leaves it out.
    let labels = case.pod.node_zone.as_ref().or(expected_zone).map(|zone| json!({ ZONE_LABEL: zone }));
    let node: Node = object(json!({ "metadata": { "name": node_name, "labels": labels } }));
    let exists = case.pod.node_exists.unwrap_or(true);
    let pods = [Arc::new(pod(&case.pod, node_name))];
    let found_node = |name: &str| Some(&node).filter(|_| exists && name == node_name);
    let requests = reconcile(&service, &pods, &[], found_node, Zones::default);
    let mut endpoints = Vec::new();
    for request in requests {
        match request {
            Request::Create(slice) => endpoints.extend(slice.endpoints.unwrap_or_default()),
            other => return Err(Difference::new("slices that are created", format!("{other:?}"))),
        }
    }
    let Some(found) = endpoints.pop() else {
        return equal(&case.expect, &Expect::Word("absent".to_owned()));
    };
    equal(&0, &endpoints.len())?;
    let conditions = found.conditions.unwrap_or_default();
    let Expect::Endpoint(expected) = &case.expect else {
        return Err(Difference::new(format!("{:?}", case.expect), format!("{:?}", found.addresses)));
    };
    let compared = |expected: &Option<Value>, found: Option<String>| expected.as_ref().map(|_| json!(found));
    let found = Endpoint {
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
        hostname: compared(&expected.hostname, found.hostname),
        zone: compared(&expected.zone, found.zone),
    };
    equal(expected, &found)
}

fn pod(case: &PodCase, node: &str) -> Pod {
    let ready = if case.ready { "True" } else { "False" };
    let deleted = case.terminating.then_some("2026-01-01T00:00:00Z");
    let mut spec = Map::new();
    for (field, value) in [("hostname", &case.hostname), ("subdomain", &case.subdomain)] {
        spec.extend(value.as_ref().map(|value| (field.to_owned(), json!(value))));
    }
    spec.insert("nodeName".to_owned(), json!(node));
    spec.insert("containers".to_owned(), json!([]));
    object(json!({
        "metadata": { "name": "pod", "namespace": "ns", "labels": { "app": "x" }, "deletionTimestamp": deleted },
        "spec": spec,
        "status": {
            "phase": case.phase.as_deref().unwrap_or("Running"), "podIP": case.ip,
            "conditions": [{ "type": "Ready", "status": ready }]
        }
    }))
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of the API")
}
