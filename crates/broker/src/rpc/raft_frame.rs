//! The frames that are too frequent for JSON: messages of Raft groups, and heartbeats for many groups at once.
//!
//! All numbers are big-endian. Every frame begins with whose it is:
//!
//! ```text
//! i32   the sender's broker id
//! i32   the receiver's
//! 16    the cluster's uuid
//! ```
//!
//! and goes on, by kind,
//!
//! ```text
//! messages:   { 16 topic, i32 partition, u32 length, protobuf of raft-rs' message without its entries' data,
//!               then of each entry { u32 length, its data } }*
//! heartbeat:  u64 number { 16 topic, i32 partition, u64 term, u64 commit index }*
//! answer:     u64 number { 16 topic, i32 partition }*     the groups that do not simply agree
//! received:   { 16 topic, i32 partition, u64 term, u64 index }*
//! ```
//!
//! Redpanda's own encoding is not modelled (redpanda.md 3.5 for what is sent).

use bytes::{Buf, BufMut, Bytes, BytesMut};
use protobuf::{CodedOutputStream, Message as _};
use raft::eraftpb::Message;
use uuid::Uuid;

use super::frame;
use crate::gathered::Gathered;
use crate::node::PartitionKey;

const KEY_BYTES: usize = 20;
/// What most frames take, beside records.
const SMALL_BYTES: usize = 256;

/// Who sends a frame to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub from: i32,
    pub to: i32,
    pub cluster: Uuid,
}

/// A leader's heartbeat to one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub key: PartitionKey,
    pub term: u64,
    pub commit: u64,
}

/// A replica has entries in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub key: PartitionKey,
    pub term: u64,
    pub index: u64,
}

/// What a frame carries.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RaftFrame {
    Messages(Vec<(PartitionKey, Message)>),
    Heartbeat { number: u64, beats: Vec<Beat> },
    HeartbeatAnswer { number: u64, differ: Vec<PartitionKey> },
    Received(Vec<Received>),
}

impl RaftFrame {
    /// The kind's number in the frame's head.
    pub fn kind(&self) -> u8 {
        match self {
            RaftFrame::Messages(_) => 1,
            RaftFrame::Heartbeat { .. } => 2,
            RaftFrame::HeartbeatAnswer { .. } => 3,
            RaftFrame::Received(_) => 4,
        }
    }

    /// The frame with its head, ready to be written. Records are not copied.
    pub fn encode(self, route: Route) -> Gathered {
        let kind = self.kind();
        let mut bytes = Gathered::with_capacity(SMALL_BYTES);
        bytes.end().put_i32(route.from);
        bytes.end().put_i32(route.to);
        bytes.end().put_slice(route.cluster.as_bytes());
        match self {
            RaftFrame::Messages(messages) => {
                for (key, message) in messages {
                    put_key(bytes.end(), key);
                    put_message(&mut bytes, message);
                }
            }
            RaftFrame::Heartbeat { number, beats } => {
                let bytes = bytes.end();
                bytes.put_u64(number);
                for beat in beats {
                    put_key(bytes, beat.key);
                    bytes.put_u64(beat.term);
                    bytes.put_u64(beat.commit);
                }
            }
            RaftFrame::HeartbeatAnswer { number, differ } => {
                bytes.end().put_u64(number);
                differ.iter().for_each(|key| put_key(bytes.end(), *key));
            }
            RaftFrame::Received(received) => {
                for received in received {
                    put_key(bytes.end(), received.key);
                    bytes.end().put_u64(received.term);
                    bytes.end().put_u64(received.index);
                }
            }
        }
        frame::raft(kind, bytes)
    }

    /// `None` if the bytes are no frame of that kind.
    pub fn decode(kind: u8, mut bytes: Bytes) -> Option<(Route, RaftFrame)> {
        let route = Route {
            from: bytes.try_get_i32().ok()?,
            to: bytes.try_get_i32().ok()?,
            cluster: Uuid::from_u128(bytes.try_get_u128().ok()?),
        };
        let frame = match kind {
            1 => RaftFrame::Messages(all(&mut bytes, message)?),
            2 => RaftFrame::Heartbeat { number: bytes.try_get_u64().ok()?, beats: all(&mut bytes, beat)? },
            3 => RaftFrame::HeartbeatAnswer {
                number: bytes.try_get_u64().ok()?,
                differ: all(&mut bytes, key)?,
            },
            4 => RaftFrame::Received(all(&mut bytes, received)?),
            _ => return None,
        };
        Some((route, frame))
    }
}

