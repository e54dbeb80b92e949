//! What changes in a group, and the record of `__consumer_offsets` that keeps each change.
//!
//! Keys are those of Apache Kafka's schemas of the same names, versions 3 and 5 to 8 and 16, with values of version
//! 0: `ConsumerGroupMetadata`, `ConsumerGroupMemberMetadata`, `ConsumerGroupTargetAssignmentMetadata`,
//! `ConsumerGroupTargetAssignmentMember`, `ConsumerGroupCurrentMemberAssignment`, `ConsumerGroupRegularExpression`.
//! A change to `None` is a tombstone.

use std::collections::BTreeSet;

use super::Assignment;
use super::reconciliation::{Current, MemberState};
use super::subscription::{Resolved, Subscription};
use crate::coordinator::Record;
use crate::coordinator::codec::{FieldReader, FieldWriter, Malformed};

const EPOCH_KEY: i16 = 3;
const MEMBER_KEY: i16 = 5;
const TARGET_EPOCH_KEY: i16 = 6;
const TARGET_KEY: i16 = 7;
const CURRENT_KEY: i16 = 8;
const REGEX_KEY: i16 = 16;
const VALUE: i16 = 0;
/// The tagged field `MetadataHash`.
const HASH_TAG: u32 = 0;

/// A change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The group's epoch and the hash of its topics.
    Epoch(Option<(i32, u64)>),
    TargetEpoch(Option<i32>),
    /// What a member wants.
    Member(String, Option<Subscription>),
    /// What a member is to have.
    Target(String, Option<Assignment>),
    /// What a member has.
    Current(String, Option<Current>),
    /// What a regular expression stands for.
    Regex(String, Option<Resolved>),
}

impl Change {
    /// What takes a member out.
    pub fn removal(id: &str) -> [Change; 3] {
        [
            Change::Current(id.to_owned(), None),
            Change::Target(id.to_owned(), None),
            Change::Member(id.to_owned(), None),
        ]
    }

    /// Whether it takes something out.
    pub fn is_end(&self) -> bool {
        match self {
            Change::Epoch(to) => to.is_none(),
            Change::TargetEpoch(to) => to.is_none(),
            Change::Member(_, to) => to.is_none(),
            Change::Target(_, to) => to.is_none(),
            Change::Current(_, to) => to.is_none(),
            Change::Regex(_, to) => to.is_none(),
        }
    }

    /// The record that keeps it.
    pub fn record(&self, group: &str) -> Record {
        let key = |version, name: Option<&str>| {
            let mut key = FieldWriter::version(version);
            key.text(group);
            if let Some(name) = name {
                key.text(name);
            }
            key.finish()
        };
        let (key, value) = match self {
            Change::Epoch(epoch) => (key(EPOCH_KEY, None), epoch.map(write_epoch)),
            Change::TargetEpoch(epoch) => (key(TARGET_EPOCH_KEY, None), epoch.map(write_target_epoch)),
            Change::Member(id, wants) => (key(MEMBER_KEY, Some(id)), wants.as_ref().map(write_subscription)),
            Change::Target(id, target) => (key(TARGET_KEY, Some(id)), target.as_ref().map(write_target)),
            Change::Current(id, has) => (key(CURRENT_KEY, Some(id)), has.as_ref().map(write_current)),
            Change::Regex(regex, found) => (key(REGEX_KEY, Some(regex)), found.as_ref().map(write_resolved)),
        };
        Record { key, value: value.map(|mut writer| writer.finish()) }
    }

    /// Reads what a record keeps, behind its key's version; with the group's id. `None` for another kind of
    /// record.
    ///
    /// # Errors
    /// A record that is not of the form its version has.
    pub fn read(
        version: i16,
        mut key: FieldReader,
        value: Option<bytes::Bytes>,
    ) -> Result<Option<(String, Change)>, Malformed> {
        if !matches!(version, EPOCH_KEY | MEMBER_KEY..=CURRENT_KEY | REGEX_KEY) {
            return Ok(None);
        }
        let group = key.text()?;
        let value = value.map(FieldReader::new);
        let change = match version {
            EPOCH_KEY => Change::Epoch(value.map(read_epoch).transpose()?),
            TARGET_EPOCH_KEY => Change::TargetEpoch(value.map(read_target_epoch).transpose()?),
            MEMBER_KEY => Change::Member(key.text()?, value.map(read_subscription).transpose()?),
            TARGET_KEY => Change::Target(key.text()?, value.map(read_target).transpose()?),
            CURRENT_KEY => Change::Current(key.text()?, value.map(read_current).transpose()?),
            _ => Change::Regex(key.text()?, value.map(read_resolved).transpose()?),
        };
        Ok(Some((group, change)))
    }
}

