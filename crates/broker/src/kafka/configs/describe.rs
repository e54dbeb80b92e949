//! DescribeConfigs: properties with their values and where those come from (KIP-226, KIP-569).

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;

use super::{
    Refused, ResourceKind, SOURCE_CLUSTER, SOURCE_DEFAULT, SOURCE_STATIC, SOURCE_TOPIC, broker, refused,
    resource_kind, topic,
};
use crate::cluster::properties::{self, Kind, Property};
use crate::cluster::topics::Topic;
use crate::config::HostPort;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_properties;

/// A property's value and where it is from.
struct Described {
    name: String,
    value: Option<String>,
    source: i8,
    read_only: bool,
    secret: bool,
    type_code: i8,
    documentation: String,
    /// Every value that is set, the one that holds first: name, value and source.
    synonyms: Vec<(String, Option<String>, i8)>,
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeConfigsRequest,
    _version: i16,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(session, resource) {
            Ok(described) => {
                let wanted = described.into_iter().filter(|described| is_wanted(resource, described));
                result.with_configs(wanted.map(|described| config(&request, described)).collect())
            }
            Err((code, reason)) => result.with_error_code(code).with_error_message(Some(text(reason))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// No keys, or an empty list of them, ask for all (Kafka: `ConfigHelper`).
fn is_wanted(resource: &DescribeConfigsResource, described: &Described) -> bool {
    let keys = resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty());
    keys.is_none_or(|keys| keys.iter().any(|key: &StrBytes| key.as_str() == described.name))
}

fn config(request: &DescribeConfigsRequest, described: Described) -> DescribeConfigsResourceResult {
    let hidden = |value: Option<String>| value.filter(|_| !described.secret).map(text);
    let synonym = |(name, value, source): (String, Option<String>, i8)| {
        DescribeConfigsSynonym::default().with_name(text(name)).with_value(hidden(value)).with_source(source)
    };
    let synonyms = match request.include_synonyms {
        true => described.synonyms.into_iter().map(synonym).collect(),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult::default()
        .with_name(text(described.name))
        .with_value(described.value.filter(|_| !described.secret).map(text))
        .with_read_only(described.read_only)
        .with_config_source(described.source)
        .with_is_sensitive(described.secret)
        .with_synonyms(synonyms)
        .with_config_type(described.type_code)
        .with_documentation(request.include_documentation.then(|| text(described.documentation)))
}

fn describe(session: &Session, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refused> {
    let name = resource.resource_name.as_str();
    match resource_kind(session, resource.resource_type, name)? {
        ResourceKind::Topic => {
            let topic = topic::find(session, name, Operation::DescribeConfigs)?;
            Ok(session.node.with_cluster(|cluster| of_topic(&topic, &cluster.state.properties)))
        }
        ResourceKind::Broker => {
            authorize(session, Operation::DescribeConfigs, Resource::Cluster)
                .or_else(|error| refused(error, "the client may not describe the cluster's configuration"))?;
            let mut described = of_node(session);
            described.extend(session.node.with_cluster(|cluster| of_cluster(&cluster.state.properties)));
            described.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(described)
        }
    }
}

fn of_topic(topic: &Topic, set: &BTreeMap<String, Value>) -> Vec<Described> {
    let describe = |property: &topic_properties::Property| {
        let own = topic.configs.get(property.name).cloned();
        let default = property.default_value(set);
        let mut synonyms = Vec::new();
        if let Some(own) = &own {
            synonyms.push((property.name.to_owned(), Some(own.clone()), SOURCE_TOPIC));
        }
        synonyms.push(match property.default {
            topic_properties::Default::Cluster(name) => {
                let source = if set.contains_key(name) { SOURCE_CLUSTER } else { SOURCE_DEFAULT };
                (name.to_owned(), Some(default.clone()), source)
            }
            topic_properties::Default::Fixed(_) => {
                (property.name.to_owned(), Some(default.clone()), SOURCE_DEFAULT)
            }
        });
        Described {
            name: property.name.to_owned(),
            source: synonyms[0].2,
            value: Some(own.unwrap_or(default)),
            read_only: false,
            secret: false,
            type_code: property.type_code(),
            documentation: property.documentation.to_owned(),
            synonyms,
        }
    };
    let shown = topic_properties::all()
        .filter(|property| property.obeyed || topic.configs.contains_key(property.name));
    shown.map(describe).collect()
}

fn of_cluster(set: &BTreeMap<String, Value>) -> Vec<Described> {
    let kafka = broker::KAFKA_NAMES
        .iter()
        .filter_map(|(kafka, own)| Some(of_property(kafka, properties::find(own)?, set)));
    let own = properties::all().map(|property| of_property(property.name, property, set));
    kafka.chain(own).collect()
}

fn of_property(name: &str, property: &Property, set: &BTreeMap<String, Value>) -> Described {
    let default = broker::to_text(&property.default_value());
    let own = set.get(property.name).map(broker::to_text);
    let mut synonyms = Vec::new();
    if let Some(own) = &own {
        synonyms.push((property.name.to_owned(), own.clone(), SOURCE_CLUSTER));
    }
    synonyms.push((property.name.to_owned(), default.clone(), SOURCE_DEFAULT));
    Described {
        name: name.to_owned(),
        source: synonyms[0].2,
        value: own.unwrap_or(default),
        read_only: false,
        secret: property.secret,
        type_code: type_code(property.kind),
        documentation: property.description.to_owned(),
        synonyms,
    }
}

/// Kafka: `ConfigResponse.ConfigType`.
fn type_code(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::Text | Kind::Choice(_) => 2,
        Kind::Integer { .. } => 5,
        Kind::Number { .. } => 6,
        Kind::List | Kind::Choices(_) => 7,
    }
}

/// What the broker's own file says.
fn of_node(session: &Session) -> Vec<Described> {
    let config = &session.node.config;
    let listener = |name: &str, address: &HostPort| format!("{name}://{address}");
    let bound = config
        .listeners_of(crate::config::Api::Kafka)
        .map(|entry| listener(&entry.name, &HostPort::new(entry.bind.ip().to_string(), entry.bind.port())));
    let advertised = config.advertised_kafka_api.iter().map(|entry| listener(&entry.name, &entry.address));
    let rows = [
        ("advertised.listeners", Some(join(advertised)), 2, "The addresses that clients are told."),
        ("broker.id", Some(session.node.id().to_string()), 3, "The broker's id."),
        ("broker.rack", config.rack.clone(), 2, "The broker's rack."),
        ("listeners", Some(join(bound)), 2, "The addresses that the broker listens on."),
        (
            "log.dirs",
            Some(config.data_directory.display().to_string()),
            2,
            "Where the broker keeps its data.",
        ),
    ];
    let describe = |(name, value, type_code, documentation): (&str, Option<String>, i8, &str)| Described {
        name: name.to_owned(),
        synonyms: vec![(name.to_owned(), value.clone(), SOURCE_STATIC)],
        value,
        source: SOURCE_STATIC,
        read_only: true,
        secret: false,
        type_code,
        documentation: documentation.to_owned(),
    };
    rows.into_iter().map(describe).collect()
}

fn join(addresses: impl Iterator<Item = String>) -> String {
    addresses.collect::<Vec<String>>().join(",")
}
