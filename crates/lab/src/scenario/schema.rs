//! The JSON Schema of scenario files: of texts with a grammar of their own, and of faults.
//!
//! Everything else is derived from the types that the files are read into, so that the schema says what is read. It is
//! for editors, which complete and mark; what it lets pass is still checked by the scenario's own rules, of which a schema
//! can express only some.

use std::borrow::Cow;

use hopwise_client::Profile;
use hopwise_fabric::net::resolver::ResolverKind;
use hopwise_kube::cluster_file::ClusterFile;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{
    Checks, ClientProfile, Duration, Fault, FaultKind, ObjectKind, ObjectName, Resolver, Scenario, Trigger,
};
use crate::run::always_on;

/// The JSON Schema of scenario files.
pub fn scenario_schema() -> Value {
    schema_of::<Scenario>("hopwise scenario file")
}

/// The JSON Schema of cluster files.
pub fn cluster_schema() -> Value {
    schema_of::<ClusterFile>("hopwise cluster file")
}

/// In draft 7, which editors' YAML language servers read.
fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema.to_value()
}

/// The path of a cluster file, or what would be in it.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "it stands for what is read in schemas only")]
pub(super) enum PathOrCluster {
    /// The path of a cluster file, relative to the scenario.
    Path(String),
    /// The cluster itself.
    Cluster(Box<ClusterFile>),
}

macro_rules! written_as {
    ($($type:ty, $name:literal => $schema:expr;)*) => {
        $(impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })*
    };
}

written_as! {
    ClientProfile, "ClientProfile" => one_of(
        "Which client it behaves as.",
        Profile::ALL.map(|profile| profile.to_string()),
    );
    Resolver, "Resolver" => one_of(
        "Whose resolver it uses.",
        ResolverKind::ALL.map(|kind| kind.to_string()),
    );
    ObjectName, "ObjectName" => object_name();
    Checks, "Checks" => checks();
}

fn one_of<const N: usize>(description: &str, words: [String; N]) -> Schema {
    json_schema!({"description": description, "type": "string", "enum": words.to_vec()})
}

fn object_name() -> Schema {
    let kinds = ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    json_schema!({
        "description": format!("KIND NAMESPACE/NAME, or KIND NAME for what has no namespace; KIND is one of {kinds}."),
        "type": "string",
        "pattern": "^[A-Za-z]+ [^ ]+$"
    })
}

fn checks() -> Schema {
    let of = |rule: &crate::run::Rule| (rule.name.to_owned(), json!({"type": "boolean", "default": true}));
    let properties: Map<String, Value> = always_on().iter().map(of).collect();
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}

impl JsonSchema for Fault {
    fn schema_name() -> Cow<'static, str> {
        "Fault".into()
    }

    /// The fields of [`Fault`], and exactly one that says what happens.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let duration = generator.subschema_for::<Duration>().to_value();
        let text = |description: &str| json!({"description": description, "type": "string"});
        let yes =
            |description: &str| json!({"description": description, "type": "boolean", "default": false});
        let own = [
            ("at", described(&duration, "When, after the timeline's start, or after what `when` waits for.")),
            ("when", generator.subschema_for::<Trigger>().to_value()),
            ("for", described(&duration, "How long until it is undone; it is not undone if absent.")),
            ("name", text("What expectations call it; the field that says what happens, if absent.")),
            (
                "gracePeriod",
                described(&duration, "--grace-period of a pod's deletion; the pod's own if absent."),
            ),
            ("force", yes("--force of a pod's deletion: the object goes at once, whatever the node says.")),
            (
                "mayMiss",
                yes("Whether nothing is wrong if it cannot be played because its object is not there."),
            ),
        ];
        let kinds = kinds(FaultKind::json_schema(generator));
        let exactly_one: Vec<Value> = kinds.keys().map(|kind| json!({"required": [kind]})).collect();
        let own = own.into_iter().map(|(field, schema)| (field.to_owned(), schema));
        let properties: Map<String, Value> = own.chain(kinds).collect();
        json_schema!({
            "description": "Something that happens at a time.",
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
            "anyOf": [{"required": ["at"]}, {"required": ["when"]}],
            "oneOf": exactly_one
        })
    }
}

/// `schema` with words of its own beside it, which draft 7 allows only around a reference.
fn described(schema: &Value, description: &str) -> Value {
    json!({"description": description, "allOf": [schema]})
}

/// What each kind of fault holds, by its field: the derived schema has an alternative for each.
fn kinds(schema: Schema) -> Map<String, Value> {
    let alternatives = schema.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut kinds = Map::new();
    for alternative in alternatives {
        let fields = alternative.get("properties").and_then(Value::as_object);
        for (field, holds) in fields.into_iter().flatten() {
            let about = alternative.get("description").and_then(Value::as_str).unwrap_or_default();
            kinds.insert(field.clone(), described(holds, about));
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_a_field() {
        let schema = scenario_schema();
        let fields = schema["definitions"]["Fault"]["properties"].as_object().expect("it has fields");
        for kind in FaultKind::fields() {
            assert!(fields.contains_key(*kind), "{kind}");
        }
        assert_eq!(fields.len(), FaultKind::fields().len() + 7, "{:?}", fields.keys());
    }
}
