//! The records of `__consumer_offsets`.
//!
//! Keys and values are Kafka's: a key of version 1 is a committed offset (group, topic, partition), one of
//! version 2 is a group; their values are of version 3, an offset with an expiry of its own of version 1. A
//! key without a value is a tombstone. Older versions are read. Source: Apache Kafka, the schemas
//! `OffsetCommitKey`, `OffsetCommitValue`, `GroupMetadataKey`, `GroupMetadataValue`. Those of groups of the
//! consumer protocol are in [`super::consumer_protocol::change`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::consumer_protocol::change::Change;
use super::group::Group;
use super::offsets::{Committed, TopicPartition};
use crate::coordinator::Record;
use crate::coordinator::codec::{FieldReader, FieldWriter, Malformed};

const OFFSET_KEY: i16 = 1;
const GROUP_KEY: i16 = 2;
const OFFSET_VALUE: i16 = 3;
/// The last version that has an expiry.
const EXPIRING_OFFSET_VALUE: i16 = 1;
const GROUP_VALUE: i16 = 3;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupRecord {
    /// A committed offset; `None` for one that is no more.
    Offset { group: String, partition: TopicPartition, committed: Option<Committed> },
    /// A group; `None` for one that is no more.
    Group { group: String, stored: Option<StoredGroup> },
    /// A change of a group of the consumer protocol.
    Consumer { group: String, change: Change },
    /// A kind of record that is not known here, and is left alone.
    Other,
}

/// A group as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredGroup {
    pub protocol_type: String,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    /// Since when the group has its state, milliseconds since 1970; -1 where it is not told.
    pub state_since_ms: i64,
    pub members: Vec<StoredMember>,
}

/// A member as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredMember {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub subscription: Bytes,
    pub assignment: Bytes,
}

/// A committed offset.
pub(crate) fn offset_record(group: &str, partition: &TopicPartition, committed: &Committed) -> Record {
    let version = if committed.expires_ms.is_some() { EXPIRING_OFFSET_VALUE } else { OFFSET_VALUE };
    let mut value = FieldWriter::version(version);
    value.i64(committed.offset);
    if version == OFFSET_VALUE {
        value.i32(committed.leader_epoch);
    }
    value.text(&committed.metadata).i64(committed.committed_ms);
    if let Some(expires_ms) = committed.expires_ms {
        value.i64(expires_ms);
    }
    Record { key: offset_key(group, partition), value: Some(value.finish()) }
}

/// The end of a committed offset.
pub(crate) fn offset_tombstone(group: &str, partition: &TopicPartition) -> Record {
    Record { key: offset_key(group, partition), value: None }
}

fn offset_key(group: &str, partition: &TopicPartition) -> Bytes {
    let mut key = FieldWriter::version(OFFSET_KEY);
    key.text(group).text(&partition.topic).i32(partition.partition).finish()
}

/// A group, with assignments by member.
pub(crate) fn group_record(group: &Group, assignments: &BTreeMap<String, Bytes>, now_ms: i64) -> Record {
    let millis = |duration: std::time::Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let mut value = FieldWriter::version(GROUP_VALUE);
    value.text(group.protocol_type.as_deref().unwrap_or_default()).i32(group.generation);
    value.optional_text(group.protocol.as_deref()).optional_text(group.leader.as_deref());
    value.i64(now_ms).i32(group.members.len() as i32);
    for member in group.members.values() {
        value.text(&member.id).optional_text(member.instance.as_deref());
        value.text(&member.client_id).text(&member.client_host);
        value.i32(millis(member.rebalance_timeout)).i32(millis(member.session_timeout));
        value.bytes(&member.metadata(group.protocol.as_deref()));
        value.bytes(assignments.get(&member.id).map_or(&[][..], |assignment| assignment));
    }
    Record { key: group_key(&group.id), value: Some(value.finish()) }
}

/// The end of a group.
pub(crate) fn group_tombstone(group: &str) -> Record {
    Record { key: group_key(group), value: None }
}

fn group_key(group: &str) -> Bytes {
    FieldWriter::version(GROUP_KEY).text(group).finish()
}

/// Reads a record.
///
/// # Errors
/// A record that is not of the form its version has.
pub(crate) fn read(record: Record) -> Result<GroupRecord, Malformed> {
    let mut key = FieldReader::new(record.key);
    let version = key.i16()?;
    match version {
        0 | OFFSET_KEY => {
            let group = key.text()?;
            let partition = TopicPartition { topic: key.text()?, partition: key.i32()? };
            let committed = record.value.map(read_offset).transpose()?;
            Ok(GroupRecord::Offset { group, partition, committed })
        }
        GROUP_KEY => {
            let group = key.text()?;
            Ok(GroupRecord::Group { group, stored: record.value.map(read_group).transpose()? })
        }
        _ => match Change::read(version, key, record.value)? {
            Some((group, change)) => Ok(GroupRecord::Consumer { group, change }),
            None => Ok(GroupRecord::Other),
        },
    }
}

fn read_offset(value: Bytes) -> Result<Committed, Malformed> {
    let mut value = FieldReader::new(value);
    let version = value.i16()?;
    if !(0..=OFFSET_VALUE).contains(&version) {
        return Err(Malformed);
    }
    let offset = value.i64()?;
    let leader_epoch = if version >= 3 { value.i32()? } else { -1 };
    let metadata = value.text()?;
    let committed_ms = value.i64()?;
    let expires_ms = if version == 1 { Some(value.i64()?).filter(|ms| *ms >= 0) } else { None };
    Ok(Committed { offset, leader_epoch, metadata, committed_ms, expires_ms, position: -1 })
}

