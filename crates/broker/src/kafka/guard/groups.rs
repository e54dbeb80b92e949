//! Outlines of the requests of consumer groups. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Bytes, Fixed, Numbers, Structures, Text, Texts};
use super::{Field, all, between, from};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::JoinGroup => JOIN_GROUP,
        ApiKey::SyncGroup => SYNC_GROUP,
        ApiKey::Heartbeat => HEARTBEAT,
        ApiKey::LeaveGroup => LEAVE_GROUP,
        ApiKey::OffsetCommit => OFFSET_COMMIT,
        ApiKey::OffsetFetch => OFFSET_FETCH,
        ApiKey::DescribeGroups => DESCRIBE_GROUPS,
        ApiKey::ListGroups => LIST_GROUPS,
        ApiKey::DeleteGroups => DELETE_GROUPS,
        ApiKey::OffsetDelete => OFFSET_DELETE,
        ApiKey::ConsumerGroupHeartbeat => CONSUMER_GROUP_HEARTBEAT,
        ApiKey::ConsumerGroupDescribe => CONSUMER_GROUP_DESCRIBE,
        _ => return None,
    })
}

const FIND_COORDINATOR: &[Field] = &[between(0, 3, Text), from(1, Fixed(1)), from(4, Texts)];
const JOIN_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    from(1, Fixed(4)),
    all(Text),
    from(5, Text),
    all(Text),
    all(Structures(&[all(Text), all(Bytes)])),
    from(8, Text),
];
const SYNC_GROUP: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    from(3, Text),
    from(5, Text),
    from(5, Text),
    all(Structures(&[all(Text), all(Bytes)])),
];
const HEARTBEAT: &[Field] = &[all(Text), all(Fixed(4)), all(Text), from(3, Text)];
const LEAVE_GROUP: &[Field] =
    &[all(Text), between(0, 2, Text), from(3, Structures(&[from(3, Text), from(3, Text), from(5, Text)]))];
const OFFSET_COMMIT: &[Field] = &[
    all(Text),
    all(Fixed(4)),
    all(Text),
    from(7, Text),
    between(0, 4, Fixed(8)),
    all(Structures(&[all(Text), all(Structures(&[all(Fixed(12)), from(6, Fixed(4)), all(Text)]))])),
];
const OFFSET_FETCH: &[Field] = &[
    between(0, 7, Text),
    between(0, 7, Structures(&[between(0, 7, Text), between(0, 7, Numbers(4))])),
    from(
        8,
        Structures(&[
            from(8, Text),
            from(9, Text),
            from(9, Fixed(4)),
            from(8, Structures(&[from(8, Text), from(8, Numbers(4))])),
        ]),
    ),
    from(7, Fixed(1)),
];
const DESCRIBE_GROUPS: &[Field] = &[all(Texts), from(3, Fixed(1))];
const LIST_GROUPS: &[Field] = &[from(4, Texts), from(5, Texts)];
const DELETE_GROUPS: &[Field] = &[all(Texts)];
const OFFSET_DELETE: &[Field] =
    &[all(Text), all(Structures(&[all(Text), all(Structures(&[all(Fixed(4))]))]))];
const CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    all(Text),
    all(Text),
    all(Fixed(4)),
    all(Text),
    all(Text),
    all(Fixed(4)),
    all(Texts),
    from(1, Text),
    all(Text),
    all(Structures(&[all(Fixed(16)), all(Numbers(4))])),
];
const CONSUMER_GROUP_DESCRIBE: &[Field] = &[all(Texts), all(Fixed(1))];
