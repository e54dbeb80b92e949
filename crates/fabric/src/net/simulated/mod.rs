//! Sockets of the fabric: numbers that find their socket in the stack of their host.
//!
//! A socket remembers the host that opened it. When that host is killed, or its device removed, calls never return
//! and nothing that a destructor does has an effect.

mod tcp;
mod udp;

pub(super) use tcp::{Listener, Stream, StreamOptions};
pub(super) use udp::Socket;

use std::future::pending;
use std::io;
use std::task::Poll;

use hopwise_engine::{HostId, host};

use crate::device::DeviceId;
use crate::fabric;
use crate::stack::{SocketId, Stack};

/// Where the running task's sockets are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    host: HostId,
    device: DeviceId,
}

/// A socket of a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    place: Place,
    id: SocketId,
}

impl Place {
    /// The place of the task that runs; a task of a dead host waits here for ever.
    pub(super) async fn current() -> io::Result<Place> {
        if !host::is_alive(host::current()) {
            pending::<()>().await;
        }
        Self::current_now()
    }

    /// The place of the task that runs.
    pub(super) fn current_now() -> io::Result<Place> {
        let host = host::current();
        match fabric::with(|fabric| fabric.device_of(host)) {
            Some(device) => Ok(Place { host, device }),
            None => {
                let name = host::name(host);
                let why = format!("the host `{name}` has no network: attach it to a device of the fabric");
                Err(io::Error::new(io::ErrorKind::NetworkUnreachable, why))
            }
        }
    }

    /// The device whose sockets these are.
    /// The host whose sockets it is about.
    pub(super) fn host(self) -> HostId {
        self.host
    }

    pub(super) fn device(self) -> DeviceId {
        self.device
    }

    /// Uses the stack; `None` if the host is dead or the device is gone.
    fn with<R>(self, f: impl FnOnce(&mut Stack) -> R) -> Option<R> {
        if !host::is_alive(self.host) {
            return None;
        }
        fabric::with(|fabric| fabric.with_stack(self.device, f))
    }

    /// Like [`Place::with`], and waits for ever where that gives nothing.
    async fn with_or_wait<R>(self, f: impl FnOnce(&mut Stack) -> R) -> R {
        match self.with(f) {
            Some(result) => result,
            None => pending().await,
        }
    }

    /// Like [`Place::with`], for destructors: nothing happens if the fabric is not there any more.
    fn with_if_there(self, f: impl FnOnce(&mut Stack)) {
        if host::is_alive(self.host) {
            fabric::try_with(|fabric| fabric.with_stack(self.device, f));
        }
    }
}

impl Handle {
    /// Polls the socket; a socket of a dead host or a removed device is never ready.
    fn poll<R>(&self, f: impl FnOnce(&mut Stack, SocketId) -> Poll<R>) -> Poll<R> {
        self.place.with(|stack| f(stack, self.id)).unwrap_or(Poll::Pending)
    }
}
