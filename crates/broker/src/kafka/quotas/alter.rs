//! AlterClientQuotas (KIP-546).

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request as request;
use kafka_protocol::messages::alter_client_quotas_response as response;
use kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use tokio::time::Instant;

use super::{KEYS, describe};
use crate::cluster::command::Command;
use crate::cluster::quotas::{QuotaEntity, QuotaName};
use crate::cluster::submit::submit;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_creation::kafka_error;

/// How long the controller has: the request names no time.
const PATIENCE: Duration = Duration::from_secs(5);

type Refused = (i16, String);

fn invalid<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err((ResponseError::InvalidRequest.code(), reason.into()))
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    asked: AlterClientQuotasRequest,
    _version: i16,
) -> AlterClientQuotasResponse {
    let allowed = authorize(session, Operation::AlterConfigs, Resource::Cluster)
        .map_err(|error| (error.code(), "the client may not alter the cluster's configuration".to_owned()));
    let mut entries = Vec::new();
    for entry in &asked.entries {
        let altered = match allowed.clone().and_then(|()| command(entry)) {
            Ok(_) if asked.validate_only => Ok(()),
            Ok(command) => {
                submit(&session.node, command, Instant::now() + PATIENCE).await.map(drop).map_err(kafka_error)
            }
            Err(refused) => Err(refused),
        };
        let entity = entry.entity.iter().map(|part| {
            response::EntityData::default()
                .with_entity_type(part.entity_type.clone())
                .with_entity_name(part.entity_name.clone())
        });
        let answer = response::EntryData::default().with_entity(entity.collect());
        entries.push(match altered {
            Ok(()) => answer,
            Err((code, reason)) => answer.with_error_code(code).with_error_message(Some(text(reason))),
        });
    }
    AlterClientQuotasResponse::default().with_entries(entries)
}

fn command(entry: &request::EntryData) -> Result<Command, Refused> {
    Ok(Command::AlterQuotas { entity: entity(&entry.entity)?, values: values(&entry.ops)? })
}

fn entity(parts: &[request::EntityData]) -> Result<QuotaEntity, Refused> {
    let mut entity = QuotaEntity::default();
    for part in parts {
        let name = match &part.entity_name {
            None => QuotaName::Default,
            Some(name) if name.is_empty() => return invalid("an entity's name is empty"),
            Some(name) => QuotaName::Name(name.to_string()),
        };
        let Some(slot) = describe::part_mut(&mut entity, &part.entity_type) else {
            return invalid(format!(
                "entity type {:?}; use user, client-id or client-id-prefix",
                part.entity_type.as_str()
            ));
        };
        if slot.replace(name).is_some() {
            return invalid(format!("the entity has two parts of type {:?}", part.entity_type.as_str()));
        }
    }
    match entity {
        entity if entity == QuotaEntity::default() => invalid("the entity is empty"),
        QuotaEntity { client_id: Some(_), client_id_prefix: Some(_), .. } => {
            invalid("an entity has a client id or a prefix, not both")
        }
        QuotaEntity { client_id_prefix: Some(QuotaName::Default), .. } => {
            invalid("a prefix has a name; use client-id for the default of all clients")
        }
        entity => Ok(entity),
    }
}

fn values(changes: &[request::OpData]) -> Result<BTreeMap<String, Option<f64>>, Refused> {
    let mut values = BTreeMap::new();
    for change in changes {
        let key = change.key.as_str();
        if !KEYS.contains(&key) {
            return invalid(format!("quota {key:?}; use one of {}", KEYS.join(", ")));
        }
        if !change.remove && (!change.value.is_finite() || change.value <= 0.0) {
            return invalid(format!("{key} is {}; use a number above 0", change.value));
        }
        if values.insert(key.to_owned(), (!change.remove).then_some(change.value)).is_some() {
            return invalid(format!("{key} is changed twice"));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn part(kind: &'static str, name: Option<&'static str>) -> request::EntityData {
        request::EntityData::default()
            .with_entity_type(StrBytes::from_static_str(kind))
            .with_entity_name(name.map(StrBytes::from_static_str))
    }

    fn change(key: &'static str, value: f64) -> request::OpData {
        request::OpData::default().with_key(StrBytes::from_static_str(key)).with_value(value)
    }

    #[test]
    fn entities_are_read_and_checked() {
        let both = entity(&[part("user", Some("ann")), part("client-id", None)]).unwrap();
        assert_eq!(both.user, Some(QuotaName::Name("ann".to_owned())));
        assert_eq!(both.client_id, Some(QuotaName::Default));
        let wrong: [&[request::EntityData]; 6] = [
            &[],
            &[part("ip", Some("10.0.0.1"))],
            &[part("user", Some(""))],
            &[part("user", None), part("user", None)],
            &[part("client-id", None), part("client-id-prefix", Some("a"))],
            &[part("client-id-prefix", None)],
        ];
        for wrong in wrong {
            assert!(entity(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        let good =
            values(&[change("producer_byte_rate", 5.0), change("consumer_byte_rate", 0.0).with_remove(true)]);
        let good = good.unwrap();
        assert_eq!((good["producer_byte_rate"], good["consumer_byte_rate"]), (Some(5.0), None));
        assert!(values(&[change("request_percentage", 5.0)]).is_err());
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(values(&[change("producer_byte_rate", value)]).is_err());
        }
        assert!(values(&[change("producer_byte_rate", 1.0), change("producer_byte_rate", 2.0)]).is_err());
    }
}
