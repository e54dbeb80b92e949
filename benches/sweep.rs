//! How fast a sweep of the standard fault scenario is: seeds per second and core, and what a second core gives.
//!
//! Each number is the best of three, and the runs with one and with two jobs take turns, so that a machine that is busy
//! with other work for a while does not favour one of them. CPU time per seed is what a machine that is always busy can
//! compare.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use hopwise_lab::run::load_scenario;
use hopwise_lab::sweep::{Seeds, Shard, SweepOptions, sweep};

const ROUNDS: u32 = 3;
/// Seeds of one run, unless the environment gives another number.
const SEEDS: u64 = 40;

fn main() {
    let seeds = std::env::var("HOPWISE_BENCH_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let count: u64 = seeds.unwrap_or(SEEDS).max(2);
    let (mut one, mut two) = (Measured::default(), Measured::default());
    for _ in 0..ROUNDS {
        one.add(run(1, count));
        two.add(run(2, count));
    }
    let per_second = count as f64 / one.wall.as_secs_f64();
    println!("standard-faults, {count} seeds, 1 job: {per_second:.1} seeds/s per core (goal 20)");
    println!(
        "the same with 2 jobs: {:.2} times as fast (goal 1.8)",
        one.wall.as_secs_f64() / two.wall.as_secs_f64()
    );
    let milliseconds = |cpu: Option<Duration>| cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / count as f64);
    if let (Some(one), Some(two)) = (milliseconds(one.cpu), milliseconds(two.cpu)) {
        println!("CPU time per seed: {one:.1} ms with 1 job, {two:.1} ms with 2 ({:.2} times)", two / one);
    }
}

/// The best of several runs.
#[derive(Default)]
struct Measured {
    wall: Duration,
    cpu: Option<Duration>,
}

impl Measured {
    fn add(&mut self, (wall, cpu): (Duration, Option<Duration>)) {
        self.wall = if self.wall.is_zero() { wall } else { self.wall.min(wall) };
        self.cpu = [self.cpu, cpu].into_iter().flatten().min();
    }
}

#[expect(clippy::disallowed_methods, reason = "measures wall time")]
fn run(jobs: usize, count: u64) -> (Duration, Option<Duration>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/standard-faults.yaml");
    let scenario = load_scenario(&path).expect("sound");
    let options = SweepOptions {
        seeds: Seeds { first: 0, end: count },
        shard: Shard::WHOLE,
        jobs: NonZeroUsize::new(jobs).expect("at least one"),
        out: None,
    };
    let (began, cpu) = (Instant::now(), cpu_time());
    let report = sweep(scenario, &path, &options, &mut |_, _| {}).expect("rows can be kept");
    let took = began.elapsed();
    if report.failed > 0 {
        println!("{} of {count} seeds do not pass; the first: {:?}", report.failed, report.failures.first());
    }
    (took, cpu.and_then(|before| Some(cpu_time()? - before)))
}

/// The CPU time of this process so far (Linux only): fields 14 and 15 of its stat file, in ticks of 10 ms.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
