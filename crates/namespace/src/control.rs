//! What owner and helper say to each other over their socket.
//!
//! The owner sends the [`Setup`](crate::Setup) as one line of JSON. The helper answers with a line, empty and with the TUN
//! device's descriptor beside it if all is there, or a [`SetupError`]. Then the owner sends one byte, at which the program
//! starts. The end of the stream ends the other side.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// The longest line, in bytes: a hosts file may be large.
const LINE_MAX: usize = 16 << 20;

/// Why a namespace could not be made, said by the helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {error}; {advice}")]
pub struct SetupError {
    /// What was being done.
    pub step: String,
    /// The system's error.
    pub error: String,
    /// What is missing, and what to do.
    pub advice: String,
}

/// Reads one line, without its end.
pub(crate) fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_MAX {
        stream.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            return Ok(line);
        }
        line.push(byte[0]);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"))
}

/// Sends an empty line and a descriptor.
pub(crate) fn send_device(stream: &UnixStream, device: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let devices = [device];
    control.push(SendAncillaryMessage::ScmRights(&devices));
    sendmsg(stream, &[IoSlice::new(b"\n")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// Receives the answer to the setup: the device, or why there is none.
pub(crate) fn receive_device(stream: &mut UnixStream) -> io::Result<Result<OwnedFd, SetupError>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut first = [0];
    let received =
        recvmsg(&*stream, &mut [IoSliceMut::new(&mut first)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let device = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut devices) => devices.next(),
        _ => None,
    });
    if let Some(device) = device {
        return Ok(Ok(device));
    }
    let mut line = first.to_vec();
    line.append(&mut read_line(stream)?);
    Ok(Err(serde_json::from_slice(&line)?))
}
