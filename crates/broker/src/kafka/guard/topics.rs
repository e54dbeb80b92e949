//! Outlines of the requests for topics, partitions and brokers. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Fixed, Numbers, Optional, Structures, Text, Texts};
use super::{Field, all, between, from};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Metadata => METADATA,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::DeleteTopics => DELETE_TOPICS,
        ApiKey::CreatePartitions => CREATE_PARTITIONS,
        ApiKey::DescribeTopicPartitions => DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::DescribeCluster => DESCRIBE_CLUSTER,
        ApiKey::DescribeLogDirs => DESCRIBE_LOG_DIRS,
        ApiKey::ElectLeaders => ELECT_LEADERS,
        ApiKey::AlterPartitionReassignments => ALTER_PARTITION_REASSIGNMENTS,
        ApiKey::ListPartitionReassignments => LIST_PARTITION_REASSIGNMENTS,
        _ => return None,
    })
}

const METADATA: &[Field] = &[
    all(Structures(&[from(10, Fixed(16)), all(Text)])),
    from(4, Fixed(1)),
    between(8, 10, Fixed(1)),
    from(8, Fixed(1)),
];
const CREATE_TOPICS: &[Field] = &[
    all(Structures(&[
        all(Text),
        all(Fixed(6)),
        all(Structures(&[all(Fixed(4)), all(Numbers(4))])),
        all(Structures(&[all(Text), all(Text)])),
    ])),
    all(Fixed(5)),
];
const DELETE_TOPICS: &[Field] =
    &[from(6, Structures(&[from(6, Text), from(6, Fixed(16))])), between(0, 5, Texts), all(Fixed(4))];
const CREATE_PARTITIONS: &[Field] =
    &[all(Structures(&[all(Text), all(Fixed(4)), all(Structures(&[all(Numbers(4))]))])), all(Fixed(5))];
const DESCRIBE_TOPIC_PARTITIONS: &[Field] =
    &[all(Structures(&[all(Text)])), all(Fixed(4)), all(Optional(&[all(Text), all(Fixed(4))]))];
const DESCRIBE_CLUSTER: &[Field] = &[all(Fixed(1)), from(1, Fixed(1)), from(2, Fixed(1))];
const DESCRIBE_LOG_DIRS: &[Field] = &[all(Structures(&[all(Text), all(Numbers(4))]))];
const ELECT_LEADERS: &[Field] =
    &[from(1, Fixed(1)), all(Structures(&[all(Text), all(Numbers(4))])), all(Fixed(4))];
const ALTER_PARTITION_REASSIGNMENTS: &[Field] = &[
    all(Fixed(4)),
    from(1, Fixed(1)),
    all(Structures(&[all(Text), all(Structures(&[all(Fixed(4)), all(Numbers(4))]))])),
];
const LIST_PARTITION_REASSIGNMENTS: &[Field] =
    &[all(Fixed(4)), all(Structures(&[all(Text), all(Numbers(4))]))];
