//! What can happen, and what undoes it.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};

use super::{
    BlackHole, BlockedPort, ContainerName, DelayedLink, DeleteWorkload, DiskTrouble, DnsServers,
    ExitContainer, ExpiredFlows, FailingDisk, FlappingBalancer, ImpairedShare, LagKubeProxy, LimitedLink,
    LinkAspect, MendedDisk, MendedLink, PodName, RebootNode, RemoveTaint, ReorderedLink, Scale, SetImage,
    SkewedClock, SlowContainer, SlowDisk, SlowDns, SlowRegistration, TaintNode, Way, Yes,
};
use crate::scenario::{Duration, ObjectKind, ObjectName};

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// What `kubectl delete pod` does.
    DeletePod(PodName),
    /// What the eviction API does: a deletion that honours PodDisruptionBudgets.
    EvictPod(PodName),
    /// A container's process ends.
    ExitContainer(ExitContainer),
    /// A container's process is stopped (SIGSTOP): its sockets stay, and nothing is answered.
    HangContainer(ContainerName),
    /// The process goes on (SIGCONT).
    ResumeContainer(ContainerName),
    /// Everything that a container's process does takes several times as long.
    SlowContainer(SlowContainer),
    /// The machine loses power; what was not synced to its disks is lost.
    PowerOffNode(String),
    /// The machine has power again and boots.
    PowerOnNode(String),
    /// The machine loses power and boots after a while.
    RebootNode(RebootNode),
    /// The machine is shut down in order (graceful node shutdown).
    ShutDownNode(String),
    /// The machine cannot reach the API server any more; pods and clients still reach each other.
    CutNodeFromControlPlane(String),
    /// The machine reaches the API server again.
    ReconnectNodeToControlPlane(String),
    /// Packets to and from the machine are lost; its kubelet still reaches the API server.
    CutNodeFromNetwork(String),
    /// The machine's packets come through again.
    ReconnectNodeToNetwork(String),
    /// [`FaultKind::PowerOffNode`] for every node of a zone.
    PowerOffZone(String),
    /// [`FaultKind::PowerOnNode`] for every node of a zone.
    PowerOnZone(String),
    /// [`FaultKind::CutNodeFromControlPlane`] for every node of a zone.
    CutZoneFromControlPlane(String),
    /// [`FaultKind::ReconnectNodeToControlPlane`] for every node of a zone.
    ReconnectZoneToControlPlane(String),
    /// [`FaultKind::CutNodeFromNetwork`] for every node of a zone.
    CutZoneFromNetwork(String),
    /// [`FaultKind::ReconnectNodeToNetwork`] for every node of a zone.
    ReconnectZoneToNetwork(String),
    /// The kubelet's process ends; the containers run on.
    StopKubelet(String),
    /// The kubelet runs again.
    StartKubelet(String),
    /// kube-proxy's process ends; the node keeps its rules.
    StopKubeProxy(String),
    /// kube-proxy runs again and brings the rules up to date.
    StartKubeProxy(String),
    /// kube-proxy learns of every change later than it should.
    LagKubeProxy(LagKubeProxy),
    /// A machine's clock is wrong.
    SkewClock(SkewedClock),
    /// A machine's clock is right.
    SetClock(String),
    /// A node's connection tracking table is full: flows that it has go on, and no other begins.
    FillConntrack(String),
    /// The table has room again.
    FreeConntrack(String),
    /// A firewall drops what goes to a TCP port of pods on a node, or from them to such a port of others.
    BlockPort(BlockedPort),
    /// The firewall lets the port through again.
    UnblockPort(BlockedPort),
    /// All flows of a node are forgotten (`conntrack -F`).
    FlushConntrack(String),
    /// The flows of a node to an address are forgotten (`conntrack -D`).
    ExpireConntrack(ExpiredFlows),
    /// The API server does not answer.
    StopApiServer(Yes),
    /// The API server answers again.
    StartApiServer(Yes),
    /// What `kubectl cordon` does.
    CordonNode(String),
    /// What `kubectl uncordon` does.
    UncordonNode(String),
    /// What `kubectl drain --ignore-daemonsets` does.
    DrainNode(String),
    /// What `kubectl taint` does.
    TaintNode(TaintNode),
    /// What `kubectl taint NODE KEY-` does.
    RemoveTaint(RemoveTaint),
    /// What `kubectl delete node` does.
    DeleteNode(String),
    /// What `kubectl scale` does.
    Scale(Scale),
    /// What `kubectl rollout restart` does.
    RestartRollout(ObjectName),
    /// What `kubectl rollout undo` does.
    RollBack(ObjectName),
    /// What `kubectl set image` does.
    SetImage(SetImage),
    /// What `kubectl delete` does to a StatefulSet or a Deployment.
    DeleteWorkload(DeleteWorkload),
    /// What `kubectl create -f` does with a file that holds one StatefulSet.
    CreateStatefulSet(String),
    /// What `kubectl apply -f` does with a file.
    Apply(String),
    /// What `kubectl delete pvc` does.
    DeleteClaim(ObjectName),
    /// Packets between two places take longer.
    DelayLink(DelayedLink),
    /// Some packets between two places are lost.
    LoseOnLink(ImpairedShare),
    /// Some packets between two places arrive twice.
    DuplicateOnLink(ImpairedShare),
    /// Some packets between two places are overtaken by later ones.
    ReorderOnLink(ReorderedLink),
    /// Between two places there is less bandwidth.
    LimitLink(LimitedLink),
    /// Nothing goes from one place to another; `->` cuts one direction.
    CutLink(Way),
    /// Packets above a size vanish between two places, and nobody is told.
    BlackHoleLink(BlackHole),
    /// The way between two places is as it was.
    MendLink(MendedLink),
    /// A load balancer is down.
    StopLoadBalancer(ObjectName),
    /// It is up again.
    StartLoadBalancer(ObjectName),
    /// A load balancer is down and up in turn.
    FlapLoadBalancer(FlappingBalancer),
    /// A load balancer takes its time with targets that register from now on.
    SlowRegistration(SlowRegistration),
    /// The flows of a load balancer end as those that were silent for too long.
    ExpireLoadBalancerFlows(ObjectName),
    /// Name servers do not answer.
    StopDns(DnsServers),
    /// They answer again.
    StartDns(DnsServers),
    /// Each answer of name servers takes longer.
    SlowDns(SlowDns),
    /// Name servers learn nothing new.
    FreezeDns(DnsServers),
    /// They catch up.
    ThawDns(DnsServers),
    /// Name servers go on answering from what they have kept, whatever its time to live.
    KeepDnsAnswers(DnsServers),
    /// They forget in time again.
    ForgetDnsAnswers(DnsServers),
    /// There is no space left on the disk of a claim.
    FillDisk(ObjectName),
    /// The disk of a claim takes longer to sync.
    SlowDisk(SlowDisk),
    /// Reads and writes on the disk of a claim fail.
    FailDisk(FailingDisk),
    /// Reads from the disk of a claim give wrong bytes, and say nothing.
    CorruptDisk(FailingDisk),
    /// The disk of a claim is as it was.
    MendDisk(MendedDisk),
    /// The certificate in a Secret expires.
    ExpireCertificate(ObjectName),
    /// It is renewed, as cert-manager does.
    RenewCertificate(ObjectName),
    /// A broker is decommissioned, through the Admin API.
    DecommissionBroker(PodName),
    /// Its decommissioning is taken back.
    RecommissionBroker(PodName),
    /// A broker goes into maintenance mode, through the Admin API.
    StartMaintenance(PodName),
    /// It leaves maintenance mode.
    EndMaintenance(PodName),
}

