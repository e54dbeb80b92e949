//! Subjects and their versions.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schemas::{SchemaBody, body};
use super::{Answered, Call};
use crate::schema_registry::changes::{self, Registration};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::schema::{Definition, Reference, SchemaType};
use crate::schema_registry::store::{Store, StoredSchema};

/// A schema in a request.
#[derive(Deserialize)]
struct Posted {
    #[serde(default)]
    schema: Option<String>,
    #[serde(rename = "schemaType", default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Option<Vec<Reference>>,
    #[serde(default)]
    id: Option<i32>,
    #[serde(default)]
    version: Option<i32>,
}

/// A version in an answer.
#[derive(Serialize)]
pub(super) struct VersionBody {
    subject: String,
    version: i32,
    id: i32,
    #[serde(flatten)]
    schema: SchemaBody,
}

fn version_body(call: &Call, store: &Store, stored: StoredSchema) -> Answered<VersionBody> {
    let schema = body(store, &stored.subject, stored.definition, call.parameter("format"))?;
    Ok(VersionBody { subject: stored.subject.to_string(), version: stored.version, id: stored.id, schema })
}

/// # Errors
/// 422, 42201.
fn posted(call: &Call) -> Result<Registration, RegistryError> {
    let posted: Posted = call.json()?;
    let named = posted.schema_type.as_deref().filter(|name| !name.is_empty());
    let schema_type = named.map_or(Some(SchemaType::Avro), SchemaType::parse).ok_or_else(|| {
        RegistryError::invalid_schema(format!(
            "schema type {:?} is none of AVRO, JSON, PROTOBUF",
            named.unwrap_or_default()
        ))
    })?;
    let text = posted.schema.filter(|text| !text.trim().is_empty());
    let text = text.ok_or_else(|| RegistryError::invalid_schema("the schema is empty"))?;
    let definition =
        Definition { schema_type, text: text.into(), references: posted.references.unwrap_or_default() };
    Ok(Registration {
        definition,
        // Clients send 0 and -1 for none.
        id: posted.id.filter(|id| *id > 0),
        version: posted.version.filter(|version| *version > 0),
        normalize: call.flag("normalize")?,
    })
}

pub(super) async fn list(call: Call) -> Answered<Vec<String>> {
    let deleted = call.flag("deleted")?;
    let prefix = call.parameter("subjectPrefix").unwrap_or_default().to_owned();
    let question = |store: &Store| {
        let names = store.subjects(deleted).map(ToString::to_string);
        Ok(names.filter(|name| name.starts_with(&prefix)).collect())
    };
    call.service.registry.ask(question).await
}

pub(super) async fn look_up(call: Call) -> Answered<VersionBody> {
    let (subject, deleted) = (call.subject(), call.flag("deleted")?);
    let posted = posted(&call)?;
    let question = |store: &Store| {
        let found = changes::look_up(store, &subject, &posted, deleted)?;
        version_body(&call, store, found)
    };
    call.service.registry.ask(question).await
}

pub(super) async fn register(call: Call) -> Answered<Value> {
    let (subject, posted) = (call.subject(), posted(&call)?);
    let node = call.service.node.id();
    let id = call
        .service
        .registry
        .change(node, |store, at| changes::register(store, &subject, &posted, at))
        .await?;
    Ok(json!({"id": id}))
}

pub(super) async fn delete(call: Call) -> Answered<Vec<i32>> {
    let (subject, permanent) = (call.subject(), call.flag("permanent")?);
    let node = call.service.node.id();
    call.service
        .registry
        .change(node, |store, at| changes::delete_subject(store, &subject, permanent, at))
        .await
}

pub(super) async fn versions(call: Call) -> Answered<Vec<i32>> {
    let (subject, deleted) = (call.subject(), call.flag("deleted")?);
    call.service.registry.ask(|store| store.versions(&subject, deleted)).await
}

pub(super) async fn version(call: Call) -> Answered<VersionBody> {
    let (subject, version, deleted) = (call.subject(), call.version()?, call.flag("deleted")?);
    let question = |store: &Store| {
        let stored = store.version(&subject, version, deleted)?;
        version_body(&call, store, stored)
    };
    call.service.registry.ask(question).await
}

/// The schema alone: JSON as it is, and `.proto` text as a JSON string.
pub(super) async fn text(call: Call) -> Answered<Value> {
    let (subject, version, deleted) = (call.subject(), call.version()?, call.flag("deleted")?);
    let stored = call.service.registry.ask(|store| store.version(&subject, version, deleted)).await?;
    let text = &stored.definition.text;
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string())))
}

pub(super) async fn referenced_by(call: Call) -> Answered<Vec<i32>> {
    let (subject, version) = (call.subject(), call.version()?);
    let question = |store: &Store| {
        let stored = store.version(&subject, version, true)?;
        Ok(store.referrers(&subject, stored.version))
    };
    call.service.registry.ask(question).await
}

pub(super) async fn delete_version(call: Call) -> Answered<i32> {
    let (subject, version) = (call.subject(), call.version()?);
    let (permanent, node) = (call.flag("permanent")?, call.service.node.id());
    call.service
        .registry
        .change(node, |store, at| changes::delete_version(store, &subject, version, permanent, at))
        .await
}

pub(super) async fn compatibility(call: Call) -> Answered<Value> {
    let (subject, version, verbose) = (call.subject(), call.version()?, call.flag("verbose")?);
    let posted = posted(&call)?;
    let question = |store: &Store| changes::check_compatibility(store, &subject, version, &posted);
    let problems = call.service.registry.ask(question).await?;
    let mut answer = json!({"is_compatible": problems.is_empty()});
    if verbose {
        answer["messages"] = json!(problems);
    }
    Ok(answer)
}