fn write_epoch((epoch, hash): (i32, u64)) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    // Hashes are of 64 bits without a sign here, and with one there.
    value.i32(epoch).tagged_i64(HASH_TAG, hash.cast_signed());
    value
}

fn read_epoch(mut value: FieldReader) -> Result<(i32, u64), Malformed> {
    version(&mut value)?;
    let epoch = value.i32()?;
    Ok((epoch, value.tagged_i64(HASH_TAG)?.unwrap_or(0).cast_unsigned()))
}

fn write_target_epoch(epoch: i32) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    value.i32(epoch).no_tags();
    value
}

fn read_target_epoch(mut value: FieldReader) -> Result<i32, Malformed> {
    version(&mut value)?;
    value.i32()
}

fn write_subscription(wants: &Subscription) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    value.compact_text(wants.instance.as_deref()).compact_text(wants.rack.as_deref());
    value.compact_text(Some(&wants.client_id)).compact_text(Some(&wants.client_host));
    value.compact_count(wants.topics.len());
    for topic in &wants.topics {
        value.compact_text(Some(topic));
    }
    value.compact_text(wants.regex.as_deref()).i32(wants.rebalance_timeout_ms);
    value.compact_text(wants.assignor.as_deref()).no_tags();
    value
}

fn read_subscription(mut value: FieldReader) -> Result<Subscription, Malformed> {
    version(&mut value)?;
    Ok(Subscription {
        instance: value.compact_text()?,
        rack: value.compact_text()?,
        client_id: value.compact_text()?.ok_or(Malformed)?,
        client_host: value.compact_text()?.ok_or(Malformed)?,
        topics: read_texts(&mut value)?,
        regex: value.compact_text()?,
        rebalance_timeout_ms: value.i32()?,
        assignor: value.compact_text()?,
    })
}

fn read_texts(value: &mut FieldReader) -> Result<BTreeSet<String>, Malformed> {
    let count = value.compact_count()?;
    (0..count).map(|_| value.compact_text()?.ok_or(Malformed)).collect()
}

fn write_target(target: &Assignment) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    write_assignment(&mut value, target);
    value.no_tags();
    value
}

fn read_target(mut value: FieldReader) -> Result<Assignment, Malformed> {
    version(&mut value)?;
    read_assignment(&mut value)
}

fn write_current(has: &Current) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    value.i32(has.epoch).i32(has.previous_epoch).i8(has.state as i8);
    write_assignment(&mut value, &has.assigned);
    write_assignment(&mut value, &has.revoking);
    value.no_tags();
    value
}

fn read_current(mut value: FieldReader) -> Result<Current, Malformed> {
    version(&mut value)?;
    let (epoch, previous_epoch) = (value.i32()?, value.i32()?);
    let state = match value.i8()? {
        1 => MemberState::Stable,
        2 => MemberState::Unrevoked,
        3 => MemberState::Unreleased,
        _ => return Err(Malformed),
    };
    let (assigned, revoking) = (read_assignment(&mut value)?, read_assignment(&mut value)?);
    Ok(Current { epoch, previous_epoch, state, assigned, revoking })
}

fn write_assignment(value: &mut FieldWriter, assignment: &Assignment) {
    value.compact_count(assignment.len());
    for (topic, indexes) in assignment {
        value.uuid(*topic).compact_count(indexes.len());
        for index in indexes {
            value.i32(*index);
        }
        value.no_tags();
    }
}

fn read_assignment(value: &mut FieldReader) -> Result<Assignment, Malformed> {
    let mut assignment = Assignment::new();
    for _ in 0..value.compact_count()? {
        let topic = value.uuid()?;
        let count = value.compact_count()?;
        let indexes = (0..count).map(|_| value.i32()).collect::<Result<_, _>>()?;
        value.tags()?;
        assignment.insert(topic, indexes);
    }
    Ok(assignment)
}

