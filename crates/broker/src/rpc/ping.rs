//! Pings between brokers, which are too frequent for JSON: every broker sends every other one ten a second.
//!
//! They take the connection that calls take, so that a connection which no longer works is found by them. All numbers
//! are big-endian; the frames have kinds as Raft's have, and go on
//!
//! ```text
//! ping:   u64 call, i32 the sender's broker id, i32 the receiver's, 16 the cluster's uuid
//! pong:   u64 call, u8 0: here, 1: not a member yet, 2: another broker, 3: another cluster
//! ```
//!
//! Redpanda's own encoding is not modelled (redpanda.md 3.5, node_status).

use bytes::{Buf, BufMut, Bytes};

use super::Refusal;
use super::frame;
use super::raft_frame::Route;
use crate::gathered::Gathered;

/// The kinds' numbers in a frame's head; Raft's are lower.
pub(super) const PING: u8 = 16;
const PONG: u8 = 17;

/// What the larger of the two frames takes.
const FRAME_BYTES_MAX: usize = 40;

/// Are you there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ping {
    pub call: u64,
    pub route: Route,
}

/// What is answered to a ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pong {
    pub call: u64,
    pub verdict: Result<(), Refusal>,
}

impl Ping {
    pub fn encode(&self) -> Gathered {
        let mut content = Gathered::with_capacity(FRAME_BYTES_MAX);
        let bytes = content.end();
        bytes.put_u64(self.call);
        bytes.put_i32(self.route.from);
        bytes.put_i32(self.route.to);
        bytes.put_slice(self.route.cluster.as_bytes());
        frame::raft(PING, content)
    }

    /// `None` if the content is no ping's.
    pub fn decode(mut content: Bytes) -> Option<Ping> {
        let call = content.try_get_u64().ok()?;
        let (from, to) = (content.try_get_i32().ok()?, content.try_get_i32().ok()?);
        let cluster = uuid::Uuid::from_u128(content.try_get_u128().ok()?);
        content.is_empty().then_some(Ping { call, route: Route { from, to, cluster } })
    }
}

impl Pong {
    pub fn encode(&self) -> Gathered {
        let mut content = Gathered::with_capacity(FRAME_BYTES_MAX);
        let bytes = content.end();
        bytes.put_u64(self.call);
        bytes.put_u8(match self.verdict {
            Ok(()) => 0,
            Err(Refusal::WrongBroker) => 2,
            Err(Refusal::OtherCluster) => 3,
            Err(_) => 1,
        });
        frame::raft(PONG, content)
    }

    /// `None` if the frame is no pong.
    pub fn decode(kind: u8, mut content: Bytes) -> Option<Pong> {
        let call = content.try_get_u64().ok().filter(|_| kind == PONG)?;
        let verdict = match content.try_get_u8().ok()? {
            0 => Ok(()),
            1 => Err(Refusal::NotReady),
            2 => Err(Refusal::WrongBroker),
            3 => Err(Refusal::OtherCluster),
            _ => return None,
        };
        content.is_empty().then_some(Pong { call, verdict })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// A frame's kind and content.
    fn opened(mut frame: Bytes) -> (u8, Bytes) {
        assert_eq!(frame.get_u32() as usize, frame.len());
        let kind = frame.get_u8();
        assert_eq!(frame.get_uint(3), 0);
        (kind, frame)
    }

    #[test]
    fn what_is_written_reads_the_same_and_nothing_shorter_does() {
        let ping = Ping { call: 7, route: Route { from: 1, to: 2, cluster: Uuid::from_u128(9) } };
        let (kind, content) = opened(ping.encode().whole());
        assert_eq!((kind, Ping::decode(content.clone())), (PING, Some(ping)));
        (0..content.len()).for_each(|length| assert_eq!(Ping::decode(content.slice(..length)), None));
        let refusals = [Refusal::NotReady, Refusal::WrongBroker, Refusal::OtherCluster];
        for verdict in refusals.map(Err).into_iter().chain([Ok(())]) {
            let pong = Pong { call: 7, verdict };
            let (kind, content) = opened(pong.encode().whole());
            assert_eq!(Pong::decode(kind, content.clone()), Some(pong));
            assert_eq!(Pong::decode(PING, content.clone()), None);
            (0..content.len())
                .for_each(|length| assert_eq!(Pong::decode(kind, content.slice(..length)), None));
        }
    }
}
