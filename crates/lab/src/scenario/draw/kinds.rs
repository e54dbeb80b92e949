//! The kinds of fault that can be drawn.
//!
//! Another kind is another row: for which objects there is one, how it is made, and whether it is drawn unasked. What
//! takes it back is the fault's own business ([`FaultKind::undo`]). Every kind of the fault catalogue that can be undone
//! has a row, and so have those that pass by themselves; a test holds the two together. Left out is what would not be
//! whole again at the end (deleted nodes, workloads and claims, pods deleted by force, after which Kubernetes promises no
//! longer that there is at most one pod of a name, kubernetes.md 1.6), what needs files, and what needs an address.

use std::num::{NonZeroU16, NonZeroU32};

use hopwise_engine::Span;

use super::Choices;
use super::target::{Stock, Target};
use crate::scenario::{
    BlackHole, BlockedPort, ContainerName, DataSize, DelayedLink, Duration, ExitContainer, ExitReason,
    FailingDisk, FaultKind, FlappingBalancer, ImpairedShare, LagKubeProxy, LimitedLink, RebootNode,
    ReorderedLink, SetImage, Share, Skew, SkewedClock, SlowContainer, SlowDisk, SlowDns, SlowRegistration,
    TaintEffect, TaintNode, Way, Yes,
};

/// The key of drawn taints.
const TAINT_KEY: &str = "hopwise/drawn";

/// A kind of fault that can be drawn.
pub struct DrawnKind {
    /// The field that says what happens.
    pub name: &'static str,
    /// Why it is drawn only where `draw.kinds` names it; drawn unasked if none.
    pub asked_for_because: Option<&'static str>,
    /// The objects that it can hit.
    pub(super) targets: fn(&Stock) -> Vec<Target>,
    /// The fault that hits one of them.
    pub(super) make: fn(&Target, &mut Making<'_>) -> FaultKind,
    /// Whether it, or what undoes it, is asked of the API server.
    pub(super) needs_api_server: bool,
}

/// What a fault is made from, beside its target.
pub(super) struct Making<'a> {
    /// The objects of the cluster.
    pub stock: &'a Stock,
    /// The ports that may be blocked.
    pub ports: Vec<NonZeroU16>,
    /// How long it lasts.
    pub lasts: Duration,
    /// Where its numbers come from.
    pub choices: &'a mut dyn Choices,
}

/// A broker whose records a disk has spoiled is filled by the others; two such brokers may have spoiled the same record.
const SPOILED: &str =
    "what is acknowledged may be lost where the disks of two brokers spoil the same records";
/// Recommissioning is possible while the broker drains (redpanda.md 3.1.1).
const GONE: &str = "a broker that has handed over all its partitions in time cannot be recommissioned";

macro_rules! kinds {
    ($($name:literal on $targets:ident, $api:ident $(, asked for: $why:expr)?; |$target:pat_param, $making:pat_param| $make:expr;)*) => {
        /// Every kind.
        pub const KINDS: &[DrawnKind] = &[$(DrawnKind {
            name: $name,
            asked_for_because: kinds!(? $($why)?),
            targets: Stock::$targets,
            make: |target, making| match (target.clone(), making) {
                ($target, $making) => $make,
                #[allow(unreachable_patterns)]
                _ => unreachable!("{} on {target}", $name),
            },
            needs_api_server: kinds!(@$api),
        },)*];
    };
    (? $why:expr) => { Some($why) };
    (?) => { None };
    (@asked) => { true };
    (@itself) => { false };
}

