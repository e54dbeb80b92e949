//! What faults do to the ways between places.

use hopwise_engine::Span;
use hopwise_fabric::{Delay, LinkConfig};
use hopwise_kube::cluster::{Aspect, Cluster, OperationError};

use crate::scenario::{BlackHole, DelayedLink, ImpairedShare, LimitedLink, MendedLink, ReorderedLink, Way};

/// A link that changes nothing: the fabric's links have sizes of their own.
fn untouched() -> LinkConfig {
    LinkConfig { mtu: usize::MAX, ..LinkConfig::default() }
}

pub(super) fn delay(cluster: &Cluster, delayed: &DelayedLink) -> Result<(), OperationError> {
    let (by, jitter) = (delayed.by.span(), delayed.jitter.span());
    let delay = match jitter {
        Span::ZERO => Delay::Constant(by),
        jitter => {
            let min = Span::from_nanos(by.as_nanos().saturating_sub(jitter.as_nanos()));
            Delay::Uniform { min, max: delayed.by.plus(delayed.jitter).span() }
        }
    };
    impair(cluster, &delayed.link, Aspect::Delay, LinkConfig { delay, ..untouched() })
}

pub(super) fn lose(cluster: &Cluster, impaired: &ImpairedShare) -> Result<(), OperationError> {
    let config = LinkConfig { loss: impaired.share.fraction(), ..untouched() };
    impair(cluster, &impaired.link, Aspect::Loss, config)
}

pub(super) fn duplicate(cluster: &Cluster, impaired: &ImpairedShare) -> Result<(), OperationError> {
    let config = LinkConfig { duplication: impaired.share.fraction(), ..untouched() };
    impair(cluster, &impaired.link, Aspect::Duplication, config)
}

pub(super) fn reorder(cluster: &Cluster, reordered: &ReorderedLink) -> Result<(), OperationError> {
    let (reordering, reorder_delay) = (reordered.share.fraction(), reordered.by.span());
    let config = LinkConfig { reordering, reorder_delay, ..untouched() };
    impair(cluster, &reordered.link, Aspect::Reordering, config)
}

pub(super) fn limit(cluster: &Cluster, limited: &LimitedLink) -> Result<(), OperationError> {
    let bandwidth_bps = Some(limited.per_second.bytes().saturating_mul(8));
    let config = LinkConfig { bandwidth_bps, queue_bytes_max: limited.queue.bytes(), ..untouched() };
    impair(cluster, &limited.link, Aspect::Bandwidth, config)
}

pub(super) fn cut(cluster: &Cluster, way: &Way) -> Result<(), OperationError> {
    impair(cluster, way, Aspect::Cut, LinkConfig { cut: true, ..untouched() })
}

pub(super) fn black_hole(cluster: &Cluster, hole: &BlackHole) -> Result<(), OperationError> {
    let config = LinkConfig { mtu: usize::from(hole.above), mtu_black_hole: true, ..untouched() };
    impair(cluster, &hole.link, Aspect::Mtu, config)
}

pub(super) fn mend(cluster: &Cluster, mended: &MendedLink) -> Result<(), OperationError> {
    let of = mended.of.map(|aspect| aspect.of_cluster());
    let directions: Vec<_> = mended.link.directions().collect();
    let outcomes = directions.into_iter().map(|direction| cluster.mend_link(direction, of));
    // One direction may be sound already.
    let outcomes: Vec<_> = outcomes.collect();
    match outcomes.iter().any(Result::is_ok) {
        true => Ok(()),
        false => outcomes.into_iter().collect(),
    }
}

fn impair(cluster: &Cluster, way: &Way, aspect: Aspect, config: LinkConfig) -> Result<(), OperationError> {
    way.directions().try_for_each(|direction| cluster.impair_link(direction, aspect, config.clone()))
}
