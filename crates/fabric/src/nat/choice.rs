//! The choice of a target for a new flow.

use std::net::{IpAddr, SocketAddr};

use hopwise_engine::Time;
use hopwise_engine::random::Stream;
use rand::{Rng, RngExt};
use rustc_hash::FxHashMap;

use crate::nat::rules::{Choice, Translation};
use crate::nat::table::RuleKey;
use crate::nat::tuple::Tuple;

/// Chooses targets, and remembers which source got which where that matters. Each device has its own memory, so
/// one client can get another target through another node (linux.md 1, "Session affinity").
///
/// Left out: the kernel keeps at most 100 client addresses per target (`xt_recent`'s `ip_list_tot`).
pub(crate) struct TargetChoice {
    salt: u64,
    affinity: FxHashMap<(RuleKey, IpAddr), Remembered>,
    prune_at: usize,
    /// How many flows a rule has spread, for those that take turns.
    turns: FxHashMap<RuleKey, usize>,
}

struct Remembered {
    target: SocketAddr,
    until: Time,
}

/// How many remembered sources there are at least before forgotten ones are swept out.
const PRUNE_AT_LEAST: usize = 1_024;

impl TargetChoice {
    pub(crate) fn new(stream: &mut Stream) -> Self {
        TargetChoice {
            salt: stream.next_u64(),
            affinity: FxHashMap::default(),
            prune_at: PRUNE_AT_LEAST,
            turns: FxHashMap::default(),
        }
    }

    /// The target for the flow that begins with `tuple`; `None` if there is none of its address family.
    pub(crate) fn choose(
        &mut self,
        key: RuleKey,
        translation: &Translation,
        tuple: &Tuple,
        stream: &mut Stream,
        now: Time,
    ) -> Option<SocketAddr> {
        let targets = &translation.targets;
        if targets.is_empty() {
            return None;
        }
        let target = match translation.choice {
            Choice::Random => targets[stream.random_range(0..targets.len())],
            Choice::RoundRobin => {
                let turn = self.turns.entry(key).or_default();
                let target = targets[*turn % targets.len()];
                *turn = turn.wrapping_add(1);
                target
            }
            Choice::FlowHash => targets[(tuple.hash_with(self.salt) % targets.len() as u64) as usize],
            Choice::SourceAffinity(timeout) => {
                let client = (key, tuple.source.ip());
                let known = self.affinity.get(&client);
                let known = known.filter(|known| known.until > now && targets.contains(&known.target));
                let target = match known {
                    Some(known) => known.target,
                    None => targets[stream.random_range(0..targets.len())],
                };
                // Every new flow renews the memory, packets of an old one do not (linux.md 1: connects 1.5 s
                // apart stay with a timeout of 3 s).
                self.affinity.insert(client, Remembered { target, until: now + timeout });
                self.prune(now);
                target
            }
        };
        (target.is_ipv6() == tuple.destination.is_ipv6()).then_some(target)
    }

    fn prune(&mut self, now: Time) {
        if self.affinity.len() >= self.prune_at {
            self.affinity.retain(|_, known| known.until > now);
            self.prune_at = PRUNE_AT_LEAST.max(2 * self.affinity.len());
        }
    }
}