impl FaultKind {
    /// What happens, as a line of a scenario file has it: `powerOffNode: node-1`.
    pub fn line(&self) -> String {
        let fields = serde_json::to_value(self).unwrap_or_default();
        FaultKind::line_of(&fields).unwrap_or_default()
    }

    /// The line of a kind that is written as JSON; none if the JSON is something else.
    pub fn line_of(json: &serde_json::Value) -> Option<String> {
        let (field, value) = json.as_object()?.iter().next()?;
        Some(match value {
            serde_json::Value::String(object) => format!("{field}: {object}"),
            other => format!("{field}: {other}"),
        })
    }

    /// The field that says what happens.
    pub fn field(&self) -> &'static str {
        let name = match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(fields)) => fields.into_iter().map(|(field, _)| field).next(),
            _ => None,
        };
        let name = name.unwrap_or_default();
        FaultKind::fields().iter().copied().find(|field| *field == name).unwrap_or_default()
    }

    /// The fields of all kinds, in the order of the declaration.
    pub fn fields() -> &'static [&'static str] {
        let mut fields: &'static [&'static str] = &[];
        // The derived implementation says what it knows before it reads anything.
        let _ = FaultKind::deserialize(Variants(&mut fields));
        fields
    }

    /// What undoes it; none where nature does not allow it (a pod that was deleted, an entry that was forgotten), where it
    /// undoes itself, or where what was before is not known (the replicas before a `scale`).
    pub fn undo(&self) -> Option<FaultKind> {
        use FaultKind as F;
        let mend_disk =
            |claim: &ObjectName, of| F::MendDisk(MendedDisk { claim: claim.clone(), of: Some(of) });
        let mend = |link: &Way, of| F::MendLink(MendedLink { link: link.clone(), of: Some(of) });
        Some(match self {
            F::PowerOffNode(node) | F::ShutDownNode(node) => F::PowerOnNode(node.clone()),
            F::CutNodeFromControlPlane(node) => F::ReconnectNodeToControlPlane(node.clone()),
            F::CutNodeFromNetwork(node) => F::ReconnectNodeToNetwork(node.clone()),
            F::PowerOffZone(zone) => F::PowerOnZone(zone.clone()),
            F::CutZoneFromControlPlane(zone) => F::ReconnectZoneToControlPlane(zone.clone()),
            F::CutZoneFromNetwork(zone) => F::ReconnectZoneToNetwork(zone.clone()),
            F::StopKubelet(node) => F::StartKubelet(node.clone()),
            F::StopKubeProxy(node) => F::StartKubeProxy(node.clone()),
            F::LagKubeProxy(lag) if lag.by != Duration::default() => {
                F::LagKubeProxy(LagKubeProxy { node: lag.node.clone(), by: Duration::default() })
            }
            F::StopApiServer(yes) => F::StartApiServer(*yes),
            F::CordonNode(node) | F::DrainNode(node) => F::UncordonNode(node.clone()),
            F::TaintNode(taint) => {
                F::RemoveTaint(RemoveTaint { node: taint.node.clone(), key: taint.key.clone() })
            }
            // A Deployment's earlier templates are not kept.
            F::SetImage(set) if set.object.kind == ObjectKind::StatefulSet => F::RollBack(set.object.clone()),
            F::DelayLink(delayed) => mend(&delayed.link, LinkAspect::Delay),
            F::LoseOnLink(impaired) => mend(&impaired.link, LinkAspect::Loss),
            F::DuplicateOnLink(impaired) => mend(&impaired.link, LinkAspect::Duplication),
            F::ReorderOnLink(reordered) => mend(&reordered.link, LinkAspect::Reordering),
            F::LimitLink(limited) => mend(&limited.link, LinkAspect::Bandwidth),
            F::CutLink(link) => mend(link, LinkAspect::Cut),
            F::BlackHoleLink(hole) => mend(&hole.link, LinkAspect::Mtu),
            F::HangContainer(container) => F::ResumeContainer(container.clone()),
            F::SlowContainer(slow) if slow.times.get() > 1 => {
                F::SlowContainer(SlowContainer { times: NonZeroU32::MIN, ..slow.clone() })
            }
            F::SkewClock(clock) => F::SetClock(clock.node.clone()),
            F::FillConntrack(node) => F::FreeConntrack(node.clone()),
            F::BlockPort(blocked) => F::UnblockPort(blocked.clone()),
            F::StopLoadBalancer(service) => F::StartLoadBalancer(service.clone()),
            F::FlapLoadBalancer(flapping) => F::StartLoadBalancer(flapping.service.clone()),
            F::SlowRegistration(slow) if slow.by != Duration::default() => {
                F::SlowRegistration(SlowRegistration { by: Duration::default(), ..slow.clone() })
            }
            F::StopDns(servers) => F::StartDns(*servers),
            F::SlowDns(slow) if slow.by != Duration::default() => {
                F::SlowDns(SlowDns { by: Duration::default(), ..slow.clone() })
            }
            F::FreezeDns(servers) => F::ThawDns(*servers),
            F::KeepDnsAnswers(servers) => F::ForgetDnsAnswers(*servers),
            F::FillDisk(claim) => mend_disk(claim, DiskTrouble::Full),
            F::SlowDisk(slow) => mend_disk(&slow.claim, DiskTrouble::Slow),
            F::FailDisk(failing) => mend_disk(&failing.claim, DiskTrouble::Failing),
            F::CorruptDisk(failing) => mend_disk(&failing.claim, DiskTrouble::Corrupting),
            F::ExpireCertificate(secret) => F::RenewCertificate(secret.clone()),
            F::DecommissionBroker(pod) => F::RecommissionBroker(pod.clone()),
            F::StartMaintenance(pod) => F::EndMaintenance(pod.clone()),
            F::DeletePod(_)
            | F::EvictPod(_)
            | F::ExitContainer(_)
            | F::PowerOnNode(_)
            | F::RebootNode(_)
            | F::ReconnectNodeToControlPlane(_)
            | F::ReconnectNodeToNetwork(_)
            | F::PowerOnZone(_)
            | F::ReconnectZoneToControlPlane(_)
            | F::ReconnectZoneToNetwork(_)
            | F::StartKubelet(_)
            | F::StartKubeProxy(_)
            | F::LagKubeProxy(_)
            | F::StartApiServer(_)
            | F::UncordonNode(_)
            | F::RemoveTaint(_)
            | F::DeleteNode(_)
            | F::Scale(_)
            | F::RestartRollout(_)
            | F::RollBack(_)
            | F::SetImage(_)
            | F::DeleteWorkload(_)
            | F::CreateStatefulSet(_)
            | F::DeleteClaim(_)
            | F::MendLink(_)
            | F::ResumeContainer(_)
            | F::SlowContainer(_)
            | F::SetClock(_)
            | F::UnblockPort(_)
            | F::FreeConntrack(_)
            | F::FlushConntrack(_)
            | F::ExpireConntrack(_)
            | F::Apply(_)
            | F::StartLoadBalancer(_)
            | F::SlowRegistration(_)
            | F::ExpireLoadBalancerFlows(_)
            | F::StartDns(_)
            | F::SlowDns(_)
            | F::ThawDns(_)
            | F::ForgetDnsAnswers(_)
            | F::MendDisk(_)
            | F::RenewCertificate(_)
            | F::RecommissionBroker(_)
            | F::EndMaintenance(_) => return None,
        })
    }
}

/// Keeps the names of an enum's variants, and reads nothing.
struct Variants<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Variants<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(serde::de::Error::custom("only the names are asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("it is no enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl fmt::Display for FaultKind {
    /// The field and what it acts on, such as `powerOffNode (node node-1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects: Vec<String> = self.objects().collect();
        match objects.as_slice() {
            [] => f.write_str(self.field()),
            objects => write!(f, "{} ({})", self.field(), objects.join(", ")),
        }
    }
}
