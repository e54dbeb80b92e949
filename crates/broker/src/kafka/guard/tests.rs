//! The outlines against `kafka-protocol`: every frame that an outline describes is decoded to its last byte.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::kafka::versions::OFFERED;

/// Bodies that are made up per version.
const BODIES: u64 = 12;

/// Makes up a request that an outline describes.
struct Maker {
    random: ChaCha8Rng,
    version: i16,
    flexible: bool,
    frame: Vec<u8>,
}

impl Maker {
    fn below(&mut self, count: u32) -> u32 {
        self.random.next_u32() % count
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.frame.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.frame.push(value as u8);
    }

    fn header(&mut self, api: ApiKey) {
        self.frame.extend_from_slice(&(api as i16).to_be_bytes());
        self.frame.extend_from_slice(&self.version.to_be_bytes());
        self.frame.extend_from_slice(&[0, 0, 0, 7, 0, 2, b'm', b'e']);
        if self.flexible {
            self.frame.push(0);
        }
    }

    fn fixed(&mut self, count: usize) {
        for _ in 0..count {
            let byte = self.random.next_u32() as u8;
            self.frame.push(byte);
        }
    }

    fn length(&mut self, count: usize, wide: bool) {
        match (self.flexible, wide) {
            (true, _) => self.varint(count + 1),
            (false, true) => self.frame.extend_from_slice(&(count as i32).to_be_bytes()),
            (false, false) => self.frame.extend_from_slice(&(count as i16).to_be_bytes()),
        }
    }

    fn text(&mut self, wide: bool) {
        let count = self.below(4) as usize;
        self.length(count, wide);
        self.frame.extend((0..count).map(|index| b'a' + index as u8));
    }

    fn elements(&mut self) -> usize {
        let count = self.below(3) as usize;
        self.length(count, true);
        count
    }

    fn field(&mut self, kind: &Kind) {
        match kind {
            Kind::Fixed(count) => self.fixed(*count),
            Kind::Text => self.text(false),
            Kind::Bytes => self.text(true),
            Kind::Structure(fields) => self.structure(fields),
            Kind::Optional(fields) => {
                let there = self.below(2) == 1;
                self.frame.push(if there { 1 } else { 0xff });
                if there {
                    self.structure(fields);
                }
            }
            Kind::Structures(fields) => (0..self.elements()).for_each(|_| self.structure(fields)),
            Kind::Numbers(size) => (0..self.elements()).for_each(|_| self.fixed(*size)),
            Kind::Texts => (0..self.elements()).for_each(|_| self.text(false)),
        }
    }

    fn structure(&mut self, fields: &[Field]) {
        let version = self.version;
        let has = |field: &&Field| (field.first..=field.last).contains(&version);
        for field in fields.iter().filter(|field| field.tag.is_none()).filter(has) {
            self.field(&field.kind);
        }
        if self.flexible {
            self.tags(fields.iter().filter(|field| field.tag.is_some()).filter(has));
        }
    }

    /// Every known tag, and one that nobody knows.
    fn tags<'a>(&mut self, known: impl Iterator<Item = &'a Field>) {
        let known: Vec<&Field> = known.collect();
        self.varint(known.len() + 1);
        for field in known {
            let outer = std::mem::take(&mut self.frame);
            self.field(&field.kind);
            let content = std::mem::replace(&mut self.frame, outer);
            self.varint(field.tag.unwrap());
            self.varint(content.len());
            self.frame.extend(content);
        }
        self.varint(1000);
        self.varint(2);
        self.fixed(2);
    }
}

fn made_up(api: ApiKey, version: i16, seed: u64) -> Vec<u8> {
    let random = ChaCha8Rng::seed_from_u64(seed);
    let flexible = api.request_header_version(version) >= 2;
    let mut maker = Maker { random, version, flexible, frame: Vec::new() };
    maker.header(api);
    maker.structure(outline(api).unwrap_or_else(|| panic!("{api:?} has no outline")));
    maker.frame
}

fn fits<T: Message + Decodable>(api: ApiKey) -> ApiKey {
    for version in T::VERSIONS.min..=T::VERSIONS.max {
        for seed in 0..BODIES {
            let frame = made_up(api, version, seed);
            assert_eq!(rest(api, version, &frame), Ok(&[][..]), "{api:?} version {version}");
            let mut bytes = Bytes::copy_from_slice(&frame);
            RequestHeader::decode(&mut bytes, api.request_header_version(version)).unwrap();
            let decoded = T::decode(&mut bytes, version);
            assert!(decoded.is_ok(), "{api:?} version {version}: {:?}", decoded.err());
            assert!(bytes.is_empty(), "{api:?} version {version} has {} bytes left", bytes.len());
            for length in 0..frame.len() {
                assert!(check(api, version, &frame[..length]).is_err(), "{api:?} {version} at {length}");
            }
        }
    }
    api
}

macro_rules! fitting {
    ($($key:ident $request:ident,)+) => { vec![$(fits::<$request>(ApiKey::$key),)+] };
}

