//! A request's outline, checked before it is decoded.
//!
//! `kafka-protocol` reserves memory for as many elements as an array's length claims. A frame of a few bytes
//! can claim two billion, so the lengths are compared here with the bytes that are left. The outlines follow
//! the protocol guide's request schemas; fields of a fixed size are merely passed over.

use kafka_protocol::messages::ApiKey;

/// Elements that one array may have, whatever the frame's length.
const ELEMENTS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutlineError {
    #[error("it ends within a field")]
    Short,
    #[error("an array claims {0} elements")]
    Elements(usize),
}

/// A field: its kind and the versions that have it.
struct Field {
    kind: Kind,
    first: i16,
    last: i16,
}

enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A string, or null.
    Text,
    /// Bytes, or null.
    Bytes,
    /// An array of structures.
    Structures(&'static [Field]),
    /// An array of integers of 4 bytes.
    Integers,
    /// An array of strings.
    Texts,
}

const fn all(kind: Kind) -> Field {
    Field { kind, first: 0, last: i16::MAX }
}

const fn from(first: i16, kind: Kind) -> Field {
    Field { kind, first, last: i16::MAX }
}

const fn between(first: i16, last: i16, kind: Kind) -> Field {
    Field { kind, first, last }
}

use Kind::{Bytes, Fixed, Integers, Structures, Text, Texts};

const METADATA: &[Field] = &[
    all(Structures(&[from(10, Fixed(16)), all(Text)])),
    from(4, Fixed(1)),
    between(8, 10, Fixed(1)),
    from(8, Fixed(1)),
];
const PRODUCE: &[Field] = &[
    all(Text),
    all(Fixed(2)),
    all(Fixed(4)),
    all(Structures(&[
        between(0, 12, Text),
        from(13, Fixed(16)),
        all(Structures(&[all(Fixed(4)), all(Bytes)])),
    ])),
];
const FETCH: &[Field] = &[
    between(0, 14, Fixed(4)),
    all(Fixed(4 + 4 + 4 + 1)),
    from(7, Fixed(4 + 4)),
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
        ])),
    ])),
    from(7, Structures(&[between(7, 12, Text), from(13, Fixed(16)), all(Integers)])),
    from(11, Text),
];
const LIST_OFFSETS: &[Field] = &[
    all(Fixed(4)),
    from(2, Fixed(1)),
    all(Structures(&[all(Text), all(Structures(&[all(Fixed(4)), from(4, Fixed(4)), all(Fixed(8))]))])),
    from(10, Fixed(4)),
];
const FIND_COORDINATOR: &[Field] = &[between(0, 3, Text), from(1, Fixed(1)), from(4, Texts)];
const CREATE_TOPICS: &[Field] = &[
    all(Structures(&[
        all(Text),
        all(Fixed(4 + 2)),
        all(Structures(&[all(Fixed(4)), all(Integers)])),
        all(Structures(&[all(Text), all(Text)])),
    ])),
    all(Fixed(4)),
    from(1, Fixed(1)),
];
const API_VERSIONS: &[Field] = &[from(3, Text), from(3, Text)];

/// Checks a request frame (header and body).
///
/// # Errors
/// A frame that ends too early, or an array that cannot have the elements it claims.
pub(super) fn check(api: ApiKey, version: i16, frame: &[u8]) -> Result<(), OutlineError> {
    rest(api, version, frame).map(drop)
}

