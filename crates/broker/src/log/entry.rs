//! An entry of the Raft log, and its frame in a segment file.
//!
//! A frame is a header of [`FRAME_BYTES`] and the payload, big-endian:
//!
//! | bytes | field |
//! | --- | --- |
//! | 4 | CRC32C over all that follows, payload included |
//! | 4 | bytes of the payload |
//! | 8 | index |
//! | 8 | term |
//! | 1 | kind: 0 batch, 1 command |
//! | 8 | base offset |
//! | 8 | bytes of this file that were known to be synced when the frame was written |
//!
//! The last field tells a torn tail from damage: what a later frame calls synced cannot have been torn by a
//! crash.

use bytes::{BufMut, Bytes};

use crate::gathered::Gathered;

/// Bytes of a frame before the payload.
pub(super) const FRAME_BYTES: usize = 41;
/// The largest payload a frame can have; larger claims are damage. Batches are bound by
/// `kafka_batch_max_bytes` long before.
pub(super) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// What an entry carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// Exactly one Kafka record batch, which takes the offsets from the entry's base offset on.
    Batch,
    /// Raft's own: an empty entry, a configuration change, a controller command. Takes no offsets.
    Command,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its place, from 1 on without gaps.
    pub index: u64,
    /// The term of the leader that made it.
    pub term: u64,
    pub kind: EntryKind,
    /// The offset of a batch's first record; for a command, the offset that the next record gets.
    pub base_offset: i64,
    pub payload: Bytes,
}

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub index: u64,
    pub term: u64,
    pub kind: EntryKind,
    pub base_offset: i64,
    pub payload_bytes: usize,
    pub synced: u64,
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("an entry ends before its stated length")]
    Short,
    #[error("an entry's checksum does not match its content")]
    Checksum,
}

impl Frame {
    /// Bytes of the frame, payload included.
    pub fn size(&self) -> usize {
        FRAME_BYTES + self.payload_bytes
    }

    /// The index that a frame at the start of `bytes` would have, unchecked.
    pub fn index(bytes: &[u8]) -> Option<u64> {
        Some(u64::from_be_bytes(field(bytes.get(..FRAME_BYTES)?, 8)))
    }

    /// Reads and checks the frame at the start of `bytes`, which may go on.
    pub fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
        let header = bytes.get(..FRAME_BYTES).ok_or(FrameError::Short)?;
        let payload_bytes = u32::from_be_bytes(field(header, 4)) as usize;
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Err(FrameError::Short);
        }
        let checked = bytes.get(4..FRAME_BYTES + payload_bytes).ok_or(FrameError::Short)?;
        let kind = match header[24] {
            0 => EntryKind::Batch,
            1 => EntryKind::Command,
            _ => return Err(FrameError::Checksum),
        };
        if crc32c::crc32c(checked) != u32::from_be_bytes(field(header, 0)) {
            return Err(FrameError::Checksum);
        }
        Ok(Frame {
            index: u64::from_be_bytes(field(header, 8)),
            term: u64::from_be_bytes(field(header, 16)),
            kind,
            base_offset: i64::from_be_bytes(field(header, 25)),
            payload_bytes,
            synced: u64::from_be_bytes(field(header, 33)),
        })
    }
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

impl Entry {
    /// Appends the entry's frame to `bytes`; `synced` is for the frame's last field. A large payload is shared.
    pub(super) fn write(&self, synced: u64, bytes: &mut Gathered) {
        let end = bytes.end();
        let at = end.len();
        end.put_slice(&[0; 4]);
        end.put_u32(self.payload.len() as u32);
        end.put_u64(self.index);
        end.put_u64(self.term);
        end.put_u8(match self.kind {
            EntryKind::Batch => 0,
            EntryKind::Command => 1,
        });
        end.put_i64(self.base_offset);
        end.put_u64(synced);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&end[at + 4..]), &self.payload);
        end[at..at + 4].copy_from_slice(&crc.to_be_bytes());
        bytes.push(self.payload.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let payload = Bytes::from_static(b"payload");
        Entry { index: 7, term: 3, kind: EntryKind::Command, base_offset: 41, payload }
    }

    #[test]
    fn a_frame_reads_as_it_was_written() {
        let mut bytes = Gathered::from(&[1, 2]);
        entry().write(99, &mut bytes);
        let bytes = bytes.whole();
        let frame = Frame::read(&bytes[2..]).unwrap();
        assert_eq!((frame.index, frame.term, frame.kind), (7, 3, EntryKind::Command));
        assert_eq!((frame.base_offset, frame.payload_bytes, frame.synced), (41, 7, 99));
        assert_eq!(frame.size(), bytes.len() - 2);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let mut bytes = Gathered::default();
        entry().write(0, &mut bytes);
        let bytes = bytes.whole();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::read(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(Frame::read(&bytes[..length]), Err(FrameError::Short));
        }
    }
}