kinds! {
    "deletePod" on pods, asked; |Target::Pod(pod), _| FaultKind::DeletePod(pod);
    "evictPod" on pods, asked; |Target::Pod(pod), _| FaultKind::EvictPod(pod);
    "exitContainer" on containers, itself; |Target::Container(pod, container), _| {
        FaultKind::ExitContainer(ExitContainer { pod, container, reason: ExitReason::OomKilled })
    };
    "hangContainer" on containers, itself; |Target::Container(pod, container), _| {
        FaultKind::HangContainer(ContainerName { pod, container })
    };
    "slowContainer" on containers, itself; |Target::Container(pod, container), making| {
        let times = u32::try_from(making.between(2, 50)).ok().and_then(NonZeroU32::new);
        FaultKind::SlowContainer(SlowContainer { pod, container, times: times.unwrap_or(NonZeroU32::MIN) })
    };
    "powerOffNode" on nodes, itself; |Target::Node(node), _| FaultKind::PowerOffNode(node);
    "rebootNode" on nodes, itself; |Target::Node(node), making| {
        FaultKind::RebootNode(RebootNode { node, down_for: making.lasts })
    };
    "shutDownNode" on nodes, itself; |Target::Node(node), _| FaultKind::ShutDownNode(node);
    "cutNodeFromControlPlane" on nodes, itself; |Target::Node(node), _| FaultKind::CutNodeFromControlPlane(node);
    "cutNodeFromNetwork" on nodes, itself; |Target::Node(node), _| FaultKind::CutNodeFromNetwork(node);
    "stopKubelet" on nodes, itself; |Target::Node(node), _| FaultKind::StopKubelet(node);
    "stopKubeProxy" on nodes, itself; |Target::Node(node), _| FaultKind::StopKubeProxy(node);
    "lagKubeProxy" on nodes, itself; |Target::Node(node), making| {
        FaultKind::LagKubeProxy(LagKubeProxy { node, by: making.lasts })
    };
    "skewClock" on nodes, itself; |Target::Node(node), making| {
        let by = making.milliseconds(1_000, 60_000);
        let skew = if making.between(0, 1) == 0 { Skew::Ahead(by) } else { Skew::Behind(by) };
        FaultKind::SkewClock(SkewedClock { node, skew })
    };
    "drainNode" on nodes, asked; |Target::Node(node), _| FaultKind::DrainNode(node);
    "cordonNode" on nodes, asked; |Target::Node(node), _| FaultKind::CordonNode(node);
    "taintNode" on nodes, asked; |Target::Node(node), _| {
        FaultKind::TaintNode(TaintNode { node, key: TAINT_KEY.into(), value: None, effect: TaintEffect::NoExecute })
    };
    "powerOffZone" on zones, itself; |Target::Zone(zone), _| FaultKind::PowerOffZone(zone);
    "cutZoneFromControlPlane" on zones, itself; |Target::Zone(zone), _| FaultKind::CutZoneFromControlPlane(zone);
    "cutZoneFromNetwork" on zones, itself; |Target::Zone(zone), _| FaultKind::CutZoneFromNetwork(zone);
    "stopApiServer" on api_server, itself; |Target::ApiServer, _| FaultKind::StopApiServer(Yes);
    "restartRollout" on stateful_sets, asked; |Target::StatefulSet(set), _| FaultKind::RestartRollout(set);
    "setImage" on stateful_sets_with_images, asked; |Target::StatefulSet(object), making| {
        let (container, image) = making.stock.image_of(&object).unwrap_or_default();
        FaultKind::SetImage(SetImage { object, container, image: another_tag(&image) })
    };
    "delayLink" on links, itself; |Target::Link(link), making| {
        let by = making.milliseconds(1, 200);
        let jitter = making.milliseconds(0, by.span().as_nanos() / 2_000_000);
        FaultKind::DelayLink(DelayedLink { link: making.one_way_or_both(link), by, jitter })
    };
    "loseOnLink" on links, itself; |Target::Link(link), making| {
        FaultKind::LoseOnLink(ImpairedShare { share: making.percent(1, 20), link: making.one_way_or_both(link) })
    };
    "duplicateOnLink" on links, itself; |Target::Link(link), making| {
        FaultKind::DuplicateOnLink(ImpairedShare { share: making.percent(1, 20), link: making.one_way_or_both(link) })
    };
    "reorderOnLink" on links, itself; |Target::Link(link), making| {
        let (share, by) = (making.percent(1, 20), making.milliseconds(1, 20));
        FaultKind::ReorderOnLink(ReorderedLink { link: making.one_way_or_both(link), share, by })
    };
    "limitLink" on links, itself; |Target::Link(link), making| {
        let per_second = DataSize(making.between(50, 2_000) * 1_000);
        let queue = DataSize(hopwise_fabric::LinkConfig::default().queue_bytes_max);
        FaultKind::LimitLink(LimitedLink { link: making.one_way_or_both(link), per_second, queue })
    };
    "cutLink" on links, itself; |Target::Link(link), making| FaultKind::CutLink(making.one_way_or_both(link));
    // RFC 791: every host takes 576 bytes; 1500 pass everywhere.
    "blackHoleLink" on links, itself; |Target::Link(link), making| {
        let above = u16::try_from(making.between(576, 1_450)).unwrap_or(u16::MAX);
        FaultKind::BlackHoleLink(BlackHole { link: making.one_way_or_both(link), above })
    };
    "fillConntrack" on nodes, itself; |Target::Node(node), _| FaultKind::FillConntrack(node);
    "blockPort" on nodes_with_ports, itself; |Target::Node(node), making| {
        FaultKind::BlockPort(BlockedPort { node, port: making.port() })
    };
    "flushConntrack" on nodes, itself; |Target::Node(node), _| FaultKind::FlushConntrack(node);
    "stopLoadBalancer" on balancers, itself; |Target::Balancer(service), _| FaultKind::StopLoadBalancer(service);
    "flapLoadBalancer" on balancers, itself; |Target::Balancer(service), making| {
        let (down, up) = (making.milliseconds(500, 5_000), making.milliseconds(500, 5_000));
        FaultKind::FlapLoadBalancer(FlappingBalancer { service, down, up })
    };
    "slowRegistration" on balancers, itself; |Target::Balancer(service), making| {
        FaultKind::SlowRegistration(SlowRegistration { service, by: making.milliseconds(1_000, 60_000) })
    };
    "expireLoadBalancerFlows" on balancers, itself; |Target::Balancer(service), _| {
        FaultKind::ExpireLoadBalancerFlows(service)
    };
    "stopDns" on dns, itself; |Target::Dns(servers), _| FaultKind::StopDns(servers);
    "slowDns" on dns, itself; |Target::Dns(servers), making| {
        FaultKind::SlowDns(SlowDns { servers, by: making.milliseconds(10, 5_000) })
    };
    "freezeDns" on dns_that_learns, itself; |Target::Dns(servers), _| FaultKind::FreezeDns(servers);
    "keepDnsAnswers" on dns, itself; |Target::Dns(servers), _| FaultKind::KeepDnsAnswers(servers);
    "fillDisk" on claims, itself; |Target::Claim(claim), _| FaultKind::FillDisk(claim);
    "slowDisk" on claims, itself; |Target::Claim(claim), making| {
        FaultKind::SlowDisk(SlowDisk { claim, by: making.milliseconds(1, 200) })
    };
    "failDisk" on claims, itself; |Target::Claim(claim), making| {
        FaultKind::FailDisk(FailingDisk { claim, share: making.percent(1, 50) })
    };
    "corruptDisk" on claims, itself, asked for: SPOILED; |Target::Claim(claim), making| {
        FaultKind::CorruptDisk(FailingDisk { claim, share: making.percent(1, 50) })
    };
    "expireCertificate" on certificates, itself; |Target::Certificate(secret), _| {
        FaultKind::ExpireCertificate(secret)
    };
    "decommissionBroker" on brokers, asked, asked for: GONE; |Target::Pod(pod), _| FaultKind::DecommissionBroker(pod);
    "startMaintenance" on brokers, asked; |Target::Pod(pod), _| FaultKind::StartMaintenance(pod);
}

