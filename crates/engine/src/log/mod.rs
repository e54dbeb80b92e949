//! The event log: what happened, when, on which host, and because of what.
//!
//! Every record is hashed as it is written; the hash is the run's fingerprint. Records of the packet path are
//! many and are kept only when asked for ([`Keep::Everything`]); notable events (a pod was deleted, a broker is
//! ready) are always kept, for reports.

mod difference;

pub use difference::{Difference, Transcript};

use twox_hash::xxhash3_128;

use crate::{HostId, Time};

/// A kind of record: its name and the meaning of its two numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// What happened, e.g. `packet.sent`.
    pub name: &'static str,
    /// What `a` and `b` of such a record are.
    pub fields: [&'static str; 2],
    code: u64,
}

impl Kind {
    /// A kind called `name` whose records carry two numbers.
    pub const fn new(name: &'static str, fields: [&'static str; 2]) -> Self {
        // FNV-1a: a number fixed by the name, computed at compile time.
        let bytes = name.as_bytes();
        let mut code = 0xcbf2_9ce4_8422_2325_u64;
        let mut index = 0;
        while index < bytes.len() {
            code = (code ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            index += 1;
        }
        Kind { name, fields, code }
    }
}

/// Identifies a record within its run; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId(pub u64);

impl EventId {
    /// No event: the cause of what the inputs themselves ask for.
    pub const NONE: EventId = EventId(0);
}

/// A record of the packet path or of another mass event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// This record.
    pub id: EventId,
    /// The record that caused it, or [`EventId::NONE`].
    pub parent: EventId,
    /// When.
    pub at: Time,
    /// The host whose task acted, or [`HostId::ROOT`].
    pub host: HostId,
    /// What happened.
    pub kind: &'static Kind,
    /// First number.
    pub a: u64,
    /// Second number.
    pub b: u64,
}

/// A notable event, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notable {
    /// Its place among all records.
    pub id: EventId,
    /// The record that caused it, or [`EventId::NONE`].
    pub parent: EventId,
    /// When.
    pub at: Time,
    /// What happened, e.g. `pod.deleted`.
    pub kind: &'static str,
    /// To what, e.g. `pod redpanda/redpanda-1`.
    pub object: String,
    /// The circumstances.
    pub detail: String,
}

/// Which records stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Keep {
    /// Notable events only.
    #[default]
    Notable,
    /// All records too (48 bytes each).
    Everything,
}

const UNHASHED_BYTES_MAX: usize = 4_096;

/// The log of one run.
pub struct EventLog {
    hasher: xxhash3_128::Hasher,
    /// What was written and not hashed yet: hashing much at a time costs less.
    unhashed: Vec<u8>,
    last: u64,
    keep: Keep,
    records: Vec<Record>,
    notable: Vec<Notable>,
}

impl EventLog {
    /// An empty log.
    pub fn new(keep: Keep) -> Self {
        EventLog {
            hasher: xxhash3_128::Hasher::new(),
            unhashed: Vec::with_capacity(2 * UNHASHED_BYTES_MAX),
            last: 0,
            keep,
            records: Vec::new(),
            notable: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn record(
        &mut self,
        at: Time,
        host: HostId,
        parent: EventId,
        kind: &'static Kind,
        a: u64,
        b: u64,
    ) -> EventId {
        self.last += 1;
        let words = [at.as_nanos(), u64::from(host.index()), parent.0, kind.code, a, b];
        // A loop over chunks becomes a few wide stores; `array::map` a call for each word (3 % of a run).
        let mut bytes = [0; 48];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.write(&bytes);
        let id = EventId(self.last);
        if self.keep == Keep::Everything {
            self.records.push(Record { id, parent, at, host, kind, a, b });
        }
        id
    }

    /// Adds a notable event.
    pub fn notable(
        &mut self,
        at: Time,
        parent: EventId,
        kind: &'static str,
        object: String,
        detail: String,
    ) -> EventId {
        self.last += 1;
        let id = EventId(self.last);
        self.write(&at.as_nanos().to_le_bytes());
        for text in [kind, &object, &detail] {
            self.write(&(text.len() as u64).to_le_bytes());
            self.write(text.as_bytes());
        }
        self.notable.push(Notable { id, parent, at, kind, object, detail });
        id
    }

    /// The fingerprint of everything recorded so far.
    pub fn hash(&self) -> u128 {
        let mut hasher = self.hasher.clone();
        hasher.write(&self.unhashed);
        hasher.finish_128()
    }

    /// How many records were written.
    pub fn len(&self) -> u64 {
        self.last
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }

    /// The records kept.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The notable events, in order.
    pub fn notable_events(&self) -> &[Notable] {
        &self.notable
    }

    fn write(&mut self, bytes: &[u8]) {
        self.unhashed.extend_from_slice(bytes);
        if self.unhashed.len() >= UNHASHED_BYTES_MAX {
            self.hasher.write(&self.unhashed);
            self.unhashed.clear();
        }
    }
}
