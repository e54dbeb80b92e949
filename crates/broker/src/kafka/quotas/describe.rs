//! DescribeClientQuotas: the quotas whose entities a filter means (KIP-546).

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_client_quotas_response::{EntityData, EntryData, ValueData};
use kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use crate::cluster::quotas::{QuotaEntity, QuotaName};
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

/// What entities are made of.
const TYPES: [&str; 3] = ["user", "client-id", "client-id-prefix"];
/// How a component matches: by name, the default, any name.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

fn part<'a>(entity: &'a QuotaEntity, kind: &str) -> Option<&'a QuotaName> {
    match kind {
        "user" => entity.user.as_ref(),
        "client-id" => entity.client_id.as_ref(),
        "client-id-prefix" => entity.client_id_prefix.as_ref(),
        _ => None,
    }
}

/// The place of an entity's part; `None` for a type that is not known.
pub(super) fn part_mut<'a>(entity: &'a mut QuotaEntity, kind: &str) -> Option<&'a mut Option<QuotaName>> {
    match kind {
        "user" => Some(&mut entity.user),
        "client-id" => Some(&mut entity.client_id),
        "client-id-prefix" => Some(&mut entity.client_id_prefix),
        _ => None,
    }
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeClientQuotasRequest,
    _version: i16,
) -> DescribeClientQuotasResponse {
    let allowed = authorize(session, Operation::DescribeConfigs, Resource::Cluster)
        .map_err(|error| (error, "the client may not describe the cluster's configuration".to_owned()));
    if let Err((error, reason)) = allowed.and_then(|()| check(&request.components)) {
        return DescribeClientQuotasResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(reason)))
            .with_entries(None);
    }
    let entries = session.node.with_cluster(|cluster| -> Vec<EntryData> {
        let quotas = cluster.state.quotas.iter();
        let meant = quotas.filter(|(entity, _)| is_meant(entity, &request.components, request.strict));
        let entry = |(entity, values): (&QuotaEntity, &std::collections::BTreeMap<String, f64>)| {
            let values = values
                .iter()
                .map(|(key, value)| ValueData::default().with_key(text(key.clone())).with_value(*value));
            EntryData::default().with_entity(parts(entity)).with_values(values.collect())
        };
        meant.map(entry).collect()
    });
    DescribeClientQuotasResponse::default().with_entries(Some(entries))
}

fn parts(entity: &QuotaEntity) -> Vec<EntityData> {
    let data = |kind: &&'static str| {
        let name = match part(entity, kind)? {
            QuotaName::Default => None,
            QuotaName::Name(name) => Some(text(name.clone())),
        };
        Some(EntityData::default().with_entity_type(text(*kind)).with_entity_name(name))
    };
    TYPES.iter().filter_map(data).collect()
}

fn check(components: &[ComponentData]) -> Result<(), (ResponseError, String)> {
    let mut seen = BTreeSet::new();
    for component in components {
        let kind = component.entity_type.as_str();
        if !TYPES.contains(&kind) {
            let reason = format!("entity type {kind:?}; use one of {}", TYPES.join(", "));
            return Err((ResponseError::UnsupportedVersion, reason));
        }
        if !seen.insert(kind) {
            return Err((ResponseError::InvalidRequest, format!("two components of type {kind:?}")));
        }
        let named = component._match.is_some();
        if !(EXACT..=ANY).contains(&component.match_type) || named != (component.match_type == EXACT) {
            let reason = format!("match type {} with a name: {named}", component.match_type);
            return Err((ResponseError::InvalidRequest, reason));
        }
    }
    Ok(())
}

fn is_meant(entity: &QuotaEntity, components: &[ComponentData], strict: bool) -> bool {
    let matches = |component: &ComponentData| {
        let part = part(entity, &component.entity_type);
        match component.match_type {
            DEFAULT => part == Some(&QuotaName::Default),
            ANY => part.is_some(),
            _ => match part {
                Some(QuotaName::Name(name)) => component._match.as_deref() == Some(name.as_str()),
                _ => false,
            },
        }
    };
    let others = || {
        TYPES.iter().any(|kind| {
            part(entity, kind).is_some()
                && !components.iter().any(|component| component.entity_type.as_str() == *kind)
        })
    };
    components.iter().all(matches) && !(strict && others())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn component(kind: &'static str, match_type: i8, name: Option<&'static str>) -> ComponentData {
        ComponentData::default()
            .with_entity_type(StrBytes::from_static_str(kind))
            .with_match_type(match_type)
            .with_match(name.map(StrBytes::from_static_str))
    }

    #[test]
    fn filters_mean_what_kip_546_says() {
        let entity = QuotaEntity {
            user: Some(QuotaName::Name("ann".to_owned())),
            client_id: Some(QuotaName::Default),
            client_id_prefix: None,
        };
        let by_name = component("user", EXACT, Some("ann"));
        assert!(is_meant(&entity, std::slice::from_ref(&by_name), false));
        assert!(!is_meant(&entity, std::slice::from_ref(&by_name), true));
        assert!(is_meant(&entity, &[by_name, component("client-id", DEFAULT, None)], true));
        assert!(is_meant(&entity, &[component("client-id", ANY, None)], false));
        assert!(!is_meant(&entity, &[component("user", DEFAULT, None)], false));
        assert!(!is_meant(&entity, &[component("user", EXACT, Some("bob"))], false));
        assert!(is_meant(&entity, &[], false) && !is_meant(&entity, &[], true));
    }

    #[test]
    fn filters_are_checked() {
        assert!(check(&[component("user", ANY, None), component("client-id", EXACT, Some("c"))]).is_ok());
        assert!(check(&[component("ip", ANY, None)]).is_err());
        assert!(check(&[component("user", ANY, None), component("user", DEFAULT, None)]).is_err());
        assert!(check(&[component("user", EXACT, None)]).is_err());
        assert!(check(&[component("user", 3, None)]).is_err());
    }
}
