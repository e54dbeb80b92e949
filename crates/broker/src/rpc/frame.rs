//! Reading and writing frames; the layout is in the parent module.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::gathered::Gathered;

/// Largest frame that is read, bytes.
const FRAME_BYTES_MAX: u32 = 128 << 20;

/// Memory that a block's claimed length is given before its bytes arrive.
const ADVANCE_BYTES_MAX: usize = 1 << 20;

/// The head's length has this many bits; the byte above them is the frame's kind.
const LENGTH_BITS: u32 = 24;

/// A frame that was read.
pub(crate) enum Frame<H> {
    /// A request or a reply with its body.
    Json(H, Bytes),
    /// Raft's, of a kind: see [`super::raft_frame`].
    Raft(u8, Bytes),
}

/// Bytes of a frame of Raft's before its content.
const RAFT_HEAD_BYTES: usize = 8;

/// A frame of Raft's with gathered content, ready to be written.
pub(super) fn raft(kind: u8, mut content: Gathered) -> Gathered {
    let length = u32::try_from(content.len() + RAFT_HEAD_BYTES - 4).unwrap_or(u32::MAX);
    let mut head = [0; RAFT_HEAD_BYTES];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4] = kind;
    content.prepend(&head);
    content
}

/// A frame with a JSON head, ready to be written.
///
/// # Errors
/// A frame of more than 4 GiB, a head of more than 16 MiB, or one that JSON cannot hold.
pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> io::Result<Bytes> {
    let head = serde_json::to_vec(head)?;
    let too_large = |_| io::Error::new(io::ErrorKind::InvalidData, "the frame is too large");
    let head_length = u32::try_from(head.len()).map_err(too_large)?;
    if head_length >> LENGTH_BITS != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame's head is too large"));
    }
    let length = u32::try_from(head.len() + body.len() + 4).map_err(too_large)?;
    let mut frame = BytesMut::with_capacity(head.len() + body.len() + 8);
    frame.put_u32(length);
    frame.put_u32(head_length);
    frame.put_slice(&head);
    frame.put_slice(body);
    Ok(frame.freeze())
}

/// Reads one frame; `None` if the peer closed the connection between two frames.
///
/// # Errors
/// The connection's error, or bytes that are no frame.
pub(crate) async fn read<H: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Frame<H>>> {
    let Some(mut bytes) = read_block(stream, FRAME_BYTES_MAX).await? else { return Ok(None) };
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("bad frame: {what}"));
    if bytes.len() < 4 {
        return Err(bad("shorter than its head's length"));
    }
    let length = bytes.split_to(4);
    let head_length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
    let kind = (head_length >> LENGTH_BITS) as u8;
    let head_length = (head_length & ((1 << LENGTH_BITS) - 1)) as usize;
    if kind != 0 {
        return match head_length {
            0 => Ok(Some(Frame::Raft(kind, bytes))),
            _ => Err(bad("a frame of Raft's has no head")),
        };
    }
    if head_length > bytes.len() {
        return Err(bad("the head is longer than the frame"));
    }
    let head = bytes.split_to(head_length);
    let head = serde_json::from_slice(&head).map_err(|error| bad(&error.to_string()))?;
    Ok(Some(Frame::Json(head, bytes)))
}

/// Reads a block behind its length (u32, big-endian), as RPC and Kafka frames both are. Memory grows with
/// what arrives, not with what the length claims. `None` if the peer closed the connection before the block.
///
/// # Errors
/// The connection's error; a length above `bytes_max`; an end within the block.
pub(crate) async fn read_block(
    stream: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    if stream.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut length[1..]).await?;
    let length = u32::from_be_bytes(length);
    if length > bytes_max {
        let message = format!("a frame of {length} bytes, at most {bytes_max} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut bytes = Vec::with_capacity((length as usize).min(ADVANCE_BYTES_MAX));
    stream.take(length.into()).read_to_end(&mut bytes).await?;
    if bytes.len() < length as usize {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended within a frame"));
    }
    Ok(Some(Bytes::from(bytes)))
}
