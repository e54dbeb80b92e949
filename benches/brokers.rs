//! How much virtual time a second of the machine's buys with brokers at work: a loaded cluster of three, and one of
//! nine that holds 1,000 idle partitions. Prints simulated seconds per wall second beside the goal; and per second of
//! the processor's, which is the same on a machine without other work.

use std::time::Duration;

use hopwise_benches::brokers::{Load, Took};

fn print(what: &str, took: Took, goal: u32) {
    let rate = |took: Duration| 1.0 / took.as_secs_f64();
    let (wall, processor) = (rate(took.wall), rate(took.processor));
    println!(
        "{what}: {wall:.0} simulated s per wall s (goal {goal}), {processor:.0} per s of the processor's"
    );
}

fn main() {
    let loaded = Load {
        brokers: 3,
        topics: vec![("orders".to_owned(), 30)],
        clients: 30,
        every: Duration::from_millis(30),
        start_within: Duration::ZERO,
        simulated: Duration::from_secs(60),
    };
    let idle = Load {
        brokers: 9,
        topics: (0..10).map(|index| (format!("topic-{index}"), 100)).collect(),
        clients: 0,
        ..loaded.clone()
    };
    print("3 brokers, 30 partitions, 30 clients, 1,000 requests/s", loaded.run(), 50);
    print("9 brokers, 1,000 idle partitions", idle.run(), 20);
}
