//! Outlines of the requests of producers and transactions. Source: the protocol guide's request schemas.

use kafka_protocol::messages::ApiKey;

use super::Kind::{Fixed, Numbers, Structures, Text, Texts};
use super::{Field, all, between, from};

/// The outline of a request that this file knows.
pub(super) fn outline(api: ApiKey) -> Option<&'static [Field]> {
    Some(match api {
        ApiKey::InitProducerId => INIT_PRODUCER_ID,
        ApiKey::AddPartitionsToTxn => ADD_PARTITIONS_TO_TXN,
        ApiKey::AddOffsetsToTxn => ADD_OFFSETS_TO_TXN,
        ApiKey::EndTxn => END_TXN,
        ApiKey::TxnOffsetCommit => TXN_OFFSET_COMMIT,
        ApiKey::WriteTxnMarkers => WRITE_TXN_MARKERS,
        ApiKey::DescribeProducers => DESCRIBE_PRODUCERS,
        ApiKey::DescribeTransactions => DESCRIBE_TRANSACTIONS,
        ApiKey::ListTransactions => LIST_TRANSACTIONS,
        _ => return None,
    })
}

const INIT_PRODUCER_ID: &[Field] = &[all(Text), all(Fixed(4)), from(3, Fixed(10))];
const ADD_PARTITIONS_TO_TXN: &[Field] = &[
    from(
        4,
        Structures(&[from(4, Text), from(4, Fixed(11)), from(4, Structures(&[all(Text), all(Numbers(4))]))]),
    ),
    between(0, 3, Text),
    between(0, 3, Fixed(10)),
    between(0, 3, Structures(&[all(Text), all(Numbers(4))])),
];
const ADD_OFFSETS_TO_TXN: &[Field] = &[all(Text), all(Fixed(10)), all(Text)];
const END_TXN: &[Field] = &[all(Text), all(Fixed(11))];
const TXN_OFFSET_COMMIT: &[Field] = &[
    all(Text),
    all(Text),
    all(Fixed(10)),
    from(3, Fixed(4)),
    from(3, Text),
    from(3, Text),
    all(Structures(&[all(Text), all(Structures(&[all(Fixed(12)), from(2, Fixed(4)), all(Text)]))])),
];
const WRITE_TXN_MARKERS: &[Field] =
    &[all(Structures(&[all(Fixed(11)), all(Structures(&[all(Text), all(Numbers(4))])), all(Fixed(4))]))];
const DESCRIBE_PRODUCERS: &[Field] = &[all(Structures(&[all(Text), all(Numbers(4))]))];
const DESCRIBE_TRANSACTIONS: &[Field] = &[all(Texts)];
const LIST_TRANSACTIONS: &[Field] = &[all(Texts), all(Numbers(8)), from(1, Fixed(8)), from(2, Text)];
