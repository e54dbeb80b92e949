//! What each kind of fault does to the cluster.

use hopwise_kube::cluster::{Cascade, Cluster, DiskFault, OperationError};
use hopwise_kube::store::Kind;
use k8s_openapi::api::core::v1::Taint;
use tokio::time::{Instant, timeout_at};

use super::{Stakes, brokers, certificates, disks, links, pods};
use crate::scenario::{
    self, DeleteWorkload, Fault, FaultKind, ObjectKind, ObjectName, Scale, SetImage, TaintNode,
};

/// Does to the cluster what `kind` says, with what stands beside it in `fault`. What takes its time is left to itself at
/// `end`. What is so already is done.
///
/// # Errors
/// Why it cannot be done.
pub(super) async fn strike(
    stakes: &Stakes<'_>,
    fault: &Fault,
    kind: &FaultKind,
    end: Instant,
) -> Result<(), String> {
    match operate(stakes, fault, kind, end).await {
        Ok(()) | Err(OperationError::AlreadySo(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn operate(
    stakes: &Stakes<'_>,
    fault: &Fault,
    kind: &FaultKind,
    end: Instant,
) -> Result<(), OperationError> {
    use FaultKind as F;
    let cluster = stakes.cluster;
    match kind {
        F::DeletePod(pod) => cluster.delete_pod(&pod.namespace, &pod.name, pods::grace_of(fault)),
        F::EvictPod(pod) => cluster.evict_pod(&pod.namespace, &pod.name),
        F::ExitContainer(exit) => pods::exit(cluster, exit),
        F::PowerOffNode(node) => cluster.power_off_node(node),
        F::PowerOnNode(node) => cluster.power_on_node(node),
        F::RebootNode(reboot) => cluster.reboot_node(&reboot.node, reboot.down_for.span().into()),
        F::ShutDownNode(node) => cluster.shut_down_node(node),
        F::CutNodeFromControlPlane(node) => cluster.cut_node_from_control_plane(node),
        F::ReconnectNodeToControlPlane(node) => cluster.reconnect_node_to_control_plane(node),
        F::CutNodeFromNetwork(node) => cluster.cut_node_from_network(node),
        F::ReconnectNodeToNetwork(node) => cluster.reconnect_node_to_network(node),
        F::PowerOffZone(zone) => each_node(cluster, zone, Cluster::power_off_node),
        F::PowerOnZone(zone) => each_node(cluster, zone, Cluster::power_on_node),
        F::CutZoneFromControlPlane(zone) => each_node(cluster, zone, Cluster::cut_node_from_control_plane),
        F::ReconnectZoneToControlPlane(zone) => {
            each_node(cluster, zone, Cluster::reconnect_node_to_control_plane)
        }
        F::CutZoneFromNetwork(zone) => each_node(cluster, zone, Cluster::cut_node_from_network),
        F::ReconnectZoneToNetwork(zone) => each_node(cluster, zone, Cluster::reconnect_node_to_network),
        F::StopKubelet(node) => cluster.stop_kubelet(node),
        F::StartKubelet(node) => cluster.start_kubelet(node),
        F::StopKubeProxy(node) => cluster.stop_kube_proxy(node),
        F::StartKubeProxy(node) => cluster.start_kube_proxy(node),
        F::LagKubeProxy(lag) => cluster.lag_kube_proxy(&lag.node, lag.by.span().into()),
        F::StopApiServer(_) => cluster.stop_api_server(),
        F::StartApiServer(_) => cluster.start_api_server(),
        F::CordonNode(node) => cluster.cordon_node(node),
        F::UncordonNode(node) => cluster.uncordon_node(node),
        // A drain that a budget holds up for ever is no mistake of the scenario; what it expects tells.
        F::DrainNode(node) => timeout_at(end, cluster.drain_node(node)).await.unwrap_or(Ok(())),
        F::TaintNode(taint) => cluster.taint_node(&taint.node, taint_of(taint)),
        F::RemoveTaint(taint) => cluster.remove_taint(&taint.node, &taint.key),
        F::DeleteNode(node) => cluster.delete_node(node),
        F::Scale(Scale { object, replicas }) => {
            let replicas = i32::try_from(*replicas).unwrap_or(i32::MAX);
            cluster.scale(kind_of(object), &object.namespace, &object.name, replicas)
        }
        F::RestartRollout(object) => {
            cluster.restart_rollout(kind_of(object), &object.namespace, &object.name)
        }
        F::RollBack(object) => cluster.roll_back(kind_of(object), &object.namespace, &object.name),
        F::SetImage(SetImage { object, container, image }) => {
            cluster.set_image(kind_of(object), &object.namespace, &object.name, container, image)
        }
        F::DeleteWorkload(DeleteWorkload { object, cascade }) => {
            let cascade = match cascade {
                scenario::Cascade::Background => Cascade::Background,
                scenario::Cascade::Orphan => Cascade::Orphan,
            };
            cluster.delete_workload(kind_of(object), &object.namespace, &object.name, cascade)
        }
        F::CreateStatefulSet(file) => match stakes.stateful_sets.get(file) {
            Some(set) => cluster.create_stateful_set(set.clone()),
            None => Err(OperationError::Refused(format!("{file} was not read"))),
        },
        F::DeleteClaim(object) => cluster.delete_claim(&object.namespace, &object.name),
        F::DelayLink(delayed) => links::delay(cluster, delayed),
        F::LoseOnLink(impaired) => links::lose(cluster, impaired),
        F::DuplicateOnLink(impaired) => links::duplicate(cluster, impaired),
        F::ReorderOnLink(reordered) => links::reorder(cluster, reordered),
        F::LimitLink(limited) => links::limit(cluster, limited),
        F::CutLink(way) => links::cut(cluster, way),
        F::BlackHoleLink(hole) => links::black_hole(cluster, hole),
        F::MendLink(mended) => links::mend(cluster, mended),
        F::HangContainer(it) => cluster.hang_container(&it.pod.namespace, &it.pod.name, &it.container),
        F::ResumeContainer(it) => cluster.resume_container(&it.pod.namespace, &it.pod.name, &it.container),
        F::SlowContainer(slow) => {
            let (pod, times) = (&slow.pod, slow.times.get());
            cluster.slow_container(&pod.namespace, &pod.name, &slow.container, times)
        }
        F::SkewClock(clock) => cluster.set_clock(&clock.node, clock.skew.ahead_ms()),
        F::SetClock(node) => cluster.set_clock(node, 0),
        F::FillConntrack(node) => cluster.fill_conntrack(node),
        F::FreeConntrack(node) => cluster.free_conntrack(node),
        F::BlockPort(it) => cluster.block_port(&it.node, it.port),
        F::UnblockPort(it) => cluster.unblock_port(&it.node, it.port),
        F::FlushConntrack(node) => cluster.flush_conntrack(node),
        F::ExpireConntrack(flows) => cluster.expire_conntrack(&flows.node, flows.to.0),
        F::Apply(file) => match stakes.applied.get(file) {
            Some(manifests) => cluster.apply(manifests),
            None => Err(OperationError::Refused(format!("{file} was not read"))),
        },
        F::StopLoadBalancer(it) => cluster.stop_load_balancer(&it.namespace, &it.name),
        F::StartLoadBalancer(it) => cluster.start_load_balancer(&it.namespace, &it.name),
        F::FlapLoadBalancer(it) => {
            let (down, up) = (it.down.span().into(), it.up.span().into());
            cluster.flap_load_balancer(&it.service.namespace, &it.service.name, down, up)
        }
        F::SlowRegistration(slow) => {
            cluster.slow_registration(&slow.service.namespace, &slow.service.name, slow.by.span())
        }
        F::ExpireLoadBalancerFlows(it) => cluster.expire_load_balancer_flows(&it.namespace, &it.name),
        F::StopDns(servers) => cluster.set_dns_down(servers.of_cluster(), true),
        F::StartDns(servers) => cluster.set_dns_down(servers.of_cluster(), false),
        F::SlowDns(slow) => cluster.slow_dns(slow.servers.of_cluster(), slow.by.span()),
        F::FreezeDns(servers) => cluster.set_dns_frozen(servers.of_cluster(), true),
        F::ThawDns(servers) => cluster.set_dns_frozen(servers.of_cluster(), false),
        F::KeepDnsAnswers(servers) => cluster.set_dns_cache_kept(servers.of_cluster(), true),
        F::ForgetDnsAnswers(servers) => cluster.set_dns_cache_kept(servers.of_cluster(), false),
        F::FillDisk(claim) => disks::break_disk(cluster, claim, DiskFault::Full),
        F::SlowDisk(slow) => disks::break_disk(cluster, &slow.claim, DiskFault::Slow(slow.by.span())),
        F::FailDisk(failing) => {
            disks::break_disk(cluster, &failing.claim, DiskFault::Failing(failing.share.fraction()))
        }
        F::CorruptDisk(failing) => {
            disks::break_disk(cluster, &failing.claim, DiskFault::Corrupting(failing.share.fraction()))
        }
        F::MendDisk(mended) => disks::mend(cluster, mended),
        F::ExpireCertificate(secret) => certificates::expire(stakes, secret),
        F::RenewCertificate(secret) => certificates::renew(stakes, secret, end).await,
        F::DecommissionBroker(pod) => brokers::ask(stakes, pod, "PUT", "decommission", end).await,
        F::RecommissionBroker(pod) => brokers::ask(stakes, pod, "PUT", "recommission", end).await,
        F::StartMaintenance(pod) => brokers::ask(stakes, pod, "PUT", "maintenance", end).await,
        F::EndMaintenance(pod) => brokers::ask(stakes, pod, "DELETE", "maintenance", end).await,
    }
}

/// Does the same to every node of a zone, in the order of their names. Those of which it is so already do not count.
fn each_node(
    cluster: &Cluster,
    zone: &str,
    act: fn(&Cluster, &str) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let nodes = cluster.nodes();
    let mut in_zone = nodes.iter().filter(|(_, (of, _))| of.as_deref() == Some(zone));
    in_zone.try_for_each(|(node, _)| match act(cluster, node) {
        Err(OperationError::AlreadySo(_)) => Ok(()),
        outcome => outcome,
    })
}

fn taint_of(taint: &TaintNode) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.as_str().to_owned(),
        ..Taint::default()
    }
}

/// The store's kind of a workload; the API refuses what is none.
fn kind_of(object: &ObjectName) -> Kind {
    match object.kind {
        ObjectKind::StatefulSet => Kind::StatefulSet,
        ObjectKind::Deployment => Kind::Deployment,
        ObjectKind::Pod | ObjectKind::Container => Kind::Pod,
        ObjectKind::Node => Kind::Node,
        ObjectKind::Service => Kind::Service,
        ObjectKind::PersistentVolumeClaim => Kind::PersistentVolumeClaim,
        ObjectKind::Secret => Kind::Secret,
    }
}
