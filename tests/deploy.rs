//! The manifests under `deploy/` are objects of the Kubernetes API, and fit each other and the program.

use std::path::{Path, PathBuf};

use hopwise_tests::scenarios;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, Namespace, ServiceAccount};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// The documents of a manifest.
fn documents(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(deploy().join(name)).expect(name);
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect(name)).collect()
}

/// The object of a document, which has no field that the API does not know: what is read back is what was written.
fn object<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let object: T = serde_json::from_value(document.clone()).expect("an object of its kind");
    assert_eq!(serde_json::to_value(&object).expect("plain data"), *document);
    object
}

fn job(document: &Value) -> (Job, Container) {
    assert_eq!(document["kind"], "Job");
    let job: Job = object(document);
    let template = &job.spec.as_ref().expect("a spec").template;
    let containers = &template.spec.as_ref().expect("a pod").containers;
    let [container] = &containers[..] else { panic!("one container") };
    let container = container.clone();
    (job, container)
}

fn argument<'a>(container: &'a Container, flag: &str) -> &'a str {
    let arguments = container.args.iter().flatten();
    let found = arguments.filter_map(|argument| argument.strip_prefix(flag)?.strip_prefix('=')).next();
    found.unwrap_or_else(|| panic!("no {flag} in {:?}", container.args))
}

#[test]
fn the_sweep_is_an_indexed_job_that_tells_its_pods_how_many_they_are() {
    let documents = documents("sweep.yaml");
    let namespace: Namespace = object(&documents[0]);
    let account: ServiceAccount = object(&documents[1]);
    let (job, container) = job(&documents[2]);
    assert_eq!(job.metadata.namespace, namespace.metadata.name);
    let spec = job.spec.expect("a spec");
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    let pod = spec.template.spec.expect("a pod");
    assert_eq!(pod.service_account_name, account.metadata.name);
    // The API server takes a podFailurePolicy with this restart policy only.
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
    let completions = container.env.iter().flatten().find(|variable| variable.name == "JOB_COMPLETIONS");
    let completions = completions.and_then(|variable| variable.value.clone());
    assert_eq!(completions, spec.completions.map(|count| count.to_string()));
    let scenario = &container.args.as_ref().expect("arguments")[1];
    assert!(scenarios().join(scenario).exists(), "{scenario} is in the image");
    assert!(
        argument(&container, "--out").contains("$(JOB_COMPLETION_INDEX)"),
        "every pod has a result of its own"
    );
    let seeds = argument(&container, "--seeds").parse::<hopwise_lab::sweep::Seeds>();
    assert!(seeds.is_ok(), "{seeds:?}");
}

#[test]
fn the_merge_reads_what_the_sweep_writes() {
    let (_, sweep) = job(&documents("sweep.yaml")[2]);
    let documents = documents("merge.yaml");
    let (_, merge) = job(&documents[0]);
    let arguments = merge.args.as_ref().expect("arguments");
    assert_eq!((documents.len(), arguments[0].as_str()), (1, "merge"));
    let shards = argument(&sweep, "--out").rsplit_once('/').expect("a prefix").0;
    assert_eq!(arguments[1], format!("{shards}/"));
    assert!(!argument(&merge, "--out").starts_with(&arguments[1]), "the result is none of the shards");
    assert_eq!(merge.image, sweep.image);
}
