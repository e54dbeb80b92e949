//! Compatibility levels and modes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answered, Call};
use crate::schema_registry::changes;
use crate::schema_registry::error::{ErrorCode, RegistryError};
use crate::schema_registry::settings::{Compatibility, Mode};
use crate::schema_registry::store::Store;

#[derive(Deserialize)]
struct PostedCompatibility {
    compatibility: String,
}

#[derive(Deserialize)]
struct PostedMode {
    mode: String,
}

pub(super) async fn global_compatibility(call: Call) -> Answered<Value> {
    let question = |store: &Store| Ok(store.own_compatibility(None).unwrap_or_default());
    let level = call.service.registry.ask(question).await?;
    Ok(json!({"compatibilityLevel": level}))
}

pub(super) async fn compatibility(call: Call) -> Answered<Value> {
    let (subject, fall_back) = (call.subject(), call.flag("defaultToGlobal")?);
    let question = |store: &Store| match store.own_compatibility(Some(&subject)) {
        None if fall_back => Ok(store.compatibility(&subject)),
        own => own.ok_or_else(|| RegistryError::compatibility_not_configured(&subject)),
    };
    let level = call.service.registry.ask(question).await?;
    Ok(json!({"compatibilityLevel": level}))
}

pub(super) async fn put_compatibility(call: Call) -> Answered<Value> {
    let scope = call.scope();
    let posted: PostedCompatibility = call.json()?;
    let level = Compatibility::parse(&posted.compatibility).ok_or_else(|| {
        let known = Compatibility::ALL.map(Compatibility::as_str).join(", ");
        let message = format!("Invalid compatibility level {:?}; use one of {known}", posted.compatibility);
        RegistryError::new(ErrorCode::InvalidCompatibility, message)
    })?;
    let node = call.service.node.id();
    let level = call
        .service
        .registry
        .change(node, |store, at| changes::put_compatibility(store, scope.as_ref(), level, at))
        .await?;
    Ok(json!({"compatibility": level}))
}

pub(super) async fn delete_compatibility(call: Call) -> Answered<Value> {
    let subject = call.subject();
    let node = call.service.node.id();
    let level =
        call.service.registry.change(node, |store, _| changes::delete_compatibility(store, &subject)).await?;
    Ok(json!({"compatibilityLevel": level}))
}

pub(super) async fn global_mode(call: Call) -> Answered<Value> {
    let mode = call.service.registry.ask(|store| Ok(store.mode(None))).await?;
    Ok(json!({"mode": mode}))
}

pub(super) async fn mode(call: Call) -> Answered<Value> {
    let (subject, fall_back) = (call.subject(), call.flag("defaultToGlobal")?);
    let question = |store: &Store| match store.own_mode(Some(&subject)) {
        None if fall_back => Ok(store.mode(Some(&subject))),
        own => own.ok_or_else(|| RegistryError::mode_not_configured(&subject)),
    };
    let mode = call.service.registry.ask(question).await?;
    Ok(json!({"mode": mode}))
}

pub(super) async fn put_mode(call: Call) -> Answered<Value> {
    let (scope, force) = (call.scope(), call.flag("force")?);
    let posted: PostedMode = call.json()?;
    let mode = Mode::parse(&posted.mode).ok_or_else(|| {
        let message = format!("Invalid mode {:?}; use READWRITE, READONLY or IMPORT", posted.mode);
        RegistryError::new(ErrorCode::InvalidMode, message)
    })?;
    let node = call.service.node.id();
    let mode = call
        .service
        .registry
        .change(node, |store, at| changes::put_mode(store, scope.as_ref(), mode, force, at))
        .await?;
    Ok(json!({"mode": mode}))
}

pub(super) async fn delete_mode(call: Call) -> Answered<Value> {
    let subject = call.subject();
    let node = call.service.node.id();
    let mode = call.service.registry.change(node, |store, _| changes::delete_mode(store, &subject)).await?;
    Ok(json!({"mode": mode}))
}
