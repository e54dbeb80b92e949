//! Addresses on a node's own pod network that no pod has: what a neighbour table does with packets to them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use hopwise_engine::{Span, Time};

use crate::packet::Packet;

/// When the address is asked for again, and when it is given up, after the first packet. Measured: linux.md 4,
/// "Address of a pod that does not exist" (sysctl `mcast_solicit` 3, `retrans_time_ms` 1000).
const PROBES: [Span; 3] = [Span::from_millis(1_000), Span::from_millis(2_000), Span::from_micros(3_071_800)];

/// How many packets wait for an address; the oldest gives way (sysctl `unres_qlen`).
const WAITING_MAX: usize = 101;

/// Packets that wait for an address, and addresses whose entries are out of date.
#[derive(Default)]
pub(crate) struct Neighbours {
    waiting: BTreeMap<IpAddr, Waiting>,
    /// Addresses of removed pods, and until when packets to them vanish.
    stale: BTreeMap<IpAddr, Time>,
}

struct Waiting {
    since: Time,
    asked: usize,
    packets: VecDeque<Packet>,
}

/// What became of an address.
pub(crate) struct Resolved {
    pub(crate) address: IpAddr,
    /// Whether a pod has it now.
    pub(crate) found: bool,
    pub(crate) packets: VecDeque<Packet>,
}

impl Neighbours {
    /// Packets to `address` vanish until `until`.
    pub(crate) fn keep_stale(&mut self, address: IpAddr, now: Time, until: Time) {
        self.stale.retain(|_, until| *until > now);
        self.stale.insert(address, until);
    }

    /// Forgets what is known of `address`.
    pub(crate) fn forget(&mut self, address: IpAddr) {
        self.stale.remove(&address);
    }

    /// Whether packets to `address` vanish.
    pub(crate) fn is_stale(&self, address: IpAddr, now: Time) -> bool {
        self.stale.get(&address).is_some_and(|until| *until > now)
    }

    /// Lets `packet` wait for `address`. `Some` is when to call [`Neighbours::due`], if that is not arranged
    /// yet; the second value is a packet that gives way.
    pub(crate) fn wait(
        &mut self,
        address: IpAddr,
        packet: Packet,
        now: Time,
    ) -> (Option<Time>, Option<Packet>) {
        let mut call_at = None;
        let entry = self.waiting.entry(address).or_insert_with(|| {
            call_at = Some(now + PROBES[0]);
            Waiting { since: now, asked: 0, packets: VecDeque::new() }
        });
        let gives_way = if entry.packets.len() >= WAITING_MAX { entry.packets.pop_front() } else { None };
        entry.packets.push_back(packet);
        (call_at, gives_way)
    }

    /// The addresses that are decided at `now`: a pod has them after all, or the last question was in vain.
    /// The second value says when to call again.
    pub(crate) fn due(
        &mut self,
        now: Time,
        has_pod: impl Fn(IpAddr) -> bool,
    ) -> (Vec<Resolved>, Option<Time>) {
        let mut resolved = Vec::new();
        let mut next_at: Option<Time> = None;
        let mut decided = Vec::new();
        for (address, entry) in &mut self.waiting {
            while entry.asked < PROBES.len() && entry.since + PROBES[entry.asked] <= now {
                entry.asked += 1;
            }
            let found = has_pod(*address);
            if found || entry.asked == PROBES.len() {
                decided.push((*address, found));
            } else {
                let at = entry.since + PROBES[entry.asked];
                next_at = Some(next_at.map_or(at, |next| next.min(at)));
            }
        }
        for (address, found) in decided {
            if let Some(entry) = self.waiting.remove(&address) {
                resolved.push(Resolved { address, found, packets: entry.packets });
            }
        }
        (resolved, next_at)
    }
}
