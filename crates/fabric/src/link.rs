//! Links: what lies between two devices.
//!
//! A link delays, and may limit, lose, duplicate, reorder, refuse what is too big, or be cut. Each direction is
//! its own: its configuration, its queue, its random stream. Packets of one direction stay in order (a link is a
//! wire with a queue, however its delay varies) unless the link reorders on purpose.

use hopwise_engine::random::Stream;
use hopwise_engine::{Span, Time};
use rand::RngExt;
use rand_distr::{Distribution, Normal};
use std::sync::Arc;

/// How long a packet takes from one end to the other, beside queueing and serialization.
#[derive(Clone, Debug, PartialEq)]
pub enum Delay {
    /// Always the same.
    Constant(Span),
    /// Uniformly between two spans, both included.
    Uniform {
        /// Least.
        min: Span,
        /// Greatest.
        max: Span,
    },
    /// Normally distributed, never below `min`.
    Normal {
        /// Mean.
        mean: Span,
        /// Standard deviation.
        deviation: Span,
        /// Values below are raised to this.
        min: Span,
    },
    /// One of these measured values, each equally likely; never empty.
    Empirical(Arc<[Span]>),
}

impl Delay {
    fn draw(&self, stream: &mut Stream) -> Span {
        match self {
            Delay::Constant(span) => *span,
            Delay::Uniform { min, max } => {
                Span::from_nanos(stream.random_range(min.as_nanos()..=max.as_nanos()))
            }
            Delay::Normal { mean, deviation, min } => {
                let normal = Normal::new(mean.as_nanos() as f64, deviation.as_nanos() as f64);
                let drawn = normal.expect("a finite deviation").sample(stream);
                Span::from_nanos(drawn.round() as u64).max(*min)
            }
            Delay::Empirical(values) => values[stream.random_range(0..values.len())],
        }
    }
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Propagation delay.
    pub delay: Delay,
    /// Bits per second; `None` is unlimited.
    pub bandwidth_bps: Option<u64>,
    /// How many bytes may wait for the bandwidth before packets are dropped at the tail.
    pub queue_bytes_max: u64,
    /// Probability that a packet is lost, 0 to 1.
    pub loss: f64,
    /// Probability that a packet arrives twice, 0 to 1.
    pub duplication: f64,
    /// Probability that a packet is held back by `reorder_delay`, so that later ones overtake it, 0 to 1.
    pub reordering: f64,
    /// How long a reordered packet is held back.
    pub reorder_delay: Span,
    /// Largest packet in bytes.
    pub mtu: usize,
    /// Whether what is too big vanishes without an ICMP answer (a path MTU black hole, RFC 2923 section 2.1).
    pub mtu_black_hole: bool,
    /// Whether the link is cut: everything sent is lost.
    pub cut: bool,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            delay: Delay::Constant(Span::ZERO),
            bandwidth_bps: None,
            queue_bytes_max: 1_000_000,
            loss: 0.0,
            duplication: 0.0,
            reordering: 0.0,
            reorder_delay: Span::ZERO,
            mtu: 1500,
            mtu_black_hole: false,
            cut: false,
        }
    }
}

impl LinkConfig {
    /// A link that only delays, always by `delay`.
    pub fn constant(delay: Span) -> Self {
        LinkConfig { delay: Delay::Constant(delay), ..Self::default() }
    }
}

/// One direction of a link and its state. What most packets need is small and lies together.
pub(crate) struct Direction {
    plain: Option<Plain>,
    last_arrival: Time,
    rest: Box<Rest>,
}

/// A direction that only delays, always by the same span.
#[derive(Clone, Copy)]
struct Plain {
    delay: Span,
    mtu: usize,
}

struct Rest {
    config: LinkConfig,
    stream: Stream,
    busy_until: Time,
}

/// What becomes of a packet that is put on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, perhaps twice.
    Arrives { at: Time, again_at: Option<Time> },
    /// It does not.
    Lost(Loss),
    /// It is longer than the link takes, in bytes.
    TooBig { mtu: usize },
}

/// Why a link lost a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Random,
    Cut,
    QueueFull,
}

impl Loss {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Loss::Random => "lost at random on the link",
            Loss::Cut => "the link is cut",
            Loss::QueueFull => "the link's queue is full",
        }
    }
}

impl Direction {
    pub(crate) fn new(config: LinkConfig, stream: Stream) -> Self {
        let plain = plain(&config);
        let rest = Box::new(Rest { config, stream, busy_until: Time::ZERO });
        Direction { plain, last_arrival: Time::ZERO, rest }
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &LinkConfig {
        &self.rest.config
    }

    /// Changes its configuration.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut LinkConfig)) {
        change(&mut self.rest.config);
        self.plain = plain(&self.rest.config);
    }

    /// Whether what befalls the packets of a run, the longest of `length` bytes, befalls all of them alike, so that the run
    /// can be put on the link whole.
    pub(crate) fn takes_runs(&self, length: usize) -> bool {
        let Rest { config, .. } = &*self.rest;
        self.plain.is_some() || config.cut || length > config.mtu
    }

    /// Puts a packet of `length` bytes on the link at `now`; of a run, its longest packet.
    pub(crate) fn send(&mut self, now: Time, length: usize) -> Fate {
        match self.plain {
            Some(plain) if length <= plain.mtu => {
                let at = (now + plain.delay).max(self.last_arrival);
                self.last_arrival = at;
                Fate::Arrives { at, again_at: None }
            }
            _ => self.send_configured(now, length),
        }
    }