/// What follows the request in its frame; normally nothing.
fn rest(api: ApiKey, version: i16, frame: &[u8]) -> Result<&[u8], OutlineError> {
    let fields = match api {
        ApiKey::Metadata => METADATA,
        ApiKey::Produce => PRODUCE,
        ApiKey::Fetch => FETCH,
        ApiKey::ListOffsets => LIST_OFFSETS,
        ApiKey::FindCoordinator => FIND_COORDINATOR,
        ApiKey::CreateTopics => CREATE_TOPICS,
        ApiKey::ApiVersions => API_VERSIONS,
        _ => return Ok(&[]),
    };
    let flexible = api.request_header_version(version) >= 2;
    let mut walk = Walk { rest: frame, version, flexible: false };
    // Key, version, correlation id; the client id has a length of 2 bytes in every header version (KIP-482).
    walk.take(8)?;
    walk.text()?;
    walk.flexible = flexible;
    walk.tags()?;
    walk.structure(fields)?;
    Ok(walk.rest)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl<'a> Walk<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], OutlineError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(OutlineError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<usize, OutlineError> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn integer(&mut self) -> Result<i32, OutlineError> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<(), OutlineError> {
        let length = if self.flexible {
            self.varint()?.saturating_sub(1)
        } else {
            let bytes = self.take(2)?;
            usize::try_from(i16::from_be_bytes([bytes[0], bytes[1]])).unwrap_or(0)
        };
        self.take(length).map(drop)
    }

    fn bytes(&mut self) -> Result<(), OutlineError> {
        let length = self.length()?;
        self.take(length).map(drop)
    }

    /// The length of an array or of bytes; null counts as 0.
    fn length(&mut self) -> Result<usize, OutlineError> {
        if self.flexible {
            Ok(self.varint()?.saturating_sub(1))
        } else {
            Ok(usize::try_from(self.integer()?).unwrap_or(0))
        }
    }

    fn elements(&mut self) -> Result<usize, OutlineError> {
        let count = self.length()?;
        if count > self.rest.len() || count > ELEMENTS_MAX {
            Err(OutlineError::Elements(count))
        } else {
            Ok(count)
        }
    }

    fn tags(&mut self) -> Result<(), OutlineError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.elements_of_tags()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(size)?;
        }
        Ok(())
    }

    fn elements_of_tags(&mut self) -> Result<usize, OutlineError> {
        let count = self.varint()?;
        if count > self.rest.len() { Err(OutlineError::Elements(count)) } else { Ok(count) }
    }

    fn structure(&mut self, fields: &[Field]) -> Result<(), OutlineError> {
        for field in fields {
            if (field.first..=field.last).contains(&self.version) {
                self.field(&field.kind)?;
            }
        }
        self.tags()
    }

    fn field(&mut self, kind: &Kind) -> Result<(), OutlineError> {
        match kind {
            Fixed(count) => self.take(*count).map(drop),
            Text => self.text(),
            Bytes => self.bytes(),
            Structures(fields) => (0..self.elements()?).try_for_each(|_| self.structure(fields)),
            Integers => (0..self.elements()?).try_for_each(|_| self.take(4).map(drop)),
            Texts => (0..self.elements()?).try_for_each(|_| self.text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_protocol::messages::create_topics_request::{
        CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
    };
    use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
    use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_protocol::messages::{
        ApiVersionsRequest, BrokerId, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest,
        ListOffsetsRequest, MetadataRequest, ProduceRequest, RequestHeader, TopicName,
    };
    use kafka_protocol::protocol::{Encodable, Message, StrBytes};

    use super::*;

    const TEXT: StrBytes = StrBytes::from_static_str("orders");

    /// Each version's outline ends where the request ends, and none of the frame's beginnings makes it fail
    /// otherwise than by being short.
    fn outline_fits<T: Message + Encodable>(api: ApiKey, request: impl Fn(i16) -> T) {
        for version in T::VERSIONS.min..=T::VERSIONS.max {
            let mut frame = BytesMut::new();
            let header = RequestHeader::default().with_request_api_key(api as i16).with_client_id(Some(TEXT));
            header.encode(&mut frame, api.request_header_version(version)).unwrap();
            request(version).encode(&mut frame, version).unwrap();
            assert_eq!(rest(api, version, &frame), Ok(&[][..]), "{api:?} version {version}");
            for length in 0..frame.len() {
                assert!(
                    check(api, version, &frame[..length]).is_err(),
                    "{api:?} version {version} at {length}"
                );
            }
        }
    }

    /// The topic's name, where the version has names; later versions have ids.
    fn named(version: i16) -> TopicName {
        if version < 13 { TopicName(TEXT) } else { TopicName::default() }
    }

    #[test]
    fn outlines_fit_what_is_encoded() {
        outline_fits(ApiKey::ApiVersions, |_| ApiVersionsRequest::default());
        outline_fits(ApiKey::Metadata, |_| {
            let topic = MetadataRequestTopic::default().with_name(Some(TopicName(TEXT)));
            MetadataRequest::default().with_topics(Some(vec![topic.clone(), topic]))
        });
        outline_fits(ApiKey::Produce, |version| {
            let partition = PartitionProduceData::default().with_records(Some(TEXT.into_bytes()));
            let topic = TopicProduceData::default().with_name(named(version));
            let topic = topic.with_partition_data(vec![partition.clone(), partition]);
            ProduceRequest::default().with_topic_data(vec![topic])
        });
        outline_fits(ApiKey::Fetch, |version| {
            let topic = FetchTopic::default().with_topic(named(version));
            let topic = topic.with_partitions(vec![FetchPartition::default(); 2]);
            let forgotten = ForgottenTopic::default().with_topic(named(version)).with_partitions(vec![1, 2]);
            let forgotten = if version < 7 { Vec::new() } else { vec![forgotten] };
            FetchRequest::default().with_topics(vec![topic]).with_forgotten_topics_data(forgotten)
        });
        outline_fits(ApiKey::ListOffsets, |_| {
            let topic = ListOffsetsTopic::default().with_name(TopicName(TEXT));
            let topic = topic.with_partitions(vec![ListOffsetsPartition::default(); 2]);
            ListOffsetsRequest::default().with_topics(vec![topic])
        });
        outline_fits(ApiKey::FindCoordinator, |version| match version {
            4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![TEXT; 2]),
            _ => FindCoordinatorRequest::default().with_key(TEXT),
        });
        outline_fits(ApiKey::CreateTopics, |_| {
            let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1); 3]);
            let config = CreatableTopicConfig::default().with_name(TEXT).with_value(Some(TEXT));
            let topic = CreatableTopic::default().with_name(TopicName(TEXT));
            let topic = topic.with_assignments(vec![assignment]).with_configs(vec![config]);
            CreateTopicsRequest::default().with_topics(vec![topic])
        });
    }

    #[test]
    fn a_claim_beyond_the_frame_is_refused() {
        let mut frame = BytesMut::new();
        RequestHeader::default().with_request_api_key(3).encode(&mut frame, 1).unwrap();
        frame.extend_from_slice(&i32::MAX.to_be_bytes());
        assert_eq!(check(ApiKey::Metadata, 1, &frame), Err(OutlineError::Elements(i32::MAX as usize)));
    }
}
