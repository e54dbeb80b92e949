//! TCP sockets of the fabric.

use std::future::{pending, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::timeout;

use super::{Handle, Place};
use crate::stack::{Connection, Errno, KeepAlive, SocketId, Stack};
use crate::tcp::{Endpoints, TcpMachine};
use crate::trace::TraceReport;
use crate::{Route, fabric};

/// A connection of the fabric. Dropping it closes it.
#[derive(Debug)]
pub(in crate::net) struct Stream {
    handle: Handle,
    local: SocketAddr,
    remote: SocketAddr,
}

/// A listener of the fabric. Dropping it closes it.
#[derive(Debug)]
pub(in crate::net) struct Listener {
    handle: Handle,
    local: SocketAddr,
}

/// Why a connection could not be opened, and the way of its packets if they were traced.
pub(in crate::net) type ConnectFailure = (io::Error, Option<Route>);

/// What a connection is opened with.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::net) struct StreamOptions {
    pub(in crate::net) local: Option<SocketAddr>,
    pub(in crate::net) nodelay: bool,
    pub(in crate::net) keep_alive: Option<KeepAlive>,
    pub(in crate::net) zero_linger: bool,
    pub(in crate::net) traced: bool,
    /// The connection of the client for which a proxy connects.
    pub(in crate::net) on_behalf_of: Option<Handle>,
}

impl Stream {
    /// Opens a connection. The error comes with the way of the packets, if they were traced.
    pub(in crate::net) async fn connect(
        remote: SocketAddr,
        options: StreamOptions,
    ) -> Result<Stream, ConnectFailure> {
        Self::connect_within(remote, options, None).await
    }

    /// Like [`Stream::connect`], and gives up when `longest` is over.
    pub(in crate::net) async fn connect_within(
        remote: SocketAddr,
        options: StreamOptions,
        longest: Option<Duration>,
    ) -> Result<Stream, ConnectFailure> {
        let place = Place::current().await.map_err(|error| (error, None))?;
        let stream = match Self::open(place, remote, options) {
            Some(opened) => opened.map_err(|errno| (errno.into(), None))?,
            None => pending().await,
        };
        let connected = poll_fn(|cx| stream.poll_connected(cx));
        let result = match longest {
            None => connected.await,
            Some(longest) => match timeout(longest, connected).await {
                Ok(result) => result,
                Err(_) => Err(Errno::ETIMEDOUT.into()),
            },
        };
        match result {
            Ok(()) => Ok(stream),
            Err(error) => Err((error, stream.route())),
        }
    }

    /// Lets the stack open a connection; `None` if the host is dead or the device is gone.
    fn open(place: Place, remote: SocketAddr, options: StreamOptions) -> Option<Result<Stream, Errno>> {
        let traced = options.traced || fabric::with(|fabric| fabric.is_traced(place.host));
        let onward = options.on_behalf_of.and_then(Handle::onward);
        let report = onward.or_else(|| traced.then(TraceReport::new));
        place.with(|stack| {
            let id = stack.connect_tcp(options.local, remote, place.host, report, hopwise_engine::now())?;
            let connection = stack.tcp.connections.get_mut(id).ok_or(Errno::ENOTCONN)?;
            connection.machine.set_nagle(!options.nodelay);
            connection.nodelay = options.nodelay;
            connection.keep_alive = options.keep_alive;
            connection.zero_linger = options.zero_linger;
            let Endpoints { local, remote } = connection.endpoints;
            Ok(Stream { handle: Handle { place, id }, local, remote })
        })
    }

    /// Where its socket is.
    pub(in crate::net) fn handle(&self) -> Handle {
        self.handle
    }

