//! How the cost of a simulated second grows with clients and with brokers: the processor's time, and the exponent of its growth
//! from one size to the next (1 is linear).
//!
//! Each client sends a record per second; there are 30 partitions of three replicas. Brokers ping each other and send
//! heartbeats to those with whom they share partitions, as Redpanda's do, so that there are as many pings as pairs.
//!
//! `HOPWISE_BENCH_CLIENTS` and `HOPWISE_BENCH_BROKERS` bound the sizes.

use std::time::Duration;

use hopwise_benches::brokers::Load;

const CLIENTS: [usize; 4] = [10, 100, 1_000, 10_000];
const BROKERS: [usize; 4] = [3, 10, 30, 100];

fn main() {
    let load = Load {
        brokers: 3,
        topics: vec![("orders".to_owned(), 30)],
        clients: 10,
        every: Duration::from_secs(1),
        start_within: Duration::from_secs(1),
        simulated: Duration::from_secs(10),
    };
    let clients = bounded(CLIENTS, "HOPWISE_BENCH_CLIENTS");
    growth("3 brokers, clients", clients.map(|clients| (clients, Load { clients, ..load.clone() })));
    let brokers = bounded(BROKERS, "HOPWISE_BENCH_BROKERS");
    growth("10 clients, brokers", brokers.map(|brokers| (brokers, Load { brokers, ..load.clone() })));
}

/// The sizes up to what the environment says.
fn bounded(sizes: [usize; 4], variable: &str) -> impl Iterator<Item = usize> {
    let most = std::env::var(variable).ok().and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    sizes.into_iter().filter(move |size| *size <= most)
}

/// Measures and prints each size, and the exponents.
fn growth(what: &str, loads: impl Iterator<Item = (usize, Load)>) {
    let (mut first, mut before) = (None, None);
    for (size, load) in loads {
        let cost = load.run().processor;
        print!("{what} {size}: {:.1} ms per simulated s", cost.as_secs_f64() * 1e3);
        if let Some(before) = before.replace((size, cost)) {
            print!(", exponent {:.2}", exponent(before, (size, cost)));
        }
        println!();
        first.get_or_insert((size, cost));
    }
    if let (Some(first), Some(last)) = (first, before)
        && first.0 < last.0
    {
        println!("{what} {} to {}: exponent {:.2} (goal 1)", first.0, last.0, exponent(first, last));
    }
}

/// The power of the size that the cost grows with.
fn exponent(from: (usize, Duration), to: (usize, Duration)) -> f64 {
    let cost = to.1.as_secs_f64() / from.1.as_secs_f64();
    cost.ln() / (to.0 as f64 / from.0 as f64).ln()
}
