//! What faults act on.

use hopwise_kube::cluster::LinkEnd;

use super::{DnsServers, FaultKind, PodName, Way};
use crate::scenario::{ObjectKind, ObjectName};

/// Something that a fault acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A pod.
    Pod(&'a PodName),
    /// A container of a pod.
    Container(&'a PodName, &'a str),
    /// A node.
    Node(&'a str),
    /// A zone.
    Zone(&'a str),
    /// A StatefulSet or a Deployment.
    Workload(&'a ObjectName),
    /// A PersistentVolumeClaim.
    Claim(&'a ObjectName),
    /// The way between two places.
    Link(&'a Way),
    /// A Service with a load balancer.
    Balancer(&'a ObjectName),
    /// A Secret with a certificate.
    Certificate(&'a ObjectName),
    /// Some name servers.
    Dns(DnsServers),
    /// The API server.
    ApiServer,
    /// What a file holds.
    File(&'a str),
}

impl FaultKind {
    /// What it acts on, each with its field below the fault's own (empty for that itself).
    pub fn targets(&self) -> Vec<(&'static str, Target<'_>)> {
        use FaultKind as F;
        match self {
            F::DeletePod(pod) | F::EvictPod(pod) => vec![("", Target::Pod(pod))],
            F::DecommissionBroker(pod)
            | F::RecommissionBroker(pod)
            | F::StartMaintenance(pod)
            | F::EndMaintenance(pod) => vec![("", Target::Pod(pod))],
            F::ExitContainer(exit) => container(&exit.pod, &exit.container),
            F::HangContainer(name) | F::ResumeContainer(name) => container(&name.pod, &name.container),
            F::SlowContainer(slow) => container(&slow.pod, &slow.container),
            F::PowerOffNode(node)
            | F::PowerOnNode(node)
            | F::ShutDownNode(node)
            | F::CutNodeFromControlPlane(node)
            | F::ReconnectNodeToControlPlane(node)
            | F::CutNodeFromNetwork(node)
            | F::ReconnectNodeToNetwork(node)
            | F::StopKubelet(node)
            | F::StartKubelet(node)
            | F::StopKubeProxy(node)
            | F::StartKubeProxy(node)
            | F::CordonNode(node)
            | F::UncordonNode(node)
            | F::DrainNode(node)
            | F::SetClock(node)
            | F::FillConntrack(node)
            | F::FreeConntrack(node)
            | F::FlushConntrack(node)
            | F::DeleteNode(node) => vec![("", Target::Node(node))],
            F::RebootNode(reboot) => vec![(".node", Target::Node(&reboot.node))],
            F::SkewClock(clock) => vec![(".node", Target::Node(&clock.node))],
            F::BlockPort(blocked) | F::UnblockPort(blocked) => vec![(".node", Target::Node(&blocked.node))],
            F::ExpireConntrack(flows) => vec![(".node", Target::Node(&flows.node))],
            F::LagKubeProxy(lag) => vec![(".node", Target::Node(&lag.node))],
            F::TaintNode(taint) => vec![(".node", Target::Node(&taint.node))],
            F::RemoveTaint(taint) => vec![(".node", Target::Node(&taint.node))],
            F::PowerOffZone(zone)
            | F::PowerOnZone(zone)
            | F::CutZoneFromControlPlane(zone)
            | F::ReconnectZoneToControlPlane(zone)
            | F::CutZoneFromNetwork(zone)
            | F::ReconnectZoneToNetwork(zone) => vec![("", Target::Zone(zone))],
            F::StopApiServer(_) | F::StartApiServer(_) => vec![("", Target::ApiServer)],
            F::RestartRollout(object) | F::RollBack(object) => vec![("", Target::Workload(object))],
            F::Scale(scale) => vec![(".object", Target::Workload(&scale.object))],
            F::SetImage(set) => vec![(".object", Target::Workload(&set.object))],
            F::DeleteWorkload(deleted) => vec![(".object", Target::Workload(&deleted.object))],
            F::CreateStatefulSet(file) | F::Apply(file) => vec![("", Target::File(file))],
            F::DeleteClaim(object) | F::FillDisk(object) => vec![("", Target::Claim(object))],
            F::SlowDisk(slow) => vec![(".claim", Target::Claim(&slow.claim))],
            F::FailDisk(failing) | F::CorruptDisk(failing) => {
                vec![(".claim", Target::Claim(&failing.claim))]
            }
            F::MendDisk(mended) => vec![(".claim", Target::Claim(&mended.claim))],
            F::StopLoadBalancer(service)
            | F::StartLoadBalancer(service)
            | F::ExpireLoadBalancerFlows(service) => vec![("", Target::Balancer(service))],
            F::FlapLoadBalancer(flapping) => vec![(".service", Target::Balancer(&flapping.service))],
            F::SlowRegistration(slow) => vec![(".service", Target::Balancer(&slow.service))],
            F::ExpireCertificate(secret) | F::RenewCertificate(secret) => {
                vec![("", Target::Certificate(secret))]
            }
            F::StopDns(servers)
            | F::StartDns(servers)
            | F::FreezeDns(servers)
            | F::ThawDns(servers)
            | F::KeepDnsAnswers(servers)
            | F::ForgetDnsAnswers(servers) => vec![("", Target::Dns(*servers))],
            F::SlowDns(slow) => vec![(".servers", Target::Dns(slow.servers))],
            F::DelayLink(delayed) => vec![(".link", Target::Link(&delayed.link))],
            F::LoseOnLink(impaired) | F::DuplicateOnLink(impaired) => {
                vec![(".link", Target::Link(&impaired.link))]
            }
            F::ReorderOnLink(reordered) => vec![(".link", Target::Link(&reordered.link))],
            F::LimitLink(limited) => vec![(".link", Target::Link(&limited.link))],
            F::CutLink(link) => vec![("", Target::Link(link))],
            F::BlackHoleLink(hole) => vec![(".link", Target::Link(&hole.link))],
            F::MendLink(mended) => vec![(".link", Target::Link(&mended.link))],
        }
    }

    /// The objects that it acts on, in words: `node node-1`, `link node/a to node/b`.
    pub fn objects(&self) -> impl Iterator<Item = String> + use<> {
        // A container is named with its pod, which is no object of its own then.
        let targets = self.targets();
        let contained = targets.iter().any(|(_, target)| matches!(target, Target::Container(..)));
        let kept = targets.iter().filter(|(_, target)| !(contained && matches!(target, Target::Pod(_))));
        let objects: Vec<String> = kept.flat_map(|(_, target)| target.objects()).collect();
        objects.into_iter()
    }
}

fn container<'a>(pod: &'a PodName, container: &'a str) -> Vec<(&'static str, Target<'a>)> {
    vec![(".pod", Target::Pod(pod)), (".container", Target::Container(pod, container))]
}

impl Target<'_> {
    fn objects(&self) -> Vec<String> {
        let named =
            |kind: ObjectKind, name: &dyn std::fmt::Display| vec![format!("{} {name}", kind.as_str())];
        match self {
            Target::Pod(pod) => named(ObjectKind::Pod, pod),
            Target::Container(pod, container) => vec![format!("container {pod}/{container}")],
            Target::Node(node) => named(ObjectKind::Node, node),
            Target::Zone(zone) => vec![format!("zone {zone}")],
            Target::Workload(object)
            | Target::Claim(object)
            | Target::Balancer(object)
            | Target::Certificate(object) => vec![object.to_string()],
            Target::Dns(servers) => vec![format!("DNS {}", servers.of_cluster().as_str())],
            Target::Link(way) => {
                let name = |(from, to): (&LinkEnd, &LinkEnd)| format!("link {from} to {to}");
                way.directions().map(name).collect()
            }
            Target::ApiServer => vec!["API server".to_owned()],
            Target::File(file) => vec![format!("file {file}")],
        }
    }
}
