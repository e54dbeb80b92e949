//! A timeline of faults drawn from a seed: crashes, power losses, slow disks, networks cut in several ways: a machine
//! from everybody, or from other machines but not from the clients. Everything is mended by [`CALM_AT`], so that the
//! cluster can come back and be read.

use std::time::Duration;

use hopwise_engine::Span;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tokio::time::{Instant, sleep_until};

use crate::cluster::{BROKERS, Cluster, Trouble};

/// When faults begin, after the start.
const FIRST_AT: Duration = Duration::from_secs(4);
/// When the last fault is over.
const CALM_AT: Duration = Duration::from_secs(24);
/// Faults in one timeline, at most and at least one.
const FAULTS_MAX: u64 = 6;
/// A slow disk takes up to this for a sync.
const SLOWEST_MS: u64 = 120;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Kill,
    PowerOff,
    /// Between the machine and everybody.
    Link(Trouble),
    /// Between the machine and all others, but not between it and the clients.
    Brokers(Trouble),
    /// Between the machine and the next one.
    Neighbour(Trouble),
    /// Every machine loses its power at once.
    Blackout,
}

/// Something that is done at a time.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: Duration,
    machine: usize,
    /// `None` mends.
    fault: Option<Fault>,
}

/// What happens when.
#[derive(Clone, Debug)]
pub struct Timeline {
    steps: Vec<Step>,
    /// How long each machine's disk may take for a sync.
    pub slowest: [Duration; BROKERS],
}

struct Draw(ChaCha8Rng);

impl Draw {
    /// Uniform enough below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn between(&mut self, from: Duration, to: Duration) -> Duration {
        from + Duration::from_millis(self.below((to - from).as_millis() as u64 + 1))
    }

    fn fault(&mut self) -> Fault {
        match self.below(12) {
            0 | 1 => Fault::Kill,
            2 | 3 => Fault::PowerOff,
            4..=6 => Fault::Link(self.trouble()),
            7..=9 => Fault::Brokers(self.trouble()),
            10 => Fault::Neighbour(self.trouble()),
            _ => Fault::Blackout,
        }
    }

    fn trouble(&mut self) -> Trouble {
        match self.below(6) {
            0 | 1 => Trouble::Cut,
            2 => Trouble::Deaf,
            3 => Trouble::Mute,
            4 => Trouble::Loss(self.below(30) as f64 / 100.0),
            _ => Trouble::Slow(Span::from_millis(self.below(400))),
        }
    }
}

impl Timeline {
    /// The timeline of a seed.
    pub fn of(seed: u64) -> Timeline {
        let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
        let mut steps = Vec::new();
        for _ in 0..=draw.below(FAULTS_MAX) {
            let begin = draw.between(FIRST_AT, CALM_AT - Duration::from_secs(1));
            let end = draw.between(begin, (begin + Duration::from_secs(8)).min(CALM_AT));
            let (machine, fault) = (draw.below(BROKERS as u64) as usize, draw.fault());
            steps.push(Step { at: begin, machine, fault: Some(fault) });
            steps.push(Step { at: end, machine, fault: None });
        }
        steps.sort_by_key(|step| step.at);
        steps.extend((0..BROKERS).map(|machine| Step { at: CALM_AT, machine, fault: None }));
        let mut slowest = [Duration::ZERO; BROKERS];
        if draw.below(3) == 0 {
            slowest[draw.below(BROKERS as u64) as usize] = Duration::from_millis(draw.below(SLOWEST_MS));
        }
        Timeline { steps, slowest }
    }

    /// Carries the timeline out, beginning now.
    pub async fn play(&self, cluster: &mut Cluster) {
        let start = Instant::now();
        for step in &self.steps {
            sleep_until(start + step.at).await;
            hopwise_engine::notable(
                "fault",
                format!("machine-{}", step.machine),
                format!("{:?}", step.fault),
            );
            match step.fault {
                Some(Fault::Kill) => cluster.kill(step.machine),
                Some(Fault::PowerOff) => cluster.power_off(step.machine),
                Some(Fault::Link(trouble)) => cluster.link(step.machine, Some(trouble)),
                Some(Fault::Brokers(trouble)) => cluster.link_to_brokers(step.machine, Some(trouble)),
                Some(Fault::Neighbour(trouble)) => {
                    cluster.link_between(step.machine, (step.machine + 1) % BROKERS, Some(trouble));
                }
                Some(Fault::Blackout) => (0..BROKERS).for_each(|machine| cluster.power_off(machine)),
                None => {
                    cluster.link(step.machine, None);
                    cluster.link_to_brokers(step.machine, None);
                    // After a blackout, and after overlapping faults, others may be down too; each has its own end.
                    cluster.start_broker(step.machine);
                }
            }
        }
    }
}
