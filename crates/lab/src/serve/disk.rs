//! The disk of a served broker, and what faults do to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hopwise_broker::DiskTrouble;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::scenario::{DiskTrouble as Aspect, Share};

/// What happens to a disk.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskChange {
    /// There is no space left.
    Fill,
    /// A sync takes this much longer.
    Slow(Duration),
    /// A share of all operations fails.
    Fail(Share),
    /// A share of all reads gives other bytes.
    Corrupt(Share),
    /// It is mended, of one thing or of everything.
    Mend(Option<Aspect>),
}

impl fmt::Display for DiskChange {
    /// What the disk does from now on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = |aspect: &Aspect| match aspect {
            Aspect::Full => "full",
            Aspect::Slow => "slow",
            Aspect::Failing => "failing",
            Aspect::Corrupting => "corrupting",
        };
        match self {
            DiskChange::Fill => write!(f, "is {}", what(&Aspect::Full)),
            DiskChange::Slow(_) => write!(f, "is {}", what(&Aspect::Slow)),
            DiskChange::Fail(_) => write!(f, "is {}", what(&Aspect::Failing)),
            DiskChange::Corrupt(_) => write!(f, "is {}", what(&Aspect::Corrupting)),
            DiskChange::Mend(Some(aspect)) => write!(f, "is not {} any more", what(aspect)),
            DiskChange::Mend(None) => f.write_str("is sound"),
        }
    }
}

/// A disk's state, asked by its broker at each operation.
pub(super) struct ServedDisk {
    capacity_bytes: Option<u64>,
    full: AtomicBool,
    extra_latency_ns: AtomicU64,
    /// Millionths.
    failing: AtomicU32,
    corrupting: AtomicU32,
    random: Mutex<ChaCha8Rng>,
}

impl ServedDisk {
    /// A sound disk.
    pub fn new(capacity_bytes: Option<u64>, seed: u64) -> ServedDisk {
        ServedDisk {
            capacity_bytes,
            full: AtomicBool::default(),
            extra_latency_ns: AtomicU64::default(),
            failing: AtomicU32::default(),
            corrupting: AtomicU32::default(),
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    /// Takes a change.
    pub fn change(&self, change: &DiskChange) {
        let set_latency = |by: Duration| {
            let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
            self.extra_latency_ns.store(by, Ordering::Relaxed);
        };
        match change {
            DiskChange::Fill => self.full.store(true, Ordering::Relaxed),
            DiskChange::Slow(by) => set_latency(*by),
            DiskChange::Fail(share) => self.failing.store(millionths(*share), Ordering::Relaxed),
            DiskChange::Corrupt(share) => self.corrupting.store(millionths(*share), Ordering::Relaxed),
            DiskChange::Mend(aspect) => {
                let is_meant = |kind: Aspect| aspect.is_none_or(|aspect| aspect == kind);
                if is_meant(Aspect::Full) {
                    self.full.store(false, Ordering::Relaxed);
                }
                if is_meant(Aspect::Slow) {
                    set_latency(Duration::ZERO);
                }
                if is_meant(Aspect::Failing) {
                    self.failing.store(0, Ordering::Relaxed);
                }
                if is_meant(Aspect::Corrupting) {
                    self.corrupting.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    fn hits(&self, share: &AtomicU32) -> bool {
        let share = share.load(Ordering::Relaxed);
        if share == 0 {
            return false;
        }
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(0..1_000_000) < share
    }
}

fn millionths(share: Share) -> u32 {
    (share.fraction() * 1_000_000.0).round() as u32
}

impl DiskTrouble for ServedDisk {
    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    fn extra_latency(&self) -> Duration {
        Duration::from_nanos(self.extra_latency_ns.load(Ordering::Relaxed))
    }

    fn fails(&self) -> bool {
        self.hits(&self.failing)
    }

    fn corrupts(&self) -> bool {
        self.hits(&self.corrupting)
    }

    fn capacity_bytes(&self) -> Option<u64> {
        self.capacity_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mended_is_as_it_was_and_the_rest_stays() {
        let disk = ServedDisk::new(Some(7), 1);
        for change in [
            DiskChange::Fill,
            DiskChange::Slow(Duration::from_millis(5)),
            DiskChange::Fail(Share::ALL),
            DiskChange::Corrupt(Share::ALL),
        ] {
            disk.change(&change);
        }
        assert!(disk.is_full() && disk.fails() && disk.corrupts());
        disk.change(&DiskChange::Mend(Some(Aspect::Failing)));
        assert!(disk.is_full() && !disk.fails() && disk.corrupts());
        assert_eq!(disk.extra_latency(), Duration::from_millis(5));
        disk.change(&DiskChange::Mend(None));
        assert!(!disk.is_full() && !disk.corrupts() && disk.extra_latency().is_zero());
        disk.change(&DiskChange::Fail(Share::of_millionths(500_000).unwrap()));
        let failed = (0..1000).filter(|_| disk.fails()).count();
        assert!((400..600).contains(&failed), "{failed}");
    }
}