fn read_group(value: Bytes) -> Result<StoredGroup, Malformed> {
    let mut value = FieldReader::new(value);
    let version = value.i16()?;
    if !(0..=GROUP_VALUE).contains(&version) {
        return Err(Malformed);
    }
    let mut group = StoredGroup {
        protocol_type: value.text()?,
        generation: value.i32()?,
        protocol: value.optional_text()?,
        leader: value.optional_text()?,
        state_since_ms: if version >= 2 { value.i64()? } else { -1 },
        members: Vec::new(),
    };
    for _ in 0..value.count()? {
        let id = value.text()?;
        let instance = if version >= 3 { value.optional_text()? } else { None };
        let (client_id, client_host) = (value.text()?, value.text()?);
        let rebalance_timeout_ms = if version >= 1 { Some(value.i32()?) } else { None };
        let session_timeout_ms = value.i32()?;
        group.members.push(StoredMember {
            id,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
            session_timeout_ms,
            subscription: value.bytes()?,
            assignment: value.bytes()?,
        });
    }
    Ok(group)
}

/// The topics of a consumer's subscription; `None` if it cannot be read.
///
/// Source: Kafka's `ConsumerProtocolSubscription`, whose first field in every version is the list of topics.
pub(crate) fn subscribed_topics(subscription: &Bytes) -> Option<Vec<String>> {
    let mut reader = FieldReader::new(subscription.clone());
    reader.i16().ok().filter(|version| *version >= 0)?;
    let count = reader.count().ok()?;
    (0..count).map(|_| reader.text().ok()).collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ConsumerProtocolSubscription;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;

    fn committed(expires_ms: Option<i64>) -> Committed {
        Committed {
            offset: 7,
            leader_epoch: if expires_ms.is_some() { -1 } else { 3 },
            metadata: "m".into(),
            committed_ms: 1000,
            expires_ms,
            position: -1,
        }
    }

    #[test]
    fn offsets_come_back_as_they_were() {
        let partition = TopicPartition::new("orders", 4);
        for expires_ms in [None, Some(2000)] {
            let record = offset_record("g", &partition, &committed(expires_ms));
            let expected = GroupRecord::Offset {
                group: "g".into(),
                partition: partition.clone(),
                committed: Some(committed(expires_ms)),
            };
            assert_eq!(read(record), Ok(expected));
        }
        let gone = GroupRecord::Offset { group: "g".into(), partition: partition.clone(), committed: None };
        assert_eq!(read(offset_tombstone("g", &partition)), Ok(gone));
    }

    #[test]
    fn the_key_of_an_offset_is_kafkas() {
        let record = offset_tombstone("g", &TopicPartition::new("t", 258));
        assert_eq!(&record.key[..], b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x01\x02");
        assert_eq!(&group_tombstone("g").key[..], b"\x00\x02\x00\x01g");
    }

    #[test]
    fn values_of_older_versions_are_read() {
        let mut value = FieldWriter::version(0);
        value.i64(5).text("").i64(9);
        let record =
            Record { key: offset_key("g", &TopicPartition::new("t", 0)), value: Some(value.finish()) };
        let Ok(GroupRecord::Offset { committed: Some(committed), .. }) = read(record) else { panic!() };
        assert_eq!((committed.offset, committed.leader_epoch, committed.committed_ms), (5, -1, 9));
        let mut value = FieldWriter::version(0);
        value.text("consumer").i32(4).optional_text(Some("range")).optional_text(None).i32(1);
        value.text("m").text("c").text("/h").i32(30_000).bytes(b"s").bytes(b"a");
        let record = Record { key: group_key("g"), value: Some(value.finish()) };
        let Ok(GroupRecord::Group { stored: Some(stored), .. }) = read(record) else { panic!() };
        assert_eq!((stored.generation, stored.members[0].rebalance_timeout_ms), (4, 30_000));
    }

    #[test]
    fn what_is_not_whole_is_an_error_and_not_a_panic() {
        let record = offset_record("g", &TopicPartition::new("orders", 4), &committed(None));
        let value = record.value.unwrap();
        for length in 0..value.len() {
            let cut = Record { key: record.key.clone(), value: Some(value.slice(..length)) };
            assert_eq!(read(cut), Err(Malformed), "{length}");
        }
        let unknown = Record { key: Bytes::from_static(b"\x00\x63"), value: None };
        assert_eq!(read(unknown), Ok(GroupRecord::Other));
    }

    #[test]
    fn subscriptions_of_every_version_are_read() {
        for version in 0..=3 {
            let mut bytes = bytes::BytesMut::new();
            bytes::BufMut::put_i16(&mut bytes, version);
            ConsumerProtocolSubscription::default()
                .with_topics(vec![StrBytes::from_static_str("a"), StrBytes::from_static_str("b")])
                .encode(&mut bytes, version)
                .unwrap();
            assert_eq!(subscribed_topics(&bytes.freeze()), Some(vec!["a".to_owned(), "b".to_owned()]));
        }
        assert_eq!(subscribed_topics(&Bytes::from_static(b"\x00\x00\x7f\xff\xff\xff")), None);
    }
}