fn write_resolved(found: &Resolved) -> FieldWriter {
    let mut value = FieldWriter::version(VALUE);
    value.compact_count(found.topics.len());
    for topic in &found.topics {
        value.compact_text(Some(topic));
    }
    value.i64(i64::try_from(found.version).unwrap_or(i64::MAX)).i64(found.resolved_ms).no_tags();
    value
}

fn read_resolved(mut value: FieldReader) -> Result<Resolved, Malformed> {
    version(&mut value)?;
    let topics = read_texts(&mut value)?;
    let version = u64::try_from(value.i64()?).map_err(|_| Malformed)?;
    Ok(Resolved { topics, version, resolved_ms: value.i64()? })
}

fn version(value: &mut FieldReader) -> Result<(), Malformed> {
    if value.i16()? == VALUE { Ok(()) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::groups::records::{self, GroupRecord};

    fn samples() -> Vec<Change> {
        let assignment = Assignment::from([(Uuid::from_u128(7), BTreeSet::from([0, 300]))]);
        let current = Current {
            epoch: 4,
            previous_epoch: 3,
            state: MemberState::Unrevoked,
            assigned: assignment.clone(),
            revoking: Assignment::new(),
        };
        let subscription = Subscription {
            instance: Some("pod-0".into()),
            client_id: "client".into(),
            client_host: "10.0.0.1".into(),
            topics: BTreeSet::from(["orders".into()]),
            regex: Some("o.*".into()),
            rebalance_timeout_ms: 300_000,
            ..Subscription::default()
        };
        let resolved = Resolved { topics: BTreeSet::from(["orders".into()]), version: 9, resolved_ms: 1000 };
        vec![
            Change::Epoch(Some((3, u64::MAX))),
            Change::Epoch(Some((3, 0))),
            Change::TargetEpoch(Some(2)),
            Change::Member("m".into(), Some(subscription)),
            Change::Target("m".into(), Some(assignment)),
            Change::Current("m".into(), Some(current)),
            Change::Regex("o.*".into(), Some(resolved)),
            Change::Epoch(None),
            Change::TargetEpoch(None),
            Change::Member("m".into(), None),
            Change::Regex("o.*".into(), None),
        ]
    }

    #[test]
    fn changes_come_back_as_they_were() {
        for change in samples() {
            let expected = GroupRecord::Consumer { group: "g".into(), change: change.clone() };
            assert_eq!(records::read(change.record("g")), Ok(expected));
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let record = Change::TargetEpoch(Some(2)).record("g");
        assert_eq!(&record.key[..], b"\x00\x06\x00\x01g");
        assert_eq!(&record.value.unwrap()[..], b"\x00\x00\x00\x00\x00\x02\x00");
        let record = Change::Epoch(Some((1, 5))).record("g");
        assert_eq!(&record.value.unwrap()[..], b"\x00\x00\x00\x00\x00\x01\x01\x00\x08\0\0\0\0\0\0\0\x05");
        let target = Assignment::from([(Uuid::from_u128(1), BTreeSet::from([3]))]);
        let record = Change::Target("m".into(), Some(target)).record("g");
        assert_eq!(&record.key[..], b"\x00\x07\x00\x01g\x00\x01m");
        let id = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let expected = [&b"\x00\x00\x02"[..], &id, b"\x02\x00\x00\x00\x03\x00\x00"].concat();
        assert_eq!(&record.value.unwrap()[..], expected);
    }

    #[test]
    fn what_is_not_whole_is_an_error_and_not_a_panic() {
        for change in samples() {
            let record = change.record("g");
            let Some(value) = record.value else { continue };
            // The tagged fields at the end may be missing.
            for length in 0..value.len() - 1 {
                let cut = Record { key: record.key.clone(), value: Some(value.slice(..length)) };
                let whole = GroupRecord::Consumer { group: "g".into(), change: change.clone() };
                assert_ne!(records::read(cut), Ok(whole), "{change:?} {length}");
            }
        }
    }
}
