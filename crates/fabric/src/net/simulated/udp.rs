//! UDP sockets of the fabric.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::{Handle, Place};
use crate::Route;
use crate::stack::{Errno, UdpSocket};
use crate::trace::TraceReport;

/// A UDP socket of the fabric. Dropping it closes it.
#[derive(Debug)]
pub(in crate::net) struct Socket {
    handle: Handle,
}

impl Socket {
    pub(in crate::net) async fn bind(local: SocketAddr) -> io::Result<Socket> {
        let place = Place::current().await?;
        let id = place.with_or_wait(|stack| stack.bind_udp(local, place.host)).await?;
        Ok(Socket { handle: Handle { place, id } })
    }

    pub(in crate::net) fn connect(&self, remote: SocketAddr) -> io::Result<()> {
        let id = self.handle.id;
        Ok(self.handle.place.with(|stack| stack.connect_udp(id, remote)).unwrap_or(Ok(()))?)
    }

    /// Traces what the socket sends from now on.
    pub(in crate::net) fn trace(&self) {
        let id = self.handle.id;
        self.handle.place.with(|stack| {
            if let Some(socket) = stack.udp.sockets.get_mut(id) {
                socket.trace.get_or_insert_with(TraceReport::new);
            }
        });
    }

    pub(in crate::net) fn route(&self) -> Option<Route> {
        self.look(|socket| socket.trace.as_ref().map(TraceReport::route)).flatten()
    }

    pub(in crate::net) fn local_addr(&self) -> Option<SocketAddr> {
        self.look(|socket| socket.local)
    }

    pub(in crate::net) fn peer_addr(&self) -> Option<SocketAddr> {
        self.look(|socket| socket.remote).flatten()
    }

    /// Sends a datagram at once: the fabric takes it whole, or refuses it.
    pub(in crate::net) fn poll_send(
        &self,
        remote: Option<SocketAddr>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.handle.poll(|stack, id| {
            let sent = stack.send_udp(id, remote, bytes);
            Poll::Ready(sent.map(|()| bytes.len()).map_err(io::Error::from))
        })
    }

    pub(in crate::net) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_with(|socket| match socket.take() {
            Some(Ok((from, bytes))) => {
                put(buffer, &bytes);
                Poll::Ready(Ok(from))
            }
            Some(Err(errno)) => Poll::Ready(Err(errno.into())),
            None => {
                socket.readers.add(cx);
                Poll::Pending
            }
        })
    }

    pub(in crate::net) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<SocketAddr>> {
        self.poll_with(|socket| {
            if let Some(errno) = socket.take_error() {
                return Poll::Ready(Err(errno.into()));
            }
            if let Some((from, bytes)) = socket.peek() {
                put(buffer, bytes);
                return Poll::Ready(Ok(from));
            }
            socket.readers.add(cx);
            Poll::Pending
        })
    }

    pub(in crate::net) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|socket| {
            if socket.readable() {
                return Poll::Ready(Ok(()));
            }
            socket.readers.add(cx);
            Poll::Pending
        })
    }

    fn poll_with<R>(&self, f: impl FnOnce(&mut UdpSocket) -> Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        self.handle.poll(|stack, id| match stack.udp.sockets.get_mut(id) {
            Some(socket) => f(socket),
            None => Poll::Ready(Err(Errno::ENOTCONN.into())),
        })
    }

    fn look<R>(&self, f: impl FnOnce(&UdpSocket) -> R) -> Option<R> {
        self.handle.place.with(|stack| stack.udp.sockets.get(self.handle.id).map(f)).flatten()
    }
}

/// Copies what fits; the rest of the datagram is lost, as with every UDP socket.
fn put(buffer: &mut ReadBuf<'_>, bytes: &[u8]) {
    buffer.put_slice(&bytes[..bytes.len().min(buffer.remaining())]);
}

impl Drop for Socket {
    fn drop(&mut self) {
        let id = self.handle.id;
        self.handle.place.with_if_there(|stack| stack.udp.close(id));
    }
}
