//! The configurator scripts of rendered charts, compared with what bash really writes.
//!
//! Runs when `HOPWISE_MANIFESTS` names a directory of rendered charts with an `advertised.json`; says so when it
//! does not.

use std::collections::BTreeMap;
use std::path::Path;

use hopwise_kube::shell::{Files, NodeMetadata, NodeQuery, Rpk, run};
use serde_json::Value;

#[test]
fn configurators_write_what_bash_writes() {
    let Ok(folder) = std::env::var("HOPWISE_MANIFESTS") else {
        println!("skipped: HOPWISE_MANIFESTS is not set");
        return;
    };
    let folder = Path::new(&folder);
    let advertised = std::fs::read_to_string(folder.join("advertised.json")).expect("advertised.json");
    let advertised: Value = serde_json::from_str(&advertised).expect("advertised.json is JSON");
    let charts = advertised["files"].as_object().expect("files");
    let mut brokers = 0;
    for (name, chart) in charts {
        let documents = documents(&folder.join(name));
        for broker in chart["brokers"].as_array().expect("brokers") {
            check(name, &documents, chart, broker);
            brokers += 1;
        }
    }
    assert!(brokers > 0, "advertised.json names no broker");
    println!("{brokers} brokers of {} charts agree", charts.len());
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("chart");
    let parts = text.split("\n---").filter(|part| part.contains("kind:"));
    parts.map(|part| serde_saphyr::from_str(part.trim_start_matches("---")).expect("YAML")).collect()
}

/// The text under `key` of the first object of this kind that has it.
fn text<'a>(documents: &'a [Value], kind: &str, fields: &str, key: &str) -> &'a str {
    let object = documents.iter().find(|object| object["kind"] == kind && object[fields][key].is_string());
    object.and_then(|object| object[fields][key].as_str()).unwrap_or_else(|| panic!("no {kind} with {key}"))
}

fn check(name: &str, documents: &[Value], chart: &Value, broker: &Value) {
    let path = "/etc/secrets/configurator/scripts/configurator.sh";
    let script = text(documents, "Secret", "stringData", "configurator.sh");
    let redpanda = text(documents, "ConfigMap", "data", "redpanda.yaml");
    let mut files = Files::from([
        (path.to_owned(), script.as_bytes().to_vec()),
        ("/tmp/base-config/redpanda.yaml".to_owned(), redpanda.as_bytes().to_vec()),
        ("/tmp/base-config/bootstrap.yaml".to_owned(), Vec::new()),
    ]);
    let pod = format!("{}-{}", chart["statefulset"].as_str().expect("statefulset"), broker["ordinal"]);
    let node = broker["node"].as_str().expect("node");
    let env = BTreeMap::from(
        [
            ("CONFIGURATOR_SCRIPT", path),
            ("SERVICE_NAME", &pod),
            ("KUBERNETES_NODE_NAME", node),
            ("HOST_IP_ADDRESS", broker["host_ip"].as_str().expect("host_ip")),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let trap = r#"trap "exit 0" TERM; exec $CONFIGURATOR_SCRIPT "${SERVICE_NAME}" "${KUBERNETES_NODE_NAME}" & wait $!"#;
    let command = ["/bin/bash", "-c", trap].map(str::to_owned);
    let nodes = BTreeMap::from([(node.to_owned(), NodeMetadata::default())]);
    let exit = run(&command, &env, &mut files, &mut (Rpk, NodeQuery { nodes })).expect("interpreted");
    assert_eq!(exit.status, 0, "{name} {pod}: {}", String::from_utf8_lossy(&exit.stderr));
    let written = std::str::from_utf8(&files["/etc/redpanda/redpanda.yaml"]).expect("text");
    let written: Value = serde_saphyr::from_str(written).expect("redpanda.yaml is YAML");
    for (key, expected) in broker["set"].as_object().expect("set") {
        let pointer = format!("/{}", key.replace(['.', '['], "/").replace(']', ""));
        assert_eq!(written.pointer(&pointer), Some(expected), "{name} {pod} {key}");
    }
    let base: Value = serde_saphyr::from_str(redpanda).expect("redpanda.yaml is YAML");
    assert_eq!(
        written["redpanda"]["kafka_api"], base["redpanda"]["kafka_api"],
        "{name}: the rest is as it was"
    );
}
