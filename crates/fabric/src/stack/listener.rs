//! TCP listeners of a stack.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hopwise_engine::HostId;
use rustc_hash::FxHashMap;

use super::slots::{Slots, SocketId};
use super::waiters::Waiters;

/// Largest backlog (Linux `net.core.somaxconn`).
pub(crate) const BACKLOG_MAX: u32 = 4096;

/// A listening socket.
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) host: HostId,
    pub(crate) backlog: u32,
    /// Connections that are open and wait to be accepted.
    pub(crate) queue: VecDeque<SocketId>,
    pub(crate) waiters: Waiters,
}

impl Listener {
    /// Whether no connection fits in the queue; Linux allows one more than the backlog (`sk_acceptq_is_full`).
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() > self.backlog as usize
    }
}

/// The listeners of a stack.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(crate) slots: Slots<Listener>,
    by_address: FxHashMap<SocketAddr, SocketId>,
}

impl Listeners {
    /// Adds a listener; the caller has checked that the address is free.
    pub(crate) fn insert(&mut self, listener: Listener) -> SocketId {
        let local = listener.local;
        let id = self.slots.insert(listener);
        self.by_address.insert(local, id);
        id
    }

    /// Removes a listener.
    pub(crate) fn remove(&mut self, id: SocketId) -> Option<Listener> {
        let listener = self.slots.remove(id)?;
        self.by_address.remove(&listener.local);
        Some(listener)
    }

    /// The listener for a SYN to `destination`: bound to it, or to all addresses. A listener on `::` takes IPv4 too
    /// (Linux `net.ipv6.bindv6only` 0).
    pub(crate) fn find(&self, destination: SocketAddr) -> Option<SocketId> {
        let port = destination.port();
        let everywhere = |address: IpAddr| self.by_address.get(&SocketAddr::new(address, port));
        let found = self.by_address.get(&destination);
        let found = match destination {
            SocketAddr::V4(_) => found.or_else(|| everywhere(Ipv4Addr::UNSPECIFIED.into())),
            SocketAddr::V6(_) => found,
        };
        found.or_else(|| everywhere(Ipv6Addr::UNSPECIFIED.into())).copied()
    }

    /// Whether a listener on `local` would take connections from one that is there.
    pub(crate) fn conflicts(&self, local: SocketAddr) -> bool {
        if !local.ip().is_unspecified() {
            return self.find(local).is_some();
        }
        let same_port = |listener: &Listener| listener.local.port() == local.port();
        let same_family = |listener: &Listener| {
            listener.local.is_ipv4() == local.is_ipv4()
                || local.is_ipv6()
                || listener.local.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        };
        !self.slots.ids_where(|listener| same_port(listener) && same_family(listener)).is_empty()
    }
}
