//! No input makes the loader or admission panic: trees of sound manifests are broken at random.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Manifests;
use crate::admission::{self, NODE_PORTS_DEFAULT};
use crate::source::Source;

/// Sound manifests of the kinds that have most rules.
fn fixtures() -> Value {
    json!([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {
            "type": "NodePort", "selector": {"app": "web"}, "externalTrafficPolicy": "Local",
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "nodePort": 30080},
                      {"name": "admin", "port": 9644, "targetPort": 0}]}},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"}, "spec": {
            "replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}],
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "containers": [{"name": "web", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}],
                    "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                    "resources": {"limits": {"cpu": 1}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
                "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}}]}}}}}},
        {"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"a": "aGVsbG8="}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a.yaml": "x: 1"}}]},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "only-web"}, "spec": {
            "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "ports": [{"port": 80, "endPort": 90}]}]}},
    ])
}

/// What is done to one node of the tree.
#[derive(Debug, Clone)]
enum Change {
    Delete,
    Retype(Value),
    Duplicate,
    Reorder,
}

fn change() -> impl Strategy<Value = Change> {
    let values = prop_oneof![
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(0)),
        Just(json!(-1)),
        Just(json!(1e300)),
        Just(json!(u64::MAX)),
        Just(json!("")),
        Just(json!("Ü*:{")),
        Just(json!([])),
        Just(json!([null])),
        Just(json!({})),
        Just(json!({"": {"x": [1]}})),
    ];
    prop_oneof![
        Just(Change::Delete),
        values.prop_map(Change::Retype),
        Just(Change::Duplicate),
        Just(Change::Reorder),
    ]
}

/// Applies `change` to the node with the number `at` of the tree, in the order of a walk.
fn apply(tree: &mut Value, at: &mut usize, change: &Change) {
    let is_here = |at: &mut usize| {
        let is_here = *at == 0;
        *at = at.wrapping_sub(1);
        is_here
    };
    match tree {
        Value::Array(elements) => {
            for index in 0..elements.len() {
                if is_here(at) {
                    match change {
                        Change::Delete => drop(elements.remove(index)),
                        Change::Retype(value) => elements[index] = value.clone(),
                        Change::Duplicate => elements.insert(index, elements[index].clone()),
                        Change::Reorder => elements.rotate_left(1),
                    }
                    return;
                }
                apply(&mut elements[index], at, change);
            }
        }
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            for key in keys {
                if is_here(at) {
                    match change {
                        Change::Delete => drop(fields.shift_remove(&key)),
                        Change::Retype(value) => fields[&key] = value.clone(),
                        Change::Duplicate => drop(fields.insert(format!("{key}x"), fields[&key].clone())),
                        Change::Reorder => {
                            let value = fields.shift_remove(&key).unwrap_or_default();
                            fields.insert(key, value);
                        }
                    }
                    return;
                }
                apply(&mut fields[&key], at, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn load_and_admit(text: &str) {
    match Manifests::load(&[Source::new("mutated.yaml", text)]) {
        Ok(manifests) => {
            for rejection in admission::admit(&manifests, NODE_PORTS_DEFAULT) {
                assert!(rejection.location.line > 0, "{rejection}");
            }
        }
        Err(errors) => {
            assert!(!errors.errors().is_empty());
            let mut report = String::new();
            miette::GraphicalReportHandler::new().render_report(&mut report, &errors).expect("a report");
            assert!(report.contains("mutated.yaml"), "{report}");
        }
    }
}

fn documents(tree: &Value) -> String {
    match tree {
        Value::Array(documents) => documents.iter().map(|document| format!("---\n{document:#}\n")).collect(),
        other => other.to_string(),
    }
}

#[test]
fn the_fixtures_are_sound() {
    let manifests = Manifests::load(&[Source::new("sound.yaml", &documents(&fixtures()))]).expect("sound");
    assert_eq!(admission::admit(&manifests, NODE_PORTS_DEFAULT), []);
    assert_eq!(manifests.unknown_fields, []);
}

proptest! {
    #[test]
    fn changed_trees_do_not_panic(changes in prop::collection::vec((0..220_usize, change()), 1..6)) {
        let mut tree = fixtures();
        for (at, change) in &changes {
            apply(&mut tree, &mut at.clone(), change);
        }
        load_and_admit(&documents(&tree));
    }

    #[test]
    fn changed_text_does_not_panic(
        at in 0.0..1.0_f64,
        length in 0..40_usize,
        inserted in "[ -~\n\t&*!{}\\[\\]:,#|>\"'ü\u{feff}\r]{0,12}",
    ) {
        let mut text: Vec<char> = documents(&fixtures()).chars().collect();
        let start = (at * text.len() as f64) as usize;
        let end = (start + length).min(text.len());
        text.splice(start..end, inserted.chars());
        load_and_admit(&text.into_iter().collect::<String>());
    }

    #[test]
    fn any_text_does_not_panic(text in "[ -~\n\t&*!{}\\[\\]:,#|>\"'ü\u{85}\u{2028}\r-]{0,200}") {
        load_and_admit(&text);
    }
}
