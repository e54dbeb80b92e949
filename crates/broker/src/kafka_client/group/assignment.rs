//! Sharing partitions out among the members of a group: the range assignor.
//!
//! Of each topic, the members that want it get neighbouring partitions, the first ones one more where they do
//! not divide evenly (Kafka: `RangeAssignor`). Subscription and assignment are the consumer protocol's; what
//! other members say in them is read field by field, because anybody can be a member.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment::TopicPartition as AssignedTopic;
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::coordinator::codec::FieldReader;
use crate::kafka_client::{KafkaError, TopicPartition, topic_name};

/// The consumer protocol's version, which precedes its messages.
const VERSION: i16 = 0;

fn malformed(error: impl std::fmt::Display) -> KafkaError {
    KafkaError::Malformed(error.to_string())
}

/// A member's wish for topics.
///
/// # Errors
/// Too many of them.
pub(crate) fn subscription(topics: &[String]) -> Result<Bytes, KafkaError> {
    let topics = topics.iter().map(|topic| StrBytes::from_string(topic.clone())).collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    let message = ConsumerProtocolSubscription::default().with_topics(topics);
    message.encode(&mut bytes, VERSION).map_err(malformed)?;
    Ok(bytes.freeze())
}

/// The topics of a wish.
///
/// # Errors
/// What is none.
pub(crate) fn subscribed(bytes: Bytes) -> Result<Vec<String>, KafkaError> {
    let mut fields = FieldReader::new(bytes);
    // A later version begins with the fields of this one.
    let _version = fields.i16().map_err(malformed)?;
    let count = fields.count().map_err(malformed)?;
    (0..count).map(|_| fields.text().map_err(malformed)).collect()
}

/// What a member gets.
///
/// # Errors
/// Too much.
pub(crate) fn encode(partitions: &[TopicPartition]) -> Result<Bytes, KafkaError> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let assigned = topics
        .into_iter()
        .map(|(topic, partitions)| {
            AssignedTopic::default().with_topic(topic_name(topic)).with_partitions(partitions)
        })
        .collect();
    let mut bytes = BytesMut::new();
    bytes.put_i16(VERSION);
    let message = ConsumerProtocolAssignment::default().with_assigned_partitions(assigned);
    message.encode(&mut bytes, VERSION).map_err(malformed)?;
    Ok(bytes.freeze())
}

/// The partitions that a member was given, in order; no bytes are no partitions.
///
/// # Errors
/// What is no assignment.
pub(crate) fn decode(bytes: Bytes) -> Result<Vec<TopicPartition>, KafkaError> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = FieldReader::new(bytes);
    let _version = fields.i16().map_err(malformed)?;
    let mut partitions = Vec::new();
    for _ in 0..fields.count().map_err(malformed)? {
        let topic = fields.text().map_err(malformed)?;
        for _ in 0..fields.count().map_err(malformed)? {
            partitions.push((topic.clone(), fields.i32().map_err(malformed)?));
        }
    }
    partitions.sort_unstable();
    Ok(partitions)
}

/// Shares the partitions of all topics out. `members` are their ids and wishes.
pub(crate) fn share(
    members: &BTreeMap<String, Vec<String>>,
    topics: &BTreeMap<String, Vec<i32>>,
) -> BTreeMap<String, Vec<TopicPartition>> {
    let mut shares: BTreeMap<String, Vec<TopicPartition>> =
        members.keys().map(|member| (member.clone(), Vec::new())).collect();
    for (topic, partitions) in topics {
        let wanting: Vec<&String> =
            members.iter().filter(|(_, wishes)| wishes.contains(topic)).map(|(member, _)| member).collect();
        let mut rest = partitions.as_slice();
        for (index, member) in wanting.iter().enumerate() {
            let left = wanting.len() - index;
            let (own, others) = rest.split_at(rest.len().div_ceil(left));
            rest = others;
            let own = own.iter().map(|partition| (topic.clone(), *partition));
            shares.entry((*member).clone()).or_default().extend(own);
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn ranges_are_even_and_only_for_those_who_want_them() {
        let members = [("a", &["t"][..]), ("b", &["t", "u"]), ("c", &["t"])];
        let members = members.iter().map(|(id, wishes)| (id.to_string(), strings(wishes))).collect();
        let topics = [("t".to_owned(), vec![0, 1, 2, 3]), ("u".to_owned(), vec![0, 1])].into_iter().collect();
        let shares = share(&members, &topics);
        let of = |member: &str| {
            let share = &shares[member];
            share.iter().map(|(topic, partition)| format!("{topic}{partition}")).collect::<Vec<_>>()
        };
        assert_eq!(of("a"), ["t0", "t1"]);
        assert_eq!(of("b"), ["t2", "u0", "u1"]);
        assert_eq!(of("c"), ["t3"]);
        let many = (0..5).map(|id| (format!("m{id}"), strings(&["u"]))).collect();
        let shares = share(&many, &topics);
        assert_eq!(shares.values().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0, 0, 0]);
    }

    #[test]
    fn wishes_and_shares_survive_the_wire() {
        let topics = strings(&["orders", "users"]);
        assert_eq!(subscribed(subscription(&topics).unwrap()).unwrap(), topics);
        let partitions = vec![("a".to_owned(), 0), ("a".to_owned(), 3), ("b".to_owned(), 1)];
        assert_eq!(decode(encode(&partitions).unwrap()).unwrap(), partitions);
        assert_eq!(decode(Bytes::new()).unwrap(), []);
        assert!(subscribed(Bytes::from_static(b"\0")).is_err());
        assert!(decode(Bytes::from_static(b"\0\0\x7f\xff\xff\xff")).is_err());
    }
}
