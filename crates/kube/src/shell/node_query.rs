//! `curl` of the API server's node object, as the configurator's rack block asks for it (redpanda.md 1.6).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Commands, Files, Invocation, Outcome};

/// The metadata of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetadata {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// The image's `curl`, for requests of `/api/v1/nodes/NAME`; other requests are left to other commands.
#[derive(Clone, Debug, Default)]
pub struct NodeQuery {
    /// The nodes by name.
    pub nodes: BTreeMap<String, NodeMetadata>,
}

/// curl's options that take a value.
const VALUED: [&str; 8] = ["-H", "--header", "--cacert", "-X", "--request", "-m", "--max-time", "--retry"];

impl Commands for NodeQuery {
    fn run(&mut self, invocation: &Invocation, _: &mut Files) -> Option<Outcome> {
        if super::command::basename(&invocation.name) != "curl" {
            return None;
        }
        let mut url = None;
        let mut fail = false;
        let mut args = invocation.args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                option if VALUED.contains(&option) => {
                    args.next();
                }
                "--fail" => fail = true,
                letters if letters.starts_with('-') && !letters.starts_with("--") => {
                    fail |= letters.contains('f')
                }
                option if option.starts_with('-') => {}
                operand => url = Some(operand),
            }
        }
        let (_, path) = url?.split_once("/api/v1/nodes/")?;
        let name = path.split(['?', '/']).next().unwrap_or_default();
        Some(match self.nodes.get(name) {
            Some(node) => Outcome::success(pretty(&object(name, node))),
            None if fail => Outcome::failure(22, "curl: (22) The requested URL returned error: 404"),
            None => Outcome::success(pretty(&not_found(name))),
        })
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn object(name: &str, node: &NodeMetadata) -> Value {
    let NodeMetadata { labels, annotations } = node;
    let metadata = json!({ "name": name, "labels": labels, "annotations": annotations });
    json!({ "kind": "Node", "apiVersion": "v1", "metadata": metadata })
}

fn not_found(name: &str) -> Value {
    let message = format!("nodes \"{name}\" not found");
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": "NotFound", "code": 404 })
}
