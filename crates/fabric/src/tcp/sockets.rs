//! smoltcp's sockets, used again and again.
//!
//! A socket owns two ring buffers that it never gives back, and an idle connection touches only their first
//! page. Buffers of their own would be cleared, and so made resident, by the allocator; therefore they are cut
//! from large blocks of fresh memory, which the system backs page by page as it is touched, and a socket whose
//! connection is over waits here for the next one. The blocks are never freed: they are bounded by the most
//! connections that ever were open at a time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use smoltcp::socket::tcp::{Socket, SocketBuffer};

/// How many sockets share a block of memory.
const BLOCK_SOCKETS: usize = 32;

/// What lies unused behind each buffer. Buffers at multiples of a power of two would all compete for the same few sets of
/// the processor's cache.
const GAP_BYTES: usize = 576;

/// Sizes of a socket's receive and send buffers, in bytes.
type Sizes = (usize, usize);

static SPARE: Mutex<BTreeMap<Sizes, Vec<Socket<'static>>>> = Mutex::new(BTreeMap::new());

/// A closed socket with buffers of these sizes, in bytes.
pub(super) fn take(receive_bytes: usize, send_bytes: usize) -> Socket<'static> {
    let sizes = (receive_bytes.max(1), send_bytes.max(1));
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let sockets = spare.entry(sizes).or_default();
    if sockets.is_empty() {
        sockets.extend(block(sizes));
    }
    sockets.pop().expect("a block holds sockets")
}

/// Gives a socket back. It is as new, whatever it was used for.
pub(super) fn give_back(mut socket: Socket<'static>) {
    socket.abort();
    socket.set_keep_alive(None);
    socket.set_timeout(None);
    socket.set_hop_limit(None);
    socket.set_nagle_enabled(true);
    let sizes = (socket.recv_capacity(), socket.send_capacity());
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    spare.entry(sizes).or_default().push(socket);
}

fn block((receive_bytes, send_bytes): Sizes) -> Vec<Socket<'static>> {
    let stride = receive_bytes + send_bytes + 2 * GAP_BYTES;
    let memory: &'static mut [u8] = Box::leak(vec![0; stride * BLOCK_SOCKETS].into());
    memory
        .chunks_exact_mut(stride)
        .map(|both| {
            let (receive, send) = both.split_at_mut(receive_bytes + GAP_BYTES);
            Socket::new(
                SocketBuffer::new(&mut receive[..receive_bytes]),
                SocketBuffer::new(&mut send[..send_bytes]),
            )
        })
        .collect()
}
