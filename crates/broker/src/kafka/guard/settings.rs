//! Outlines of the requests for versions, configurations, quotas and telemetry. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Bytes, Fixed, Numbers, Structures, Text, Texts};
use super::{Field, all, from};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::DescribeConfigs => DESCRIBE_CONFIGS,
        ApiKey::AlterConfigs => ALTER_CONFIGS,
        ApiKey::IncrementalAlterConfigs => INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DescribeClientQuotas => DESCRIBE_CLIENT_QUOTAS,
        ApiKey::AlterClientQuotas => ALTER_CLIENT_QUOTAS,
        ApiKey::GetTelemetrySubscriptions => GET_TELEMETRY_SUBSCRIPTIONS,
        ApiKey::PushTelemetry => PUSH_TELEMETRY,
        ApiKey::ApiVersions => API_VERSIONS,
        ApiKey::ListConfigResources => LIST_CONFIG_RESOURCES,
        _ => return None,
    })
}

const DESCRIBE_CONFIGS: &[Field] =
    &[all(Structures(&[all(Fixed(1)), all(Text), all(Texts)])), all(Fixed(1)), from(3, Fixed(1))];
const ALTER_CONFIGS: &[Field] =
    &[all(Structures(&[all(Fixed(1)), all(Text), all(Structures(&[all(Text), all(Text)]))])), all(Fixed(1))];
const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    all(Structures(&[all(Fixed(1)), all(Text), all(Structures(&[all(Text), all(Fixed(1)), all(Text)]))])),
    all(Fixed(1)),
];
const DESCRIBE_CLIENT_QUOTAS: &[Field] =
    &[all(Structures(&[all(Text), all(Fixed(1)), all(Text)])), all(Fixed(1))];
const ALTER_CLIENT_QUOTAS: &[Field] = &[
    all(Structures(&[
        all(Structures(&[all(Text), all(Text)])),
        all(Structures(&[all(Text), all(Fixed(9))])),
    ])),
    all(Fixed(1)),
];
const GET_TELEMETRY_SUBSCRIPTIONS: &[Field] = &[all(Fixed(16))];
const PUSH_TELEMETRY: &[Field] = &[all(Fixed(22)), all(Bytes)];
const API_VERSIONS: &[Field] = &[from(3, Text), from(3, Text)];
const LIST_CONFIG_RESOURCES: &[Field] = &[from(1, Numbers(1))];
