//! Outlines of the requests for records and offsets. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Bytes, Fixed, Numbers, Structure, Structures, Text};
use super::{Field, all, between, from, tagged};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::OffsetForLeaderEpoch => OFFSET_FOR_LEADER_EPOCH,
        ApiKey::DeleteRecords => DELETE_RECORDS,
        _ => return None,
    })
}

const PRODUCE: &[Field] = &[
    from(3, Text),
    all(Fixed(6)),
    all(Structures(&[
        between(0, 12, Text),
        from(13, Fixed(16)),
        all(Structures(&[all(Fixed(4)), all(Bytes)])),
    ])),
];
const FETCH: &[Field] = &[
    between(0, 14, Fixed(4)),
    all(Fixed(13)),
    from(7, Fixed(8)),
    all(Structures(&[
        between(0, 12, Text),
        from(13, Fixed(16)),
        all(Structures(&[
            all(Fixed(4)),
            from(9, Fixed(4)),
            all(Fixed(8)),
            from(12, Fixed(4)),
            from(5, Fixed(8)),
            all(Fixed(4)),
            tagged(0, 17, Fixed(16)),
            tagged(1, 18, Fixed(8)),
        ])),
    ])),
    from(7, Structures(&[between(7, 12, Text), from(13, Fixed(16)), from(7, Numbers(4))])),
    from(11, Text),
    tagged(0, 0, Text),
    tagged(1, 15, Structure(&[from(15, Fixed(12))])),
];
const LIST_OFFSETS: &[Field] = &[
    all(Fixed(4)),
    from(2, Fixed(1)),
    all(Structures(&[all(Text), all(Structures(&[all(Fixed(4)), from(4, Fixed(4)), all(Fixed(8))]))])),
    from(10, Fixed(4)),
];
const OFFSET_FOR_LEADER_EPOCH: &[Field] =
    &[from(3, Fixed(4)), all(Structures(&[all(Text), all(Structures(&[all(Fixed(12))]))]))];
const DELETE_RECORDS: &[Field] =
    &[all(Structures(&[all(Text), all(Structures(&[all(Fixed(12))]))])), all(Fixed(4))];
