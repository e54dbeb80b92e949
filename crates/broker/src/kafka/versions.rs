//! Which requests are offered, in which versions.
//!
//! Each key from the lowest version that present clients send (clients.md, version table) or that
//! `kafka-protocol` reads, to the highest that it reads. Produce is offered from 0 though read from 3:
//! librdkafka turns compression off where Produce 0 is missing (Apache Kafka 4.0 does the same, KAFKA-18659).

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, CreateTopicsRequest, FetchRequest, FindCoordinatorRequest,
    ListOffsetsRequest, MetadataRequest, ProduceRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use kafka_protocol::protocol::{Message, VersionRange};

/// A key that is offered.
pub(super) struct Offered {
    pub key: ApiKey,
    /// The lowest version that is offered.
    pub least: i16,
    /// The versions that are answered.
    pub read: VersionRange,
}

impl Offered {
    /// Whether a request of this version can be read.
    pub fn answers(&self, version: i16) -> bool {
        (self.read.min.max(self.least)..=self.read.max).contains(&version)
    }
}

const fn key<T: Message>(key: ApiKey, least: i16) -> Offered {
    Offered { key, least, read: T::VERSIONS }
}

/// Every key that is offered, by number.
pub(super) const OFFERED: [Offered; 9] = [
    key::<ProduceRequest>(ApiKey::Produce, 0),
    key::<FetchRequest>(ApiKey::Fetch, 4),
    key::<ListOffsetsRequest>(ApiKey::ListOffsets, 1),
    key::<MetadataRequest>(ApiKey::Metadata, 0),
    key::<FindCoordinatorRequest>(ApiKey::FindCoordinator, 0),
    key::<SaslHandshakeRequest>(ApiKey::SaslHandshake, 0),
    key::<ApiVersionsRequest>(ApiKey::ApiVersions, 0),
    key::<CreateTopicsRequest>(ApiKey::CreateTopics, 3),
    key::<SaslAuthenticateRequest>(ApiKey::SaslAuthenticate, 0),
];

/// The entry of a key.
pub(super) fn offered(key: i16) -> Option<&'static Offered> {
    OFFERED.iter().find(|offered| offered.key as i16 == key)
}