    fn accepted(place: Place, id: SocketId, connection: &Connection) -> Stream {
        let shown = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) if connection.mapped => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        };
        let (local, remote) = (shown(connection.endpoints.local), shown(connection.endpoints.remote));
        Stream { handle: Handle { place, id }, local, remote }
    }

    pub(in crate::net) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(in crate::net) fn peer_addr(&self) -> SocketAddr {
        self.remote
    }

    pub(in crate::net) fn route(&self) -> Option<Route> {
        let route = |connection: &mut Connection| connection.trace.as_ref().map(|report| report.route());
        self.look(route).flatten()
    }

    pub(in crate::net) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_or_error(|connection| {
            let received = connection.machine.received();
            if received > 0 || buffer.remaining() == 0 {
                // Buffers are larger than what comes at once, and only that is to be cleared before.
                let room = received.min(buffer.remaining());
                let count = connection.machine.receive(buffer.initialize_unfilled_to(room));
                buffer.advance(count);
                return Ready::Acted(Ok(()));
            }
            if let Some(errno) = connection.take_error() {
                return Ready::Now(Err(errno.into()));
            }
            if connection.readable() {
                return Ready::Now(Ok(()));
            }
            connection.wait_to_read(cx);
            Ready::Not
        })
    }

    pub(in crate::net) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        self.poll_or_error(|connection| {
            if connection.machine.received() > 0 {
                let count = connection.machine.peek(buffer.initialize_unfilled());
                buffer.advance(count);
                return Ready::Now(Ok(count));
            }
            if let Some(errno) = connection.take_error() {
                return Ready::Now(Err(errno.into()));
            }
            if connection.readable() {
                return Ready::Now(Ok(0));
            }
            connection.wait_to_read(cx);
            Ready::Not
        })
    }

    pub(in crate::net) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_or_error(|connection| {
            if let Some(errno) = connection.take_error() {
                return Ready::Now(Err(errno.into()));
            }
            if connection.writing_ended() {
                return Ready::Now(Err(Errno::EPIPE.into()));
            }
            let count = connection.machine.send(bytes);
            if count > 0 || bytes.is_empty() {
                return Ready::Acted(Ok(count));
            }
            connection.wait_to_write(cx);
            Ready::Not
        })
    }

    pub(in crate::net) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_or_error(|connection| {
            if connection.readable() {
                return Ready::Now(Ok(()));
            }
            connection.wait_to_read(cx);
            Ready::Not
        })
    }

    pub(in crate::net) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_or_error(|connection| {
            if connection.writable() {
                return Ready::Now(Ok(()));
            }
            connection.wait_to_write(cx);
            Ready::Not
        })
    }

    /// Sends FIN after what was written. A connection that is over already is no error, as with tokio.
    pub(in crate::net) fn shut_down(&self) {
        self.act(|connection| connection.machine.shut_down());
    }

    pub(in crate::net) fn nodelay(&self) -> bool {
        self.look(|connection| connection.nodelay).unwrap_or(false)
    }

    pub(in crate::net) fn set_nodelay(&self, nodelay: bool) {
        self.act(|connection| {
            connection.nodelay = nodelay;
            connection.machine.set_nagle(!nodelay);
        });
    }

    pub(in crate::net) fn time_to_live(&self) -> u8 {
        self.look(|connection| connection.time_to_live).unwrap_or(64)
    }

    pub(in crate::net) fn set_time_to_live(&self, time_to_live: u8) {
        self.act(|connection| {
            connection.time_to_live = time_to_live;
            connection.machine.set_time_to_live(time_to_live);
        });
    }

    pub(in crate::net) fn set_keep_alive(&self, keep_alive: Option<KeepAlive>) {
        self.act(|connection| connection.keep_alive = keep_alive);
    }

    pub(in crate::net) fn set_zero_linger(&self, zero: bool) {
        self.act(|connection| connection.zero_linger = zero);
    }

    pub(in crate::net) fn zero_linger(&self) -> bool {
        self.look(|connection| connection.zero_linger).unwrap_or(false)
    }

    pub(in crate::net) fn take_error(&self) -> Option<io::Error> {
        self.look(Connection::take_error).flatten().map(io::Error::from)
    }

    fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_or_error(|connection| {
            if let Some(errno) = connection.take_error() {
                return Ready::Now(Err(errno.into()));
            }
            if connection.is_open() {
                return Ready::Now(Ok(()));
            }
            connection.wait_to_write(cx);
            Ready::Not
        })
    }

    fn poll_or_error<R>(
        &self,
        f: impl FnOnce(&mut Connection) -> Ready<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.handle.poll(|stack, id| {
            let Some(connection) = stack.tcp.connections.get_mut(id) else {
                return Poll::Ready(Err(Errno::ENOTCONN.into()));
            };
            match f(connection) {
                Ready::Not => Poll::Pending,
                Ready::Now(result) => Poll::Ready(result),
                Ready::Acted(result) => {
                    stack.tcp.mark(id);
                    Poll::Ready(result)
                }
            }
        })
    }

    fn look<R>(&self, f: impl FnOnce(&mut Connection) -> R) -> Option<R> {
        self.handle.place.with(|stack| stack.tcp.connections.get_mut(self.handle.id).map(f)).flatten()
    }

    fn act(&self, f: impl FnOnce(&mut Connection)) {
        self.handle.place.with(|stack| {
            if let Some(connection) = stack.tcp.connections.get_mut(self.handle.id) {
                f(connection);
                stack.tcp.mark(self.handle.id);
            }
        });
    }
}

impl Handle {
    /// A report for a connection that continues this one's path; `None` if this one is not traced.
    fn onward(self) -> Option<TraceReport> {
        self.place.with(|stack| {
            let connection = stack.tcp.connections.get(self.id)?;
            connection.trace.as_ref().map(TraceReport::onward)
        })?
    }
}

/// What a call did to a connection.
enum Ready<R> {
    /// Nothing: the task waits.
    Not,
    /// Nothing that the network notices.
    Now(R),
    /// Something that may have to be sent.
    Acted(R),
}

impl Drop for Stream {
    fn drop(&mut self) {
        let id = self.handle.id;
        self.handle.place.with_if_there(|stack| stack.tcp.close(id, hopwise_engine::now()));
    }
}

impl Listener {
    pub(in crate::net) async fn bind(local: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let place = Place::current().await?;
        place.with_or_wait(|stack| Self::listen(stack, place, local, backlog)).await
    }

    /// Like [`Listener::bind`], for a call that cannot wait: a dead host gets an error.
    pub(in crate::net) fn bind_now(local: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let place = Place::current_now()?;
        let listening = place.with(|stack| Self::listen(stack, place, local, backlog));
        listening.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }

    fn listen(stack: &mut Stack, place: Place, local: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let id = stack.listen_tcp(local, backlog, place.host)?;
        let local = stack.tcp.listeners.slots.get(id).map_or(local, |listener| listener.local);
        Ok(Listener { handle: Handle { place, id }, local })
    }

    pub(in crate::net) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(in crate::net) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.handle.poll(|stack, id| {
            if let Some(accepted) = stack.tcp.accept(id)
                && let Some(connection) = stack.tcp.connections.get(accepted)
            {
                return Poll::Ready(Ok(Stream::accepted(self.handle.place, accepted, connection)));
            }
            match stack.tcp.listeners.slots.get_mut(id) {
                Some(listener) => {
                    listener.waiters.add(cx);
                    Poll::Pending
                }
                None => Poll::Ready(Err(Errno::EINVAL.into())),
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let id = self.handle.id;
        self.handle.place.with_if_there(|stack| stack.tcp.close_listener(id));
    }
}
