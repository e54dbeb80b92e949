//! Startup, readiness and liveness probes of one container.
//!
//! Source: kubernetes.md 1.8; the kubelet's `prober/worker.go` for how results are counted. A probe is first due its
//! initial delay after the container's start, then each period. Left out: the phase of the kubelet's ticker, which
//! depends on when it learned of the pod and lets the first probe come up to a period later.

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Container, Probe};

/// What a probe decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeKind {
    /// Whether the container has started; the other two wait for it.
    Startup,
    /// Whether it is ready.
    Readiness,
    /// Whether it has to be started again.
    Liveness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Readiness, ProbeKind::Liveness];

    /// The probe of this kind that a container declares.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            ProbeKind::Startup => container.startup_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
        }
    }

    /// As manifests call it, without `Probe`.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Startup => "startup",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }
}

/// When a probe is made and how its results count. 0 and less mean the default, as the API server fills it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeTiming {
    /// From the container's start to the first probe.
    pub initial_delay: Span,
    /// From one probe to the next: 10 s by default.
    pub period: Span,
    /// How long one may take: 1 s by default.
    pub timeout: Span,
    /// How many successes in a row count: 1 by default.
    pub successes: u32,
    /// How many failures in a row count: 3 by default.
    pub failures: u32,
}

impl ProbeTiming {
    /// The timing of a declared probe, with the defaults of kubernetes.md 1.8.
    pub fn of(probe: &Probe) -> ProbeTiming {
        let positive = |value: Option<i32>, default: u32| {
            value.and_then(|it| u32::try_from(it).ok()).filter(|it| *it > 0).unwrap_or(default)
        };
        let seconds = |value, default| Span::from_secs(u64::from(positive(value, default)));
        ProbeTiming {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: positive(probe.success_threshold, 1),
            failures: positive(probe.failure_threshold, 3),
        }
    }
}

/// What a result changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Nothing,
    /// The container counts as started: the other probes begin.
    Started,
    /// The container has become ready or ceased to be.
    Ready(bool),
    /// The container is to be killed and started again.
    Restart,
}

/// The probes of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probes {
    workers: [Option<Worker>; 3],
    started: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Worker {
    timing: ProbeTiming,
    due: Time,
    /// The last result, and how many times in a row it has come.
    last: Option<bool>,
    run: u32,
    /// What counts at present.
    counts: Option<bool>,
}

impl Probes {
    /// The probes of a container that has started at `started_at`.
    pub fn new(container: &Container, started_at: Time) -> Probes {
        let workers = ProbeKind::ALL.map(|kind| {
            let timing = ProbeTiming::of(kind.of(container)?);
            let due = started_at + timing.initial_delay;
            Some(Worker { timing, due, last: None, run: 0, counts: None })
        });
        let started = workers[ProbeKind::Startup as usize].is_none();
        Probes { workers, started }
    }

    /// The probes of a container that was ready before the kubelet started: it stays ready until a probe fails
    /// (assumed: status is kept over a kubelet's restart).
    pub fn adopt(mut self, started: bool, ready: bool) -> Probes {
        self.started |= started;
        if let Some(readiness) = &mut self.workers[ProbeKind::Readiness as usize] {
            readiness.counts = ready.then_some(true);
        }
        self
    }

    /// Whether there is a probe of this kind.
    pub fn has(&self, kind: ProbeKind) -> bool {
        self.workers[kind as usize].is_some()
    }

    /// When a probe of this kind is due next; none while another has to succeed first, or when there is none.
    pub fn due(&self, kind: ProbeKind) -> Option<Time> {
        let waits = self.started == (kind == ProbeKind::Startup);
        self.workers[kind as usize].as_ref().filter(|_| !waits).map(|worker| worker.due)
    }

    /// How long a probe of this kind may take.
    pub fn timeout(&self, kind: ProbeKind) -> Span {
        self.workers[kind as usize].as_ref().map_or(Span::ZERO, |worker| worker.timing.timeout)
    }

    /// Whether the container counts as started.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Whether the container is ready, given that it runs.
    pub fn is_ready(&self) -> bool {
        let readiness = self.workers[ProbeKind::Readiness as usize].as_ref();
        self.started && readiness.is_none_or(|worker| worker.counts == Some(true))
    }

    /// A probe has come to its end at `now`.
    pub fn observe(&mut self, now: Time, kind: ProbeKind, success: bool) -> Verdict {
        let was_ready = self.is_ready();
        let Some(worker) = &mut self.workers[kind as usize] else { return Verdict::Nothing };
        worker.run = if worker.last == Some(success) { worker.run.saturating_add(1) } else { 1 };
        worker.last = Some(success);
        while worker.due <= now {
            worker.due += worker.timing.period;
        }
        if worker.run < if success { worker.timing.successes } else { worker.timing.failures } {
            return Verdict::Nothing;
        }
        worker.counts = Some(success);
        match (kind, success) {
            (ProbeKind::Startup, true) => self.begin(now),
            (ProbeKind::Readiness, _) if self.is_ready() != was_ready => Verdict::Ready(success),
            (ProbeKind::Startup | ProbeKind::Liveness, false) => Verdict::Restart,
            _ => Verdict::Nothing,
        }
    }