/// The kind called `name`.
pub fn kind_called(name: &str) -> Option<&'static DrawnKind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Making<'_> {
    /// A whole number from `least` to `most`.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.choices.below(most.saturating_sub(least) + 1)
    }

    fn milliseconds(&mut self, least: u64, most: u64) -> Duration {
        Duration(Span::from_millis(self.between(least, most)))
    }

    fn port(&mut self) -> NonZeroU16 {
        let index = self.choices.below(self.ports.len() as u64);
        let port = usize::try_from(index).ok().and_then(|index| self.ports.get(index).copied());
        port.unwrap_or(NonZeroU16::MIN)
    }

    fn percent(&mut self, least: u64, most: u64) -> Share {
        let percent = u32::try_from(self.between(least, most)).unwrap_or(100);
        Share::of_millionths(percent.saturating_mul(10_000)).unwrap_or(Share::ALL)
    }

    /// The way between two places in both directions, or in one of them.
    fn one_way_or_both(&mut self, way: Way) -> Way {
        match self.between(0, 2) {
            0 => way,
            1 => Way { both: false, ..way },
            _ => Way { from: way.to, to: way.from, both: false },
        }
    }
}

/// The same image with a tag that it does not have.
fn another_tag(image: &str) -> String {
    let name = image.split('@').next().unwrap_or(image);
    match name.rsplit_once('/').map_or(name, |(_, last)| last).contains(':') {
        true => format!("{name}-next"),
        false => format!("{name}:next"),
    }
}
