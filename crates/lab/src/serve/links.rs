//! What is wrong with the ways between served brokers, and between them and their clients.
//!
//! Loopback loses nothing and is never slow, so faults of links are made by relays in front of the listeners
//! (`relay.rs`), which ask here what a piece of a stream has to go through. They are faults as TCP shows them to
//! programs: a lost packet is one that is sent again after the least time-out (200 ms, Linux's `TCP_RTO_MIN`), an
//! overtaken one is one that is waited for, and a cut way carries nothing until it is mended, when what the ends still
//! want to send goes on. A connection that is opened on a cut way is accepted and stays silent.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::scenario::{LinkAspect, Share};

/// After which Linux sends a lost segment again at the earliest (`TCP_RTO_MIN`).
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Headers of IPv4 and TCP with the timestamp option, which count for the size of a packet.
const HEADER_BYTES: usize = 52;
/// The most that one packet carries here: Ethernet's 1500 bytes without the headers.
const PACKET_BYTES: usize = 1448;

/// An end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// A broker, by its place among the planned ones.
    Broker(usize),
    /// Everybody else.
    Outside,
}

/// Something that is wrong with a way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkTrouble {
    /// Everything takes longer, by a time that varies evenly to both sides.
    Delay(Duration, Duration),
    /// A share of the packets is lost.
    Lose(Share),
    /// A share of the packets is overtaken by what was sent this much later.
    Reorder(Share, Duration),
    /// So many bytes pass in a second.
    Limit(u64),
    /// Nothing passes.
    Cut,
    /// Packets of more bytes vanish.
    BlackHole(u16),
}

/// What happens to a way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinkChange {
    /// Something is wrong.
    Impair(LinkTrouble),
    /// It is mended, of one thing or of everything.
    Mend(Option<LinkAspect>),
}

impl LinkTrouble {
    fn aspect(self) -> LinkAspect {
        match self {
            LinkTrouble::Delay(..) => LinkAspect::Delay,
            LinkTrouble::Lose(_) => LinkAspect::Loss,
            LinkTrouble::Reorder(..) => LinkAspect::Reordering,
            LinkTrouble::Limit(_) => LinkAspect::Bandwidth,
            LinkTrouble::Cut => LinkAspect::Cut,
            LinkTrouble::BlackHole(_) => LinkAspect::Mtu,
        }
    }
}

impl fmt::Display for LinkChange {
    /// What the way does from now on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkChange::Impair(trouble) => match trouble {
                LinkTrouble::Delay(..) => "takes longer",
                LinkTrouble::Lose(_) => "loses packets",
                LinkTrouble::Reorder(..) => "reorders packets",
                LinkTrouble::Limit(_) => "has less bandwidth",
                LinkTrouble::Cut => "is cut",
                LinkTrouble::BlackHole(_) => "swallows large packets",
            },
            LinkChange::Mend(Some(aspect)) => match aspect {
                LinkAspect::Delay => "takes no longer than before",
                LinkAspect::Loss => "loses nothing any more",
                LinkAspect::Duplication => "duplicates nothing any more",
                LinkAspect::Reordering => "keeps packets in order",
                LinkAspect::Bandwidth => "has all of its bandwidth",
                LinkAspect::Cut => "is not cut any more",
                LinkAspect::Mtu => "lets large packets pass",
            },
            LinkChange::Mend(None) => "is sound",
        })
    }
}

/// The ways and what is wrong with them.
pub(super) struct Links {
    troubles: Mutex<BTreeMap<(End, End), Vec<LinkTrouble>>>,
    changed: watch::Sender<()>,
    random: Mutex<ChaCha8Rng>,
}

