//! Whom a client asks when any broker will do, in which order.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::Operation;
use crate::behaviour::{AskAnyone, Behaviour, BootstrapOrder, Rebootstrap};
use crate::client::{Asked, Client};
use crate::lane::Lane;

impl Client {
    /// The brokers that are known, and where the profile goes back to it the bootstrap list.
    pub(crate) fn candidates(&self, operation: Operation) -> Vec<Asked> {
        let behaviour = &self.inner.options.behaviour;
        let lane = Lane::of(behaviour.connections, operation);
        let mut guard = self.state();
        let state = &mut *guard;
        let overdue = state.knowledge.missing_since.map(|since| Instant::now().duration_since(since));
        let gone_back = match behaviour.rebootstrap {
            Rebootstrap::NoneAnswersOrAfter(time) => overdue.is_some_and(|overdue| overdue >= time),
            Rebootstrap::Never | Rebootstrap::NoneAnswers => false,
        };
        let ids: Vec<i32> = state.knowledge.cluster.brokers.keys().copied().collect();
        let ids = if gone_back { Vec::new() } else { ids };
        let known = ids.into_iter().filter_map(|id| self.broker_link(state, id, lane)).collect();
        let mut candidates = in_order(known, behaviour, &mut state.turn, &mut state.random);
        if candidates.is_empty() || behaviour.rebootstrap != Rebootstrap::Never {
            let bootstrap = self.inner.options.bootstrap.iter().enumerate();
            let mut list: Vec<Asked> =
                bootstrap.map(|(place, address)| state.bootstrap_link(place, lane, address)).collect();
            order_bootstrap(&mut list, behaviour.bootstrap_order, &mut state.random);
            // A bootstrap address whose connection became a broker's is among the known ones already.
            list.retain(|asked| candidates.iter().all(|known| !Arc::ptr_eq(&known.link, &asked.link)));
            candidates.extend(list);
        }
        candidates
    }
}

/// The known brokers in the order in which this client asks them.
fn in_order(
    known: Vec<Asked>,
    behaviour: &Behaviour,
    turn: &mut Option<usize>,
    random: &mut ChaCha8Rng,
) -> Vec<Asked> {
    let (mut connected, mut others) = (Vec::new(), Vec::new());
    match behaviour.ask_anyone {
        AskAnyone::LowestId => return known,
        AskAnyone::InTurn => {
            let mut known = known;
            if !known.is_empty() {
                let first = turn.unwrap_or_else(|| random.random_range(0..known.len()));
                *turn = Some(first.wrapping_add(1));
                let count = known.len();
                known.rotate_left(first % count);
            }
            return known;
        }
        AskAnyone::LeastLoaded | AskAnyone::RandomConnected => {
            for asked in known {
                match asked.link.load() {
                    Some(load) => connected.push((load, asked)),
                    None => others.push(asked),
                }
            }
        }
    }
    if behaviour.ask_anyone == AskAnyone::LeastLoaded {
        connected.sort_by_key(|(load, asked)| (*load, asked.target));
        if others.len() > 1 {
            let first = random.random_range(0..others.len());
            others.rotate_left(first);
        }
    } else {
        connected.shuffle(random);
        others.shuffle(random);
    }
    connected.into_iter().map(|(_, asked)| asked).chain(others).collect()
}

fn order_bootstrap(list: &mut [Asked], order: BootstrapOrder, random: &mut ChaCha8Rng) {
    match order {
        BootstrapOrder::Written => {}
        BootstrapOrder::RandomStart if list.is_empty() => {}
        BootstrapOrder::RandomStart => list.rotate_left(random.random_range(0..list.len())),
        BootstrapOrder::Shuffled => list.shuffle(random),
    }
}