    fn send_configured(&mut self, now: Time, length: usize) -> Fate {
        let Rest { config, stream, busy_until } = &mut *self.rest;
        if config.cut {
            return Fate::Lost(Loss::Cut);
        }
        if length > config.mtu {
            return Fate::TooBig { mtu: config.mtu };
        }
        if config.loss > 0.0 && stream.random_bool(config.loss) {
            return Fate::Lost(Loss::Random);
        }
        let sent_at = match config.bandwidth_bps {
            None => now,
            Some(bandwidth_bps) => {
                let starts = (*busy_until).max(now);
                let waiting_bytes = bytes_sent_in(starts - now, bandwidth_bps);
                if waiting_bytes.saturating_add(length as u64) > config.queue_bytes_max {
                    return Fate::Lost(Loss::QueueFull);
                }
                *busy_until = starts + time_to_send(length, bandwidth_bps);
                *busy_until
            }
        };
        let mut at = sent_at + config.delay.draw(stream);
        if config.reordering > 0.0 && stream.random_bool(config.reordering) {
            at += config.reorder_delay;
        } else {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        let twice = config.duplication > 0.0 && stream.random_bool(config.duplication);
        Fate::Arrives { at, again_at: twice.then_some(at) }
    }
}

/// The part of `config` that says all, if there is one.
fn plain(config: &LinkConfig) -> Option<Plain> {
    let Delay::Constant(delay) = config.delay else { return None };
    let chance = config.loss > 0.0 || config.duplication > 0.0 || config.reordering > 0.0;
    (!chance && !config.cut && config.bandwidth_bps.is_none()).then_some(Plain { delay, mtu: config.mtu })
}

fn time_to_send(length: usize, bandwidth_bps: u64) -> Span {
    let nanoseconds = (length as u128 * 8 * 1_000_000_000).div_ceil(u128::from(bandwidth_bps.max(1)));
    Span::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

fn bytes_sent_in(span: Span, bandwidth_bps: u64) -> u64 {
    let bytes = u128::from(span.as_nanos()) * u128::from(bandwidth_bps) / 8 / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hopwise_engine::random::stream_of;

    use super::*;

    fn direction(config: LinkConfig) -> Direction {
        Direction::new(config, stream_of(1, "test"))
    }

    fn arrival(fate: Fate) -> u64 {
        match fate {
            Fate::Arrives { at, .. } => at.as_nanos(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bandwidth_makes_packets_wait_their_turn_and_the_queue_overflow() {
        let mut link = direction(LinkConfig {
            delay: Delay::Constant(Span::from_nanos(5)),
            bandwidth_bps: Some(8_000_000_000),
            queue_bytes_max: 2_000,
            ..LinkConfig::default()
        });
        assert_eq!(arrival(link.send(Time::ZERO, 1000)), 1_005);
        assert_eq!(arrival(link.send(Time::ZERO, 1000)), 2_005);
        assert_eq!(link.send(Time::ZERO, 1000), Fate::Lost(Loss::QueueFull));
        assert_eq!(arrival(link.send(Time::from_nanos(1_000), 1000)), 3_005);
    }

    #[test]
    fn a_varying_delay_keeps_the_order_and_its_bounds() {
        let (min, max) = (Span::from_nanos(100), Span::from_nanos(900));
        let mut link = direction(LinkConfig { delay: Delay::Uniform { min, max }, ..LinkConfig::default() });
        let mut last = 0;
        for sent_ns in (0..10_000).step_by(50) {
            let at = arrival(link.send(Time::from_nanos(sent_ns), 40));
            assert!(at >= last && at >= sent_ns + 100);
            last = at;
        }
        let mut normal = Delay::Normal { mean: max, deviation: max, min };
        let mut stream = stream_of(1, "normal");
        assert!((0..1000).all(|_| normal.draw(&mut stream) >= min));
        normal = Delay::Empirical([min, max].into());
        assert!((0..100).all(|_| [min, max].contains(&normal.draw(&mut stream))));
    }

    #[test]
    fn loss_duplication_and_reordering_happen_about_as_often_as_asked() {
        let config = LinkConfig { loss: 0.25, ..LinkConfig::constant(Span::from_nanos(10)) };
        let mut link = direction(config);
        let lost = (0..4_000).filter(|_| link.send(Time::ZERO, 40) == Fate::Lost(Loss::Random)).count();
        assert!((900..1_100).contains(&lost), "{lost} of 4000");
        let mut link =
            direction(LinkConfig { duplication: 1.0, ..LinkConfig::constant(Span::from_nanos(10)) });
        assert!(matches!(link.send(Time::ZERO, 40), Fate::Arrives { again_at: Some(_), .. }));
        let held = Span::from_nanos(1_000);
        let config =
            LinkConfig { reordering: 1.0, reorder_delay: held, ..LinkConfig::constant(Span::from_nanos(10)) };
        assert_eq!(arrival(direction(config).send(Time::ZERO, 40)), 1_010);
    }

    #[test]
    fn a_cut_link_and_a_packet_too_big() {
        let mut link = direction(LinkConfig { cut: true, ..LinkConfig::default() });
        assert_eq!(link.send(Time::ZERO, 40), Fate::Lost(Loss::Cut));
        let mut link = direction(LinkConfig::default());
        assert_eq!(link.send(Time::ZERO, 1501), Fate::TooBig { mtu: 1500 });
    }
}