impl Links {
    /// Ways that nothing is wrong with.
    pub fn new(seed: u64) -> Links {
        Links {
            troubles: Mutex::default(),
            changed: watch::Sender::new(()),
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed)),
        }
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<(End, End), Vec<LinkTrouble>>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a change of some ways, each in one direction. Of each aspect a way has one trouble at a time.
    pub fn change(&self, ways: &[(End, End)], change: LinkChange) {
        let mut troubles = self.troubles();
        for way in ways {
            let of_way = troubles.entry(*way).or_default();
            let aspect = match change {
                LinkChange::Impair(trouble) => Some(trouble.aspect()),
                LinkChange::Mend(aspect) => aspect,
            };
            of_way.retain(|trouble| aspect.is_some_and(|aspect| aspect != trouble.aspect()));
            if let LinkChange::Impair(trouble) = change {
                of_way.push(trouble);
            }
        }
        drop(troubles);
        self.changed.send_replace(());
    }

    fn on(&self, way: (End, End)) -> Vec<LinkTrouble> {
        self.troubles().get(&way).cloned().unwrap_or_default()
    }

    /// Waits until `bytes` in one piece can pass a way at all.
    pub async fn passable(&self, way: (End, End), bytes: usize) {
        let mut changed = self.changed.subscribe();
        let stops = |trouble: &LinkTrouble| match *trouble {
            LinkTrouble::Cut => true,
            LinkTrouble::BlackHole(above) => bytes.min(PACKET_BYTES) + HEADER_BYTES > usize::from(above),
            _ => false,
        };
        while self.on(way).iter().any(stops) {
            // The sender lives as long as this.
            let _ = changed.changed().await;
        }
    }

    /// When a piece that is sent now arrives; `pace` is what the connection remembers of the pieces before.
    pub fn arrives(&self, way: (End, End), bytes: usize, pace: &mut Pace) -> Instant {
        let now = Instant::now();
        let mut at = now;
        for trouble in self.on(way) {
            let hit = |share: Share, random: &mut ChaCha8Rng| random.random_bool(share.fraction());
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            match trouble {
                LinkTrouble::Delay(by, jitter) => {
                    let spread = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
                    let varied = Duration::from_nanos(random.random_range(0..=2 * spread));
                    at += (by + varied).saturating_sub(jitter);
                }
                LinkTrouble::Lose(share) if hit(share, &mut random) => at += SENT_AGAIN_AFTER,
                LinkTrouble::Reorder(share, by) if hit(share, &mut random) => at += by,
                LinkTrouble::Limit(per_second) => {
                    let takes = Duration::from_secs_f64(bytes as f64 / per_second.max(1) as f64);
                    pace.sent = pace.sent.max(Some(now)).map(|sent| sent + takes);
                    at = at.max(pace.sent.unwrap_or(now));
                }
                _ => {}
            }
        }
        // A stream stays in order.
        at = pace.arrived.map_or(at, |before| before.max(at));
        pace.arrived = Some(at);
        at
    }
}

/// What one direction of a connection remembers.
#[derive(Default)]
pub(super) struct Pace {
    /// When all that was sent has passed a limit.
    sent: Option<Instant>,
    arrived: Option<Instant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: (End, End) = (End::Broker(0), End::Broker(1));

    fn with(troubles: &[LinkTrouble]) -> Links {
        let links = Links::new(1);
        for trouble in troubles {
            links.change(&[WAY], LinkChange::Impair(*trouble));
        }
        links
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_are_late_and_stay_in_order() {
        let by = Duration::from_millis(50);
        let links = with(&[LinkTrouble::Delay(by, Duration::from_millis(10))]);
        let (mut pace, now) = (Pace::default(), Instant::now());
        let mut last = now;
        for _ in 0..100 {
            let at = links.arrives(WAY, 100, &mut pace);
            assert!(at >= last && at <= now + Duration::from_millis(60));
            last = at;
        }
        assert!(last > now + by);
        assert_eq!(links.arrives((WAY.1, WAY.0), 100, &mut Pace::default()), now, "the way back is sound");
    }

    #[tokio::test(start_paused = true)]
    async fn bandwidth_adds_up_and_losses_wait_for_the_next_try() {
        let links = with(&[LinkTrouble::Limit(1000)]);
        let (mut pace, now) = (Pace::default(), Instant::now());
        links.arrives(WAY, 500, &mut pace);
        assert_eq!(links.arrives(WAY, 500, &mut pace), now + Duration::from_secs(1));
        let lossy = with(&[LinkTrouble::Lose(Share::ALL)]);
        assert_eq!(lossy.arrives(WAY, 1, &mut Pace::default()), now + SENT_AGAIN_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_passes_a_cut_until_it_is_mended() {
        let links = with(&[LinkTrouble::Cut, LinkTrouble::BlackHole(1400)]);
        let passes = async |bytes| {
            tokio::time::timeout(Duration::from_secs(1), links.passable(WAY, bytes)).await.is_ok()
        };
        assert!(!passes(1).await);
        links.change(&[WAY], LinkChange::Mend(Some(LinkAspect::Cut)));
        assert!(passes(1).await);
        assert!(!passes(5000).await, "a large packet vanishes");
        links.change(&[WAY], LinkChange::Mend(None));
        assert!(passes(5000).await);
    }
}