#[test]
fn what_an_outline_describes_is_decoded_to_the_last_byte() {
    let checked = fitting! {
        AddOffsetsToTxn AddOffsetsToTxnRequest,
        AddPartitionsToTxn AddPartitionsToTxnRequest,
        AlterClientQuotas AlterClientQuotasRequest,
        AlterConfigs AlterConfigsRequest,
        AlterPartitionReassignments AlterPartitionReassignmentsRequest,
        AlterUserScramCredentials AlterUserScramCredentialsRequest,
        ApiVersions ApiVersionsRequest,
        ConsumerGroupDescribe ConsumerGroupDescribeRequest,
        ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
        CreateAcls CreateAclsRequest,
        CreatePartitions CreatePartitionsRequest,
        CreateTopics CreateTopicsRequest,
        DeleteAcls DeleteAclsRequest,
        DeleteGroups DeleteGroupsRequest,
        DeleteRecords DeleteRecordsRequest,
        DeleteTopics DeleteTopicsRequest,
        DescribeAcls DescribeAclsRequest,
        DescribeClientQuotas DescribeClientQuotasRequest,
        DescribeCluster DescribeClusterRequest,
        DescribeConfigs DescribeConfigsRequest,
        DescribeGroups DescribeGroupsRequest,
        DescribeLogDirs DescribeLogDirsRequest,
        DescribeProducers DescribeProducersRequest,
        DescribeTopicPartitions DescribeTopicPartitionsRequest,
        DescribeTransactions DescribeTransactionsRequest,
        DescribeUserScramCredentials DescribeUserScramCredentialsRequest,
        ElectLeaders ElectLeadersRequest,
        EndTxn EndTxnRequest,
        Fetch FetchRequest,
        FindCoordinator FindCoordinatorRequest,
        GetTelemetrySubscriptions GetTelemetrySubscriptionsRequest,
        Heartbeat HeartbeatRequest,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest,
        InitProducerId InitProducerIdRequest,
        JoinGroup JoinGroupRequest,
        LeaveGroup LeaveGroupRequest,
        ListConfigResources ListConfigResourcesRequest,
        ListGroups ListGroupsRequest,
        ListOffsets ListOffsetsRequest,
        ListPartitionReassignments ListPartitionReassignmentsRequest,
        ListTransactions ListTransactionsRequest,
        Metadata MetadataRequest,
        OffsetCommit OffsetCommitRequest,
        OffsetDelete OffsetDeleteRequest,
        OffsetFetch OffsetFetchRequest,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
        Produce ProduceRequest,
        PushTelemetry PushTelemetryRequest,
        SaslAuthenticate SaslAuthenticateRequest,
        SaslHandshake SaslHandshakeRequest,
        SyncGroup SyncGroupRequest,
        TxnOffsetCommit TxnOffsetCommitRequest,
        WriteTxnMarkers WriteTxnMarkersRequest,
    };
    for offered in OFFERED {
        assert!(checked.contains(&offered.key), "{:?} is offered and not checked", offered.key);
    }
}

/// The frame of a Metadata request whose topics' length is `claim`.
fn metadata(claim: i32) -> Vec<u8> {
    let mut frame = bytes::BytesMut::new();
    RequestHeader::default().with_request_api_key(3).encode(&mut frame, 1).unwrap();
    frame.extend_from_slice(&claim.to_be_bytes());
    frame.to_vec()
}

#[test]
fn a_claim_beyond_the_frame_is_refused() {
    let frame = metadata(i32::MAX);
    assert_eq!(check(ApiKey::Metadata, 1, &frame), Err(OutlineError::Elements(i32::MAX as usize)));
    let mut many = metadata(ELEMENTS_MAX as i32 + 1);
    many.resize(many.len() + 2 * ELEMENTS_MAX + 2, 0);
    assert_eq!(check(ApiKey::Metadata, 1, &many), Err(OutlineError::Elements(ELEMENTS_MAX + 1)));
}

#[test]
fn a_tag_of_a_false_size_is_refused() {
    // A Fetch without topics whose tag 0, a string of five bytes, claims to have none.
    let mut maker =
        Maker { random: ChaCha8Rng::seed_from_u64(0), version: 12, flexible: true, frame: Vec::new() };
    maker.header(ApiKey::Fetch);
    maker.fixed(4 + 13 + 8);
    maker.frame.extend_from_slice(&[1, 1, 1]);
    let mut good = maker.frame.clone();
    good.extend_from_slice(&[1, 0, 6, 6, b'a', b'b', b'c', b'd', b'e']);
    assert_eq!(check(ApiKey::Fetch, 12, &good), Ok(()));
    let mut bad = maker.frame;
    bad.extend_from_slice(&[1, 0, 0, 6, b'a', b'b', b'c', b'd', b'e']);
    assert_eq!(check(ApiKey::Fetch, 12, &bad), Err(OutlineError::Tag));
}
