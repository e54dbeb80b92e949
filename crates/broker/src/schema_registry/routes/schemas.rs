//! Schemas by their ids.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Answered, Call};
use crate::schema_registry::error::RegistryError;
use crate::schema_registry::schema::{Definition, Parsed, Reference, SchemaType};
use crate::schema_registry::store::Store;
use crate::schema_registry::subject::{DEFAULT_CONTEXT, Subject};

/// A schema in an answer; the type is left out for Avro.
#[derive(Serialize)]
pub(super) struct SchemaBody {
    #[serde(rename = "schemaType", skip_serializing_if = "SchemaType::is_avro")]
    schema_type: SchemaType,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    schema: String,
}

/// A schema as it is shown: as it is stored, or with `?format=serialized` a Protobuf one as its descriptor.
///
/// # Errors
/// 42201 if a stored schema cannot be read any more.
pub(super) fn body(
    store: &Store,
    subject: &Subject,
    definition: Definition,
    format: Option<&str>,
) -> Result<SchemaBody, RegistryError> {
    let mut schema = definition.text.to_string();
    if format == Some("serialized")
        && let Parsed::Protobuf(parsed) =
            store.parse(subject, &definition).map_err(RegistryError::invalid_schema)?
    {
        schema = parsed.serialized();
    }
    Ok(SchemaBody { schema_type: definition.schema_type, references: definition.references, schema })
}

pub(super) async fn types(_call: Call) -> Answered<[&'static str; 3]> {
    Ok(["JSON", "PROTOBUF", "AVRO"])
}

/// The context that ids are looked for in: that of `?subject=`.
fn context(call: &Call) -> Subject {
    let subject = call.parameter("subject").map(Subject::parse);
    let default = Subject { context: DEFAULT_CONTEXT.to_owned(), name: String::new() };
    subject.map_or(default, |subject| subject.of_context())
}

pub(super) async fn schema(call: Call) -> Answered<SchemaBody> {
    let (id, context) = (call.id()?, context(&call));
    let question = |store: &Store| {
        let definition = store.schema(&context.context, id)?.clone();
        body(store, &context, definition, call.parameter("format"))
    };
    call.service.registry.ask(question).await
}

pub(super) async fn versions(call: Call) -> Answered<Vec<Value>> {
    let (id, deleted) = (call.id()?, call.flag("deleted")?);
    let context = context(&call);
    let used =
        call.service.registry.ask(|store| store.versions_of_schema(&context.context, id, deleted)).await?;
    let entry =
        |(subject, version): (Subject, i32)| json!({"subject": subject.to_string(), "version": version});
    Ok(used.into_iter().map(entry).collect())
}

pub(super) async fn subjects(call: Call) -> Answered<Vec<String>> {
    let (id, deleted) = (call.id()?, call.flag("deleted")?);
    let context = context(&call);
    let used =
        call.service.registry.ask(|store| store.versions_of_schema(&context.context, id, deleted)).await?;
    let mut names: Vec<String> = used.into_iter().map(|(subject, _)| subject.to_string()).collect();
    names.dedup();
    Ok(names)
}

pub(super) async fn contexts(call: Call) -> Answered<Vec<String>> {
    call.service.registry.ask(|store| Ok(store.contexts().into_iter().collect())).await
}