    /// The container counts as started: readiness is asked for at once, unless its delay is not over.
    fn begin(&mut self, now: Time) -> Verdict {
        if self.started {
            return Verdict::Nothing;
        }
        self.started = true;
        for kind in [ProbeKind::Readiness, ProbeKind::Liveness] {
            if let Some(worker) = &mut self.workers[kind as usize] {
                worker.due = worker.due.max(now);
            }
        }
        Verdict::Started
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn probe(initial_delay: i32, period: i32, failures: i32, successes: i32) -> Probe {
        Probe {
            initial_delay_seconds: Some(initial_delay),
            period_seconds: Some(period),
            failure_threshold: Some(failures),
            success_threshold: Some(successes),
            ..Probe::default()
        }
    }

    #[test]
    fn zero_means_the_default() {
        let timing = ProbeTiming::of(&Probe { timeout_seconds: Some(0), ..probe(0, 0, 0, 0) });
        let second = Span::from_secs(1);
        let expected = ProbeTiming {
            initial_delay: Span::ZERO,
            period: Span::from_secs(10),
            timeout: second,
            successes: 1,
            failures: 3,
        };
        assert_eq!(timing, expected);
        assert_eq!(ProbeTiming::of(&Probe::default()), expected);
    }

    #[test]
    fn without_a_readiness_probe_a_container_is_ready_as_soon_as_it_runs() {
        let probes = Probes::new(&Container::default(), at(5));
        assert!(probes.is_started() && probes.is_ready());
        assert!(ProbeKind::ALL.iter().all(|kind| probes.due(*kind).is_none()));
    }

    #[test]
    fn readiness_needs_as_many_results_in_a_row_as_declared() {
        let container = Container { readiness_probe: Some(probe(2, 5, 2, 3)), ..Container::default() };
        let mut probes = Probes::new(&container, at(10));
        let kind = ProbeKind::Readiness;
        let mut observe = |seconds, success| {
            assert_eq!(probes.due(kind), Some(at(seconds)));
            (probes.observe(at(seconds), kind, success), probes.is_ready())
        };
        assert_eq!(observe(12, true), (Verdict::Nothing, false));
        assert_eq!(observe(17, true), (Verdict::Nothing, false));
        assert_eq!(observe(22, true), (Verdict::Ready(true), true));
        assert_eq!(observe(27, false), (Verdict::Nothing, true));
        assert_eq!(observe(32, true), (Verdict::Nothing, true));
        assert_eq!(observe(37, false), (Verdict::Nothing, true));
        assert_eq!(observe(42, false), (Verdict::Ready(false), false));
        assert_eq!(observe(47, false), (Verdict::Nothing, false));
    }

    #[test]
    fn a_startup_probe_suspends_the_other_two() {
        let container = Container {
            startup_probe: Some(probe(1, 10, 3, 1)),
            readiness_probe: Some(probe(0, 10, 3, 1)),
            liveness_probe: Some(probe(30, 10, 3, 1)),
            ..Container::default()
        };
        let mut probes = Probes::new(&container, at(0));
        assert_eq!(probes.due(ProbeKind::Readiness), None);
        assert_eq!(probes.observe(at(1), ProbeKind::Startup, false), Verdict::Nothing);
        assert_eq!(probes.due(ProbeKind::Startup), Some(at(11)));
        assert_eq!(probes.observe(at(11), ProbeKind::Startup, true), Verdict::Started);
        assert_eq!(probes.due(ProbeKind::Startup), None);
        assert_eq!(probes.due(ProbeKind::Readiness), Some(at(11)));
        assert_eq!(probes.due(ProbeKind::Liveness), Some(at(30)));
        assert!(!probes.is_ready());
        assert_eq!(probes.observe(at(11), ProbeKind::Readiness, true), Verdict::Ready(true));
    }

    #[test]
    fn a_container_that_does_not_start_or_live_is_restarted() {
        let container = Container {
            startup_probe: Some(probe(0, 1, 2, 1)),
            liveness_probe: Some(probe(0, 1, 1, 1)),
            ..Container::default()
        };
        let mut probes = Probes::new(&container, at(0));
        assert_eq!(probes.observe(at(0), ProbeKind::Startup, false), Verdict::Nothing);
        assert_eq!(probes.observe(at(1), ProbeKind::Startup, false), Verdict::Restart);
        let mut probes = Probes::new(&container, at(0));
        assert_eq!(probes.observe(at(0), ProbeKind::Startup, true), Verdict::Started);
        assert_eq!(probes.observe(at(0), ProbeKind::Liveness, false), Verdict::Restart);
    }

    #[test]
    fn a_probe_that_took_longer_than_its_period_keeps_the_rhythm() {
        let container = Container { readiness_probe: Some(probe(0, 10, 3, 1)), ..Container::default() };
        let mut probes = Probes::new(&container, at(0));
        probes.observe(at(25), ProbeKind::Readiness, true);
        assert_eq!(probes.due(ProbeKind::Readiness), Some(at(30)));
    }
}