fn put_key(bytes: &mut BytesMut, (topic, partition): PartitionKey) {
    bytes.put_slice(topic.as_bytes());
    bytes.put_i32(partition);
}

/// A message behind its length, written where it is to be, and its entries' data.
fn put_message(gathered: &mut Gathered, mut message: Message) {
    let entries = message.mut_entries().iter_mut();
    let payloads: Vec<Bytes> = entries.map(|entry| std::mem::take(&mut entry.data)).collect();
    let size = message.compute_size();
    let bytes = gathered.end();
    bytes.put_u32(size);
    let start = bytes.len();
    bytes.resize(start + size as usize, 0);
    let mut stream = CodedOutputStream::bytes(&mut bytes[start..]);
    // Fails for nothing that has all required fields and this size, and proto3 requires none.
    let written = message.write_to_with_cached_sizes(&mut stream);
    debug_assert!(written.is_ok(), "a message of {size} bytes is not written: {written:?}");
    for payload in payloads {
        gathered.end().put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        gathered.push(payload);
    }
}

fn all<T>(bytes: &mut Bytes, read: impl Fn(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    while bytes.has_remaining() {
        items.push(read(bytes)?);
    }
    Some(items)
}

fn key(bytes: &mut Bytes) -> Option<PartitionKey> {
    if bytes.remaining() < KEY_BYTES {
        return None;
    }
    Some((Uuid::from_u128(bytes.get_u128()), bytes.get_i32()))
}

fn message(bytes: &mut Bytes) -> Option<(PartitionKey, Message)> {
    let key = key(bytes)?;
    let length = bytes.try_get_u32().ok()? as usize;
    if length > bytes.remaining() {
        return None;
    }
    let mut message = Message::parse_from_carllerche_bytes(&bytes.split_to(length)).ok()?;
    for entry in message.mut_entries() {
        let length = bytes.try_get_u32().ok()? as usize;
        if length > bytes.remaining() {
            return None;
        }
        // Payloads share the frame's memory.
        entry.data = bytes.split_to(length);
    }
    Some((key, message))
}

fn beat(bytes: &mut Bytes) -> Option<Beat> {
    Some(Beat { key: key(bytes)?, term: bytes.try_get_u64().ok()?, commit: bytes.try_get_u64().ok()? })
}

fn received(bytes: &mut Bytes) -> Option<Received> {
    Some(Received { key: key(bytes)?, term: bytes.try_get_u64().ok()?, index: bytes.try_get_u64().ok()? })
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::{Entry, MessageType};

    use super::*;

    const ROUTE: Route = Route { from: 3, to: 4, cluster: Uuid::from_u128(9) };

    fn frames() -> Vec<RaftFrame> {
        let key = (Uuid::from_u128(7), 2);
        let mut message = Message { to: 1, from: 2, term: 5, index: 8, ..Message::default() };
        message.msg_type = MessageType::MsgAppend;
        message.set_entries(
            vec![Entry { index: 9, term: 5, data: Bytes::from_static(b"records"), ..Entry::default() }]
                .into(),
        );
        vec![
            RaftFrame::Messages(vec![(key, message.clone()), (key, message)]),
            RaftFrame::Heartbeat { number: 6, beats: vec![Beat { key, term: 5, commit: 4 }] },
            RaftFrame::HeartbeatAnswer { number: 6, differ: vec![key] },
            RaftFrame::Received(vec![Received { key, term: 5, index: 9 }]),
        ]
    }

    /// Without the head, which says how long it is.
    fn content(frame: &RaftFrame) -> Bytes {
        let mut bytes = frame.clone().encode(ROUTE).whole();
        assert_eq!(bytes.get_u32() as usize, bytes.len());
        assert_eq!(bytes.get_u32(), u32::from(frame.kind()) << 24);
        bytes
    }

    #[test]
    fn frames_read_as_they_were_written() {
        for frame in frames() {
            let read = RaftFrame::decode(frame.kind(), content(&frame));
            assert_eq!(read, Some((ROUTE, frame)));
        }
    }

    #[test]
    fn a_cut_frame_is_none_or_a_shorter_one() {
        for frame in frames() {
            let bytes = content(&frame);
            for length in 0..bytes.len() {
                let read = RaftFrame::decode(frame.kind(), bytes.slice(..length));
                assert!(read.is_none_or(|(_, read)| read != frame), "{length}");
            }
        }
        assert_eq!(RaftFrame::decode(9, content(&frames()[0])), None);
    }
}
